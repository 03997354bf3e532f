/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for a hot -journal itself, with the rule that SQLite has for it: it is there, its first byte is not zero, and
 * nobody holds RESERVED. Must not touch: the database's own file (M12), the -journal but for reading. */
#include "worker/source/sqlite_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "worker/source/sqlite_db.h"

/* 0: no -journal, or one that is over. */
static int read_first(sqlite3 *db, const char *schema, uint8_t *ret_first, struct failure *ret_failure) {
        _cleanup_fd_ int fd = -1;
        char path[PATH_MAX];
        uint8_t first = 0;

        (void) snprintf(path, sizeof path, "%s-journal", sqlite3_db_filename(db, schema));
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) {
                *ret_first = 0;
                return 0;
        }
        if (fd < 0 || pread(fd, &first, 1, 0) < 0)
                return failure_set(ret_failure, -errno, failure_kind_of_errno(-errno),
                                   "%s: cannot read it: %s", path, strerror(errno));
        *ret_first = first;
        return 0;
}

static int refuse(const char *path, struct failure *ret_failure) {
        return failure_set(ret_failure, -EAGAIN, FAILURE_UNAVAILABLE,
                           "%s: an interrupted transaction is in it, which is to be rolled back first "
                           "(its -journal); trying again",
                           path);
}

int journal_refuse(sqlite3 *db, const char *schema, const char *path, struct failure *ret_failure) {
        uint8_t first = 0;
        int r;

        assert(db && schema && path);

        r = read_first(db, schema, &first, ret_failure);
        if (r < 0)
                return r;
        return first == 0 ? 0 : refuse(path, ret_failure);
}

static bool is_wal(sqlite3 *db, const char *schema) {
        return db_file(db, schema, SQLITE_FCNTL_JOURNAL_POINTER) != NULL;
}

void journal_forget_pages(sqlite3 *db, const char *schema) {
        assert(db && schema);

        if (!is_wal(db, schema))
                (void) sqlite3_db_release_memory(db);
}

/* A writer makes its -journal after it has RESERVED, and ends it before it lets go. So one that stands before and
 * after nobody had the lock is hot; or it is the next writer's, and then trying again is no harm. That of a writer that
 * lives need not be ours to read: SQLite gives it the database's mode, but not its group. */
int journal_refuse_reading(sqlite3 *db, const char *schema, const char *path, struct failure *ret_failure) {
        sqlite3_file *database;
        uint8_t first = 0;
        int is_reserved = 0;

        assert(db && schema && path);

        if (is_wal(db, schema))
                return 0;
        if (read_first(db, schema, &first, NULL) >= 0 && first == 0)
                return 0;
        database = db_file(db, schema, SQLITE_FCNTL_FILE_POINTER);
        if (database && database->pMethods->xCheckReservedLock(database, &is_reserved) == SQLITE_OK &&
            is_reserved)
                return 0;
        return journal_refuse(db, schema, path, ret_failure);
}
