/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a SQLite destination: events, parked events and checkpoints, in one read transaction.
 *
 * Events come in the order in which they were stored (rowid) where the table has one, else by
 * position. A table that does not exist holds nothing. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prove/checker/checker.h"

struct reader {
        struct check *check;
        sqlite3 *database;
        char *file;
        const char *events_table;
};

static int refuse(struct reader *reader, const char *what) {
        fprintf(stderr, "baton-checker: cannot read %s of %s: %s\n", what, reader->file,
                sqlite3_errmsg(reader->database));
        return -1;
}

/* 1 or 0; -1 where it cannot be known: what cannot be read must not pass for empty. */
static int has_object(struct reader *reader, const char *sql, const char *name) {
        sqlite3_stmt *row = NULL;
        int r = sqlite3_prepare_v2(reader->database, sql, -1, &row, NULL);

        if (r == SQLITE_OK) {
                (void) sqlite3_bind_text(row, 1, name, -1, SQLITE_STATIC);
                r = sqlite3_step(row);
        }
        if (r != SQLITE_ROW && r != SQLITE_DONE)
                (void) refuse(reader, "the schema");
        (void) sqlite3_finalize(row);
        return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : -1;
}

static int has_table(struct reader *reader, const char *name) {
        return has_object(reader, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", name);
}

static int has_rowid(struct reader *reader, const char *name) {
        int r = has_object(reader, "SELECT 1 FROM pragma_table_list WHERE name = ? AND wr = 1", name);

        return r < 0 ? r : r == 0;
}

static void add_column(struct record *record, sqlite3_stmt *row, int column, int at) {
        int class = sqlite3_column_type(row, at);
        const void *data = class == SQLITE_TEXT   ? (const void *) sqlite3_column_text(row, at)
                           : class == SQLITE_BLOB ? sqlite3_column_blob(row, at)
                                                  : NULL;
        size_t bytes = data ? (size_t) sqlite3_column_bytes(row, at) : 0;

        record_stored(record, column, class, data, bytes,
                      class == SQLITE_INTEGER ? sqlite3_column_int64(row, at) : 0,
                      class == SQLITE_FLOAT ? sqlite3_column_double(row, at) : 0);
}

/* Rows are session, position, key, type, at, payload[, reason]. */
static int read_rows(struct reader *reader, const char *sql, const char *what, bool is_parked) {
        sqlite3_stmt *row = NULL;
        int r = sqlite3_prepare_v2(reader->database, sql, -1, &row, NULL);

        while (r == SQLITE_OK || r == SQLITE_ROW) {
                struct record record = { .is_parked = is_parked };
                const char *name;

                r = sqlite3_step(row);
                if (r != SQLITE_ROW)
                        break;
                name = (const char *) sqlite3_column_text(row, 0);
                record.position = sqlite3_column_int64(row, 1);
                (void) record_digest_start(record.position);
                for (int column = 0; column < COLUMN_COUNT; column++)
                        add_column(&record, row, column, column + 2);
                if (is_parked && sqlite3_column_text(row, 6))
                        record.reason = strdup((const char *) sqlite3_column_text(row, 6));

                struct session *session = check_session(reader->check, name ? name : "",
                                                        name ? strlen(name) : 0);
                record_add(is_parked ? &session->parked : &session->found, &record);
        }
        (void) sqlite3_finalize(row);
        return r == SQLITE_DONE ? 0 : refuse(reader, what);
}

static int read_checkpoints(struct reader *reader) {
        sqlite3_stmt *row = NULL;
        int r = sqlite3_prepare_v2(reader->database,
                                   "SELECT session, position, event_count, parked_count, digest_sum"
                                   " FROM baton_checkpoint",
                                   -1, &row, NULL);

        while (r == SQLITE_OK || r == SQLITE_ROW) {
                const char *name;

                r = sqlite3_step(row);
                if (r != SQLITE_ROW)
                        break;
                name = (const char *) sqlite3_column_text(row, 0);
                struct session *session = check_session(reader->check, name ? name : "",
                                                        name ? strlen(name) : 0);
                session->checkpoint = (struct checkpoint_row){
                        .present = true,
                        .position = sqlite3_column_int64(row, 1),
                        .event_count = sqlite3_column_int64(row, 2),
                        .parked_count = sqlite3_column_int64(row, 3),
                        .digest_sum = (uint64_t) sqlite3_column_int64(row, 4),
                };
        }
        (void) sqlite3_finalize(row);
        return r == SQLITE_DONE ? 0 : refuse(reader, "table baton_checkpoint");
}

static int read_events(struct reader *reader) {
        int is_there = has_table(reader, reader->events_table), is_ordered, r;
        char *sql;

        if (is_there <= 0)
                return is_there;
        is_ordered = has_rowid(reader, reader->events_table);
        if (is_ordered < 0)
                return -1;
        sql = sqlite3_mprintf("SELECT session, position, key, type, at, payload FROM \"%w\" ORDER BY %s",
                              reader->events_table, is_ordered ? "rowid" : "session, position");
        r = read_rows(reader, sql, "the events", false);
        sqlite3_free(sql);
        return r;
}

static int read_all(struct reader *reader) {
        int r;

        if (sqlite3_exec(reader->database, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
                return refuse(reader, "anything");
        if (read_events(reader) < 0)
                return -1;
        r = has_table(reader, "baton_parked");
        if (r > 0)
                r = read_rows(reader,
                              "SELECT session, position, key, type, at, payload, reason"
                              " FROM baton_parked ORDER BY session, position",
                              "table baton_parked", true);
        if (r < 0)
                return r;
        r = has_table(reader, "baton_checkpoint");
        return r > 0 ? read_checkpoints(reader) : r;
}

int read_sqlite_destination(struct check *check) {
        struct reader reader = { .check = check, .events_table = "baton_events" };
        char *colon;
        int r = 0;

        reader.file = strdup(check->destination);
        if (!reader.file)
                return -1;
        colon = strrchr(reader.file, ':');
        if (colon && !strchr(colon, '/')) {
                *colon = '\0';
                reader.events_table = colon + 1;
        }
        if (access(reader.file, F_OK) == 0) {
                if (sqlite3_open_v2(reader.file, &reader.database, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
                        r = refuse(&reader, "anything");
                else {
                        (void) sqlite3_busy_timeout(reader.database, 10000);
                        r = read_all(&reader);
                }
                (void) sqlite3_close(reader.database);
        }
        free(reader.file);
        return r;
}
