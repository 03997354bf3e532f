/* SPDX-License-Identifier: Apache-2.0 */
/* System calls of the journal, through the table in disk.h (conventions, "Proof").
 * Must not touch: the format; which failure means what (writer.c and birth.c say that). */
#include "worker/journal/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macro.h"

static int real_open(int dir_fd, const char *name, int flags, mode_t mode) {
        return openat(dir_fd, name, flags, mode);
}

static int real_rename(int dir_fd, const char *from, const char *to, bool may_replace) {
        return renameat2(dir_fd, from, dir_fd, to, may_replace ? 0 : RENAME_NOREPLACE);
}

static int real_unlink(int dir_fd, const char *name) {
        return unlinkat(dir_fd, name, 0);
}

static int real_lock(int fd, bool exclusive) {
        return flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
}

const struct journal_disk journal_disk_real = {
        .open = real_open,
        .pread = pread,
        .pwrite = pwrite,
        .truncate = ftruncate,
        .datasync = fdatasync,
        .dirsync = fsync,
        .rename = real_rename,
        .unlink = real_unlink,
        .mkdir = mkdirat,
        .lock = real_lock,
};
const struct journal_disk *journal_disk = &journal_disk_real;

/* 0 or -errno of a call that answers like a system call. */
static int result(int r) {
        return r < 0 ? -errno : 0;
}

int journal_disk_open(int dir_fd, const char *name, int flags, int *ret_fd) {
        int fd = journal_disk->open(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);

        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int journal_disk_read(int fd, void *data, size_t bytes, uint64_t offset, size_t *ret_bytes) {
        size_t done = 0;

        while (done < bytes) {
                ssize_t n = journal_disk->pread(fd, (uint8_t *) data + done, bytes - done,
                                                (off_t) (offset + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                done += (size_t) n;
        }
        *ret_bytes = done;
        return 0;
}

int journal_disk_write(int fd, const void *data, size_t bytes, uint64_t offset) {
        size_t done = 0;

        while (done < bytes) {
                ssize_t n = journal_disk->pwrite(fd, (const uint8_t *) data + done, bytes - done,
                                                 (off_t) (offset + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EIO;
                done += (size_t) n;
        }
        return 0;
}

int journal_disk_truncate(int fd, uint64_t bytes) {
        return result(journal_disk->truncate(fd, (off_t) bytes));
}

int journal_disk_datasync(int fd) {
        return result(journal_disk->datasync(fd));
}

int journal_disk_dirsync(int fd) {
        return result(journal_disk->dirsync(fd));
}

int journal_disk_rename(int dir_fd, const char *from, const char *to, bool may_replace) {
        return result(journal_disk->rename(dir_fd, from, to, may_replace));
}

int journal_disk_unlink(int dir_fd, const char *name) {
        int r = result(journal_disk->unlink(dir_fd, name));

        return r == -ENOENT ? 0 : r;
}

int journal_disk_mkdir(int dir_fd, const char *name) {
        return result(journal_disk->mkdir(dir_fd, name, 0750));
}

int journal_disk_lock(int fd, bool exclusive) {
        return result(journal_disk->lock(fd, exclusive));
}
