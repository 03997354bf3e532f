/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership of one session: the table of its changes, and the stores that make one (S2, S3, S4, S5).
 *
 * owner_ref is the truth and is stored last; the state follows from it (slot_settle), so wherever a
 * changer dies, the next to lock the slot finds an old owner or a new one, never half of both.
 * Must not touch: lives (life.h reads them), configs of running sessions, anything of an event. */
#include "shm/slot.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/macro.h"
#include "base/text.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/lock.h"
#include "shm/pool.h"
#include "shm/sequence.h"
#include "shm/takeover.h"

/* S4: so many may have died at a slot; then nobody touches it again. */
#define ORPHAN_ATTEMPT_COUNT_MAX 3

/* ---- the table (shm/README.md shows the same) ------------------------------------------------ */

struct slot_cell {
        bool is_allowed;
        enum slot_state next;
};

static const struct slot_cell slot_table[SLOT_STATE_COUNT][SLOT_EVENT_COUNT] = {
        [SLOT_FREE] = { [SLOT_EVENT_CONFIGURE] = { true, SLOT_ORPHAN } },
        [SLOT_ORPHAN] = { [SLOT_EVENT_RETIRE] = { true, SLOT_FREE },
                          [SLOT_EVENT_TAKE] = { true, SLOT_OWNED },
                          [SLOT_EVENT_GIVE] = { true, SLOT_OWNED } },
        [SLOT_OWNED] = { [SLOT_EVENT_GIVE] = { true, SLOT_OWNED },
                         [SLOT_EVENT_HANDOVER] = { true, SLOT_OWNED },
                         [SLOT_EVENT_RELEASE] = { true, SLOT_ORPHAN },
                         [SLOT_EVENT_BEREAVE] = { true, SLOT_ORPHAN },
                         [SLOT_EVENT_RAISE] = { true, SLOT_OWNED } },
};
static_assert(SLOT_STATE_COUNT == 3, "a new state needs a row here and in shm/README.md");
static_assert(SLOT_EVENT_COUNT == 8, "a new event needs a column here and in shm/README.md");

