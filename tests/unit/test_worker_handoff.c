/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-off queue: a slot stands in it at most once, nothing put is lost, three threads at work. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <urcu/wfcqueue.h>

/* The source itself, so that somebody can be let in behind its enqueue. */
static bool enqueue(struct cds_wfcq_head *head, struct cds_wfcq_tail *tail, struct cds_wfcq_node *node);
#define cds_wfcq_enqueue enqueue
#include "worker/handoff.c"
#undef cds_wfcq_enqueue

#define SLOT_COUNT 512u
#define ROUND_COUNT 20000u

static struct handoff *quick; /* its mover takes what is queued before the call that queued it has returned */

static bool enqueue(struct cds_wfcq_head *head, struct cds_wfcq_tail *tail, struct cds_wfcq_node *node) {
        bool was_filled = cds_wfcq_enqueue(head, tail, node);
        uint32_t slot_index;

        if (quick)
                cr_assert_eq(handoff_take(quick, &slot_index), 0);
        return was_filled;
}

Test(handoff, a_mover_that_is_quicker_is_told_again) {
        struct handoff handoff = { 0 };
        uint32_t slot_index;

        cr_assert_eq(handoff_init(&handoff, SLOT_COUNT), 0);
        quick = &handoff;
        handoff_put(&handoff, 7);
        quick = NULL;
        cr_assert_eq(handoff_take(&handoff, &slot_index), -ENOENT, "taken already");
        handoff_put(&handoff, 7);
        cr_assert_eq(handoff_take(&handoff, &slot_index), 0, "a later change is a hint of its own");
        cr_assert_eq(slot_index, 7);
        handoff_done(&handoff);
}

Test(handoff, once_until_taken) {
        struct handoff handoff = { 0 };
        uint32_t slot_index = 99;

        cr_assert_eq(handoff_init(&handoff, SLOT_COUNT), 0);
        cr_assert_eq(handoff_take(&handoff, &slot_index), -ENOENT);
        cr_assert_eq(slot_index, 99, "an output is untouched on failure");
        handoff_put(&handoff, 7);
        handoff_put(&handoff, 7);
        handoff_put(&handoff, 3);
        cr_assert_eq(handoff_take(&handoff, &slot_index), 0);
        cr_assert_eq(slot_index, 7);
        handoff_put(&handoff, 7);
        cr_assert_eq(handoff_take(&handoff, &slot_index), 0);
        cr_assert_eq(slot_index, 3);
        cr_assert_eq(handoff_take(&handoff, &slot_index), 0);
        cr_assert_eq(slot_index, 7, "put again after it was taken");
        cr_assert_eq(handoff_take(&handoff, &slot_index), -ENOENT);
        handoff_done(&handoff);
}

struct shared {
        struct handoff handoff;
        _Atomic uint32_t wanted[SLOT_COUNT]; /* the state behind the hint: put is called after each change */
        _Atomic uint32_t producers_left;
};

static void *produce(void *argument) {
        struct shared *shared = argument;

        for (uint32_t i = 0; i < ROUND_COUNT; i++) {
                uint32_t slot_index = i * 31 % SLOT_COUNT;

                atomic_fetch_add(&shared->wanted[slot_index], 1);
                handoff_put(&shared->handoff, slot_index);
        }
        atomic_fetch_sub(&shared->producers_left, 1);
        return NULL;
}

/* S12: what matters is not how often a slot comes out, but that the last change is seen. */
Test(handoff, the_last_change_is_always_seen) {
        static struct shared shared = { .producers_left = 2 };
        static uint32_t seen[SLOT_COUNT];
        pthread_t threads[2];
        uint32_t slot_index;
        bool is_last = false;

        cr_assert_eq(handoff_init(&shared.handoff, SLOT_COUNT), 0);
        for (size_t i = 0; i < 2; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, produce, &shared), 0);
        while (!is_last) {
                is_last = atomic_load(&shared.producers_left) == 0;
                while (handoff_take(&shared.handoff, &slot_index) == 0)
                        seen[slot_index] = atomic_load(&shared.wanted[slot_index]);
        }
        for (size_t i = 0; i < 2; i++)
                cr_assert_eq(pthread_join(threads[i], NULL), 0);
        for (uint32_t i = 0; i < SLOT_COUNT; i++)
                cr_assert_eq(seen[i], atomic_load(&shared.wanted[i]), "slot %u", i);
        handoff_done(&shared.handoff);
}
