/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's half of slot.h: words of its own, hints, and FREE ↔ ORPHAN (S5).
 * Must not touch: any mutex, any word of an owned slot but assigned, heir, wanted and the config. */
#include "shm/slot.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/macro.h"
#include "base/text.h"
#include "shm/doorbell.h"
#include "shm/sequence.h"

static void slot_hint(struct segment *segment, uint32_t slot_index, uint64_t ref) {
        assert(segment && segment->writable);
        assert(slot_index < segment->slot_count);

        if (ref == 0)
                return;
        inbox_put(segment, ref, slot_index);
        doorbell_ring(segment, ref);
}

void slot_assign(struct segment *segment, uint32_t slot_index, uint64_t assigned_ref, uint64_t heir_ref) {
        struct layout_slot *slot;
        uint64_t before_ref, owner_ref, heir_before_ref;

        assert(segment && segment->writable && slot_index < segment->slot_count);
        assert(assigned_ref == 0 || assigned_ref != heir_ref);

        slot = segment_slot(segment, slot_index);
        heir_before_ref = atomic_exchange_explicit(&slot->heir_ref, heir_ref, memory_order_acq_rel);
        if (heir_before_ref != heir_ref)
                doorbell_ring(segment, heir_ref); /* it warms what it may have to take (S8) */
        before_ref = atomic_exchange_explicit(&slot->assigned_ref, assigned_ref, memory_order_acq_rel);
        owner_ref = atomic_load_explicit(&slot->owner_ref, memory_order_acquire);
        if (before_ref == assigned_ref && owner_ref != 0)
                return;
        slot_hint(segment, slot_index, assigned_ref);
        if (owner_ref != assigned_ref)
                slot_hint(segment, slot_index, owner_ref);
}

static void config_write(struct segment *segment, uint32_t slot_index, const struct layout_config *config) {
        const size_t begin = offsetof(struct layout_config, sibling_slot);
        const size_t end = offsetof(struct layout_config, url) + LAYOUT_URL_BYTES;
        struct layout_config *shared;

        assert(config && config->sibling_slot < segment->slot_count);
        assert(text_is_terminated(config->session, sizeof config->session) &&
               text_is_terminated(config->source, sizeof config->source) &&
               text_is_terminated(config->url, sizeof config->url));

        shared = segment_config(segment, slot_index);
        sequence_write(&shared->sequence, (char *) shared + begin, (const char *) config + begin,
                       end - begin);
}

/* Nothing of the session before may speak for the new one: its clean-up mark (M14), faults (M6), its lost
 * source (M7), status. */
static void session_forget(struct segment *segment, uint32_t slot_index) {
        const size_t begin = offsetof(struct layout_status, phase);
        const size_t end = offsetof(struct layout_status, reason) + LAYOUT_REASON_BYTES;
        static const struct layout_status nothing;
        struct layout_status *status = segment_status(segment, slot_index);
        struct layout_slot *slot = segment_slot(segment, slot_index);

        assert(segment->writable);

        atomic_store(&status->durable_check, 0);
        atomic_store(&status->durable_position, 0);
        atomic_store(&status->fault_position, 0);
        atomic_store(&status->fault_deaths, 0);
        atomic_store(&status->unknown_deaths, 0);
        atomic_store(&status->suspect, 0);
        atomic_store(&status->suspect_until, 0);
        atomic_store(&status->source_sync_failed, 0); /* the state directory remembers whose it was (M7) */
        sequence_write(&status->sequence, (char *) status + begin, (const char *) &nothing + begin,
                       end - begin);
        atomic_store(&slot->death_note, DEATH_NONE);
        atomic_store(&slot->orphan_attempts, 0);
        atomic_store(&slot->assigned_ref, 0);
        atomic_store(&slot->heir_ref, 0);
        atomic_store(&slot->adopt_request, 0);
}

