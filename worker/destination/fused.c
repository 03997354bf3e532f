/* SPDX-License-Identifier: Apache-2.0 */
/* The fused path (M13): source and destination are both SQLite, so one INSERT … SELECT moves a chunk of
 * events over a source that is attached read-only. The result is the row path's to the last byte.
 *
 * The function baton_event() is evaluated once for each row that is inserted, in the order of `seq`
 * (EXPLAIN shows a coroutine over the source's rowid, no sorter). It returns the position and adds the
 * event's digest, bytes and count to the move that is going on. It raises an error on the row that would
 * exceed batch-bytes: SQLite then undoes the whole statement, and the rows that fit are inserted again.
 *
 * Guarantees kept here: the source is attached with mode=ro, so no lock of ours hinders its writer (M12);
 * only in WAL mode, because in rollback mode our read lock would hold its commits up until ours; and the
 * anchor is compared before each move (M4), for another file may have come to the path, or a backup into the
 * file. A failure never says which event is to blame: the caller takes the row path, which can.
 *
 * Must not touch: the source for writing; ATTACH or DETACH inside a transaction. Logs nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "worker/destination/sqlite_destination.h"
#include "worker/source/sqlite_durability.h"
#include "worker/source/sqlite_guest.h"
#include "worker/source/sqlite_table.h"

/* Rows of one statement: about 2 ms, so that pings are answered and batch-time is kept (S3). */
#define CHUNK_ROWS_MAX 1024
/* Bytes of one statement, as far as the average says. */
#define CHUNK_BYTES_MAX (1U << 20)
/* Before anything is known about a source's events. */
#define AVERAGE_BYTES_FIRST 1024
#define SOURCE_CACHE_KIB 256

struct fused {
        struct destination_session *session;
        unsigned slot; /* "src0" … "src9" */
        char schema[8];
        char path[URL_BYTES];
        struct file_id id;
        struct durability durability;
        struct outbox_table table;
        sqlite3_stmt *move, *row;
        uint64_t average_bytes; /* of an event, from the last chunk */
};

struct fused_run {
        struct moved moved;
        uint64_t bytes_max;
        bool overshot; /* the next event would have exceeded bytes_max */
};

/* ---- the function ---------------------------------------------------------------------------- */

static void baton_event(sqlite3_context *context, int count, sqlite3_value **values) {
        struct destination *destination = sqlite3_user_data(context);
        struct fused_run *run = destination->run;
        struct event event;
        uint64_t bytes;

        assert(count == 5);

        if (!run) { /* not callable from a schema (DIRECTONLY), and we call it in fused_move() alone */
                sqlite3_result_error(context, "baton_event() is Baton's own", -1);
                return;
        }
        event.position = (uint64_t) sqlite3_value_int64(values[0]);
        if (event_value_from(values[1], &event.key) < 0 || event_value_from(values[2], &event.type) < 0 ||
            event_value_from(values[3], &event.at) < 0 || event_value_from(values[4], &event.payload) < 0) {
                sqlite3_result_error_nomem(context);
                return;
        }
        bytes = event_bytes(&event);
        if (run->moved.event_count > 0 && run->moved.payload_bytes + bytes > run->bytes_max) {
                run->overshot = true;
                sqlite3_result_error(context, "batch-bytes", -1);
                return;
        }
        run->moved.last_position = event.position;
        run->moved.last_digest = event_digest(&event);
        run->moved.digest_sum += run->moved.last_digest;
        run->moved.payload_bytes += bytes;
        run->moved.event_count++;
        sqlite3_result_int64(context, (int64_t) event.position);
}

int fused_register(struct destination *destination, struct failure *ret_failure) {
        int code;

        assert(destination);

        code = sqlite3_create_function_v2(destination->db, "baton_event", 5, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                          destination, baton_event, NULL, NULL, NULL);
        return code == SQLITE_OK ? 0
                                 : destination_fail(destination, code, "register a function", ret_failure);
}

/* ---- attaching ------------------------------------------------------------------------------- */

static int not_fusible(struct failure *ret_failure, const char *path, const char *why) {
        return failure_set(ret_failure, -EOPNOTSUPP, FAILURE_UNAVAILABLE, "%s: no fused path: %s", path, why);
}

