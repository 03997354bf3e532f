/* SPDX-License-Identifier: Apache-2.0 */
/* Reads from the segment what owners and movers say of each session, and tells each transition once.
 *
 * Takes no lock (S5, S10). A record out of bounds or a quarantined slot is reported once and left alone
 * (P1, S4). Puts withdrawn sessions away once nobody owns them. Must not touch: any word but those that
 * slot_retire() writes. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/life.h"
#include "shm/slot.h"
#include "shm/words.h"
#include "supervisor/manager.h"

static const char *const take_names[] = {
        [TAKE_ASSIGNED] = "as assigned",
        [TAKE_HANDOVER] = "by agreement",
        [TAKE_HEIR] = "as heir",
        [TAKE_BALANCE] = "by balance",
};

struct scan {
        struct manager *manager;
        uint64_t now_usec;
        bool told; /* a change of owner */
        bool eligible_pool[LAYOUT_POOL_COUNT_MAX];
};

const char *sessions_name(const struct manager *manager, uint32_t slot_index, char *buffer, size_t bytes) {
        const struct slot_record *record = &manager->slots[slot_index];
        const char *text = segment_config(manager->segment, slot_index)->session;

        if (record->session != LAYOUT_NONE)
                (void) snprintf(buffer, bytes, "%s", manager->config->sessions[record->session].name);
        else
                (void) snprintf(buffer, bytes, "%.*s",
                                (int) strnlen(text,
                                              sizeof segment_config(manager->segment, slot_index)->session),
                                text);
        return buffer;
}

/* ---- owner ------------------------------------------------------------------------------------------ */
/* Given to it by the owner before, or taken because that one is gone? Between two looks it may have changed hands
 * more than once, and the supervisor may have assigned it anew before a survivor looked: not only an heir takes over. */
static enum message_kind owner_kind(const struct scan *scan, const struct slot_view *view,
                                    uint64_t before_ref) {
        bool was_handed = view->taken_by == TAKE_HANDOVER;

        if (before_ref == 0 || before_ref == view->owner_ref)
                return MESSAGE_SESSION_OWNED;
        if (was_handed && view->previous_ref == before_ref)
                return MESSAGE_SESSION_HANDED_OVER;
        if (!life_is_live(scan->manager->segment, before_ref))
                return MESSAGE_SESSION_TAKEN_OVER;
        return was_handed ? MESSAGE_SESSION_HANDED_OVER : MESSAGE_SESSION_OWNED;
}

static void tell_owner(struct scan *scan, uint32_t slot_index, const struct slot_view *view) {
        struct slot_record *record = &scan->manager->slots[slot_index];
        const struct pool *pool = &scan->manager->pools[record->pool_index];
        uint64_t before_ref = record->told_ref != 0 ? record->told_ref : view->previous_ref;
        struct log_fields fields = { .worker_ref = view->owner_ref, .epoch = view->epoch };
        char name[LAYOUT_NAME_BYTES * 2], from[32] = "";
        const char *how = view->taken_by < ELEMENTSOF(take_names) ? take_names[view->taken_by] : NULL;

        if (record->owner_ref == view->owner_ref)
                return;
        if (record->session != LAYOUT_NONE && view->owner_ref != 0) {
                if (before_ref != 0 && before_ref != view->owner_ref)
                        (void) snprintf(from, sizeof from, " from worker %u", worker_ref_index(before_ref));
                fields.session = sessions_name(scan->manager, slot_index, name, sizeof name);
                if (before_ref == pool->takeover_ref)
                        fields.takeover_usec = pool->takeover_usec;
                scan->told = true;
                log_line(owner_kind(scan, view, before_ref), LOG_INFO, &fields,
                         "session %s:%s to worker %u %s", name, from, worker_ref_index(view->owner_ref),
                         how ? how : "");
        }
        record->owner_ref = view->owner_ref;
        if (view->owner_ref != 0)
                record->told_ref = view->owner_ref;
        record->phase = SESSION_STARTING; /* of this owner; sequence 0 makes its first word be read */
        record->reason_given = false;
        record->status_sequence = 0;
}

