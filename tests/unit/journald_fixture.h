/* SPDX-License-Identifier: Apache-2.0 */
/* A socket that stands where journald's is, in a mount namespace of the test's own, and all that is sent to it.
 * Must not touch: the machine's /run. */
#pragma once

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define ENTRY_BYTES 4096
#define ENTRY_COUNT_MAX 512

static int journald_fd = -1;
static pthread_t journald_thread;
static char entries[ENTRY_COUNT_MAX]
                   [ENTRY_BYTES]; /* "FIELD=value\n", one behind the other; after journald_end() */
static size_t entry_count;

static const struct sockaddr_un journald_address = { .sun_family = AF_UNIX,
                                                     .sun_path = "/run/systemd/journal/socket" };

/* Reads as they come: journald's clients wait while its queue is full. */
static inline void *journald_main(void *unused) {
        (void) unused;
        while (entry_count < ENTRY_COUNT_MAX) {
                ssize_t bytes = recv(journald_fd, entries[entry_count], ENTRY_BYTES - 1, 0);

                if (bytes <= 0 || memcmp(entries[entry_count], "END", 3) == 0)
                        break;
                entries[entry_count++][bytes] = '\0';
        }
        return NULL;
}

/* stderr becomes journald's stream, and log lines go to the socket. False, with errno: it may not be done here. */
static inline bool journald_begin(void) {
        struct stat status;
        char stream[64];

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0)
                return false;
        cr_assert_eq(mkdir("/run/systemd", 0755), 0);
        cr_assert_eq(mkdir("/run/systemd/journal", 0755), 0);
        journald_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        cr_assert_geq(journald_fd, 0);
        cr_assert_eq(bind(journald_fd, (const struct sockaddr *) &journald_address, sizeof journald_address),
                     0);
        cr_assert_eq(pthread_create(&journald_thread, NULL, journald_main, NULL), 0);
        cr_assert_eq(fstat(STDERR_FILENO, &status), 0);
        (void) snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long) status.st_dev,
                        (unsigned long long) status.st_ino);
        (void) setenv("JOURNAL_STREAM", stream, 1);
        log_init("batond");
        return true;
}

#define JOURNALD_BEGIN()                                                                                 \
        do {                                                                                             \
                if (!journald_begin())                                                                   \
                        cr_skip_test("no mount namespace of its own (%s): needs root", strerror(errno)); \
        } while (0)

/* All that was sent before stands in `entries`. */
static inline void journald_end(void) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        cr_assert_eq(sendto(fd, "END", 3, 0, (const struct sockaddr *) &journald_address,
                            sizeof journald_address),
                     3);
        (void) close(fd);
        cr_assert_eq(pthread_join(journald_thread, NULL), 0);
        cr_assert_lt(entry_count, ENTRY_COUNT_MAX);
}

/* The value in a buffer that the next call overwrites, or NULL. */
static inline const char *entry_field(const char *entry, const char *name) {
        static char value[ENTRY_BYTES];
        size_t length = strlen(name);

        for (const char *p = entry; *p; p = strchr(p, '\n') + 1) {
                cr_assert_not_null(strchr(p, '\n'), "%s", entry);
                if (strncmp(p, name, length) != 0 || p[length] != '=')
                        continue;
                (void) snprintf(value, sizeof value, "%.*s", (int) strcspn(p + length + 1, "\n"),
                                p + length + 1);
                return value;
        }
        return NULL;
}

static inline bool entry_has(const char *entry, const char *name, const char *value) {
        const char *found = entry_field(entry, name);

        return found && strcmp(found, value) == 0;
}

static inline uint32_t entry_field_count(const char *entry) {
        uint32_t count = 0;

        for (const char *p = entry; (p = strchr(p, '\n')); p++)
                count++;
        return count;
}
