/* SPDX-License-Identifier: Apache-2.0 */
/* `baton check` of a SQLite source: says what would stop a session and what holds only in part, opens
 * read-only and makes nothing.
 *
 * In WAL mode even a reader makes -wal and -shm where they are missing. So where either is, the file is
 * opened as immutable: no lock, no file, and what stands in a -wal without -shm is not seen (the first
 * ordinary opening repairs that). Where both are there, an ordinary read-only opening makes nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/source/sqlite_guest.h"
#include "worker/source/sqlite_source.h"

#define NOTE_BYTES 2048

_printf_(2, 3) static void note_add(char note[NOTE_BYTES], const char *format, ...) {
        size_t used = strlen(note);
        va_list arguments;

        if (used > 0 && used + 3 < NOTE_BYTES) {
                memcpy(note + used, "; ", 3);
                used += 2;
        }
        va_start(arguments, format);
        (void) vsnprintf(note + used, NOTE_BYTES - used, format, arguments);
        va_end(arguments);
}

static void note_guest(const struct guest_view *view, const char *path, char note[NOTE_BYTES]) {
        if (view->shuts_out)
                note_add(
                        note,
                        "nobody has %s open, and user %u would make its -wal so that its owner (user %u) could not write "
                        "it: the session waits until the application has opened it",
                        path, (unsigned) geteuid(), (unsigned) view->owner);
        if (view->cannot_create)
                note_add(
                        note,
                        "nobody has %s open, and user %u may not make its -wal there: the session waits until the "
                        "application has opened it",
                        path, (unsigned) geteuid());
        if (!view->wal_mode)
                note_add(
                        note,
                        "%s is in rollback-journal mode: reader and writer wait for each other, and the fused path is "
                        "not used; `PRAGMA journal_mode=WAL` by its application avoids both",
                        path);
        if (view->has_wal && !view->has_shm)
                note_add(note, "%s-wal was not read: it has no -shm, which the next ordinary opening makes",
                         path);
}

static int check_rows(sqlite3 *db, const char *path, const struct outbox_table *table, char note[NOTE_BYTES],
                      struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r, code;

        r = db_prepare_format(db, path, &statement, ret_failure,
                              "SELECT 1 FROM main.\"%s\" WHERE \"%s\" <= 0 LIMIT 1", table->table,
                              table->seq);
        if (r < 0)
                return r;
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW)
                note_add(note, "rows of %s with %s <= 0 are never moved", table->table, table->seq);
        else if (code != SQLITE_DONE)
                return db_fail(db, code, path, "read it", ret_failure);
        return 0;
}

static int check_rights(const char *path, const struct outbox_table *table, struct failure *ret_failure) {
        if (table->clean_up != CLEAN_KEEP && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
                return failure_set(
                        ret_failure, -EACCES, FAILURE_STOP,
                        "clean-up=%s needs to write %s, which user %u may not: give it the right or use "
                        "clean-up=keep",
                        table->clean_up == CLEAN_DELETE ? "delete" : "mark", path, (unsigned) geteuid());
        return 0;
}

int sqlite_source_check(const struct source_config *config, char **ret_note, struct failure *ret_failure) {
        struct db_busy busy = { .limit_usec = DB_GUEST_BUSY_USEC };
        _cleanup_db_ sqlite3 *db = NULL;
        const char *path = config->url->path;
        struct outbox_table table;
        struct guest_view view;
        char note[NOTE_BYTES] = "", *copy;
        bool is_peek;
        int r;

        assert(ret_note);

        r = outbox_table_read(config, &table, ret_failure);
        if (r < 0)
                return r;
        r = guest_look(path, &view, ret_failure);
        if (r < 0)
                return r;
        note_guest(&view, path, note);
        is_peek = view.wal_mode && view.would_create;
        r = db_open(path, is_peek ? DB_PEEK : DB_READ, &busy, &db, NULL, ret_failure);
        if (r < 0)
                return r;
        r = outbox_table_verify(db, "main", path, &table, ret_failure);
        if (r < 0 && is_peek && view.has_wal) {
                failure_prefix(ret_failure, "without its -wal");
                return r;
        }
        if (r < 0)
                return r;
        r = check_rights(path, &table, ret_failure);
        if (r < 0)
                return r;
        r = check_rows(db, path, &table, note, ret_failure);
        if (r < 0)
                return r;
        copy = *note ? strdup(note) : NULL;
        if (*note && !copy)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "no memory to check %s", path);
        *ret_note = copy;
        return 0;
}
