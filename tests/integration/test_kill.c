/* SPDX-License-Identifier: Apache-2.0 */
/* Picture C: workers are killed, wherever they are, and every event is there once, in order (S1, S7, M2).
 * Each test ends with the checker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/world/outbox.h"
#include "tests/integration/test.h"

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

/* Sessions as the look numbers them. */
enum { A, B };

static struct pool_look settled(uint32_t workers) {
        struct pool_look look;

        wait_settled(&world, "d", workers, &look);
        return look;
}

static void finish(void) {
        wait_all_moved(&world);
        check_final(&world);
        cr_expect(!strstr(world.output, "parked:"), "nothing may be parked: %s", world.output);
}

static void kill_in_transactions(int signal_number, unsigned times) {
        for (unsigned i = 0; i < times; i++)
                kill_in_transaction(&world, signal_number);
}

Test(kill, at_rest) {
        start_with_backlog(2, 100);
        wait_all_moved(&world);
        struct pool_look before = settled(2);

        kill_and_wait(before.owners[A], SIGKILL);
        WAIT_UNTIL(&world, session_owner(&world, "a") != 0);
        cr_expect_gt(session_epoch(&world, "a"), before.epochs[A], "each change of owner raises the epoch");
        outbox_fill(&world, "a", 200);
        outbox_fill(&world, "b", 200);
        (void) settled(2); /* the supervisor starts another */
        finish();
}

Test(kill, the_only_worker) {
        start_with_backlog(1, 2000);
        struct pool_look before = settled(1);

        kill_and_wait(before.owners[A], SIGKILL);
        struct pool_look after = settled(1);

        cr_expect_gt(after.epochs[A], before.epochs[A]);
        cr_expect_gt(after.epochs[B], before.epochs[B]);
        finish();
}

/* S7: who has joined hears of a death, also while it opens the destination and the disk does not answer. There is no
 * supervisor, whose next worker would take over in its stead. */
Test(kill, while_the_heir_opens_the_destination) {
        pid_t owner;

        world_faulty(&world);
        start_with_backlog(1, 100);
        wait_all_moved(&world);
        owner = session_owner(&world, "a");
        world_faults(&world, "sync STALL 0 *.new\n"); /* of its journal */
        cr_assert_eq(baton(&world, "scale", "d", "2"), 0, "%s", world.output);
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 2 && world_fault_count(&world) > 0);
        world_kill_batond(&world);
        kill_and_wait(owner, SIGKILL);
        WAIT_UNTIL(&world, all_owned_by_live(&world));
        world_faults_end(&world);
        world_start(&world);
        finish();
}

/* S7: who stands in the table is counted on as an heir, so it must not stand there before it can hear. */
Test(kill, nobody_has_joined_who_cannot_hear) {
        world_faulty(&world);
        start_with_backlog(1, 100);
        wait_all_moved(&world);
        world_faults(&world, "thread STALL 0 *\n");
        cr_assert_eq(baton(&world, "scale", "d", "2"), 0, "%s", world.output);
        WAIT_UNTIL(&world, world_fault_count(&world) > 0);
        cr_expect_eq(live_workers(&world, "d", NULL, 0), 1,
                     "it stands in the table, and has no thread that hears");
        world_faults_end(&world);
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 2);
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
        start_with_backlog(3, 10000);
        struct pool_look before = settled(3);

        for (unsigned round = 0; round < 2; round++) {
                WAIT_UNTIL(&world, any_in_transaction(&world) != 0 || session_position(&world, "a") >= 10000);
                kill_together(before.workers, before.worker_count, SIGKILL);
                struct pool_look after = settled(3);

                cr_assert_gt(after.epochs[A], before.epochs[A], "round %u: by one that was started then",
                             round);
                cr_assert_gt(after.epochs[B], before.epochs[B], "round %u", round);
                before = after;
        }
        finish();
}

/* The third worker takes over what either had, whichever of the two watchers it was that died (S7). */
Test(kill, victim_and_watcher_together) {
        start_with_backlog(3, 10000);
        for (unsigned round = 0; round < 3; round++) {
                unsigned session = round % 2;
                struct pool_look before;
                pid_t others[2], pair[2];
                size_t count = 0;

                WAIT_UNTIL(&world, pool_is_settled(&world, "d", 3, &before) && nobody_is_accused(&world));
                for (uint32_t i = 0; i < before.worker_count; i++)
                        if (before.workers[i] != before.owners[session])
                                others[count++] = before.workers[i];
                pair[0] = before.owners[session];
                pair[1] = others[round > 0];
                /* Stopped, the watcher has not heard of the death when it dies itself. */
                stop_process(&world, pair[1]);
                kill_together(pair, 2, SIGKILL);
                WAIT_UNTIL(&world, all_owned_by_live(&world));
                cr_assert_gt(session_epoch(&world, world.outboxes[session].name), before.epochs[session],
                             "round %u: it was taken over", round);
        }
        finish();
}

/* The heir is killed a random moment (0 to 1.5 ms) after the victim: before, in and after its takeover. */
Test(kill, a_worker_that_is_just_running_a_takeover) {
        unsigned seed = (unsigned) getpid();

        fprintf(stderr, "seed %u\n", seed);
        start_with_backlog(9, 20000);
        for (unsigned round = 0; round < 4; round++) {
                uint64_t wait_usec = (uint64_t) rand_r(&seed) % 1500, since;
                struct pool_look before;
                pid_t pair[2];

                WAIT_UNTIL(&world, pool_is_settled(&world, "d", 0, &before) && before.heirs[A] != 0 &&
                                           before.worker_count > 2 && nobody_is_accused(&world));
                pair[0] = before.owners[A];
                pair[1] = before.heirs[A];
                kill_process(pair[0], SIGKILL);
                since = clock_usec();
                while (clock_usec() - since < wait_usec)
                        ;
                kill_together(pair, 2, SIGKILL);
                WAIT_UNTIL(&world, all_owned_by_live(&world));
                cr_assert_gt(session_epoch(&world, "a"), before.epochs[A]);
        }
        finish();
}

/* ---- smoke torture ----------------------------------------------------------------------------- */
static void random_harm(unsigned *seed) {
        pid_t pids[8];
        uint32_t count = live_workers(&world, "d", pids, ELEMENTSOF(pids));
        pid_t victim;

        cr_assert_gt(count, 0, "nobody dies but by our hand");
        victim = pids[(unsigned) rand_r(seed) % count];
        switch (rand_r(seed) % 6) {
        case 0:
                world_kill_batond(&world);
                world_start(&world);
                break;
        case 1:
                world_kill_batond(&world);
                kill_and_wait(victim, SIGKILL);
                world_start(&world);
                break;
        case 2:
                kill_process(victim, SIGSTOP);
                (void) usleep((useconds_t) rand_r(seed) % 5000);
                kill_process(victim, SIGCONT);
                break;
        case 3:
                kill_and_wait(victim, SIGSEGV);
                break;
        default:
                kill_and_wait(victim, SIGKILL);
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
                (void) usleep((useconds_t) rand_r(&seed) % 60000);
                /* A third death on one event alone would rightly stop its session, or park it (M6). */
                WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) > 0 &&
                                           session_deaths(&world, "a") < 2 &&
                                           session_deaths(&world, "b") < 2);
                random_harm(&seed);
                if (round % 7 == 6)
                        check_live(&world);
        }
        writer_wait(&world, writers[0]);
        writer_wait(&world, writers[1]);
        finish();
}
