/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover does when the pool's settings change under it, or the ground it stands on (P3, S3, S11): new limits hold at
 * once, another destination is another process, and who is held for dead touches nothing any more. */
#include "tests/unit/worker_fixture.h"

TestSuite(reload, .init = worker_setup, .fini = worker_teardown);

static struct pool_settings settings_now(void) {
        struct pool_settings settings;

        cr_assert_eq(pool_settings_read(segment, 0, &settings), 0);
        return settings;
}

static void session_moved(sqlite3 **ret_app) {
        *ret_app = app_outbox("a.db");
        app_fill(*ret_app, 5);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        cr_assert_eq(moved("a"), 5);
}

static uint64_t owner_of(uint32_t slot_index) {
        struct slot_view view;

        cr_assert_eq(slot_read(segment, slot_index, &view), 0);
        return view.owner_ref;
}

/* One round of the mover's loop: it is told to leave, and reads the settings before it does. */
static void mover_round(void) {
        worker_drain(&worker, DRAIN_LEAVE);
        cr_assert_eq(mover_run(&worker), 0);
        atomic_store(&worker.draining, DRAIN_NO);
}

Test(reload, new_limits_hold_at_once) {
        struct pool_settings settings = settings_now();
        sqlite3 *app;

        session_moved(&app);
        settings.batch_rows = 2;
        settings.batch_bytes = 1 << 16;
        settings.parked_limit = 7;
        pool_settings_write(segment, 0, &settings);
        mover_round();
        cr_assert_eq(worker.settings.batch_rows, 2);
        cr_assert_eq(worker.settings.parked_limit, 7);
        cr_assert_eq(worker.batch.arena_capacity_bytes >= (1 << 16), true);
        app_fill(app, 5);
        (void) session_take(0);
        settle();
        cr_assert_eq(moved("a"), 10, "in batches of two");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* S8: there is no memory for what an operator wrote: what holds now goes on holding. */
Test(reload, limits_that_no_memory_holds_change_nothing) {
        struct pool_settings settings = settings_now(), before = worker.settings;
        sqlite3 *app;

        session_moved(&app);
        settings.batch_bytes = UINT64_MAX / 4;
        settings.parked_limit = 7;
        pool_settings_write(segment, 0, &settings);
        mover_round();
        cr_assert_eq(worker.settings.batch_bytes, before.batch_bytes);
        cr_assert_eq(worker.settings.parked_limit, before.parked_limit, "all of them or none");
        app_fill(app, 5);
        (void) session_take(0);
        settle();
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

static void leaves_by_itself(const struct pool_settings *settings) {
        sqlite3 *app;

        session_moved(&app);
        pool_settings_write(segment, 0, settings);
        cr_assert_eq(mover_run(&worker), 0, "it leaves in order");
        cr_assert_eq(worker.session_count, 0);
        cr_assert_eq(owner_of(0), 0, "its slots are released");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(reload, P3_another_destination_is_another_process) {
        struct pool_settings settings = settings_now();

        (void) snprintf(settings.url, sizeof settings.url, "sqlite:%s", path_of("other.db"));
        leaves_by_itself(&settings);
        cr_assert_eq(access(path_of("other.db"), F_OK), -1, "this one does not even open it");
}

Test(reload, P3_a_destination_that_is_withdrawn_is_left) {
        struct pool_settings settings = settings_now();

        settings.state = POOL_LEAVING;
        leaves_by_itself(&settings);
}

/* ---- the ground is gone ------------------------------------------------------------------------------------ */

Test(reload, S11_in_a_condemned_segment_nothing_is_done_any_more) {
        sqlite3 *app;

        session_moved(&app);
        app_fill(app, 5);
        session_set_ready(worker.by_slot[0]);
        atomic_store(&segment->header->condemned, 1);
        cr_assert_eq(mover_run(&worker), -ESTALE);
        cr_assert_eq(moved("a"), 5, "nothing more");
        cr_assert_eq(owner_of(0), worker.ref, "nothing released: the next segment decides");
        atomic_store(&segment->header->condemned, 0);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* S3: others proved it dead, rightly or not; what it owned is theirs. */
Test(reload, S3_who_is_held_for_dead_touches_nothing) {
        struct layout_worker *record = worker_record(&worker);
        uint64_t life = atomic_load(&record->life);
        sqlite3 *app;

        session_moved(&app);
        app_fill(app, 5);
        session_set_ready(worker.by_slot[0]);
        atomic_store(&record->life, (life & ~UINT64_C(0xff)) | LIFE_DEAD);
        cr_assert_eq(mover_run(&worker), -ESTALE);
        cr_assert_eq(moved("a"), 5, "nothing more");
        atomic_store(&record->life, life);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* P1: a slot that was given to us and that nobody can read is not run. */
Test(reload, S4_a_quarantined_slot_is_let_go_of) {
        sqlite3 *app;

        session_moved(&app);
        atomic_store(&segment_slot(segment, 0)->quarantined, 1);
        look_at_slot(&worker, 0);
        cr_assert_null(worker.by_slot[0]);
        look_at_slot(&worker, 0); /* and again, with nothing to let go of */
        cr_assert_eq(worker.session_count, 0);
        atomic_store(&segment_slot(segment, 0)->quarantined, 0);
        (void) session_take(0);
        app_fill(app, 5);
        settle();
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* A reload wrote what no worker can parse: the session stops with the sentence, also when it is adopted. */
Test(reload, P1_a_configuration_that_does_not_parse_stops_its_session_alone) {
        struct layout_config config = config_of("a", "a.db", "?colour=red");
        sqlite3 *app;

        session_moved(&app);
        cr_assert_eq(slot_reconfigure(segment, 0, &config), 0);
        look_at_slot(&worker, 0);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_not_null(strstr(status_of(0).reason, "colour"), "%s", status_of(0).reason);
        adopt(0);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_not_null(strstr(status_of(0).reason, "colour"), "%s", status_of(0).reason);
        cr_assert_eq(status_of(0).adopt_done, 1, "answered");
        config = config_of("a", "a.db", "");
        cr_assert_eq(slot_reconfigure(segment, 0, &config), 0);
        look_at_slot(&worker, 0);
        app_fill(app, 5);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
