/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's life: entering, proof of death, leaving (S1, S3, S6, S7). Waiting is life_wait.c.
 *
 * The life mutex is claimed before the entry says anything, so from the first word that another process
 * can see until the end of this one, the kernel will say that we died.
 * Must not touch: slots (but to assert that none is left), anything of an event. */
#include "shm/life.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/process.h"
#include "shm/life_word.h"
#include "shm/lock.h"
#include "shm/pool.h"
#include "shm/takeover.h"

/* ---- questions ------------------------------------------------------------------------------- */

bool life_is_live(const struct segment *segment, uint64_t ref) {
        const struct layout_worker *worker;
        uint64_t life;

        assert(segment && segment->workers.first);

        if (ref == 0 || worker_ref_index(ref) >= segment->worker_count)
                return false;
        worker = segment_worker(segment, worker_ref_index(ref));
        life = atomic_load_explicit(&worker->life, memory_order_acquire);
        return life_word_ref(worker_ref_index(ref), life) == ref &&
               (life_word_state(life) == LIFE_LIVE || life_word_state(life) == LIFE_ENTERING) &&
               !life_mutex_says_dead(worker);
}

bool life_may_be_given(const struct segment *segment, uint64_t ref, uint32_t pool_index) {
        const struct layout_worker *worker;

        assert(pool_index < segment->pool_count);

        if (!life_is_live(segment, ref))
                return false;
        worker = segment_worker(segment, worker_ref_index(ref));
        return life_word_state(atomic_load_explicit(&worker->life, memory_order_acquire)) == LIFE_LIVE &&
               atomic_load_explicit(&worker->pool_index, memory_order_acquire) == pool_index &&
               atomic_load_explicit(&worker->drain_ref, memory_order_relaxed) != ref &&
               atomic_load_explicit(&worker->phase, memory_order_relaxed) != PHASE_DRAINING;
}

enum worker_confinement life_confinement(const struct segment *segment, uint64_t ref) {
        const struct layout_worker *worker;
        uint32_t confinement;

        assert(segment && segment->workers.first);

        if (segment->layout_number < LAYOUT_OF_CONFINEMENT || ref == 0 ||
            worker_ref_index(ref) >= segment->worker_count)
                return CONFINEMENT_UNSAID;
        worker = segment_worker(segment, worker_ref_index(ref));
        /* Acquire, as the life word is read after it: the successor's word shows the successor's life. */
        confinement = atomic_load_explicit(&worker->confinement, memory_order_acquire);
        return life_is_live(segment, ref) && confinement <= CONFINEMENT_REFUSED
                       ? (enum worker_confinement) confinement
                       : CONFINEMENT_UNSAID;
}

bool life_process_is_gone(const struct segment *segment, uint32_t worker_index) {
        const struct layout_worker *worker;
        uint32_t word, pid;
        uint64_t start_ticks;
        int pid_fd, r;
        bool is_gone;

        assert(segment && segment->workers.first);
        assert(worker_index < segment->worker_count);

        worker = segment_worker(segment, worker_index);
        pid = atomic_load_explicit(&worker->pid, memory_order_relaxed);
        start_ticks = atomic_load_explicit(&worker->start_ticks, memory_order_relaxed);
        if (pid == 0 || pid > INT32_MAX || start_ticks == 0)
                return false; /* says nothing, so proves nothing */
        r = process_open((pid_t) pid, start_ticks, &pid_fd);
        if (r == 0) {
                is_gone = process_has_ended(pid_fd); /* a zombie is gone */
                (void) close(pid_fd);
        } else
                is_gone = r == -ESRCH;
        if (!is_gone)
                return false;

        /* The record is the worker's own bytes. If the mutex names another thread, and that one exists,
         * the record is not to be believed and nothing is proven. */
        word = atomic_load_explicit(lock_word(&worker->life_mutex), memory_order_acquire);
        return (word & FUTEX_OWNER_DIED) != 0 || (word & FUTEX_TID_MASK) == 0 ||
               (word & FUTEX_TID_MASK) == pid || lock_holder_is_lost(&worker->life_mutex);
}

