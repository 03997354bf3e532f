/* SPDX-License-Identifier: Apache-2.0 */
/* One of a session's two files: opening, handing lines to the kernel, making them durable, taking them
 * back (M3, M7, M8). No O_APPEND: every write goes to a known offset.
 * Must not touch: what a line means, the session's state beyond this part. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checksum.h"
#include "base/crash.h"
#include "base/io.h"
#include "worker/destination/file.h"

int file_fail(const struct destination *destination, const char *name, int r, const char *what,
              struct failure *failure) {
        enum failure_kind kind = failure_kind_of_errno(r);
        const char *advice = "";

        assert(r < 0);
        if (r == -ELOOP)
                kind = FAILURE_STOP;
        if (kind == FAILURE_FULL)
                advice = "; make room there, it then goes on by itself";
        else if (r == -EACCES || r == -EPERM)
                advice = "; give Baton's user the right to it";
        else if (r == -EIO)
                advice = "; look at the disk (kernel log), then run `baton adopt`";
        else if (r == -ELOOP)
                advice = "; a symbolic link must not stand there";
        return failure_set(failure, r, kind, "%s/%s: cannot %s: %s%s", destination->path, name, what,
                           strerrordesc_np(-r), advice);
}

int file_fail_sync(struct destination *destination, const char *name, int r, struct failure *failure) {
        assert(r < 0);
        destination->latched = true;
        return failure_set(
                failure, r, FAILURE_SYNC,
                "%s/%s: cannot sync: %s; what was written last may be lost, so it is written again to a "
                "new place; look at the disk",
                destination->path, name, strerrordesc_np(-r));
}

int file_part_open(struct destination *destination, struct file_part *part, bool create,
                   struct failure *ret_failure) {
        _cleanup_fd_ int fd = -1;
        struct stat status;

        assert(part->fd < 0);

        fd = file_open(destination->dir_fd, part->name, O_RDWR);
        if (fd == -ENOENT && !create)
                return -ENOENT;
        if (fd == -ENOENT) {
                fd = file_open(destination->dir_fd, part->name, O_RDWR | O_CREAT | O_EXCL);
                if (fd >= 0)
                        destination->directory_dirty = true;
        }
        if (fd < 0)
                return file_fail(destination, part->name, fd, "open", ret_failure);
        if (fstat(fd, &status) < 0)
                return file_fail(destination, part->name, -errno, "examine", ret_failure);
        if (!S_ISREG(status.st_mode))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "%s/%s is not a regular file; move it away", destination->path,
                                   part->name);
        part->fd = TAKE_FD(fd);
        return 0;
}

void file_part_close(struct file_part *part) {
        fd_close(&part->fd);
        file_buffer_done(&part->buffer);
}

int file_part_size(struct destination *destination, const struct file_part *part, uint64_t *ret_bytes,
                   struct failure *ret_failure) {
        struct stat status;

        assert(part->fd >= 0);
        if (fstat(part->fd, &status) < 0)
                return file_fail(destination, part->name, -errno, "examine", ret_failure);
        *ret_bytes = (uint64_t) status.st_size;
        return 0;
}

int file_part_flush(struct destination *destination, struct file_part *part, struct failure *ret_failure) {
        int r;

        if (part->buffer.used_bytes == 0)
                return 0;
        assert(part->fd >= 0);
        assert(!part->uncertain);

        part->touched = true; /* a failing write may leave some of it (M8): rollback cuts it off */
        r = file_write_all(part->fd, part->buffer.data, part->buffer.used_bytes, part->written_bytes);
        if (r < 0)
                return file_fail(destination, part->name, r, "write", ret_failure);
        part->written_bytes += part->buffer.used_bytes;
        part->buffer.used_bytes = 0;
        CRASH_POINT("file.K1");
        return 0;
}

int file_part_seal(struct destination *destination, struct file_part *part, struct failure *ret_failure) {
        int r;

        r = file_part_flush(destination, part, ret_failure);
        if (r < 0)
                return r;
        if (part->written_bytes == part->durable_bytes) {
                part->written_crc = part->durable_crc;
                return 0;
        }
        r = file_tail_crc(part->fd, part->written_bytes, &part->written_crc);
        if (r < 0)
                return file_fail(destination, part->name, r, "read back what was written", ret_failure);
        return 0;
}

