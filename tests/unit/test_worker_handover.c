/* SPDX-License-Identifier: Apache-2.0 */
/* S7, H9: whom a mover hands a slot to, and what becomes of one that nobody is there to take. */
#include <pthread.h>

#include "shm/takeover.h"
#include "tests/unit/worker_fixture.h"

TestSuite(handover, .init = worker_setup, .fini = worker_teardown);

/* Another worker of the pool: a thread that enters, and leaves when it is told to. */
struct neighbour {
        pthread_t thread;
        pthread_barrier_t has_entered, may_leave;
        uint64_t ref;
};

static void *neighbour_live(void *argument) {
        struct failure neighbour_failure;
        struct neighbour *neighbour = argument;

        if (life_enter(segment, 0, &neighbour->ref, &neighbour_failure) < 0)
                abort();
        (void) pthread_barrier_wait(&neighbour->has_entered);
        (void) pthread_barrier_wait(&neighbour->may_leave);
        life_leave(segment, neighbour->ref);
        return NULL;
}

static void neighbour_start(struct neighbour *neighbour) {
        cr_assert_eq(pthread_barrier_init(&neighbour->has_entered, NULL, 2), 0);
        cr_assert_eq(pthread_barrier_init(&neighbour->may_leave, NULL, 2), 0);
        cr_assert_eq(pthread_create(&neighbour->thread, NULL, neighbour_live, neighbour), 0);
        (void) pthread_barrier_wait(&neighbour->has_entered);
}

static void neighbour_stop(struct neighbour *neighbour) {
        (void) pthread_barrier_wait(&neighbour->may_leave);
        cr_assert_eq(pthread_join(neighbour->thread, NULL), 0);
}

/* A look gave us what is meant for a worker that leaves. It would have to give it on, and whoever that is
 * might be gone by then. */
Test(handover, S7_what_is_meant_for_a_draining_worker_is_run_by_who_has_it) {
        struct layout_config config = config_of("a", "a.db", "");
        sqlite3 *app = app_outbox("a.db");
        struct neighbour neighbour;

        app_fill(app, 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        neighbour_start(&neighbour);
        atomic_store(&segment_worker(segment, worker_ref_index(neighbour.ref))->drain_ref, neighbour.ref);
        cr_assert_eq(slot_configure(segment, 0, 0, &config), 0);
        slot_assign(segment, 0, neighbour.ref, 0);
        cr_assert_eq(takeover_run(segment, 0, 0, NULL), 0);
        cr_assert(slot_is_owned_by(segment, 0, worker.ref, segment_slot(segment, 0)->epoch),
                  "given by a look");
        look_at_slot(&worker, 0);
        cr_assert_not_null(worker.by_slot[0], "and begun");
        settle();
        cr_assert_eq(moved("a"), 5);
        neighbour_stop(&neighbour);
}

/* The receiver is gone between the mover's look at the slot and its release: the session comes back. */
Test(handover, S7_what_is_handed_to_the_gone_comes_back) {
        struct session *session;
        sqlite3 *app = app_outbox("a.db");
        struct neighbour neighbour;

        app_fill(app, 5);
        session = session_begin_on(0, "a", "a.db", "");
        settle();
        neighbour_start(&neighbour);
        slot_assign(segment, 0, neighbour.ref, 0);
        neighbour_stop(&neighbour);
        session_hand_over(session, neighbour.ref);
        cr_assert_null(worker.by_slot[0]);
        look_at_slot(&worker, 0); /* the hint that it is ours */
        cr_assert_not_null(worker.by_slot[0]);
        app_fill(app, 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        settle();
        cr_assert_eq(moved("a"), 10);
}
