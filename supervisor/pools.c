/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: which session stands in which slot, how many workers each destination has.
 *
 * Writes pool settings and session configs (P4), differences only, so that a session that did not change
 * never notices. Every step may be the last before we die: each record is whole behind its sequence word,
 * and the next supervisor makes the same plan from the same file and goes on.
 * Must not touch: a slot's mutex, owner or epoch (S5). */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/text.h"
#include "shm/doorbell.h"
#include "shm/slot.h"
#include "shm/words.h"
#include "supervisor/manager.h"

/* ---- what is there ---------------------------------------------------------------------------------- */
static void pool_load(struct manager *manager, uint32_t index) {
        const struct layout_pool *shared = segment_pool(manager->segment, index);
        struct pool *pool = &manager->pools[index];

        *pool = (struct pool){ .destination = LAYOUT_NONE };
        if (atomic_load_explicit(&shared->state, memory_order_acquire) == POOL_FREE)
                return;
        memcpy(pool->name, shared->name, sizeof pool->name);
        pool->name[sizeof pool->name - 1] = '\0';
        pool->used = pool->adopted = true;
        pool->wanted = MIN_OF(atomic_load_explicit(&shared->workers_wanted, memory_order_relaxed),
                              manager->segment->worker_count);
        pool->takeover_seen = atomic_load_explicit(&shared->takeover_count, memory_order_relaxed);
        if (pool->takeover_seen > 0 && atomic_load_explicit(&shared->takeover_last_usec,
                                                            memory_order_relaxed) > manager->told_until_usec)
                pool->takeover_seen--; /* while there was no supervisor: it is told now */
}

static void slot_load(struct manager *manager, uint32_t index) {
        struct slot_record *record = &manager->slots[index];
        struct slot_view view;
        int r;

        *record = (struct slot_record){ .session = LAYOUT_NONE, .pool_index = LAYOUT_NONE };
        r = slot_read(manager->segment, index, &view);
        if (r >= 0 && view.state == SLOT_FREE && view.owner_ref == 0)
                return;
        record->used = true;
        manager->slot_high = index + 1;
        if (r < 0 || view.pool_index >= manager->segment->pool_count)
                return; /* unreadable: sessions_scan() tells; it belongs to no pool and is never used */
        record->pool_index = view.pool_index;
        /* Who came to own it while there was no supervisor is told now. */
        record->owner_ref = view.owned_since_usec > manager->told_until_usec ? 0 : view.owner_ref;
        record->told_ref = record->owner_ref;
        record->quarantine_told = view.quarantined;
}

void pools_load(struct manager *manager) {
        uint32_t used = atomic_load_explicit(&manager->segment->header->slot_used, memory_order_acquire);

        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                pool_load(manager, i);
        manager->slot_high = 0;
        for (uint32_t i = 0; i < MIN_OF(used, manager->segment->slot_count); i++)
                slot_load(manager, i);
}

/* ---- settings of a pool -------------------------------------------------------------------------------- */
static struct pool_settings settings_of(const struct manager *manager, uint32_t index) {
        const struct pool *pool = &manager->pools[index];
        const struct config_destination *destination;
        struct pool_settings settings;

        assert(pool->used && pool->destination != LAYOUT_NONE);
        destination = &manager->config->destinations[pool->destination];
        settings = (struct pool_settings){
                .state = POOL_ACTIVE,
                .workers_wanted = pool->wanted,
                .batch_rows = destination->batch_rows,
                .batch_bytes = destination->batch_bytes,
                .batch_usec = destination->batch_usec,
                .parked_limit = destination->parked_limit,
                .cores = destination->cores,
                .fused = destination->fused,
        };
        if (text_copy(settings.name, sizeof settings.name, destination->name) < 0 ||
            text_copy(settings.url, sizeof settings.url, destination->url) < 0)
                assert(false); /* config_check() bounds both */
        return settings;
}

/* V7: of a pool that is renewing all but the address, which its workers have open. */
bool pools_settings_stand(const struct manager *manager, uint32_t index) {
        struct pool_settings now = {}, wanted = settings_of(manager, index);

        return pool_settings_read(manager->segment, index, &now) >= 0 && now.state == wanted.state &&
               now.workers_wanted == wanted.workers_wanted && now.batch_rows == wanted.batch_rows &&
               now.batch_bytes == wanted.batch_bytes && now.batch_usec == wanted.batch_usec &&
               now.parked_limit == wanted.parked_limit && now.cores == wanted.cores &&
               now.fused == wanted.fused && strcmp(now.name, wanted.name) == 0 &&
               (manager->pools[index].renewing || strcmp(now.url, wanted.url) == 0);
}