bool life_is_proven_dead(const struct segment *segment, uint64_t ref) {
        const struct layout_worker *worker;
        uint64_t life;

        assert(segment && segment->workers.first);

        if (ref == 0 || worker_ref_index(ref) >= segment->worker_count)
                return false;
        worker = segment_worker(segment, worker_ref_index(ref));
        life = atomic_load_explicit(&worker->life, memory_order_acquire);
        if (life_word_ref(worker_ref_index(ref), life) != ref)
                /* A later generation: the entry was used again, so this one was completed. */
                return life_word_generation(life) > worker_ref_generation(ref);
        if (life_word_state(life) != LIFE_LIVE && life_word_state(life) != LIFE_ENTERING)
                return true;
        return life_mutex_says_dead(worker) || life_process_is_gone(segment, worker_ref_index(ref));
}

uint32_t life_neighbours(const struct segment *segment, uint64_t self_ref, uint64_t *ret_refs,
                         uint32_t count) {
        uint32_t self_index = worker_ref_index(self_ref), found = 0, pool_index;

        assert(segment && self_index < segment->worker_count);
        assert(ret_refs || count == 0);

        pool_index = atomic_load_explicit(&segment_worker(segment, self_index)->pool_index,
                                          memory_order_relaxed);
        for (uint32_t i = 1; i < segment->worker_count && found < count; i++) {
                uint32_t index = (self_index + i) % segment->worker_count;
                const struct layout_worker *worker = segment_worker(segment, index);
                uint64_t ref = life_word_ref(index,
                                             atomic_load_explicit(&worker->life, memory_order_acquire));

                if (life_is_live(segment, ref) &&
                    atomic_load_explicit(&worker->pool_index, memory_order_relaxed) == pool_index)
                        ret_refs[found++] = ref;
        }
        assert(found <= count);
        return found;
}

/* ---- entering -------------------------------------------------------------------------------- */

static int life_refuse(struct failure *ret_failure, int r, const char *why) {
        assert(r < 0);
        assert(why);

        return failure_set(ret_failure, r, r == -ENOSPC ? FAILURE_UNAVAILABLE : FAILURE_STOP,
                           "This worker cannot join its pool: %s.", why);
}

static int life_admission(const struct segment *segment, uint32_t pool_index, struct failure *ret_failure) {
        assert(segment);

        if (segment_is_condemned(segment))
                return life_refuse(ret_failure, -ESTALE,
                                   "the segment is condemned; batond makes a new one, try again after that");
        if (pool_index >= segment->pool_count ||
            atomic_load_explicit(&segment_pool(segment, pool_index)->state, memory_order_acquire) !=
                    POOL_ACTIVE)
                return life_refuse(ret_failure, -ESTALE,
                                   "its destination is not (or no longer) configured; nothing is to be done");
        return 0;
}

/* Locks the life mutex of an entry that is FREE, in this thread, for good. Whoever holds it owns the
 * entry; FREE is looked at again under it. We die here: FREE with a dead holder, which the next claimant
 * is told and mends. */
static int life_claim(struct segment *segment, uint32_t *ret_index) {
        assert(segment && segment->writable);
        assert(ret_index);

        for (uint32_t i = 0; i < segment->worker_count; i++) {
                struct layout_worker *worker = segment_worker(segment, i);
                uint64_t life = atomic_load_explicit(&worker->life, memory_order_acquire);
                int r;

                if (life_word_state(life) != LIFE_FREE || life_word_generation(life) >= LIFE_GENERATION_MAX)
                        continue;
                r = lock_try(&worker->life_mutex, LOCK_LIFE);
                if (r == -EOWNERDEAD) {
                        r = lock_mended(&worker->life_mutex);
                        if (r < 0)
                                lock_drop(&worker->life_mutex, LOCK_LIFE);
                }
                if (r == -ENOTRECOVERABLE)
                        (void) life_change(worker, life, LIFE_ABANDONED);
                if (r < 0)
                        continue; /* -EBUSY: another claimant */
                if (atomic_load_explicit(&worker->life, memory_order_acquire) == life) {
                        *ret_index = i;
                        return 0;
                }
                lock_drop(&worker->life_mutex, LOCK_LIFE);
        }
        return -ENOSPC;
}

