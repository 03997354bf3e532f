/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of a session's files: an exclusive flock on DIRECTORY/.SESSION.lock, held from the fence to
 * session_close() (M3). A file of its own, so that neither rotation nor a rewrite opens a window; it is
 * never removed, because a lock on a removed file protects nothing.
 * Must not touch: data files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/io.h"
#include "worker/destination/file.h"

/* A dying owner's descriptors are closed after its memory is torn down: a few ms (DESIGN section 4). */
#define LOCK_TRY_COUNT 100
#define LOCK_TRY_NSEC 500000L

static void lock_name(const struct destination_session *session, char ret_name[FILE_NAME_BYTES]) {
        (void) snprintf(ret_name, FILE_NAME_BYTES, ".%s.lock", session->name);
}

static int lock_wait(const struct destination_session *session, int fd) {
        const struct timespec pause = { .tv_nsec = LOCK_TRY_NSEC };

        for (unsigned tries = 0; tries < LOCK_TRY_COUNT; tries++) {
                if (flock(fd, LOCK_EX | LOCK_NB) == 0)
                        return 0;
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return -errno;
                if (file_pulse(session->destination))
                        return -ECANCELED;
                (void) nanosleep(&pause, NULL); /* woken early is as good */
        }
        return -EBUSY;
}

int file_lock_take(struct destination_session *session, struct failure *ret_failure) {
        struct destination *destination = session->destination;
        _cleanup_fd_ int fd = -1;
        char name[FILE_NAME_BYTES];
        struct stat status;
        int r;

        if (session->lock_fd >= 0)
                return 0;
        lock_name(session, name);
        fd = file_open(destination->dir_fd, name, O_RDWR | O_CREAT);
        if (fd < 0)
                return file_fail(destination, name, fd, "open the lock file", ret_failure);
        r = lock_wait(session, fd);
        if (r == -EBUSY)
                return failure_set(
                        ret_failure, r, FAILURE_UNAVAILABLE,
                        "%s/%s is locked by another process: a second Baton writes session %s there, or a "
                        "dead worker is not gone yet; `fuser` names it",
                        destination->path, name, session->name);
        if (r < 0)
                return file_fail(destination, name, r, "lock", ret_failure);
        if (fstat(fd, &status) < 0)
                return file_fail(destination, name, -errno, "examine", ret_failure);
        if (status.st_nlink == 0)
                return failure_set(ret_failure, -ESTALE, FAILURE_UNAVAILABLE,
                                   "%s/%s was removed while it was being locked; leave lock files alone",
                                   destination->path, name);
        session->lock_fd = TAKE_FD(fd);
        return 0;
}

/* If even this fails, the file system takes no change at all, and nothing else will be written. */
void file_uncertain_set(struct destination_session *session) {
        assert(session->lock_fd >= 0);
        (void) file_truncate(session->lock_fd, 1);
}

void file_uncertain_clear(struct destination_session *session) {
        assert(session->lock_fd >= 0);
        (void) file_truncate(session->lock_fd, 0); /* left standing, it costs one more rewrite */
}

bool file_uncertain_is_set(const struct destination_session *session) {
        struct stat status;

        return fstat(session->lock_fd, &status) < 0 || status.st_size > 0;
}