void pools_write_settings(struct manager *manager, uint32_t index) {
        struct pool_settings now, wanted;

        if (pools_settings_stand(manager, index))
                return;
        wanted = settings_of(manager, index);
        if (manager->pools[index].renewing) {
                if (pool_settings_read(manager->segment, index, &now) < 0)
                        now.url[0] = '\0'; /* written over; nobody is started who would open it */
                memcpy(wanted.url, now.url, sizeof wanted.url);
        }
        pool_settings_write(manager->segment, index, &wanted);
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0 && manager->processes[i].pool_index == index)
                        doorbell_ring(manager->segment, manager->processes[i].ref);
}

/* A worker has its destination open; another address is another destination. So all leave, the address is
 * written, and new ones start: never do two addresses serve one pool at a time. */
static bool address_changed(const struct manager *manager, uint32_t index,
                            const struct config_destination *destination) {
        const struct layout_pool *shared = segment_pool(manager->segment, index);

        return atomic_load_explicit(&shared->state, memory_order_relaxed) != POOL_FREE &&
               strncmp(shared->url, destination->url, sizeof shared->url) != 0 &&
               watch_count(manager, index, true) > 0;
}

/* Since the supervisor before us read it. Where that is not known: no. */
static bool changed_meanwhile(const struct manager *manager, const struct config_destination *destination) {
        const struct config *before = manager->config_before;
        uint32_t index = before ? config_find_destination(before, destination->name) : UINT32_MAX;

        return index != UINT32_MAX && before->destinations[index].workers != destination->workers;
}

/* V9: what an adopted pool had is what is wanted, while workers of it live. Of one that is scaled to 0 none does: it
 * stays, too, unless Baton was stopped meanwhile. */
static bool scale_outlives(const struct manager *manager, const struct pool *pool, uint32_t index) {
        return watch_count(manager, index, true) > 0 ||
               (pool->wanted == 0 &&
                atomic_load_explicit(&manager->segment->header->stopping, memory_order_relaxed) == 0);
}

static void scale_tell(const struct pool *pool, const struct config_destination *destination) {
        if (pool->wanted == destination->workers)
                return;
        log_line(MESSAGE_WORKERS_WANTED, LOG_NOTICE, &(struct log_fields){ .destination = pool->name },
                 "destination %s: workers wanted: %u, as it was before; the configuration says %u "
                 "(baton scale changes it)",
                 pool->name, pool->wanted, destination->workers);
}

/* Workers wanted: what was set at run time stays, unless the configuration itself now says otherwise. */
static uint32_t workers_wanted(const struct manager *manager, const struct pool *pool, uint32_t index,
                               const struct config *old, const struct config_destination *destination) {
        if (pool->adopted && scale_outlives(manager, pool, index) &&
            !changed_meanwhile(manager, destination)) {
                scale_tell(pool, destination);
                return pool->wanted;
        }
        if (pool->adopted || pool->destination == LAYOUT_NONE)
                return destination->workers;
        return old->destinations[pool->destination].workers != destination->workers ? destination->workers
                                                                                    : pool->wanted;
}

static void apply_pool(struct manager *manager, uint32_t index, uint32_t destination_index,
                       const struct config *old) {
        const struct config_destination *destination = &manager->config->destinations[destination_index];
        struct pool *pool = &manager->pools[index];

        if (!pool->used) {
                *pool = (struct pool){ .used = true, .destination = LAYOUT_NONE };
                (void) snprintf(pool->name, sizeof pool->name, "%s", destination->name);
        }
        pool->wanted = workers_wanted(manager, pool, index, old, destination);
        pool->destination = destination_index;
        pool->adopted = false;
        pool->assign_needed = true;
        pool->restart_waits = false;
        pool->restart_usec = pool->restart_delay_usec = 0; /* a new configuration may be the cure */
        if (address_changed(manager, index, destination)) {
                pool->renewing = true;
                log_line(MESSAGE_DESTINATION_READDRESSED, LOG_NOTICE,
                         &(struct log_fields){ .destination = pool->name },
                         "destination %s has another address: its workers leave, then new ones open it",
                         pool->name);
        } else {
                pool->renewing = false;
        }
        pools_write_settings(manager, index);
}

