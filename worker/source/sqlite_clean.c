/* SPDX-License-Identifier: Apache-2.0 */
/* Cleans a source up after its events are durable elsewhere: deletes or marks them (M4, M12, M14).
 *
 * A connection of its own, opened at the first use, that waits 5 ms for a lock and no longer, makes short
 * transactions, and neither checkpoints nor syncs in WAL mode (but for the header of a log that it begins anew): what
 * a power cut takes back of a clean-up is cleaned up again. A sync of it that fails is told as one of the source (M7). The row at the given position is never deleted; it must be there, in the same
 * transaction, or the table is not the one that was moved (M4).
 *
 *   source.K1  died after the write, before COMMIT   SQLite forgets it; cleaned again
 *   source.K2  died after COMMIT                     done; the next call finds less
 * Must not touch: rows above the position, the reading connection's transactions. Logs nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crash.h"
#include "worker/source/sqlite_journal.h"
#include "worker/source/sqlite_source.h"

static int open_writer(struct source *source, struct failure *ret_failure) {
        _cleanup_db_ sqlite3 *writer = NULL;
        struct file_id id;
        int r;

        if (source->writer)
                return 0;
        r = db_open(source->path, DB_WRITE, &source->writer_busy, &writer, &id, ret_failure);
        if (r < 0)
                return r;
        if (!file_id_is_same(&id, &source->id))
                return failure_set(ret_failure, -ESTALE, FAILURE_UNAVAILABLE,
                                   "source file %s was replaced; it is opened again before it is cleaned up",
                                   source->path);
        r = db_execute(writer, source->path, "PRAGMA cache_size = -256", ret_failure);
        if (r < 0)
                return r;
        source->writer = TAKE(writer);
        return 0;
}

/* In WAL mode NORMAL syncs nothing at a commit, so no lock is held over a sync. In rollback mode it would sync
 * the -journal once, with the count of its pages: a power cut in that sync may leave the count and a torn page,
 * which is then played back into the application's database. FULL syncs the pages first.
 *
 * Asked for each piece, because the application may change the mode. It cannot leave WAL mode while we have
 * the file open in it; a change to WAL that we have not seen yet costs one transaction with a sync. */
static int set_durability(struct source *source, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        const char *mode;
        bool is_wal;
        int r, code;

        r = db_prepare(source->writer, source->path, "PRAGMA main.journal_mode", &statement, ret_failure);
        if (r < 0)
                return r;
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW)
                return db_fail(source->writer, code, source->path, "ask for its journal mode", ret_failure);
        mode = (const char *) sqlite3_column_text(statement, 0);
        is_wal = mode && strcmp(mode, "wal") == 0;
        (void) sqlite3_reset(statement);
        return db_execute(source->writer, source->path,
                          is_wal ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", ret_failure);
}

/* Runs a query of one number with up to two parameters; *ret_found false where there is no row. */
static int query(struct source *source, sqlite3 *db, int64_t first, int64_t second, bool *ret_found,
                 int64_t *ret_number, struct failure *ret_failure, const char *sql) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r, code;

        r = db_prepare(db, source->path, sql, &statement, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_int64(statement, 1, first);
        if (sqlite3_bind_parameter_count(statement) > 1)
                (void) sqlite3_bind_int64(statement, 2, second);
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
                return db_fail(db, code, source->path, "look for what can be cleaned up", ret_failure);
        *ret_found = code == SQLITE_ROW;
        if (code == SQLITE_ROW)
                *ret_number = sqlite3_column_int64(statement, 0);
        return 0;
}

