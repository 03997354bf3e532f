/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal's tests share: a state directory of their own, writers, the best record of a
 * session as a plain number. Included by tests/unit/test_journal_*.c alone. */
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "include/baton/journal.h"

static const uint8_t fixture_instance[INSTANCE_BYTES] = "0123456789abcde";
static char fixture_state[256];

static inline void fixture_make(void) {
        const char *base = getenv("TMPDIR");

        (void) snprintf(fixture_state, sizeof fixture_state, "%s/baton-journal.XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(fixture_state), "mkdtemp: %s", strerror(errno));
}

static inline int fixture_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        (void) st;
        (void) flag;
        (void) ftw;
        return remove(path);
}

static inline void fixture_remove(void) {
        (void) nftw(fixture_state, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* STATE/journal/dest/NAME; the answer is good until the next call but one. */
static inline const char *fixture_path(const char *name) {
        static char paths[2][512];
        static unsigned turn;
        char *path = paths[turn++ % 2];

        (void) snprintf(path, sizeof paths[0], "%s/journal/dest/%s", fixture_state, name);
        return path;
}

static inline struct journal *fixture_open_as(uint32_t index, uint64_t generation, bool synced,
                                              uint64_t rotate_bytes) {
        const struct journal_config config = {
                .state_directory = fixture_state,
                .destination = "dest",
                .instance = fixture_instance,
                .worker_index = index,
                .worker_generation = generation,
                .synced = synced,
                .rotate_bytes = rotate_bytes,
        };
        struct failure failure = { 0 };
        struct journal *journal = NULL;
        int r = journal_open(&config, &journal, &failure);

        cr_assert_eq(r, 0, "journal_open: %d %s", r, failure.text);
        return journal;
}

static inline struct checkpoint fixture_checkpoint(const char *session, uint64_t epoch, uint64_t position) {
        struct checkpoint checkpoint = {
                .epoch = epoch,
                .position = position,
                .source_identity = "ino=4711;btime=1700000000.123",
                .anchor = position * 0x9E3779B97F4A7C15ULL,
                .event_count = position,
                .digest_sum = position * 0xC2B2AE3D27D4EB4FULL,
                .parked_count = position / 100,
        };

        memcpy(checkpoint.instance, fixture_instance, INSTANCE_BYTES);
        (void) snprintf(checkpoint.session, sizeof checkpoint.session, "%s", session);
        for (size_t i = 0; i < DESTINATION_STATE_BYTES; i++)
                checkpoint.destination_state[i] = (uint8_t) (position + i);
        return checkpoint;
}

static inline int fixture_append(struct journal *journal, enum journal_type type, const char *session,
                                 uint64_t epoch, uint64_t position, struct failure *ret_failure) {
        struct checkpoint checkpoint = fixture_checkpoint(session, epoch, position);

        return journal_append(journal, type, &checkpoint, ret_failure);
}

static inline void fixture_must_append(struct journal *journal, enum journal_type type, const char *session,
                                       uint64_t epoch, uint64_t position) {
        struct failure failure = { 0 };
        int r = fixture_append(journal, type, session, epoch, position, &failure);

        cr_assert_eq(r, 0, "append %s %lu: %d %s", session, (unsigned long) position, r, failure.text);
}

static inline struct journal_table *fixture_load(bool sync) {
        struct journal_table *table = NULL;
        struct failure failure = { 0 };
        int r = journal_table_load(fixture_state, "dest", fixture_instance, sync, &table, &failure);

        cr_assert_eq(r, 0, "load: %d %s", r, failure.text);
        return table;
}

/* The best position, or the (negative) error of find. */
static inline int64_t fixture_position(const struct journal_table *table, const char *session) {
        struct failure failure = { 0 };
        struct journal_entry entry;
        int r = journal_table_find(table, session, &entry, &failure);

        if (r < 0) {
                cr_assert(r == -ENOENT || failure.kind == FAILURE_STOP, "%d %s", r, failure.text);
                return r;
        }
        return (int64_t) entry.checkpoint.position;
}

static inline int64_t fixture_best(const char *session) {
        struct journal_table *table = fixture_load(false);
        int64_t position = fixture_position(table, session);

        journal_table_free(table);
        return position;
}

static inline bool fixture_exists(const char *name) {
        return access(fixture_path(name), F_OK) == 0;
}

/* How many files of the directory end so. */
static inline unsigned fixture_count(const char *suffix) {
        DIR *directory = opendir(fixture_path("."));
        unsigned count = 0;

        cr_assert_not_null(directory);
        for (struct dirent *entry; (entry = readdir(directory));) {
                size_t n = strlen(entry->d_name), m = strlen(suffix);

                count += n >= m && strcmp(entry->d_name + n - m, suffix) == 0;
        }
        (void) closedir(directory);
        return count;
}

/* A whole file in memory; the caller frees. */
static inline uint8_t *fixture_read(const char *name, size_t *ret_bytes) {
        int fd = open(fixture_path(name), O_RDONLY | O_CLOEXEC);
        struct stat st;
        uint8_t *bytes;

        cr_assert(fd >= 0 && fstat(fd, &st) == 0);
        bytes = malloc((size_t) st.st_size + 1);
        cr_assert_not_null(bytes);
        cr_assert_eq(fd_pread_all(fd, bytes, (size_t) st.st_size, 0, ret_bytes), 0);
        (void) close(fd);
        return bytes;
}

/* A new file in place of what was there: ext4 flushes a truncated one when it is closed, which takes long. */
static inline void fixture_write(const char *name, const uint8_t *bytes, size_t count) {
        int fd;

        (void) unlink(fixture_path(name));
        fd = open(fixture_path(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        cr_assert(fd >= 0);
        cr_assert_eq(fd_pwrite_all(fd, bytes, count, 0), 0);
        (void) close(fd);
}
