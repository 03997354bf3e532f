/* SPDX-License-Identifier: Apache-2.0 */
/* The look (S7): who died, who gets what was theirs. Everything is recomputed from the words, every
 * time, so a taker may die anywhere and the next look ends the same (shm/README.md, K9–K15).
 *
 * Obeys S2–S5. No event, no allocation, no I/O under the pool mutex (processes are looked up before it is
 * taken). Every word read is input: indexes are bounded, refs compared whole. */
#include "shm/takeover.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/macro.h"
#include "shm/balance.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/life_word.h"
#include "shm/lock.h"
#include "shm/pool.h"
#include "shm/slot.h"

/* What one look knows. On the stack: about 6 KiB. */
struct look {
        struct segment *segment;
        uint32_t pool_index;
        uint64_t self_ref;
        const uint64_t *gone; /* [worker]: ref whose process is gone, or 0; NULL */
        uint32_t dead_count, pending_count;
        bool is_changed;                        /* a life word was changed: membership is news */
        uint16_t dead[LAYOUT_WORKER_COUNT_MAX]; /* indexes of this pool's dead, not completed yet */
        uint64_t live[LAYOUT_WORKER_COUNT_MAX]; /* [worker]: its ref if it lives (any pool), or 0 */
        uint32_t load[LAYOUT_WORKER_COUNT_MAX]; /* [worker]: slots; UINT32_MAX: may not be given any */
        bool is_told[LAYOUT_WORKER_COUNT_MAX];  /* [worker]: got a hint, ring it */
        uint64_t last_given_usec;
        struct takeover_result result;
};

/* ---- who lives ------------------------------------------------------------------------------- */

static bool look_proves_dead(const struct look *look, struct layout_worker *worker, uint32_t index,
                             uint64_t life) {
        assert(lock_is_held(LOCK_POOL));
        assert(index < look->segment->worker_count);

        if (look->gone && look->gone[index] == life_word_ref(index, life)) {
                /* From here on it is a death like any other, for everyone. */
                lock_declare_dead(&worker->life_mutex);
                return true;
        }
        if (life_mutex_says_dead(worker) || life_word_state(life) == LIFE_DEAD)
                return true;
        /* LEFT and let go of its life, but not FREE: it died in life_leave(), which is done under the
         * mutex that we hold now. */
        return life_word_state(life) == LIFE_LEFT && life_mutex_is_free(worker);
}

static void look_at_worker(struct look *look, uint32_t index) {
        struct layout_worker *worker = segment_worker(look->segment, index);
        uint64_t life = atomic_load_explicit(&worker->life, memory_order_acquire);
        uint32_t state = life_word_state(life);
        bool is_member;

        assert(lock_is_held(LOCK_POOL));

        look->live[index] = 0;
        look->load[index] = UINT32_MAX;
        look->is_told[index] = false;
        if (state == LIFE_FREE || state >= LIFE_ABANDONED)
                return;

        is_member = atomic_load_explicit(&worker->pool_index, memory_order_relaxed) == look->pool_index;
        if (is_member && look_proves_dead(look, worker, index, life)) {
                if (state != LIFE_DEAD) {
                        if (life_change(worker, life, LIFE_DEAD) < 0)
                                return; /* not by our rules: left to the next look */
                        look->is_changed = true;
                }
                CRASH_POINT("shm.K10");
                assert(look->dead_count < ELEMENTSOF(look->dead));
                look->dead[look->dead_count++] = (uint16_t) index;
                return;
        }
        /* Of another pool (by its own record, which may be wrong): it owns what it owns while it lives. */
        if ((state == LIFE_LIVE || state == LIFE_ENTERING) && !life_mutex_says_dead(worker)) {
                look->live[index] = life_word_ref(index, life);
                if (life_may_be_given(look->segment, look->live[index], look->pool_index))
                        look->load[index] = 0;
        }
}

static bool look_is_live(const struct look *look, uint64_t ref) {
        assert(look);

        return ref != 0 && worker_ref_index(ref) < look->segment->worker_count &&
               look->live[worker_ref_index(ref)] == ref;
}

static bool look_may_give_to(const struct look *look, uint64_t ref) {
        assert(look);

        return look_is_live(look, ref) && look->load[worker_ref_index(ref)] != UINT32_MAX;
}

/* ---- whose are the slots --------------------------------------------------------------------- */

/* True if the slot needs a change: its owner does not live, or it is wanted and has none. */
static bool look_is_pending(const struct look *look, const struct layout_slot *slot) {
        uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
        uint64_t owner_ref = atomic_load_explicit(&slot->owner_ref, memory_order_acquire);

        assert(look);

        if (state == SLOT_FREE || look_is_live(look, owner_ref) ||
            atomic_load_explicit(&slot->quarantined, memory_order_relaxed) != 0)
                return false;
        return owner_ref != 0 || state != SLOT_ORPHAN ||
               atomic_load_explicit(&slot->wanted, memory_order_relaxed) != 0;
}

