/* SPDX-License-Identifier: Apache-2.0 */
/* Whose fault a worker's death was (M6): an event that workers die of by their own fault is parked; one
 * that was only in hand when they were killed is not, whatever they were killed with. */
#include <stdio.h>
#include <string.h>

#include "prove/world/outbox.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(blame, .init = begin, .fini = end, .timeout = 120);

/* Ten events are moved, row by row, by a pool that has others to go on. */
static void start(void) {
        world_outbox(&world, "a");
        outbox_fill(&world, "a", 10);
        world_config_standard(&world, 4, "fused = no\n");
        world_start(&world);
        wait_all_moved(&world);
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 4);
}

static int64_t parked(void) {
        return database_number(&world, world_path(&world, "d.db"), "SELECT count(*) FROM baton_parked");
}

/* Event 15 takes longer than any test, so that whoever has it in hand can be hit. */
static void make_event_15_slow(void) {
        database_run(&world, world_path(&world, "d.db"),
                     "CREATE TRIGGER slow BEFORE INSERT ON baton_events WHEN new.position = 15 BEGIN "
                     "SELECT count(*) FROM baton_events, baton_events, baton_events, baton_events, "
                     "baton_events, baton_events, baton_events, baton_events, baton_events, baton_events, "
                     "baton_events, baton_events; END");
}

static void hit_whoever_has_event_15(int signal_number) {
        pid_t victim = 0;

        WAIT_UNTIL(&world, (victim = worker_at_event(&world, 15)) != 0);
        kill_and_wait(victim, signal_number);
}

Test(blame, M6_three_faults_sent_from_outside_park_nothing) {
        start();
        make_event_15_slow();
        outbox_fill(&world, "a", 10);
        hit_whoever_has_event_15(SIGSEGV);
        hit_whoever_has_event_15(SIGABRT);
        hit_whoever_has_event_15(SIGBUS);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "event 15"), "%s", session_reason(&world, "a"));
        cr_expect(strstr(session_reason(&world, "a"), "outside"), "%s", session_reason(&world, "a"));
        cr_expect_eq(database_number(&world, world_path(&world, "d.db"), "SELECT count(*) FROM baton_events"),
                     14, "what was before it is moved");
        cr_expect_eq(parked(), 0);
        database_run(&world, world_path(&world, "d.db"), "DROP TRIGGER slow");
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        wait_all_moved(&world);
        cr_expect_eq(parked(), 0, "a healthy event");
        check_final(&world);
}

/* The commit that holds event 11 kills three workers, and no fourth. */
static void die_three_times_of_event_11(const char *rule) {
        world_faulty(&world);
        start();
        world_faults(&world, rule);
        outbox_fill(&world, "a", 1);
        WAIT_UNTIL(&world, world_fault_count(&world) == 3);
        WAIT_UNTIL(&world, session_position(&world, "a") == 11);
        outbox_fill(&world, "a", 10);
        wait_all_moved(&world);
        cr_expect_eq(parked(), 1);
        cr_expect_eq(database_number(&world, world_path(&world, "d.db"), "SELECT position FROM baton_parked"),
                     11);
        check_final(&world);
}

Test(blame, M6_three_faults_of_its_own_park_the_event) {
        die_three_times_of_event_11("sync SEGV 3 */d.db-wal\n");
}

Test(blame, M6_three_aborts_park_the_event) {
        die_three_times_of_event_11("sync ABRT 3 */d.db-wal\n");
}
