/* SPDX-License-Identifier: Apache-2.0 */
/* The course of one boot (guest.h): step after step; the first failure ends it, with the service's own words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/systemd/guest/guest.h"

static struct guest guest;

static void on_failure(const char *message) {
        (void) fflush(stdout);
        (void) dprintf(STDOUT_FILENO, "FAILED: %s\n", message);
        (void) !system(
                "systemctl --no-pager -l status baton; journalctl --no-pager -u \"baton*\" -n 80 -o short-precise");
        exit(1);
}

/* As the world knows it, but where the unit has it. */
static void world_of_unit(struct world *world) {
        world_begin_at(world, SHOP, "/run/baton");
        (void) rmdir(world->state);
        (void) snprintf(world->state, sizeof(world->state), "/var/lib/baton");
        (void) snprintf(world->config, sizeof(world->config), "/etc/baton/baton.conf");
        (void) unsetenv("STATE_DIRECTORY");
        (void) unsetenv("RUNTIME_DIRECTORY");
        (void) setenv("SYSTEMD_PAGER", "cat", 1);
        (void) setenv("SYSTEMD_COLORS", "0", 1);
}

static void configure(struct world *world) {
        world_config(world,
                     "[baton]\nadopt-timeout = 3s\n\n"
                     "[destination events]\nurl = sqlite:" DESTINATION "\nworkers = 2\n\n"
                     "[source orders]\nurl = sqlite:" SHOP "/orders.db?table=outbox\nto = events\n\n"
                     "[source payments]\nurl = sqlite:" SHOP "/payments.db?table=outbox\nto = events\n");
        shell(&guest, "mkdir -p /etc/baton/baton.conf.d /etc/systemd/system/baton.service.d && "
                      "printf '[Service]\\nReadWritePaths=" SHOP
                      "\\n' >/etc/systemd/system/baton.service.d/shop.conf && "
                      "chgrp -R baton /etc/baton && chmod -R g+rX /etc/baton && systemctl daemon-reload");
}

/* In this order, one line each. */
static const struct step *const tables[] = {
        steps_supervise,   /* start, kills, reload, watchdog */
        steps_takeover,    /* measured */
        steps_memory,      /* want of it */
        steps_segment,     /* of another layout */
        steps_stop,        /* whoever hangs */
        steps_look,        /* exposure, doctor, two instances */
        steps_journald,    /* what is told */
        steps_upgrade,     /* without a gap, or refused */
        steps_rights,      /* who may what; foreign outboxes, which the judge does not know: last */
        steps_bus,         /* the same rights there; a bus that ends */
        steps_credentials, /* and nobody else reads them */
};

static unsigned taken, skipped;

static void take(const struct step *step) {
        uint64_t since_usec = clock_usec();

        guest.skipped[0] = '\0';
        step->run(&guest);
        if (guest.skipped[0]) {
                skipped++;
                printf("[SKIP] systemd, %s: %s\n", step->name, guest.skipped);
        } else {
                taken++;
                printf("  ok    %-32s %5.1f s\n", step->name, (double) (clock_usec() - since_usec) / 1e6);
        }
        (void) fflush(stdout);
}

static int run_while(const char *source, const char *command) {
        struct pauses pauses;

        shop_know(&guest, source);
        shop_write(&guest, source, 2000);
        (void) sleep(1);
        gaps_begin(&guest);
        shell(&guest, "%s", command);
        pauses = gaps_end(&guest);
        pauses_print(command, pauses);
        owners_print(pauses);
        shop_check(&guest);
        return 0;
}

int main(int argc, char **argv) {
        const char *only = argc > 1 && argv[1][0] ? argv[1] : NULL;
        uint64_t since_usec = clock_usec();

        world_failed = on_failure;
        if (argc == 4 && strcmp(argv[1], "while") == 0) {
                world_of_unit(&guest.world);
                return run_while(argv[2], argv[3]);
        }
        (void) !system("mkdir -p " SHOP);
        world_of_unit(&guest.world);
        shop_open(&guest);
        configure(&guest.world);
        if (only)
                shell(&guest, "systemctl start baton");
        for (size_t i = 0; i < ELEMENTSOF(tables); i++)
                for (const struct step *step = tables[i]; step->name; step++)
                        if (!only || strstr(step->name, only))
                                take(step);
        if (taken + skipped == 0)
                world_fail(&guest.world, "no step has \"%s\" in its name", only);
        printf("[SUMMARY] systemd: %u steps held, %u skipped, %.0f s\n", taken, skipped,
               (double) (clock_usec() - since_usec) / 1e6);
        return 0;
}
