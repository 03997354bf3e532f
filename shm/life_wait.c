/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a death: futex_waitv over the peers' life words, membership and the own doorbell (S7, S12).
 *
 * A watcher takes no mutex, so one that dies holds nothing. The kernel wakes one waiter of a dead one's
 * word; if that waiter is itself about to die, the news goes with it. Its own death wakes another, who
 * looks at everyone; and whoever heard of a death looks again by itself a few times after it (echo).
 * Must not touch: lives (but FUTEX_WAITERS in their mutex words), slots. */
#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macro.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/life_word.h"
#include "shm/pool.h"

/* Each worker watches so many next ones in the ring: as many watchers each life has. All deaths of the
 * pool are seen whenever one looks; this bounds only who is woken. */
#define WATCHED_LIFE_COUNT_MAX 30

/* Without futex_waitv only one word can be waited for; this bounds how late the others are seen. */
#define FALLBACK_WAIT_USEC (50 * USEC_PER_MSEC)

/* After a death: look again after 1, 2, 4 … 64 ms. */
#define ECHO_COUNT 7

struct wait_set {
        struct futex_waitv words[2 + WATCHED_LIFE_COUNT_MAX];
        uint32_t count;
};

/* Once the kernel (or a filter in front of it) has said that it lacks the call, it is not asked again. */
static _Atomic bool waitv_is_missing;

static void wait_set_add(struct wait_set *set, _Atomic uint32_t *word, uint32_t value) {
        assert(set && word);

        if (set->count == ELEMENTSOF(set->words))
                return;
        set->words[set->count++] = (struct futex_waitv){
                .val = value,
                .uaddr = (uintptr_t) word,
                .flags = FUTEX_32,
        };
        assert(set->count <= ELEMENTSOF(set->words));
}

/* Asks the kernel to wake us when this mutex's holder dies. Returns the word as it is then. */
static uint32_t life_arm(_Atomic uint32_t *word) {
        uint32_t value;

        assert(word);

        value = atomic_load_explicit(word, memory_order_acquire);
        while ((value & (FUTEX_OWNER_DIED | FUTEX_WAITERS)) == 0 && (value & FUTEX_TID_MASK) != 0)
                if (atomic_compare_exchange_weak_explicit(word, &value, value | FUTEX_WAITERS,
                                                          memory_order_acq_rel, memory_order_acquire))
                        return value | FUTEX_WAITERS;
        return value;
}

/* One look at a counter: news if it is not what the last call saw. */
static int watch_counter(struct wait_set *set, _Atomic uint32_t *word, uint32_t *seen, int news) {
        uint32_t value;

        assert(set && word && seen);

        value = atomic_load_explicit(word, memory_order_acquire);
        wait_set_add(set, word, value);
        if (*seen == value)
                return 0;
        *seen = value;
        return news;
}

/* Fills the set with all that is to be waited for, and returns the news there is already. */
static int life_survey(struct segment *segment, uint64_t self_ref, struct life_watch *watch,
                       struct wait_set *ret_set) {
        uint32_t self_index = worker_ref_index(self_ref);
        struct layout_worker *self = segment_worker(segment, self_index);
        uint32_t pool_index = atomic_load_explicit(&self->pool_index, memory_order_relaxed);
        int news;

        assert(watch && ret_set);

        ret_set->count = 0;
        news = watch_counter(ret_set, &self->doorbell, &watch->doorbell, LIFE_NEWS_DOORBELL);
        if (pool_index >= segment->pool_count)
                return news; /* somebody wrote over our record: nothing to watch by it */
        news |= watch_counter(ret_set, &segment_pool(segment, pool_index)->member_version,
                              &watch->member_version, LIFE_NEWS_MEMBERS);
        if (segment_is_condemned(segment))
                return news; /* nobody can act on a death any more: told once (MEMBERS), never a busy loop */

        for (uint32_t i = 1; i < segment->worker_count; i++) {
                struct layout_worker *worker = segment_worker(segment,
                                                              (self_index + i) % segment->worker_count);
                uint64_t life = atomic_load_explicit(&worker->life, memory_order_acquire);
                uint32_t value;

                if (life_word_state(life) == LIFE_FREE || life_word_state(life) >= LIFE_ABANDONED ||
                    atomic_load_explicit(&worker->pool_index, memory_order_relaxed) != pool_index)
                        continue;
                if (life_mutex_says_dead(worker)) {
                        news |= LIFE_NEWS_DEATH;
                        continue;
                }
                if (ret_set->count == ELEMENTSOF(ret_set->words))
                        continue;
                value = life_arm(lock_word(&worker->life_mutex));
                if ((value & FUTEX_TID_MASK) != 0)
                        wait_set_add(ret_set, lock_word(&worker->life_mutex), value);
        }
        return news;
}

