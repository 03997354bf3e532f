/* SPDX-License-Identifier: Apache-2.0 */
/* S8, M2: what an heir keeps warm is used after a takeover only where it is still what the slot speaks of. */
#include "tests/unit/worker_fixture.h"

static void teardown(void) {
        warm_done(&worker);
        roster_free(&worker.roster);
        worker_teardown();
}

TestSuite(warm, .init = worker_setup, .fini = teardown);

/* A session that this worker is the heir of, its source open. */
static void keep_warm(void) {
        struct layout_config config = config_of("a", "a.db", "");

        cr_assert_eq(slot_configure(segment, 0, 0, &config), 0);
        slot_assign(segment, 0, 0, worker.ref);
        cr_assert_eq(roster_publish(&worker.roster, worker.segment, 0), 0);
        worker.warm.is_due = true;
        worker.warm.renew_at_usec = 0;
        warm_renew(&worker, clock_usec());
        cr_assert_not_null(worker.warm.sources[0].source);
}

static void take_over(void) {
        look_at_slot(&worker, 0);
        cr_assert_not_null(worker.by_slot[0]);
        settle();
        expect_phase(0, SESSION_IDLE);
}

Test(warm, S8_what_was_open_is_used) {
        sqlite3 *app = app_outbox("a.db");
        struct source *source;

        app_fill(app, 5);
        keep_warm();
        source = worker.warm.sources[0].source;
        take_over();
        cr_assert_eq(worker.by_slot[0]->source, source);
        cr_assert_eq(moved("a"), 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(warm, M2_what_was_opened_for_another_configuration_is_not) {
        struct layout_config config = config_of("a", "a.db", "?table=second");
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 5);
        app_run(app, "CREATE TABLE second (" OUTBOX_COLUMNS "); INSERT INTO second (payload) VALUES ('x')");
        keep_warm();
        cr_assert_eq(slot_reconfigure(segment, 0, &config), 0);
        take_over();
        cr_assert_eq(moved("a"), 1, "from the table that the slot names");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(warm, M4_what_another_file_has_replaced_is_not) {
        sqlite3 *app = app_outbox("a.db"), *other = app_outbox("other.db");

        app_fill(app, 5);
        app_fill(other, 3);
        keep_warm();
        cr_assert_eq(sqlite3_close(app) + sqlite3_close(other), SQLITE_OK);
        shell("rm -f a.db-wal a.db-shm && mv other.db a.db");
        take_over();
        cr_assert_eq(moved("a"), 3);
}
