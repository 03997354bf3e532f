/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite, read-only, for verify and for the demo's count. Must not touch: a byte of the database; no
 * write lock, no checkpoint on close (M12). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/verify.h"

#define BUSY_MSEC 5000

int verify_database_fail(sqlite3 *database, const char *path, struct failure *ret_failure) {
        return failure_set(ret_failure, -EIO, FAILURE_UNAVAILABLE, "cannot read %s: %s", path,
                           database ? sqlite3_errmsg(database) : "out of memory");
}

void verify_database_close(sqlite3 **database) {
        (void) sqlite3_close_v2(*database);
        *database = NULL;
}

int verify_database_open(const char *path, sqlite3 **ret_database, struct failure *ret_failure) {
        _cleanup_database_ sqlite3 *database = NULL;
        int r;

        assert(path && ret_database);

        if (sqlite3_open_v2(path, &database, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
                return failure_set(ret_failure, -ENOENT, FAILURE_UNAVAILABLE, "cannot open %s: %s", path,
                                   database ? sqlite3_errmsg(database) : "out of memory");
        (void) sqlite3_busy_timeout(database, BUSY_MSEC);
        r = sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        if (r != SQLITE_OK)
                return verify_database_fail(database, path, ret_failure);
        *ret_database = TAKE(database);
        return 0;
}

int verify_database_prepare(sqlite3 *database, const char *path, const char *sql,
                            sqlite3_stmt **ret_statement, struct failure *ret_failure) {
        if (sqlite3_prepare_v2(database, sql, -1, ret_statement, NULL) != SQLITE_OK)
                return verify_database_fail(database, path, ret_failure);
        return 0;
}

static struct event_value value_at(sqlite3_stmt *row, int column) {
        struct event_value value = { .type = VALUE_NULL };

        switch (sqlite3_column_type(row, column)) {
        case SQLITE_INTEGER:
                value = (struct event_value){ .type = VALUE_INTEGER,
                                              .integer = sqlite3_column_int64(row, column) };
                break;
        case SQLITE_FLOAT:
                value = (struct event_value){ .type = VALUE_FLOAT,
                                              .real = sqlite3_column_double(row, column) };
                break;
        case SQLITE_TEXT:
                value = (struct event_value){ .type = VALUE_TEXT, .data = sqlite3_column_text(row, column) };
                value.bytes = (uint32_t) sqlite3_column_bytes(row, column);
                break;
        case SQLITE_BLOB:
                value = (struct event_value){ .type = VALUE_BLOB, .data = sqlite3_column_blob(row, column) };
                value.bytes = (uint32_t) sqlite3_column_bytes(row, column);
                break;
        }
        return value;
}

void verify_database_event(sqlite3_stmt *row, int column, struct event *ret_event) {
        ret_event->key = value_at(row, column);
        ret_event->type = value_at(row, column + 1);
        ret_event->at = value_at(row, column + 2);
        ret_event->payload = value_at(row, column + 3);
}
