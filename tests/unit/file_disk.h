/* SPDX-License-Identifier: Apache-2.0 */
/* A disk for tests of the file destination, put in the place of file_calls: it is full, fails its syncs,
 * takes a few bytes at a time, kills the process at its n-th call, and remembers what no sync has seen.
 * Must not touch: anything but what the product gives it; all real effects are the kernel's. */
#pragma once

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/destination/file.h"

enum call { CALL_WRITE, CALL_SYNC, CALL_OTHER };

static struct {
        unsigned counts[3], total;
        unsigned fail_write_at, fail_sync_at, die_at; /* 0: never */
        unsigned fail_count;                          /* so many in a row */
        bool half;                                    /* the failing or deadly write does half of it */
        bool lose;                                    /* a failed sync loses what is not in the journal */
        size_t chunk_bytes;                           /* 0: no limit */
        struct file_state durable;                    /* for `lose` */
        bool failed;
        ino_t dirty[16];                   /* files with bytes that no sync has seen */
        unsigned dirty_count, entry_count; /* entries made since a sync of the directory */
        bool early_cut;                    /* cut while an entry was not synced */
        bool mark_is_new;                  /* .begun was made, the directory not synced since */
        bool early_line;                   /* a line was written meanwhile */
        uint64_t line_bytes;               /* written to data and parked files */
} disk;

static inline ino_t inode_of_fd(int fd) {
        struct stat status;

        cr_assert_eq(fstat(fd, &status), 0);
        return status.st_ino;
}

static inline void note_write(int fd, size_t bytes) {
        ino_t inode = inode_of_fd(fd);
        char link[64], path[640] = "";

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        (void) !readlink(link, path, sizeof(path) - 1);
        if (strstr(path, ".jsonl")) {
                disk.early_line = disk.early_line || disk.mark_is_new;
                disk.line_bytes += bytes;
        }
        for (unsigned i = 0; i < disk.dirty_count; i++)
                if (disk.dirty[i] == inode)
                        return;
        cr_assert_lt(disk.dirty_count, ELEMENTSOF(disk.dirty));
        disk.dirty[disk.dirty_count++] = inode;
}

static inline void note_sync(int fd) {
        ino_t inode = inode_of_fd(fd);
        struct stat status;

        if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
                disk.entry_count = 0, disk.mark_is_new = false;
        for (unsigned i = 0; i < disk.dirty_count; i++)
                if (disk.dirty[i] == inode)
                        disk.dirty[i] = disk.dirty[--disk.dirty_count];
}

/* True if this call must fail. */
static inline bool disk_call(enum call call, unsigned fail_at) {
        disk.total++;
        disk.counts[call]++;
        if (disk.die_at > 0 && disk.total == disk.die_at && !(call == CALL_WRITE && disk.half))
                (void) kill(getpid(), SIGKILL);
        if (fail_at == 0 || disk.counts[call] < fail_at || disk.counts[call] >= fail_at + disk.fail_count)
                return false;
        disk.failed = true;
        return true;
}

static inline ssize_t disk_pwrite(int fd, const void *data, size_t bytes, off_t offset) {
        ssize_t n;

        if (disk_call(CALL_WRITE, disk.fail_write_at)) {
                if (disk.half)
                        (void) !pwrite(fd, data, bytes / 2, offset);
                errno = ENOSPC;
                return -1;
        }
        if (disk.die_at > 0 && disk.total == disk.die_at) {
                (void) !pwrite(fd, data, bytes / 2, offset);
                (void) kill(getpid(), SIGKILL);
        }
        if (disk.chunk_bytes > 0 && disk.total % 3 == 0) {
                errno = EINTR;
                return -1;
        }
        note_write(fd, bytes);
        n = pwrite(fd, data, disk.chunk_bytes > 0 ? MIN_OF(bytes, disk.chunk_bytes) : bytes, offset);
        return n;
}

static inline ssize_t disk_pread(int fd, void *data, size_t bytes, off_t offset) {
        return pread(fd, data, disk.chunk_bytes > 0 ? MIN_OF(bytes, disk.chunk_bytes) : bytes, offset);
}

/* What M7 is about: the pages are clean and gone, and the next read shows the disk, which has what was
 * durable before. */
static inline void lose_pages(int fd) {
        static const char zeros[65536];
        char link[64], path[640] = "";
        uint64_t durable_bytes = 0;
        struct stat status;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        (void) !readlink(link, path, sizeof(path) - 1);
        if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
                return;
        if (strstr(path, "/orders.parked.jsonl"))
                durable_bytes = disk.durable.parked_bytes;
        else if (strstr(path, "/orders.0") && strstr(path, ".jsonl"))
                durable_bytes = disk.durable.data_bytes;
        if ((uint64_t) status.st_size > durable_bytes)
                (void) !pwrite(fd, zeros, (size_t) status.st_size - durable_bytes, (off_t) durable_bytes);
}

static inline int disk_sync(int fd) {
        if (!disk_call(CALL_SYNC, disk.fail_sync_at)) {
                note_sync(fd);
                return 0;
        }
        if (disk.lose)
                lose_pages(fd);
        errno = EIO;
        return -1;
}

static inline int disk_truncate(int fd, off_t bytes) {
        (void) disk_call(CALL_OTHER, 0);
        disk.early_cut = disk.early_cut || disk.entry_count > 0;
        return ftruncate(fd, bytes);
}

static inline int disk_openat(int dir_fd, const char *name, int flags, mode_t mode) {
        if (flags & O_CREAT)
                (void) disk_call(CALL_OTHER, 0);
        /* A lock may vanish in a power cut, and a copy that is not renamed yet too. */
        if (flags & O_CREAT && !strstr(name, ".lock") && !strstr(name, ".resync"))
                disk.entry_count++;
        disk.mark_is_new = disk.mark_is_new || (flags & O_CREAT && strstr(name, ".begun"));
        return openat(dir_fd, name, flags, mode);
}

static inline int disk_rename(int dir_fd, const char *from, const char *to) {
        (void) disk_call(CALL_OTHER, 0);
        disk.entry_count++;
        return renameat(dir_fd, from, dir_fd, to);
}

static inline int disk_unlink(int dir_fd, const char *name) {
        (void) disk_call(CALL_OTHER, 0);
        return unlinkat(dir_fd, name, 0);
}

static inline void disk_attach(void) {
        memset(&disk, 0, sizeof(disk));
        file_calls = (struct file_calls){
                .pwrite = disk_pwrite,
                .pread = disk_pread,
                .fdatasync = disk_sync,
                .fsync = disk_sync,
                .ftruncate = disk_truncate,
                .openat = disk_openat,
                .rename = disk_rename,
                .unlink = disk_unlink,
        };
}
