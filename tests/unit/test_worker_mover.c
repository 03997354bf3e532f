/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover does with a source that changes, fails or is not there (M4, M7, M12, W2), and what it says
 * meanwhile: each case turned by hand, without threads. */
#include "tests/unit/worker_fixture.h"
#include "worker/destination/sqlite_destination.h"

TestSuite(mover, .init = worker_setup, .fini = worker_teardown);

static struct source_ops replaced_ops;

/* The session's source with operations that a test may replace one by one. */
static void ops_replace(struct session *session) {
        replaced_ops = *session->entry->ops;
        session->entry->ops = &replaced_ops;
}

/* A backup comes into the source's file after the anchor was compared and before the events are read. */
static sqlite3 *restoring;

static int fetch_after_a_restore(struct source *source, uint64_t after, const struct batch_limits *limits,
                                 struct event_batch *batch, bool *ret_more, struct failure *ret_failure) {
        app_run(restoring, "UPDATE outbox SET payload = 'restored ' || seq");
        return source_ops_find("sqlite")->fetch(source, after, limits, batch, ret_more, ret_failure);
}

static unsigned range_failures;

static int range_fails_once(struct source *source, uint64_t *ret_first, uint64_t *ret_last,
                            struct failure *ret_failure) {
        if (range_failures++ == 0)
                return failure_set(ret_failure, -EAGAIN, FAILURE_UNAVAILABLE, "a lock, for this once");
        return source_ops_find("sqlite")->range(source, ret_first, ret_last, ret_failure);
}

static void stop_by_emptying(sqlite3 *app, struct session *session) {
        app_run(app, "DELETE FROM outbox");
        session_set_ready(session);
        settle();
        expect_phase(session->slot_index, SESSION_STOPPED);
}

/* ---- M4: `baton adopt` ------------------------------------------------------------------------------ */

/* Another outbox at the same path, with numbers beyond those moved: what an adopt in vain would accept. */
static void replace_by_another(const char *name) {
        sqlite3 *other = app_outbox("other.db");
        char commands[256];

        app_fill(other, 20);
        cr_assert_eq(sqlite3_close(other), SQLITE_OK);
        (void) snprintf(commands, sizeof commands, "rm -f %s-wal %s-shm && mv other.db %s", name, name, name);
        shell(commands);
}

static void adopt_once(sqlite3 *app) {
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        settle();
        cr_assert_eq(moved("a"), 5);
        stop_by_emptying(app, session);
        adopt(0);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(status_of(0).adopt_done, 1);
}

static void expect_not_accepted(void) {
        look_at_slot(&worker, 0); /* any hint */
        cr_assert_not(worker.by_slot[0]->adopting);
        session_set_ready(worker.by_slot[0]);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_eq(moved("a"), 5, "nothing of the other file");
}

Test(mover, M4_an_adopt_is_not_obeyed_again_after_a_reload) {
        sqlite3 *app = app_outbox("a.db");
        struct layout_config config;

        adopt_once(app);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        config = config_of("a", "a.db", "?clean-up=keep");
        cr_assert_eq(slot_reconfigure(segment, 0, &config), 0);
        look_at_slot(&worker, 0);
        settle();
        expect_phase(0, SESSION_IDLE);
        replace_by_another("a.db");
        expect_not_accepted();
}

Test(mover, M4_an_adopt_is_not_obeyed_again_by_the_next_owner) {
        sqlite3 *app = app_outbox("a.db");

        adopt_once(app);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        worker_leave();
        worker_enter();
        replace_by_another("a.db");
        (void) session_take(0);
        expect_not_accepted();
}

