/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor from start to end: what is set up in which order, and the event loop.
 * Must not touch: the segment (adopt.c and those behind it do). */
#include "supervisor/manager.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "supervisor/bus_name.h"
#include "supervisor/control.h"

static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *context) {
        (void) source;
        (void) info;
        shutdown_begin(context);
        return 0;
}

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *context) {
        (void) source;
        (void) info;
        (void) reload(context, NULL); /* it has logged why, and changed nothing */
        return 0;
}

static int events_start(struct manager *manager) {
        sigset_t blocked;
        int r;

        (void) sigemptyset(&blocked);
        (void) sigaddset(&blocked, SIGTERM);
        (void) sigaddset(&blocked, SIGINT);
        (void) sigaddset(&blocked, SIGHUP);
        (void) sigaddset(&blocked, SIGCHLD); /* sd_event_add_child_pidfd() asks for it */
        if (sigprocmask(SIG_BLOCK, &blocked, NULL) < 0)
                return -errno;
        (void) signal(SIGPIPE, SIG_IGN);
        r = sd_event_new(&manager->event);
        if (r >= 0)
                r = sd_event_add_signal(manager->event, NULL, SIGTERM, on_stop_signal, manager);
        if (r >= 0)
                r = sd_event_add_signal(manager->event, NULL, SIGINT, on_stop_signal, manager);
        if (r >= 0)
                r = sd_event_add_signal(manager->event, NULL, SIGHUP, on_reload_signal, manager);
        return r;
}

int manager_new(const struct directories *directories, const char *config_path, struct manager **ret_manager,
                struct failure *ret_failure) {
        _cleanup_(manager_freep) struct manager *manager = NULL;
        int r;

        assert(directories);
        assert(config_path);

        manager = calloc(1, sizeof *manager);
        if (!manager)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "out of memory");
        manager->directories = *directories;
        manager->config_path = config_path;
        manager->lock_fd = manager->notify_fd = -1;
        manager->state = MANAGER_WAITING;
        r = events_start(manager);
        if (r >= 0)
                r = look_start(manager);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot set up the event loop: %s",
                                   strerror(-r));
        *ret_manager = TAKE(manager);
        return 0;
}

/* Also after a failed start: the sockets go while supervisor.lock is still held. */
void manager_free(struct manager *manager) {
        if (!manager)
                return;
        bus_name_stop(manager);
        control_stop(manager);
        notify_stop(manager);
        ended_finish(manager);
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0)
                        watch_forget(&manager->processes[i]);
        manager->look_source = sd_event_source_disable_unref(manager->look_source);
        manager->ping_source = sd_event_source_disable_unref(manager->ping_source);
        manager->wait_source = sd_event_source_disable_unref(manager->wait_source);
        manager->shutdown_source = sd_event_source_disable_unref(manager->shutdown_source);
        manager->watchdog_source = sd_event_source_disable_unref(manager->watchdog_source);
        manager->event = sd_event_unref(manager->event);
        segment_close(manager->segment);
        config_free(manager->config);
        free(manager->slots);
        free(manager->balance_slots);
        free(manager->balance_owner);
        free(manager->balance_heir);
        fd_close(&manager->lock_fd);
        free(manager);
}

void manager_freep(struct manager **manager) {
        manager_free(*manager);
}

/* The configuration comes first, so that a bad one changes nothing on disk, and stops nothing that runs (U6); the lock
 * before anything that another supervisor may be using. */
int manager_start(struct manager *manager, struct failure *ret_failure) {
        bool runtime_is_tmpfs = true;
        int r;

        assert(ret_failure);

        r = config_load(manager->config_path, &manager->config, ret_failure);
        if (r < 0)
                r = last_good_load(manager, r, ret_failure);
        if (r < 0)
                return r;
        if (manager->config->session_count == 0)
                log_line(MESSAGE_CONFIGURATION_ADVICE, LOG_NOTICE, NULL,
                         "%s names no source: there is nothing to move", manager->config_path);
        r = spawn_find_programs(manager, ret_failure);
        if (r < 0)
                return r;
        r = directories_prepare(&manager->directories, &runtime_is_tmpfs, ret_failure);
        if (r < 0)
                return r;
        if (!runtime_is_tmpfs)
                log_line(MESSAGE_CONFIGURATION_ADVICE, LOG_WARNING, NULL,
                         "the runtime directory %s is not on tmpfs: the segment will cost disk "
                         "writes; /run is a good place",
                         manager->directories.runtime);
        r = adopt_lock(manager, ret_failure);
        if (r < 0)
                return r;
        r = adopt_instance(manager, ret_failure);
        if (r < 0)
                return r;
        r = ping_start(manager);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "no timer: %s", strerror(-r));
        r = watchdog_start(manager, ret_failure);
        if (r < 0)
                return r;
        r = adopt_check_runtime(manager, ret_failure);
        if (r < 0)
                return r;
        r = notify_start(manager, ret_failure);
        if (r < 0)
                return r;
        r = control_start(manager, ret_failure);
        if (r < 0)
                return r;
        r = bus_name_start(manager, ret_failure);
        if (r < 0)
                return r;
        return adopt_segment(manager, ret_failure);
}

int manager_run(struct manager *manager, struct failure *ret_failure) {
        int r;

        r = sd_event_loop(manager->event);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "the event loop ended: %s", strerror(-r));
        if (r > 0)
                return failure_set(ret_failure, -EIO, FAILURE_STOP,
                                   "the supervisor could not go on (see above)");
        return 0;
}
