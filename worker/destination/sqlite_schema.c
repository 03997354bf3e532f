/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's tables: made in one transaction, race-safe between two workers, and checked before
 * anything is written into tables that somebody else made. worker/destination/README.md explains them.
 * Must not touch: rows of sessions. Logs nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "worker/destination/sqlite_destination.h"

/* No column has a type: it would have an affinity, and '1' would come back as 1. The events table is a
 * rowid table with an index: measured faster than WITHOUT ROWID (README). */
#define EVENTS_COLUMNS "session, position, key, type, at, payload, PRIMARY KEY (session, position)"

#define CREATE_META \
        "CREATE TABLE IF NOT EXISTS main.baton_meta (name PRIMARY KEY NOT NULL, value) WITHOUT ROWID"
#define CREATE_CHECKPOINT                                                                     \
        "CREATE TABLE IF NOT EXISTS main.baton_checkpoint (session PRIMARY KEY NOT NULL, "    \
        "instance NOT NULL, epoch NOT NULL, position NOT NULL, source_identity NOT NULL, "    \
        "anchor NOT NULL, event_count NOT NULL, digest_sum NOT NULL, parked_count NOT NULL, " \
        "fence_count NOT NULL, updated_at NOT NULL) WITHOUT ROWID"
#define CREATE_PARKED                                                                          \
        "CREATE TABLE IF NOT EXISTS main.baton_parked (session, position, reason, parked_at, " \
        "epoch, key, type, at, payload, PRIMARY KEY (session, position))"

static const char *const event_columns[] = { "session", "position", "key", "type", "at", "payload" };

int schema_check_name(const char *table, struct failure *ret_failure) {
        static const char *const taken[] = { "baton_meta", "baton_checkpoint", "baton_parked" };

        assert(table);

        for (size_t i = 0; i < ELEMENTSOF(taken); i++)
                if (strcasecmp(table, taken[i]) == 0)
                        return failure_set(
                                ret_failure, -EINVAL, FAILURE_STOP,
                                "table=%s is one of Baton's own tables: choose another name for the events",
                                table);
        if (!text_is_identifier(table) || strncasecmp(table, "sqlite_", strlen("sqlite_")) == 0)
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "table=%.80s is no name that a table of events can have", table);
        return 0;
}

/* One value of baton_meta as text. *ret_found false where the row is missing. */
static int read_meta(sqlite3 *db, const char *path, const char *name, char *field, size_t field_bytes,
                     bool *ret_found, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r, code;

        r = db_prepare(db, path, "SELECT value FROM main.baton_meta WHERE name = ?1", &statement,
                       ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
                const char *text = (const char *) sqlite3_column_text(statement, 0);

                (void) snprintf(field, field_bytes, "%s", text ? text : "");
        } else if (code != SQLITE_DONE)
                return db_fail(db, code, path, "read baton_meta", ret_failure);
        *ret_found = code == SQLITE_ROW;
        return 0;
}

static bool has_table(sqlite3 *db, const char *table) {
        return sqlite3_table_column_metadata(db, "main", table, NULL, NULL, NULL, NULL, NULL, NULL) ==
               SQLITE_OK;
}

static int verify_meta(sqlite3 *db, const char *path, const char *table, struct failure *ret_failure) {
        char value[NAME_BYTES];
        uint64_t version = 0;
        bool found;
        int r;

        r = read_meta(db, path, "schema_version", value, sizeof value, &found, ret_failure);
        if (r < 0)
                return r;
        if (!found)
                return 0;
        if (text_parse_u64(value, &version) < 0 || version != SCHEMA_VERSION)
                return failure_set(
                        ret_failure, -EPROTONOSUPPORT, FAILURE_STOP,
                        "%s has tables of schema version %s, this Baton knows version %d: use the Baton that "
                        "made them, or a newer one, or another file",
                        path, value, SCHEMA_VERSION);
        r = read_meta(db, path, "events_table", value, sizeof value, &found, ret_failure);
        if (r < 0)
                return r;
        /* One checkpoint a session: two destinations in one file would share it. */
        if (found && strcasecmp(value, table) != 0)
                return failure_set(
                        ret_failure, -EINVAL, FAILURE_STOP,
                        "%s is a destination already, with the events in table %s, not %s: correct ?table= in "
                        "the url or take another file",
                        path, value, table);
        return 0;
}

