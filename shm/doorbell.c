/* SPDX-License-Identifier: Apache-2.0 */
/* Doorbells and inboxes: hints that make a worker look, carried by one counter and one bit (S12).
 * Must not touch: ownership. Nothing here waits for anybody but futex_wait_shared(). */
#include "shm/doorbell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macro.h"
#include "shm/life.h"

int futex_wait_shared(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_usec) {
        struct timespec deadline = {
                .tv_sec = (time_t) (deadline_usec / USEC_PER_SEC),
                .tv_nsec = (long) (deadline_usec % USEC_PER_SEC * NSEC_PER_USEC),
        };
        long r;

        assert(word);
        assert(((uintptr_t) word & 3) == 0);

        /* The bitset form takes an absolute CLOCK_MONOTONIC deadline. */
        r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
                    deadline_usec == USEC_INFINITY ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
        return r < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void futex_wake_shared(_Atomic uint32_t *word, int count) {
        assert(word);
        assert(count > 0);

        (void) syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

void doorbell_ring(struct segment *segment, uint64_t ref) {
        struct layout_worker *worker;

        assert(segment && segment->writable);

        if (!life_is_live(segment, ref))
                return;
        worker = segment_worker(segment, worker_ref_index(ref));
        /* Release; pairs with the acquire in life_wait(): who sees the ring sees the inbox bit. */
        (void) atomic_fetch_add_explicit(&worker->doorbell, 1, memory_order_release);
        futex_wake_shared(&worker->doorbell, INT_MAX);
}

static _Atomic uint64_t *inbox_of(const struct segment *segment, uint32_t worker_index) {
        assert(worker_index < segment->worker_count);

        return segment->inboxes + (size_t) worker_index * segment->inbox_words;
}

void inbox_put(struct segment *segment, uint64_t ref, uint32_t slot_index) {
        assert(segment && segment->writable);

        if (slot_index >= segment->slot_count || worker_ref_index(ref) >= segment->worker_count)
                return;
        assert(slot_index / 64 < segment->inbox_words);
        (void) atomic_fetch_or_explicit(inbox_of(segment, worker_ref_index(ref)) + slot_index / 64,
                                        1ULL << (slot_index % 64), memory_order_release);
}

uint32_t inbox_drain(struct segment *segment, uint64_t self_ref,
                     void (*fn)(void *context, uint32_t slot_index), void *context) {
        _Atomic uint64_t *inbox;
        uint32_t count = 0;

        assert(segment && segment->writable && fn);
        assert(worker_ref_index(self_ref) < segment->worker_count);

        inbox = inbox_of(segment, worker_ref_index(self_ref));
        for (uint32_t i = 0; i < segment->inbox_words; i++) {
                uint64_t bits;

                if (atomic_load_explicit(inbox + i, memory_order_relaxed) == 0)
                        continue; /* no write to a line that nobody marked */
                bits = atomic_exchange_explicit(inbox + i, 0, memory_order_acquire);
                for (; bits != 0; bits &= bits - 1) {
                        uint32_t slot_index = i * 64 + (uint32_t) __builtin_ctzll(bits);

                        if (slot_index >= segment->slot_count)
                                break; /* padding bits: nobody of ours set them */
                        fn(context, slot_index);
                        count++;
                }
        }
        return count;
}