static void count_owner(struct scan *scan, const struct slot_record *record, const struct slot_view *view) {
        struct pool *pool = &scan->manager->pools[record->pool_index];
        struct process *owner;

        if (view->owner_ref == 0)
                return;
        owner = watch_find_ref(scan->manager, view->owner_ref);
        if (owner)
                owner->session_count++;
        else if (!life_is_live(scan->manager->segment, view->owner_ref) ||
                 life_is_proven_dead(scan->manager->segment, view->owner_ref))
                pool->dead_owned_count++;
}

/* An orphan whose assigned worker is not there, or does not come: assign again (S7's backstop). */
static void check_stranded(struct scan *scan, const struct slot_record *record,
                           const struct slot_view *view) {
        struct pool *pool = &scan->manager->pools[record->pool_index];
        struct process *assigned;

        if (view->state != SLOT_ORPHAN) {
                scan->manager->pending |= view->assigned_ref != 0 && view->assigned_ref != view->owner_ref;
                return;
        }
        pool->orphan_count++;
        if (!scan->eligible_pool[record->pool_index])
                return;
        scan->manager->pending = true;
        assigned = watch_find_ref(scan->manager, view->assigned_ref);
        if (!assigned || !watch_is_eligible(scan->manager, assigned))
                pool->assign_needed = true;
        else if (scan->now_usec - pool->hint_usec >= LOOK_ACTIVE_USEC) {
                pool->hint_usec = scan->now_usec;
                pool->assign_needed = true; /* rings again: a hint may be lost (S12) */
        }
}

/* ---- what the mover says ------------------------------------------------------------------------------ */
static void tell_phase(struct scan *scan, uint32_t slot_index, const struct session_status *status) {
        struct slot_record *record = &scan->manager->slots[slot_index];
        char name[LAYOUT_NAME_BYTES * 2];
        struct log_fields fields = { .epoch = status->epoch,
                                     .position = status->position == UINT64_MAX ? 0 : status->position,
                                     .reason = status->reason,
                                     .session = sessions_name(scan->manager, slot_index, name, sizeof name),
                                     .worker_ref = record->owner_ref };
        bool same = status->phase == record->phase && status->failure_kind == record->failure_kind;
        bool was_held = record->phase == SESSION_WAITING || record->phase == SESSION_STOPPED;

        if (same)
                return;
        if (status->phase == SESSION_STOPPED) {
                log_line(MESSAGE_SESSION_STOPPED, LOG_ERR, &fields, "session %s stopped: %s", name,
                         status->reason);
        } else if (status->phase == SESSION_WAITING) {
                log_line(MESSAGE_SESSION_WAITS, LOG_WARNING, &fields, "session %s waits: %s", name,
                         status->reason);
        } else if (was_held && status->phase != SESSION_STARTING) {
                fields.reason = NULL;
                log_line(MESSAGE_SESSION_GOES_ON, LOG_INFO, &fields, "session %s goes on", name);
        } else {
                fields.reason = NULL;
                log_line(MESSAGE_SESSION_PHASE, LOG_DEBUG, &fields, "session %s is %s", name,
                         status->phase == SESSION_MOVING ? "moving" : "idle");
        }
        record->phase = status->phase;
        record->failure_kind = status->failure_kind;
        record->reason_given = was_held || status->phase == SESSION_WAITING ||
                               status->phase == SESSION_STOPPED;
}

static void tell_bad(struct scan *scan, uint32_t slot_index, const char *what) {
        struct slot_record *record = &scan->manager->slots[slot_index];
        char name[LAYOUT_NAME_BYTES * 2];

        if (record->bad_told)
                return;
        record->bad_told = true;
        (void) sessions_name(scan->manager, slot_index, name, sizeof name);
        log_line(MESSAGE_SEGMENT_DAMAGED, LOG_ERR, &(struct log_fields){ .session = name },
                 "session %s (slot %u): its %s in the segment is out of bounds; it is left alone", name,
                 slot_index, what);
}

