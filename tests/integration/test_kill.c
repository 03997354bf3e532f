/* SPDX-License-Identifier: Apache-2.0 */
/* Picture C: workers are killed, wherever they are, and every event is there once, in order (S1, S7, M2).
 * Each test ends with the checker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/integration/lib/outbox.h"
#include "tests/integration/lib/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(kill, .init = begin, .fini = end, .timeout = 120);

/* Two outboxes with a backlog, moved in batches of 500: so a transaction takes long enough to be hit. */
static void start_with_backlog(unsigned workers, uint64_t events) {
        world_outbox(&world, "a");
        world_outbox(&world, "b");
        outbox_fill(&world, "a", events);
        outbox_fill(&world, "b", events);
        world_config_standard(&world, workers, "batch-rows = 500\n");
        world_start(&world);
}

static void wait_workers(uint32_t workers) {
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == workers && all_owned_by_live(&world));
}

static void finish(void) {
        wait_all_moved(&world);
        check_final(&world);
        cr_expect(!strstr(world.output, "parked:"), "nothing may be parked: %s", world.output);
}

static uint64_t moved(void) {
        return session_position(&world, "a") + session_position(&world, "b");
}

/* Kills whoever is in a transaction, `times` times, while the backlog is moved. Between two kills something
 * is moved: three deaths of one event alone would be its fault, and park or stop it (M6). */
static void kill_in_transactions(int signal_number, unsigned times) {
        unsigned killed = 0;
        pid_t pid;

        for (uint64_t since = wait_begin(); killed < times;) {
                uint64_t before = moved();

                pid = any_in_transaction(&world);
                if (pid == 0) {
                        if (clock_usec() - since > WAIT_SECONDS * USEC_PER_SEC)
                                world_fail(&world, "only %u kills in a transaction", killed);
                        continue;
                }
                kill_and_wait(pid, signal_number);
                killed++;
                WAIT_UNTIL(&world, moved() > before + 500);
        }
}

Test(kill, at_rest) {
        start_with_backlog(2, 100);
        wait_workers(2);
        wait_all_moved(&world);
        WAIT_UNTIL(&world,
                   session_owner(&world, "a") != session_owner(&world, "b") && all_owned_by_live(&world));
        pid_t victim = session_owner(&world, "a");
        uint64_t epoch = session_epoch(&world, "a");

        kill_and_wait(victim, SIGKILL);
        WAIT_UNTIL(&world, session_owner(&world, "a") != 0 && session_owner(&world, "a") != victim);
        cr_expect_gt(session_epoch(&world, "a"), epoch, "each change of owner raises the epoch");
        outbox_fill(&world, "a", 200);
        outbox_fill(&world, "b", 200);
        wait_workers(2); /* the supervisor starts another */
        finish();
}

Test(kill, the_only_worker) {
        start_with_backlog(1, 2000);
        wait_workers(1);
        kill_and_wait(session_owner(&world, "a"), SIGKILL);
        wait_workers(1);
        finish();
}

Test(kill, in_a_transaction) {
        start_with_backlog(2, 20000);
        kill_in_transactions(SIGKILL, 6);
        finish();
}

Test(kill, by_a_segmentation_fault_in_a_transaction) {
        start_with_backlog(2, 20000);
        kill_in_transactions(SIGSEGV, 4);
        finish();
}

Test(kill, by_abort_and_terminate_mixed) {
        start_with_backlog(2, 20000);
        kill_in_transactions(SIGABRT, 2);
        kill_in_transactions(SIGTERM, 2);
        kill_in_transactions(SIGBUS, 2);
        finish();
}

Test(kill, all_workers_at_once) {
        pid_t pids[8];
        uint32_t count;

        start_with_backlog(3, 10000);
        wait_workers(3);
        for (unsigned round = 0; round < 2; round++) {
                WAIT_UNTIL(&world, any_in_transaction(&world) != 0 || session_position(&world, "a") >= 10000);
                count = live_workers(&world, "d", pids, ELEMENTSOF(pids));
                cr_assert_gt(count, 0);
                for (uint32_t i = 0; i < count; i++)
                        kill_process(pids[i], SIGKILL);
                wait_workers(3);
        }
        finish();
}

