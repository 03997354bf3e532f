/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd says of the service: its exposure, and a second instance of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/systemd/guest/guest.h"

#define EXPOSURE_MOST 1.5

static void exposed(struct guest *guest) {
        const char *at;
        double exposure;

        shell(guest, "systemd-analyze security --no-pager baton.service");
        at = strstr(guest->world.output, "Overall exposure level for baton.service: ");
        if (!at)
                world_fail(&guest->world, "systemd-analyze does not say how exposed it is");
        exposure = strtod(strstr(at, ": ") + 2, NULL);
        printf("  exposure: %.1f\n", exposure);
        if (exposure > EXPOSURE_MOST)
                world_fail(&guest->world, "exposure %.1f is more than %.1f", exposure, EXPOSURE_MOST);
}

static void two_instances(struct guest *guest) {
        struct world *world = &guest->world;
        pid_t pid;

        shell(guest, "sed 's,/var/lib/baton/events,/var/lib/baton-b/events,' /etc/baton/baton.conf "
                     ">/etc/baton/b.conf");
        drop_in(guest, "baton@b", "ReadWritePaths=" SHOP);
        shell(guest, "systemctl start baton@b");
        if (!unit_is(guest, "baton@b", "active", "running"))
                world_fail(world, "the instance is not running");
        shell(guest, "baton status --runtime /run/baton-b | grep -q /var/lib/baton-b/events.db");
        outbox_fill(world, "orders", 10);
        /* The end of one supervisor is nothing to the other. */
        pid = main_pid(guest);
        shell(guest, "kill -KILL $(systemctl show -P MainPID baton@b)");
        outbox_fill(world, "payments", 10);
        shell_until(guest, "systemctl is-active baton@b");
        shop_check(guest);
        shell_until(
                guest,
                "test \"$(sqlite3 -readonly /var/lib/baton-b/events.db 'SELECT count(*), max(position) FROM baton_events "
                "WHERE session = \"orders\"')\" = \"$(sqlite3 -readonly " SHOP
                "/orders.db 'SELECT count(*), max(seq) FROM outbox')\"");
        shell(guest, "systemctl reload baton@b && systemctl stop baton@b && test ! -e /run/baton-b && "
                     "flock -n /var/lib/baton-b/workers.lock true");
        if (main_pid(guest) != pid || !unit_is(guest, "baton", "active", "running"))
                world_fail(world, "the end of one is the end of the other");
        drop_in_end(guest, "baton@b");
}

/* What the machine lacks (a clock that is set, priorities in a container) is its own; the unit's part must be well. */
static void doctored(struct guest *guest) {
        static const char *const well[] = {
                "configuration", "state directory", "runtime directory",  "supervisor.lock",
                "workers.lock",  "source orders",   "destination events", "supervisor",
                "watchdog",      "sandbox",         "landlock",           "cores"
        };
        char line[64];

        (void) shell_code(guest, "baton doctor");
        for (size_t i = 0; i < ELEMENTSOF(well); i++) {
                (void) snprintf(line, sizeof(line), "ok   %s ", well[i]);
                if (!strstr(guest->world.output, line))
                        world_fail(&guest->world, "doctor does not say that %s is well:\n%s", well[i],
                                   guest->world.output);
        }
        printf("%s", guest->world.output);
}

const struct step steps_look[] = {
        { "exposure", exposed },
        { "doctor", doctored },
        { "two instances", two_instances },
        { NULL, NULL },
};