/* Exactly these columns, without types, and the primary key that keeps an event from coming twice. */
static int verify_events(sqlite3 *db, const char *path, const char *table, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        bool is_ours = true;
        size_t count = 0;
        int r, code;

        r = db_prepare(db, path, "SELECT name, type, pk FROM pragma_table_xinfo(?1, 'main')", &statement,
                       ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
        for (; (code = sqlite3_step(statement)) == SQLITE_ROW; count++) {
                const char *name = (const char *) sqlite3_column_text(statement, 0);
                const char *type = (const char *) sqlite3_column_text(statement, 1);

                is_ours = is_ours && count < ELEMENTSOF(event_columns) && name && type &&
                          strcasecmp(name, event_columns[count]) == 0 &&
                          (!*type || strcasecmp(type, "BLOB") == 0) &&
                          sqlite3_column_int(statement, 2) == (count < 2 ? (int) count + 1 : 0);
        }
        if (code != SQLITE_DONE)
                return db_fail(db, code, path, "read its schema", ret_failure);
        if (count > 0 && (!is_ours || count != ELEMENTSOF(event_columns)))
                return failure_set(
                        ret_failure, -EEXIST, FAILURE_STOP,
                        "%s has a table %s that is not Baton's (wanted: %s): name another with ?table= in the "
                        "url, or rename that one",
                        path, table, EVENTS_COLUMNS);
        return 0;
}

static int verify_encoding(sqlite3 *db, const char *path, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        const char *encoding = NULL;
        int r, code;

        r = db_prepare(db, path, "PRAGMA encoding", &statement, ret_failure);
        if (r < 0)
                return r;
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW)
                return db_fail(db, code == SQLITE_DONE ? SQLITE_CORRUPT : code, path, "read its header",
                               ret_failure);
        encoding = (const char *) sqlite3_column_text(statement, 0);
        if (!encoding || strcmp(encoding, "UTF-8") != 0)
                return failure_set(
                        ret_failure, -EINVAL, FAILURE_STOP,
                        "%s stores text as %s, which cannot hold every text as it came: a destination needs "
                        "UTF-8, take another file",
                        path, encoding ? encoding : "something unknown");
        return 0;
}

int schema_verify(sqlite3 *db, const char *path, const char *table, bool *ret_is_ours,
                  struct failure *ret_failure) {
        bool is_ours;
        int r;

        assert(db);
        assert(table);

        r = verify_encoding(db, path, ret_failure);
        if (r < 0)
                return r;
        is_ours = has_table(db, "baton_meta");
        if (is_ours) {
                r = verify_meta(db, path, table, ret_failure);
                if (r < 0)
                        return r;
        }
        r = verify_events(db, path, table, ret_failure);
        if (r < 0)
                return r;
        if (ret_is_ours)
                *ret_is_ours = is_ours && has_table(db, table) && has_table(db, "baton_checkpoint") &&
                               has_table(db, "baton_parked");
        return 0;
}

static int create_tables(struct destination *destination, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        char sql[512];
        int r, code;

        r = db_execute(destination->db, destination->path,
                       CREATE_META ";" CREATE_CHECKPOINT ";" CREATE_PARKED, ret_failure);
        if (r < 0)
                return r;
        (void) snprintf(sql, sizeof sql, "CREATE TABLE IF NOT EXISTS main.\"%s\" (" EVENTS_COLUMNS ")",
                        destination->table);
        r = db_execute(destination->db, destination->path, sql, ret_failure);
        if (r < 0)
                return r;
        r = db_prepare_format(
                destination->db, destination->path, &statement, ret_failure,
                "INSERT OR IGNORE INTO main.baton_meta VALUES ('schema_version', %d), ('events_table', ?1)",
                SCHEMA_VERSION);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, destination->table, -1, SQLITE_STATIC);
        code = statement_run(statement);
        return code == SQLITE_OK ? 0 : destination_fail(destination, code, "make its tables", ret_failure);
}

/* Two workers may come here at once, and both may find nothing: only under the write lock does one see
 * what the other made. We die in it: nothing was made. */
int schema_prepare(struct destination *destination, struct failure *ret_failure) {
        bool is_ours = false;
        int r;

        assert(destination);

        r = schema_verify(destination->db, destination->path, destination->table, &is_ours, ret_failure);
        if (r < 0 || is_ours)
                return r;
        r = db_execute(destination->db, destination->path, "BEGIN IMMEDIATE", ret_failure);
        if (r < 0)
                return r;
        r = schema_verify(destination->db, destination->path, destination->table, &is_ours, ret_failure);
        if (r >= 0 && !is_ours)
                r = create_tables(destination, ret_failure);
        if (r >= 0)
                r = db_execute(destination->db, destination->path, "COMMIT", ret_failure);
        if (r < 0 && !sqlite3_get_autocommit(destination->db))
                (void) sqlite3_exec(destination->db, "ROLLBACK", NULL, NULL, NULL);
        return r;
}
