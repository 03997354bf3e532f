/* SPDX-License-Identifier: Apache-2.0 */
/* See held_locks.h. Must not touch: what a mutex protects. */
#include "tests/fuzz/lib/held_locks.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "shm/lock.h"
#include "tests/fuzz/lib/fuzz.h"

#define HELD_MAX 8

static pthread_mutex_t *held[HELD_MAX];
static unsigned held_count;

int __real_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __real_pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *deadline);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *deadline);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

static int taken(pthread_mutex_t *mutex, int result) {
        if (result == 0 || result == EOWNERDEAD) {
                fuzz_must(held_count < HELD_MAX, "too many locks");
                held[held_count++] = mutex;
        }
        return result;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex) {
        return taken(mutex, __real_pthread_mutex_trylock(mutex));
}

int __wrap_pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *deadline) {
        return taken(mutex, __real_pthread_mutex_clocklock(mutex, clock, deadline));
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex) {
        int result = __real_pthread_mutex_unlock(mutex);

        for (unsigned i = held_count; result == 0 && i-- > 0;)
                if (held[i] == mutex) {
                        held[i] = held[--held_count];
                        break;
                }
        return result;
}

bool held_has(const pthread_mutex_t *mutex) {
        for (unsigned i = 0; i < held_count; i++)
                if (held[i] == mutex)
                        return true;
        return false;
}

void held_die(void) {
        pthread_mutex_t *mutexes[HELD_MAX];
        unsigned count = held_count;

        memcpy(mutexes, held, sizeof(mutexes));
        held_drop(NULL);
        for (unsigned i = 0; i < count; i++)
                atomic_store(lock_word(mutexes[i]), FUTEX_OWNER_DIED);
}

void held_drop(const pthread_mutex_t *except) {
        static const enum lock_rank ranks[] = { LOCK_SLOT, LOCK_POOL, LOCK_TURN, LOCK_LIFE };
        pthread_mutex_t nobodys = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

        for (unsigned i = held_count; i-- > 0;)
                if (held[i] != except)
                        (void) __wrap_pthread_mutex_unlock(held[i]);
        /* What shm/lock.c remembers of this thread. */
        for (size_t i = 0; i < ELEMENTSOF(ranks); i++)
                if (lock_is_held(ranks[i]) && (!except || ranks[i] != LOCK_LIFE))
                        lock_drop(&nobodys, ranks[i]);
}
