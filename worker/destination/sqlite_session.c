/* SPDX-License-Identifier: Apache-2.0 */
/* One session in the destination's transaction: its savepoint, the fence (M2), events, parked events and
 * the checkpoint (M1).
 *
 * 64-bit unsigned numbers (epoch, anchor, digest_sum …) are stored as SQLite's signed integers of the same
 * bits. Values are bound as they came, so that they keep their storage class to the last byte.
 *
 *   session.K1  died after the fence, before commit     the old epoch stands; the successor fences again
 *   session.K2  died after the checkpoint, before commit  nothing of the batch stands
 *
 * Must not touch: another session's rows, sources. Logs nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "worker/destination/sqlite_destination.h"

int sqlite_session_open(struct destination *destination, const char *name,
                        struct destination_session **ret_session, struct failure *ret_failure) {
        struct destination_session *session;
        int r;

        assert(destination);
        assert(name);
        assert(ret_session);

        session = calloc(1, sizeof *session);
        if (!session)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "session %s: out of memory",
                                   name);
        session->destination = destination;
        r = text_copy(session->name, sizeof session->name, name);
        assert(r >= 0); /* names are bounded where they come in */
        *ret_session = session;
        return 0;
}

static void settle(struct destination_session *session, bool stands) {
        struct destination_session **at = &session->destination->ended;

        if (!session->is_ended)
                return;
        while (*at != session)
                at = &(*at)->ended_next;
        *at = session->ended_next;
        session->is_ended = false;
        if (stands)
                return;
        session->position = session->before_position;
        session->anchor = session->before_anchor;
}

void sessions_settle(struct destination *destination, bool stands) {
        while (destination->ended)
                settle(destination->ended, stands);
}

void sqlite_session_close(struct destination_session *session) {
        if (!session)
                return;
        settle(session, false);
        fused_close(session);
        if (session->destination->put_session == session)
                session->destination->put_session = NULL;
        free(session);
}

static sqlite3_stmt *statement_of(struct destination_session *session, enum destination_statement which) {
        return session->destination->statements[which];
}

/* The text stays where it is until the statement has run. SQLite takes no copy, so it cannot fail for want of
 * memory, and nothing of ours is written as NULL. */
static void bind_text(sqlite3_stmt *statement, int index, const char *text) {
        int code = sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);

        assert(code == SQLITE_OK);
}

static void bind_name(struct destination_session *session, sqlite3_stmt *statement) {
        bind_text(statement, 1, session->name);
}

static void bind_u64(sqlite3_stmt *statement, int index, uint64_t number) {
        int code = sqlite3_bind_int64(statement, index, (int64_t) number);

        assert(code == SQLITE_OK);
}

static void bind_now(struct destination_session *session, sqlite3_stmt *statement, int index) {
        clock_format(clock_realtime_usec(), session->now_text, sizeof session->now_text);
        bind_text(statement, index, session->now_text);
}

static void bind_instance(struct destination_session *session, sqlite3_stmt *statement, int index) {
        int code = sqlite3_bind_blob(statement, index, session->destination->instance, INSTANCE_BYTES,
                                     SQLITE_STATIC);

        assert(code == SQLITE_OK);
}

/* An empty text or blob is no NULL: SQLite takes a null pointer for one. */
static int bind_value(sqlite3_stmt *statement, int index, const struct event_value *value) {
        const void *data = value->bytes > 0 ? value->data : "";

        switch (value->type) {
        case VALUE_INTEGER:
                return sqlite3_bind_int64(statement, index, value->integer);
        case VALUE_FLOAT:
                return sqlite3_bind_double(statement, index, value->real);
        case VALUE_TEXT:
                return sqlite3_bind_text(statement, index, data, (int) value->bytes, SQLITE_STATIC);
        case VALUE_BLOB:
                return sqlite3_bind_blob(statement, index, data, (int) value->bytes, SQLITE_STATIC);
        default:
                return sqlite3_bind_null(statement, index);
        }
}

/* Columns 2–6: position, key, type, at, payload. An SQLite code. */
static int bind_event(sqlite3_stmt *statement, const struct event *event) {
        const struct event_value *const values[] = { &event->key, &event->type, &event->at, &event->payload };
        int code = sqlite3_bind_int64(statement, 2, (int64_t) event->position);

        for (size_t i = 0; i < ELEMENTSOF(values) && code == SQLITE_OK; i++)
                code = bind_value(statement, (int) i + 3, values[i]);
        return code;
}