static bool look_concerns(const struct look *look, const struct layout_slot *slot) {
        assert(look && slot);

        return atomic_load_explicit(&slot->pool_index, memory_order_relaxed) == look->pool_index;
}

static void look_count_slots(struct look *look) {
        struct segment *segment = look->segment;
        uint32_t used = segment_slot_used(segment);

        assert(lock_is_held(LOCK_POOL));
        assert(used <= segment->slot_count);

        for (uint32_t i = 0; i < used; i++) {
                const struct layout_slot *slot = segment_slot(segment, i);
                uint64_t owner_ref;

                if (!look_concerns(look, slot))
                        continue;
                owner_ref = atomic_load_explicit(&slot->owner_ref, memory_order_relaxed);
                if (look_may_give_to(look, owner_ref))
                        look->load[worker_ref_index(owner_ref)]++;
                else if (look_is_pending(look, slot))
                        look->pending_count++;
        }
}

/* The supervisor's words, each read once and validated (S5); where neither lives, the balance. */
static uint64_t look_choose(const struct look *look, const struct layout_slot *slot,
                            enum slot_take *ret_how) {
        uint64_t assigned_ref = atomic_load_explicit(&slot->assigned_ref, memory_order_acquire);
        uint64_t heir_ref = atomic_load_explicit(&slot->heir_ref, memory_order_acquire);
        uint32_t index;

        assert(look && ret_how);

        if (atomic_load_explicit(&slot->wanted, memory_order_relaxed) == 0)
                return 0;
        if (look_may_give_to(look, assigned_ref)) {
                *ret_how = TAKE_ASSIGNED;
                return assigned_ref;
        }
        if (look_may_give_to(look, heir_ref)) {
                *ret_how = TAKE_HEIR;
                return heir_ref;
        }
        index = balance_one(look->load, look->segment->worker_count);
        if (index == BALANCE_NOBODY)
                return 0;
        *ret_how = TAKE_BALANCE;
        return look->live[index];
}

struct death {
        enum death_note note;
        uint32_t signal;
        uint64_t position;
};

static bool is_fault_signal(uint32_t number) {
        return number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE ||
               number == SIGABRT || number == SIGSYS;
}

/* What the dead owner had in hand, if it was this slot (M6). Its record is input; the entry is not
 * completed before this is copied, so it cannot be the record of a later worker. */
static struct death look_death_note(const struct look *look, uint32_t slot_index, uint64_t owner_ref) {
        const struct layout_worker *worker;
        struct death death = { .note = DEATH_NONE };
        uint64_t life;
        uint32_t signal_number;

        assert(look);

        if (owner_ref == 0 || worker_ref_index(owner_ref) >= look->segment->worker_count)
                return death;
        worker = segment_worker(look->segment, worker_ref_index(owner_ref));
        life = atomic_load_explicit(&worker->life, memory_order_acquire);
        if (life_word_ref(worker_ref_index(owner_ref), life) != owner_ref ||
            life_word_state(life) != LIFE_DEAD ||
            atomic_load_explicit(&worker->note_slot, memory_order_acquire) != slot_index)
                return death;
        signal_number = atomic_load_explicit(&worker->fault_signal, memory_order_relaxed);
        death.signal = is_fault_signal(signal_number) ? signal_number : 0;
        /* Killed in a sync or a commit, by whomever: the event had been put down, it is not its doing. */
        if (death.signal == 0 &&
            atomic_load_explicit(&worker->phase, memory_order_relaxed) == PHASE_COMMITTING)
                return (struct death){ .note = DEATH_NONE };
        death.note = atomic_load_explicit(&worker->note_is_exact, memory_order_relaxed) != 0 ? DEATH_ON_EVENT
                                                                                             : DEATH_IN_BATCH;
        death.position = atomic_load_explicit(&worker->note_position, memory_order_relaxed);
        return death;
}

static void look_tell(struct look *look, uint64_t ref, uint32_t slot_index) {
        assert(look_is_live(look, ref));
        assert(slot_index < look->segment->slot_count);

        inbox_put(look->segment, ref, slot_index);
        look->is_told[worker_ref_index(ref)] = true;
}

