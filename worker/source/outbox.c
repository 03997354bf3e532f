/* SPDX-License-Identifier: Apache-2.0 */
/* Makes an outbox table (`baton outbox create`). The one place that writes into an application's
 * database on a person's word. Must not touch: anything that is there already. Logs nothing. */
#include "include/baton/outbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "worker/source/sqlite_db.h"
#include "worker/source/sqlite_journal.h"

static const struct {
        const char *name, *type;
} outbox_columns[] = {
        { "seq", "INTEGER" }, { "key", "TEXT" }, { "type", "TEXT" }, { "at", "TEXT" }, { "payload", "" },
};

/* *ret_count: how many columns the table has (0: there is none); *ret_is_equal: they are these. */
static int compare(sqlite3 *db, const char *path, const char *table, int *ret_count, bool *ret_is_equal,
                   struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        bool is_equal = true;
        size_t count = 0;
        int r, code, is_autoincrement = 0;

        r = db_prepare(db, path, "SELECT name, type, pk FROM pragma_table_xinfo(?1)", &statement,
                       ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
        for (; (code = sqlite3_step(statement)) == SQLITE_ROW; count++) {
                const char *name = (const char *) sqlite3_column_text(statement, 0);
                const char *type = (const char *) sqlite3_column_text(statement, 1);

                is_equal = is_equal && count < ELEMENTSOF(outbox_columns) && name && type &&
                           strcasecmp(name, outbox_columns[count].name) == 0 &&
                           strcasecmp(type, outbox_columns[count].type) == 0 &&
                           sqlite3_column_int(statement, 2) == (count == 0);
        }
        if (code != SQLITE_DONE)
                return db_fail(db, code, path, "read its schema", ret_failure);
        if (count > 0)
                (void) sqlite3_table_column_metadata(db, "main", table, "seq", NULL, NULL, NULL, NULL,
                                                     &is_autoincrement);
        *ret_count = (int) count;
        *ret_is_equal = is_equal && count == ELEMENTSOF(outbox_columns) && is_autoincrement;
        return 0;
}

static int create_table(sqlite3 *db, const char *path, const char *table, struct failure *ret_failure) {
        char sql[512];

        (void) snprintf(
                sql, sizeof sql,
                "CREATE TABLE main.\"%s\" (seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, type TEXT, "
                "at TEXT DEFAULT (strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now')), payload)",
                table);
        return db_execute(db, path, sql, ret_failure);
}

static int create_if_missing(sqlite3 *db, const char *path, const char *table, struct failure *ret_failure) {
        int r, column_count = 0;
        bool is_equal = false;

        r = compare(db, path, table, &column_count, &is_equal, ret_failure);
        if (r < 0)
                return r;
        if (column_count == 0)
                return create_table(db, path, table, ret_failure);
        if (!is_equal)
                return failure_set(
                        ret_failure, -EEXIST, FAILURE_STOP,
                        "%s has a table %s already, with other columns than an outbox: take another name "
                        "(--table), or name its columns in the source's url",
                        path, table);
        return 0;
}

int outbox_create(const char *path, const char *table, struct failure *ret_failure) {
        struct db_busy busy = { .limit_usec = DB_OWN_BUSY_USEC };
        _cleanup_db_ sqlite3 *db = NULL;
        struct file_id id;
        bool is_new;
        int r;

        assert(path);
        assert(table);

        if (path[0] != '/' || !text_is_identifier(table) ||
            strncasecmp(table, "sqlite_", strlen("sqlite_")) == 0)
                return failure_set(
                        ret_failure, -EINVAL, FAILURE_STOP,
                        "an outbox needs an absolute path and an SQL name that needs no quotes and does not begin "
                        "with sqlite_; got %.100s and %.64s",
                        path, table);
        is_new = file_id_read(path, &id) == -ENOENT;
        r = db_open(path, DB_CREATE, &busy, &db, NULL, ret_failure);
        if (r < 0)
                return r;
        /* We are no guest here: leave one tidy file where nobody else has it open. */
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        if (is_new) {
                r = db_execute(db, path, "PRAGMA journal_mode = WAL", ret_failure);
                if (r < 0)
                        return r;
        }
        r = db_execute(db, path, "BEGIN IMMEDIATE", ret_failure);
        if (r < 0)
                return r;
        r = journal_refuse(db, "main", path, ret_failure);
        if (r >= 0)
                r = create_if_missing(db, path, table, ret_failure);
        if (r >= 0)
                r = db_execute(db, path, "COMMIT", ret_failure);
        if (r < 0 && !sqlite3_get_autocommit(db))
                (void) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return r;
}
