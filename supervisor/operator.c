/* SPDX-License-Identifier: Apache-2.0 */
/* What a person asks for at run time: another number of workers, a session to go on (M4, S4).
 * Each is checked whole before anything changes, and refused in a sentence. Must not touch: slots' locked
 * words. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "shm/doorbell.h"
#include "shm/slot.h"
#include "supervisor/control.h"
#include "supervisor/manager.h"

static int check_serving(const struct manager *manager, const char **ret_error, struct failure *ret_failure) {
        if (manager->state == MANAGER_SERVING)
                return 0;
        *ret_error = CONTROL_ERROR_BUSY;
        return failure_set(
                ret_failure, -EBUSY, FAILURE_UNAVAILABLE,
                manager->state == MANAGER_STOPPING
                        ? "the supervisor is stopping; start it anew"
                        : "the supervisor waits for workers of the segment before; try again in a moment");
}

/* "… ; the nearest is X" where there is one. */
static int unknown(const char *what, const char *name, const char *nearest, struct failure *ret_failure) {
        return failure_set(ret_failure, -ENOENT, FAILURE_STOP,
                           "there is no %s \"%.127s\"%s%s; `baton status` shows all", what, name,
                           nearest ? "; the nearest is " : "", nearest ? nearest : "");
}

/* ---- Scale ------------------------------------------------------------------------------------------ */
static uint32_t pool_of_destination(const struct manager *manager, uint32_t destination) {
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                if (manager->pools[i].used && manager->pools[i].destination == destination)
                        return i;
        return LAYOUT_NONE;
}

static uint32_t wanted_elsewhere(const struct manager *manager, uint32_t pool_index) {
        uint32_t sum = 0;

        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                if (i != pool_index && manager->pools[i].used && manager->pools[i].destination != LAYOUT_NONE)
                        sum += manager->pools[i].wanted;
        return sum;
}

int operator_scale(struct manager *manager, const char *destination, uint32_t workers, const char **ret_error,
                   struct failure *ret_failure) {
        uint32_t index, pool_index, elsewhere, before;
        struct pool *pool;
        int r;

        r = check_serving(manager, ret_error, ret_failure);
        if (r < 0)
                return r;
        index = config_find_destination(manager->config, destination);
        if (index == UINT32_MAX) {
                *ret_error = CONTROL_ERROR_UNKNOWN_DESTINATION;
                return unknown("destination", destination,
                               config_nearest_destination(manager->config, destination), ret_failure);
        }
        pool_index = pool_of_destination(manager, index);
        assert(pool_index != LAYOUT_NONE);
        elsewhere = wanted_elsewhere(manager, pool_index);
        if (workers > manager->config->workers_max - MIN_OF(elsewhere, manager->config->workers_max)) {
                *ret_error = CONTROL_ERROR_OUT_OF_RANGE;
                return failure_set(
                        ret_failure, -ERANGE, FAILURE_STOP,
                        "%u workers for %s and %u for the others are more than max-workers = %u; raise it in "
                        "[baton] (at most %u) and start Baton anew",
                        workers, destination, elsewhere, manager->config->workers_max,
                        LAYOUT_WORKER_COUNT_MAX);
        }
        pool = &manager->pools[pool_index];
        before = pool->wanted;
        pool->wanted = workers;
        pool->restart_usec = pool->restart_delay_usec = 0;
        pool->restart_waits = false;
        pools_write_settings(manager, pool_index);
        log_line(MESSAGE_SCALED, LOG_NOTICE, &(struct log_fields){ .destination = pool->name },
                 "destination %s: workers wanted: %u, before: %u (baton scale)", pool->name, workers, before);
        look(manager);
        return 0;
}

/* ---- Adopt ------------------------------------------------------------------------------------------ */
static uint32_t slot_of_session(const struct manager *manager, uint32_t session) {
        for (uint32_t i = 0; i < manager->slot_high; i++)
                if (manager->slots[i].used && manager->slots[i].session == session)
                        return i;
        return LAYOUT_NONE;
}

/* S4: a quarantined slot is abandoned for good; its session begins again in a new one. Its old epoch does
 * not matter: the new owner raises its own above what the destination holds (M2). */
static int replace_quarantined(struct manager *manager, uint32_t slot_index, struct failure *ret_failure) {
        _cleanup_(plan_done) struct plan plan = {};
        int r;

        intact_look_at_all(manager);
        slot_unwant(manager->segment, slot_index);
        r = plan_make(manager->segment, manager->config, &plan, ret_failure);
        if (r < 0) {
                atomic_store_explicit(&segment_slot(manager->segment, slot_index)->wanted, 1,
                                      memory_order_release);
                return r;
        }
        pools_apply(manager, &plan, manager->config);
        return 0;
}

int operator_adopt(struct manager *manager, const char *session, uint64_t *ret_request,
                   const char **ret_error, struct failure *ret_failure) {
        uint32_t index, slot_index;
        struct slot_view view;
        uint64_t request;
        int r;

        r = check_serving(manager, ret_error, ret_failure);
        if (r < 0)
                return r;
        index = config_find_session(manager->config, session);
        if (index == UINT32_MAX) {
                *ret_error = CONTROL_ERROR_UNKNOWN_SESSION;
                return unknown("session", session, config_nearest_session(manager->config, session),
                               ret_failure);
        }
        slot_index = slot_of_session(manager, index);
        *ret_error = CONTROL_ERROR_BUSY;
        if (slot_index == LAYOUT_NONE || slot_read(manager->segment, slot_index, &view) < 0)
                return failure_set(
                        ret_failure, -EBADMSG, FAILURE_STOP,
                        "session %s cannot be reached: its slot in the segment is out of bounds; start "
                        "Baton anew",
                        session);
        if (view.quarantined) {
                r = replace_quarantined(manager, slot_index, ret_failure);
                if (r < 0)
                        return r;
                slot_index = slot_of_session(manager, index);
                assert(slot_index != LAYOUT_NONE);
        }
        request = atomic_fetch_add_explicit(&segment_slot(manager->segment, slot_index)->adopt_request, 1,
                                            memory_order_acq_rel) +
                  1; /* pairs with the mover's acquire */
        if (!view.quarantined) {
                inbox_put(manager->segment, view.owner_ref, slot_index);
                doorbell_ring(manager->segment, view.owner_ref);
        }
        log_line(MESSAGE_SESSION_ADOPTED, LOG_NOTICE,
                 &(struct log_fields){ .session = session, .worker_ref = view.owner_ref },
                 "session %s: an operator accepts what stopped it (baton adopt)", session);
        look(manager);
        *ret_request = request;
        return 0;
}