/* Who we are, and a clean record, before anyone reads it (LIVE publishes it). */
static void life_introduce(struct layout_worker *worker, uint32_t pool_index, uint64_t start_ticks) {
        assert(worker);
        assert(lock_is_held(LOCK_LIFE));

        atomic_store(&worker->pid, (uint32_t) getpid());
        atomic_store(&worker->start_ticks, start_ticks);
        atomic_store(&worker->pool_index, pool_index);
        atomic_store(&worker->entered_usec, clock_usec());
        atomic_store(&worker->takeover_is_fifo, 0);
        atomic_store(&worker->nice, getpriority(PRIO_PROCESS, 0));

        atomic_store(&worker->pong, atomic_load(&worker->ping)); /* pings to the one before are not ours */
        atomic_store(&worker->pong_usec, clock_usec());
        atomic_store(&worker->transaction_since_usec, 0);
        atomic_store(&worker->commit_count, 0);
        atomic_store(&worker->event_count, 0);
        atomic_store(&worker->sync_count, 0);
        atomic_store(&worker->phase, PHASE_STARTING);
        atomic_store(&worker->confinement, CONFINEMENT_UNSAID);
        atomic_store(&worker->renewal_ref, 0);

        atomic_store(&worker->note_slot, LAYOUT_NONE);
        atomic_store(&worker->note_is_exact, 0);
        atomic_store(&worker->note_position, 0);
        atomic_store(&worker->fault_signal, 0);
}

/* The mutex is ours: publish, then look, so that orphans can be given to this worker, too. */
static int life_publish(struct segment *segment, uint32_t index, uint32_t pool_index, uint64_t *ret_ref,
                        struct failure *ret_failure) {
        struct layout_worker *worker = segment_worker(segment, index);
        uint64_t life = atomic_load(&worker->life), ref;
        int r;

        assert(lock_is_held(LOCK_LIFE));
        assert(life_word_state(life) == LIFE_FREE);

        life = life_word(life_word_generation(life) + 1, LIFE_FREE);
        ref = life_word_ref(index, life);
        r = pool_lock(segment, pool_index, ref);
        if (r < 0)
                return life_admission(segment, pool_index, ret_failure);
        r = life_admission(segment, pool_index, ret_failure);
        if (r >= 0) {
                atomic_store_explicit(&worker->life, life_word(life_word_generation(life), LIFE_ENTERING),
                                      memory_order_release);
                CRASH_POINT("shm.K3");
                /* Release; pairs with the acquire of `life` in the look: who sees LIVE sees the record. */
                atomic_store_explicit(&worker->life, life_word(life_word_generation(life), LIFE_LIVE),
                                      memory_order_release);
                CRASH_POINT("shm.K4");
                r = takeover_run_locked(segment, pool_index, ref, NULL);
                CRASH_POINT("shm.K5");
                pool_announce(segment, pool_index);
        }
        pool_unlock(segment, pool_index);
        if (r == -ENOTRECOVERABLE) /* condemned in this moment: entered, but to no purpose */
                r = life_admission(segment, pool_index, ret_failure);
        if (r >= 0)
                *ret_ref = ref;
        return r;
}