/* Scaled pools and a raised configuration may together want more than there is room for. */
static void bound_wanted(struct manager *manager) {
        uint32_t sum = 0;

        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                if (manager->pools[i].used && manager->pools[i].destination != LAYOUT_NONE)
                        sum += manager->pools[i].wanted;
        if (sum <= manager->config->workers_max)
                return;
        log_line(MESSAGE_WORKERS_WANTED, LOG_NOTICE, NULL,
                 "%u workers are wanted in all, more than max-workers = %u: every destination goes "
                 "back to what the configuration says",
                 sum, manager->config->workers_max);
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++) {
                struct pool *pool = &manager->pools[i];

                if (!pool->used || pool->destination == LAYOUT_NONE)
                        continue;
                pool->wanted = manager->config->destinations[pool->destination].workers;
                pools_write_settings(manager, i);
        }
}

/* ---- slots ------------------------------------------------------------------------------------------ */
static void slot_image(const struct config *config, uint32_t session_index, uint32_t sibling_slot,
                       struct layout_config *ret_image) {
        const struct config_session *session = &config->sessions[session_index];
        const struct config_source *source = &config->sources[session->source];

        *ret_image = (struct layout_config){ .sibling_slot = sibling_slot };
        if (text_copy(ret_image->session, sizeof ret_image->session, session->name) < 0 ||
            text_copy(ret_image->source, sizeof ret_image->source, source->name) < 0 ||
            text_copy(ret_image->url, sizeof ret_image->url, source->url) < 0)
                assert(false); /* config_check() bounds all three */
}

/* M14: a ring over all sessions of a source. */
static uint32_t sibling_of(const struct plan *plan, uint32_t session_index) {
        const struct config_source *source =
                &plan->config->sources[plan->config->sessions[session_index].source];
        uint32_t next = source->session_first +
                        (session_index - source->session_first + 1) % source->session_count;

        return plan->slot_of_session[next];
}

static bool slot_differs(const struct segment *segment, uint32_t slot_index,
                         const struct layout_config *image) {
        struct session_config now;

        return session_config_read(segment, slot_index, &now) < 0 ||
               now.sibling_slot != image->sibling_slot || strcmp(now.session, image->session) != 0 ||
               strcmp(now.source, image->source) != 0 || strcmp(now.url, image->url) != 0;
}

/* A session that is there already: wanted again if it was leaving, told of what changed. */
static void slot_keep(struct manager *manager, uint32_t slot_index, const struct layout_config *image) {
        struct layout_slot *slot = segment_slot(manager->segment, slot_index);
        int r = 0;

        if (slot_differs(manager->segment, slot_index, image))
                r = slot_reconfigure(manager->segment, slot_index, image);
        if (r < 0)
                log_line(MESSAGE_SEGMENT_DAMAGED, LOG_ERR, &(struct log_fields){ .session = image->session },
                         "slot %u cannot be configured anew: %s", slot_index, strerror(-r));
        if (atomic_exchange_explicit(&slot->wanted, 1, memory_order_acq_rel) == 0)
                manager->pools[manager->slots[slot_index].pool_index].assign_needed = true;
}

bool pools_slot_restore(struct manager *manager, uint32_t slot_index) {
        struct layout_slot *slot = segment_slot(manager->segment, slot_index);
        const struct slot_record *record = &manager->slots[slot_index];
        struct layout_config image;

        assert(record->used && record->session != LAYOUT_NONE);
        slot_image(manager->config, record->session, record->sibling_slot, &image);
        if (!slot_differs(manager->segment, slot_index, &image) &&
            atomic_load_explicit(&slot->wanted, memory_order_relaxed) == 1 &&
            atomic_load_explicit(&slot->pool_index, memory_order_relaxed) == record->pool_index)
                return false;
        if (atomic_load_explicit(&slot->state, memory_order_acquire) == SLOT_FREE)
                return false; /* sessions.c puts that back first */
        /* The place first: who reads the new words finds itself named, or not its own. */
        atomic_store_explicit(&slot->pool_index, record->pool_index, memory_order_release);
        atomic_store_explicit(&slot->wanted, 1, memory_order_release);
        if (slot_reconfigure(manager->segment, slot_index, &image) < 0)
                return false; /* in this moment it says that it is free */
        manager->pools[record->pool_index].assign_needed = true;
        return true;
}

