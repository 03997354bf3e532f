/* SPDX-License-Identifier: Apache-2.0 */
/* Waits until no worker lives in a segment that cannot be used, then has a new one made (S11).
 *
 * They are given adopt-timeout to leave by themselves (without a supervisor they do), then SIGTERM, then
 * SIGKILL through a pidfd, and only to a process that holds workers.lock or that we started ourselves.
 * Signals and the control socket are served meanwhile. Must not touch: the unusable segment but for the
 * word that condemns it. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "shm/workers_lock.h"
#include "supervisor/manager.h"
#include "supervisor/waits.h"

#define WAIT_LOOK_USEC (100 * USEC_PER_MSEC)
#define WAIT_TELL_USEC (10 * USEC_PER_SEC)
#define TERM_GRACE_USEC (5 * USEC_PER_SEC) /* between SIGTERM and SIGKILL */

/* SIGTERM, later SIGKILL. */
static void holder_signal(struct manager *manager, pid_t pid, uint64_t waited_usec) {
        bool kill = waited_usec >= manager->config->adopt_timeout_usec + TERM_GRACE_USEC;

        if (workers_holder_signal(manager->directories.state, pid, kill ? SIGKILL : SIGTERM) >= 0)
                log_line(MESSAGE_WORKER_OVERDUE, LOG_WARNING, &(struct log_fields){ .pid = pid },
                         "worker pid %d of the segment before has not left: %s", pid,
                         kill ? "it is killed" : "it is asked to end (SIGTERM)");
}

/* L5: in the log, in STATUS= and for `baton status`. */
static void wait_say(struct manager *manager, pid_t holder, uint64_t waited_usec) {
        char text[sizeof manager->wait_reason + 128], span[32] = "", name[WORKERS_HOLDER_BYTES];

        if (waited_usec < manager->config->adopt_timeout_usec)
                clock_format_span(manager->config->adopt_timeout_usec - waited_usec, span, sizeof span);
        (void) snprintf(text, sizeof text,
                        "a new segment has to wait until %s has left the one before (%s); %s%s it is ended",
                        workers_lock_holder_name(holder, name), manager->wait_reason,
                        *span ? "after " : "now", span);
        notify_waits(manager, text);
        waits_tell(manager->directories.runtime, text);
        if (*span)
                log_line(MESSAGE_SEGMENT_WAITS, LOG_NOTICE,
                         &(struct log_fields){ .pid = holder, .reason = manager->wait_reason }, "%s", text);
}

static void wait_tell(struct manager *manager, pid_t holder) {
        uint64_t now_usec = clock_usec(), waited_usec = now_usec - manager->wait_since_usec;
        bool is_over = waited_usec >= manager->config->adopt_timeout_usec;

        if (manager->wait_told_usec != 0 &&
            now_usec - manager->wait_told_usec < (is_over ? USEC_PER_SEC : WAIT_TELL_USEC))
                return;
        manager->wait_told_usec = now_usec;
        wait_say(manager, holder, waited_usec);
        if (is_over)
                holder_signal(manager, holder, waited_usec);
}

/* Our own processes first (a condemned segment's): also those that hold no lock yet, because their --pool
 * names a pool of the old segment. They were told to leave when it was condemned. */
static void wait_for_own(struct manager *manager) {
        uint64_t waited_usec = clock_usec() - manager->wait_since_usec;

        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];

                if (process->pid == 0 || process->kill_usec != 0)
                        continue;
                if (waited_usec >= manager->config->adopt_timeout_usec + TERM_GRACE_USEC)
                        watch_kill(process, MESSAGE_WORKER_OVERDUE,
                                   "has not left a segment that cannot be used");
                else if (waited_usec >= manager->config->adopt_timeout_usec)
                        (void) process_signal(process->pid_fd, SIGTERM);
        }
}

static int try_make(struct manager *manager, struct failure *ret_failure) {
        int holder = 0, r;

        if (watch_count(manager, LAYOUT_NONE, true) > 0) {
                wait_for_own(manager);
                return -EBUSY;
        }
        r = adopt_make(manager, &holder, ret_failure);
        if (r == -EBUSY)
                wait_tell(manager, holder);
        return r;
}

static int on_wait(sd_event_source *source, uint64_t usec, void *context) {
        struct manager *manager = context;
        struct failure failure = {};
        int r;

        (void) usec;
        if (manager->state != MANAGER_WAITING)
                return 0;
        r = try_make(manager, &failure);
        if (r == -EBUSY) {
                r = sd_event_source_set_time_relative(source, WAIT_LOOK_USEC);
                return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        if (r < 0) {
                log_line(MESSAGE_SUPERVISOR_FAILED, LOG_ERR, NULL, "%s", failure.text);
                return sd_event_exit(manager->event, EXIT_FAILURE);
        }
        return 0;
}

int renew_wait(struct manager *manager, struct failure *ret_failure) {
        int r;

        manager->state = MANAGER_WAITING;
        manager->wait_since_usec = clock_usec();
        manager->wait_told_usec = 0;
        manager->wait_source = sd_event_source_disable_unref(manager->wait_source);
        r = sd_event_add_time_relative(manager->event, &manager->wait_source, CLOCK_MONOTONIC, 0,
                                       USEC_PER_MSEC, on_wait, manager);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "no timer: %s", strerror(-r));
        return 0;
}

void renew_segment(struct manager *manager, const char *reason) {
        struct failure failure = {};
        int r;

        assert(manager->segment);
        if (manager->state != MANAGER_SERVING)
                return;
        atomic_store_explicit(&manager->segment->header->condemned, 1, memory_order_release);
        log_line(
                MESSAGE_SEGMENT_CONDEMNED, LOG_ERR, &(struct log_fields){ .reason = reason },
                "the segment cannot be used any longer: %s; its workers leave and new ones start in a new one",
                reason);
        (void) snprintf(manager->wait_reason, sizeof manager->wait_reason, "%s", reason);
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];

                if (process->pid == 0)
                        continue;
                process->leaving = true;
                watch_drain(process);
        }
        r = renew_wait(manager, &failure);
        if (r < 0) {
                log_line(MESSAGE_SUPERVISOR_FAILED, LOG_ERR, NULL, "%s", failure.text);
                (void) sd_event_exit(manager->event, EXIT_FAILURE);
        }
}
