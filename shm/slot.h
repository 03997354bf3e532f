/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership of one session: state, owner, epoch, changed under the slot's mutex alone (S2), by the rows
 * of one table (slot.c). A slot leaves its owner when the owner gives it, or is proven dead (S3). */
#pragma once

#include "shm/segment.h"

struct slot_view { /* one consistent reading */
        enum slot_state state;
        uint64_t owner_ref, epoch, owned_since_usec, previous_ref, take_count;
        enum slot_take taken_by;
        bool quarantined, wanted;
        uint32_t pool_index;
        uint64_t assigned_ref, heir_ref, adopt_request;
};
/* Lock-free, for readers. 0; -ERANGE for a bad index; -EBADMSG where a word is out of range. */
int slot_read(const struct segment *segment, uint32_t slot_index, struct slot_view *ret_view);

/* `self` takes an orphan that is assigned to it (or, `heir`, whose assigned worker is not live and
 * whose heir it is). 0 and the new epoch; -EBUSY: owned (self's own, too); -EPERM: not meant for self;
 * -EUCLEAN: quarantined; -ENOENT: no session wanted; -ENOTRECOVERABLE: the segment is condemned. Takes
 * the pool mutex: the caller holds nothing above LOCK_TURN. */
int slot_take(struct segment *segment, uint32_t slot_index, uint64_t self_ref, uint64_t *ret_epoch);

/* The owner gives the slot up at a batch boundary, and rings: to `to_ref`, or, where that worker may not be
 * given any (checked under the pool mutex, so that no death is missed), to whom a look chooses, which may be
 * self at a new epoch; 0: to nobody (SLOT_ORPHAN). 0; -EPERM if self is not the owner at `epoch`. */
int slot_release(struct segment *segment, uint32_t slot_index, uint64_t self_ref, uint64_t epoch,
                 uint64_t to_ref);

/* Verified owner raises its epoch above what the destination holds (new segment, S11). 0 and *ret_epoch
 * = at_least; -EPERM if self is not the owner at `epoch`. */
int slot_raise_epoch(struct segment *segment, uint32_t slot_index, uint64_t self_ref, uint64_t epoch,
                     uint64_t at_least, uint64_t *ret_epoch);
/* True if self owns it at this epoch. No lock: two atomic words; a false "true" is fenced by M2. */
bool slot_is_owned_by(const struct segment *segment, uint32_t slot_index, uint64_t self_ref, uint64_t epoch);

/* Takes the death note of the owner before (M6) and clears it. Owner only. */
int slot_take_death_note(struct segment *segment, uint32_t slot_index, uint64_t self_ref,
                         enum death_note *ret_note, uint32_t *ret_signal, uint64_t *ret_position);

/* For takeover.c: gives an orphan or a dead owner's slot to `to_ref` (0: nobody lives, it becomes an
 * orphan); the pool mutex is held. Counts the attempt first (S4); -EUCLEAN: quarantined;
 * -ENOTRECOVERABLE: condemned; -EPERM: refused by the table. DEATH_NONE leaves an unread note alone. */
int slot_give(struct segment *segment, uint32_t slot_index, uint64_t to_ref, enum slot_take how,
              enum death_note note, uint32_t death_signal, uint64_t death_position);

/* ---- the table: what may happen in which state; everything else is refused with -EPERM ------- */
enum slot_event {
        SLOT_EVENT_CONFIGURE = 0, /* slot_configure() */
        SLOT_EVENT_RETIRE,        /* slot_retire() */
        SLOT_EVENT_TAKE,          /* slot_take() */
        SLOT_EVENT_GIVE,          /* slot_give(), to a live worker */
        SLOT_EVENT_HANDOVER,      /* slot_release() to another worker */
        SLOT_EVENT_RELEASE,       /* slot_release() to nobody */
        SLOT_EVENT_BEREAVE,       /* slot_give() to nobody: the owner is dead and no other lives */
        SLOT_EVENT_RAISE,         /* slot_raise_epoch() */
        SLOT_EVENT_COUNT
};
/* Pure. A state out of range (a shared word is input) is refused as well. */
int slot_step(enum slot_state state, enum slot_event event, enum slot_state *ret_next);

/* ---- the supervisor's words (S5): no mutex. It alone calls these. ---------------------------- */
/* Sets assigned and heir and, where assigned changed or the slot is an orphan, puts a hint in the
 * inboxes and rings both the owner and the assigned. */
void slot_assign(struct segment *segment, uint32_t slot_index, uint64_t assigned_ref, uint64_t heir_ref);
/* New session into a free slot (state FREE, not quarantined): writes the config, then state ORPHAN
 * by a CAS (the one word of the slot that two roles write: FREE→ORPHAN supervisor, all else locked). */
int slot_configure(struct segment *segment, uint32_t slot_index, uint32_t pool_index,
                   const struct layout_config *config);
/* Changes the config of a running session in place (owner re-reads at the next boundary). */
int slot_reconfigure(struct segment *segment, uint32_t slot_index, const struct layout_config *config);
/* Withdraws the session: wanted = 0; the owner releases; slot_retire() makes it FREE once it is an
 * orphan (-EBUSY before; -EUCLEAN: quarantined, its index is abandoned). */
void slot_unwant(struct segment *segment, uint32_t slot_index);
/* A slot in use that says FREE: nobody's rules lead there, so its word was overwritten. Back to the state
 * that follows from its owner (H1). 0; -EBUSY: it does not say so; -EUCLEAN: quarantined. */
int slot_restore(struct segment *segment, uint32_t slot_index);
int slot_retire(struct segment *segment, uint32_t slot_index);
