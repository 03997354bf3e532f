/* SPDX-License-Identifier: Apache-2.0 */
/* Who a process is (S6), and proof that it is gone (S3), from /proc and pidfds.
 * Must not touch: shared memory. A pid that comes from there is input: any value is answered. */

#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macro.h"

/* Reads /proc/PID/NAME whole into a NUL-terminated buffer. -ESRCH if there is no such process. */
static int proc_read(pid_t pid, const char *name, char *buffer, size_t buffer_bytes) {
        _cleanup_fd_ int fd = -1;
        char path[64];
        size_t bytes;
        int r;

        if (pid <= 0)
                return -ESRCH;
        (void) snprintf(path, sizeof path, "/proc/%d/%s", (int) pid, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        r = fd_pread_all(fd, buffer, buffer_bytes - 1, 0, &bytes);
        if (r < 0)
                return r;
        if (bytes == 0)
                return -ESRCH;
        buffer[bytes] = '\0';
        return 0;
}

/* /proc/PID/stat into the buffer, and where its second field ends. That is the command's name in brackets
 * and may itself hold brackets and spaces: what follows the last one is field 3. */
static int stat_read(pid_t pid, char *buffer, size_t buffer_bytes, const char **ret_name_end) {
        const char *p;
        int r;

        r = proc_read(pid, "stat", buffer, buffer_bytes);
        if (r < 0)
                return r;
        p = strrchr(buffer, ')');
        if (!p)
                return -EBADMSG;
        *ret_name_end = p;
        return 0;
}

int process_state(pid_t pid, char *ret_state) {
        char buffer[1024], state;
        const char *p;
        int r;

        assert(ret_state);

        r = stat_read(pid, buffer, sizeof buffer, &p);
        if (r < 0)
                return r;
        if (sscanf(p, ") %c", &state) != 1)
                return -EBADMSG;
        *ret_state = state;
        return 0;
}

int process_parent(pid_t pid, pid_t *ret_parent) {
        char buffer[1024];
        const char *p;
        int parent, r;

        assert(ret_parent);

        r = stat_read(pid, buffer, sizeof buffer, &p);
        if (r < 0)
                return r;
        if (sscanf(p, ") %*c %d", &parent) != 1) /* NOLINT(cert-err34-c): the kernel wrote it */
                return -EBADMSG;
        *ret_parent = parent;
        return 0;
}

int process_start_ticks(pid_t pid, uint64_t *ret_start_ticks) {
        char buffer[1024];
        unsigned long long ticks;
        const char *p;
        int r;

        assert(ret_start_ticks);

        r = stat_read(pid, buffer, sizeof buffer, &p);
        if (r < 0)
                return r;
        for (int field = 2; field < 22; field++) {
                p = strchr(p + 1, ' ');
                if (!p)
                        return -EBADMSG;
        }
        if (sscanf(p, " %llu", &ticks) != 1)
                return -EBADMSG;
        *ret_start_ticks = ticks;
        return 0;
}

int process_open(pid_t pid, uint64_t start_ticks, int *ret_fd) {
        _cleanup_fd_ int fd = -1;
        uint64_t ticks;
        int r;

        assert(ret_fd);

        if (pid <= 0)
                return -ESRCH;
        fd = pidfd_open(pid, 0); /* sets O_CLOEXEC by itself */
        if (fd < 0)
                return errno == EINVAL ? -ESRCH /* a thread, no process */ : -errno;
        /* Now the process behind the descriptor cannot change any more, only end; if it has the
         * start time, it is the one. The other order would leave a moment for a reused pid. */
        r = process_start_ticks(pid, &ticks);
        /* It is there, and /proc does not show it (hidepid, a program that may not be traced, no /proc at
         * all): who it is cannot be told, and that is no proof of anybody's end (S3). */
        if (r == -ESRCH && !process_has_ended(fd))
                return -EACCES;
        if (r < 0)
                return r;
        if (ticks != start_ticks)
                return -ESRCH;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int process_open_to_wait(pid_t pid, uint64_t start_ticks, int *ret_fd) {
        int r, fd;

        assert(ret_fd);

        r = process_open(pid, start_ticks, ret_fd);
        if (r != -EACCES)
                return r;
        fd = pidfd_open(pid, 0);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

bool process_has_ended(int pid_fd) {
        struct pollfd poller = { .fd = pid_fd, .events = POLLIN };
        int n;

        assert(pid_fd >= 0);

        do
                n = poll(&poller, 1, 0);
        while (n < 0 && errno == EINTR);
        /* Anything but a readable pidfd proves nothing (S3). */
        return n == 1 && (poller.revents & POLLIN);
}

/* ---- how it ended ----------------------------------------------------------------------------- */
struct process_end process_end_of_wait(int wait_status) {
        if (WIFEXITED(wait_status))
                return (struct process_end){ .kind = PROCESS_END_EXIT, .number = WEXITSTATUS(wait_status) };
        if (WIFSIGNALED(wait_status))
                return (struct process_end){ .kind = PROCESS_END_SIGNAL,
                                             .number = WTERMSIG(wait_status),
                                             .wrote_core = WCOREDUMP(wait_status) };
        return (struct process_end){ .kind = PROCESS_END_UNKNOWN };
}

/* struct pidfd_info of the kernel's uapi (linux/pidfd.h since 6.13), which Debian 12's headers do not know, in its
 * first size. Its size is part of the request: a later kernel fills as much as we have. */
struct info {
        uint64_t mask, cgroup;
        uint32_t numbers[11]; /* pids and owners */
        int32_t wait_status;
};
static_assert(sizeof(struct info) == 64, "PIDFD_INFO_SIZE_VER0");
#define INFO_GET _IOWR(0xff, 11, struct info) /* PIDFD_GET_INFO */
#define INFO_EXIT (1ULL << 3)                 /* PIDFD_INFO_EXIT, since 6.15 */

int process_how_ended(int pid_fd, struct process_end *ret_end) {
        struct info info = { .mask = INFO_EXIT };

        assert(pid_fd >= 0);
        assert(ret_end);

        /* ENOTTY or EINVAL: it does not know the question. ESRCH: 6.13 and 6.14, of a process that was reaped. */
        if (ioctl(pid_fd, INFO_GET, &info) < 0)
                return -EOPNOTSUPP;
        if (!(info.mask & INFO_EXIT))
                return -EAGAIN;
        *ret_end = process_end_of_wait(info.wait_status);
        return 0;
}

/* ---- threads, signals, memory --------------------------------------------------------------------- */
bool process_has_thread(pid_t pid, pid_t thread_id) {
        return pid > 0 && thread_id > 0 && (tgkill(pid, thread_id, 0) == 0 || errno != ESRCH);
}

int process_signal(int pid_fd, int signal_number) {
        assert(pid_fd >= 0);

        return pidfd_send_signal(pid_fd, signal_number, NULL, 0) < 0 ? -errno : 0;
}

/* The number behind "\nNAME:" in kB, as bytes; 0 where the kernel does not say. */
static uint64_t memory_field(const char *text, const char *name) {
        const char *p = strstr(text, name);
        unsigned long long kib;

        if (!p || sscanf(p + strlen(name), " %llu", &kib) != 1)
                return 0;
        return (uint64_t) kib * 1024;
}

int process_memory(pid_t pid, uint64_t *ret_resident_bytes, uint64_t *ret_private_bytes) {
        char buffer[4096];
        int r;

        assert(ret_resident_bytes);
        assert(ret_private_bytes);

        r = proc_read(pid, "smaps_rollup", buffer, sizeof buffer);
        if (r < 0)
                return r;
        if (!strstr(buffer, "\nRss:"))
                return -EBADMSG;
        *ret_resident_bytes = memory_field(buffer, "\nRss:");
        *ret_private_bytes = memory_field(buffer, "\nPrivate_Clean:") +
                             memory_field(buffer, "\nPrivate_Dirty:");
        return 0;
}
