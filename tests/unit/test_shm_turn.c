/* SPDX-License-Identifier: Apache-2.0 */
/* The turn: one at a time, in turns, freed by death, and no price for being alone (S3, S11). */
#include <sched.h>
#include <seccomp.h>

#include "shm/turn.h"
#include "tests/unit/test_shm_support.h"

#define TURNS 200

/* Words of an unused pool, which all processes of a test see. */
static _Atomic uint32_t *flag_of(struct segment *segment) {
        return &segment_pool(segment, 63)->latched;
}

/* Who had the turns, in order; written under the turn alone, and not atomically, on purpose. */
static void log_turn(struct segment *segment, char who) {
        struct layout_pool *log = segment_pool(segment, 62);
        uint64_t n = log->takeover_count;

        log->url[n % LAYOUT_URL_BYTES] = who;
        test_pause(); /* a transaction: long enough for the other to come and wait */
        log->takeover_count = n + 1;
}

static int take_turns(struct segment *segment, void *argument) {
        uint64_t ref = *(uint64_t *) argument;

        (void) atomic_fetch_add(flag_of(segment), 1);
        while (atomic_load(flag_of(segment)) < 2)
                (void) sched_yield();
        for (unsigned i = 0; i < TURNS; i++) {
                if (turn_take(segment, 0, ref, NULL, NULL) < 0)
                        return 1;
                log_turn(segment, ref == 1 ? 'a' : 'b');
                turn_give(segment, 0, ref);
        }
        return 0;
}

Test(shm_turn, two_movers_alternate) {
        struct segment *segment = test_segment(4, 16);
        uint64_t one = 1, two = 2;
        pid_t first = child_run(segment, take_turns, &one), second = child_run(segment, take_turns, &two);
        unsigned changes = 0;

        child_succeeds(first, "first");
        child_succeeds(second, "second");
        cr_assert_eq(segment_pool(segment, 62)->takeover_count, 2 * TURNS, "never two at once");
        for (unsigned i = 1; i < 2 * TURNS; i++)
                changes += segment_pool(segment, 62)->url[i] != segment_pool(segment, 62)->url[i - 1];
        /* Strictly it is one change a turn; a mover that is not scheduled for 5 ms is passed over. */
        cr_assert_gt(changes, TURNS, "%u changes in %u turns", changes, 2 * TURNS);
        cr_assert_eq(atomic_load(&segment_pool(segment, 0)->turn_waiters), 0);
        cr_assert_eq(atomic_load(&segment_pool(segment, 0)->turn_holder_ref), 0);
        cr_assert_eq(atomic_load(&segment_pool(segment, 0)->turn_since_usec), 0);
}

static int take_alone(struct segment *segment, void *argument) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

        (void) argument;
        if (seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(futex), 0) < 0 ||
            seccomp_load(filter) < 0)
                return 1;
        seccomp_release(filter);
        for (unsigned i = 0; i < 1000; i++) {
                if (turn_take(segment, 0, 1, NULL, NULL) < 0)
                        return 2;
                if (atomic_load(&segment_pool(segment, 0)->turn_holder_ref) != 1 ||
                    atomic_load(&segment_pool(segment, 0)->turn_since_usec) == 0)
                        return 3;
                turn_give(segment, 0, 1);
        }
        return 0;
}

Test(shm_turn, alone_it_makes_no_futex_call) {
        child_succeeds(child_run(test_segment(4, 16), take_alone, NULL), "a thousand turns alone");
}

static int hold_turn(struct segment *segment, void *argument) {
        (void) argument;
        if (turn_take(segment, 0, 1, NULL, NULL) < 0)
                return 1;
        atomic_store(flag_of(segment), 1);
        for (;;)
                (void) pause();
}

static bool pulse_twice(void *context) {
        return ++*(unsigned *) context >= 2;
}

Test(shm_turn, s3_a_holder_that_dies_frees_it_and_pulse_ends_the_wait) {
        struct segment *segment = test_segment(4, 16);
        pid_t holder = child_run(segment, hold_turn, NULL);
        unsigned pulses = 0;

        while (atomic_load(flag_of(segment)) == 0)
                test_pause();
        cr_assert_eq(turn_take(segment, 0, 2, pulse_twice, &pulses), -ECANCELED);
        cr_assert_eq(pulses, 2);
        cr_assert_eq(atomic_load(&segment_pool(segment, 0)->turn_waiters), 0);
        cr_assert_eq(kill(holder, SIGKILL), 0);
        cr_assert_eq(turn_take(segment, 0, 2, NULL, NULL), 0);
        turn_give(segment, 0, 2);
        cr_assert_eq(turn_take(segment, 0, 2, NULL, NULL), 0, "mended");
        turn_give(segment, 0, 2);
        (void) child_status(holder);
}

static int wait_for_turn(struct segment *segment, void *argument) {
        (void) argument;
        while (atomic_load(flag_of(segment)) == 0)
                test_pause();
        return turn_take(segment, 0, 2, NULL, NULL) < 0;
}

/* A waiter that is killed stays counted; it must not cost a courtesy for ever. */
Test(shm_turn, a_dead_waiter_is_forgotten) {
        struct segment *segment = test_segment(4, 16);
        pid_t waiter = child_run(segment, wait_for_turn, NULL);

        cr_assert_eq(turn_take(segment, 0, 1, NULL, NULL), 0);
        atomic_store(flag_of(segment), 1);
        while (atomic_load(&segment_pool(segment, 0)->turn_waiters) == 0)
                test_pause();
        cr_assert_eq(kill(waiter, SIGKILL), 0);
        (void) child_status(waiter);
        turn_give(segment, 0, 1);
        cr_assert_eq(atomic_load(&segment_pool(segment, 0)->turn_waiters), 1);
        cr_assert_eq(turn_take(segment, 0, 1, NULL, NULL), 0);
        cr_assert_eq(atomic_load(&segment_pool(segment, 0)->turn_waiters), 0);
        turn_give(segment, 0, 1);
}

Test(shm_turn, s11_a_lost_turn_condemns) {
        struct segment *segment = test_segment(4, 16);
        pid_t holder = child_run(segment, hold_turn, NULL);
        uint32_t word;

        while (atomic_load(flag_of(segment)) == 0)
                test_pause();
        word = atomic_load(lock_word(&segment_pool(segment, 0)->turn));
        cr_assert_eq(kill(holder, SIGKILL), 0);
        (void) child_status(holder);
        atomic_store(lock_word(&segment_pool(segment, 0)->turn), word); /* no robust list said so */
        cr_assert_eq(turn_take(segment, 0, 2, NULL, NULL), -ENOTRECOVERABLE);
        cr_assert_eq(atomic_load(&segment->header->condemned), 1);
        cr_assert_eq(turn_take(segment, 1, 2, NULL, NULL), -ENOTRECOVERABLE, "nobody goes on in it");
}