/* The transaction may have ended under us: SQLite rolls back by itself after some errors. */
static int require_transaction(struct destination *destination, struct failure *ret_failure) {
        if (!sqlite3_get_autocommit(destination->db))
                return 0;
        return failure_set(ret_failure, -EAGAIN, FAILURE_UNAVAILABLE,
                           "%s: SQLite rolled the transaction back after an error; trying again",
                           destination->path);
}

int sqlite_session_begin(struct destination_session *session, struct failure *ret_failure) {
        int r, code;

        assert(session);

        r = require_transaction(session->destination, ret_failure);
        if (r < 0)
                return r;
        code = statement_run(statement_of(session, STATEMENT_SAVEPOINT));
        return code == SQLITE_OK
                       ? 0
                       : destination_fail(session->destination, code, "set a savepoint", ret_failure);
}

void sqlite_session_rollback(struct destination_session *session) {
        assert(session);

        settle(session, false);
        if (sqlite3_get_autocommit(session->destination->db))
                return;
        (void) statement_run(statement_of(session, STATEMENT_ROLLBACK_TO));
        (void) statement_run(statement_of(session, STATEMENT_RELEASE));
}

/* A row is bytes from disk: checked, never asserted. */
static int read_row(struct destination_session *session, sqlite3_stmt *statement,
                    struct checkpoint *ret_checkpoint, struct failure *ret_failure) {
        struct checkpoint checkpoint = { 0 };
        const char *identity = (const char *) sqlite3_column_text(statement, 3);
        const void *instance = sqlite3_column_blob(statement, 0);
        int64_t position = sqlite3_column_int64(statement, 2);

        if (!instance || sqlite3_column_bytes(statement, 0) != INSTANCE_BYTES || !identity || position < 0 ||
            text_copy(checkpoint.source_identity, sizeof checkpoint.source_identity, identity) < 0)
                return failure_set(
                        ret_failure, -EBADMSG, FAILURE_STOP,
                        "%s: the row of session %s in baton_checkpoint is none of ours: it was edited, or the "
                        "file is damaged; restore it from a backup",
                        session->destination->path, session->name);
        memcpy(checkpoint.instance, instance, INSTANCE_BYTES);
        memcpy(checkpoint.session, session->name, sizeof checkpoint.session);
        checkpoint.epoch = (uint64_t) sqlite3_column_int64(statement, 1);
        checkpoint.position = (uint64_t) position;
        checkpoint.anchor = (uint64_t) sqlite3_column_int64(statement, 4);
        checkpoint.event_count = (uint64_t) sqlite3_column_int64(statement, 5);
        checkpoint.digest_sum = (uint64_t) sqlite3_column_int64(statement, 6);
        checkpoint.parked_count = (uint64_t) sqlite3_column_int64(statement, 7);
        *ret_checkpoint = checkpoint;
        return 0;
}

static int read_checkpoint(struct destination_session *session, bool *ret_found,
                           struct checkpoint *ret_checkpoint, struct failure *ret_failure) {
        sqlite3_stmt *statement = statement_of(session, STATEMENT_READ);
        int r = 0, code;

        bind_name(session, statement);
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW)
                r = read_row(session, statement, ret_checkpoint, ret_failure);
        (void) sqlite3_reset(statement);
        if (r < 0)
                return r;
        if (code != SQLITE_ROW && code != SQLITE_DONE)
                return destination_fail(session->destination, code, "read its checkpoint", ret_failure);
        *ret_found = code == SQLITE_ROW;
        return 0;
}

static int write_first(struct destination_session *session, uint64_t epoch, struct failure *ret_failure) {
        sqlite3_stmt *statement = statement_of(session, STATEMENT_FIRST);
        int code;

        bind_name(session, statement);
        bind_instance(session, statement, 2);
        bind_u64(statement, 3, epoch);
        bind_now(session, statement, 4);
        code = statement_run(statement);
        return code == SQLITE_OK
                       ? 0
                       : destination_fail(session->destination, code, "make a checkpoint", ret_failure);
}

/* M2: fence_count grows, so the page differs even where epoch and clock do not: a transaction that
 * changes nothing is not synced, and a dead owner's could rise again after a power cut. */