int file_part_sync(struct destination_session *session, struct file_part *part, struct failure *ret_failure) {
        int r;

        assert(part->buffer.used_bytes == 0);
        if (!part->touched)
                return 0;
        r = file_sync_data(part->fd);
        if (r < 0) {
                part->uncertain = true;
                file_uncertain_set(session);
                return file_fail_sync(session->destination, part->name, r, ret_failure);
        }
        return 0;
}

void file_part_settle(struct file_part *part) {
        assert(part->buffer.used_bytes == 0);
        assert(part->written_bytes >= part->durable_bytes);
        assert(!part->uncertain);

        part->durable_bytes = part->written_bytes;
        part->durable_crc = part->written_crc;
        part->touched = false;
}

int file_part_rollback(struct destination *destination, struct file_part *part) {
        int r;

        part->buffer.used_bytes = 0;
        part->written_bytes = part->durable_bytes;
        part->written_crc = part->durable_crc;
        file_part_give_buffer(destination, part);
        if (!part->touched || part->uncertain)
                return 0; /* written anew as it stands; the next fence then finds a tail */
        CRASH_POINT("file.K4");
        r = file_truncate(part->fd, part->durable_bytes);
        if (r < 0)
                return r;
        part->touched = false;
        return 0;
}

/* A session that is idle holds no memory for lines; one buffer is kept for whoever comes next (S8). */
void file_part_give_buffer(struct destination *destination, struct file_part *part) {
        assert(part->buffer.used_bytes == 0);
        if (!destination->spare.data && part->buffer.capacity_bytes <= FILE_SPARE_BYTES_MAX)
                destination->spare = part->buffer;
        else
                free(part->buffer.data);
        part->buffer = (struct file_buffer){ .data = NULL };
}

int file_part_verify(struct destination *destination, const struct file_part *part,
                     struct failure *ret_failure) {
        struct stat at_path, opened;

        if (part->fd < 0)
                return 0;
        if (fstat(part->fd, &opened) < 0)
                return file_fail(destination, part->name, -errno, "examine", ret_failure);
        if (fstatat(destination->dir_fd, part->name, &at_path, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return file_fail(destination, part->name, -errno, "examine", ret_failure);
                at_path.st_ino = 0;
        }
        if (at_path.st_ino != opened.st_ino || at_path.st_dev != opened.st_dev)
                return failure_set(
                        ret_failure, -ESTALE, FAILURE_STOP,
                        "%s/%s was moved away or replaced while Baton wrote it; put it back, or let Baton "
                        "rotate by itself (rotate-size=, rotate-time=)",
                        destination->path, part->name);
        if ((uint64_t) opened.st_size != part->durable_bytes)
                return failure_set(
                        ret_failure, -ESTALE, FAILURE_STOP,
                        "%s/%s has %llu bytes, but Baton left it at %llu: another program wrote or cut it; "
                        "put it back as it was",
                        destination->path, part->name, (unsigned long long) opened.st_size,
                        (unsigned long long) part->durable_bytes);
        return 0;
}

int file_directory_sync(struct destination *destination, struct failure *ret_failure) {
        int r;

        r = file_sync_whole(destination->dir_fd);
        if (r < 0)
                return file_fail_sync(destination, "", r, ret_failure);
        destination->directory_dirty = false;
        return 0;
}

int file_copy(const struct destination *destination, int from_fd, uint64_t from, int to_fd, uint64_t to,
              uint64_t bytes, uint32_t *ret_crc) {
        _cleanup_free_ uint8_t *chunk = NULL;
        uint32_t crc = 0;
        size_t n;
        int r;

        chunk = malloc(FILE_CHUNK_BYTES);
        if (!chunk)
                return -ENOMEM;
        for (uint64_t done = 0; done < bytes; done += n) {
                if (file_pulse(destination))
                        return -ECANCELED;
                r = file_read_all(from_fd, chunk, MIN_OF(bytes - done, (uint64_t) FILE_CHUNK_BYTES),
                                  from + done, &n);
                if (r < 0)
                        return r;
                if (n == 0)
                        return -ENODATA;
                r = file_write_all(to_fd, chunk, n, to + done);
                if (r < 0)
                        return r;
                crc = crc32c(crc, chunk, n);
        }
        if (ret_crc)
                *ret_crc = crc;
        return 0;
}
