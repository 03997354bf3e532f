/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite destination: opens or makes the database, and carries the pool's transaction (M1, M2, M7).
 *
 * The checkpoint lives in the transaction that holds the events, so it is never ahead of them nor behind.
 * The write lock is taken by a statement that writes nothing in `main`, not by BEGIN IMMEDIATE: that would
 * also begin to read every attached source (fused.c) and fail with any of them.
 *
 *   sqlite.K1  died before COMMIT            SQLite rolls back: as if the batch had never been
 *   sqlite.K2  died after COMMIT             durable; the successor reads the checkpoint (M2)
 *   sqlite.K3  died after a checkpoint       the same
 *
 * Must not touch: sources (but by fused.c). Logs nothing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/io.h"
#include "worker/destination/sqlite_destination.h"
#include "worker/source/sqlite_journal.h"

/* Pages in the -wal from which a commit is followed by a checkpoint (README: who pays for it), and from
 * which even the first commit of a takeover is. */
#define CHECKPOINT_PAGES 1000
#define CHECKPOINT_PAGES_URGENT (4 * CHECKPOINT_PAGES)
/* A batch of 4 MiB and its index fit, so that no page is written twice; S8: and no more. */
#define CACHE_PRAGMA "PRAGMA page_size = 8192; PRAGMA cache_size = -8000; PRAGMA synchronous = FULL"

int destination_fail(struct destination *destination, int code, const char *what,
                     struct failure *ret_failure) {
        int r;

        assert(destination);

        r = db_fail(destination->db, code, destination->path, what, ret_failure);
        if (r == -EBUSY && destination->busy.canceled) {
                destination->busy.canceled = false;
                return failure_set(ret_failure, -ECANCELED, FAILURE_UNAVAILABLE,
                                   "%s: gave up waiting for its lock, because the worker is to leave",
                                   destination->path);
        }
        if (db_failure_kind(sqlite3_extended_errcode(destination->db), 0) == FAILURE_SYNC)
                destination->sync_failed = true;
        return r;
}

static int note_wal_pages(void *context, sqlite3 *db, const char *schema, int page_count) {
        struct destination *destination = context;

        (void) db;
        if (strcmp(schema, "main") == 0)
                destination->wal_pages = page_count;
        return SQLITE_OK;
}

/* Several workers may open a new file at once, and the change to WAL does not use the busy handler. */
static int enter_wal(struct destination *destination, struct failure *ret_failure) {
        uint64_t until_usec = clock_usec() + DB_OWN_BUSY_USEC;
        const struct timespec span = { .tv_nsec = 500 * (long) NSEC_PER_USEC };
        int code;

        for (;;) {
                code = sqlite3_exec(destination->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
                if ((code & 0xff) != SQLITE_BUSY || clock_usec() >= until_usec)
                        break;
                if (destination->busy.pulse && destination->busy.pulse(destination->busy.pulse_context)) {
                        destination->busy.canceled = true;
                        break;
                }
                (void) clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
        }
        return code == SQLITE_OK ? 0
                                 : destination_fail(destination, code, "switch it to WAL mode", ret_failure);
}

static int verify_wal(struct destination *destination, struct failure *ret_failure) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        const char *mode;
        int r;

        r = db_prepare(destination->db, destination->path, "PRAGMA main.journal_mode", &statement,
                       ret_failure);
        if (r < 0)
                return r;
        mode = sqlite3_step(statement) == SQLITE_ROW ? (const char *) sqlite3_column_text(statement, 0)
                                                     : NULL;
        if (!mode || strcmp(mode, "wal") != 0)
                return failure_set(
                        ret_failure, -ENOTSUP, FAILURE_STOP,
                        "%s cannot be put into WAL mode (it is in %s): a destination needs a local file system "
                        "with shared memory",
                        destination->path, mode ? mode : "an unknown mode");
        return 0;
}

/* SQLite syncs the directory after it made the -wal, and looks at no result of it (os_unix.c): a -wal whose name is
 * not durable takes with it what was committed into it. */