static int write_fence(struct destination_session *session, uint64_t epoch, struct failure *ret_failure) {
        sqlite3_stmt *statement = statement_of(session, STATEMENT_FENCE);
        int code;

        bind_name(session, statement);
        bind_u64(statement, 2, epoch);
        bind_now(session, statement, 3);
        code = statement_run(statement);
        return code == SQLITE_OK
                       ? 0
                       : destination_fail(session->destination, code, "raise the epoch", ret_failure);
}

static int refuse_instance(struct destination_session *session, const struct checkpoint *stored,
                           struct failure *ret_failure) {
        char text[2 * INSTANCE_BYTES + 1];

        for (size_t i = 0; i < INSTANCE_BYTES; i++)
                (void) snprintf(text + 2 * i, 3, "%02x", stored->instance[i]);
        return failure_set(
                ret_failure, -EEXIST, FAILURE_STOP,
                "%s: the checkpoint of session %s is another Baton's (instance %s), and two would move the "
                "same events: use its state directory or another destination; if that directory is lost, "
                "write this id into the file instance of ours",
                session->destination->path, session->name, text);
}

int sqlite_session_fence(struct destination_session *session, uint64_t epoch, struct checkpoint *checkpoint,
                         bool *ret_found, bool *ret_tail, struct failure *ret_failure) {
        struct destination *destination = session->destination;
        struct checkpoint stored = { 0 };
        bool found = false;
        int r;

        assert(checkpoint && ret_found && ret_tail);

        r = require_transaction(destination, ret_failure);
        if (r < 0)
                return r;
        r = read_checkpoint(session, &found, &stored, ret_failure);
        if (r < 0)
                return r;
        if (found && memcmp(stored.instance, destination->instance, INSTANCE_BYTES) != 0)
                return refuse_instance(session, &stored, ret_failure);
        if (found && stored.epoch > epoch) {
                *checkpoint = stored;
                return failure_set(ret_failure, -ESTALE, FAILURE_FENCED,
                                   "%s: session %s has epoch %" PRIu64 " there, higher than ours (%" PRIu64
                                   ")",
                                   destination->path, session->name, stored.epoch, epoch);
        }
        r = found ? write_fence(session, epoch, ret_failure) : write_first(session, epoch, ret_failure);
        if (r < 0)
                return r;
        CRASH_POINT("session.K1");

        if (!found) {
                memcpy(stored.instance, destination->instance, INSTANCE_BYTES);
                memcpy(stored.session, session->name, sizeof stored.session);
        }
        stored.epoch = epoch;
        destination->fenced = true;
        session->epoch = epoch;
        session->position = stored.position;
        session->anchor = stored.anchor;
        *checkpoint = stored;
        *ret_found = found;
        *ret_tail = false;
        return 0;
}

/* The primary key says twice: either the checkpoint was set back, or a trigger of the table meant
 * another row. The first must stop, the second is this event's fault. */
static bool is_here_already(struct destination_session *session, const struct event *event) {
        sqlite3_stmt *statement = statement_of(session, STATEMENT_HAS);
        int code;

        bind_name(session, statement);
        bind_u64(statement, 2, event->position);
        code = sqlite3_step(statement);
        (void) sqlite3_reset(statement);
        return code == SQLITE_ROW;
}

static int put_failed(struct destination_session *session, const struct event *event, int code,
                      struct failure *ret_failure) {
        struct destination *destination = session->destination;
        int r = destination_fail(destination, code, "store an event", ret_failure);

        if ((code & 0xff) != SQLITE_CONSTRAINT)
                return r;
        if (sqlite3_get_autocommit(destination->db))
                return failure_set(
                        ret_failure, -ECANCELED, FAILURE_STOP,
                        "%s: a trigger of table %s rolled the whole transaction back at event %" PRIu64
                        " (RAISE(ROLLBACK)): let it RAISE(ABORT), which parks the event alone, then run "
                        "`baton adopt` on this session",
                        destination->path, destination->table, event->position);
        if (!is_here_already(session, event))
                return r;
        return failure_set(ret_failure, -EEXIST, FAILURE_STOP,
                           "%s holds event %" PRIu64
                           " of session %s already, above its checkpoint: one of the two was "
                           "edited or restored; compare them with `baton verify`",
                           destination->path, event->position, session->name);
}

