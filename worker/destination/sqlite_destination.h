/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite destination from inside: shared by sqlite.c, sqlite_schema.c, sqlite_session.c,
 * sqlite_check.c and fused.c. All of it belongs to the mover's thread (S1). */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/url.h"
#include "include/baton/destination.h"
#include "worker/source/sqlite_db.h"

#define SCHEMA_VERSION 1
#define FUSED_ATTACHED_MAX 10 /* SQLite's own limit (SQLITE_MAX_ATTACHED) */

enum destination_statement {
        STATEMENT_BEGIN,
        STATEMENT_LOCK, /* takes the write lock of `main` and of nothing else */
        STATEMENT_COMMIT,
        STATEMENT_ROLLBACK,
        STATEMENT_SAVEPOINT,
        STATEMENT_RELEASE,
        STATEMENT_ROLLBACK_TO,
        STATEMENT_READ,  /* a checkpoint */
        STATEMENT_FIRST, /* makes one */
        STATEMENT_FENCE,
        STATEMENT_END,
        STATEMENT_PUT,
        STATEMENT_HAS, /* is this event here already? */
        STATEMENT_PARK,
        STATEMENT_COUNT
};

struct fused;     /* fused.c: one attached source */
struct fused_run; /* fused.c: one fused_move() that is going on */

struct destination {
        sqlite3 *db;
        struct db_busy busy;
        uint64_t (*lock_wait)(void *context); /* destination_config's; may be NULL */
        char path[URL_BYTES], table[NAME_BYTES];
        uint8_t instance[INSTANCE_BYTES];
        struct file_id id; /* of what is open */
        sqlite3_stmt *statements[STATEMENT_COUNT];
        struct destination_session *ended;             /* sessions whose checkpoint this transaction wrote */
        const struct destination_session *put_session; /* whose name is bound in STATEMENT_PUT */

        int wal_pages;    /* in the -wal after our last commit */
        bool fenced;      /* this transaction took a session over: nothing may delay its commit */
        bool sync_failed; /* M7: until resync() */

        const struct destination_session *attached[FUSED_ATTACHED_MAX];
        struct fused_run *run;
};

struct destination_session {
        struct destination *destination;
        char name[NAME_BYTES];
        char now_text[CLOCK_TEXT_BYTES]; /* of the row that is being written */
        uint64_t epoch;                  /* from fence() */
        uint64_t position, anchor;       /* as they stand in the checkpoint, as far as this owner knows */
        /* Between session_end() and the end of the transaction: what holds again if that is rolled back. */
        bool is_ended;
        uint64_t before_position, before_anchor;
        struct destination_session *ended_next;
        struct fused *fused; /* NULL: not attached */
};

/* sqlite_schema.c */
int schema_prepare(struct destination *destination, struct failure *ret_failure);
/* Reads only: 0, or why this database cannot be the destination. *ret_is_ours: baton_meta is there. */
int schema_verify(sqlite3 *db, const char *path, const char *table, bool *ret_is_ours,
                  struct failure *ret_failure);
/* Runs before anything is opened: a table name that cannot be used. */
int schema_check_name(const char *table, struct failure *ret_failure);

/* sqlite.c */
/* db_fail() for an operation of the destination; knows a wait that pulse ended. */
int destination_fail(struct destination *destination, int code, const char *what,
                     struct failure *ret_failure);

/* sqlite_session.c */
int sqlite_session_open(struct destination *destination, const char *name,
                        struct destination_session **ret_session, struct failure *ret_failure);
void sqlite_session_close(struct destination_session *session);
int sqlite_session_begin(struct destination_session *session, struct failure *ret_failure);
int sqlite_session_fence(struct destination_session *session, uint64_t epoch, struct checkpoint *checkpoint,
                         bool *ret_found, bool *ret_tail, struct failure *ret_failure);
int sqlite_session_put(struct destination_session *session, const struct event *event,
                       struct failure *ret_failure);
int sqlite_session_park(struct destination_session *session, const struct event *event, const char *reason,
                        struct failure *ret_failure);
int sqlite_session_end(struct destination_session *session, struct checkpoint *checkpoint,
                       struct failure *ret_failure);
void sqlite_session_rollback(struct destination_session *session);
/* The transaction is over: what its sessions wrote stands, or does not. */
void sessions_settle(struct destination *destination, bool stands);

/* fused.c */
int fused_register(struct destination *destination, struct failure *ret_failure);
int fused_open(struct destination_session *session, const struct source_config *source,
               struct failure *ret_failure);
void fused_close(struct destination_session *session);
int fused_move(struct destination_session *session, uint64_t after, const struct batch_limits *limits,
               struct moved *ret_moved, struct failure *ret_failure);
int fused_sync(struct destination_session *session, struct failure *ret_failure);

/* sqlite_check.c */
int sqlite_destination_check(const struct destination_config *config, char **ret_note,
                             struct failure *ret_failure);
