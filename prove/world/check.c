/* SPDX-License-Identifier: Apache-2.0 */
/* Calls the judge, prove/checker, on a destination and all outboxes of the world. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "prove/world/world.h"

int check_code(struct world *world, const char *destination, const char *mode) {
        static char words[WORLD_OUTBOX_MAX * 2][WORLD_PATH_BYTES * 2];
        char *argv[WORLD_OUTBOX_MAX * 4 + 5] = { "baton-checker", "--destination", (char *) destination,
                                                 (char *) mode };
        size_t word = 0, count = 4;

        for (size_t i = 0; i < world->outbox_count; i++) {
                const struct world_outbox *outbox = &world->outboxes[i];

                argv[count++] = "--source";
                (void) snprintf(words[word], sizeof(words[0]), "%s=%s", outbox->name, outbox->file);
                argv[count++] = words[word++];
                if (outbox->has_ledger) {
                        argv[count++] = "--ledger";
                        (void) snprintf(words[word], sizeof(words[0]), "%s=%s:ledger", outbox->name,
                                        outbox->file);
                        argv[count++] = words[word++];
                }
        }
        return world_run_list(world, argv);
}

bool check_says(struct world *world, const char *destination, const char *mode) {
        int r = check_code(world, destination, mode);

        if (r > 1)
                world_fail(world, "the checker could not judge (%d): %s", r, world->output);
        return r == 0;
}

void check_destination(struct world *world, const char *destination, const char *mode) {
        char output[4096];

        if (check_says(world, destination, mode))
                return;
        (void) snprintf(output, sizeof(output), "%.4000s", world->output);
        world_fail(world, "the checker says (%s):\n%s", mode, output);
}

static void check_standard(struct world *world, const char *mode) {
        char destination[WORLD_PATH_BYTES * 2];

        (void) snprintf(destination, sizeof(destination), "sqlite:%s/d.db", world->directory);
        check_destination(world, destination, mode);
}

void check_final(struct world *world) {
        check_standard(world, "--final");
}

void check_live(struct world *world) {
        check_standard(world, "--live");
}
