/* SPDX-License-Identifier: Apache-2.0 */
/* Plain SQLite, as fast as a program of thirty lines can be that commits as often as Baton does.
 * Must not touch: Baton. */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macro.h"
#include "tests/bench/lib/engine.h"

static void must(sqlite3 *database, int r, const char *what) {
        if (r == SQLITE_OK || r == SQLITE_DONE || r == SQLITE_ROW)
                return;
        fprintf(stderr, "engine: %s: %s\n", what, sqlite3_errmsg(database));
        _exit(1);
}

static void execute(sqlite3 *database, const char *sql) {
        must(database, sqlite3_exec(database, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql) {
        sqlite3_stmt *statement = NULL;

        must(database, sqlite3_prepare_v2(database, sql, -1, &statement, NULL), sql);
        return statement;
}

static sqlite3 *open_destination(const struct engine_job *job) {
        sqlite3 *database = NULL;

        must(database, sqlite3_open(job->destination, &database), job->destination);
        /* Page and cache as Baton chooses them, so that what is compared is the movement alone. */
        execute(database, "PRAGMA page_size = 8192; PRAGMA cache_size = -8000; PRAGMA journal_mode = WAL;"
                          "PRAGMA synchronous = FULL");
        execute(database, job->schema);
        execute(database, "CREATE TABLE position(p INTEGER); INSERT INTO position VALUES (0)");
        return database;
}

static void run_select(const struct engine_job *job) {
        sqlite3 *database = open_destination(job);
        char *attach = sqlite3_mprintf("ATTACH 'file:%s?mode=ro' AS s", job->source);
        sqlite3_stmt *move, *position;
        uint64_t last = 0;
        int moved;

        execute(database, attach);
        move = prepare(database,
                       "INSERT INTO baton_events SELECT 'a', seq, key, type, at, payload FROM s.outbox"
                       " WHERE seq > ? ORDER BY seq LIMIT ?");
        position =
                prepare(database,
                        "UPDATE position SET p = (SELECT max(position) FROM baton_events WHERE session = 'a')"
                        " RETURNING p");
        do {
                execute(database, "BEGIN IMMEDIATE");
                (void) sqlite3_bind_int64(move, 1, (int64_t) last);
                (void) sqlite3_bind_int64(move, 2, (int64_t) job->rows_per_transaction);
                must(database, sqlite3_step(move), "move");
                moved = sqlite3_changes(database);
                (void) sqlite3_reset(move);
                must(database, sqlite3_step(position), "position");
                last = (uint64_t) sqlite3_column_int64(position, 0);
                (void) sqlite3_reset(position);
                execute(database, "COMMIT");
        } while ((uint64_t) moved == job->rows_per_transaction);
        (void) sqlite3_finalize(move);
        (void) sqlite3_finalize(position);
        (void) sqlite3_close(database);
        sqlite3_free(attach);
}

/* Bound where it stands: nothing is copied twice. */
static void bind_column(sqlite3_stmt *read, sqlite3_stmt *write, int column) {
        switch (sqlite3_column_type(read, column)) {
        case SQLITE_INTEGER:
                (void) sqlite3_bind_int64(write, column + 1, sqlite3_column_int64(read, column));
                break;
        case SQLITE_TEXT:
                (void) sqlite3_bind_text(write, column + 1, (const char *) sqlite3_column_text(read, column),
                                         sqlite3_column_bytes(read, column), SQLITE_STATIC);
                break;
        default:
                (void) sqlite3_bind_value(write, column + 1, sqlite3_column_value(read, column));
                break;
        }
}

static uint64_t copy_rows(sqlite3_stmt *read, sqlite3_stmt *write, sqlite3 *database, uint64_t *last) {
        uint64_t moved = 0;

        while (sqlite3_step(read) == SQLITE_ROW) {
                *last = (uint64_t) sqlite3_column_int64(read, 0);
                for (int column = 0; column < 5; column++)
                        bind_column(read, write, column);
                must(database, sqlite3_step(write), "insert");
                (void) sqlite3_reset(write);
                moved++;
        }
        (void) sqlite3_reset(read);
        return moved;
}

static void run_prepared(const struct engine_job *job) {
        sqlite3 *database = open_destination(job), *source = NULL;
        sqlite3_stmt *read, *write, *position;
        uint64_t last = 0, moved;

        must(source, sqlite3_open_v2(job->source, &source, SQLITE_OPEN_READONLY, NULL), job->source);
        read = prepare(source,
                       "SELECT seq, key, type, at, payload FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?");
        write = prepare(database, "INSERT INTO baton_events VALUES ('a', ?, ?, ?, ?, ?)");
        position = prepare(database, "UPDATE position SET p = ?");
        do {
                execute(database, "BEGIN IMMEDIATE");
                (void) sqlite3_bind_int64(read, 1, (int64_t) last);
                (void) sqlite3_bind_int64(read, 2, (int64_t) job->rows_per_transaction);
                moved = copy_rows(read, write, database, &last);
                (void) sqlite3_bind_int64(position, 1, (int64_t) last);
                must(database, sqlite3_step(position), "position");
                (void) sqlite3_reset(position);
                execute(database, "COMMIT");
        } while (moved == job->rows_per_transaction);
        (void) sqlite3_finalize(read);
        (void) sqlite3_finalize(write);
        (void) sqlite3_finalize(position);
        (void) sqlite3_close(source);
        (void) sqlite3_close(database);
}

static void remove_database(const char *file) {
        char path[1024];

        for (unsigned i = 0; i < 3; i++) {
                (void) snprintf(path, sizeof(path), "%s%s", file, (const char *[]){ "", "-wal", "-shm" }[i]);
                (void) unlink(path);
        }
}

double engine_run(const struct engine_job *jobs, unsigned count) {
        uint64_t began_usec;
        pid_t pids[16];
        bool failed = false;
        int status;

        assert(count <= ELEMENTSOF(pids));
        for (unsigned i = 0; i < count; i++)
                remove_database(jobs[i].destination);
        sync();
        began_usec = clock_usec();
        for (unsigned i = 0; i < count; i++) {
                pids[i] = fork();
                if (pids[i] == 0) {
                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        if (jobs[i].prepared)
                                run_prepared(&jobs[i]);
                        else
                                run_select(&jobs[i]);
                        _exit(0);
                }
        }
        for (unsigned i = 0; i < count; i++)
                failed |= waitpid(pids[i], &status, 0) < 0 || status != 0;
        return failed ? -1 : (double) (clock_usec() - began_usec) / 1e6;
}
