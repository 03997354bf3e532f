/* SPDX-License-Identifier: Apache-2.0 */
/* U4: systemd's watchdog is fed by what was done, not by a timer that still fires: the loop has looked, and nothing
 * that the supervisor owes its pools is overdue. A supervisor that hangs, or that goes on turning and does not do its
 * work any more, is killed by systemd and replaced; workers go on meanwhile (U1).
 *
 * Must not touch: anything; it reads what the others have written down. */
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/manager.h"

/* Beyond the time that it is due at. Whoever waits for a processor is late, too. */
#define GRACE_USEC (5 * USEC_PER_SEC)

static bool loop_turns(const struct manager *manager, uint64_t now_usec) {
        /* While a segment is waited for there is nothing to look at; renew.c turns. */
        return manager->state == MANAGER_WAITING ||
               now_usec - manager->look_usec < 2 * LOOK_IDLE_USEC + GRACE_USEC;
}

/* Asked, and it has neither answered nor been killed: ping.c owes it a decision. */
static bool process_is_overdue(const struct manager *manager, const struct process *process,
                               uint64_t now_usec) {
        uint64_t stall_usec = manager->config->stall_timeout_usec;
        uint64_t patience_usec = process->disk_usec != 0 ? ping_patience_usec(manager) : stall_usec;

        if (process->pid == 0 || process->ref == 0 || process->kill_usec != 0)
                return false;
        return now_usec - process->answered_usec > patience_usec + stall_usec + GRACE_USEC;
}

bool watchdog_may_be_fed(const struct manager *manager, uint64_t now_usec) {
        if (!loop_turns(manager, now_usec))
                return false;
        if (manager->state != MANAGER_SERVING)
                return true; /* bounded by shutdown.c and renew.c, and by TimeoutStopSec= */
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (process_is_overdue(manager, &manager->processes[i], now_usec))
                        return false;
        return true;
}

static int on_time(sd_event_source *source, uint64_t usec, void *context) {
        struct manager *manager = context;
        int r;

        (void) usec;
        if (watchdog_may_be_fed(manager, clock_usec())) {
                (void) sd_notify(0, "WATCHDOG=1");
                manager->watchdog_told = false;
        } else if (!manager->watchdog_told) {
                manager->watchdog_told = true;
                log_line(MESSAGE_SUPERVISOR_HUNG, LOG_ERR, NULL,
                         "the supervisor does not do what is due; systemd's watchdog will replace it");
        }
        r = sd_event_source_set_time_relative(source, manager->watchdog_usec);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int watchdog_start(struct manager *manager, struct failure *ret_failure) {
        uint64_t period_usec = 0;
        int r;

        r = sd_watchdog_enabled(0, &period_usec);
        if (r == 0)
                return 0;
        if (r > 0) {
                manager->watchdog_usec = period_usec / 3;
                r = sd_event_add_time_relative(manager->event, &manager->watchdog_source, CLOCK_MONOTONIC,
                                               manager->watchdog_usec, manager->watchdog_usec / 10, on_time,
                                               manager);
        }
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP,
                                   "systemd's watchdog cannot be fed (WATCHDOG_USEC=%s): %s",
                                   getenv("WATCHDOG_USEC"), strerror(-r));
        return 0;
}
