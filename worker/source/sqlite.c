/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite outbox as a source: opens it read-only, reads batches in the order of `seq`, and makes what
 * was read durable before it is moved (M4, M5, M11, M12).
 *
 * Between two calls nothing is held but descriptors and, in WAL mode, SQLite's shared lock on the file:
 * every statement is reset before its function returns. Must not touch: the database for writing (that is
 * sqlite_clean.c's, on a connection of its own), any file but through SQLite. Logs nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "worker/source/sqlite_guest.h"
#include "worker/source/sqlite_journal.h"
#include "worker/source/sqlite_source.h"

/* S8: many sources are open at once, each reads mostly pages that it will not need again. */
#define READER_CACHE "PRAGMA cache_size = -64"
/* Rows between two looks at the clock. */
#define DEADLINE_ROWS 64

static void source_close_sqlite(struct source *source) {
        if (!source)
                return;
        statement_finalize(&source->fetch);
        statement_finalize(&source->more);
        statement_finalize(&source->row);
        statement_finalize(&source->range);
        db_close(&source->reader);
        db_close(&source->writer);
        free(source);
}

static void source_closep(struct source **source) {
        source_close_sqlite(*source);
}

static int open_reader(struct source *source, struct failure *ret_failure) {
        int r;

        r = guest_admit(source->path, ret_failure);
        if (r < 0)
                return r;
        source->doubt_count = db_doubt_count();
        r = db_open(source->path, DB_READ, &source->reader_busy, &source->reader, &source->id, ret_failure);
        if (r < 0)
                return r;
        r = db_execute(source->reader, source->path, READER_CACHE, ret_failure);
        if (r < 0)
                return r;
        r = outbox_table_verify(source->reader, "main", source->path, &source->table, ret_failure);
        if (r < 0)
                return r;
        r = outbox_table_prepare(source->reader, "main", source->path, &source->table,
                                 "> ?1 ORDER BY 1 LIMIT ?2", &source->fetch, ret_failure);
        if (r < 0)
                return r;
        return db_prepare_format(source->reader, source->path, &source->more, ret_failure,
                                 "SELECT 1 FROM main.\"%s\" WHERE \"%s\" > ?1 LIMIT 1", source->table.table,
                                 source->table.seq);
}

static int source_open_sqlite(const struct source_config *config, struct source **ret_source,
                              struct failure *ret_failure) {
        _cleanup_(source_closep) struct source *source = NULL;
        int r;

        assert(config && config->name && config->url);
        assert(ret_source);

        source = calloc(1, sizeof *source);
        if (!source)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "source %s: out of memory",
                                   config->name);
        source->reader_busy.limit_usec = source->writer_busy.limit_usec = DB_GUEST_BUSY_USEC;
        r = text_copy(source->name, sizeof source->name, config->name);
        assert(r >= 0); /* names are bounded where they come in, and so are paths */
        r = text_copy(source->path, sizeof source->path, config->url->path);
        assert(r >= 0);
        r = outbox_table_read(config, &source->table, ret_failure);
        if (r < 0)
                return r;
        r = open_reader(source, ret_failure);
        if (r < 0)
                return r;
        *ret_source = TAKE(source);
        return 0;
}

static bool source_is_stale(struct source *source) {
        struct file_id id;

        assert(source);

        if (source->is_doubtful || source->doubt_count != db_doubt_count())
                return true;
        return file_id_read(source->path, &id) < 0 || !file_id_is_same(&id, &source->id);
}

/* M4: inode and birth of the file. The device number is left out, it may change at a boot; a backup
 * that is copied into the same file keeps both, which is what the anchor is for. */
static int source_identity(struct source *source, char ret_identity[IDENTITY_BYTES],
                           struct failure *ret_failure) {
        const struct file_id *id = &source->id;

        assert(ret_identity);

        if (source_is_stale(source))
                return failure_set(ret_failure, -ESTALE, FAILURE_UNAVAILABLE,
                                   "source file %s was replaced or removed; opening it again", source->path);
        memset(ret_identity, 0, IDENTITY_BYTES);
        if (id->born_sec < 0)
                (void) snprintf(ret_identity, IDENTITY_BYTES, "ino=%" PRIu64 ";btime=-", id->inode);
        else
                (void) snprintf(ret_identity, IDENTITY_BYTES, "ino=%" PRIu64 ";btime=%" PRId64 ".%09" PRIu32,
                                id->inode, id->born_sec, id->born_nsec);
        return 0;
}

