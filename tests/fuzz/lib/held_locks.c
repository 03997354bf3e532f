/* SPDX-License-Identifier: Apache-2.0 */
/* See held_locks.h. Must not touch: what a mutex protects. */
#include "tests/fuzz/lib/held_locks.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

/* The C library's list of what this thread holds runs through the mutexes themselves, where anything may stand by now;
 * it is not walked, but begun anew. */
static void robust_list_empty(void) {
        struct robust_list_head *head;
        size_t bytes;

        fuzz_must(syscall(SYS_get_robust_list, 0, &head, &bytes) == 0, "no robust list: %m");
        head->list.next = &head->list;
        head->list_op_pending = NULL;
}

void held_forget(void) {
        static const enum lock_rank ranks[] = { LOCK_SLOT, LOCK_POOL, LOCK_TURN, LOCK_LIFE };
        pthread_mutex_t nobodys = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

        robust_list_empty();
        held_count = 0;
        for (size_t i = 0; i < ELEMENTSOF(ranks); i++) /* what shm/lock.c remembers of this thread */
                if (lock_is_held(ranks[i]))
                        lock_drop(&nobodys, ranks[i]);
}

void held_die(void) {
        for (unsigned i = 0; i < held_count; i++)
                atomic_store(lock_word(held[i]), FUTEX_OWNER_DIED);
        held_forget();
}
