/* SPDX-License-Identifier: Apache-2.0 */
/* Robust, process-shared mutexes, taken in rising rank and watched while one waits.
 * Obeys S2, S3, S11. Must not touch: what the mutexes protect. Depends on the kernel's robust-futex
 * ABI and on glibc's mutex having its futex word first (asserted below and by life_enter()). */
#include "shm/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "base/clock.h"
#include "base/macro.h"
#include "base/sanitize.h"

/* What pthread_mutex_init() writes into the kind of such a mutex: robust, error-checking, shared. A
 * mutex with any other kind is bytes that someone else wrote; glibc would abort or wait for ever on it. */
#define LOCK_KIND (16 | PTHREAD_MUTEX_ERRORCHECK | 128)

static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0, "the futex word comes first");
static_assert(sizeof(((pthread_mutex_t *) NULL)->__data.__lock) == sizeof(uint32_t), "a futex word");
static_assert(LOCK_SLOT < 32, "one bit for each rank");

/* Bit n: this thread holds a lock of rank n. There is one lock of a rank at a time, so this is the
 * whole stack. */
static _Thread_local uint32_t held_ranks;

_Bool lock_is_held(enum lock_rank rank) {
        assert(rank > 0 && rank <= LOCK_SLOT);

        return held_ranks >> rank & 1;
}

_Atomic uint32_t *lock_word(const pthread_mutex_t *mutex) {
        assert(mutex);

        return (_Atomic uint32_t *) (uintptr_t) mutex;
}

static bool lock_is_sound(const pthread_mutex_t *mutex) {
        assert(mutex);

        return __atomic_load_n(&mutex->__data.__kind, __ATOMIC_RELAXED) == LOCK_KIND;
}

int lock_init(pthread_mutex_t *mutex) {
        pthread_mutexattr_t attributes;
        int r;

        assert(mutex);

        r = -pthread_mutexattr_init(&attributes);
        if (r < 0)
                return r;
        r = -pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        if (r >= 0)
                r = -pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        if (r >= 0)
                r = -pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
        if (r >= 0)
                r = -pthread_mutex_init(mutex, &attributes);
        (void) pthread_mutexattr_destroy(&attributes);
        if (r >= 0 && !lock_is_sound(mutex))
                return -EPROTONOSUPPORT; /* another C library than this file knows */
        return r;
}

static void lock_assert_rising(enum lock_rank rank) {
        assert(rank > 0 && rank <= LOCK_SLOT);
        assert(held_ranks >> rank == 0); /* this thread holds this rank or a higher one */
}

/* EDEADLK: the word holds our own thread's number though we do not hold it: left by a thread before
 * us with the same number, whose death never showed. */
static int lock_note_result(int r, enum lock_rank rank) {
        assert(r <= 0);

        if (r == 0 || r == -EOWNERDEAD) {
                held_ranks |= 1U << rank;
                assert(lock_is_held(rank));
        } else if (r == -EDEADLK || r == -EINVAL)
                return -ENOTRECOVERABLE;
        return r;
}

int lock_try(pthread_mutex_t *mutex, enum lock_rank rank) {
        assert(mutex);
        lock_assert_rising(rank);

        if (!lock_is_sound(mutex))
                return -ENOTRECOVERABLE;
        return lock_note_result(-pthread_mutex_trylock(mutex), rank);
}

int lock_take_until(pthread_mutex_t *mutex, enum lock_rank rank, uint64_t deadline_usec) {
        struct timespec deadline = {
                .tv_sec = (time_t) (deadline_usec / USEC_PER_SEC),
                .tv_nsec = (long) (deadline_usec % USEC_PER_SEC * NSEC_PER_USEC),
        };
        int r;

        assert(mutex);
        assert(deadline_usec != USEC_INFINITY);
        lock_assert_rising(rank);

        if (!lock_is_sound(mutex))
                return -ENOTRECOVERABLE;
        r = -pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &deadline);
        if (r == 0 || r == -EOWNERDEAD)
                SANITIZE_LOCKED(mutex);
        return lock_note_result(r, rank);
}

uint32_t lock_holder(const pthread_mutex_t *mutex) {
        uint32_t word;

        assert(mutex);

        word = atomic_load_explicit(lock_word(mutex), memory_order_acquire);
        return (word & FUTEX_OWNER_DIED) != 0 ? 0 : word & FUTEX_TID_MASK;
}

_Bool lock_holder_is_lost(const pthread_mutex_t *mutex) {
        uint32_t word;

        assert(mutex);

        word = atomic_load_explicit(lock_word(mutex), memory_order_acquire);
        if (word == 0 || (word & FUTEX_OWNER_DIED) != 0)
                return 0; /* it is free, or its holder has said so */
        /* Waiters and no holder: neither the C library nor the kernel leaves that. It was written over (P1), and
         * whoever waits is woken by nobody. */
        return ((word & FUTEX_TID_MASK) == 0 ||
                (kill((pid_t) (word & FUTEX_TID_MASK), 0) < 0 && errno == ESRCH)) &&
               word == atomic_load_explicit(lock_word(mutex), memory_order_acquire);
}

int lock_take(pthread_mutex_t *mutex, enum lock_rank rank) {
        int r;

        assert(mutex);

        r = lock_try(mutex, rank);
        if (r != -EBUSY)
                return r;
        do {
                r = lock_take_until(mutex, rank, clock_usec() + LOCK_SLICE_USEC);
                if (r == -ETIMEDOUT && lock_holder_is_lost(mutex))
                        return -ESRCH;
        } while (r == -ETIMEDOUT);
        return r;
}

int lock_mended(pthread_mutex_t *mutex) {
        assert(mutex);
        assert(held_ranks != 0);

        return -pthread_mutex_consistent(mutex);
}

void lock_drop(pthread_mutex_t *mutex, enum lock_rank rank) {
        assert(mutex);
        assert(lock_is_held(rank));

        /* A result other than 0 can only come from bytes that another process wrote over the mutex;
         * whoever takes it next finds that out. */
        (void) pthread_mutex_unlock(mutex);
        held_ranks &= ~(1U << rank);
}

int lock_revive(pthread_mutex_t *mutex) {
        int r;

        assert(mutex);

        if (!lock_is_sound(mutex))
                return -ENOTRECOVERABLE;
        r = -pthread_mutex_trylock(mutex);
        if (r == -EOWNERDEAD)
                r = -pthread_mutex_consistent(mutex);
        if (r < 0)
                return r == -EBUSY ? -EBUSY : -ENOTRECOVERABLE;
        return pthread_mutex_unlock(mutex) == 0 ? 0 : -ENOTRECOVERABLE;
}

void lock_declare_dead(pthread_mutex_t *mutex) {
        _Atomic uint32_t *word;
        uint32_t value;

        assert(mutex);

        word = lock_word(mutex);
        value = atomic_load_explicit(word, memory_order_relaxed);
        do {
                if ((value & FUTEX_OWNER_DIED) != 0 || (value & FUTEX_TID_MASK) == 0)
                        return;
        } while (!atomic_compare_exchange_weak_explicit(word, &value,
                                                        (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED,
                                                        memory_order_acq_rel, memory_order_relaxed));
        assert((value & FUTEX_OWNER_DIED) == 0);
}