Test(mover, M4_a_source_adopted_while_empty_is_idle_and_not_looked_at_for_ever) {
        sqlite3 *app = app_outbox("a.db");

        adopt_once(app); /* settle() counts the passes */
        sweep(clock_usec());
        settle();
        expect_phase(0, SESSION_IDLE);
        app_fill(app, 2); /* AUTOINCREMENT: 6 and 7 */
        session_set_ready(worker.by_slot[0]);
        settle();
        cr_assert_eq(moved("a"), 7);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* The same rows so far, and whatever will come: another file all the same. */
Test(mover, M4_a_copy_in_the_place_of_the_source_is_not_moved_from) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        settle();
        cr_assert_eq(moved("a"), 5);
        app_run(app, "PRAGMA wal_checkpoint(TRUNCATE)");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        shell("cp a.db copy.db && rm -f a.db-wal a.db-shm && mv copy.db a.db");
        app = app_open("a.db");
        app_fill(app, 5);
        session_set_ready(session);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_eq(status_of(0).failure_kind, FAILURE_IDENTITY);
        cr_assert_eq(moved("a"), 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- W2: clean-up that had to wait ------------------------------------------------------------------ */

/* 100 events moved, none cleaned: the application held its lock just then. */
static struct session *clean_up_waits(sqlite3 *app) {
        struct session *session = session_begin_on(0, "a", "a.db", "?clean-up=delete");

        app_fill(app, 100);
        app_run(app, "BEGIN IMMEDIATE");
        settle();
        app_run(app, "COMMIT");
        cr_assert_eq(moved("a"), 100);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 100);
        cr_assert(session->clean_pending);
        return session;
}

Test(mover, W2_a_source_that_nothing_was_moved_from_has_no_clean_up_to_wait_for) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "?clean-up=delete");

        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_not(session->clean_pending, "an idle worker would wake for it every second");
        cr_assert_eq(clean_deadline(&worker, clock_usec()), USEC_INFINITY);
        app_fill(app, 100);
        session_set_ready(session);
        settle();
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 1, "all but the anchor (M4)");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(mover, W2_rows_that_a_trigger_keeps_are_not_deleted_again_and_again) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "?clean-up=delete");

        app_run(app, "CREATE TRIGGER keep BEFORE DELETE ON outbox BEGIN SELECT RAISE(IGNORE); END");
        app_fill(app, 3000); /* more than one step of the clean-up */
        settle();
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 3000);
        cr_assert_not(session->clean_pending, "an idle worker would try every 5 ms");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(mover, W2_clean_up_that_waited_is_done_later) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = clean_up_waits(app);

        clean_run(session);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 1, "all but the anchor (M4)");
        cr_assert_not(session->clean_pending);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* What the owner before could not clean up, of a source that was not there when the next one claimed. */
Test(mover, W2_clean_up_is_not_forgotten_where_the_source_came_after_the_claim) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = clean_up_waits(app);
        uint64_t now_usec = clock_usec();

        worker_leave();
        shell("mkdir away && mv a.db* away");
        worker_enter();
        session = session_take(0);
        settle();
        expect_phase(0, SESSION_WAITING);
        cr_assert_eq(clean_deadline(&worker, now_usec), USEC_INFINITY, "there is nothing to clean up yet");
        shell("mv away/* .");
        retry_now(session);
        settle();
        expect_phase(0, SESSION_IDLE);
        (void) clean_deadline(&worker, clock_usec());
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 1, "all but the anchor (M4)");
        cr_assert_not(session->clean_pending);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(mover, W2_nothing_is_cleaned_from_what_was_restored_into_the_same_file) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = clean_up_waits(app);

        /* The same numbers, other events: nobody has moved these. */
        app_run(app, "UPDATE outbox SET payload = 'restored ' || seq");
        clean_run(session);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 100);
        cr_assert(session->clean_pending);
        app_fill(app, 1);
        session_set_ready(session);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 101);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* Half a look is none, although nothing was committed since: the other half is where the table is missed. */
Test(mover, M4_a_look_that_failed_halfway_is_done_again) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        settle();
        expect_phase(0, SESSION_IDLE);
        ops_replace(session);
        replaced_ops.range = range_fails_once;
        range_failures = 0;
        app_run(app, "DELETE FROM outbox");
        session_set_ready(session);
        settle();
        expect_phase(0, SESSION_WAITING);
        retry_clear(&session->retry);
        session_set_ready(session);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(mover, M4_a_backup_restored_in_the_midst_of_a_batch_is_not_moved_from) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        settle();
        cr_assert_eq(moved("a"), 5);
        ops_replace(session);
        replaced_ops.fetch = fetch_after_a_restore;
        restoring = app;
        session->row_once = true; /* the row path: two questions, two snapshots */
        app_fill(app, 5);
        session_set_ready(session);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_eq(status_of(0).failure_kind, FAILURE_IDENTITY);
        cr_assert_eq(moved("a"), 5, "nothing of what was read is kept");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(mover, W2_nothing_is_cleaned_from_another_file_at_the_path) {
        sqlite3 *app = app_outbox("a.db"), *other = app_outbox("other.db");
        struct session *session = clean_up_waits(app);

        app_fill(other, 150);
        cr_assert_eq(sqlite3_close(app) + sqlite3_close(other), SQLITE_OK);
        shell("mv a.db old.db && mv -f a.db-wal old.db-wal && mv -f a.db-shm old.db-shm && mv other.db a.db");
        clean_run(session);
        other = app_open("a.db");
        cr_assert_eq(app_number(other, "SELECT count(*) FROM outbox"), 150);
        cr_assert_eq(sqlite3_close(other), SQLITE_OK);
}

