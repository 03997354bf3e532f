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
        execute(database, "CREATE TABLE position(s INTEGER PRIMARY KEY, p INTEGER);"
                          "INSERT INTO position VALUES (0, 0), (1, 0), (2, 0), (3, 0)");
        return database;
}

/* One source of a job: its statements and how far it is. Its events bear its number as their session. */
struct part {
        sqlite3 *source; /* prepared loop */
        sqlite3_stmt *read, *write, *position;
        uint64_t last;
        bool is_done;
};

static void select_begin(struct part *part, sqlite3 *database, const char *source, unsigned number) {
        char *attach = sqlite3_mprintf("ATTACH 'file:%s?mode=ro' AS s%u", source, number);
        char *move = sqlite3_mprintf("INSERT INTO baton_events SELECT '%c', seq, key, type, at, payload"
                                     " FROM s%u.outbox WHERE seq > ? ORDER BY seq LIMIT ?",
                                     'a' + number, number);
        char *position = sqlite3_mprintf("UPDATE position SET p = (SELECT max(position) FROM baton_events"
                                         " WHERE session = '%c') WHERE s = %u RETURNING p",
                                         'a' + number, number);

        execute(database, attach);
        part->write = prepare(database, move);
        part->position = prepare(database, position);
        sqlite3_free(attach);
        sqlite3_free(move);
        sqlite3_free(position);
}

static void select_move(struct part *part, sqlite3 *database, uint64_t rows) {
        (void) sqlite3_bind_int64(part->write, 1, (int64_t) part->last);
        (void) sqlite3_bind_int64(part->write, 2, (int64_t) rows);
        must(database, sqlite3_step(part->write), "move");
        part->is_done = (uint64_t) sqlite3_changes(database) < rows;
        (void) sqlite3_reset(part->write);
        must(database, sqlite3_step(part->position), "position");
        part->last = (uint64_t) sqlite3_column_int64(part->position, 0);
        (void) sqlite3_reset(part->position);
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

static void loop_begin(struct part *part, sqlite3 *database, const char *source, unsigned number) {
        char *write = sqlite3_mprintf("INSERT INTO baton_events VALUES ('%c', ?, ?, ?, ?, ?)", 'a' + number);
        char *position = sqlite3_mprintf("UPDATE position SET p = ? WHERE s = %u", number);

        must(part->source, sqlite3_open_v2(source, &part->source, SQLITE_OPEN_READONLY, NULL), source);
        part->read = prepare(part->source, "SELECT seq, key, type, at, payload FROM outbox WHERE seq > ?"
                                           " ORDER BY seq LIMIT ?");
        part->write = prepare(database, write);
        part->position = prepare(database, position);
        sqlite3_free(write);
        sqlite3_free(position);
}

static void loop_move(struct part *part, sqlite3 *database, uint64_t rows) {
        (void) sqlite3_bind_int64(part->read, 1, (int64_t) part->last);
        (void) sqlite3_bind_int64(part->read, 2, (int64_t) rows);
        part->is_done = copy_rows(part->read, part->write, database, &part->last) < rows;
        (void) sqlite3_bind_int64(part->position, 1, (int64_t) part->last);
        must(database, sqlite3_step(part->position), "position");
        (void) sqlite3_reset(part->position);
}

static void part_end(struct part *part) {
        (void) sqlite3_finalize(part->read);
        (void) sqlite3_finalize(part->write);
        (void) sqlite3_finalize(part->position);
        (void) sqlite3_close(part->source);
}

static void run(const struct engine_job *job) {
        sqlite3 *database = open_destination(job);
        struct part parts[ENGINE_SOURCE_MAX] = {};
        unsigned done;

        for (unsigned i = 0; i < job->source_count; i++)
                (job->prepared ? loop_begin : select_begin)(&parts[i], database, job->sources[i], i);
        do {
                done = 0;
                execute(database, "BEGIN IMMEDIATE");
                for (unsigned i = 0; i < job->source_count; i++) {
                        if (!parts[i].is_done)
                                (job->prepared ? loop_move : select_move)(&parts[i], database,
                                                                          job->rows_per_transaction);
                        done += parts[i].is_done;
                }
                execute(database, "COMMIT");
        } while (done < job->source_count);
        for (unsigned i = 0; i < job->source_count; i++)
                part_end(&parts[i]);
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
                        run(&jobs[i]);
                        _exit(0);
                }
        }
        for (unsigned i = 0; i < count; i++)
                failed |= waitpid(pids[i], &status, 0) < 0 || status != 0;
        return failed ? -1 : (double) (clock_usec() - began_usec) / 1e6;
}