/* Finds the piece (*low, *high] of at most row_limit rows, by reading alone: no lock that hurts. */
static int find_piece(struct source *source, int64_t low, int64_t end, uint32_t row_limit, int64_t *ret_high,
                      bool *ret_more, struct failure *ret_failure) {
        const struct outbox_table *t = &source->table;
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r, code;

        r = db_prepare_format(
                source->reader, source->path, &statement, ret_failure,
                "SELECT \"%s\" FROM main.\"%s\" WHERE \"%s\" > ?1 AND \"%s\" <= ?2 ORDER BY 1 LIMIT 1 OFFSET ?3",
                t->seq, t->table, t->seq, t->seq);
        if (r < 0)
                return r;
        (void) sqlite3_bind_int64(statement, 1, low);
        (void) sqlite3_bind_int64(statement, 2, end);
        (void) sqlite3_bind_int64(statement, 3, (int64_t) row_limit - 1);
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
                return db_fail(source->reader, code, source->path, "look for what can be cleaned up",
                               ret_failure);
        *ret_high = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : end;
        *ret_more = *ret_high < end;
        return 0;
}

/* The one short transaction. `sql` has ?1 (above) and ?2 (up to). */
static int write_piece(struct source *source, const char *sql, int64_t low, int64_t high, int64_t anchor,
                       struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        char look[256];
        int64_t unused;
        bool has_anchor = false;
        int r, code;

        r = db_prepare(source->writer, source->path, sql, &statement, ret_failure);
        if (r < 0)
                return r;
        r = set_durability(source, ret_failure);
        if (r < 0)
                return r;
        r = db_execute(source->writer, source->path, "BEGIN IMMEDIATE", ret_failure);
        if (r < 0)
                return r;
        (void) snprintf(look, sizeof look, "SELECT 1 FROM main.\"%s\" WHERE \"%s\" = ?1", source->table.table,
                        source->table.seq);
        r = journal_refuse(source->writer, "main", source->path, ret_failure);
        if (r >= 0)
                r = query(source, source->writer, anchor, 0, &has_anchor, &unused, ret_failure, look);
        if (r >= 0 && !has_anchor)
                r = failure_set(
                        ret_failure, -ENOENT, FAILURE_IDENTITY,
                        "%s has no event %" PRId64
                        " any more, the last one that was moved: nothing is cleaned up; "
                        "if the table was emptied or restored on purpose, accept it with `baton adopt`",
                        source->path, anchor);
        if (r >= 0) {
                (void) sqlite3_bind_int64(statement, 1, low);
                (void) sqlite3_bind_int64(statement, 2, high);
                code = statement_run(statement);
                if (code != SQLITE_OK)
                        r = db_fail(source->writer, code, source->path, "clean it up", ret_failure);
        }
        if (r >= 0) {
                CRASH_POINT("source.K1");
                r = db_execute(source->writer, source->path, "COMMIT", ret_failure);
        }
        if (r < 0 && !sqlite3_get_autocommit(source->writer))
                (void) sqlite3_exec(source->writer, "ROLLBACK", NULL, NULL, NULL);
        if (r >= 0)
                CRASH_POINT("source.K2");
        return r;
}

/* Rows below the position; the row at it is the anchor. Rows at or below 0 were never moved. */
static int clean_by_delete(struct source *source, int64_t position, uint32_t row_limit, bool *ret_more,
                           struct failure *ret_failure) {
        char sql[512];
        int64_t first = 0, high = 0;
        bool has_rows = false, more = false;
        int r;

        (void) snprintf(sql, sizeof sql,
                        "SELECT \"%s\" FROM main.\"%s\" WHERE \"%s\" > 0 AND \"%s\" < ?1 ORDER BY 1 LIMIT 1",
                        source->table.seq, source->table.table, source->table.seq, source->table.seq);
        r = query(source, source->reader, position, 0, &has_rows, &first, ret_failure, sql);
        if (r < 0)
                return r;
        if (has_rows) {
                r = find_piece(source, 0, position - 1, row_limit, &high, &more, ret_failure);
                if (r < 0)
                        return r;
                r = open_writer(source, ret_failure);
                if (r < 0)
                        return r;
                (void) snprintf(sql, sizeof sql, "DELETE FROM main.\"%s\" WHERE \"%s\" > ?1 AND \"%s\" <= ?2",
                                source->table.table, source->table.seq, source->table.seq);
                r = write_piece(source, sql, 0, high, position, ret_failure);
                if (r < 0)
                        return r;
                more = more && sqlite3_changes(source->writer) > 0; /* a trigger may keep every row */
        }
        *ret_more = more;
        return 0;
}