/* Cheap where nothing changed: one word (a thousand idle sessions cost a thousand loads). */
static void scan_status(struct scan *scan, uint32_t slot_index) {
        struct slot_record *record = &scan->manager->slots[slot_index];
        struct layout_status *shared = segment_status(scan->manager->segment, slot_index);
        uint32_t sequence = atomic_load_explicit(&shared->sequence, memory_order_acquire);
        struct session_status status;
        int r;

        if (record->owner_ref == 0 || sequence == record->status_sequence)
                return;
        r = session_status_read(scan->manager->segment, slot_index, &status);
        if (r == -EBADMSG)
                tell_bad(scan, slot_index, "status");
        if (r < 0)
                return;
        record->status_sequence = sequence;
        /* The owner before wrote it: not this owner's word yet. */
        if (status.epoch != 0 &&
            status.epoch < atomic_load_explicit(&segment_slot(scan->manager->segment, slot_index)->epoch,
                                                memory_order_relaxed))
                return;
        tell_phase(scan, slot_index, &status);
}

static void count_phase(struct scan *scan, const struct slot_record *record, bool quarantined) {
        struct manager *manager = scan->manager;
        const struct pool *pool = &manager->pools[record->pool_index];

        if (record->owner_ref != 0) {
                assert(record->phase < SESSION_PHASE_COUNT);
                manager->owned_count++;
                manager->phase_count[record->phase]++;
                manager->active |= record->phase != SESSION_IDLE && record->phase != SESSION_STOPPED;
                return;
        }
        manager->unready_count += !quarantined && !record->reason_given && pool->wanted > 0 &&
                                  pool->restart_delay_usec == 0;
}

/* ---- slots ------------------------------------------------------------------------------------------ */
/* Ours, and yet it says that it is free, which only we make it (S5): a worker wrote over it (P1). */
static void restore(struct scan *scan, uint32_t slot_index) {
        struct manager *manager = scan->manager;
        char name[LAYOUT_NAME_BYTES * 2];

        if (slot_restore(manager->segment, slot_index) < 0)
                return;
        (void) sessions_name(manager, slot_index, name, sizeof name);
        log_line(MESSAGE_SEGMENT_DAMAGED, LOG_ERR, &(struct log_fields){ .session = name },
                 "session %s (slot %u): the segment said that there is no such session; it is put back", name,
                 slot_index);
        manager->pools[manager->slots[slot_index].pool_index].assign_needed = true;
        manager->pending = true;
}

/* Withdrawn: put away once it is nobody's. A quarantined one is abandoned for good (S4); one that says that it is
 * free already needs nothing. */
static void retire(struct scan *scan, uint32_t slot_index, enum slot_state state) {
        struct manager *manager = scan->manager;
        struct slot_record *record = &manager->slots[slot_index];
        char name[LAYOUT_NAME_BYTES * 2];
        int r;

        (void) sessions_name(manager, slot_index, name, sizeof name);
        r = state == SLOT_FREE ? 0 : slot_retire(manager->segment, slot_index);
        if (r == -EBUSY) {
                manager->pending = true;
                return;
        }
        if (record->pool_index < LAYOUT_POOL_COUNT_MAX && manager->pools[record->pool_index].slot_count > 0)
                manager->pools[record->pool_index].slot_count--;
        record->used = false;
        if (r >= 0)
                log_line(MESSAGE_SESSION_LEFT, LOG_INFO, &(struct log_fields){ .session = name },
                         "session %s has left", name);
}

static void scan_slot(struct scan *scan, uint32_t slot_index) {
        struct manager *manager = scan->manager;
        struct slot_record *record = &manager->slots[slot_index];
        char name[LAYOUT_NAME_BYTES * 2];
        struct slot_view view;

        if (slot_read(manager->segment, slot_index, &view) < 0 ||
            record->pool_index >= LAYOUT_POOL_COUNT_MAX) {
                tell_bad(scan, slot_index, "slot");
                return;
        }
        manager->pools[record->pool_index].slot_count++;
        if (view.quarantined && !record->quarantine_told) {
                record->quarantine_told = true;
                (void) sessions_name(manager, slot_index, name, sizeof name);
                log_line(MESSAGE_SESSION_QUARANTINED, LOG_ERR, &(struct log_fields){ .session = name },
                         "session %s is quarantined: three workers died while they took it over; it "
                         "does not run. `baton adopt` gives it a new slot",
                         name);
        }
        if (!view.quarantined) {
                tell_owner(scan, slot_index, &view);
                count_owner(scan, record, &view);
        }
        if (record->session == LAYOUT_NONE) {
                retire(scan, slot_index, view.state);
                return;
        }
        if (view.state == SLOT_FREE && !view.quarantined)
                restore(scan, slot_index);
        if (!view.quarantined) {
                check_stranded(scan, record, &view);
                scan_status(scan, slot_index);
        }
        count_phase(scan, record, view.quarantined);
}

