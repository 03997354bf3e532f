/* SPDX-License-Identifier: Apache-2.0 */
/* The turn at a destination with one writer: a robust mutex with fair alternation.
 * Obeys S3 (holder and since-when), S11. A holder that died left nothing to mend: the destination rolls
 * its transaction back. Uncontended, neither function makes a system call.
 * Must not touch: slots, lives, the destination. */
#include "shm/turn.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/macro.h"
#include "shm/doorbell.h"
#include "shm/lock.h"
#include "shm/pool.h"

/* The caller answers pings so often while it waits. */
#define TURN_SLICE_USEC (100 * USEC_PER_MSEC)
/* So long the giver stands back for a waiter. One that was counted and died costs this once. */
#define TURN_COURTESY_USEC (5 * USEC_PER_MSEC)

/* Set by turn_give() where others waited: this thread owes them the next turn. */
static _Thread_local bool courtesy_is_owed;
static _Thread_local uint32_t courtesy_served;

static void turn_count_waiter(struct layout_pool *pool) {
        assert(pool);

        (void) atomic_fetch_add_explicit(&pool->turn_waiters, 1, memory_order_acq_rel);
}

/* Not below 0: the count is put right by others where a waiter died (turn_stand_back). */
static void turn_uncount_waiter(struct layout_pool *pool) {
        uint32_t count;

        assert(pool);

        count = atomic_load_explicit(&pool->turn_waiters, memory_order_relaxed);
        while (count > 0 &&
               !atomic_compare_exchange_weak_explicit(&pool->turn_waiters, &count, count - 1,
                                                      memory_order_acq_rel, memory_order_relaxed))
                ;
}

/* Lets one of the waiting go first. If none takes the turn in time, they died: nobody is counted any
 * more (one that is only slow counts itself again with its next slice). */
static void turn_stand_back(struct layout_pool *pool) {
        uint64_t deadline_usec = clock_usec() + TURN_COURTESY_USEC;

        assert(pool);
        assert(courtesy_is_owed);

        courtesy_is_owed = false;
        while (atomic_load_explicit(&pool->turn_waiters, memory_order_acquire) > 0) {
                if (atomic_load_explicit(&pool->turn_served, memory_order_acquire) != courtesy_served)
                        return;
                if (futex_wait_shared(&pool->turn_served, courtesy_served, deadline_usec) == -ETIMEDOUT) {
                        atomic_store_explicit(&pool->turn_waiters, 0, memory_order_release);
                        return;
                }
        }
}

static int turn_wait(struct layout_pool *pool, bool (*pulse)(void *context), void *context) {
        int r;

        assert(pool);
        assert(!lock_is_held(LOCK_TURN));

        turn_count_waiter(pool);
        for (;;) {
                r = lock_take_until(&pool->turn, LOCK_TURN, clock_usec() + TURN_SLICE_USEC);
                if (r != -ETIMEDOUT)
                        break;
                if (lock_holder_is_lost(&pool->turn)) {
                        r = -ENOTRECOVERABLE;
                        break;
                }
                if (pulse && pulse(context)) {
                        r = -ECANCELED;
                        break;
                }
                if (atomic_load_explicit(&pool->turn_waiters, memory_order_relaxed) == 0)
                        turn_count_waiter(pool);
        }
        turn_uncount_waiter(pool);
        return r;
}

int turn_take(struct segment *segment, uint32_t pool_index, uint64_t self_ref, bool (*pulse)(void *context),
              void *context) {
        struct layout_pool *pool;
        bool was_contended = false;
        int r;

        assert(segment && segment->writable && self_ref != 0);
        assert(pool_index < segment->pool_count);

        if (segment_is_condemned(segment))
                return -ENOTRECOVERABLE;
        pool = segment_pool(segment, pool_index);
        if (courtesy_is_owed)
                turn_stand_back(pool);
        r = lock_try(&pool->turn, LOCK_TURN);
        if (r == -EBUSY) {
                was_contended = true;
                r = turn_wait(pool, pulse, context);
        }
        if (r == -EOWNERDEAD && lock_mended(&pool->turn) < 0) { /* nothing under it needs mending */
                lock_drop(&pool->turn, LOCK_TURN);
                r = -ENOTRECOVERABLE;
        }
        if (r == -ENOTRECOVERABLE)
                segment_condemn(segment);
        if (r < 0 && r != -EOWNERDEAD)
                return r;

        atomic_store_explicit(&pool->turn_since_usec, clock_usec(), memory_order_relaxed);
        atomic_store_explicit(&pool->turn_holder_ref, self_ref, memory_order_release);
        /* Whoever stands back for us may queue again. It is not counted among the waiters, so a turn that
         * was waited for wakes in any case. */
        (void) atomic_fetch_add_explicit(&pool->turn_served, 1, memory_order_release);
        if (was_contended || atomic_load_explicit(&pool->turn_waiters, memory_order_acquire) > 0)
                futex_wake_shared(&pool->turn_served, INT_MAX);
        return 0;
}

void turn_give(struct segment *segment, uint32_t pool_index, uint64_t self_ref) {
        struct layout_pool *pool;

        assert(segment && pool_index < segment->pool_count && self_ref != 0);
        assert(lock_is_held(LOCK_TURN));

        pool = segment_pool(segment, pool_index);
        courtesy_is_owed = atomic_load_explicit(&pool->turn_waiters, memory_order_acquire) > 0;
        courtesy_served = atomic_load_explicit(&pool->turn_served, memory_order_relaxed);
        atomic_store_explicit(&pool->turn_holder_ref, 0, memory_order_release);
        atomic_store_explicit(&pool->turn_since_usec, 0, memory_order_relaxed);
        lock_drop(&pool->turn, LOCK_TURN);
}
