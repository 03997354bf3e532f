/* SPDX-License-Identifier: Apache-2.0 */
/* U2: a stop leaves nothing behind, whoever hangs. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/systemd/guest/guest.h"

static void expect_nothing_left(struct guest *guest) {
        struct world *world = &guest->world;

        if (process_count(guest, "batond") + process_count(guest, "baton-worker") > 0) {
                (void) shell_code(guest, "ps aux | grep baton");
                world_fail(world, "processes are left:\n%s", world->output);
        }
        if (access("/run/baton", F_OK) == 0)
                world_fail(world, "/run/baton is left");
        if (shell_code(guest, "flock -n /var/lib/baton/workers.lock true") != 0)
                world_fail(world, "workers.lock is held");
}

static void start_again(struct guest *guest) {
        shell(guest, "systemctl start baton");
        WAIT_UNTIL(&guest->world, all_owned_by_live(&guest->world));
}

static void stopped(struct guest *guest) {
        shop_write(guest, "orders", 2000);
        (void) sleep(1);
        shell(guest, "systemctl stop baton");
        if (!unit_is(guest, "baton", "inactive", "dead"))
                world_fail(&guest->world, "stopped, and not inactive");
        expect_nothing_left(guest);
        start_again(guest);
        shop_check(guest);
}

/* Frozen by a tracer, which neither SIGTERM nor SIGCONT ends: only SIGKILL does. */
static void stopped_while_it_hangs(struct guest *guest) {
        pid_t pid;

        drop_in(guest, "baton", "TimeoutStopSec=2");
        shop_write(guest, "orders", 2000);
        (void) sleep(1);
        pid = main_pid(guest);
        if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 ||
            waitpid(pid, NULL, 0) != pid)
                world_fail(&guest->world, "ptrace: %m");
        shell(guest, "systemctl --no-block stop baton");
        (void) waitpid(pid, NULL, 0); /* a tracer's first: systemd hears of its end only then */
        WAIT_UNTIL(&guest->world, unit_is(guest, "baton", "failed", NULL));
        if (strcmp(unit_property(guest, "baton", "Result"), "timeout") != 0)
                world_fail(&guest->world, "it did not hang: %s", unit_property(guest, "baton", "Result"));
        shell(guest, "journalctl -q -u baton BATON_KIND=workers-cleared | grep .");
        expect_nothing_left(guest);
        drop_in_end(guest, "baton");
        shell(guest, "systemctl reset-failed baton");
        start_again(guest);
        shop_check(guest);
}

/* No ExecStopPost= runs then: workers see that nobody comes, and leave after adopt-timeout. */
static void stopped_while_it_restarts(struct guest *guest) {
        struct world *world = &guest->world;

        drop_in(guest, "baton", "RestartSec=20");
        kill_process(main_pid(guest), SIGKILL);
        WAIT_UNTIL(world, unit_is(guest, "baton", "activating", "auto-restart"));
        if (live_workers(world, "events", NULL, 0) != 2)
                world_fail(world, "the workers did not outlive the supervisor");
        shell(guest, "systemctl stop baton");
        WAIT_UNTIL(world, process_count(guest, "baton-worker") == 0);
        if (shell_code(guest, "flock -n /var/lib/baton/workers.lock true") != 0)
                world_fail(world, "workers.lock is held");
        drop_in_end(guest, "baton");
        start_again(guest);
        outbox_fill(world, "orders", 10);
        shop_check(guest);
}

const struct step steps_stop[] = {
        { "stop", stopped },
        { "stop while it hangs", stopped_while_it_hangs },
        { "stop while it restarts", stopped_while_it_restarts },
        { NULL, NULL },
};