static int look_give_slot(struct look *look, uint32_t slot_index) {
        struct layout_slot *slot = segment_slot(look->segment, slot_index);
        enum slot_take how = TAKE_BALANCE;
        uint64_t to_ref = look_choose(look, slot, &how);
        struct death death = look_death_note(look, slot_index,
                                             atomic_load_explicit(&slot->owner_ref, memory_order_acquire));
        int r;

        assert(to_ref == 0 || look_may_give_to(look, to_ref));

        r = slot_give(look->segment, slot_index, to_ref, how, death.note, death.signal, death.position);
        if (r == -EUCLEAN)
                look->result.quarantined++;
        if (r == -ENOTRECOVERABLE)
                return r;
        if (r < 0 || to_ref == 0)
                return 0;
        CRASH_POINT("shm.K11");
        look->load[worker_ref_index(to_ref)]++;
        look->result.slots_given++;
        if (to_ref == look->self_ref)
                look->result.slots_to_self++;
        look_tell(look, to_ref, slot_index);
        return 0;
}

static int look_give_slots(struct look *look) {
        uint32_t used = segment_slot_used(look->segment);
        int r;

        assert(lock_is_held(LOCK_POOL));
        assert(used <= look->segment->slot_count);

        if (look->pending_count == 0)
                return 0;
        for (uint32_t i = 0; i < used; i++) {
                const struct layout_slot *slot = segment_slot(look->segment, i);

                if (!look_concerns(look, slot) || !look_is_pending(look, slot))
                        continue;
                r = look_give_slot(look, i);
                if (r < 0)
                        return r;
        }
        look->last_given_usec = clock_usec();
        CRASH_POINT("shm.K12");
        return 0;
}

/* A changer died between a new owner and its hint; which one it was is not known, so all are told. */
static void look_tell_all(struct look *look) {
        uint32_t used = segment_slot_used(look->segment);

        assert(lock_is_held(LOCK_POOL));
        assert(used <= look->segment->slot_count);

        for (uint32_t i = 0; i < used; i++) {
                const struct layout_slot *slot = segment_slot(look->segment, i);
                uint64_t owner_ref = atomic_load_explicit(&slot->owner_ref, memory_order_acquire);

                if (look_concerns(look, slot) && look_is_live(look, owner_ref))
                        look_tell(look, owner_ref, i);
        }
}

/* ---- the end of a look ----------------------------------------------------------------------- */

static void look_ring(const struct look *look) {
        assert(look);
        assert(lock_is_held(LOCK_POOL));

        for (uint32_t i = 0; i < look->segment->worker_count; i++)
                if (look->is_told[i])
                        doorbell_ring(look->segment, look->live[i]);
}

/* Nothing is theirs any more: their entries may be used again. */
static void look_complete(struct look *look) {
        assert(look);
        assert(lock_is_held(LOCK_POOL));

        for (uint32_t i = 0; i < look->dead_count; i++) {
                struct layout_worker *worker = segment_worker(look->segment, look->dead[i]);
                uint64_t life = atomic_load_explicit(&worker->life, memory_order_acquire);
                int r;

                if (life_word_state(life) != LIFE_DEAD)
                        continue;
                r = lock_revive(&worker->life_mutex);
                if (r == -EBUSY)
                        continue; /* the kernel has not come to it yet; its wake brings the next look */
                CRASH_POINT("shm.K14");
                if (life_change(worker, life, r < 0 ? LIFE_ABANDONED : LIFE_FREE) < 0)
                        continue;
                look->result.dead_count++;
                look->is_changed = true;
        }
}

/* For the supervisor and `status`, which take no lock: the count last (layout.h). */
static void look_record(const struct look *look, uint64_t started_usec) {
        struct layout_pool *pool = segment_pool(look->segment, look->pool_index);
        uint64_t dead_life, span_usec, slots, count;

        assert(lock_is_held(LOCK_POOL));
        assert(look->dead_count > 0);

        span_usec = look->last_given_usec > started_usec ? look->last_given_usec - started_usec : 0;
        slots = atomic_load_explicit(&pool->takeover_slots, memory_order_relaxed);
        count = atomic_load_explicit(&pool->takeover_count, memory_order_relaxed);
        dead_life = atomic_load_explicit(&segment_worker(look->segment, look->dead[0])->life,
                                         memory_order_relaxed);

        atomic_store_explicit(&pool->takeover_slots, slots + look->result.slots_given, memory_order_relaxed);
        atomic_store_explicit(&pool->takeover_last_usec, clock_usec(), memory_order_relaxed);
        atomic_store_explicit(&pool->takeover_last_span_usec, span_usec, memory_order_relaxed);
        atomic_store_explicit(&pool->takeover_last_ref, life_word_ref(look->dead[0], dead_life),
                              memory_order_relaxed);
        atomic_store_explicit(&pool->takeover_by_ref, look->self_ref, memory_order_relaxed);
        atomic_store_explicit(&pool->takeover_count, count + 1, memory_order_release);
}