int sqlite_source_failed(struct source *source, int r) {
        source->is_doubtful |= r == -EACCES || r == -EPROTO;
        return r;
}

/* What looks like damage may be a transaction that is half written, and undone by whoever opens it next. */
static int fail(struct source *source, int code, struct failure *ret_failure) {
        int r = db_fail(source->reader, code, source->path, "read it", ret_failure), hot = 0;

        if ((code & 0xff) == SQLITE_CORRUPT)
                hot = journal_refuse_reading(source->reader, "main", source->path, ret_failure);
        return hot < 0 ? hot : sqlite_source_failed(source, r);
}

/* A position that came from a checkpoint, so from a disk: input. */
static int bind_position(struct source *source, sqlite3_stmt *statement, uint64_t position,
                         struct failure *ret_failure) {
        if (position > INT64_MAX)
                return failure_set(ret_failure, -EBADMSG, FAILURE_STOP,
                                   "%s: position %" PRIu64
                                   " is none that SQLite can have given; the checkpoint is damaged",
                                   source->path, position);
        (void) sqlite3_bind_int64(statement, 1, (int64_t) position);
        return 0;
}

static int source_anchor(struct source *source, uint64_t position, uint64_t *ret_digest,
                         struct failure *ret_failure) {
        struct event event;
        uint64_t digest = 0;
        int r, code, hot = 0;

        assert(ret_digest);

        if (!source->row) {
                r = outbox_table_prepare(source->reader, "main", source->path, &source->table, "= ?1",
                                         &source->row, ret_failure);
                if (r < 0)
                        return r;
        }
        r = bind_position(source, source->row, position, ret_failure);
        if (r < 0)
                return r;
        journal_forget_pages(source->reader, "main");
        code = sqlite3_step(source->row);
        r = 0;
        if (code == SQLITE_ROW) {
                r = event_from_row(source->row, &event);
                if (r >= 0)
                        digest = event_digest(&event);
        }
        if (r >= 0)
                hot = journal_refuse_reading(source->reader, "main", source->path, ret_failure);
        (void) sqlite3_reset(source->row);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "%s: out of memory", source->path);
        if (hot < 0)
                return hot;
        if (code == SQLITE_DONE)
                return failure_set(ret_failure, -ENOENT, FAILURE_IDENTITY,
                                   "%s has no event %" PRIu64
                                   " any more, the last one that was moved: the table was "
                                   "emptied or restored; if that is meant, accept it with `baton adopt`",
                                   source->path, position);
        if (code != SQLITE_ROW)
                return fail(source, code, ret_failure);
        *ret_digest = digest;
        return 0;
}

static int source_has_more(struct source *source, uint64_t after, bool *ret_more,
                           struct failure *ret_failure) {
        struct wal_index before;
        int r, code;

        assert(source);
        assert(ret_more);

        before = wal_index_read(source->reader, "main");
        source->quiet.is_known = false;
        r = bind_position(source, source->more, after, ret_failure);
        if (r < 0)
                return r;
        /* M5: without AUTOINCREMENT SQLite now takes free numbers at random, below it. */
        if (after == INT64_MAX)
                return failure_set(
                        ret_failure, -EOVERFLOW, FAILURE_STOP,
                        "%s: table %s holds seq %" PRId64
                        ", the highest there is, and it is moved: no later event can have a higher one. "
                        "Give the application a new table and the source a new name",
                        source->path, source->table.table, INT64_MAX);
        journal_forget_pages(source->reader, "main");
        code = sqlite3_step(source->more);
        (void) sqlite3_reset(source->more);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
                return fail(source, code, ret_failure);
        *ret_more = code == SQLITE_ROW;
        if (code == SQLITE_DONE)
                source->quiet = before;
        return 0;
}