Test(kill, victim_and_watcher_together) {
        start_with_backlog(3, 10000);
        for (unsigned round = 0; round < 3; round++) {
                wait_workers(3);
                pid_t victim = session_owner(&world, round % 2 ? "a" : "b");
                pid_t watcher = worker_of(&world, "d", 0) == victim ? worker_of(&world, "d", 1)
                                                                    : worker_of(&world, "d", 0);

                cr_assert(victim > 0 && watcher > 0 && victim != watcher);
                /* Stopped, the watcher has not heard of the death when it dies itself. */
                kill_process(watcher, SIGSTOP);
                kill_process(victim, SIGKILL);
                kill_process(watcher, SIGKILL);
        }
        wait_workers(3);
        finish();
}

/* The heir is killed a random moment (0 to 1.5 ms) after the victim: before, in and after its takeover. */
Test(kill, a_worker_that_is_just_running_a_takeover) {
        unsigned seed = (unsigned) getpid();

        fprintf(stderr, "seed %u\n", seed);
        start_with_backlog(9, 20000);
        for (unsigned round = 0; round < 4; round++) {
                pid_t victim, others[8];
                uint64_t since = clock_usec(), wait_usec = (uint64_t) rand_r(&seed) % 1500;

                WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) > 2 && all_owned_by_live(&world));
                victim = session_owner(&world, "a");
                uint32_t count = live_workers(&world, "d", others, ELEMENTSOF(others));

                kill_process(victim, SIGKILL);
                while (clock_usec() - since < wait_usec)
                        ;
                for (uint32_t i = 0; i < count; i++)
                        if (others[i] != victim) {
                                kill_process(others[i], SIGKILL);
                                break;
                        }
        }
        finish();
}

/* ---- smoke torture ----------------------------------------------------------------------------- */
static void random_harm(unsigned *seed) {
        pid_t pids[8];
        uint32_t count = live_workers(&world, "d", pids, ELEMENTSOF(pids));
        pid_t victim = count > 0 ? pids[(unsigned) rand_r(seed) % count] : 0;

        switch (rand_r(seed) % 6) {
        case 0:
                world_kill_batond(&world);
                world_start(&world);
                break;
        case 1:
                world_kill_batond(&world);
                kill_process(victim, SIGKILL);
                world_start(&world);
                break;
        case 2:
                kill_process(victim, SIGSTOP);
                (void) usleep((useconds_t) rand_r(seed) % 5000);
                kill_process(victim, SIGCONT);
                break;
        case 3:
                kill_process(victim, SIGSEGV);
                break;
        default:
                kill_process(victim, SIGKILL);
                break;
        }
}

Test(kill, twenty_times_at_random) {
        const char *told = getenv("BATON_TEST_SEED");
        unsigned seed = told ? (unsigned) strtoul(told, NULL, 10) : (unsigned) clock_usec();
        struct writer_options options = {
                .events = 12000, .per_second = 8000, .rolls_back = true, .leaves_gaps = true
        };
        pid_t writers[2];

        fprintf(stderr, "BATON_TEST_SEED=%u\n", seed);
        start_with_backlog(6, 2000);
        for (size_t i = 0; i < 2; i++) {
                options.source = i ? "b" : "a";
                writers[i] = writer_start(&world, &options);
        }
        for (unsigned round = 0; round < 20; round++) {
                WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) > 0);
                (void) usleep((useconds_t) rand_r(&seed) % 60000);
                random_harm(&seed);
                if (round % 7 == 6)
                        check_live(&world);
        }
        writer_wait(&world, writers[0]);
        writer_wait(&world, writers[1]);
        finish();
}
