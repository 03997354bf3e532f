/* SPDX-License-Identifier: Apache-2.0 */
/* The disk as the file destination sees it: a table of system calls, and loops around them that know
 * EINTR and short transfers.
 * Must not touch: what the bytes mean. A failed sync is returned, never tried again here (M7). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/checksum.h"
#include "worker/destination/file.h"

static int call_openat(int dir_fd, const char *name, int flags, mode_t mode) {
        return openat(dir_fd, name, flags, mode);
}

static int call_rename(int dir_fd, const char *from, const char *to) {
        return renameat(dir_fd, from, dir_fd, to);
}

static int call_unlink(int dir_fd, const char *name) {
        return unlinkat(dir_fd, name, 0);
}

struct file_calls file_calls = {
        .pwrite = pwrite,
        .pread = pread,
        .fdatasync = fdatasync,
        .fsync = fsync,
        .ftruncate = ftruncate,
        .openat = call_openat,
        .rename = call_rename,
        .unlink = call_unlink,
};

/* O_NOFOLLOW: a link in the place of a data file would lead our writes to a file that is not locked. */
int file_open(int dir_fd, const char *name, int flags) {
        int fd;

        do
                fd = file_calls.openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0640);
        while (fd < 0 && errno == EINTR);
        return fd < 0 ? -errno : fd;
}

int file_write_all(int fd, const void *data, size_t bytes, uint64_t offset) {
        const uint8_t *at = data;

        while (bytes > 0) {
                ssize_t n = file_calls.pwrite(fd, at, bytes, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EIO; /* a regular file never does this; a loop would not end */
                at += n;
                bytes -= (size_t) n;
                offset += (uint64_t) n;
        }
        return 0;
}

int file_read_all(int fd, void *data, size_t bytes, uint64_t offset, size_t *ret_bytes) {
        uint8_t *at = data;
        size_t total = 0;

        while (total < bytes) {
                ssize_t n = file_calls.pread(fd, at + total, bytes - total, (off_t) (offset + total));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                total += (size_t) n;
        }
        *ret_bytes = total;
        return 0;
}

int file_sync_data(int fd) {
        return file_calls.fdatasync(fd) < 0 ? -errno : 0;
}

int file_sync_whole(int fd) {
        return file_calls.fsync(fd) < 0 ? -errno : 0;
}

int file_truncate(int fd, uint64_t bytes) {
        int r;

        do
                r = file_calls.ftruncate(fd, (off_t) bytes);
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : 0;
}

int file_rename(int dir_fd, const char *from, const char *to) {
        return file_calls.rename(dir_fd, from, to) < 0 ? -errno : 0;
}

int file_unlink(int dir_fd, const char *name) {
        return file_calls.unlink(dir_fd, name) < 0 && errno != ENOENT ? -errno : 0;
}

int file_tail_crc(int fd, uint64_t length_bytes, uint32_t *ret_crc) {
        uint8_t tail[FILE_TAIL_BYTES];
        size_t bytes = MIN_OF(length_bytes, (uint64_t) sizeof(tail)), read_bytes;
        int r;

        r = file_read_all(fd, tail, bytes, length_bytes - bytes, &read_bytes);
        if (r < 0)
                return r;
        if (read_bytes < bytes)
                return -ENODATA;
        *ret_crc = crc32c(0, tail, bytes);
        return 0;
}
