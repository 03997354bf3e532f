/* SPDX-License-Identifier: Apache-2.0 */
/* Locks: rising rank, robustness, lost holders, bytes that are no mutex (S2, S3, S11). */
#include <pthread.h>
#include <sys/mman.h>

#include "tests/unit/test_shm_support.h"

struct pair {
        pthread_mutex_t first, second;
        _Atomic uint32_t is_held;
};

static struct pair *shared_pair(void) {
        struct pair *pair = mmap(NULL, sizeof *pair, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                                 0);

        cr_assert_neq(pair, MAP_FAILED);
        cr_assert_eq(lock_init(&pair->first), 0);
        cr_assert_eq(lock_init(&pair->second), 0);
        return pair;
}

struct ranks {
        struct pair *pair;
        enum lock_rank first, second;
};

static int take_two(struct segment *segment, void *argument) {
        struct ranks *ranks = argument;

        (void) segment;
        (void) close(STDERR_FILENO); /* the assertion's message is expected */
        if (lock_take(&ranks->pair->first, ranks->first) < 0 ||
            lock_take(&ranks->pair->second, ranks->second) < 0)
                return 1;
        lock_drop(&ranks->pair->second, ranks->second);
        lock_drop(&ranks->pair->first, ranks->first);
        return lock_is_held(ranks->first) || lock_is_held(ranks->second);
}

Test(shm_lock, rank_must_rise) {
        const enum lock_rank all[] = { LOCK_LIFE, LOCK_TURN, LOCK_POOL, LOCK_SLOT };

        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                for (size_t j = 0; j < ELEMENTSOF(all); j++) {
                        struct ranks ranks = { shared_pair(), all[i], all[j] };
                        int status = child_status(child_run(NULL, take_two, &ranks));

                        if (i < j)
                                cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                        else
                                cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
                                          "rank %d after %d is refused by an assertion", all[j], all[i]);
                }
}

/* Life is let go of under the pool mutex (life_leave), so the order of dropping is free. */
Test(shm_lock, dropped_in_any_order) {
        struct pair *pair = shared_pair();

        cr_assert_eq(lock_take(&pair->first, LOCK_LIFE), 0);
        cr_assert_eq(lock_take(&pair->second, LOCK_POOL), 0);
        lock_drop(&pair->first, LOCK_LIFE);
        cr_assert(lock_is_held(LOCK_POOL) && !lock_is_held(LOCK_LIFE));
        lock_drop(&pair->second, LOCK_POOL);
        cr_assert_eq(lock_take(&pair->first, LOCK_SLOT), 0);
        lock_drop(&pair->first, LOCK_SLOT);
}

static int take_and_wait(struct segment *segment, void *argument) {
        struct pair *pair = argument;

        (void) segment;
        if (lock_take(&pair->first, LOCK_POOL) < 0)
                return 1;
        atomic_store(&pair->is_held, 1);
        for (;;)
                (void) pause();
}

static struct pair *pair_with_dead_holder(void) {
        struct pair *pair = shared_pair();
        pid_t pid = child_run(NULL, take_and_wait, pair);

        while (atomic_load(&pair->is_held) == 0)
                test_pause();
        cr_assert_eq(lock_try(&pair->first, LOCK_POOL), -EBUSY);
        cr_assert_eq(lock_take_until(&pair->first, LOCK_POOL, clock_usec() + 1000), -ETIMEDOUT);
        cr_assert(!lock_is_held(LOCK_POOL));
        cr_assert(!lock_holder_is_lost(&pair->first));
        cr_assert_eq(kill(pid, SIGKILL), 0);
        (void) child_status(pid);
        return pair;
}

Test(shm_lock, a_dead_holder_is_told_until_mended) {
        struct pair *pair = pair_with_dead_holder();

        cr_assert_eq(lock_take(&pair->first, LOCK_POOL), -EOWNERDEAD);
        cr_assert(lock_is_held(LOCK_POOL));
        cr_assert_eq(lock_mended(&pair->first), 0);
        lock_drop(&pair->first, LOCK_POOL);
        cr_assert_eq(lock_take(&pair->first, LOCK_POOL), 0);
        lock_drop(&pair->first, LOCK_POOL);
}