static int sync_directory(const struct destination *destination, struct failure *ret_failure) {
        _cleanup_fd_ int fd = -1;
        char directory[PATH_MAX];
        int r;

        (void) snprintf(directory, sizeof directory, "%s", sqlite3_db_filename(destination->db, "main"));
        *(strrchr(directory, '/') + 1) = '\0';
        fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return failure_set(ret_failure, -errno, failure_kind_of_errno(-errno),
                                   "%s: cannot open its directory to sync it: %s", destination->path,
                                   strerror(errno));
        r = dir_sync(fd);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_SYNC,
                                   "%s: the sync of its directory failed (%s): look at the disk (kernel log)",
                                   destination->path, strerror(-r));
        return 0;
}

static int prepare_statements(struct destination *destination, struct failure *ret_failure) {
        static const char *const texts[STATEMENT_COUNT] = {
                [STATEMENT_BEGIN] = "BEGIN",
                [STATEMENT_LOCK] = "DELETE FROM main.baton_meta WHERE name IS NULL",
                [STATEMENT_COMMIT] = "COMMIT",
                [STATEMENT_ROLLBACK] = "ROLLBACK",
                [STATEMENT_SAVEPOINT] = "SAVEPOINT baton_session",
                [STATEMENT_RELEASE] = "RELEASE baton_session",
                [STATEMENT_ROLLBACK_TO] = "ROLLBACK TO baton_session",
                [STATEMENT_READ] =
                        "SELECT instance, epoch, position, source_identity, anchor, event_count, digest_sum, "
                        "parked_count FROM main.baton_checkpoint WHERE session = ?1",
                [STATEMENT_FIRST] =
                        "INSERT INTO main.baton_checkpoint VALUES (?1, ?2, ?3, 0, '', 0, 0, 0, 0, 1, ?4)",
                [STATEMENT_FENCE] =
                        "UPDATE main.baton_checkpoint SET epoch = ?2, fence_count = fence_count + 1, "
                        "updated_at = ?3 WHERE session = ?1",
                [STATEMENT_END] =
                        "UPDATE main.baton_checkpoint SET position = ?3, source_identity = ?4, anchor = ?5, "
                        "event_count = ?6, digest_sum = ?7, parked_count = ?8, updated_at = ?9 "
                        "WHERE session = ?1 AND epoch = ?2 AND instance = ?10 AND position = ?11",
                [STATEMENT_PARK] =
                        "INSERT INTO main.baton_parked VALUES (?1, ?2, ?7, ?8, ?9, ?3, ?4, ?5, ?6)",
        };
        int r;

        for (size_t i = 0; i < STATEMENT_COUNT; i++) {
                if (!texts[i])
                        continue;
                r = db_prepare(destination->db, destination->path, texts[i], &destination->statements[i],
                               ret_failure);
                if (r < 0)
                        return r;
        }
        r = db_prepare_format(destination->db, destination->path, &destination->statements[STATEMENT_PUT],
                              ret_failure,
                              "INSERT INTO main.\"%s\" (session, position, key, type, at, payload) "
                              "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                              destination->table);
        if (r < 0)
                return r;
        return db_prepare_format(destination->db, destination->path, &destination->statements[STATEMENT_HAS],
                                 ret_failure,
                                 "SELECT 1 FROM main.\"%s\" WHERE session = ?1 AND position = ?2",
                                 destination->table);
}

static void sqlite_close(struct destination *destination) {
        if (!destination)
                return;
        for (size_t i = 0; i < FUSED_ATTACHED_MAX; i++)
                assert(!destination->attached[i]); /* sessions are closed before their destination */
        for (size_t i = 0; i < STATEMENT_COUNT; i++)
                statement_finalize(&destination->statements[i]);
        /* Our own file: the last to leave may checkpoint and tidy up, unless a sync failed on it (M7). */
        if (destination->db && !destination->sync_failed)
                (void) sqlite3_db_config(destination->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        db_close(&destination->db);
        free(destination);
}

static void sqlite_closep(struct destination **destination) {
        sqlite_close(*destination);
}

static int connect_destination(struct destination *destination, struct failure *ret_failure) {
        int r;

        r = db_open(destination->path, DB_CREATE, &destination->busy, &destination->db, &destination->id,
                    ret_failure);
        if (r < 0)
                return r;
        r = db_execute(destination->db, destination->path, CACHE_PRAGMA, ret_failure);
        if (r < 0)
                return r;
        r = enter_wal(destination, ret_failure);
        if (r < 0)
                return r;
        r = verify_wal(destination, ret_failure);
        if (r < 0)
                return r;
        /* What a dead worker left half made. Whoever sees the -journal then waits for us to be gone, and would undo what
         * we did. */
        r = journal_refuse(destination->db, "main", destination->path, ret_failure);
        if (r < 0)
                return r;
        r = schema_prepare(destination, ret_failure);
        if (r < 0)
                return r;
        r = sync_directory(destination, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_wal_hook(destination->db, note_wal_pages, destination);
        r = fused_register(destination, ret_failure);
        if (r < 0)
                return r;
        return prepare_statements(destination, ret_failure);
}

static int sqlite_open(const struct destination_config *config, struct destination **ret_destination,
                       struct failure *ret_failure) {
        _cleanup_(sqlite_closep) struct destination *destination = NULL;
        const char *table;
        int r;

        assert(config && config->url && config->instance);
        assert(ret_destination);

        table = option_text(config->scheme, config->url, "table");
        r = schema_check_name(table, ret_failure);
        if (r < 0)
                return r;
        destination = calloc(1, sizeof *destination);
        if (!destination)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "destination %s: out of memory",
                                   config->name);
        r = text_copy(destination->path, sizeof destination->path, config->url->path);
        assert(r >= 0); /* the path of an url that was parsed fits, and so does an SQL name */
        r = text_copy(destination->table, sizeof destination->table, table);
        assert(r >= 0);
        memcpy(destination->instance, config->instance, INSTANCE_BYTES);
        destination->busy = (struct db_busy){
                .limit_usec = DB_OWN_BUSY_USEC,
                .pulse = config->pulse,
                .pulse_context = config->pulse_context,
        };
        destination->lock_wait = config->lock_wait;
        r = connect_destination(destination, ret_failure);
        if (r < 0)
                return r;
        *ret_destination = TAKE(destination);
        return 0;
}

static int sqlite_directory(const struct destination_config *config, char *ret_directory) {
        return db_directory(config->url->path, ret_directory, PATH_MAX);
}

static bool sqlite_is_stale(struct destination *destination) {
        struct file_id id;

        assert(destination);

        return file_id_read(destination->path, &id) < 0 || !file_id_is_same(&id, &destination->id);
}

static void sqlite_rollback(struct destination *destination) {
        assert(destination);

        sessions_settle(destination, false);
        /* SQLite rolls back by itself after some errors (full, out of memory, I/O). */
        if (!sqlite3_get_autocommit(destination->db))
                (void) statement_run(destination->statements[STATEMENT_ROLLBACK]);
}

/* The turn is held while begin() waits: never longer than the mover says (S3). */
static uint64_t begin_wait_usec(const struct destination *destination) {
        uint64_t most_usec = destination->lock_wait ? destination->lock_wait(destination->busy.pulse_context)
                                                    : 0;

        return most_usec == 0 ? DB_OWN_BUSY_USEC : MIN_OF(most_usec, (uint64_t) DB_OWN_BUSY_USEC);
}

static int sqlite_begin(struct destination *destination, struct failure *ret_failure) {
        int code;

        assert(destination);
        assert(sqlite3_get_autocommit(destination->db));

        sessions_settle(destination, false); /* of one that SQLite itself rolled back */
        destination->fenced = false;
        destination->busy.limit_usec = begin_wait_usec(destination);
        code = statement_run(destination->statements[STATEMENT_BEGIN]);
        if (code == SQLITE_OK)
                code = statement_run(destination->statements[STATEMENT_LOCK]);
        if (code == SQLITE_OK)
                return 0;
        code = destination_fail(destination, code, "begin a transaction in it", ret_failure);
        sqlite_rollback(destination);
        return code;
}

/* Whoever fills the -wal empties it, after its commit and still in its turn: with the turn held nobody
 * adds frames, so the checkpoint reaches the end and the next commit starts the -wal afresh. A passive
 * checkpoint waits for no reader. Only a failed sync matters here: the commit itself is durable. */
static int checkpoint_if_due(struct destination *destination, struct failure *ret_failure) {
        int code;

        if (destination->wal_pages < (destination->fenced ? CHECKPOINT_PAGES_URGENT : CHECKPOINT_PAGES))
                return 0;
        code = sqlite3_wal_checkpoint_v2(destination->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        if (code != SQLITE_OK &&
            db_failure_kind(sqlite3_extended_errcode(destination->db), 0) == FAILURE_SYNC)
                return destination_fail(destination, code, "checkpoint it", ret_failure);
        CRASH_POINT("sqlite.K3");
        return 0;
}

static int sqlite_commit(struct destination *destination, struct failure *ret_failure) {
        int r, code;

        assert(destination);

        if (sqlite3_get_autocommit(destination->db))
                return failure_set(ret_failure, -EAGAIN, FAILURE_UNAVAILABLE,
                                   "%s: SQLite rolled the transaction back after an error; trying again",
                                   destination->path);
        CRASH_POINT("sqlite.K1");
        code = statement_run(destination->statements[STATEMENT_COMMIT]);
        if (code != SQLITE_OK) {
                r = destination_fail(destination, code, "commit", ret_failure);
                sqlite_rollback(destination);
                return r;
        }
        CRASH_POINT("sqlite.K2");
        sessions_settle(destination, true);
        return checkpoint_if_due(destination, ret_failure);
}

/* M7: what the failed sync left uncertain lies in the -wal. A connection of its own copies every
 * committed frame into the database file, syncs that and makes the -wal empty: nothing rests on the
 * doubtful pages any more. */
static int sqlite_resync(struct destination *destination, struct failure *ret_failure) {
        struct db_busy busy = destination->busy;
        _cleanup_db_ sqlite3 *db = NULL;
        int r, code;

        assert(destination);
        assert(sqlite3_get_autocommit(destination->db));

        busy.limit_usec = DB_OWN_BUSY_USEC;
        r = db_open(destination->path, DB_WRITE, &busy, &db, NULL, ret_failure);
        if (r < 0)
                return r;
        r = db_execute(db, destination->path, "PRAGMA synchronous = FULL", ret_failure);
        if (r < 0)
                return r;
        code = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        if (code != SQLITE_OK)
                return db_fail(db, code, destination->path, "write its -wal again after a failed sync",
                               ret_failure);
        destination->sync_failed = false;
        destination->wal_pages = 0;
        return 0;
}

const struct destination_ops destination_sqlite_ops = {
        .scheme = "sqlite",
        .flags = DESTINATION_TRANSACTIONAL | DESTINATION_ONE_WRITER,
        .open = sqlite_open,
        .close = sqlite_close,
        .is_stale = sqlite_is_stale,
        .begin = sqlite_begin,
        .commit = sqlite_commit,
        .rollback = sqlite_rollback,
        .resync = sqlite_resync,
        .session_open = sqlite_session_open,
        .session_close = sqlite_session_close,
        .session_begin = sqlite_session_begin,
        .fence = sqlite_session_fence,
        .put = sqlite_session_put,
        .park = sqlite_session_park,
        .session_end = sqlite_session_end,
        .session_rollback = sqlite_session_rollback,
        .fused_open = fused_open,
        .fused_close = fused_close,
        .fused_move = fused_move,
        .fused_sync = fused_sync,
        .directory = sqlite_directory,
        .check = sqlite_destination_check,
};
