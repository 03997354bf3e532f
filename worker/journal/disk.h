/* SPDX-License-Identifier: Apache-2.0 */
/* The disk behind a few function pointers, so that a test can put a faulty one in its place: short
 * writes, failing syncs, no room, a power cut. Internal to worker/journal.
 *
 * The pointers behave like the system calls (-1 and errno); the functions below them return 0 or
 * negative errno and are what the journal calls. One thread alone (S1); tests swap the table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct journal_disk {
        int (*open)(int dir_fd, const char *name, int flags, mode_t mode);
        ssize_t (*pread)(int fd, void *data, size_t bytes, off_t offset);
        ssize_t (*pwrite)(int fd, const void *data, size_t bytes, off_t offset);
        int (*truncate)(int fd, off_t bytes);
        int (*datasync)(int fd);
        int (*dirsync)(int fd);
        int (*rename)(int dir_fd, const char *from, const char *to, bool may_replace);
        int (*unlink)(int dir_fd, const char *name);
        int (*mkdir)(int dir_fd, const char *name, mode_t mode);
        int (*lock)(int fd, bool exclusive); /* flock, never waits */
};

extern const struct journal_disk journal_disk_real;
extern const struct journal_disk *journal_disk; /* in use; &journal_disk_real but in tests */

int journal_disk_open(int dir_fd, const char *name, int flags, int *ret_fd);
/* Stops early only at the end of the file. */
int journal_disk_read(int fd, void *data, size_t bytes, uint64_t offset, size_t *ret_bytes);
/* All bytes or an error; what a failed call left in the file is unknown. */
int journal_disk_write(int fd, const void *data, size_t bytes, uint64_t offset);
int journal_disk_truncate(int fd, uint64_t bytes);
int journal_disk_datasync(int fd);
int journal_disk_dirsync(int fd);
/* -EEXIST if !may_replace and `to` is there: atomically, nothing is ever overwritten by mistake. */
int journal_disk_rename(int dir_fd, const char *from, const char *to, bool may_replace);
int journal_disk_unlink(int dir_fd, const char *name); /* absent is fine */
int journal_disk_mkdir(int dir_fd, const char *name);  /* -EEXIST */
int journal_disk_lock(int fd, bool exclusive);         /* -EWOULDBLOCK: somebody has it */
