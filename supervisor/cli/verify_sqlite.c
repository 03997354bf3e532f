/* SPDX-License-Identifier: Apache-2.0 */
/* A SQLite destination as verify reads it: checkpoint, events and parked events of one session in one
 * read transaction that begins before the source is looked at, so that a mover at work cannot make a
 * difference. Must not touch: a byte of the database. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/verify.h"

struct reader {
        sqlite3 *database;
        const char *path, *table, *session;
};

static void statement_finalize(sqlite3_stmt **statement) {
        (void) sqlite3_finalize(*statement);
}
#define _cleanup_statement_ _cleanup_(statement_finalize)

static int has_table(const struct reader *reader, const char *table, bool *ret_has,
                     struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r;

        r = verify_database_prepare(reader->database, reader->path,
                                    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
                                    &statement, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
        r = sqlite3_step(statement);
        if (r != SQLITE_ROW && r != SQLITE_DONE)
                return verify_database_fail(reader->database, reader->path, ret_failure);
        *ret_has = r == SQLITE_ROW;
        return 0;
}

static int read_checkpoint(const struct reader *reader, struct verify_checkpoint *ret_checkpoint,
                           struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r;

        r = verify_database_prepare(
                reader->database, reader->path,
                "SELECT position, event_count, digest_sum, parked_count FROM baton_checkpoint "
                "WHERE session = ?",
                &statement, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, reader->session, -1, SQLITE_STATIC);
        r = sqlite3_step(statement);
        if (r == SQLITE_ROW)
                *ret_checkpoint = (struct verify_checkpoint){
                        .is_there = true,
                        .position = (uint64_t) sqlite3_column_int64(statement, 0),
                        .event_count = (uint64_t) sqlite3_column_int64(statement, 1),
                        .digest_sum = (uint64_t) sqlite3_column_int64(statement, 2),
                        .parked_count = (uint64_t) sqlite3_column_int64(statement, 3),
                };
        return r == SQLITE_ROW || r == SQLITE_DONE
                       ? 0
                       : verify_database_fail(reader->database, reader->path, ret_failure);
}

static bool value_is_same(const struct event_value *a, const struct event_value *b) {
        if (a->type != b->type)
                return false;
        if (a->type == VALUE_INTEGER || a->type == VALUE_FLOAT)
                return memcmp(&a->integer, &b->integer, sizeof(a->integer)) == 0;
        return a->type == VALUE_NULL ||
               (a->bytes == b->bytes && (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0));
}

/* To the last byte, and to the storage class. */
static bool event_is_same(const struct verify_arrival *arrival, const struct event *event) {
        return value_is_same(&arrival->event->key, &event->key) &&
               value_is_same(&arrival->event->type, &event->type) &&
               value_is_same(&arrival->event->at, &event->at) &&
               value_is_same(&arrival->event->payload, &event->payload);
}

/* Rows of the session by position; the last column is the row's number in the order of insertion, or
 * NULL in a table that has none. */
static int prepare_rows(const struct reader *reader, const char *table, sqlite3_stmt **ret_statement,
                        struct failure *ret_failure) {
        struct failure ignored = {};
        char sql[512];

        (void) snprintf(sql, sizeof(sql),
                        "SELECT position, key, type, at, payload, rowid FROM \"%s\" "
                        "WHERE session = ? ORDER BY position, rowid",
                        table);
        if (verify_database_prepare(reader->database, reader->path, sql, ret_statement, &ignored) == 0)
                return 0;
        (void) snprintf(sql, sizeof(sql),
                        "SELECT position, key, type, at, payload, NULL FROM \"%s\" "
                        "WHERE session = ? ORDER BY position",
                        table);
        return verify_database_prepare(reader->database, reader->path, sql, ret_statement, ret_failure);
}

static int read_rows(const struct reader *reader, const char *table, bool is_parked,
                     struct verify_compare *compare, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        sqlite3_int64 row_number, row_number_highest = INT64_MIN;
        int r, step;

        r = prepare_rows(reader, table, &statement, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, reader->session, -1, SQLITE_STATIC);
        while ((step = sqlite3_step(statement)) == SQLITE_ROW) {
                struct event event = { .position = (uint64_t) sqlite3_column_int64(statement, 0) };
                struct verify_arrival arrival = {
                        .position = event.position,
                        .is_parked = is_parked,
                        .is_same = event_is_same,
                        .event = &event,
                };

                verify_database_event(statement, 1, &event);
                arrival.digest = verify_digest(&event);
                r = verify_compare_arrive(compare, &arrival, ret_failure);
                if (r < 0)
                        return r;
                if (is_parked || sqlite3_column_type(statement, 5) == SQLITE_NULL)
                        continue;
                row_number = sqlite3_column_int64(statement, 5);
                if (row_number < row_number_highest)
                        verify_compare_out_of_order(compare, event.position);
                else
                        row_number_highest = row_number;
        }
        return step == SQLITE_DONE ? 0 : verify_database_fail(reader->database, reader->path, ret_failure);
}

static int read_session(const struct reader *reader, struct verify_source *source,
                        struct verify_result *ret_result, struct failure *ret_failure) {
        struct verify_checkpoint checkpoint = {};
        struct verify_compare *compare;
        bool has_events, has_parked, has_checkpoint;
        int r;

        r = has_table(reader, reader->table, &has_events, ret_failure);
        if (r >= 0)
                r = has_table(reader, "baton_parked", &has_parked, ret_failure);
        if (r >= 0)
                r = has_table(reader, "baton_checkpoint", &has_checkpoint, ret_failure);
        if (r >= 0 && has_checkpoint)
                r = read_checkpoint(reader, &checkpoint, ret_failure);
        if (r < 0)
                return r;
        compare = verify_compare_new(source, &checkpoint, true);
        if (has_events)
                r = read_rows(reader, reader->table, false, compare, ret_failure);
        if (r >= 0 && has_parked)
                r = read_rows(reader, "baton_parked", true, compare, ret_failure);
        if (r >= 0)
                r = verify_compare_end(compare, ret_result, ret_failure);
        verify_compare_free(compare);
        return r;
}

int verify_sqlite(const struct url *url, const struct scheme *scheme, const char *session,
                  struct verify_source *source, struct verify_result *ret_result,
                  struct failure *ret_failure) {
        _cleanup_database_ sqlite3 *database = NULL;
        struct reader reader = { .path = url->path,
                                 .table = option_text(scheme, url, "table"),
                                 .session = session };
        int r;

        r = verify_database_open(url->path, &database, ret_failure);
        if (r < 0)
                return r;
        reader.database = database;
        if (sqlite3_exec(database, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
                return verify_database_fail(database, url->path, ret_failure);
        r = read_session(&reader, source, ret_result, ret_failure);
        (void) sqlite3_exec(database, "ROLLBACK", NULL, NULL, NULL);
        return r;
}