int sqlite_session_put(struct destination_session *session, const struct event *event,
                       struct failure *ret_failure) {
        struct destination *destination = session->destination;
        sqlite3_stmt *statement = destination->statements[STATEMENT_PUT];
        int r, code;

        assert(event && event->position > 0);

        r = require_transaction(destination, ret_failure);
        if (r < 0)
                return r;
        if (destination->put_session != session) {
                bind_name(session, statement);
                destination->put_session = session;
        }
        code = bind_event(statement, event);
        if (code == SQLITE_OK)
                code = statement_run(statement);
        if (code != SQLITE_OK)
                return put_failed(session, event, code, ret_failure);
        if (sqlite3_changes64(destination->db) != 1)
                return failure_set(ret_failure, -EINVAL, FAILURE_REJECTED,
                                   "a trigger of table %s ignored the event (RAISE(IGNORE))",
                                   destination->table);
        return 0;
}

int sqlite_session_park(struct destination_session *session, const struct event *event, const char *reason,
                        struct failure *ret_failure) {
        sqlite3_stmt *statement = statement_of(session, STATEMENT_PARK);
        int r, code;

        assert(event);
        assert(reason);

        r = require_transaction(session->destination, ret_failure);
        if (r < 0)
                return r;
        bind_name(session, statement);
        code = bind_event(statement, event);
        bind_text(statement, 7, reason);
        bind_now(session, statement, 8);
        bind_u64(statement, 9, session->epoch);
        if (code == SQLITE_OK)
                code = statement_run(statement);
        if (code == SQLITE_OK)
                return 0;
        r = destination_fail(session->destination, code, "park an event", ret_failure);
        /* What cannot even be parked has nowhere to go: the session stops. */
        if (ret_failure && ret_failure->kind == FAILURE_REJECTED)
                ret_failure->kind = FAILURE_STOP;
        return r;
}

static void bind_end(struct destination_session *session, sqlite3_stmt *statement,
                     const struct checkpoint *checkpoint) {
        bind_name(session, statement);
        bind_u64(statement, 2, checkpoint->epoch);
        bind_u64(statement, 3, checkpoint->position);
        bind_text(statement, 4, checkpoint->source_identity);
        bind_u64(statement, 5, checkpoint->anchor);
        bind_u64(statement, 6, checkpoint->event_count);
        bind_u64(statement, 7, checkpoint->digest_sum);
        bind_u64(statement, 8, checkpoint->parked_count);
        bind_now(session, statement, 9);
        bind_instance(session, statement, 10);
        /* M1: a backup that SQLite itself restored into the open file may carry our epoch; its position it
         * cannot: to write ours over it would step over what it lacks. */
        bind_u64(statement, 11, session->position);
}

int sqlite_session_end(struct destination_session *session, struct checkpoint *checkpoint,
                       struct failure *ret_failure) {
        struct destination *destination = session->destination;
        sqlite3_stmt *statement = statement_of(session, STATEMENT_END);
        int r, code;

        assert(checkpoint);
        assert(checkpoint->position <= INT64_MAX);
        assert(text_is_terminated(checkpoint->source_identity, sizeof checkpoint->source_identity));

        r = require_transaction(destination, ret_failure);
        if (r < 0)
                return r;
        bind_end(session, statement, checkpoint);
        code = statement_run(statement);
        if (code != SQLITE_OK)
                return destination_fail(destination, code, "write its checkpoint", ret_failure);
        if (sqlite3_changes64(destination->db) != 1)
                return failure_set(ret_failure, -ESTALE, FAILURE_FENCED,
                                   "%s: session %s is not at epoch %" PRIu64 " and position %" PRIu64
                                   " any more: another worker owns it, or a backup was restored",
                                   destination->path, session->name, checkpoint->epoch, session->position);
        code = statement_run(statement_of(session, STATEMENT_RELEASE));
        if (code != SQLITE_OK)
                return destination_fail(destination, code, "release a savepoint", ret_failure);
        CRASH_POINT("session.K2");
        if (!session->is_ended) {
                session->before_position = session->position;
                session->before_anchor = session->anchor;
                session->is_ended = true;
                session->ended_next = destination->ended;
                destination->ended = session;
        }
        session->position = checkpoint->position;
        session->anchor = checkpoint->anchor;
        return 0;
}
