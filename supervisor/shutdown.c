/* SPDX-License-Identifier: Apache-2.0 */
/* The orderly end (M10): every worker finishes its batch, gives its sessions up and leaves; then the
 * supervisor goes. Who has not left after 90 s is killed, which costs its sessions nothing but the batch
 * in hand. Must not touch: slots. */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "supervisor/manager.h"
#include "supervisor/waits.h"

#define SHUTDOWN_MOST_USEC (90 * USEC_PER_SEC)

static int on_patience_end(sd_event_source *source, uint64_t usec, void *context) {
        struct manager *manager = context;

        (void) source;
        (void) usec;
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0)
                        watch_kill(&manager->processes[i], MESSAGE_WORKER_OVERDUE,
                                   "has not left within 90 s");
        return 0;
}

/* Ends the loop once nobody is left. */
void shutdown_check(struct manager *manager) {
        char span[32];

        assert(manager->state == MANAGER_STOPPING);
        if (watch_count(manager, LAYOUT_NONE, true) > 0)
                return;
        ended_finish(manager);
        last_good_forget(&manager->directories);
        clock_format_span(clock_usec() - manager->shutdown_usec, span, sizeof span);
        log_line(MESSAGE_SUPERVISOR_STOPPED, LOG_NOTICE, NULL, "stopped: all workers have left, after %s",
                 span);
        if (manager->segment)
                atomic_store_explicit(&manager->segment->header->supervisor_pid, 0, memory_order_release);
        (void) sd_event_exit(manager->event, EXIT_SUCCESS);
}

/* A second signal finds us here already and changes nothing. */
void shutdown_begin(struct manager *manager) {
        int r;

        if (manager->state == MANAGER_STOPPING)
                return;
        waits_end(manager->directories.runtime);
        manager->state = MANAGER_STOPPING;
        manager->shutdown_usec = clock_usec();
        (void) sd_notify(0, "STOPPING=1");
        log_line(MESSAGE_SUPERVISOR_STOPPING, LOG_NOTICE, NULL,
                 "stopping: workers finish their batch and leave (%u of them)",
                 watch_count(manager, LAYOUT_NONE, true));
        if (manager->segment)
                atomic_store_explicit(&manager->segment->header->stopping, 1, memory_order_release);
        r = sd_event_add_time_relative(manager->event, &manager->shutdown_source, CLOCK_MONOTONIC,
                                       SHUTDOWN_MOST_USEC, 0, on_patience_end, manager);
        if (r < 0)
                log_line(MESSAGE_SUPERVISOR_TROUBLE, LOG_ERR, NULL, "no timer for the end: %s", strerror(-r));
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];

                if (process->pid == 0)
                        continue;
                process->leaving = true;
                watch_drain(process);
        }
        look(manager); /* one that has just entered is told too */
        shutdown_check(manager);
}