static int attach(struct destination *destination, struct fused *fused, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        char uri[DB_URI_BYTES], sql[64];
        int r, code;

        r = db_uri(fused->path, "mode=ro", uri, sizeof uri);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "the path of %.80s… is too long",
                                   fused->path);
        (void) snprintf(sql, sizeof sql, "ATTACH ?1 AS %s", fused->schema);
        r = db_prepare(destination->db, fused->path, sql, &statement, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_text(statement, 1, uri, -1, SQLITE_STATIC);
        code = statement_run(statement);
        if (code == SQLITE_OK)
                return 0;
        db_open_failed(sqlite3_extended_errcode(destination->db));
        /* SQLite refuses other text encodings with a plain SQLITE_ERROR. */
        if (code == SQLITE_ERROR)
                return not_fusible(ret_failure, fused->path, sqlite3_errmsg(destination->db));
        return db_fail(destination->db, code, fused->path, "attach it", ret_failure);
}

static void detach(struct destination *destination, struct fused *fused) {
        char sql[64];

        (void) snprintf(sql, sizeof sql, "DETACH %s", fused->schema);
        (void) sqlite3_exec(destination->db, sql, NULL, NULL, NULL);
}

static int verify_mode(struct destination *destination, struct fused *fused, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        char sql[96];
        const char *mode;
        int r, code, has_moved = 0;

        (void) snprintf(sql, sizeof sql, "PRAGMA %s.cache_size = -%d", fused->schema, SOURCE_CACHE_KIB);
        r = db_execute(destination->db, fused->path, sql, ret_failure);
        if (r < 0)
                return r;
        (void) snprintf(sql, sizeof sql, "PRAGMA %s.journal_mode", fused->schema);
        r = db_prepare(destination->db, fused->path, sql, &statement, ret_failure);
        if (r < 0)
                return r;
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW)
                return db_fail(destination->db, code == SQLITE_DONE ? SQLITE_CORRUPT : code, fused->path,
                               "read its journal mode", ret_failure);
        mode = (const char *) sqlite3_column_text(statement, 0);
        if (!mode || strcmp(mode, "wal") != 0)
                return not_fusible(ret_failure, fused->path, "it is not in WAL mode");

        r = file_id_read(fused->path, &fused->id);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "%s: %s", fused->path, strerror(-r));
        (void) sqlite3_file_control(destination->db, fused->schema, SQLITE_FCNTL_HAS_MOVED, &has_moved);
        if (has_moved)
                return failure_set(ret_failure, -EAGAIN, FAILURE_UNAVAILABLE, "%s was replaced; trying again",
                                   fused->path);
        if (file_id_is_same(&fused->id, &destination->id))
                return not_fusible(ret_failure, fused->path, "it is the destination's own file");
        return 0;
}

static int prepare(struct destination *destination, struct fused *fused, struct failure *ret_failure) {
        const struct outbox_table *t = &fused->table;
        int r;

        r = outbox_table_verify(destination->db, fused->schema, fused->path, t, ret_failure);
        if (r < 0)
                return r;
        r = outbox_table_prepare(destination->db, fused->schema, fused->path, t, "= ?1", &fused->row,
                                 ret_failure);
        if (r < 0)
                return r;
        return db_prepare_format(
                destination->db, fused->path, &fused->move, ret_failure,
                "INSERT INTO main.\"%s\" (session, position, key, type, at, payload) "
                "SELECT ?1, baton_event(\"%s\", \"%s\", \"%s\", \"%s\", \"%s\"), \"%s\", \"%s\", \"%s\", \"%s\" "
                "FROM %s.\"%s\" WHERE \"%s\" > ?2 ORDER BY \"%s\" LIMIT ?3",
                destination->table, t->seq, t->key, t->type, t->at, t->payload, t->key, t->type, t->at,
                t->payload, fused->schema, t->table, t->seq, t->seq);
}

static void fused_free(struct fused *fused) {
        if (!fused)
                return;
        statement_finalize(&fused->move);
        statement_finalize(&fused->row);
        free(fused);
}

static void fused_freep(struct fused **fused) {
        fused_free(*fused);
}

static int find_slot(struct destination *destination, unsigned *ret_slot) {
        for (unsigned i = 0; i < FUSED_ATTACHED_MAX; i++)
                if (!destination->attached[i]) {
                        *ret_slot = i;
                        return 0;
                }
        return -EBUSY;
}