/* Sleeps until a word of the set changes. 0; -ETIMEDOUT. */
static int wait_set_block(struct wait_set *set, uint64_t deadline_usec) {
        struct timespec deadline = {
                .tv_sec = (time_t) (deadline_usec / USEC_PER_SEC),
                .tv_nsec = (long) (deadline_usec % USEC_PER_SEC * NSEC_PER_USEC),
        };
        const struct futex_waitv *last;
        uint64_t bound_usec;

        assert(set && set->count > 0);

        if (!atomic_load_explicit(&waitv_is_missing, memory_order_relaxed)) {
                if (syscall(SYS_futex_waitv, set->words, set->count, 0,
                            deadline_usec == USEC_INFINITY ? NULL : &deadline, CLOCK_MONOTONIC) >= 0)
                        return 0;
                if (errno == EAGAIN || errno == EINTR)
                        return 0; /* a word has changed already, or a signal: the caller looks again */
                if (errno == ETIMEDOUT)
                        return -ETIMEDOUT;
                if (errno != ENOSYS && errno != EPERM)
                        return -errno;
                atomic_store_explicit(&waitv_is_missing, true, memory_order_relaxed);
        }

        /* The next neighbour (the third word, where there is one), else the doorbell. */
        last = set->words + (set->count > 2 ? 2 : 0);
        bound_usec = clock_usec() + FALLBACK_WAIT_USEC;
        return futex_wait_shared((_Atomic uint32_t *) (uintptr_t) last->uaddr, (uint32_t) last->val,
                                 MIN_OF(bound_usec, deadline_usec)) == -ETIMEDOUT &&
                               deadline_usec <= bound_usec
                       ? -ETIMEDOUT
                       : 0;
}

/* The next deadline: the caller's, or earlier while an echo is due. */
static uint64_t watch_deadline(struct life_watch *watch, uint64_t deadline_usec) {
        uint64_t echo_usec;

        assert(watch);
        assert(watch->echo_count <= ECHO_COUNT); /* this thread's own */

        if (watch->echo_count == 0)
                return deadline_usec;
        echo_usec = clock_usec() + (USEC_PER_MSEC << (ECHO_COUNT - watch->echo_count));
        watch->echo_count--;
        return MIN_OF(echo_usec, deadline_usec);
}

int life_wait(struct segment *segment, uint64_t self_ref, struct life_watch *watch, uint64_t deadline_usec) {
        assert(segment && segment->writable && watch);
        assert(worker_ref_index(self_ref) < segment->worker_count);

        for (;;) {
                struct wait_set set;
                int news, r;

                news = life_survey(segment, self_ref, watch, &set);
                if ((news & (LIFE_NEWS_DEATH | LIFE_NEWS_MEMBERS)) != 0)
                        watch->echo_count = ECHO_COUNT;
                if (news != 0)
                        return news;
                if (deadline_usec != USEC_INFINITY && clock_usec() >= deadline_usec)
                        return 0;
                r = wait_set_block(&set, watch_deadline(watch, deadline_usec));
                if (r < 0 && r != -ETIMEDOUT)
                        return r;
        }
}
