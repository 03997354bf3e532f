/* SPDX-License-Identifier: Apache-2.0 */
/* W6: a mover with many sessions answers pings between two of them, and ends a turn in time. A ping comes
 * whenever the mover is inside a source; at the next source it must have been answered. */
#include "tests/unit/worker_fixture.h"

#define SESSION_COUNT 3u

static sqlite3 *apps[SESSION_COUNT];
static struct session *sessions[SESSION_COUNT];
static struct source_ops slow_ops; /* of source/sqlite.c, some of them replaced */
static unsigned visit_count, unanswered_count;

static void setup(void) {
        fixture_fused = false;
        worker_setup();
        visit_count = unanswered_count = 0;
}

static void teardown(void) {
        for (size_t i = 0; i < SESSION_COUNT; i++)
                cr_assert_eq(sqlite3_close(apps[i]), SQLITE_OK);
        worker_teardown();
}

TestSuite(pulse, .init = setup, .fini = teardown);

/* Sessions with five events each, whose sources have these operations. */
static const struct source_ops *begin_all(void) {
        static const char *const names[SESSION_COUNT] = { "a", "b", "c" };
        const struct source_ops *real = NULL;

        for (uint32_t i = 0; i < SESSION_COUNT; i++) {
                char file[16];

                (void) snprintf(file, sizeof file, "%s.db", names[i]);
                apps[i] = app_outbox(file);
                app_fill(apps[i], 5);
                sessions[i] = session_begin_on(i, names[i], file, "?clean-up=delete");
                real = sessions[i]->entry->ops;
                slow_ops = *real;
        }
        for (uint32_t i = 0; i < SESSION_COUNT; i++)
                sessions[i]->entry->ops = &slow_ops;
        return real;
}

/* The supervisor pings while we are here; by now the ping of the last visit is answered. */
static void visited(void) {
        struct layout_worker *record = worker_record(&worker);

        if (visit_count++ > 0 && atomic_load(&record->pong) != atomic_load(&record->ping))
                unanswered_count++;
        atomic_fetch_add(&record->ping, 1);
}

static const struct source_ops *real_ops;

static void close_slowly(struct source *source) {
        visited();
        real_ops->close(source);
}

static int clean_slowly(struct source *source, uint64_t position, uint32_t rows, bool *ret_more,
                        struct failure *ret_failure) {
        visited();
        return real_ops->clean(source, position, rows, ret_more, ret_failure);
}

static void expect_answered(void) {
        cr_assert_eq(visit_count, SESSION_COUNT);
        cr_assert_eq(unanswered_count, 0);
}

Test(pulse, W6_between_sessions_after_a_commit) {
        real_ops = begin_all();
        slow_ops.clean = clean_slowly;
        pass_run(&worker);
        expect_answered();
}

Test(pulse, W6_between_sessions_of_a_drain) {
        real_ops = begin_all();
        settle();
        slow_ops.close = close_slowly;
        worker_drain(&worker, DRAIN_STOP);
        cr_assert_eq(mover_run(&worker), 0);
        expect_answered();
}

Test(pulse, W6_between_slots_that_are_handed_to_the_mover) {
        real_ops = begin_all();
        settle();
        slow_ops.close = close_slowly;
        for (uint32_t i = 0; i < SESSION_COUNT; i++) {
                slot_unwant(segment, i);
                handoff_put(&worker.handoff, i);
        }
        worker_drain(&worker, DRAIN_STOP); /* nothing is left to drain; it ends the loop */
        cr_assert_eq(mover_run(&worker), 0);
        expect_answered();
}

/* The time of a batch is over at once: the first of each transaction moves, and the others take turns. */
Test(pulse, W6_claims_are_bounded_by_the_time_of_a_batch) {
        (void) begin_all();
        worker.settings.batch_usec = 0;
        pass_run(&worker);
        cr_assert(sessions[0]->claimed);
        cr_assert_not(sessions[1]->claimed);
        cr_assert_not(sessions[2]->claimed);
        cr_assert(sessions[1]->is_ready && sessions[2]->is_ready);
        settle();
        cr_assert_eq(moved("a") + moved("b") + moved("c"), 15);
}
