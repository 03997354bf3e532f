/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that a table is an outbox (M5: `seq` is the rowid; clean-up by delete needs AUTOINCREMENT),
 * and reads its rows as events. Must not touch: anything but by SELECT and metadata. Logs nothing. */
#include "worker/source/sqlite_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "worker/source/sqlite_db.h"

static int read_name(const struct source_config *config, const char *key, char field[NAME_BYTES],
                     struct failure *ret_failure) {
        const char *text = option_text(config->scheme, config->url, key);
        int r;

        r = text_copy(field, NAME_BYTES, text ? text : "");
        if (r < 0 || !text_is_identifier(field))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "option %s of source %s is no SQL name of at most %d characters", key,
                                   config->name, NAME_BYTES - 1);
        return 0;
}

int outbox_table_read(const struct source_config *config, struct outbox_table *ret_table,
                      struct failure *ret_failure) {
        struct outbox_table table = { 0 };
        const struct {
                const char *key;
                char *field;
        } names[] = {
                { "table", table.table }, { "seq", table.seq }, { "key", table.key },
                { "type", table.type },   { "at", table.at },   { "payload", table.payload },
                { "mark", table.mark },
        };
        const char *clean_up;
        int r;

        assert(config && config->url && config->scheme);
        assert(ret_table);

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                r = read_name(config, names[i].key, names[i].field, ret_failure);
                if (r < 0)
                        return r;
        }
        clean_up = option_text(config->scheme, config->url, "clean-up");
        table.clean_up = strcmp(clean_up, "delete") == 0 ? CLEAN_DELETE
                         : strcmp(clean_up, "mark") == 0 ? CLEAN_MARK
                                                         : CLEAN_KEEP;
        *ret_table = table;
        return 0;
}

/* Runs a query of one number. */
static int query_number(sqlite3 *db, const char *path, const char *sql, const char *argument,
                        int64_t *ret_number, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int code;

        code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
        if (code == SQLITE_OK && argument)
                code = sqlite3_bind_text(statement, 1, argument, -1, SQLITE_STATIC);
        if (code == SQLITE_OK)
                code = sqlite3_step(statement);
        if (code != SQLITE_ROW)
                return db_fail(db, code == SQLITE_DONE ? SQLITE_CORRUPT : code, path, "read its schema",
                               ret_failure);
        *ret_number = sqlite3_column_int64(statement, 0);
        return 0;
}

/* No such table: an empty database is one that its application is just making. */
static int refuse_table(sqlite3 *db, const char *schema, const char *path, const struct outbox_table *table,
                        struct failure *ret_failure) {
        int64_t table_count;
        char sql[128];
        int r;

        (void) snprintf(sql, sizeof sql, "SELECT count(*) FROM %s.sqlite_schema", schema);
        r = query_number(db, path, sql, NULL, &table_count, ret_failure);
        if (r < 0)
                return r;
        if (table_count == 0)
                return failure_set(
                        ret_failure, -ENOENT, FAILURE_UNAVAILABLE,
                        "%s is an empty database; waiting for its table %s (`baton outbox create` makes one)",
                        path, table->table);
        return failure_set(
                ret_failure, -EINVAL, FAILURE_STOP,
                "%s has no table %s: correct ?table= in the url, or make it with `baton outbox create`", path,
                table->table);
}

static int refuse_column(const char *path, const struct outbox_table *table, const char *option,
                         const char *column, struct failure *ret_failure) {
        return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                           "table %s in %s has no column %s: correct the url (%s=COLUMN) or add the column",
                           table->table, path, column, option);
}

static bool has_column(sqlite3 *db, const char *schema, const char *table, const char *column) {
        return sqlite3_table_column_metadata(db, schema, table, column, NULL, NULL, NULL, NULL, NULL) ==
               SQLITE_OK;
}

/* M5: SQLite hands out rowids in the order of commits, one writer at a time. Only `INTEGER PRIMARY KEY`
 * is the rowid: INT, DESC, two columns or WITHOUT ROWID give the key an index of its own. */
static int verify_seq(sqlite3 *db, const char *schema, const char *path, const struct outbox_table *table,
                      struct failure *ret_failure) {
        const char *type = NULL;
        int code, is_key = 0, is_autoincrement = 0;
        int64_t index_count;
        char sql[128];
        int r;

        code = sqlite3_table_column_metadata(db, schema, table->table, table->seq, &type, NULL, NULL, &is_key,
                                             &is_autoincrement);
        if (code == SQLITE_ERROR)
                return refuse_column(path, table, "seq", table->seq, ret_failure);
        if (code != SQLITE_OK)
                return db_fail(db, code, path, "read its schema", ret_failure);

        (void) snprintf(sql, sizeof sql,
                        "SELECT count(*) FROM pragma_index_list(?1, '%s') WHERE origin = 'pk'", schema);
        r = query_number(db, path, sql, table->table, &index_count, ret_failure);
        if (r < 0)
                return r;
        if (!is_key || !type || strcasecmp(type, "INTEGER") != 0 || index_count > 0)
                return failure_set(
                        ret_failure, -EINVAL, FAILURE_STOP,
                        "column %s of table %s in %s is no INTEGER PRIMARY KEY, so its order is not the "
                        "order of commits: declare it `%s INTEGER PRIMARY KEY AUTOINCREMENT`",
                        table->seq, table->table, path, table->seq);
        if (table->clean_up == CLEAN_DELETE && !is_autoincrement)
                return failure_set(
                        ret_failure, -EINVAL, FAILURE_STOP,
                        "table %s in %s: clean-up=delete needs AUTOINCREMENT, else SQLite gives the numbers "
                        "of deleted rows away again: declare %s with it, or use clean-up=keep",
                        table->table, path, table->seq);
        return 0;
}