void pools_write_slot(struct manager *manager, const struct plan *plan, uint32_t session_index) {
        uint32_t slot_index = plan->slot_of_session[session_index];
        uint32_t pool = plan->pool_of_destination[plan->config->sessions[session_index].destination];
        struct slot_record *record = &manager->slots[slot_index];
        struct layout_config image;
        int r = 0;

        slot_image(plan->config, session_index, sibling_of(plan, session_index), &image);
        if (record->used) {
                record->pool_index = pool;
                slot_keep(manager, slot_index, &image);
        } else {
                r = slot_configure(manager->segment, slot_index, pool, &image);
                *record = (struct slot_record){ .used = true, .pool_index = pool };
                manager->slot_high = MAX_OF(manager->slot_high, slot_index + 1);
        }
        record->session = session_index;
        record->sibling_slot = image.sibling_slot;
        if (r < 0)
                log_line(MESSAGE_SEGMENT_DAMAGED, LOG_ERR, &(struct log_fields){ .session = image.session },
                         "session %s cannot be put into slot %u: %s", image.session, slot_index,
                         strerror(-r));
        /* K4 We die here: some sessions have their slot, others wait for theirs. The next supervisor makes
         * the same plan: what has a slot keeps it. */
        CRASH_POINT("supervisor.K4");
}

static void withdraw_slots(struct manager *manager, const struct plan *plan) {
        for (uint32_t i = 0; i < manager->slot_high; i++) {
                struct slot_record *record = &manager->slots[i];

                if (!record->used || plan->session_of_slot[i] != LAYOUT_NONE)
                        continue;
                record->session = LAYOUT_NONE;
                if (atomic_load_explicit(&segment_slot(manager->segment, i)->wanted, memory_order_relaxed) !=
                    0)
                        slot_unwant(manager->segment, i);
        }
}

void pools_apply(struct manager *manager, const struct plan *plan, struct config *config) {
        struct config *old = manager->config;
        struct layout_header *header = manager->segment->header;
        uint32_t destination_of_pool[LAYOUT_POOL_COUNT_MAX];

        assert(plan->config == config);
        manager->config = config;
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                destination_of_pool[i] = LAYOUT_NONE;
        for (uint32_t i = 0; i < config->destination_count; i++)
                destination_of_pool[plan->pool_of_destination[i]] = i;

        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++) {
                if (destination_of_pool[i] != LAYOUT_NONE)
                        apply_pool(manager, i, destination_of_pool[i], old);
                else if (manager->pools[i].used)
                        manager->pools[i].destination = LAYOUT_NONE;
                /* K3 We die here: some pools have new settings. They belong to no session yet, or to
                 * sessions that run under either. */
                CRASH_POINT("supervisor.K3");
        }
        bound_wanted(manager);
        withdraw_slots(manager, plan);
        for (uint32_t i = 0; i < config->session_count; i++)
                pools_write_slot(manager, plan, i);

        atomic_store_explicit(&header->stall_timeout_usec, config->stall_timeout_usec, memory_order_relaxed);
        atomic_store_explicit(&header->adopt_timeout_usec, config->adopt_timeout_usec, memory_order_relaxed);
        (void) atomic_fetch_add_explicit(&header->config_generation, 1, memory_order_release);
        if (old != config)
                config_free(old);
}

void pools_scale_again(struct manager *manager, const struct pool before[LAYOUT_POOL_COUNT_MAX]) {
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                for (uint32_t j = 0; before[i].used && j < LAYOUT_POOL_COUNT_MAX; j++) {
                        struct pool *pool = &manager->pools[j];

                        if (!pool->used || pool->destination == LAYOUT_NONE ||
                            before[i].destination != pool->destination || before[i].wanted == pool->wanted)
                                continue;
                        pool->wanted = before[i].wanted;
                        pools_write_settings(manager, j);
                        scale_tell(pool, &manager->config->destinations[pool->destination]);
                }
        bound_wanted(manager); /* of a supervisor before us, which may have had a higher max-workers */
}

