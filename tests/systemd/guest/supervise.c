/* SPDX-License-Identifier: Apache-2.0 */
/* U1 to U4: the service starts, and goes on whoever dies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/systemd/guest/guest.h"

#define KILLS 20

static void start(struct guest *guest) {
        struct world *world = &guest->world;

        shell(guest, "systemctl start baton");
        if (!unit_is(guest, "baton", "active", "running"))
                world_fail(world, "started, and not running");
        if (!strstr(unit_property(guest, "baton", "StatusText"), "sessions 2"))
                world_fail(world, "STATUS= does not speak of two sessions: %s",
                           unit_property(guest, "baton", "StatusText"));
        WAIT_UNTIL(world, all_owned_by_live(world));
        if (baton(world, "status") != 0)
                world_fail(world, "baton status: %s", world->output);
        if (strcmp(unit_property(guest, "baton", "User"), "baton") != 0)
                world_fail(world, "it does not run as user baton");
        outbox_fill(world, "orders", 100);
        outbox_fill(world, "payments", 100);
        shop_check(guest);
}

/* The floor that the others are compared with. */
static void undisturbed(struct guest *guest) {
        shop_write(guest, "orders", 2000);
        shop_write(guest, "payments", 2000);
        (void) sleep(1);
        gaps_begin(guest);
        (void) sleep(5);
        pauses_print("nothing done for 5 s", gaps_end(guest));
        shop_check(guest);
}

static void supervisor_killed(struct guest *guest) {
        uint64_t back_usec = 0;
        pid_t pid = main_pid(guest);

        shop_write(guest, "orders", 2000);
        shop_write(guest, "payments", 2000);
        (void) sleep(1);
        gaps_begin(guest);
        for (unsigned i = 0; i < KILLS; i++) {
                uint64_t since_usec = clock_usec();

                kill_process(pid, SIGKILL);
                pid = wait_replaced(guest, pid);
                back_usec = MAX_OF(back_usec, clock_usec() - since_usec);
                (void) usleep(1100000); /* a life that is not quick (U3) */
        }
        pauses_print("20 kills of the supervisor", gaps_end(guest));
        printf("  a supervisor that was killed was back, at the latest, after %.0f ms\n",
               (double) back_usec / 1e3);
        shop_check(guest);
        if (live_workers(&guest->world, "events", NULL, 0) != 2)
                world_fail(&guest->world, "there are not two workers");
}

/* A pool whose workers live no longer than this is given new ones ever more slowly (supervisor/README.md), so the
 * kills come in groups. */
#define KILLS_A_GROUP 4

static struct pauses kill_owners(struct guest *guest) {
        struct pauses pauses;

        shop_write(guest, "orders", 2000);
        shop_write(guest, "payments", 2000);
        (void) sleep(1);
        gaps_begin(guest);
        for (unsigned i = 0; i < KILLS_A_GROUP; i++) {
                struct pool_look look;

                wait_settled(&guest->world, "events", 2, &look);
                kill_and_wait(look.owners[i % 2], SIGKILL);
                (void) usleep(200000);
        }
        pauses = gaps_end(guest);
        shop_check(guest);
        return pauses;
}

static void worker_killed(struct guest *guest) {
        struct pauses pauses = {};

        for (unsigned i = 0; i < KILLS; i += KILLS_A_GROUP) {
                pauses_add(&pauses, kill_owners(guest));
                shell(guest, "systemctl restart baton");
        }
        pauses_print("20 kills of owners", pauses);
        WAIT_UNTIL(&guest->world, all_owned_by_live(&guest->world));
}

static void reloaded(struct guest *guest) {
        struct world *world = &guest->world;
        pid_t pid = main_pid(guest);
        uint64_t epoch;

        wait_settled(world, "events", 2, NULL);
        epoch = session_epoch(world, "orders");
        world_outbox(world, "refunds");
        shell(guest, "chown baton:baton " SHOP "/refunds.db");
        shell(guest,
              "printf '[source refunds]\\nurl = sqlite:" SHOP "/refunds.db?table=outbox\\nto = events\\n' "
              ">/etc/baton/baton.conf.d/refunds.conf");
        shell(guest, "systemctl reload baton");
        outbox_fill(world, "refunds", 50);
        shop_check(guest);
        shell(guest, "echo '[sauce x]' >/etc/baton/baton.conf.d/bad.conf");
        if (shell_code(guest, "systemctl reload baton") == 0)
                world_fail(world, "a reload of a bad configuration did not fail");
        shell(guest, "journalctl -q -u baton BATON_KIND=reload-refused | grep -q sauce");
        if (!unit_is(guest, "baton", "active", "running"))
                world_fail(world, "a failed reload has ended the service");
        if (main_pid(guest) != pid || session_epoch(world, "orders") != epoch)
                world_fail(world, "a session that no reload changed has noticed one");
        shell(guest, "rm /etc/baton/baton.conf.d/bad.conf");
}