static int look_run(struct look *look) {
        struct layout_pool *pool = segment_pool(look->segment, look->pool_index);
        uint64_t started_usec = clock_usec();
        bool hints_are_owed = pool->hints_owed != 0;
        int r;

        assert(lock_is_held(LOCK_POOL));
        assert(look->dead_count == 0);

        CRASH_POINT("shm.K9");
        for (uint32_t i = 0; i < look->segment->worker_count; i++)
                look_at_worker(look, i);
        look_count_slots(look);
        pool->hints_owed = hints_are_owed || look->pending_count > 0;
        r = look_give_slots(look);
        if (r < 0)
                return r;
        if (hints_are_owed)
                look_tell_all(look);
        look_ring(look);
        pool->hints_owed = 0;
        CRASH_POINT("shm.K13");
        if (look->last_given_usec != 0)
                look->result.span_usec = look->last_given_usec - started_usec;
        if (look->dead_count > 0) {
                look_record(look, started_usec);
                look_complete(look);
                CRASH_POINT("shm.K15");
        }
        /* Only news: an entry that cannot be completed must not keep the pool awake. */
        if (look->is_changed)
                pool_announce(look->segment, look->pool_index);
        return 0;
}

static int look_begin(struct segment *segment, uint32_t pool_index, uint64_t self_ref, const uint64_t *gone,
                      struct takeover_result *ret_result) {
        struct look look;
        int r;

        assert(segment && segment->writable);
        assert(lock_is_held(LOCK_POOL));

        /* Not zeroed as a whole: what is read of the arrays, look_at_worker() writes first. */
        look.segment = segment;
        look.pool_index = pool_index;
        look.self_ref = self_ref;
        look.gone = gone;
        look.dead_count = 0;
        look.pending_count = 0;
        look.is_changed = false;
        look.last_given_usec = 0;
        look.result = (struct takeover_result){};
        r = look_run(&look);
        if (r >= 0 && ret_result)
                *ret_result = look.result;
        return r;
}

int takeover_run_locked(struct segment *segment, uint32_t pool_index, uint64_t self_ref,
                        struct takeover_result *ret_result) {
        assert(segment && pool_index < segment->pool_count);
        assert(lock_is_held(LOCK_POOL));

        return look_begin(segment, pool_index, self_ref, NULL, ret_result);
}

/* ---- without the pool mutex ------------------------------------------------------------------ */

static bool pool_shows_a_death(const struct segment *segment, uint32_t pool_index) {
        assert(segment);
        assert(pool_index < segment->pool_count);

        for (uint32_t i = 0; i < segment->worker_count; i++) {
                const struct layout_worker *worker = segment_worker(segment, i);
                uint32_t state = life_word_state(atomic_load_explicit(&worker->life, memory_order_acquire));

                if (state != LIFE_FREE && state < LIFE_ABANDONED &&
                    atomic_load_explicit(&worker->pool_index, memory_order_relaxed) == pool_index &&
                    (life_mutex_says_dead(worker) || (state == LIFE_DEAD && life_mutex_is_free(worker))))
                        return true;
        }
        return false;
}

/* The backstop, for whoever was told by a pidfd: the kernel may have lost the robust list with the memory
 * that it stood in (the out-of-memory reaper). Reads /proc, so only where no word shows a death. */
static void pool_find_gone(const struct segment *segment, uint32_t pool_index, uint64_t self_ref,
                           uint64_t *ret_gone) {
        assert(segment && ret_gone);
        assert(!lock_is_held(LOCK_POOL));

        for (uint32_t i = 0; i < segment->worker_count; i++) {
                const struct layout_worker *worker = segment_worker(segment, i);
                uint64_t life = atomic_load_explicit(&worker->life, memory_order_acquire);
                uint32_t state = life_word_state(life);

                ret_gone[i] = 0;
                if (state == LIFE_FREE || state >= LIFE_ABANDONED || life_word_ref(i, life) == self_ref ||
                    atomic_load_explicit(&worker->pool_index, memory_order_relaxed) != pool_index)
                        continue;
                if (life_process_is_gone(segment, i) &&
                    atomic_load_explicit(&worker->life, memory_order_acquire) == life)
                        ret_gone[i] = life_word_ref(i, life);
        }
}

int takeover_run(struct segment *segment, uint32_t pool_index, uint64_t self_ref,
                 struct takeover_result *ret_result) {
        uint64_t gone[LAYOUT_WORKER_COUNT_MAX];
        bool is_shown;
        int r;

        assert(segment && segment->writable);
        assert(pool_index < segment->pool_count);

        is_shown = pool_shows_a_death(segment, pool_index);
        if (!is_shown)
                pool_find_gone(segment, pool_index, self_ref, gone);
        r = pool_lock(segment, pool_index, self_ref);
        if (r < 0)
                return r;
        r = look_begin(segment, pool_index, self_ref, is_shown ? NULL : gone, ret_result);
        pool_unlock(segment, pool_index);
        return r;
}
