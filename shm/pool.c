/* SPDX-License-Identifier: Apache-2.0 */
/* The pool mutex: taken with its holder on record, given up for good when it is lost.
 * Obeys S3 (holder and since-when), S7, S11. Must not touch: slots, lives. */
#include "shm/pool.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/macro.h"
#include "shm/doorbell.h"
#include "shm/lock.h"

bool segment_is_condemned(const struct segment *segment) {
        assert(segment && segment->header);

        return atomic_load_explicit(&segment->header->condemned, memory_order_acquire) != 0;
}

void pool_announce(struct segment *segment, uint32_t pool_index) {
        struct layout_pool *pool;

        assert(segment && segment->writable);
        assert(pool_index < segment->pool_count);

        pool = segment_pool(segment, pool_index);
        (void) atomic_fetch_add_explicit(&pool->member_version, 1, memory_order_release);
        futex_wake_shared(&pool->member_version, INT_MAX);
}

void segment_condemn(struct segment *segment) {
        assert(segment && segment->writable);

        if (atomic_exchange_explicit(&segment->header->condemned, 1, memory_order_acq_rel) != 0)
                return;
        for (uint32_t i = 0; i < segment->pool_count; i++)
                pool_announce(segment, i);
}

/* H10: the segment may be condemned while its holder, who lives, keeps the mutex; nobody waits for that one. */
static int pool_wait(const struct segment *segment, pthread_mutex_t *mutex) {
        int r;

        do {
                r = lock_take_until(mutex, LOCK_POOL, clock_usec() + LOCK_SLICE_USEC);
                if (r == -ETIMEDOUT && (lock_holder_is_lost(mutex) || segment_is_condemned(segment)))
                        return -ESRCH;
        } while (r == -ETIMEDOUT);
        return r;
}

int pool_lock(struct segment *segment, uint32_t pool_index, uint64_t self_ref) {
        struct layout_pool *pool;
        int r;

        assert(segment && segment->writable);
        assert(pool_index < segment->pool_count);

        if (segment_is_condemned(segment))
                return -ENOTRECOVERABLE;

        pool = segment_pool(segment, pool_index);
        r = lock_try(&pool->mutex, LOCK_POOL);
        if (r == -EBUSY)
                r = pool_wait(segment, &pool->mutex);
        if (r == -EOWNERDEAD) {
                r = lock_mended(&pool->mutex);
                if (r < 0)
                        lock_drop(&pool->mutex, LOCK_POOL);
        }
        if (r < 0) {
                /* Whatever it is (never mended, holder gone without a word, no mutex any more): nobody
                 * can look in this pool again, so nobody may go on in this segment (S11). */
                assert(!lock_is_held(LOCK_POOL));
                segment_condemn(segment);
                return -ENOTRECOVERABLE;
        }

        atomic_store_explicit(&pool->mutex_since_usec, clock_usec(), memory_order_relaxed);
        atomic_store_explicit(&pool->mutex_holder_ref, self_ref, memory_order_release);
        return 0;
}

void pool_unlock(struct segment *segment, uint32_t pool_index) {
        struct layout_pool *pool;

        assert(segment && pool_index < segment->pool_count);
        assert(lock_is_held(LOCK_POOL));

        pool = segment_pool(segment, pool_index);
        atomic_store_explicit(&pool->mutex_holder_ref, 0, memory_order_release);
        atomic_store_explicit(&pool->mutex_since_usec, 0, memory_order_relaxed);
        lock_drop(&pool->mutex, LOCK_POOL);
}