int slot_step(enum slot_state state, enum slot_event event, enum slot_state *ret_next) {
        assert(event < SLOT_EVENT_COUNT);
        assert(ret_next);

        /* The state is a shared word: input. */
        if (state >= SLOT_STATE_COUNT || !slot_table[state][event].is_allowed)
                return -EPERM;
        *ret_next = slot_table[state][event].next;
        return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The words are read one by one; a change of owner in between shows in owner, epoch or count. */
static void slot_read_words(const struct layout_slot *slot, struct slot_view *view) {
        assert(slot && view);

        for (unsigned try = 0; try < 16; try++) {
                view->owner_ref = atomic_load_explicit(&slot->owner_ref, memory_order_acquire);
                view->epoch = atomic_load_explicit(&slot->epoch, memory_order_acquire);
                view->state = atomic_load_explicit(&slot->state, memory_order_acquire);
                view->owned_since_usec = atomic_load_explicit(&slot->owned_since_usec, memory_order_relaxed);
                view->previous_ref = atomic_load_explicit(&slot->previous_ref, memory_order_relaxed);
                view->take_count = atomic_load_explicit(&slot->take_count, memory_order_relaxed);
                view->taken_by = atomic_load_explicit(&slot->taken_by, memory_order_relaxed);
                atomic_thread_fence(memory_order_acquire);
                if (view->owner_ref == atomic_load_explicit(&slot->owner_ref, memory_order_relaxed) &&
                    view->epoch == atomic_load_explicit(&slot->epoch, memory_order_relaxed) &&
                    view->take_count == atomic_load_explicit(&slot->take_count, memory_order_relaxed))
                        return;
        }
}

int slot_read(const struct segment *segment, uint32_t slot_index, struct slot_view *ret_view) {
        struct slot_view view = {};
        const struct layout_slot *slot;

        assert(segment);
        assert(ret_view);

        if (slot_index >= segment->slot_count)
                return -ERANGE;
        slot = segment_slot(segment, slot_index);
        slot_read_words(slot, &view);
        view.quarantined = atomic_load_explicit(&slot->quarantined, memory_order_relaxed) != 0;
        view.wanted = atomic_load_explicit(&slot->wanted, memory_order_relaxed) != 0;
        view.pool_index = atomic_load_explicit(&slot->pool_index, memory_order_relaxed);
        view.assigned_ref = atomic_load_explicit(&slot->assigned_ref, memory_order_relaxed);
        view.heir_ref = atomic_load_explicit(&slot->heir_ref, memory_order_relaxed);
        view.adopt_request = atomic_load_explicit(&slot->adopt_request, memory_order_relaxed);

        if (view.state >= SLOT_STATE_COUNT || view.taken_by > TAKE_BALANCE ||
            view.pool_index >= segment->pool_count ||
            worker_ref_index(view.owner_ref) >= segment->worker_count)
                return -EBADMSG;
        /* Between the two stores of a change (or left there by the dead): owner_ref is the truth. */
        if (view.state != SLOT_FREE)
                view.state = view.owner_ref == 0 ? SLOT_ORPHAN : SLOT_OWNED;
        *ret_view = view;
        return 0;
}

bool slot_is_owned_by(const struct segment *segment, uint32_t slot_index, uint64_t self_ref, uint64_t epoch) {
        const struct layout_slot *slot;

        assert(segment && slot_index < segment->slot_count);
        assert(self_ref != 0);

        slot = segment_slot(segment, slot_index);
        return atomic_load_explicit(&slot->owner_ref, memory_order_acquire) == self_ref &&
               atomic_load_explicit(&slot->epoch, memory_order_acquire) == epoch;
}

/* ---- changing, under the slot's mutex -------------------------------------------------------- */

static void slot_quarantine(struct layout_slot *slot) {
        assert(slot);
        assert(!lock_is_held(LOCK_SLOT));

        atomic_store_explicit(&slot->quarantined, 1, memory_order_release);
}

/* Makes the state follow from owner_ref, the word that decides. Idempotent: dying inside changes nothing. */
static void slot_settle(struct layout_slot *slot) {
        uint64_t owner_ref;
        uint32_t state;

        assert(slot);
        assert(lock_is_held(LOCK_SLOT));

        owner_ref = atomic_load_explicit(&slot->owner_ref, memory_order_relaxed);
        state = atomic_load_explicit(&slot->state, memory_order_relaxed);
        if (state == SLOT_FREE) {
                if (owner_ref != 0)
                        atomic_store_explicit(&slot->owner_ref, 0, memory_order_release);
        } else if (owner_ref == 0 && state != SLOT_ORPHAN)
                atomic_store_explicit(&slot->state, SLOT_ORPHAN, memory_order_release);
        else if (owner_ref != 0 && state != SLOT_OWNED)
                atomic_store_explicit(&slot->state, SLOT_OWNED, memory_order_release);
}

/* Takes the slot's mutex; on success the slot is consistent, whoever held it before (S4).
 * 0; -EUCLEAN: it can never be taken again, the slot is quarantined; -ENOTRECOVERABLE: condemned. */
static int slot_lock(struct segment *segment, struct layout_slot *slot) {
        int r;

        assert(segment && segment->writable);
        assert(slot);

        r = lock_take(&slot->mutex, LOCK_SLOT);
        if (r == -EOWNERDEAD) {
                slot_settle(slot);
                r = lock_mended(&slot->mutex);
                if (r < 0)
                        lock_drop(&slot->mutex, LOCK_SLOT);
        }
        if (r == -ESRCH) {
                /* Its holder is gone and the kernel never said so: nor will it of the others (S11). */
                segment_condemn(segment);
                return -ENOTRECOVERABLE;
        }
        if (r < 0) {
                slot_quarantine(slot);
                return -EUCLEAN;
        }
        assert(lock_is_held(LOCK_SLOT));
        return 0;
}

static void slot_unlock(struct layout_slot *slot) {
        assert(slot);
        assert(lock_is_held(LOCK_SLOT));

        lock_drop(&slot->mutex, LOCK_SLOT);
}

struct slot_change {
        enum slot_event event;
        uint64_t to_ref; /* 0: to nobody */
        enum slot_take how;
        enum death_note note; /* DEATH_NONE: what stands there stays */
        uint32_t death_signal;
        uint64_t death_position;
};

/* The stores of one change of owner, locked. owner_ref changes in one store, after everything that
 * belongs to the new owner; until then a dead owner's slot is still the dead one's, note included, and
 * the next look does all of it again. */
static int slot_apply(struct layout_slot *slot, const struct slot_change *change) {
        uint64_t from_ref = atomic_load_explicit(&slot->owner_ref, memory_order_relaxed);
        uint32_t state = atomic_load_explicit(&slot->state, memory_order_relaxed);
        enum slot_state next;
        int r;

        assert(lock_is_held(LOCK_SLOT) && lock_is_held(LOCK_POOL));
        assert(change);

        r = slot_step(state, change->event, &next);
        if (r < 0)
                return r;
        assert((next == SLOT_OWNED) == (change->to_ref != 0));

        /* The supervisor may make an orphan FREE in this very moment (slot_retire): one of us wins. */
        if (state == SLOT_ORPHAN &&
            !atomic_compare_exchange_strong_explicit(&slot->state, &state, SLOT_OWNED, memory_order_acq_rel,
                                                     memory_order_relaxed))
                return -EPERM;
        CRASH_POINT("shm.K18");
        if (change->note != DEATH_NONE) {
                atomic_store_explicit(&slot->death_position, change->death_position, memory_order_relaxed);
                atomic_store_explicit(&slot->death_signal, change->death_signal, memory_order_relaxed);
                atomic_store_explicit(&slot->death_note, change->note, memory_order_release);
        }
        CRASH_POINT("shm.K19");
        if (from_ref != 0)
                atomic_store_explicit(&slot->previous_ref, from_ref, memory_order_relaxed);
        if (change->to_ref != 0) {
                (void) atomic_fetch_add_explicit(&slot->epoch, 1, memory_order_acq_rel);
                CRASH_POINT("shm.K20");
                (void) atomic_fetch_add_explicit(&slot->take_count, 1, memory_order_relaxed);
                atomic_store_explicit(&slot->taken_by, change->how, memory_order_relaxed);
                atomic_store_explicit(&slot->owned_since_usec, clock_usec(), memory_order_relaxed);
        }
        /* Release; pairs with the acquire in slot_is_owned_by() and slot_read(). */
        atomic_store_explicit(&slot->owner_ref, change->to_ref, memory_order_release);
        CRASH_POINT("shm.K21");
        if (next == SLOT_ORPHAN)
                atomic_store_explicit(&slot->state, SLOT_ORPHAN, memory_order_release);
        return 0;
}

/* An orphan, or a dead owner's slot: the attempt is counted before anything of it is touched, its mutex
 * included (S4). The pool mutex is held, so one at a time counts. */
static int slot_apply_to_orphan(struct segment *segment, struct layout_slot *slot,
                                const struct slot_change *change) {
        int r;

        assert(lock_is_held(LOCK_POOL));
        assert(slot && change);

        if (atomic_load_explicit(&slot->quarantined, memory_order_relaxed) != 0)
                return -EUCLEAN;
        if (atomic_load_explicit(&slot->orphan_attempts, memory_order_relaxed) >= ORPHAN_ATTEMPT_COUNT_MAX) {
                slot_quarantine(slot);
                return -EUCLEAN;
        }
        (void) atomic_fetch_add_explicit(&slot->orphan_attempts, 1, memory_order_acq_rel);
        CRASH_POINT("shm.K16");
        r = slot_lock(segment, slot);
        if (r < 0)
                return r;
        CRASH_POINT("shm.K17");
        slot_settle(slot);
        r = slot_apply(slot, change);
        LAYOUT_NEXT_TOUCH(segment->slots, slot);
        atomic_store_explicit(&slot->orphan_attempts, 0, memory_order_release);
        slot_unlock(slot);
        return r;
}

int slot_give(struct segment *segment, uint32_t slot_index, uint64_t to_ref, enum slot_take how,
              enum death_note note, uint32_t death_signal, uint64_t death_position) {
        struct slot_change change = {
                .event = to_ref != 0 ? SLOT_EVENT_GIVE : SLOT_EVENT_BEREAVE,
                .to_ref = to_ref,
                .how = how,
                .note = note,
                .death_signal = death_signal,
                .death_position = death_position,
        };

        assert(segment && slot_index < segment->slot_count);
        assert(lock_is_held(LOCK_POOL));
        assert(note <= DEATH_ON_EVENT);

        return slot_apply_to_orphan(segment, segment_slot(segment, slot_index), &change);
}

/* ---- the worker's calls ---------------------------------------------------------------------- */

/* Whether this orphan is meant for self, under the pool mutex, so that "live" holds while we decide. */
static int slot_take_check(const struct segment *segment, const struct layout_slot *slot, uint64_t self_ref,
                           enum slot_take *ret_how) {
        uint64_t assigned_ref = atomic_load_explicit(&slot->assigned_ref, memory_order_acquire);
        uint64_t heir_ref = atomic_load_explicit(&slot->heir_ref, memory_order_acquire);

        assert(lock_is_held(LOCK_POOL));
        assert(self_ref != 0 && ret_how);

        if (atomic_load_explicit(&slot->quarantined, memory_order_relaxed) != 0)
                return -EUCLEAN;
        if (atomic_load_explicit(&slot->state, memory_order_acquire) == SLOT_FREE ||
            atomic_load_explicit(&slot->wanted, memory_order_relaxed) == 0)
                return -ENOENT;
        if (atomic_load_explicit(&slot->owner_ref, memory_order_acquire) != 0)
                return -EBUSY;
        if (assigned_ref == self_ref)
                *ret_how = TAKE_ASSIGNED;
        else if (heir_ref == self_ref && !life_is_live(segment, assigned_ref))
                *ret_how = TAKE_HEIR;
        else
                return -EPERM;
        return life_is_live(segment, self_ref) ? 0 : -EPERM;
}

int slot_take(struct segment *segment, uint32_t slot_index, uint64_t self_ref, uint64_t *ret_epoch) {
        struct slot_change change = { .event = SLOT_EVENT_TAKE, .to_ref = self_ref };
        struct layout_slot *slot;
        uint32_t pool_index;
        int r;

        assert(segment && segment->writable && ret_epoch);
        assert(self_ref != 0);

        if (slot_index >= segment->slot_count)
                return -ERANGE;
        slot = segment_slot(segment, slot_index);
        pool_index = atomic_load_explicit(&slot->pool_index, memory_order_acquire);
        if (pool_index >= segment->pool_count)
                return -EPERM;

        r = pool_lock(segment, pool_index, self_ref);
        if (r < 0)
                return r;
        CRASH_POINT("shm.K22");
        r = slot_take_check(segment, slot, self_ref, &change.how);
        if (r >= 0) {
                r = slot_apply_to_orphan(segment, slot, &change);
                if (r == -EPERM)
                        r = -ENOENT; /* retired in this moment */
        }
        if (r >= 0)
                *ret_epoch = atomic_load_explicit(&slot->epoch, memory_order_acquire);
        CRASH_POINT("shm.K23");
        pool_unlock(segment, pool_index);
        return r;
}

static bool slot_is_held_by(const struct layout_slot *slot, uint64_t self_ref, uint64_t epoch) {
        assert(lock_is_held(LOCK_SLOT));
        assert(self_ref != 0);

        return atomic_load_explicit(&slot->owner_ref, memory_order_relaxed) == self_ref &&
               atomic_load_explicit(&slot->epoch, memory_order_relaxed) == epoch;
}

/* Under the pool mutex. *change says to whom. */
static int slot_release_locked(struct segment *segment, struct layout_slot *slot, uint64_t self_ref,
                               uint64_t epoch, const struct slot_change *change) {
        int r;

        assert(lock_is_held(LOCK_POOL));
        assert(slot && change);

        r = slot_lock(segment, slot);
        if (r < 0)
                return r;
        CRASH_POINT("shm.K24");
        r = slot_is_held_by(slot, self_ref, epoch) ? slot_apply(slot, change) : -EPERM;
        slot_unlock(slot);
        return r;
}

int slot_release(struct segment *segment, uint32_t slot_index, uint64_t self_ref, uint64_t epoch,
                 uint64_t to_ref) {
        struct slot_change change = { .event = SLOT_EVENT_RELEASE };
        struct layout_slot *slot;
        struct layout_pool *pool;
        uint32_t pool_index, hints_were_owed;
        int r;

        assert(segment && segment->writable);
        assert(slot_index < segment->slot_count && self_ref != 0 && to_ref != self_ref);

        slot = segment_slot(segment, slot_index);
        pool_index = atomic_load_explicit(&slot->pool_index, memory_order_acquire);
        if (pool_index >= segment->pool_count)
                return -EPERM;
        r = pool_lock(segment, pool_index, self_ref);
        if (r < 0)
                return r;
        if (life_may_be_given(segment, to_ref, pool_index))
                change = (struct slot_change){
                        .event = SLOT_EVENT_HANDOVER,
                        .to_ref = to_ref,
                        .how = TAKE_HANDOVER,
                };
        pool = segment_pool(segment, pool_index);
        hints_were_owed = pool->hints_owed; /* by one who died: the next look's business, not ours */
        pool->hints_owed = 1;
        r = slot_release_locked(segment, slot, self_ref, epoch, &change);
        CRASH_POINT("shm.K25");
        if (r >= 0 && change.to_ref != 0) {
                inbox_put(segment, to_ref, slot_index);
                CRASH_POINT("shm.K26");
                doorbell_ring(segment, to_ref);
        }
        pool->hints_owed = hints_were_owed;
        /* The receiver died, left or drains. The look knows who may have it, self too: an orphan that is meant
         * for the gone would wait for a supervisor (S7). */
        if (r >= 0 && change.to_ref != to_ref)
                r = takeover_run_locked(segment, pool_index, self_ref, NULL);
        pool_unlock(segment, pool_index);
        return r;
}

int slot_raise_epoch(struct segment *segment, uint32_t slot_index, uint64_t self_ref, uint64_t epoch,
                     uint64_t at_least, uint64_t *ret_epoch) {
        struct layout_slot *slot;
        enum slot_state next;
        int r;

        assert(segment && segment->writable && ret_epoch);
        assert(slot_index < segment->slot_count && self_ref != 0);

        slot = segment_slot(segment, slot_index);
        r = slot_lock(segment, slot);
        if (r < 0)
                return r;
        r = slot_step(atomic_load_explicit(&slot->state, memory_order_relaxed), SLOT_EVENT_RAISE, &next);
        if (r >= 0 && !slot_is_held_by(slot, self_ref, epoch))
                r = -EPERM;
        if (r >= 0) {
                uint64_t raised = MAX_OF(epoch, at_least);

                atomic_store_explicit(&slot->epoch, raised, memory_order_release);
                *ret_epoch = raised;
        }
        slot_unlock(slot);
        return r;
}

int slot_take_death_note(struct segment *segment, uint32_t slot_index, uint64_t self_ref,
                         enum death_note *ret_note, uint32_t *ret_signal, uint64_t *ret_position) {
        struct layout_slot *slot;
        uint32_t note;
        int r;

        assert(segment && segment->writable && slot_index < segment->slot_count);
        assert(ret_note && ret_signal && ret_position);

        slot = segment_slot(segment, slot_index);
        r = slot_lock(segment, slot);
        if (r < 0)
                return r;
        if (atomic_load_explicit(&slot->owner_ref, memory_order_relaxed) != self_ref)
                r = -EPERM;
        else {
                note = atomic_load_explicit(&slot->death_note, memory_order_relaxed);
                *ret_note = note <= DEATH_ON_EVENT ? note : DEATH_NONE;
                *ret_signal = atomic_load_explicit(&slot->death_signal, memory_order_relaxed);
                *ret_position = atomic_load_explicit(&slot->death_position, memory_order_relaxed);
                atomic_store_explicit(&slot->death_note, DEATH_NONE, memory_order_release);
        }
        slot_unlock(slot);
        return r;
}