/* ---- M14, M7: up to where a source may be cleaned ------------------------------------------------------ */

Test(mover, M7_nothing_is_cleaned_while_another_worker_has_the_destination_latched) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = clean_up_waits(app);

        atomic_store(&segment_pool(segment, 0)->latched, 1);
        clean_run(session);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 100);
        cr_assert(session->clean_pending);
        atomic_store(&segment_pool(segment, 0)->latched, 0);
        clean_run(session);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 1);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(mover, M14_a_sibling_that_nobody_has_claimed_yet_holds_the_clean_up) {
        struct layout_config config = config_of("a", "a.db", "?clean-up=delete");
        sqlite3 *app = app_outbox("a.db");
        struct session *session;

        for (uint32_t i = 0; i < 2;
             i++) { /* a source with two destinations; the other's worker is not here */
                config.sibling_slot = 1 - i;
                cr_assert_eq(slot_configure(segment, i, 0, &config), 0);
        }
        session = session_take(0);
        app_fill(app, 100);
        settle();
        cr_assert_eq(moved("a"), 100);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 100);
        session_durable_set(segment, 1, 40);
        clean_run(session);
        cr_assert_eq(app_number(app, "SELECT min(seq) FROM outbox"), 40,
                     "what the slower one has, and no more");
        cr_assert(session->clean_pending);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M12: closing ------------------------------------------------------------------------------------ */

/* SQLite cannot detach a database inside a transaction: the source is closed after it, and the other
 * session of the transaction is none the worse. */
Test(mover, M12_a_source_that_stops_in_a_transaction_is_closed_after_it) {
        sqlite3 *apps[] = { app_outbox("a.db"), app_outbox("b.db") };
        struct session *a = session_begin_on(0, "a", "a.db", ""), *b = session_begin_on(1, "b", "b.db", "");

        for (unsigned round = 0; round < 2; round++) { /* the first claims, the second attaches */
                app_fill(apps[0], 5);
                app_fill(apps[1], 5);
                session_set_ready(a);
                session_set_ready(b);
                settle();
        }
        cr_assert(a->fused && b->fused, "the case is about attached sources");
        app_run(apps[0], "DELETE FROM outbox");
        app_fill(apps[1], 5);
        session_set_ready(a);
        session_set_ready(b);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_null(a->source, "a session that does nothing holds nothing");
        cr_assert_not(a->fused);
        expect_phase(1, SESSION_IDLE);
        cr_assert_eq(moved("b"), 15);
        cr_assert_eq(worker.open_source_count, 1);
        cr_assert_eq(worker.fused_count, 1);
        cr_assert_eq(sqlite3_close(apps[0]) + sqlite3_close(apps[1]), SQLITE_OK);
}

/* ---- M7 at the source ------------------------------------------------------------------------------- */
static int sync_fails(struct source *source, struct failure *ret_failure) {
        (void) source;
        return failure_set(ret_failure, -EIO, FAILURE_SYNC, "a test: the sync of the source failed");
}

static void rows_alone(void) { /* the row path syncs through the source's own operations */
        fixture_fused = false;
        worker_setup();
}

TestSuite(mover_sync, .init = rows_alone, .fini = worker_teardown);

static void stop_by_sync(void) {
        ops_replace(session_begin_on(0, "a", "a.db", ""));
        replaced_ops.sync = sync_fails;
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_eq(status_of(0).failure_kind, FAILURE_SYNC);
}

