/* SPDX-License-Identifier: Apache-2.0 */
/* After a failed sync (M7): pages may be marked clean and lost, so the file is never synced again. It is
 * read through a fresh descriptor, copied to a new file, which is synced and renamed over it.
 *
 * The whole file, not its end alone: the page in which the record ends is among the uncertain ones, and
 * one file that is one file afterwards keeps every other rule as it is. rotate-size bounds the cost.
 *
 * Who does it: resync() for the sessions that are open here; for all others the next fence(), which
 * finds the bit in the lock file (file_lock.c). Either comes before anything is journaled for the
 * session, so before its source is cleaned.
 * We die here: K12 the copy is durable, not renamed: the old file and the bit stand, it is copied again;
 * K13 renamed, the directory not synced: the same, after a power cut with either file.
 * Must not touch: the old file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "base/io.h"
#include "worker/destination/file.h"

/* The name still leads to what is open; else the copy would be of something else. */
static int open_fresh(struct destination_session *session, const struct file_part *part, uint64_t *ret_bytes,
                      struct failure *ret_failure) {
        struct destination *destination = session->destination;
        _cleanup_fd_ int fd = -1;
        struct stat fresh, opened;

        fd = file_open(destination->dir_fd, part->name, O_RDONLY);
        if (fd < 0)
                return file_fail(destination, part->name, fd, "open again", ret_failure);
        if (fstat(fd, &fresh) < 0 || fstat(part->fd, &opened) < 0)
                return file_fail(destination, part->name, -errno, "examine", ret_failure);
        if (fresh.st_ino != opened.st_ino || fresh.st_dev != opened.st_dev ||
            (uint64_t) fresh.st_size < part->durable_bytes)
                return failure_set(
                        ret_failure, -ESTALE, FAILURE_STOP,
                        "%s/%s was replaced or cut while it had to be written again after a failed sync; put "
                        "it back, then run `baton adopt`",
                        destination->path, part->name);
        *ret_bytes = (uint64_t) fresh.st_size;
        return TAKE_FD(fd);
}

/* The copy, complete and durable, under its temporary name. A sync that fails here too: wait. The next try
 * is another new file (M7), and until one is whole the session is not claimed, so nothing is cleaned. */
static int copy_make(struct destination_session *session, const struct file_part *part, const char *name,
                     int *ret_fd, struct failure *ret_failure) {
        struct destination *destination = session->destination;
        _cleanup_fd_ int from = -1, to = -1;
        uint64_t bytes = 0;
        uint32_t crc;
        int r;

        from = open_fresh(session, part, &bytes, ret_failure);
        if (from < 0)
                return from;
        to = file_open(destination->dir_fd, name, O_RDWR | O_CREAT | O_EXCL);
        if (to < 0)
                return file_fail(destination, name, to, "make", ret_failure);
        r = file_copy(destination, from, 0, to, 0, bytes, NULL);
        if (r >= 0)
                r = file_tail_crc(to, part->durable_bytes, &crc);
        if (r < 0)
                return file_fail(destination, name, r, "write the file again", ret_failure);
        if (crc != part->durable_crc)
                return failure_set(
                        ret_failure, -EBADMSG, FAILURE_STOP,
                        "%s/%s: a sync failed, and what was durable before byte %llu cannot be read back; "
                        "put "
                        "the file back from a backup, then run `baton adopt`",
                        destination->path, part->name, (unsigned long long) part->durable_bytes);
        r = file_sync_whole(to);
        if (r < 0)
                return failure_set(
                        ret_failure, r, FAILURE_UNAVAILABLE,
                        "%s/%s: a sync failed, and that of a fresh copy too (%s): the disk loses what is "
                        "written. Mend it; another copy is tried until one can be synced",
                        destination->path, part->name, strerrordesc_np(-r));
        *ret_fd = TAKE_FD(to);
        return 0;
}

int file_rewrite(struct destination_session *session, struct file_part *part, struct failure *ret_failure) {
        struct destination *destination = session->destination;
        char name[FILE_NAME_BYTES];
        _cleanup_fd_ int fd = -1;
        int r;

        assert(part->fd >= 0);
        (void) snprintf(name, sizeof(name), ".%s.resync", session->name);
        r = file_unlink(destination->dir_fd, name); /* of one that died at K12 */
        if (r < 0)
                return file_fail(destination, name, r, "remove", ret_failure);
        r = copy_make(session, part, name, &fd, ret_failure);
        if (r < 0) {
                (void) file_unlink(destination->dir_fd, name);
                return r;
        }
        CRASH_POINT("file.K12");
        r = file_rename(destination->dir_fd, name, part->name);
        if (r < 0)
                return file_fail(destination, part->name, r, "put the fresh copy in its place", ret_failure);
        fd_close(&part->fd);
        part->fd = TAKE_FD(fd);
        part->uncertain = false;
        CRASH_POINT("file.K13");
        return file_directory_sync(destination, ret_failure);
}

static int resync_session(struct destination_session *session, struct failure *ret_failure) {
        int r = 0;

        if (!session->data.uncertain && !session->parked.uncertain)
                return 0;
        if (session->data.uncertain)
                r = file_rewrite(session, &session->data, ret_failure);
        if (r >= 0 && session->parked.uncertain)
                r = file_rewrite(session, &session->parked, ret_failure);
        if (r < 0)
                return r;
        file_uncertain_clear(session);
        return 0;
}

/* After it the open transaction may be committed (nothing is uncertain any more) or rolled back. */
int file_resync(struct destination *destination, struct failure *ret_failure) {
        _cleanup_fd_ int fresh = -1;
        int r;

        for (struct destination_session *session = destination->sessions; session; session = session->next) {
                r = resync_session(session, ret_failure);
                if (r < 0)
                        return r;
        }
        fresh = openat(destination->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fresh < 0)
                return file_fail(destination, "", -errno, "open the directory again", ret_failure);
        r = file_sync_whole(fresh);
        if (r < 0)
                return failure_set(
                        ret_failure, r, FAILURE_UNAVAILABLE,
                        "%s: a sync of the directory failed, and failed again (%s): mend the disk; it is tried "
                        "until it succeeds",
                        destination->path, strerrordesc_np(-r));
        destination->directory_dirty = false;
        destination->latched = false;
        return 0;
}
