/* SPDX-License-Identifier: Apache-2.0 */
/* Claims at a destination that holds a higher epoch (M1, M2, S11): the slot decides who is the past; whoever may go on goes on,
 * whoever may not stops or lets go, and nothing is moved meanwhile. */
#include "tests/unit/worker_fixture.h"

TestSuite(claim, .init = worker_setup, .fini = worker_teardown);

static struct destination_ops fenced_ops;
static unsigned fences;
static void (*at_fence)(void);

/* Somebody is always one epoch ahead. */
static int fence_ahead(struct destination_session *session, uint64_t epoch, struct checkpoint *checkpoint,
                       bool *ret_found, bool *ret_tail, struct failure *ret_failure) {
        (void) session;
        fences++;
        *ret_found = *ret_tail = false;
        checkpoint->epoch = epoch + 1;
        if (at_fence)
                at_fence();
        return failure_set(ret_failure, -ESTALE, FAILURE_FENCED, "there stands epoch %lu",
                           (unsigned long) epoch + 1);
}

/* The worker's destination with a fence that a test made; opens it first. */
static void fence_replace(void) {
        struct failure failure = { 0 };

        cr_assert_eq(target_open(&worker, &failure), 0, "%s", failure.text);
        fenced_ops = *worker.destination_ops;
        fenced_ops.fence = fence_ahead;
        worker.destination_ops = &fenced_ops;
}

static void session_with_events(sqlite3 **ret_app) {
        *ret_app = app_outbox("a.db");
        app_fill(*ret_app, 5);
        (void) session_begin_on(0, "a", "a.db", "");
}

Test(claim, M2_an_epoch_that_always_rises_is_waited_for_and_said) {
        uint64_t before;
        sqlite3 *app;

        fence_replace();
        session_with_events(&app);
        before = worker.by_slot[0]->epoch;
        settle();
        expect_phase(0, SESSION_WAITING);
        cr_assert_not_null(strstr(status_of(0).reason, "is another Baton at work"), "%s",
                           status_of(0).reason);
        cr_assert_eq(fences, 3, "bounded");
        cr_assert_eq(worker.by_slot[0]->epoch, before + 6,
                     "the owner's epoch rose each time, above what it found");
        worker.destination_ops = destination_ops_find("sqlite");
        retry_now(worker.by_slot[0]);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

static void slot_goes_to_another(void) {
        atomic_store(&segment_slot(segment, 0)->owner_ref, worker_ref(3, 1));
}

/* S2: it was proven dead meanwhile. Somebody else moves. */
Test(claim, M2_who_is_the_past_lets_go) {
        sqlite3 *app;

        fence_replace();
        session_with_events(&app);
        at_fence = slot_goes_to_another;
        settle();
        at_fence = NULL;
        cr_assert_null(worker.by_slot[0], "not ours");
        cr_assert_eq(worker.session_count, 0);
        worker.destination_ops = destination_ops_find("sqlite");
        cr_assert_eq(moved("a"), 0);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

static void checkpoint_edit(const char *assignment) {
        sqlite3 *db = app_open("d.db");

        app_run(db, "UPDATE baton_checkpoint SET %s", assignment);
        cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

/* S11: a segment that is younger than the destination; an epoch that nobody gave is a damaged row. */
Test(claim, S11_a_higher_epoch_is_overtaken_and_an_impossible_one_stops) {
        sqlite3 *app;

        session_with_events(&app);
        settle();
        session_hand_over(worker.by_slot[0], 0);
        checkpoint_edit("epoch = epoch + 1000");
        (void) session_take(0);
        app_fill(app, 5);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 10);

        session_hand_over(worker.by_slot[0], 0);
        checkpoint_edit("epoch = 9223372036854775807");
        (void) session_take(0);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_not_null(strstr(status_of(0).reason, "which no worker gave"), "%s", status_of(0).reason);
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* M1: the journal remembers more than the destination holds: an older copy was put back. */
Test(claim, M1_a_destination_behind_the_journal_stops_until_adopted) {
        sqlite3 *app;

        session_with_events(&app);
        settle();
        session_hand_over(worker.by_slot[0], 0);
        checkpoint_edit("position = 3, anchor = 0");
        (void) session_take(0);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_not_null(strstr(status_of(0).reason, "holds session a up to 3, but the journal"), "%s",
                           status_of(0).reason);
        cr_assert_not_null(strstr(status_of(0).reason, "saw 5 durable there"), "%s", status_of(0).reason);
        cr_assert_eq(moved("a"), 5, "nothing was written");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
