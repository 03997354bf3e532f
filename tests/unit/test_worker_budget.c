/* SPDX-License-Identifier: Apache-2.0 */
/* S8: a worker with more sessions than it may hold open. Each is moved, whoever's source is closed meanwhile; of sources
 * as many stay open as the budget says, and of attachments the ones that are used. */
#include "tests/unit/worker_fixture.h"
#include "worker/destination/sqlite_destination.h"

#define SESSIONS 70u /* more than twice the budget of pass.c, and more than one pass takes */
#define BUDGET 32u
#define EVENTS 3

static void setup(void) {
        const struct segment_geometry geometry = { 4, SESSIONS };

        if (access("/dev/shm", W_OK) == 0) /* nothing here asks for a disk */
                (void) setenv("TMPDIR", "/dev/shm", 1);
        fixture_setup();
        log_init("test");
        log_level(LOG_EMERG);
        shell("mkdir state run");
        must(segment_create(path_of("run"), &geometry, fixture_instance, 1ULL << 32, &segment, failure));
        settings_write();
        urcu_memb_register_thread();
        worker_enter();
}

TestSuite(budget, .init = setup, .fini = worker_teardown);

static void name_of(uint32_t i, char ret_name[16]) {
        (void) snprintf(ret_name, 16, "s%02u", i);
}

/* One outbox, copied: the applications are closed, the sources at rest. */
static void outboxes_make(void) {
        sqlite3 *app = app_outbox("one.db");
        char command[128];

        app_fill(app, EVENTS);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        (void) snprintf(command, sizeof command, "for i in $(seq -w 0 %u); do cp one.db s$i.db; done",
                        SESSIONS - 1);
        shell(command);
}

static void sessions_begin(uint32_t count) {
        char name[16], file[32];

        for (uint32_t i = 0; i < count; i++) {
                name_of(i, name);
                (void) snprintf(file, sizeof file, "%s.db", name);
                (void) session_begin_on(i, name, file, "");
        }
}

static void app_adds_to(uint32_t i) {
        char file[32];
        sqlite3 *app;

        (void) snprintf(file, sizeof file, "s%02u.db", i);
        app = app_open(file);
        app_fill(app, EVENTS);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        session_set_ready(worker.by_slot[i]);
}

static void expect_moved(int64_t events) {
        sqlite3 *db = app_open("d.db");

        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"), events);
        cr_assert_eq(
                app_number(db, "SELECT count(*) FROM (SELECT session, count(*) AS c, max(position) AS m FROM "
                               "baton_events GROUP BY session HAVING c <> m)"),
                0, "a gap");
        cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

static size_t sources_open(void) {
        size_t count = 0;

        for (uint32_t i = 0; i < SESSIONS; i++)
                count += worker.by_slot[i] && worker.by_slot[i]->source;
        cr_assert_eq(count, worker.open_source_count);
        return count;
}

Test(budget, S8_so_many_sources_stay_open_and_every_session_is_moved) {
        outboxes_make();
        sessions_begin(SESSIONS);
        settle();
        expect_moved((int64_t) SESSIONS * EVENTS);
        cr_assert_leq(sources_open(), BUDGET);
        cr_assert_gt(sources_open(), 0);
        /* The one that was closed first is opened again, and a younger one makes room. */
        for (uint32_t i = 0; i < SESSIONS; i++)
                if (!worker.by_slot[i]->source) {
                        app_adds_to(i);
                        settle();
                        cr_assert_not_null(worker.by_slot[i]->source, "it was the last to be active");
                        break;
                }
        expect_moved((int64_t) SESSIONS * EVENTS + EVENTS);
        cr_assert_leq(sources_open(), BUDGET);
}

/* ---- what an heir keeps warm --------------------------------------------------------------------------- */

/* The heir of `count` sessions; `active_usec` of each as its owner told. */
static void heir_of(const uint64_t *active_usec, uint32_t count) {
        char name[16], file[32];

        for (uint32_t i = 0; i < count; i++) {
                struct session_status status = { .commit_last_usec = active_usec[i] };
                struct layout_config config;

                name_of(i, name);
                (void) snprintf(file, sizeof file, "%s.db", name);
                config = config_of(name, file, "");
                config.sibling_slot = i;
                cr_assert_eq(slot_configure(segment, i, 0, &config), 0);
                slot_assign(segment, i, 0, worker.ref);
                session_status_write(segment, i, &status);
        }
        cr_assert_eq(roster_publish(&worker.roster, worker.segment, 0), 0);
}

static void renew_warm(void) {
        worker.warm.is_due = true;
        worker.warm.renew_at_usec = 0;
        warm_renew(&worker, clock_usec());
}

static bool is_warm(uint32_t slot_index) {
        for (uint32_t i = 0; i < WARM_COUNT; i++)
                if (worker.warm.sources[i].entry && worker.warm.sources[i].slot_index == slot_index)
                        return worker.warm.sources[i].source;
        return false;
}

Test(budget, S8_an_heir_keeps_the_most_active_sources_warm) {
        static const uint64_t active_usec[] = { 5, 100, 3, 90, 80, 1, 70, 60, 50, 40, 2, 30 };
        struct session_status status = { .commit_last_usec = 200 };

        outboxes_make();
        heir_of(active_usec, ELEMENTSOF(active_usec));
        renew_warm();
        for (uint32_t i = 0; i < ELEMENTSOF(active_usec); i++)
                cr_assert_eq(is_warm(i), active_usec[i] >= 30, "session %u, active at %lu", i,
                             (unsigned long) active_usec[i]);
        session_status_write(segment, 5, &status); /* it moves again */
        atomic_store(&segment_slot(segment, 3)->quarantined, 1);
        renew_warm();
        cr_assert(is_warm(5));
        cr_assert_not(is_warm(3), "nobody will take that one");
        cr_assert(is_warm(11));
        warm_done(&worker);
        roster_free(&worker.roster);
}

/* Its first batch goes row by row, before it is claimed; the second wants an attachment. */
static void move_twice(uint32_t first, uint32_t count) {
        for (uint32_t i = first; i < first + count; i++)
                app_adds_to(i);
        settle();
}

/* M13: SQLite attaches ten databases and no more. */
Test(budget, M13_an_attachment_that_rests_makes_room_for_one_that_works) {
        const uint32_t late = FUSED_ATTACHED_MAX;

        outboxes_make();
        sessions_begin(late + 2);
        settle();
        move_twice(0, late);
        cr_assert_eq(worker.fused_count, FUSED_ATTACHED_MAX);
        for (uint32_t i = 0; i < late; i++)
                worker.by_slot[i]->active_usec = i == 4 ? 1 : 2; /* long ago; this one the longest */
        move_twice(late, 1);
        cr_assert(worker.by_slot[late]->fused);
        cr_assert_not(worker.by_slot[4]->fused, "the one that rested the longest was detached");
        cr_assert_eq(worker.fused_count, FUSED_ATTACHED_MAX);
        app_adds_to(late + 1);
        for (uint32_t i = 0; i <= late; i++) /* all have work: it takes the row path */
                session_set_ready(worker.by_slot[i]);
        settle();
        cr_assert_not(worker.by_slot[late + 1]->fused);
        expect_moved((int64_t) (late + 2) * 2 * EVENTS);
}