/* ---- pools ------------------------------------------------------------------------------------------ */
/* The takeover's words are written under the pool's mutex, which we never take: the count first (layout.h). */
static void tell_takeover(struct scan *scan, uint32_t pool_index) {
        struct layout_pool *shared = segment_pool(scan->manager->segment, pool_index);
        struct pool *pool = &scan->manager->pools[pool_index];
        uint64_t count = atomic_load_explicit(&shared->takeover_count, memory_order_acquire);
        uint64_t span_usec = atomic_load_explicit(&shared->takeover_last_span_usec, memory_order_relaxed);
        uint64_t dead_ref = atomic_load_explicit(&shared->takeover_last_ref, memory_order_relaxed);
        uint64_t by_ref = atomic_load_explicit(&shared->takeover_by_ref, memory_order_relaxed);
        char span[32], by[32] = "";

        if (count == pool->takeover_seen)
                return;
        pool->takeover_seen = count;
        scan->told = true;
        pool->takeover_ref = dead_ref;
        pool->takeover_usec = span_usec;
        pool->assign_needed = true;
        clock_format_span(span_usec, span, sizeof span);
        if (by_ref != 0)
                (void) snprintf(by, sizeof by, " by worker %u", worker_ref_index(by_ref));
        log_line(MESSAGE_TAKEOVER, LOG_NOTICE,
                 &(struct log_fields){
                         .destination = pool->name, .worker_ref = dead_ref, .takeover_usec = span_usec },
                 "destination %s: the sessions of dead worker %u were taken over in %s%s", pool->name,
                 worker_ref_index(dead_ref), span, by);
}

static void tell_latch(struct scan *scan, uint32_t pool_index) {
        struct pool *pool = &scan->manager->pools[pool_index];
        bool latched = atomic_load_explicit(&segment_pool(scan->manager->segment, pool_index)->latched,
                                            memory_order_relaxed) != 0;

        if (latched == pool->latched_seen)
                return;
        pool->latched_seen = latched;
        log_line(
                latched ? MESSAGE_LATCH_SET : MESSAGE_LATCH_LIFTED, latched ? LOG_ERR : LOG_NOTICE,
                &(struct log_fields){ .destination = pool->name },
                latched ? "destination %s: a sync failed; nothing is cleaned or counted as moved until its data "
                          "are written again to a new place and synced"
                        : "destination %s: its data are synced again",
                pool->name);
}

static void scan_begin(struct scan *scan) {
        struct manager *manager = scan->manager;

        memset(manager->phase_count, 0, sizeof manager->phase_count);
        manager->owned_count = manager->unready_count = 0;
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];

                process->session_count = 0;
                if (process->pid > 0 && watch_is_eligible(manager, process))
                        scan->eligible_pool[process->pool_index] = true;
        }
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++) {
                struct pool *pool = &manager->pools[i];

                pool->slot_count = pool->orphan_count = pool->dead_owned_count = 0;
                if (!pool->used)
                        continue;
                tell_takeover(scan, i);
                tell_latch(scan, i);
        }
}

void sessions_scan(struct manager *manager) {
        struct scan scan = { .manager = manager, .now_usec = clock_usec() };

        assert(manager->segment);
        scan_begin(&scan);
        for (uint32_t i = 0; i < manager->slot_high; i++)
                if (manager->slots[i].used)
                        scan_slot(&scan, i);
        if (scan.told) /* until it began: rather twice than never */
                adopt_told(manager, scan.now_usec);
        manager->active |= log_tick(); /* what is held back is told in a second */
}
