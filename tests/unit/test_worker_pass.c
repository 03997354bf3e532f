/* SPDX-License-Identifier: Apache-2.0 */
/* Passes over a destination of which one operation fails, or is noted: what is told of a commit that failed (M1,
 * M14), what is synced when (M11), and what is opened anew (M6). */
#include "shm/pool.h"
#include "shm/takeover.h"
#include "tests/unit/worker_fixture.h"
#include "worker/source/sqlite_db.h"

TestSuite(pass, .init = worker_setup, .fini = worker_teardown);

static struct destination_ops replaced_destination_ops;

static int commit_fails(struct destination *destination, struct failure *ret_failure) {
        (void) destination;
        return failure_set(ret_failure, -EBUSY, FAILURE_UNAVAILABLE, "a test: it could not be committed");
}

/* Five events are committed; five more are put, and their commit fails. */
static struct session *commit_in_vain(sqlite3 *app) {
        struct session *session = session_begin_on(0, "a", "a.db", "");
        const struct destination_ops *ops = worker.destination_ops;

        app_fill(app, 5);
        settle();
        replaced_destination_ops = *ops;
        replaced_destination_ops.commit = commit_fails;
        worker.destination_ops = &replaced_destination_ops;
        app_fill(app, 5);
        session_set_ready(session);
        settle();
        expect_phase(0, SESSION_WAITING);
        worker.destination_ops = ops;
        return session;
}

/* The journal is never ahead: else the next owner takes the destination for an old copy of itself. */
Test(pass, M1_nothing_is_journalled_that_was_not_committed) {
        sqlite3 *app = app_outbox("a.db");

        (void) commit_in_vain(app);
        worker_leave();
        worker_enter();
        (void) session_take(0);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* A sibling cleans the source by what is told: what is told must stand. */
Test(pass, M14_nothing_is_told_durable_that_was_not_committed) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = commit_in_vain(app);
        uint64_t position = 0;

        cr_assert_eq(session_durable_get(segment, 0, &position), 0);
        cr_assert_eq(position, 5, "five are durable, whatever was tried");
        retry_now(session);
        settle();
        cr_assert_eq(session_durable_get(segment, 0, &position), 0);
        cr_assert_eq(position, 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M6: what SQLite forgot to unlock ------------------------------------------------------------------ */

static unsigned close_count;

static int begin_finds_a_forgotten_lock(struct destination *destination, struct failure *ret_failure) {
        (void) destination;
        return db_fail(NULL, SQLITE_PROTOCOL, "d.db", "begin a transaction in it", ret_failure);
}

static void close_is_counted(struct destination *destination) {
        close_count++;
        destination_ops_find("sqlite")->close(destination);
}

/* The kernel lets go of it when the files are closed; nobody else can. */
Test(pass, M6_a_destination_whose_locks_are_in_doubt_is_opened_again) {
        const struct destination_ops *ops = worker.destination_ops;
        struct session *session = session_begin_on(0, "a", "a.db", "");
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 5);
        settle();
        replaced_destination_ops = *ops;
        replaced_destination_ops.begin = begin_finds_a_forgotten_lock;
        replaced_destination_ops.close = close_is_counted;
        worker.destination_ops = &replaced_destination_ops;
        app_fill(app, 5);
        session_set_ready(session);
        pass_run(&worker);
        cr_assert_eq(close_count, 1);
        expect_phase(0, SESSION_WAITING);
        worker.destination_ops = ops;
        retry_now(session);
        settle();
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M11: synced is what was read, so after it was read ------------------------------------------------ */

static unsigned call_count, moved_at, synced_at;
static const struct destination_ops *true_destination_ops;

static int noted_move(struct destination_session *session, uint64_t after, const struct batch_limits *limits,
                      struct moved *ret_moved, struct failure *ret_failure) {
        moved_at = ++call_count;
        return true_destination_ops->fused_move(session, after, limits, ret_moved, ret_failure);
}

static int noted_sync(struct destination_session *session, struct failure *ret_failure) {
        synced_at = ++call_count;
        return true_destination_ops->fused_sync(session, ret_failure);
}

Test(pass, M11_the_source_is_synced_after_its_events_were_read) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        settle();
        true_destination_ops = worker.destination_ops;
        replaced_destination_ops = *true_destination_ops;
        replaced_destination_ops.fused_move = noted_move;
        replaced_destination_ops.fused_sync = noted_sync;
        worker.destination_ops = &replaced_destination_ops;
        app_fill(app, 5);
        session_set_ready(session);
        settle();
        worker.destination_ops = true_destination_ops;
        cr_assert_eq(moved("a"), 10);
        cr_assert_gt(moved_at, 0, "the case is about the fused path");
        cr_assert_gt(synced_at, moved_at, "what is committed between the two would be moved and not synced");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M2, S11: an epoch that nobody gave -------------------------------------------------------------------- */

Test(pass, S11_an_overwritten_epoch_reaches_no_destination) {
        sqlite3 *app = app_outbox("a.db");
        struct layout_config config = config_of("a", "a.db", "");

        app_fill(app, 5);
        cr_assert_eq(slot_configure(segment, 0, 0, &config), 0);
        slot_assign(segment, 0, worker.ref, 0);
        memset((void *) &segment->slots[0].epoch, 'x', sizeof(segment->slots[0].epoch));
        cr_assert_eq(takeover_run(segment, 0, 0, NULL), 0);
        look_at_slot(&worker, 0);
        settle();
        cr_assert(segment_is_condemned(segment), "the supervisor makes a new one");
        cr_assert_eq(moved("a"), 0);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