Test(shm_lock, dropped_without_mending_it_is_lost_for_everyone) {
        struct pair *pair = pair_with_dead_holder();

        cr_assert_eq(lock_take(&pair->first, LOCK_POOL), -EOWNERDEAD);
        lock_drop(&pair->first, LOCK_POOL);
        cr_assert_eq(lock_take(&pair->first, LOCK_POOL), -ENOTRECOVERABLE);
        cr_assert_eq(lock_try(&pair->first, LOCK_POOL), -ENOTRECOVERABLE);
        cr_assert_eq(lock_revive(&pair->first), -ENOTRECOVERABLE);
        cr_assert(!lock_is_held(LOCK_POOL));
}

Test(shm_lock, revive_frees_a_dead_holders_mutex) {
        struct pair *pair = pair_with_dead_holder();

        cr_assert_eq(lock_revive(&pair->first), 0);
        cr_assert_eq(lock_take(&pair->first, LOCK_LIFE), 0);
        lock_drop(&pair->first, LOCK_LIFE);
        cr_assert_eq(lock_revive(&pair->first), 0, "a free one stays free");
}

Test(shm_lock, revive_leaves_a_living_holder_alone) {
        struct pair *pair = shared_pair();
        pid_t pid = child_run(NULL, take_and_wait, pair);

        while (atomic_load(&pair->is_held) == 0)
                test_pause();
        cr_assert_eq(lock_revive(&pair->first), -EBUSY);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        (void) child_status(pid);
}

/* S11: the kernel lost the robust list (out-of-memory reaper): the word still names the dead thread. */
Test(shm_lock, s11_a_lost_holder_ends_the_wait) {
        struct pair *pair = shared_pair();
        pid_t pid = child_run(NULL, take_and_wait, pair);
        uint32_t word;

        while (atomic_load(&pair->is_held) == 0)
                test_pause();
        word = atomic_load(lock_word(&pair->first));
        cr_assert_eq(kill(pid, SIGKILL), 0);
        (void) child_status(pid);
        atomic_store(lock_word(&pair->first), word);

        cr_assert(lock_holder_is_lost(&pair->first));
        cr_assert_eq(lock_take(&pair->first, LOCK_POOL), -ESRCH);
        cr_assert(!lock_is_held(LOCK_POOL));
        lock_declare_dead(&pair->first);
        cr_assert(!lock_holder_is_lost(&pair->first));
        cr_assert_eq(lock_take(&pair->first, LOCK_POOL), -EOWNERDEAD, "said for it, it is a death like any");
        cr_assert_eq(lock_mended(&pair->first), 0);
        lock_drop(&pair->first, LOCK_POOL);
}

/* P1: nobody leaves such a word but a stray store, and nobody would ever wake who waits for it. */
Test(shm_lock, S11_P1_waiters_without_a_holder_end_the_wait, .timeout = 20) {
        struct pair *pair = shared_pair();

        atomic_store(lock_word(&pair->first), FUTEX_WAITERS);
        cr_assert(lock_holder_is_lost(&pair->first));
        cr_assert_eq(lock_take(&pair->first, LOCK_POOL), -ESRCH);
        cr_assert(!lock_is_held(LOCK_POOL));
        atomic_store(lock_word(&pair->first), FUTEX_WAITERS | FUTEX_OWNER_DIED);
        cr_assert(!lock_holder_is_lost(&pair->first), "the kernel's own words");
        cr_assert_eq(lock_take(&pair->first, LOCK_POOL), -EOWNERDEAD);
        cr_assert_eq(lock_mended(&pair->first), 0);
        lock_drop(&pair->first, LOCK_POOL);
}

/* P1: whatever bytes stand there, the answer is a result, never an abort inside the C library. */
Test(shm_lock, p1_bytes_that_are_no_mutex_are_refused) {
        struct pair *pair = shared_pair();

        for (unsigned kind = 0; kind < 256; kind++) {
                memset(&pair->first, (int) kind, sizeof pair->first);
                cr_assert_eq(lock_take(&pair->first, LOCK_SLOT), -ENOTRECOVERABLE);
                cr_assert_eq(lock_take_until(&pair->first, LOCK_SLOT, clock_usec() + 1000), -ENOTRECOVERABLE);
                cr_assert_eq(lock_revive(&pair->first), -ENOTRECOVERABLE);
        }
        /* A sound one whose word names this very thread, which does not hold it. */
        cr_assert_eq(lock_init(&pair->first), 0);
        atomic_store(lock_word(&pair->first), (uint32_t) gettid());
        cr_assert_eq(lock_take(&pair->first, LOCK_SLOT), -ENOTRECOVERABLE);
        cr_assert(!lock_is_held(LOCK_SLOT));
}