static int verify_mark(sqlite3 *db, const char *schema, const char *path, const struct outbox_table *table,
                       struct failure *ret_failure) {
        const char *const moved[] = { table->seq, table->key, table->type, table->at, table->payload };

        if (table->clean_up != CLEAN_MARK)
                return 0;
        if (!has_column(db, schema, table->table, table->mark))
                return refuse_column(path, table, "mark", table->mark, ret_failure);
        for (size_t i = 0; i < ELEMENTSOF(moved); i++)
                if (strcasecmp(moved[i], table->mark) == 0)
                        return failure_set(
                                ret_failure, -EINVAL, FAILURE_STOP,
                                "source %s: mark=%s is a column that is moved as well, and marking would "
                                "change the event: name a column of its own",
                                path, table->mark);
        return 0;
}

int outbox_table_verify(sqlite3 *db, const char *schema, const char *path, const struct outbox_table *table,
                        struct failure *ret_failure) {
        const struct {
                const char *option, *column;
        } columns[] = {
                { "key", table->key },
                { "type", table->type },
                { "at", table->at },
                { "payload", table->payload },
        };
        int64_t found;
        char sql[128];
        int r;

        assert(db);
        assert(schema);

        /* The first statement that reads the file: "not a database" comes up here. */
        (void) snprintf(
                sql, sizeof sql,
                "SELECT count(*) FROM %s.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE",
                schema);
        r = query_number(db, path, sql, table->table, &found, ret_failure);
        if (r < 0)
                return r;
        if (found == 0)
                return refuse_table(db, schema, path, table, ret_failure);

        r = verify_seq(db, schema, path, table, ret_failure);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(columns); i++)
                if (!has_column(db, schema, table->table, columns[i].column))
                        return refuse_column(path, table, columns[i].option, columns[i].column, ret_failure);
        return verify_mark(db, schema, path, table, ret_failure);
}

int outbox_table_prepare(sqlite3 *db, const char *schema, const char *path, const struct outbox_table *table,
                         const char *tail, sqlite3_stmt **ret_statement, struct failure *ret_failure) {
        return db_prepare_format(
                db, path, ret_statement, ret_failure,
                "SELECT \"%s\", \"%s\", \"%s\", \"%s\", \"%s\" FROM %s.\"%s\" WHERE \"%s\" %s", table->seq,
                table->key, table->type, table->at, table->payload, schema, table->table, table->seq, tail);
}

int event_value_from(sqlite3_value *value, struct event_value *ret_value) {
        const void *data;

        switch (sqlite3_value_type(value)) {
        case SQLITE_TEXT:
                data = sqlite3_value_text(value); /* before the length: it may convert from UTF-16 */
                if (!data)
                        return -ENOMEM;
                ret_value->type = VALUE_TEXT;
                ret_value->data = data;
                ret_value->bytes = (uint32_t) sqlite3_value_bytes(value);
                return 0;
        case SQLITE_BLOB:
                data = sqlite3_value_blob(value);
                ret_value->bytes = (uint32_t) sqlite3_value_bytes(value);
                if (!data && ret_value->bytes > 0)
                        return -ENOMEM;
                ret_value->type = VALUE_BLOB;
                ret_value->data = data ? data : ""; /* an empty blob is no NULL */
                return 0;
        case SQLITE_INTEGER:
                *ret_value = (struct event_value){ .type = VALUE_INTEGER,
                                                   .integer = sqlite3_value_int64(value) };
                return 0;
        case SQLITE_FLOAT:
                *ret_value = (struct event_value){ .type = VALUE_FLOAT, .real = sqlite3_value_double(value) };
                return 0;
        default:
                *ret_value = (struct event_value){ .type = VALUE_NULL };
                return 0;
        }
}

int event_from_row(sqlite3_stmt *statement, struct event *ret_event) {
        int r;

        assert(statement);
        assert(ret_event);

        ret_event->position = (uint64_t) sqlite3_column_int64(statement, 0);
        r = event_value_from(sqlite3_column_value(statement, 1), &ret_event->key);
        if (r >= 0)
                r = event_value_from(sqlite3_column_value(statement, 2), &ret_event->type);
        if (r >= 0)
                r = event_value_from(sqlite3_column_value(statement, 3), &ret_event->at);
        if (r >= 0)
                r = event_value_from(sqlite3_column_value(statement, 4), &ret_event->payload);
        return r;
}
