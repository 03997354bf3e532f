/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors and small files, through EINTR and short transfers.
 * Must not touch: databases (M12). Logs nothing. */

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"

void fd_close(int *fd) {
        int saved = errno;

        assert(fd);

        /* Not again on EINTR: Linux has released the descriptor by then. */
        if (*fd >= 0)
                (void) close(*fd);
        *fd = -1;
        errno = saved;
}

int fd_pwrite_all(int fd, const void *data, size_t bytes, off_t offset) {
        const uint8_t *p = data;

        assert(fd >= 0);
        assert(data || bytes == 0);
        assert(offset >= 0);

        while (bytes > 0) {
                ssize_t n = pwrite(fd, p, bytes, offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EIO; /* never for a regular file; no endless loop for anything else */
                p += n;
                bytes -= (size_t) n;
                offset += n;
        }
        return 0;
}

int fd_pread_all(int fd, void *data, size_t bytes, off_t offset, size_t *ret_bytes) {
        size_t done = 0;

        assert(fd >= 0);
        assert(data || bytes == 0);
        assert(offset >= 0);
        assert(ret_bytes);

        while (done < bytes) {
                ssize_t n = pread(fd, (uint8_t *) data + done, bytes - done, offset + (off_t) done);

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

int dir_sync(int fd) {
        assert(fd >= 0);

        return fsync(fd) < 0 ? -errno : 0;
}

/* One level of dir_make(): there already, as a directory, is success. */
static int dir_make_one(const char *path, mode_t mode) {
        struct stat status;

        if (mkdir(path, mode) >= 0)
                return 0;
        if (errno != EEXIST)
                return -errno;
        if (stat(path, &status) < 0)
                return errno == ENOENT ? -ENOTDIR /* a dangling link */ : -errno;
        return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

int dir_make(const char *path, mode_t mode) {
        char partial[PATH_MAX];
        size_t length;
        int r;

        assert(path);

        length = strlen(path);
        if (length == 0)
                return -ENOENT;
        if (length >= sizeof partial)
                return -ENAMETOOLONG;
        memcpy(partial, path, length + 1);
        while (length > 1 && partial[length - 1] == '/')
                partial[--length] = '\0';

        for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                r = dir_make_one(partial, mode);
                if (r < 0)
                        return r;
                *slash = '/';
        }
        return dir_make_one(partial, mode);
}

int file_read_text(int dir_fd, const char *name, size_t max_bytes, char **ret_text) {
        _cleanup_fd_ int fd = -1;
        _cleanup_free_ char *text = NULL;
        struct stat status;
        size_t bytes;
        int r;

        assert(name);
        assert(ret_text);

        /* O_NONBLOCK: a FIFO of that name must not hold us. */
        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &status) < 0)
                return -errno;
        if (!S_ISREG(status.st_mode))
                return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;

        text = malloc(max_bytes + 1);
        if (!text)
                return -ENOMEM;
        /* One byte more than allowed tells "too long" from "just fits", whatever st_size says. */
        r = fd_pread_all(fd, text, max_bytes + 1, 0, &bytes);
        if (r < 0)
                return r;
        if (bytes > max_bytes)
                return -EFBIG;
        if (memchr(text, '\0', bytes))
                return -EBADMSG; /* no text: a reader would see only its beginning */
        text[bytes] = '\0';
        *ret_text = TAKE(text);
        return 0;
}

/* Makes a new file that nobody else has; what a dead process left under that name is replaced. */
static int temporary_create(int dir_fd, const char *name, int *ret_fd) {
        const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
        int fd = openat(dir_fd, name, flags, 0600);

        if (fd < 0 && errno == EEXIST && unlinkat(dir_fd, name, 0) >= 0)
                fd = openat(dir_fd, name, flags, 0600);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

static int temporary_fill(int fd, const char *text, mode_t mode) {
        int r = fd_pwrite_all(fd, text, strlen(text), 0);

        if (r < 0)
                return r;
        if (fchmod(fd, mode) < 0)
                return -errno;
        return fsync(fd) < 0 ? -errno : 0;
}

int file_replace_text(int dir_fd, const char *name, const char *text, mode_t mode) {
        _cleanup_fd_ int fd = -1;
        char temporary[NAME_MAX + 1];
        int n, r;

        assert(dir_fd >= 0);
        assert(name && *name && !strchr(name, '/'));
        assert(text);

        /* The thread's number makes the name ours: no two living threads have the same. */
        n = snprintf(temporary, sizeof temporary, ".%s.%d.tmp", name, (int) gettid());
        if (n < 0 || (size_t) n >= sizeof temporary)
                return -ENAMETOOLONG;
        r = temporary_create(dir_fd, temporary, &fd);
        if (r < 0)
                return r;
        r = temporary_fill(fd, text, mode);
        CRASH_POINT("base.K1");
        if (r >= 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlinkat(dir_fd, temporary, 0);
                return r;
        }
        CRASH_POINT("base.K2");
        return dir_sync(dir_fd);
}
