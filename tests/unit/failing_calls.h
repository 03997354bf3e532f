/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the C library, of the kernel and of SQLite that fail in turn: the first, the second, the third …
 * that our own code makes, each in a run of its own, until a run has no more of them. A program whose name ends in
 * _failing is linked with --wrap for each (Makefile, FAILING_CALLS), so what libraries call among themselves is
 * left alone, and so is a test's own code where it does not say calls_armed().
 * Must not touch: what a call does when it does not fail. A failing one does nothing at all. */
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum calls_how {
        CALLS_BROKEN, /* EIO, no memory, SQLITE_IOERR_READ: the machine is in trouble */
        CALLS_SHORT,  /* EMFILE, ENOSPC, EINTR, SQLITE_BUSY: it passes */
        CALLS_HOW_COUNT
};

static struct {
        bool is_armed;
        enum calls_how how;
        unsigned seen, at;  /* the one that fails, from 1; 0: none */
        const char *failed; /* its name; NULL: none did */
        unsigned fsyncs;    /* that succeeded, while it was armed */
} calls;

static inline void calls_begin(enum calls_how how, unsigned at) {
        calls.is_armed = false;
        calls.how = how;
        calls.seen = 0;
        calls.at = at;
        calls.failed = NULL;
        calls.fsyncs = 0;
}

/* Only what our own code does between the two counts, and may fail. */
static inline void calls_armed(bool is_armed) {
        calls.is_armed = is_armed;
}

/* True: this one fails, with that errno. */
static inline bool calls_fails(const char *name, int broken_errno, int short_errno) {
        if (!calls.is_armed || ++calls.seen != calls.at)
                return false;
        calls.failed = name;
        errno = calls.how == CALLS_BROKEN ? broken_errno : short_errno;
        return true;
}

static inline int calls_code(int broken_code, int short_code) {
        return calls.how == CALLS_BROKEN ? broken_code : short_code;
}

/* Of the runs 1 … count a sample, evenly spread: so many as `few`, or as $BATON_TEST_FAILING says (0: all). How far one
 * of them is from the next. */
static inline unsigned calls_step(unsigned count, unsigned few) {
        const char *told = getenv("BATON_TEST_FAILING");
        unsigned long wanted = told ? strtoul(told, NULL, 10) : few;

        return wanted == 0 || wanted >= count ? 1 : count / (unsigned) wanted;
}

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the linker's names */
#define CALL(type, name, parameters, arguments, failed, broken_errno, short_errno)                         \
        type __real_##name parameters;                                                                     \
        type __wrap_##name parameters;                                                                     \
        type __wrap_##name parameters {                                                                    \
                return calls_fails(#name, broken_errno, short_errno) ? (failed) : __real_##name arguments; \
        }

CALL(void *, malloc, (size_t bytes), (bytes), NULL, ENOMEM, ENOMEM)
CALL(void *, calloc, (size_t count, size_t bytes), (count, bytes), NULL, ENOMEM, ENOMEM)
CALL(void *, realloc, (void *old, size_t bytes), (old, bytes), NULL, ENOMEM, ENOMEM)
CALL(void *, reallocarray, (void *old, size_t count, size_t bytes), (old, count, bytes), NULL, ENOMEM, ENOMEM)
CALL(char *, strdup, (const char *text), (text), NULL, ENOMEM, ENOMEM)
CALL(int, posix_memalign, (void **ret, size_t line, size_t bytes), (ret, line, bytes), ENOMEM, 0, 0)
CALL(int, vasprintf, (char **ret, const char *format, va_list list), (ret, format, list), -1, ENOMEM, ENOMEM)

CALL(DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM, ENOMEM)
CALL(struct dirent *, readdir, (DIR * directory), (directory), NULL, EIO, EIO)
CALL(int, fstat, (int fd, struct stat *ret), (fd, ret), -1, EIO, ENOMEM)
CALL(int, stat, (const char *path, struct stat *ret), (path, ret), -1, EIO, ENOMEM)
CALL(int, fstatat, (int dir, const char *path, struct stat *ret, int flags), (dir, path, ret, flags), -1, EIO,
     ENOMEM)
CALL(int, statx, (int dir, const char *path, int flags, unsigned mask, struct statx *ret),
     (dir, path, flags, mask, ret), -1, EIO, ENOMEM)
CALL(char *, realpath, (const char *path, char *ret), (path, ret), NULL, EIO, ENOMEM)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, EIO, ENOSPC)
CALL(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), -1, EIO, ENOSPC)
CALL(ssize_t, pread, (int fd, void *data, size_t bytes, off_t at), (fd, data, bytes, at), -1, EIO, EINTR)
CALL(ssize_t, pwrite, (int fd, const void *data, size_t bytes, off_t at), (fd, data, bytes, at), -1, EIO,
     ENOSPC)