int life_enter(struct segment *segment, uint32_t pool_index, uint64_t *ret_ref, struct failure *ret_failure) {
        struct layout_worker *worker;
        uint64_t start_ticks;
        uint32_t index;
        int r;

        assert(segment && segment->writable && ret_ref);
        assert(!lock_is_held(LOCK_LIFE));

        r = life_admission(segment, pool_index, ret_failure);
        if (r < 0)
                return r;
        r = process_start_ticks(getpid(), &start_ticks);
        if (r < 0)
                return life_refuse(ret_failure, r,
                                   "/proc cannot be read, and without it nobody could tell "
                                   "this process from a later one; mount /proc");
        /* A joiner that finds a death runs the takeover before it enters (S7): also by process, and so
         * that a table full of the dead has room. */
        r = takeover_run(segment, pool_index, 0, NULL);
        if (r < 0)
                return life_admission(segment, pool_index, ret_failure);
        r = life_claim(segment, &index);
        if (r < 0)
                return life_refuse(ret_failure, r,
                                   "all entries of the worker table are in use; raise `max-workers`");
        worker = segment_worker(segment, index);
        /* All rests on this: the kernel finds our thread in that very word when we die (S1). */
        assert((atomic_load(lock_word(&worker->life_mutex)) & FUTEX_TID_MASK) == (uint32_t) gettid());
        CRASH_POINT("shm.K1");
        life_introduce(worker, pool_index, start_ticks);
        LAYOUT_NEXT_TOUCH(segment->workers, worker);
        CRASH_POINT("shm.K2");

        r = life_publish(segment, index, pool_index, ret_ref, ret_failure);
        if (r < 0) {
                if (life_word_state(atomic_load(&worker->life)) != LIFE_FREE)
                        (void) life_change(worker, atomic_load(&worker->life), LIFE_FREE);
                lock_drop(&worker->life_mutex, LOCK_LIFE);
        }
        return r;
}

/* ---- leaving --------------------------------------------------------------------------------- */

static bool life_owns_a_slot(const struct segment *segment, uint64_t ref, uint32_t pool_index) {
        assert(segment);
        assert(ref != 0);

        for (uint32_t i = 0; i < segment_slot_used(segment); i++) {
                const struct layout_slot *slot = segment_slot(segment, i);

                if (atomic_load_explicit(&slot->owner_ref, memory_order_relaxed) == ref &&
                    atomic_load_explicit(&slot->state, memory_order_relaxed) == SLOT_OWNED &&
                    atomic_load_explicit(&slot->pool_index, memory_order_relaxed) == pool_index &&
                    atomic_load_explicit(&slot->quarantined, memory_order_relaxed) == 0)
                        return true;
        }
        return false;
}

void life_leave(struct segment *segment, uint64_t ref) {
        struct layout_worker *worker;
        uint32_t pool_index;
        int r, locked;

        assert(segment && segment->writable && worker_ref_index(ref) < segment->worker_count);
        assert(lock_is_held(LOCK_LIFE) && !lock_is_held(LOCK_POOL));

        worker = segment_worker(segment, worker_ref_index(ref));
        pool_index = atomic_load(&worker->pool_index);
        if (pool_index >= segment->pool_count) {
                /* Somebody wrote over our record. What we hold says more: the end of the process. */
                lock_drop(&worker->life_mutex, LOCK_LIFE);
                return;
        }

        locked = pool_lock(segment, pool_index, ref); /* condemned: we leave all the same */
        r = life_change(worker, life_word(worker_ref_generation(ref), LIFE_LIVE), LIFE_LEFT);
        CRASH_POINT("shm.K6");
        if (r >= 0 && locked >= 0) {
                r = takeover_run_locked(segment, pool_index, ref, NULL);
                assert(r < 0 || !life_owns_a_slot(segment, ref, pool_index));
        }
        lock_drop(&worker->life_mutex, LOCK_LIFE);
        CRASH_POINT("shm.K7");
        (void) life_change(worker, life_word(worker_ref_generation(ref), LIFE_LEFT), LIFE_FREE);
        CRASH_POINT("shm.K8");
        pool_announce(segment, pool_index);
        if (locked >= 0)
                pool_unlock(segment, pool_index);
}
