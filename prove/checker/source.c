/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a source's outbox, or the writer's ledger, into a session's expected events.
 *
 * Opened read-only, one read transaction, closed again: the checker is a guest too (M12).
 * A source that is not there yet is an empty one. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prove/checker/checker.h"

/* "FILE[:table]": a colon with a table name behind it, and no slash, begins the table. */
static char *split_table(const char *text, const char **ret_table) {
        char *file = strdup(text), *colon = file ? strrchr(file, ':') : NULL;

        if (colon && !strchr(colon, '/')) {
                *colon = '\0';
                *ret_table = text + (colon + 1 - file);
        }
        return file;
}

static void add_row(const struct check *check, sqlite3_stmt *row, struct record_list *list) {
        struct record record = { .position = sqlite3_column_int64(row, 0),
                                 .is_poison = sqlite3_column_int(row, COLUMN_COUNT + 1) != 0 };

        (void) record_digest_start(record.position);
        for (int column = 0; column < COLUMN_COUNT; column++) {
                int class = sqlite3_column_type(row, column + 1);
                int64_t integer = class == SQLITE_INTEGER ? sqlite3_column_int64(row, column + 1) : 0;
                double real = class == SQLITE_FLOAT ? sqlite3_column_double(row, column + 1) : 0;
                const void *data = class == SQLITE_TEXT ? (const void *) sqlite3_column_text(row, column + 1)
                                   : class == SQLITE_BLOB ? sqlite3_column_blob(row, column + 1)
                                                          : NULL;
                size_t bytes = data ? (size_t) sqlite3_column_bytes(row, column + 1) : 0;

                if (check->form == FORM_STORED)
                        record_stored(&record, column, class, data, bytes, integer, real);
                else
                        record_stored_as_json(&record, column, class, data, bytes, integer, real);
        }
        record_add(list, &record);
}

static int read_table(const struct check *check, const char *file, const char *table,
                      struct record_list *list) {
        sqlite3 *database = NULL;
        sqlite3_stmt *row = NULL;
        char *sql = sqlite3_mprintf("SELECT seq, key, type, at, payload, (%s) FROM \"%w\" ORDER BY seq",
                                    check->poison ? check->poison : "0", table);
        int r;

        r = sqlite3_open_v2(file, &database, SQLITE_OPEN_READONLY, NULL);
        if (r == SQLITE_OK) {
                (void) sqlite3_busy_timeout(database, 10000);
                r = sqlite3_prepare_v2(database, sql, -1, &row, NULL);
        }
        while (r == SQLITE_OK || r == SQLITE_ROW) {
                r = sqlite3_step(row);
                if (r == SQLITE_ROW)
                        add_row(check, row, list);
        }
        if (r != SQLITE_DONE)
                fprintf(stderr, "baton-checker: cannot read table %s of %s: %s\n", table, file,
                        sqlite3_errmsg(database));
        (void) sqlite3_finalize(row);
        (void) sqlite3_close(database);
        sqlite3_free(sql);
        return r == SQLITE_DONE ? 0 : -1;
}

int read_source(struct check *check, struct session *session) {
        const char *table = "outbox";
        char *file;
        int r = 0;

        if (!session->source && !session->ledger)
                return 0;
        /* The ledger, where there is one, is complete, and the source may have been cleaned. */
        file = split_table(session->ledger ? session->ledger : session->source, &table);
        if (!file)
                return -1;
        if (access(file, F_OK) == 0)
                r = read_table(check, file, table, &session->expected);
        free(file);
        return r;
}
