/* SPDX-License-Identifier: Apache-2.0 */
/* Who should own what, and who is heir: balance() over a pool's slots, written as words of the
 * supervisor's own (S5, S9). Movers act on them at a batch boundary; nothing is taken from anybody here.
 * Must not touch: a slot's mutex, owner, epoch or state. */
#include "base/crash.h"
#include "base/log.h"
#include "shm/balance.h"
#include "shm/slot.h"
#include "supervisor/manager.h"

struct crew { /* the workers of one pool that may have sessions, by rising entry */
        uint64_t refs[LAYOUT_WORKER_COUNT_MAX];
        uint32_t number_of_entry[LAYOUT_WORKER_COUNT_MAX]; /* BALANCE_NOBODY: not one of them */
        uint32_t count;
};

static void crew_read(const struct manager *manager, uint32_t pool_index, struct crew *ret_crew) {
        uint64_t ref_of_entry[LAYOUT_WORKER_COUNT_MAX] = {};
        const struct process *process;

        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                process = &manager->processes[i];
                if (process->pid > 0 && process->pool_index == pool_index &&
                    watch_is_eligible(manager, process))
                        ref_of_entry[worker_ref_index(process->ref)] = process->ref;
        }
        ret_crew->count = 0;
        for (uint32_t i = 0; i < LAYOUT_WORKER_COUNT_MAX; i++) {
                ret_crew->number_of_entry[i] = BALANCE_NOBODY;
                if (ref_of_entry[i] == 0)
                        continue;
                ret_crew->number_of_entry[i] = ret_crew->count;
                ret_crew->refs[ret_crew->count++] = ref_of_entry[i];
        }
}

static uint32_t crew_number(const struct crew *crew, uint64_t ref) {
        uint32_t index = worker_ref_index(ref), number;

        if (ref == 0 || index >= LAYOUT_WORKER_COUNT_MAX)
                return BALANCE_NOBODY;
        number = crew->number_of_entry[index];
        return number != BALANCE_NOBODY && crew->refs[number] == ref ? number : BALANCE_NOBODY;
}

static uint64_t crew_ref(const struct crew *crew, uint32_t number) {
        assert(number == BALANCE_NOBODY || number < crew->count);
        return number == BALANCE_NOBODY ? 0 : crew->refs[number];
}

/* Whom a slot counts for now. The assigned one first: a session on its way to it is its already, so that
 * looking again in the middle of a move does not choose another; then the owner. */
static uint32_t holder_now(const struct crew *crew, const struct slot_view *view) {
        uint32_t number;

        number = crew_number(crew, view->assigned_ref);
        return number != BALANCE_NOBODY ? number : crew_number(crew, view->owner_ref);
}

/* The pool's slots that can have an owner. Bad and quarantined ones are left alone (P1, S4). */
static uint32_t slots_read(struct manager *manager, uint32_t pool_index, const struct crew *crew) {
        struct slot_view view;
        uint32_t count = 0;

        for (uint32_t i = 0; i < manager->slot_high; i++) {
                const struct slot_record *record = &manager->slots[i];

                if (!record->used || record->session == LAYOUT_NONE || record->pool_index != pool_index)
                        continue;
                if (slot_read(manager->segment, i, &view) < 0 || view.quarantined)
                        continue;
                manager->balance_slots[count] = i;
                manager->balance_owner[count++] = holder_now(crew, &view);
        }
        return count;
}

static bool assign_slot(struct manager *manager, uint32_t slot_index, uint64_t assigned_ref,
                        uint64_t heir_ref) {
        struct slot_view view;

        if (slot_read(manager->segment, slot_index, &view) < 0)
                return false;
        if (view.assigned_ref == assigned_ref && view.heir_ref == heir_ref && view.state != SLOT_ORPHAN)
                return false;
        slot_assign(manager->segment, slot_index, assigned_ref, heir_ref);
        /* K5 We die here: some slots are assigned anew and others are not. Every one has an owner or an
         * assigned worker as valid as before; the next supervisor balances again. */
        CRASH_POINT("supervisor.K5");
        return view.assigned_ref != assigned_ref;
}

void assign_run(struct manager *manager, uint32_t pool_index) {
        struct pool *pool = &manager->pools[pool_index];
        uint32_t scratch[4 * LAYOUT_WORKER_COUNT_MAX], count, changed = 0;
        struct crew crew;

        assert(pool->used);
        assert(manager->segment);

        pool->assign_needed = false;
        crew_read(manager, pool_index, &crew);
        count = slots_read(manager, pool_index, &crew);
        balance(count, manager->balance_owner, manager->balance_heir, crew.count, scratch);
        for (uint32_t i = 0; i < count; i++)
                changed += assign_slot(manager, manager->balance_slots[i],
                                       crew_ref(&crew, manager->balance_owner[i]),
                                       crew_ref(&crew, manager->balance_heir[i]));
        if (changed > 0 && crew.count > 0)
                log_line(MESSAGE_BALANCED, LOG_INFO, &(struct log_fields){ .destination = pool->name },
                         "destination %s: sessions %u over workers %u; given to another: %u", pool->name,
                         count, crew.count, changed);
}
