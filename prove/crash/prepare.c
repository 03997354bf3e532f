/* SPDX-License-Identifier: Apache-2.0 */
/* The outboxes that every run begins with, made once: `a` keeps its rows, `b` is cleaned and has a ledger, `c`
 * comes with the reload. Each run gets copies. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/crash/crash.h"
#include "prove/world/outbox.h"

#define EVENTS_FIRST 24
#define EVENTS_LATE 8

static const struct {
        const char *name;
        bool has_ledger;
        unsigned events;
} outboxes[] = { { "a", false, EVENTS_FIRST }, { "b", true, EVENTS_FIRST }, { "c", false, EVENTS_LATE } };

void crash_outboxes_prepare(const char *directory) {
        static struct world world;

        world_begin_at(&world, directory, directory);
        for (size_t i = 0; i < ELEMENTSOF(outboxes); i++) {
                if (outboxes[i].has_ledger)
                        world_outbox_cleaned(&world, outboxes[i].name);
                else
                        world_outbox(&world, outboxes[i].name);
                outbox_fill(&world, outboxes[i].name, outboxes[i].events);
        }
}

static void copy(struct world *world, const char *from, const char *to) {
        _cleanup_fd_ int in = open(from, O_RDONLY | O_CLOEXEC),
                         out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        struct stat status;
        off_t offset = 0;

        if (in < 0 || out < 0 || fstat(in, &status) < 0)
                world_fail(world, "cannot copy %s to %s: %s", from, to, strerror(errno));
        while (offset < status.st_size)
                if (sendfile(out, in, &offset, (size_t) (status.st_size - offset)) <= 0)
                        world_fail(world, "cannot copy %s to %s: %s", from, to, strerror(errno));
}

void crash_outboxes_copy(const char *prepared, struct world *world) {
        for (size_t i = 0; i < ELEMENTSOF(outboxes); i++) {
                struct world_outbox *outbox = &world->outboxes[i];
                char from[WORLD_PATH_BYTES];

                (void) snprintf(from, sizeof(from), "%.400s/%s.db", prepared, outboxes[i].name);
                *outbox = (struct world_outbox){ .has_ledger = outboxes[i].has_ledger };
                (void) snprintf(outbox->name, sizeof(outbox->name), "%s", outboxes[i].name);
                (void) snprintf(outbox->file, sizeof(outbox->file), "%.400s/%s.db", world->directory,
                                outboxes[i].name);
                copy(world, from, outbox->file);
        }
        world->outbox_count = 2;
}

static int remove_below(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        (void) status, (void) kind;
        return walk->level > 0 ? remove(path) : 0;
}

void crash_outboxes_remove(const char *directory) {
        (void) nftw(directory, remove_below, 8, FTW_DEPTH | FTW_PHYS);
}
