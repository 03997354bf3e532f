/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that fails on demand, under any program: preloaded (LD_PRELOAD), it stands between the program
 * with all its libraries and the C library's calls that sync, write and start a thread. SQLite's own calls go through it.
 *
 * $BATON_FAULTS names a file. While it exists, each of its lines is a rule:
 *
 *     CALL ACTION COUNT PATTERN        sync EIO 0 *\/d.db-wal
 *
 * CALL     sync: fsync, fdatasync, sync_file_range; write: write, pwrite; thread: pthread_create, of the path /thread
 * ACTION   EIO, ENOSPC: the call fails and does nothing; SEGV: it stores to a page that is not there;
 *          ABRT: it calls abort(); STALL: the call begins when the file is gone, as on a disk that does not answer
 * COUNT    only so many faults in all, 0: as long as the file exists
 * PATTERN  fnmatch() on the whole path that the descriptor leads to
 *
 * Each fault adds a byte to $BATON_FAULTS.hits before it happens, so tests can wait for it.
 * Must not touch: the heap (a signal handler may write); anything without BATON_FAULTS. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char trigger[PATH_MAX], hits[PATH_MAX + 8];

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_sync_file_range)(int, off_t, off_t, unsigned);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*) (void *), void *);

__attribute__((constructor)) static void begin(void) {
        const char *told = getenv("BATON_FAULTS");

        real_fsync = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
        real_fdatasync = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
        real_sync_file_range = (int (*)(int, off_t, off_t, unsigned)) dlsym(RTLD_NEXT, "sync_file_range");
        real_write = (ssize_t(*)(int, const void *, size_t)) dlsym(RTLD_NEXT, "write");
        real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t)) dlsym(RTLD_NEXT, "pwrite");
        real_pthread_create = (int (*)(pthread_t *, const pthread_attr_t *, void *(*) (void *),
                                       void *)) dlsym(RTLD_NEXT, "pthread_create");
        if (told && strlen(told) < sizeof(trigger)) {
                (void) snprintf(trigger, sizeof(trigger), "%s", told);
                (void) snprintf(hits, sizeof(hits), "%s.hits", told);
        }
}

/* False: the rule's number of faults is used up. */
static bool count_hit(long limit) {
        int fd = open(hits, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        struct stat status;
        bool due = fd >= 0 && fstat(fd, &status) == 0 && (limit == 0 || status.st_size < limit);

        if (due)
                due = syscall(SYS_write, fd, "!", 1) == 1;
        if (fd >= 0)
                (void) close(fd);
        return due;
}

static bool take_action(const char *action) {
        if (strcmp(action, "ABRT") == 0)
                abort();
        if (strcmp(action, "SEGV") == 0)
                *(volatile char *) mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
        if (strcmp(action, "STALL") == 0) {
                while (access(trigger, F_OK) == 0)
                        (void) usleep(1000);
                return false;
        }
        errno = strcmp(action, "ENOSPC") == 0 ? ENOSPC : EIO;
        return true;
}

/* True: the call fails with errno. */
static bool rule_applies(char *line, const char *call, const char *path) {
        char *words[4], *at = line;

        for (size_t i = 0; i < 4; i++) {
                words[i] = at;
                at += strcspn(at, " ");
                if (*at)
                        *at++ = '\0';
        }
        if (strcmp(words[0], call) != 0 || fnmatch(words[3], path, 0) != 0)
                return false;
        return count_hit(strtol(words[2], NULL, 10)) && take_action(words[1]);
}

/* fd < 0: a call without one. */
static bool is_due(int fd, const char *call) {
        char link[64], path[PATH_MAX] = "/thread", text[1024];
        int saved_errno = errno, rules;
        ssize_t bytes;

        if (!trigger[0])
                return false;
        rules = open(trigger, O_RDONLY | O_CLOEXEC);
        if (rules < 0) {
                errno = saved_errno;
                return false;
        }
        bytes = read(rules, text, sizeof(text) - 1);
        (void) close(rules);
        text[bytes > 0 ? bytes : 0] = '\0';
        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (fd >= 0) {
                bytes = readlink(link, path, sizeof(path) - 1);
                path[bytes > 0 ? bytes : 0] = '\0';
        }
        for (char *line = text, *next; *line; line = next) {
                next = line + strcspn(line, "\n");
                if (*next)
                        *next++ = '\0';
                if (rule_applies(line, call, path))
                        return true;
        }
        errno = saved_errno;
        return false;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *),
                   void *argument) {
        return is_due(-1, "thread") ? EAGAIN : real_pthread_create(thread, attributes, routine, argument);
}

int fsync(int fd) {
        return is_due(fd, "sync") ? -1 : real_fsync(fd);
}

int fdatasync(int fd) {
        return is_due(fd, "sync") ? -1 : real_fdatasync(fd);
}

int sync_file_range(int fd, off_t offset, off_t bytes, unsigned flags) {
        return is_due(fd, "sync") ? -1 : real_sync_file_range(fd, offset, bytes, flags);
}

ssize_t write(int fd, const void *data, size_t bytes) {
        return is_due(fd, "write") ? -1 : real_write(fd, data, bytes);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
        return is_due(fd, "write") ? -1 : real_pwrite(fd, data, bytes, offset);
}

/* The same function where off_t has 64 bits; SQLite calls it by this name. */
ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset) {
        return pwrite(fd, data, bytes, offset);
}
