/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a state directory: one supervisor, by flock on STATE/supervisor.lock, which holds our pid for the one that is
 * refused; and the workers, by theirs on workers.lock, of whom one may have to be ended. The kernel drops both with the
 * process, so nothing is ever left behind. Must not touch: a process that does not hold workers.lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/io.h"
#include "base/process.h"
#include "shm/workers_lock.h"
#include "supervisor/manager.h"

#define LOCK_NAME "supervisor.lock"

static int lock_taken(const char *state_directory, int directory_fd, struct failure *ret_failure) {
        _cleanup_free_ char *text = NULL;
        const char *pid = "unknown";

        if (file_read_text(directory_fd, LOCK_NAME, 32, &text) >= 0) {
                text[strcspn(text, "\n")] = '\0';
                if (*text)
                        pid = text;
        }
        return failure_set(
                ret_failure, -EBUSY, FAILURE_STOP,
                "another supervisor (pid %s) runs on the state directory %s; stop it first, or give "
                "this one another with --state and --runtime",
                pid, state_directory);
}

/* A supervisor that dies between fork and exec of a worker leaves its lock with the child until the exec,
 * a moment later (K1): only a lock that stays is another supervisor's. */
static int lock_patiently(int fd) {
        for (unsigned attempt = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; attempt++) {
                if (errno != EWOULDBLOCK || attempt >= 50)
                        return -errno;
                (void) usleep(10000);
        }
        return 0;
}

int supervisor_lock_take(const char *state_directory, int *ret_fd, struct failure *ret_failure) {
        _cleanup_fd_ int directory_fd = -1, fd = -1;
        char text[16];
        int r;

        assert(state_directory && ret_fd);

        directory_fd = open(state_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory_fd < 0) {
                r = -errno;
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot open the state directory %s: %s", state_directory, strerror(-r));
        }
        fd = openat(directory_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0) {
                r = -errno;
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot open %s/" LOCK_NAME ": %s",
                                   state_directory, strerror(-r));
        }
        r = lock_patiently(fd);
        if (r < 0) {
                if (r == -EWOULDBLOCK)
                        return lock_taken(state_directory, directory_fd, ret_failure);
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot lock %s/" LOCK_NAME ": %s",
                                   state_directory, strerror(-r));
        }
        (void) snprintf(text, sizeof text, "%d\n", getpid());
        r = ftruncate(fd, 0) < 0 ? -errno : fd_pwrite_all(fd, text, strlen(text), 0);
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot write %s/" LOCK_NAME ": %s", state_directory, strerror(-r));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int workers_holder_signal(const char *state_directory, pid_t pid, int signal_number) {
        _cleanup_fd_ int fd = -1, lock_fd = -1;
        uint64_t start_ticks = 0;
        int again = 0, r;

        if (pid <= 1)
                return -ESRCH;
        r = process_start_ticks(pid, &start_ticks);
        if (r >= 0)
                r = process_open(pid, start_ticks, &fd);
        if (r < 0)
                return r;
        /* Asked again behind the open pidfd: the number may have gone to another process since. */
        if (workers_lock_exclusive(state_directory, &lock_fd, &again, NULL) != -EBUSY || again != pid)
                return -ESRCH;
        return process_signal(fd, signal_number);
}