/* Marking goes in order, so everything below the highest marked row is marked. */
static int find_marked(struct source *source, int64_t position, struct failure *ret_failure) {
        const struct outbox_table *t = &source->table;
        char sql[512];
        int64_t marked = 0;
        bool found = false;
        int r;

        if (source->mark_known)
                return 0;
        (void) snprintf(
                sql, sizeof sql,
                "SELECT \"%s\" FROM main.\"%s\" WHERE \"%s\" <= ?1 AND \"%s\" IS NOT NULL ORDER BY 1 DESC LIMIT 1",
                t->seq, t->table, t->seq, t->mark);
        r = query(source, source->reader, position, 0, &found, &marked, ret_failure, sql);
        if (r < 0)
                return r;
        source->mark_position = found && marked > 0 ? (uint64_t) marked : 0;
        source->mark_known = true;
        return 0;
}

static int clean_by_mark(struct source *source, int64_t position, uint32_t row_limit, bool *ret_more,
                         struct failure *ret_failure) {
        const struct outbox_table *t = &source->table;
        int64_t low, high = 0;
        char sql[512];
        bool more = false;
        int r;

        r = find_marked(source, position, ret_failure);
        if (r < 0)
                return r;
        low = (int64_t) source->mark_position;
        if (low < position) {
                r = find_piece(source, low, position, row_limit, &high, &more, ret_failure);
                if (r < 0)
                        return r;
                r = open_writer(source, ret_failure);
                if (r < 0)
                        return r;
                (void) snprintf(sql, sizeof sql,
                                "UPDATE main.\"%s\" SET \"%s\" = strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 'now') "
                                "WHERE \"%s\" > ?1 AND \"%s\" <= ?2 AND \"%s\" IS NULL",
                                t->table, t->mark, t->seq, t->seq, t->mark);
                r = write_piece(source, sql, low, high, position, ret_failure);
                if (r < 0)
                        return r;
                source->mark_position = (uint64_t) high;
        }
        *ret_more = more;
        return 0;
}

/* M7: the kernel tells of a page that it could not write to whoever syncs next, once, and that was us. */
static void clean_failed(const struct source *source, int r, const struct failure *failure,
                         struct failure *ret_failure) {
        if (failure->kind == FAILURE_SYNC)
                (void) failure_set(
                        ret_failure, r, FAILURE_SYNC,
                        "%s: a sync or a write of its clean-up failed (%.200s), so what was read there may not "
                        "survive a power cut; look at the disk (kernel log) and at the source, then run `baton adopt`",
                        source->path, failure->text);
        else if (ret_failure)
                *ret_failure = *failure;
}

int sqlite_source_clean(struct source *source, uint64_t position, uint32_t row_limit, bool *ret_more,
                        struct failure *ret_failure) {
        struct failure failure = { 0 };
        int r;

        assert(source);
        assert(row_limit > 0);
        assert(ret_more);

        if (position > INT64_MAX)
                return failure_set(ret_failure, -EBADMSG, FAILURE_STOP,
                                   "%s: position %" PRIu64
                                   " is none that SQLite can have given; the checkpoint is damaged",
                                   source->path, position);
        if (position == 0 || source->table.clean_up == CLEAN_KEEP) {
                *ret_more = false;
                return 0;
        }
        r = source->table.clean_up == CLEAN_DELETE
                    ? clean_by_delete(source, (int64_t) position, row_limit, ret_more, &failure)
                    : clean_by_mark(source, (int64_t) position, row_limit, ret_more, &failure);
        /* A -wal that SQLite could open for reading alone stays so, for good: the next piece opens it anew. */
        if (r == -EACCES)
                db_close(&source->writer);
        if (r < 0)
                clean_failed(source, r, &failure, ret_failure);
        return sqlite_source_failed(source, r);
}