/* As shipped, but for the time. */
static void watchdog(struct guest *guest) {
        pid_t pid = main_pid(guest);

        drop_in(guest, "baton", "WatchdogSec=2");
        kill_process(pid, SIGKILL); /* the period is read at the start */
        pid = wait_replaced(guest, pid);
        shop_write(guest, "orders", 2000);
        (void) sleep(1);
        gaps_begin(guest);
        kill_process(pid, SIGSTOP);
        pid = wait_replaced(guest, pid);
        pauses_print("the watchdog replaces a stopped supervisor", gaps_end(guest));
        shop_check(guest);
        drop_in_end(guest, "baton");
}

/* U3: a service that cannot start is tried again and again, ever more slowly, and starts when it can. */
static void quick_deaths(struct guest *guest) {
        struct world *world = &guest->world;
        unsigned long tries;

        shell(guest, "systemctl stop baton && mv /etc/baton/baton.conf /etc/baton/away && "
                     "systemctl start --no-block baton");
        (void) sleep(3);
        tries = strtoul(unit_property(guest, "baton", "NRestarts"), NULL, 10);
        (void) sleep(3);
        tries = strtoul(unit_property(guest, "baton", "NRestarts"), NULL, 10) - tries;
        if (unit_is(guest, "baton", "failed", NULL))
                world_fail(world, "the service has given up");
        if (tries > 4)
                world_fail(world, "it was started %lu times in 3 s", tries);
        shell(guest, "mv /etc/baton/away /etc/baton/baton.conf");
        (void) wait_replaced(guest, 0);
        outbox_fill(world, "orders", 10);
        shop_check(guest);
}

/* U6: the file went bad, and then the supervisor died. Longer than its adopt-timeout is too long for here; that its
 * workers have a supervisor is what matters. */
static void bad_configuration(struct guest *guest) {
        struct world *world = &guest->world;
        pid_t pid = main_pid(guest), workers[2];

        if (live_workers(world, "events", workers, 2) != 2)
                world_fail(world, "there are not two workers");
        shell(guest, "echo '[sauce x]' >/etc/baton/baton.conf.d/bad.conf");
        shop_write(guest, "orders", 1000);
        kill_process(pid, SIGKILL);
        (void) wait_replaced(guest, pid);
        if (!strstr(unit_property(guest, "baton", "StatusText"), "bad.conf:1: "))
                world_fail(world, "STATUS= does not say why: %s",
                           unit_property(guest, "baton", "StatusText"));
        if (baton(world, "status") != 4 || !strstr(world->output, "bad.conf:1: "))
                world_fail(world, "baton status does not say why: %s", world->output);
        shell(guest,
              "for i in $(seq 50); do journalctl -u baton BATON_KIND=configuration-kept -p err -o cat | "
              "grep -q bad.conf:1: && exit; sleep 0.1; done; exit 1");
        if (!process_is_alive(workers[0]) || !process_is_alive(workers[1]))
                world_fail(world, "a worker has ended for it");
        if (shell_code(guest, "baton upgrade") == 0 || !strstr(world->output, "bad.conf:1: "))
                world_fail(world, "an upgrade is not refused for it: %s", world->output);
        shell(guest, "test $(stat -c %%a /run/baton/config.good) = 600");
        shell(guest, "rm /etc/baton/baton.conf.d/bad.conf && baton reload && baton status");
        shop_check(guest);
}

/* V11: workers of a supervisor that died are children of systemd, which reaps them at once. */
static void adopted_killed(struct guest *guest) {
        struct world *world = &guest->world;
        pid_t pid = main_pid(guest), worker;
        bool tells;

        kill_process(pid, SIGKILL);
        (void) wait_replaced(guest, pid);
        worker = worker_of(world, "events", 0);
        kill_and_wait(worker, SIGKILL);
        wait_settled(world, "events", 2, NULL);
        tells = shell_code(guest,
                           "test \"$(printf '%%s\\n' 6.15 $(uname -r) | sort -V | head -n 1)\" = 6.15") == 0;
        shell(guest,
              "for i in $(seq 80); do journalctl -u baton BATON_PID=%d BATON_KIND=worker-ended -o verbose | "
              "grep -qx ' *BATON_REASON=%s' && exit; sleep 0.1; done; exit 1",
              (int) worker, tells ? "SIGKILL" : "unknown");
        outbox_fill(world, "orders", 10);
        shop_check(guest);
}

const struct step steps_supervise[] = {
        { "start, status", start },
        { "undisturbed", undisturbed },
        { "20 kills of the supervisor", supervisor_killed },
        { "20 kills of owners", worker_killed },
        { "reload", reloaded },
        { "a configuration that is bad by then", bad_configuration },
        { "how an adopted worker ended", adopted_killed },
        { "watchdog", watchdog },
        { "quick deaths", quick_deaths },
        { NULL, NULL },
};
