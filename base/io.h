/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors and small files: the few system-call idioms that every role needs.
 * Must not touch: databases (M12: nothing but SQLite opens one). Logs nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

/* Closes *fd if it is >= 0 and leaves -1; keeps errno. */
void fd_close(int *fd);
#define _cleanup_fd_ _cleanup_(fd_close)

/* Writes all bytes at the offset, through EINTR and short writes. 0, or -errno (-ENOSPC, -EIO, …). */
int fd_pwrite_all(int fd, const void *data, size_t bytes, off_t offset);

/* Reads up to `bytes` at the offset, through EINTR; stops early only at the end of the file.
 * Returns 0 and the bytes read in *ret_bytes, or -errno. */
int fd_pread_all(int fd, void *data, size_t bytes, off_t offset, size_t *ret_bytes);

/* fsync() of the directory that `fd` is. 0 or -errno. */
int dir_sync(int fd);

/* Makes the directory and its missing parents (like mkdir -p) with the mode. 0 or -errno;
 * -ENOTDIR where something else stands in the way. */
int dir_make(const char *path, mode_t mode);

/* Reads a whole small file (at most max_bytes) into a new NUL-terminated string; caller frees.
 * -EFBIG if it is longer. */
int file_read_text(int dir_fd, const char *name, size_t max_bytes, char **ret_text);

/* Replaces a small file atomically and durably: temporary file, fsync, rename, fsync of the directory.
 * We die here: before the rename the old content stands; after it the new one. 0 or -errno. */
int file_replace_text(int dir_fd, const char *name, const char *text, mode_t mode);
