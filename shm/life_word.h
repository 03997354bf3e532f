/* SPDX-License-Identifier: Apache-2.0 */
/* The life word taken apart: generation << 8 | enum life (layout.h). For shm/ itself. */
#pragma once

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>

#include "shm/lock.h"
#include "shm/segment.h"

/* A ref has 48 bits for it; an entry that came this far is not used again. */
#define LIFE_GENERATION_MAX ((1ULL << 48) - 1)

static inline uint64_t life_word(uint64_t generation, enum life state) {
        return generation << 8 | state;
}
static inline uint64_t life_word_generation(uint64_t life) {
        return life >> 8;
}
/* May be LIFE_COUNT or above: the word is input. */
static inline uint32_t life_word_state(uint64_t life) {
        return (uint32_t) (life & 0xff);
}
static inline uint64_t life_word_ref(uint32_t worker_index, uint64_t life) {
        return worker_ref(worker_index, life_word_generation(life));
}

/* From exactly this word to the state, same generation. -EAGAIN if it is another word by now. */
static inline int life_change(struct layout_worker *worker, uint64_t from, enum life to) {
        return atomic_compare_exchange_strong_explicit(&worker->life, &from,
                                                       life_word(life_word_generation(from), to),
                                                       memory_order_acq_rel, memory_order_relaxed)
                       ? 0
                       : -EAGAIN;
}

/* The kernel said it: the thread that held the life mutex is dead (S1). */
static inline bool life_mutex_says_dead(const struct layout_worker *worker) {
        return (atomic_load_explicit(lock_word(&worker->life_mutex), memory_order_acquire) &
                FUTEX_OWNER_DIED) != 0;
}
static inline bool life_mutex_is_free(const struct layout_worker *worker) {
        return (atomic_load_explicit(lock_word(&worker->life_mutex), memory_order_acquire) &
                (FUTEX_OWNER_DIED | FUTEX_TID_MASK)) == 0;
}

/* The process of that entry's record (pid and start time, S6) is gone. Reads /proc: never under a lock. */
bool life_process_is_gone(const struct segment *segment, uint32_t worker_index);
