/* SPDX-License-Identifier: Apache-2.0 */
/* U5: an upgrade without a gap. The supervisor becomes the binary that stands where it was started from (same pid,
 * same children, systemd's sockets and watchdog kept), and that one replaces, one at a time, the workers that run
 * another binary than the one that stands there now (replace.c). The new binary is asked first (batond --probe): if it cannot use
 * the configuration, or the segment, the old one goes on and says why.
 *
 * What one life knows the next recomputes (V1), so nothing is handed over but the order to replace workers.
 * We die here: before the exec the old one, after it the new one is started by systemd; workers go on (U1). Those that
 * are not replaced yet stay; asked again, the upgrade goes on.
 * Must not touch: slots; workers but by asking them to leave. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "supervisor/bus_name.h"
#include "supervisor/control.h"
#include "supervisor/manager.h"

#define PROBE_MOST_USEC (10 * USEC_PER_SEC)

/* ---- asking the new one --------------------------------------------------------------------------------- */
_noreturn_ static void probe_exec(const struct manager *manager, int output_fd) {
        const char *argv[] = { manager->own_path,
                               "--probe",
                               "--config",
                               manager->config_path,
                               "--state",
                               manager->directories.state,
                               "--runtime",
                               manager->directories.runtime,
                               NULL };
        sigset_t none;

        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) unsetenv("NOTIFY_SOCKET");
        (void) unsetenv("JOURNAL_STREAM"); /* its words are for us */
        (void) dup2(output_fd, STDERR_FILENO);
        (void) execv(manager->own_path, (char *const *) (uintptr_t) argv);
        (void) dprintf(STDERR_FILENO, "cannot run %s: %s", manager->own_path, strerror(errno));
        _exit(127);
}

/* Its words, until it closes them, or the time is over. Bounded: what does not fit is not read. */
static void probe_read(int fd, char *text, size_t bytes) {
        uint64_t deadline_usec = clock_usec() + PROBE_MOST_USEC;
        size_t length = 0;

        for (;;) {
                struct pollfd ready = { .fd = fd, .events = POLLIN };
                uint64_t now_usec = clock_usec();
                ssize_t got;

                if (now_usec >= deadline_usec || length + 1 >= bytes ||
                    poll(&ready, 1, (int) ((deadline_usec - now_usec) / USEC_PER_MSEC) + 1) <= 0)
                        break;
                got = read(fd, text + length, bytes - 1 - length);
                if (got <= 0)
                        break;
                length += (size_t) got;
        }
        while (length > 0 && text[length - 1] == '\n')
                length--;
        text[length] = '\0';
}

static int probe(const struct manager *manager, struct failure *ret_failure) {
        _cleanup_fd_ int read_fd = -1, write_fd = -1;
        char words[FAILURE_TEXT_BYTES - 64];
        int pipe_fds[2], status = 0;
        pid_t pid;

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE, "pipe: %m");
        read_fd = pipe_fds[0];
        write_fd = pipe_fds[1];
        pid = fork();
        if (pid < 0)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE, "fork: %m");
        if (pid == 0)
                probe_exec(manager, write_fd);
        fd_close(&write_fd);
        probe_read(read_fd, words, sizeof(words));
        (void) kill(pid, SIGKILL); /* who has said all has ended, or is given up */
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        return failure_set(ret_failure, -ECANCELED, FAILURE_STOP,
                           "%s would not go on from here, so nothing has changed: %s", manager->own_path,
                           words[0] ? words : "it does not say why");
}

int upgrade_probe(const struct directories *directories, const char *config_path,
                  struct failure *ret_failure) {
        _cleanup_config_ struct config *config = NULL;
        _cleanup_segment_ struct segment *segment = NULL;
        _cleanup_(plan_done) struct plan plan = {};
        int r;

        r = config_load(config_path, &config, ret_failure);
        if (r >= 0)
                r = segment_open(directories->runtime, false, &segment, ret_failure);
        if (r >= 0)
                r = reload_check_geometry(segment, config, ret_failure);
        if (r >= 0)
                r = plan_make(segment, config, &plan, ret_failure);
        return r;
}

/* ---- becoming it ----------------------------------------------------------------------------------------- */
static int on_exec(sd_event_source *source, void *context) {
        struct manager *manager = context;
        const char *argv[] = { manager->own_path,
                               "--config",
                               manager->config_path,
                               "--state",
                               manager->directories.state,
                               "--runtime",
                               manager->directories.runtime,
                               log_is_verbose() ? "--verbose" : NULL,
                               NULL };

        (void) source;
        /* Told to stop since it was asked: the signal is taken, and the next binary would know nothing of it. */
        if (manager->state != MANAGER_SERVING) {
                manager->upgrading = false;
                return 0;
        }
        ended_finish(manager);
        log_line(MESSAGE_UPGRADE_BEGINS, LOG_NOTICE, NULL, "becomes %s; its workers go on",
                 manager->own_path);
        log_finish();
        control_pass(manager);
        bus_name_pass(manager);
        (void) setenv(UPGRADE_ENVIRONMENT, "1", 1);
        execv(manager->own_path, (char *const *) (uintptr_t) argv);
        log_line(MESSAGE_UPGRADE_REFUSED, LOG_ERR, NULL, "cannot become %s: %m; the one that runs goes on",
                 manager->own_path);
        (void) unsetenv(UPGRADE_ENVIRONMENT);
        manager->upgrading = false;
        return 0;
}

int upgrade_begin(struct manager *manager, struct failure *ret_failure) {
        int r;

        if (manager->state != MANAGER_SERVING)
                return failure_set(ret_failure, -EBUSY, FAILURE_UNAVAILABLE,
                                   "the supervisor is stopping, or waits for workers of the segment before");
        r = probe(manager, ret_failure);
        if (r < 0) {
                log_line(MESSAGE_UPGRADE_REFUSED, LOG_ERR, NULL, "not upgraded: %s", ret_failure->text);
                return r;
        }
        r = sd_event_add_defer(manager->event, NULL, on_exec, manager);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "out of memory");
        manager->upgrading = true; /* for who asks before the exec */
        return 0;
}