int fused_open(struct destination_session *session, const struct source_config *source,
               struct failure *ret_failure) {
        struct destination *destination = session->destination;
        _cleanup_(fused_freep) struct fused *fused = NULL;
        int r;

        assert(source && source->url);
        assert(!session->fused);
        assert(sqlite3_get_autocommit(destination->db)); /* SQLite cannot attach inside a transaction */

        if (strcmp(source->url->scheme, "sqlite") != 0)
                return not_fusible(ret_failure, source->name, "the source is no SQLite database");
        fused = calloc(1, sizeof *fused);
        if (!fused)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "session %s: out of memory",
                                   session->name);
        if (find_slot(destination, &fused->slot) < 0)
                return failure_set(ret_failure, -EBUSY, FAILURE_UNAVAILABLE,
                                   "%s: all %d attachments are taken, the row path is used", source->name,
                                   FUSED_ATTACHED_MAX);
        fused->session = session;
        fused->average_bytes = AVERAGE_BYTES_FIRST;
        (void) snprintf(fused->schema, sizeof fused->schema, "src%u", fused->slot % FUSED_ATTACHED_MAX);
        r = text_copy(fused->path, sizeof fused->path, source->url->path);
        assert(r >= 0); /* the path of an url that was parsed fits */
        r = outbox_table_read(source, &fused->table, ret_failure);
        if (r < 0)
                return r;
        r = guest_admit(fused->path, ret_failure);
        if (r < 0)
                return r;

        destination->busy.limit_usec = DB_GUEST_BUSY_USEC;
        r = attach(destination, fused, ret_failure);
        if (r < 0)
                return r;
        r = verify_mode(destination, fused, ret_failure);
        if (r >= 0)
                r = prepare(destination, fused, ret_failure);
        if (r < 0) {
                statement_finalize(&fused->row);
                detach(destination, fused);
                return r;
        }
        destination->attached[fused->slot] = session;
        session->fused = TAKE(fused);
        return 0;
}

void fused_close(struct destination_session *session) {
        struct destination *destination;
        struct fused *fused;

        assert(session);

        fused = TAKE(session->fused);
        if (!fused)
                return;
        destination = session->destination;
        assert(sqlite3_get_autocommit(destination->db));
        statement_finalize(&fused->move);
        statement_finalize(&fused->row);
        detach(destination, fused);
        destination->attached[fused->slot] = NULL;
        fused_free(fused);
}

/* ---- moving ---------------------------------------------------------------------------------- */

/* Either file may be at fault; which, the row path will tell. It cannot where SQLite speaks of damage (or of a read that
 * failed once, which it takes for damage): then it refuses every write of this connection until the transaction is rolled
 * back (SQLITE_CorruptRdOnly), also into the file that is sound and for sessions of other sources. */
static int fail(struct fused *fused, int code, struct failure *ret_failure) {
        struct destination *destination = fused->session->destination;
        int r = destination_fail(destination, code, "move events into it", ret_failure);

        failure_prefix(ret_failure, "from %s", fused->path);
        if ((code & 0xff) != SQLITE_CORRUPT)
                return r;
        return failure_set(ret_failure, -EUCLEAN, FAILURE_UNAVAILABLE,
                           "damage was met while events of %s were moved into %s: trying again row by row, "
                           "which tells whose it is",
                           fused->path, destination->path);
}

/* M4: what is attached must be the file whose anchor stands in the checkpoint. Asked before every move, in the
 * snapshot that is moved from: a backup may be restored into the same file at any time. */
static int check_anchor(struct fused *fused, uint64_t after, struct failure *ret_failure) {
        struct destination_session *session = fused->session;
        struct event event;
        bool is_same = false;
        int r = 0, code;

        if (after == 0)
                return 0;
        (void) sqlite3_bind_int64(fused->row, 1, (int64_t) after);
        code = sqlite3_step(fused->row);
        if (code == SQLITE_ROW) {
                r = event_from_row(fused->row, &event);
                is_same = r >= 0 && session->position == after && event_digest(&event) == session->anchor;
        }
        (void) sqlite3_reset(fused->row);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "%s: out of memory", fused->path);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
                return fail(fused, code, ret_failure);
        if (!is_same)
                return failure_set(ret_failure, -ESTALE, FAILURE_IDENTITY,
                                   "%s: event %" PRIu64 " is not the one that was moved", fused->path, after);
        return 0;
}

/* One statement over at most `rows` events. *ret_count: how many it moved; -E2BIG: the bytes do not
 * suffice for so many, *ret_count would fit, nothing was moved. */
