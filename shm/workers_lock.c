/* SPDX-License-Identifier: Apache-2.0 */
/* STATE/workers.lock: who lives keeps it shared, who makes a new segment needs it alone (S11).
 * The kernel drops it with the process, so nothing is ever left behind. Must not touch: the segment. */
#include "shm/workers_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

#define WORKERS_LOCK_NAME "workers.lock"
#define WORKERS_LOCK_RETRY_USEC (5 * USEC_PER_MSEC)

static int workers_lock_open(const char *state_directory, int *ret_fd, struct failure *ret_failure) {
        _cleanup_fd_ int directory_fd = -1;
        int fd, r;

        assert(state_directory);
        assert(ret_fd);

        /* An open of its own: a flock belongs to the open file, and must not come by inheritance. */
        directory_fd = open(state_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fd = directory_fd < 0 ? -1
                              : openat(directory_fd, WORKERS_LOCK_NAME,
                                       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0) {
                r = -errno;
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "%s/" WORKERS_LOCK_NAME " could not be opened: %s. The state directory "
                                   "must belong to the user that runs Baton.",
                                   state_directory, strerror(-r));
        }
        *ret_fd = fd;
        return 0;
}

int workers_lock_shared(const char *state_directory, uint64_t wait_usec, int *ret_fd,
                        struct failure *ret_failure) {
        const struct timespec pause = { .tv_nsec = WORKERS_LOCK_RETRY_USEC * NSEC_PER_USEC };
        uint64_t deadline_usec = clock_usec() + wait_usec;
        _cleanup_fd_ int fd = -1;
        int r;

        assert(state_directory);
        assert(ret_fd);

        r = workers_lock_open(state_directory, &fd, ret_failure);
        if (r < 0)
                return r;
        while (flock(fd, LOCK_SH | LOCK_NB) < 0) {
                if (errno == EINTR)
                        continue;
                if (errno != EWOULDBLOCK || clock_usec() >= deadline_usec) {
                        r = -errno;
                        return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                           "%s/" WORKERS_LOCK_NAME " is held by a maker of a new segment "
                                           "(%s). It takes milliseconds; try again, and if it stays so, "
                                           "see who holds the file with lslocks.",
                                           state_directory, strerror(-r));
                }
                (void) nanosleep(&pause, NULL);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* A file as the kernel's list of locks names it. */
struct lock_name {
        unsigned major_number, minor_number;
        unsigned long inode;
};

/* The file system's own device, from the list of mounts: what stat() tells is another one where a file system is made of
 * several (overlayfs, btrfs). Where that cannot be had, what stat() tells. */
static int lock_name_of(int fd, struct lock_name *ret_name) {
        char path[64], line[4096];
        struct stat status;
        int mount_id = -1, id;
        FILE *file;

        if (fstat(fd, &status) < 0)
                return -errno;
        *ret_name = (struct lock_name){ major(status.st_dev), minor(status.st_dev), status.st_ino };
        (void) snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        file = fopen(path, "re");
        while (file && fgets(line, sizeof line, file)) {
                (void) sscanf(line, "mnt_id: %d", &mount_id);
                (void) sscanf(line, "ino: %lu", &ret_name->inode);
        }
        if (file)
                (void) fclose(file);
        file = fopen("/proc/self/mountinfo", "re");
        while (file && fgets(line, sizeof line, file)) {
                struct lock_name name = *ret_name;

                if (sscanf(line, "%d %*d %u:%u ", &id, &name.major_number, &name.minor_number) == 3 &&
                    id == mount_id)
                        *ret_name = name;
        }
        if (file)
                (void) fclose(file);
        return 0;
}

/* A process that holds a flock on this very file, from /proc/locks; 0 if none can be named (it has just gone, or is of
 * another pid namespace). */
static int workers_lock_holder(int fd) {
        struct lock_name ours;
        char line[256];
        FILE *locks;
        int holder_pid = 0;

        assert(fd >= 0);

        if (lock_name_of(fd, &ours) < 0)
                return 0;
        locks = fopen("/proc/locks", "re");
        if (!locks)
                return 0;
        while (holder_pid == 0 && fgets(line, sizeof line, locks)) {
                struct lock_name name;
                int pid;

                /* "1: FLOCK  ADVISORY  READ 1234 00:1a:5678 0 EOF"; "1: -> FLOCK …" only waits. */
                if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%lu", &pid, &name.major_number,
                           &name.minor_number, &name.inode) == 4 &&
                    name.major_number == ours.major_number && name.minor_number == ours.minor_number &&
                    name.inode == ours.inode && pid > 0)
                        holder_pid = pid;
        }
        (void) fclose(locks);
        return holder_pid;
}

const char *workers_lock_holder_name(int holder_pid, char ret_name[WORKERS_HOLDER_BYTES]) {
        if (holder_pid > 0)
                (void) snprintf(ret_name, WORKERS_HOLDER_BYTES, "worker pid %d", holder_pid);
        else
                (void) snprintf(ret_name, WORKERS_HOLDER_BYTES, "a worker whose pid is not known here");
        return ret_name;
}

int workers_lock_exclusive(const char *state_directory, int *ret_fd, int *ret_holder_pid,
                           struct failure *ret_failure) {
        _cleanup_fd_ int fd = -1;
        char name[WORKERS_HOLDER_BYTES];
        int holder_pid, r;

        assert(state_directory);
        assert(ret_fd);

        r = workers_lock_open(state_directory, &fd, ret_failure);
        if (r < 0)
                return r;
        do
                r = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
        while (r == -EINTR);
        if (r == -EWOULDBLOCK) {
                holder_pid = workers_lock_holder(fd);
                if (ret_holder_pid)
                        *ret_holder_pid = holder_pid;
                return failure_set(
                        ret_failure, -EBUSY, FAILURE_UNAVAILABLE,
                        "No new segment can be made: %s still lives, of this state directory (%s). Wait "
                        "until it has left, or stop it.",
                        workers_lock_holder_name(holder_pid, name), state_directory);
        }
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "%s/" WORKERS_LOCK_NAME " could not be locked: %s. The state directory "
                                   "must be on a file system that knows flock.",
                                   state_directory, strerror(-r));
        *ret_fd = TAKE_FD(fd);
        return 0;
}