/* Nothing was committed since the last look that found nothing. */
static bool source_is_quiet(struct source *source) {
        struct wal_index now;

        assert(source);

        if (!source->quiet.is_known)
                return false;
        now = wal_index_read(source->reader, "main");
        return wal_index_is_same(&source->quiet, &now);
}

/* In rollback mode a commit is the end of the -journal, which is a file that is watched. */
static bool source_is_settled(struct source *source) {
        assert(source);

        if (!db_file(source->reader, "main", SQLITE_FCNTL_JOURNAL_POINTER))
                return true;
        return source_is_quiet(source) && wal_is_settled(source->reader, &source->quiet);
}

/* Adds the statement's current row. 0, -E2BIG (a limit: the row is left for the next batch), -ENOMEM. */
static int add_row(struct source *source, const struct batch_limits *limits, struct event_batch *batch,
                   size_t first, uint64_t before_bytes) {
        struct event event;
        size_t count = batch->event_count - first;
        int r;

        if (count >= limits->rows)
                return -E2BIG;
        if (count > 0 && count % DEADLINE_ROWS == 0 && clock_usec() >= limits->deadline_usec)
                return -E2BIG;
        r = event_from_row(source->fetch, &event);
        if (r < 0)
                return r;
        if (count > 0 && batch->payload_bytes - before_bytes + event_bytes(&event) > limits->bytes)
                return -E2BIG;
        return event_batch_add(batch, &event);
}

static int source_fetch(struct source *source, uint64_t after, const struct batch_limits *limits,
                        struct event_batch *batch, bool *ret_more, struct failure *ret_failure) {
        size_t first = batch->event_count;
        uint64_t before_bytes = batch->payload_bytes;
        int r, code, hot = 0;

        assert(source);
        assert(limits && limits->rows > 0);
        assert(ret_more);

        r = bind_position(source, source->fetch, after, ret_failure);
        if (r < 0)
                return r;
        /* One row more than wanted tells whether there is more; only its key is looked at. */
        (void) sqlite3_bind_int64(source->fetch, 2, (int64_t) limits->rows + 1);
        journal_forget_pages(source->reader, "main");
        code = sqlite3_step(source->fetch);
        /* Now, under the lock: with it nobody undoes, or does, what we read. */
        if (code == SQLITE_ROW)
                hot = journal_refuse_reading(source->reader, "main", source->path, ret_failure);
        while (hot >= 0 && code == SQLITE_ROW) {
                r = add_row(source, limits, batch, first, before_bytes);
                if (r < 0)
                        break;
                code = sqlite3_step(source->fetch);
        }
        (void) sqlite3_reset(source->fetch);

        if (hot < 0)
                return hot;
        if (r == -ENOMEM)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "%s: out of memory for an event",
                                   source->path);
        if (r < 0 && r != -E2BIG)
                return failure_set(ret_failure, r, FAILURE_STOP, "%s: cannot batch: %s", source->path,
                                   strerror(-r));
        if (code != SQLITE_ROW && code != SQLITE_DONE)
                return fail(source, code, ret_failure);
        *ret_more = code == SQLITE_ROW;
        return 0;
}

static int source_sync(struct source *source, struct failure *ret_failure) {
        assert(source);

        return durability_sync(source->reader, "main", source->path, &source->durability, ret_failure);
}

static enum clean_up source_clean_up(struct source *source) {
        assert(source);

        return source->table.clean_up;
}

const struct source_ops source_sqlite_ops = {
        .scheme = "sqlite",
        .open = source_open_sqlite,
        .close = source_close_sqlite,
        .identity = source_identity,
        .is_stale = source_is_stale,
        .anchor = source_anchor,
        .range = sqlite_source_range,
        .has_more = source_has_more,
        .is_quiet = source_is_quiet,
        .is_settled = source_is_settled,
        .fetch = source_fetch,
        .sync = source_sync,
        .lag = sqlite_source_lag,
        .clean = sqlite_source_clean,
        .clean_up = source_clean_up,
        .watch = sqlite_source_watch,
        .check = sqlite_source_check,
};