int slot_configure(struct segment *segment, uint32_t slot_index, uint32_t pool_index,
                   const struct layout_config *config) {
        struct layout_slot *slot;
        enum slot_state next;
        uint32_t state, used;
        int r;

        assert(segment && segment->writable && config);
        assert(pool_index < segment->pool_count);

        if (slot_index >= segment->slot_count)
                return -ERANGE;
        slot = segment_slot(segment, slot_index);
        if (atomic_load_explicit(&slot->quarantined, memory_order_acquire) != 0)
                return -EUCLEAN;
        state = atomic_load_explicit(&slot->state, memory_order_acquire);
        r = slot_step(state, SLOT_EVENT_CONFIGURE, &next);
        if (r < 0)
                return -EBUSY;

        /* We die here, anywhere before the last store: the slot is FREE and is configured anew. */
        session_forget(segment, slot_index);
        config_write(segment, slot_index, config);
        atomic_store_explicit(&slot->pool_index, pool_index, memory_order_release);
        atomic_store_explicit(&slot->wanted, 1, memory_order_release);
        used = atomic_load_explicit(&segment->header->slot_used, memory_order_relaxed);
        if (used <= slot_index)
                atomic_store_explicit(&segment->header->slot_used, slot_index + 1, memory_order_release);
        /* Release; pairs with the acquire of `state` in the look and in slot_take(). */
        return atomic_compare_exchange_strong_explicit(&slot->state, &state, next, memory_order_acq_rel,
                                                       memory_order_relaxed)
                       ? 0
                       : -EBUSY;
}

int slot_reconfigure(struct segment *segment, uint32_t slot_index, const struct layout_config *config) {
        struct layout_slot *slot;
        uint64_t owner_ref;

        assert(segment && segment->writable);
        assert(config);

        if (slot_index >= segment->slot_count)
                return -ERANGE;
        slot = segment_slot(segment, slot_index);
        if (atomic_load_explicit(&slot->state, memory_order_acquire) == SLOT_FREE)
                return -ENOENT;
        config_write(segment, slot_index, config);
        owner_ref = atomic_load_explicit(&slot->owner_ref, memory_order_acquire);
        slot_hint(segment, slot_index, owner_ref);
        return 0;
}

void slot_unwant(struct segment *segment, uint32_t slot_index) {
        struct layout_slot *slot;

        assert(segment && segment->writable);
        assert(slot_index < segment->slot_count);

        slot = segment_slot(segment, slot_index);
        atomic_store_explicit(&slot->wanted, 0, memory_order_release);
        slot_hint(segment, slot_index, atomic_load_explicit(&slot->owner_ref, memory_order_acquire));
}

int slot_restore(struct segment *segment, uint32_t slot_index) {
        struct layout_slot *slot;
        uint32_t state = SLOT_FREE, next;

        assert(segment && segment->writable);
        assert(slot_index < segment->slot_count);

        slot = segment_slot(segment, slot_index);
        if (atomic_load_explicit(&slot->quarantined, memory_order_acquire) != 0)
                return -EUCLEAN;
        /* An owner that changes in this moment is settled by whoever locks the slot next (H1). */
        next = atomic_load_explicit(&slot->owner_ref, memory_order_acquire) == 0 ? SLOT_ORPHAN : SLOT_OWNED;
        return atomic_compare_exchange_strong_explicit(&slot->state, &state, next, memory_order_acq_rel,
                                                       memory_order_relaxed)
                       ? 0
                       : -EBUSY;
}

int slot_retire(struct segment *segment, uint32_t slot_index) {
        struct layout_slot *slot;
        enum slot_state next;
        uint32_t state;

        assert(segment && segment->writable);
        assert(slot_index < segment->slot_count);

        slot = segment_slot(segment, slot_index);
        if (atomic_load_explicit(&slot->quarantined, memory_order_acquire) != 0)
                return -EUCLEAN;
        state = atomic_load_explicit(&slot->state, memory_order_acquire);
        if (atomic_load_explicit(&slot->wanted, memory_order_relaxed) != 0 ||
            slot_step(state, SLOT_EVENT_RETIRE, &next) < 0)
                return -EBUSY;
        /* A taker may be making it OWNED in this moment (slot_apply): one of us wins. */
        return atomic_compare_exchange_strong_explicit(&slot->state, &state, next, memory_order_acq_rel,
                                                       memory_order_relaxed)
                       ? 0
                       : -EBUSY;
}
