/* SPDX-License-Identifier: Apache-2.0 */
/* One look at the segment: who is there, who owns what, what is to do; and when to look again.
 *
 * Everything that may have changed ends here: a hint on the datagram socket, the end of a process, a
 * reload, a timer. Nothing depends on the reason, so a lost hint costs a second at most (S12).
 * At rest it comes every 5 s, and each look at an idle session is a few loads. */
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/manager.h"

static uint64_t next_look_usec(const struct manager *manager, uint64_t now_usec) {
        uint64_t next = now_usec + (manager->pending  ? LOOK_PENDING_USEC
                                    : manager->active ? LOOK_ACTIVE_USEC
                                                      : LOOK_IDLE_USEC);

        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                if (manager->pools[i].used && manager->pools[i].restart_usec > now_usec)
                        next = MIN_OF(next, manager->pools[i].restart_usec);
        return next;
}

static void look_at(struct manager *manager, uint64_t usec) {
        int r;

        r = sd_event_source_set_time(manager->look_source, usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(manager->look_source, SD_EVENT_ONESHOT);
        if (r < 0)
                log_line(MESSAGE_SUPERVISOR_TROUBLE, LOG_ERR, NULL, "the look timer cannot be set: %s",
                         strerror(-r));
}

/* Processes that have not entered yet, or are on their way out, make the next look come soon. */
static void processes_pending(struct manager *manager) {
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                const struct process *process = &manager->processes[i];

                manager->pending |= process->pid > 0 && process->kill_usec == 0 &&
                                    (process->ref == 0 || process->leaving);
        }
}

static void act(struct manager *manager) {
        if (manager->state == MANAGER_SERVING) {
                intact_look(manager);
                pools_reconcile(manager);
        }
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                if (manager->pools[i].used && manager->pools[i].assign_needed)
                        assign_run(manager, i);
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];

                if (process->pid == 0)
                        continue;
                process->leaving |= manager->state == MANAGER_STOPPING;
                if (process->leaving) /* after its sessions were assigned to others */
                        watch_drain(process);
        }
}

void look(struct manager *manager) {
        uint64_t now_usec = clock_usec();

        manager->look_usec = now_usec;
        if (!manager->segment || manager->state == MANAGER_WAITING)
                return;
        if (manager->state == MANAGER_SERVING &&
            atomic_load_explicit(&manager->segment->header->condemned, memory_order_acquire) != 0) {
                renew_segment(manager, "a worker has condemned it");
                return;
        }
        manager->pending = manager->active = false;
        watch_ask_again(manager);
        watch_members(manager);
        replace_look(manager);
        confinement_look(manager);
        sessions_scan(manager);
        act(manager);
        processes_pending(manager);
        notify_state(manager);
        adopt_beat(manager);
        look_at(manager, next_look_usec(manager, now_usec));
}

void look_soon(struct manager *manager) {
        uint64_t now_usec = clock_usec();

        if (now_usec - manager->look_usec >= LOOK_LEAST_USEC)
                look(manager);
        else
                look_at(manager, manager->look_usec + LOOK_LEAST_USEC);
}

static int on_time(sd_event_source *source, uint64_t usec, void *context) {
        (void) source;
        (void) usec;
        look(context);
        return 0;
}

int look_start(struct manager *manager) {
        int r;

        r = sd_event_add_time(manager->event, &manager->look_source, CLOCK_MONOTONIC, UINT64_MAX,
                              10 * USEC_PER_MSEC, on_time, manager);
        return r < 0 ? r : sd_event_source_set_enabled(manager->look_source, SD_EVENT_OFF);
}