CALL(int, fdatasync, (int fd), (fd), -1, EIO, ENOSPC)
CALL(int, ftruncate, (int fd, off_t bytes), (fd, bytes), -1, EIO, EINTR)
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode), -1, EIO, EPERM)
CALL(int, posix_fallocate, (int fd, off_t at, off_t bytes), (fd, at, bytes), ENOSPC, 0, 0)
CALL(int, renameat, (int from_dir, const char *from, int to_dir, const char *to),
     (from_dir, from, to_dir, to), -1, EIO, ENOSPC)
CALL(int, renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
     (from_dir, from, to_dir, to, flags), -1, EIO, ENOSPC)
CALL(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), -1, EIO, ENOMEM)
CALL(int, flock, (int fd, int what), (fd, what), -1, ENOLCK, EINTR)
CALL(void *, mmap, (void *at, size_t bytes, int rights, int flags, int fd, off_t offset),
     (at, bytes, rights, flags, fd, offset), MAP_FAILED, ENOMEM, EAGAIN)
CALL(int, eventfd, (unsigned value, int flags), (value, flags), -1, ENOMEM, EMFILE)
CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1, ENOMEM, EMFILE)
CALL(int, inotify_init1, (int flags), (flags), -1, ENOMEM, EMFILE)
CALL(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask), -1, ENOMEM, ENOSPC)
CALL(int, pthread_mutexattr_init, (pthread_mutexattr_t * ret), (ret), ENOMEM, 0, 0)
CALL(int, pthread_mutexattr_setrobust, (pthread_mutexattr_t * ret, int robust), (ret, robust), ENOTSUP, 0, 0)
CALL(int, pthread_mutexattr_setpshared, (pthread_mutexattr_t * ret, int shared), (ret, shared), ENOTSUP, 0, 0)
CALL(int, pthread_mutex_init, (pthread_mutex_t * ret, const pthread_mutexattr_t *how), (ret, how), ENOMEM, 0,
     0)

CALL(int, sqlite3_prepare_v2,
     (sqlite3 * db, const char *sql, int bytes, sqlite3_stmt **ret, const char **ret_end),
     (db, sql, bytes, ret, ret_end), (*ret = NULL, calls_code(SQLITE_IOERR_READ, SQLITE_BUSY)), EIO, EIO)
CALL(int, sqlite3_prepare_v3,
     (sqlite3 * db, const char *sql, int bytes, unsigned flags, sqlite3_stmt **ret, const char **ret_end),
     (db, sql, bytes, flags, ret, ret_end), (*ret = NULL, calls_code(SQLITE_NOMEM, SQLITE_BUSY)), EIO, EIO)
CALL(int, sqlite3_step, (sqlite3_stmt * statement), (statement), calls_code(SQLITE_IOERR_READ, SQLITE_BUSY),
     EIO, EIO)
CALL(int, sqlite3_exec,
     (sqlite3 * db, const char *sql, int (*fn)(void *, int, char **, char **), void *context,
      char **ret_message),
     (db, sql, fn, context, ret_message), calls_code(SQLITE_IOERR_READ, SQLITE_BUSY), EIO, EIO)
CALL(const unsigned char *, sqlite3_value_text, (sqlite3_value * value), (value), NULL, 0, 0)
CALL(const unsigned char *, sqlite3_column_text, (sqlite3_stmt * statement, int i), (statement, i), NULL, 0,
     0)
CALL(int, sqlite3_create_function_v2,
     (sqlite3 * db, const char *name, int arguments, int flags, void *context,
      void (*fn)(sqlite3_context *, int, sqlite3_value **),
      void (*step)(sqlite3_context *, int, sqlite3_value **), void (*final)(sqlite3_context *),
      void (*destroy)(void *)),
     (db, name, arguments, flags, context, fn, step, final, destroy), SQLITE_NOMEM, 0, 0)
CALL(int, sqlite3_wal_checkpoint_v2,
     (sqlite3 * db, const char *schema, int mode, int *ret_log, int *ret_done),
     (db, schema, mode, ret_log, ret_done), calls_code(SQLITE_IOERR_READ, SQLITE_BUSY), EIO, EIO)
CALL(int, sqlite3_open_v2, (const char *uri, sqlite3 **ret, int flags, const char *vfs),
     (uri, ret, flags, vfs), (*ret = NULL, calls_code(SQLITE_NOMEM, SQLITE_CANTOPEN)), EIO, EIO)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode) {
        return calls_fails("open", EIO, EMFILE) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode) {
        return calls_fails("openat", EIO, EMFILE) ? -1 : __real_openat(dir, path, flags, mode);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
        if (calls_fails("fsync", EIO, ENOSPC))
                return -1;
        calls.fsyncs += calls.is_armed;
        return __real_fsync(fd);
}

int __real_vasprintf(char **ret, const char *format, va_list list);
int __wrap_asprintf(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **ret, const char *format, ...) {
        va_list list;
        int n;

        if (calls_fails("asprintf", ENOMEM, ENOMEM))
                return -1;
        va_start(list, format);
        n = __real_vasprintf(ret, format, list);
        va_end(list);
        return n;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
#undef CALL
