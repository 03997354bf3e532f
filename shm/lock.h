/* SPDX-License-Identifier: Apache-2.0 */
/* Every shared mutex is taken through here: rising rank per thread is asserted at run time.
 *
 *   rank  name   protects                       held over            who recovers it
 *     1   life   nothing: it *is* the news (S1) the mover's life     a taker, when it completes the entry
 *     5   turn   one writer at a destination    one transaction, I/O the next to take it: nothing to mend
 *    10   pool   membership, takeover words     the look, no I/O     the next: recomputed by the look
 *    20   slot   ownership words of one slot    a few stores         the next: slot_lock() mends (S4)
 * (the same table, with reasons, in shm/README.md) */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "base/clock.h"

/* A waiter looks this often whether what it waits for may still come (S11). */
#define LOCK_SLICE_USEC (100 * USEC_PER_MSEC)

enum lock_rank { LOCK_LIFE = 1, LOCK_TURN = 5, LOCK_POOL = 10, LOCK_SLOT = 20 };

/* Robust and process-shared. 0 or -errno. */
int lock_init(pthread_mutex_t *mutex);
/* 0; -EOWNERDEAD: taken, and the holder before died with it: mend, then lock_mended(), or
 * lock_drop() without it to make it ENOTRECOVERABLE for everyone (quarantine); -ENOTRECOVERABLE: not
 * taken, nor ever again; -ESRCH: not taken, its holder no longer exists and never said so (S11).
 * Asserts that this thread holds no lock of this or a higher rank. */
int lock_take(pthread_mutex_t *mutex, enum lock_rank rank);
/* The same, without waiting: -EBUSY. */
int lock_try(pthread_mutex_t *mutex, enum lock_rank rank);
/* With a bound (CLOCK_MONOTONIC deadline): -ETIMEDOUT. */
int lock_take_until(pthread_mutex_t *mutex, enum lock_rank rank, uint64_t deadline_usec);
int lock_mended(pthread_mutex_t *mutex);
void lock_drop(pthread_mutex_t *mutex, enum lock_rank rank);
/* True if this thread holds that rank. For assertions. */
_Bool lock_is_held(enum lock_rank rank);

/* ---- for shm/ itself: the robust-futex word under the mutex ---------------------------------- */
/* The kernel's view: holder's TID | FUTEX_WAITERS | FUTEX_OWNER_DIED. */
_Atomic uint32_t *lock_word(const pthread_mutex_t *mutex);
/* The thread that the word names as its holder; 0: it names none, or one whose death is known. */
uint32_t lock_holder(const pthread_mutex_t *mutex);
/* True if nobody will give it back: the word names a thread that does not exist any more, without FUTEX_OWNER_DIED; or
 * it has waiters and names nobody, as a stray store leaves it (P1). */
_Bool lock_holder_is_lost(const pthread_mutex_t *mutex);
/* Makes a dead holder's mutex usable again and leaves it free. Never waits, so it has no rank. 0 (also if
 * it was free); -EBUSY: the kernel has not come to it yet; -ENOTRECOVERABLE. */
int lock_revive(pthread_mutex_t *mutex);
/* Says for a holder that is proven gone (S3) what the kernel could not (its robust list was lost). */
void lock_declare_dead(pthread_mutex_t *mutex);