void pools_scale_of(struct manager *manager, const struct segment *segment) {
        const struct config *applied;
        struct pool_settings settings;
        uint32_t destination, wanted;

        if (atomic_load_explicit(&segment->header->stopping, memory_order_relaxed) != 0)
                return;
        applied = manager->config_before = last_good_read_applied(&manager->directories);
        for (uint32_t i = 0; applied && i < segment->pool_count; i++) {
                if (pool_settings_read(segment, i, &settings) < 0 || settings.state != POOL_ACTIVE)
                        continue;
                destination = config_find_destination(manager->config, settings.name);
                if (destination == UINT32_MAX ||
                    config_find_destination(applied, settings.name) == UINT32_MAX ||
                    changed_meanwhile(manager, &manager->config->destinations[destination]))
                        continue;
                wanted = MIN_OF(settings.workers_wanted, segment->worker_count);
                manager->pools[i] = (struct pool){ .used = true,
                                                   .destination = destination,
                                                   .wanted = wanted };
        }
        config_free(TAKE(manager->config_before));
}

/* ---- workers wanted and there ---------------------------------------------------------------------------- */
static uint32_t pool_target(const struct manager *manager, uint32_t index) {
        const struct pool *pool = &manager->pools[index];

        if (pool->renewing)
                return 0;
        if (pool->destination != LAYOUT_NONE)
                return pool->wanted;
        if (pool->slot_count == 0)
                return 0;
        /* Leaving: those that are there release its sessions. Where the last owner died, one more worker
         * has to come, because only a worker may look (S7). */
        return MAX_OF(watch_count(manager, index, false), pool->dead_owned_count > 0 ? 1U : 0U);
}

static bool leaves_before(const struct process *process, const struct process *other) {
        if (process->stale != other->stale)
                return process->stale;
        if (process->session_count != other->session_count)
                return process->session_count < other->session_count;
        return worker_ref_index(process->ref) > worker_ref_index(other->ref);
}

/* Who leaves: one that has not entered yet, else one that is to be replaced, else the one with the fewest sessions. */
static struct process *choose_leaver(struct manager *manager, uint32_t index) {
        struct process *chosen = NULL;

        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];

                if (process->pid == 0 || process->pool_index != index || process->leaving)
                        continue;
                if (process->ref == 0)
                        return process;
                if (!chosen || leaves_before(process, chosen))
                        chosen = process;
        }
        return chosen;
}

static void start_workers(struct manager *manager, uint32_t index, uint32_t missing) {
        struct pool *pool = &manager->pools[index];
        uint64_t now_usec = clock_usec();

        if (now_usec < pool->restart_usec)
                return;
        for (; missing > 0; missing--) {
                /* Those on their way out still have their entry in the worker table. */
                if (watch_count(manager, LAYOUT_NONE, true) >= manager->segment->worker_count)
                        return;
                if (spawn_worker(manager, index) < 0) {
                        pool->restart_usec = now_usec + USEC_PER_SEC;
                        return;
                }
        }
}

static void pool_put_away(struct manager *manager, uint32_t index) {
        struct pool *pool = &manager->pools[index];
        struct pool_settings settings = { .state = POOL_FREE };

        pool_settings_write(manager->segment, index, &settings);
        log_line(MESSAGE_DESTINATION_LEFT, LOG_INFO, &(struct log_fields){ .destination = pool->name },
                 "destination %s has left: no session and no worker remains", pool->name);
        pool->used = false;
}

static void pool_reconcile(struct manager *manager, uint32_t index) {
        struct pool *pool = &manager->pools[index];
        uint32_t present = watch_count(manager, index, true), have, target;

        if (pool->renewing && present == 0) {
                pool->renewing = false;
                pool->assign_needed = true;
                pools_write_settings(manager, index);
        }
        if (pool->destination == LAYOUT_NONE && pool->slot_count == 0 && present == 0) {
                pool_put_away(manager, index);
                return;
        }
        target = pool_target(manager, index);
        have = watch_count(manager, index, false);
        target = replace_target(manager, index, target, have);
        if (have < target)
                start_workers(manager, index, target - have);
        for (; have > target; have--) {
                struct process *leaver = choose_leaver(manager, index);

                assert(leaver);
                leaver->leaving = true;
                pool->assign_needed = true; /* its sessions go to others before it is told */
        }
        manager->pending |= pool->renewing || present != watch_count(manager, index, false);
}

void pools_reconcile(struct manager *manager) {
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                if (manager->pools[i].used)
                        pool_reconcile(manager, i);
}
