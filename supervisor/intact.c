/* SPDX-License-Identifier: Apache-2.0 */
/* V13: the supervisor's own words in the segment are compared with what it wrote, and put back and told where a worker
 * has written over them (P1). An address that is another's would have the next owner open another source or
 * destination, and nothing else would ever say so.
 *
 * Whoever opened what was not meant leaves it by itself: a worker compares what it has with what is put back (P3). So
 * nobody is sent away here, and one that writes over them at each look costs a write and a line, and no more.
 * Left alone: a quarantined slot (S4), a pool that leaves, an address that is about to change (V7), what others write.
 * The cost is bounded: every pool in use and INTACT_SLOTS slots at each look, in turn, so that a slot is looked at once
 * in (slots / INTACT_SLOTS) looks. Until then what is written over it counts: this mends, it does not prevent.
 * We die here, anywhere: each record is whole behind its sequence word, and the next supervisor compares everything
 * when it applies its configuration (pools.c). */
#include <stdatomic.h>
#include <unistd.h>

#include "base/log.h"
#include "shm/slot.h"
#include "supervisor/manager.h"

#define INTACT_SLOTS 64U

struct damage {
        uint32_t count, slot_index; /* how many, and one of them */
};

/* One that leaves has no configuration to be compared with, but would never be gone if it said that it is wanted. */
static bool slot_put_back(struct manager *manager, uint32_t slot_index) {
        const struct slot_record *record = &manager->slots[slot_index];
        const struct layout_slot *slot = segment_slot(manager->segment, slot_index);

        if (!record->used || record->pool_index >= LAYOUT_POOL_COUNT_MAX ||
            atomic_load_explicit(&slot->quarantined, memory_order_relaxed) != 0)
                return false;
        if (record->session != LAYOUT_NONE)
                return pools_slot_restore(manager, slot_index);
        if (atomic_load_explicit(&slot->wanted, memory_order_relaxed) == 0)
                return false;
        slot_unwant(manager->segment, slot_index);
        return true;
}

static void slot_look(struct manager *manager, uint32_t slot_index, struct damage *damage) {
        if (!slot_put_back(manager, slot_index))
                return;
        manager->slots[slot_index].bad_told = false; /* it is whole again: the next time is told, too */
        damage->slot_index = slot_index;
        damage->count++;
}

/* One line for all of a look, however many they are. */
static void damage_tell(const struct manager *manager, const struct damage *damage) {
        char name[LAYOUT_NAME_BYTES * 2];

        if (damage->count == 0)
                return;
        (void) sessions_name(manager, damage->slot_index, name, sizeof name);
        if (damage->count == 1)
                log_line(MESSAGE_SEGMENT_DAMAGED, LOG_ERR, &(struct log_fields){ .session = name },
                         "session %s (slot %u): its configuration in the segment was written over by a "
                         "worker; it is put back",
                         name, damage->slot_index);
        else
                log_line(MESSAGE_SEGMENT_DAMAGED, LOG_ERR, NULL,
                         "sessions whose configuration in the segment was written over by a worker: %u, one "
                         "of them %s (slot %u); it is put back",
                         damage->count, name, damage->slot_index);
}

static void pool_look(struct manager *manager, uint32_t index) {
        const struct pool *pool = &manager->pools[index];

        if (!pool->used || pool->destination == LAYOUT_NONE || pools_settings_stand(manager, index))
                return;
        pools_write_settings(manager, index);
        log_line(MESSAGE_SEGMENT_DAMAGED, LOG_ERR, &(struct log_fields){ .destination = pool->name },
                 "destination %s: its configuration in the segment was written over by a worker; it is put "
                 "back, and who opened another address leaves",
                 pool->name);
}

static bool number32_put_back(_Atomic uint32_t *word, uint32_t value) {
        if (atomic_load_explicit(word, memory_order_relaxed) == value)
                return false;
        atomic_store_explicit(word, value, memory_order_release);
        return true;
}

static bool number64_put_back(_Atomic uint64_t *word, uint64_t value) {
        if (atomic_load_explicit(word, memory_order_relaxed) == value)
                return false;
        atomic_store_explicit(word, value, memory_order_release);
        return true;
}

/* By the words of the header workers know us, whether they are to stop, and how far to look for sessions. */
static void header_look(struct manager *manager) {
        struct layout_header *header = manager->segment->header;
        bool was_damaged = number32_put_back(&header->stopping, 0);

        if (atomic_load_explicit(&header->slot_used, memory_order_relaxed) < manager->slot_high)
                was_damaged |= number32_put_back(&header->slot_used, manager->slot_high);
        was_damaged |= number64_put_back(&header->stall_timeout_usec, manager->config->stall_timeout_usec);
        was_damaged |= number64_put_back(&header->adopt_timeout_usec, manager->config->adopt_timeout_usec);
        was_damaged |= number64_put_back(&header->supervisor_start_ticks, manager->start_ticks);
        was_damaged |= number32_put_back(&header->supervisor_pid, (uint32_t) getpid());
        if (was_damaged)
                log_line(
                        MESSAGE_SEGMENT_DAMAGED, LOG_ERR, NULL,
                        "words of the supervisor's own in the segment's header were written over by a worker; "
                        "they are put back");
}

static void look_at_slots(struct manager *manager, uint32_t count) {
        struct damage damage = {};

        header_look(manager);
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                pool_look(manager, i);
        for (count = MIN_OF(count, manager->slot_high); count > 0; count--) {
                if (manager->intact_next >= manager->slot_high)
                        manager->intact_next = 0;
                slot_look(manager, manager->intact_next++, &damage);
        }
        damage_tell(manager, &damage);
}

void intact_look(struct manager *manager) {
        look_at_slots(manager, INTACT_SLOTS);
}

void intact_look_at_all(struct manager *manager) {
        sessions_scan(manager); /* what says that it is free is put back there */
        look_at_slots(manager, manager->slot_high);
}
