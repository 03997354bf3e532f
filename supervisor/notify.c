/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out and what comes in as a hint: READY= and STATUS= to systemd (nothing happens without it),
 * and RUNTIME/notify, where a worker's datagram says "look at the segment". Its content is never read.
 * Must not touch: the segment. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "supervisor/control.h"
#include "supervisor/manager.h"
#include "supervisor/socket.h"

#define HINTS_A_TURN 64

/* ---- hints -------------------------------------------------------------------------------------------- */
static int on_hint(sd_event_source *source, int fd, uint32_t events, void *context) {
        char ignored[16];

        (void) source;
        (void) events;
        /* Bounded: who floods us costs us this much a turn of the loop, and one look in LOOK_LEAST_USEC. */
        for (int i = 0; i < HINTS_A_TURN; i++)
                if (recv(fd, ignored, sizeof ignored, MSG_DONTWAIT) < 0)
                        break;
        look_soon(context);
        return 0;
}

int notify_start(struct manager *manager, struct failure *ret_failure) {
        int r;

        r = socket_make(manager->directories.runtime, NOTIFY_SOCKET_NAME, SOCK_DGRAM, 0600,
                        &manager->notify_fd, ret_failure);
        if (r < 0)
                return r;
        r = sd_event_add_io(manager->event, &manager->notify_source, manager->notify_fd, EPOLLIN, on_hint,
                            manager);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot watch the notify socket: %s",
                                   strerror(-r));
        return 0;
}

void notify_stop(struct manager *manager) {
        manager->notify_source = sd_event_source_disable_unref(manager->notify_source);
        if (manager->notify_fd < 0)
                return;
        fd_close(&manager->notify_fd);
        socket_remove(manager->directories.runtime, NOTIFY_SOCKET_NAME);
}

/* ---- systemd ------------------------------------------------------------------------------------------ */
static void tell_ready(struct manager *manager) {
        if (manager->ready_told || manager->state != MANAGER_SERVING || manager->unready_count > 0)
                return;
        manager->ready_told = true;
        log_line(MESSAGE_SUPERVISOR_READY, LOG_NOTICE, NULL,
                 "ready: of %u sessions %u have an owner; workers: %u", manager->config->session_count,
                 manager->owned_count, watch_count(manager, LAYOUT_NONE, false));
        (void) sd_notify(0, "READY=1");
}

/* L5: it is not ready, or not any more, and why. The start does not time out (U2). */
void notify_waits(struct manager *manager, const char *text) {
        manager->status_told[0] = '\0'; /* what it was before is told again when this is over */
        (void) sd_notifyf(0, "STATUS=%s", text);
}

/* READY=1 once every session is owned or has a stated reason; STATUS= when it changed, once a second. */
void notify_state(struct manager *manager) {
        uint64_t now_usec = clock_usec();
        char text[sizeof manager->status_told];
        /* "FILE:LINE" of "FILE:LINE: what stands there": everybody may read STATUS=, and not the configuration. */
        const char *end = strstr(manager->config_refused, ": ");
        char refused[sizeof manager->config_refused + 32] = "";

        tell_ready(manager);
        if (manager->config_refused[0])
                (void) snprintf(refused, sizeof refused, "%.*s: `baton status` says why",
                                end ? (int) (end - manager->config_refused) : 0, manager->config_refused);
        (void) snprintf(
                text, sizeof text,
                "STATUS=sessions %u: idle %u, moving %u, waiting %u, stopped %u, without owner %u; workers %u%s%s",
                manager->config->session_count, manager->phase_count[SESSION_IDLE],
                manager->phase_count[SESSION_MOVING] + manager->phase_count[SESSION_STARTING],
                manager->phase_count[SESSION_WAITING], manager->phase_count[SESSION_STOPPED],
                manager->config->session_count - MIN_OF(manager->owned_count, manager->config->session_count),
                watch_count(manager, LAYOUT_NONE, true),
                manager->config_refused[0] ? "; the configuration is refused, and the last good one goes on: "
                                           : "",
                refused);
        if (strcmp(text, manager->status_told) == 0)
                return;
        if (now_usec - manager->status_told_usec < USEC_PER_SEC) {
                manager->active = true; /* told at the next look */
                return;
        }
        (void) snprintf(manager->status_told, sizeof manager->status_told, "%s", text);
        manager->status_told_usec = now_usec;
        (void) sd_notify(0, text);
}