static int move_chunk(struct fused *fused, struct fused_run *run, uint64_t after, uint64_t rows,
                      uint64_t *ret_count, struct failure *ret_failure) {
        struct destination *destination = fused->session->destination;
        const struct moved before = run->moved;
        uint64_t count;
        int code;

        (void) sqlite3_bind_text(fused->move, 1, fused->session->name, -1, SQLITE_STATIC);
        (void) sqlite3_bind_int64(fused->move, 2, (int64_t) after);
        (void) sqlite3_bind_int64(fused->move, 3, (int64_t) rows);
        run->overshot = false;
        destination->run = run;
        code = statement_run(fused->move);
        destination->run = NULL;

        count = run->moved.event_count - before.event_count;
        if (code != SQLITE_OK) {
                run->moved = before;
                if (!run->overshot)
                        return fail(fused, code, ret_failure);
                *ret_count = count;
                return -E2BIG;
        }
        if ((uint64_t) sqlite3_changes64(destination->db) != count)
                return failure_set(ret_failure, -EINVAL, FAILURE_REJECTED,
                                   "a trigger of table %s ignored an event (RAISE(IGNORE))",
                                   destination->table);
        if (count > 0)
                fused->average_bytes = MAX_OF((run->moved.payload_bytes - before.payload_bytes) / count,
                                              (uint64_t) 1);
        *ret_count = count;
        return 0;
}

/* How many rows the next statement shall try; 0 when the batch is as full as it can be known to be. */
static uint64_t chunk_rows(const struct fused *fused, const struct fused_run *run, uint32_t rows_max) {
        uint64_t left_rows = rows_max - run->moved.event_count;
        uint64_t left_bytes = run->bytes_max - MIN_OF(run->moved.payload_bytes, run->bytes_max);
        uint64_t by_bytes = MIN_OF(left_bytes, (uint64_t) CHUNK_BYTES_MAX) / fused->average_bytes;

        if (run->moved.event_count == 0)
                by_bytes = MAX_OF(by_bytes, (uint64_t) 1); /* a large event goes alone */
        return MIN_OF(MIN_OF(left_rows, by_bytes), (uint64_t) CHUNK_ROWS_MAX);
}

static int move_all(struct fused *fused, struct fused_run *run, uint64_t after,
                    const struct batch_limits *limits, struct failure *ret_failure) {
        struct destination *destination = fused->session->destination;
        uint64_t rows, count;
        int r;

        run->moved.last_position = after;
        for (;;) {
                rows = chunk_rows(fused, run, limits->rows);
                if (rows == 0)
                        break;
                r = move_chunk(fused, run, run->moved.last_position, rows, &count, ret_failure);
                if (r == -E2BIG && count == 0)
                        break;
                if (r == -E2BIG) {
                        rows = count; /* so many fit: the same rows again, without the one that did not */
                        r = move_chunk(fused, run, run->moved.last_position, rows, &count, ret_failure);
                        if (r >= 0 && count == rows)
                                break;
                        if (r == -E2BIG)
                                r = failure_set(ret_failure, -EBADMSG, FAILURE_STOP,
                                                "%s changed while it was being read", fused->path);
                }
                if (r < 0)
                        return r;
                if (count < rows)
                        return 0; /* that was all there is */
                if (clock_usec() >= limits->deadline_usec)
                        break;
                if (destination->busy.pulse && destination->busy.pulse(destination->busy.pulse_context))
                        break;
        }
        run->moved.more = true;
        return 0;
}

int fused_move(struct destination_session *session, uint64_t after, const struct batch_limits *limits,
               struct moved *ret_moved, struct failure *ret_failure) {
        struct fused *fused = session->fused;
        struct fused_run run = { 0 };
        struct file_id id;
        int r;

        assert(fused);
        assert(limits && limits->rows > 0);
        assert(ret_moved);
        assert(!sqlite3_get_autocommit(session->destination->db));
        assert(after <= INT64_MAX); /* the fence has read it from this very destination, and checked it */

        if (file_id_read(fused->path, &id) < 0 || !file_id_is_same(&id, &fused->id))
                return failure_set(ret_failure, -ESTALE, FAILURE_UNAVAILABLE,
                                   "source file %s was replaced or removed; opening it again", fused->path);
        session->destination->busy.limit_usec = DB_GUEST_BUSY_USEC;
        r = check_anchor(fused, after, ret_failure);
        if (r < 0)
                return r;
        run.bytes_max = limits->bytes;
        r = move_all(fused, &run, after, limits, ret_failure);
        if (r < 0)
                return r;
        *ret_moved = run.moved;
        return 0;
}

int fused_sync(struct destination_session *session, struct failure *ret_failure) {
        struct fused *fused = session->fused;

        assert(fused);

        return durability_sync(session->destination->db, fused->schema, fused->path, &fused->durability,
                               ret_failure);
}