static void expect_still_stopped(void) {
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_eq(status_of(0).failure_kind, FAILURE_SYNC);
        cr_assert_not_null(strstr(status_of(0).reason, "baton adopt"));
        cr_assert_eq(moved("a"), 0);
}

Test(mover_sync, M7_a_failed_sync_of_the_source_is_forgiven_by_the_operator_alone) {
        sqlite3 *app = app_outbox("a.db");
        struct layout_config config = config_of("a", "a.db", "?clean-up=keep");

        app_fill(app, 5);
        stop_by_sync();
        worker_leave();
        worker_enter(); /* another owner, whose syncs are good: the pages are lost all the same */
        (void) session_take(0);
        expect_still_stopped();
        cr_assert_eq(slot_reconfigure(segment, 0, &config), 0);
        look_at_slot(&worker, 0);
        expect_still_stopped();
        adopt(0);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

static enum worker_phase phase_in_sync;

static int sync_looks(struct source *source, struct failure *ret_failure) {
        phase_in_sync = atomic_load(&worker_record(&worker)->phase);
        return source_ops_find("sqlite")->sync(source, ret_failure);
}

/* Who is killed on a slow disk (S3) had put its events down: a taker must see that by the phase. */
Test(mover_sync, M6_a_death_in_the_sync_of_the_source_is_no_events_doing) {
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 5);
        ops_replace(session_begin_on(0, "a", "a.db", ""));
        replaced_ops.sync = sync_looks;
        settle();
        cr_assert_eq(moved("a"), 5);
        cr_assert_eq(phase_in_sync, PHASE_COMMITTING);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- S3: what is waited for with the turn held ------------------------------------------------------- */

static uint64_t begin_limit(uint64_t stall_timeout_usec, struct session *session, sqlite3 *app) {
        atomic_store(&segment->header->stall_timeout_usec, stall_timeout_usec);
        app_fill(app, 1);
        session_set_ready(session);
        settle();
        return worker.destination->busy.limit_usec;
}

/* The destination's lock is waited for half of stall-timeout at most, as it is now. */
Test(mover_sync, S3_no_wait_for_the_destination_lasts_as_long_as_stall_timeout) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        cr_expect_eq(begin_limit(2 * USEC_PER_SEC, session, app), 1 * USEC_PER_SEC);
        cr_expect_eq(begin_limit(60 * USEC_PER_SEC, session, app), 5 * USEC_PER_SEC);
        cr_expect_eq(begin_limit(500 * USEC_PER_MSEC, session, app), 250 * USEC_PER_MSEC);
        cr_expect_eq(begin_limit(0, session, app), 5 * USEC_PER_SEC,
                     "not written yet: no bound of the mover's");
        cr_assert_eq(moved("a"), 4);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- what is said while it waits --------------------------------------------------------------------- */
static void expect_lag_unknown(void) {
        struct session_status status = status_of(0);

        cr_assert_eq(status.lag_events, LAG_UNKNOWN);
        cr_assert_eq(status.lag_bytes, LAG_UNKNOWN);
        cr_assert_eq(status.oldest_realtime_usec, LAG_UNKNOWN);
}

Test(mover, lag_is_unknown_and_not_zero_while_the_source_is_absent) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(status_of(0).lag_events, 0);
        shell("mv a.db away.db");
        session_set_ready(session);
        settle();
        expect_phase(0, SESSION_WAITING);
        expect_lag_unknown();
        shell("mv away.db a.db");
        retry_now(session);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(status_of(0).lag_events, 0);
        stop_by_emptying(app, session);
        expect_lag_unknown();
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M9: the source that was not there at the claim -------------------------------------------------- */

/* The claim stands without the source. Its return is news, and does not wait for the growing retry. */
Test(mover, M9_a_source_that_was_absent_at_the_claim_is_heard_when_it_comes) {
        sqlite3 *app = app_outbox("later.db");
        struct session *session;

        app_fill(app, 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        session = session_begin_on(0, "a", "a.db", "");
        settle();
        expect_phase(0, SESSION_WAITING);
        cr_assert(session->claimed, "position and epoch are told");
        cr_assert_not(hears(session));
        shell("mv later.db a.db");
        cr_assert(hears(session), "inotify ends the wait");
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 5);
}
