/* SPDX-License-Identifier: Apache-2.0 */
/* The application's writer, and what a test does to its databases.
 *
 * SQLite is used in child processes alone: the test's process forks, and a connection must not be
 * carried over a fork. Must not touch: Baton. */
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/world/outbox.h"

#define TEXT_BYTES 4096
#define POISON_EVERY 211
#define PAUSE_EVERY 23  /* transactions */
#define LINGER_EVERY 17 /* transactions; every other one is rolled back */

struct writer {
        const struct writer_options *options;
        const struct world_outbox *outbox;
        sqlite3 *database;
        sqlite3_stmt *insert, *ledger;
        uint64_t random, seq, committed;
};

/* ---- in the child ------------------------------------------------------------------------------ */
_noreturn_ static void child_failed(sqlite3 *database, const char *what) {
        fprintf(stderr, "writer: %s: %s\n", what, database ? sqlite3_errmsg(database) : "");
        _exit(1);
}

static void execute(sqlite3 *database, const char *sql) {
        if (sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK)
                child_failed(database, sql);
}

static sqlite3 *open_database(const char *file) {
        sqlite3 *database = NULL;

        if (sqlite3_open_v2(file, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
                child_failed(database, file);
        (void) sqlite3_busy_timeout(database, 20000);
        return database;
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql) {
        sqlite3_stmt *statement = NULL;

        if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK)
                child_failed(database, sql);
        return statement;
}

static uint64_t next_random(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

static void step(struct writer *writer, sqlite3_stmt *statement) {
        if (sqlite3_step(statement) != SQLITE_DONE)
                child_failed(writer->database, "insert");
        (void) sqlite3_reset(statement);
}

/* All storage classes, one after the other, and values at the edges. */
static void bind_mixed(struct writer *writer, uint64_t seq) {
        sqlite3_stmt *insert = writer->insert;

        switch (seq % 7) {
        case 0:
                (void) sqlite3_bind_null(insert, 2);
                (void) sqlite3_bind_zeroblob(insert, 5, 70000);
                break;
        case 1:
                (void) sqlite3_bind_int64(insert, 2, (int64_t) seq * -7);
                (void) sqlite3_bind_text(insert, 5, "", 0, SQLITE_STATIC);
                break;
        case 2:
                (void) sqlite3_bind_double(insert, 2, (double) seq / 3);
                (void) sqlite3_bind_blob(insert, 5, "a\0b\xff", 4, SQLITE_STATIC);
                break;
        case 3:
                (void) sqlite3_bind_text(insert, 2, "nul\0in it", 9, SQLITE_STATIC);
                (void) sqlite3_bind_text(insert, 5, "not utf-8: \xff\xfe", 13, SQLITE_STATIC);
                break;
        case 4:
                (void) sqlite3_bind_int64(insert, 2, INT64_MIN);
                (void) sqlite3_bind_int64(insert, 5, INT64_MAX);
                break;
        case 5:
                (void) sqlite3_bind_double(insert, 5, -0.0);
                break;
        default:
                break;
        }
}

static const char *type_of(const struct writer *writer, uint64_t seq) {
        static const char *const types[] = { "order.created", "order.paid", "order.sent" };

        return writer->options->poisons && seq % POISON_EVERY == 0 ? WRITER_POISON
                                                                   : types[seq % ELEMENTSOF(types)];
}

/* What event (source, seq) holds. */
static void insert_event(struct writer *writer, uint64_t seq) {
        unsigned want = writer->options->payload_bytes ? writer->options->payload_bytes : 120;
        uint64_t random = (seq + 1) * 0x9e3779b97f4a7c15ULL ^ (uint64_t) writer->outbox->name[0] ^
                          writer->options->salt * 0xd1b54a32d192ed03ULL;
        char key[96], at[CLOCK_TEXT_BYTES], payload[TEXT_BYTES];
        size_t used;

        (void) snprintf(key, sizeof(key), "%s-%" PRIu64, writer->outbox->name, seq % 97);
        clock_format((1767225600ULL + seq) * USEC_PER_SEC, at, sizeof(at));
        used = (size_t) snprintf(payload, sizeof(payload),
                                 "{\"source\":\"%s\",\"seq\":%" PRIu64 ",\"data\":\"", writer->outbox->name,
                                 seq);
        while (used + 2 < want && used + 3 < sizeof(payload))
                payload[used++] = "0123456789abcdef"[next_random(&random) >> 60];
        memcpy(payload + used, "\"}", 3);

        (void) sqlite3_bind_int64(writer->insert, 1, (int64_t) seq);
        (void) sqlite3_bind_text(writer->insert, 2, key, -1, SQLITE_TRANSIENT);
        (void) sqlite3_bind_text(writer->insert, 3, type_of(writer, seq), -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(writer->insert, 4, at, -1, SQLITE_TRANSIENT);
        (void) sqlite3_bind_text(writer->insert, 5, payload, -1, SQLITE_TRANSIENT);
        if (writer->options->mixes_classes)
                bind_mixed(writer, seq);
        step(writer, writer->insert);
        if (writer->ledger) {
                (void) sqlite3_bind_int64(writer->ledger, 1, (int64_t) seq);
                step(writer, writer->ledger);
        }
}

static void rest(struct writer *writer, unsigned msec_max) {
        (void) usleep((useconds_t) (next_random(&writer->random) % msec_max * USEC_PER_MSEC));
}

/* Of the events after `before`, up to `seq`. */
static void note_commit(struct writer_commits *commits, uint64_t before, uint64_t seq) {
        uint64_t now_usec = clock_usec();

        for (uint64_t i = before + 1; i <= seq; i++)
                commits->at_usec[i % WRITER_COMMITS_MAX] = now_usec;
}

/* One transaction. Rolled back: its numbers are given again. */
static void write_transaction(struct writer *writer) {
        const struct writer_options *options = writer->options;
        uint64_t most = options->transaction_events ? options->transaction_events : 20, seq = writer->seq;
        uint64_t count = next_random(&writer->random) % most + 1;
        bool rolled_back = options->rolls_back && next_random(&writer->random) % 7 == 0;
        bool lingers = options->lingers_msec > 0 && next_random(&writer->random) % LINGER_EVERY == 0;

        rolled_back = rolled_back || (lingers && next_random(&writer->random) % 2 == 0);
        count = MIN_OF(count, options->events - writer->committed);
        execute(writer->database, "BEGIN IMMEDIATE");
        for (uint64_t i = 0; i < count; i++) {
                seq += options->leaves_gaps && next_random(&writer->random) % 29 == 0 ? 3 : 1;
                insert_event(writer, seq);
        }
        if (lingers)
                rest(writer, options->lingers_msec);
        execute(writer->database, rolled_back ? "ROLLBACK" : "COMMIT");
        if (rolled_back)
                return;
        if (options->commits)
                note_commit(options->commits, writer->seq, seq);
        writer->seq = seq;
        writer->committed += count;
}

static void pace(struct writer *writer, uint64_t began_usec) {
        uint64_t due;

        if (writer->options->pauses_msec > 0 && next_random(&writer->random) % PAUSE_EVERY == 0)
                rest(writer, writer->options->pauses_msec);
        if (writer->options->per_second == 0)
                return;
        due = began_usec + writer->committed * USEC_PER_SEC / writer->options->per_second;
        while (clock_usec() < due)
                (void) usleep((useconds_t) MIN_OF(due - clock_usec() + 1, (uint64_t) 50000));
}

/* The highest seq ever given: what is there, or what AUTOINCREMENT remembers of what was cleaned. */
static uint64_t last_seq(sqlite3 *database) {
        static const char *const questions[] = { "SELECT max(seq) FROM outbox",
                                                 "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'",
                                                 "SELECT max(seq) FROM ledger" };
        uint64_t last = 0;

        for (size_t i = 0; i < ELEMENTSOF(questions); i++) {
                sqlite3_stmt *row = NULL;

                if (sqlite3_prepare_v2(database, questions[i], -1, &row, NULL) == SQLITE_OK &&
                    sqlite3_step(row) == SQLITE_ROW)
                        last = MAX_OF(last, (uint64_t) sqlite3_column_int64(row, 0));
                (void) sqlite3_finalize(row);
        }
        return last;
}

static void set_durability(sqlite3 *database, const struct writer_options *options) {
        char sql[64];

        execute(database,
                options->rollback_journal ? "PRAGMA journal_mode = DELETE" : "PRAGMA journal_mode = WAL");
        execute(database, options->normal ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL");
        if (options->checkpoint_pages == 0)
                return;
        (void) snprintf(sql, sizeof(sql), "PRAGMA wal_autocheckpoint = %u", options->checkpoint_pages);
        execute(database, sql);
}

_noreturn_ static void writer_main(const struct writer_options *options, const struct world_outbox *outbox) {
        struct writer writer = { .options = options,
                                 .outbox = outbox,
                                 .database = open_database(outbox->file) };
        uint64_t began_usec = clock_usec();

        set_durability(writer.database, options);
        if (outbox->has_ledger)
                execute(writer.database, "CREATE TABLE IF NOT EXISTS ledger"
                                         "(seq INTEGER PRIMARY KEY, key, type, at, payload)");
        writer.insert = prepare(writer.database,
                                "INSERT INTO outbox(seq, key, type, at, payload) VALUES (?, ?, ?, ?, ?)");
        if (outbox->has_ledger)
                writer.ledger = prepare(writer.database,
                                        "INSERT INTO ledger SELECT seq, key, type, at, payload"
                                        " FROM outbox WHERE seq = ?");
        writer.seq = last_seq(writer.database);
        writer.random = writer.seq * 2 + (uint64_t) outbox->name[0] + 1;
        while (writer.committed < options->events && !(options->stops && *options->stops)) {
                write_transaction(&writer);
                pace(&writer, began_usec);
        }
        (void) sqlite3_finalize(writer.insert);
        (void) sqlite3_finalize(writer.ledger);
        (void) sqlite3_close(writer.database);
        _exit(0);
}

/* ---- in the test ------------------------------------------------------------------------------- */
static const struct world_outbox *find_outbox(struct world *world, const char *name) {
        for (size_t i = 0; i < world->outbox_count; i++)
                if (strcmp(world->outboxes[i].name, name) == 0)
                        return &world->outboxes[i];
        world_fail(world, "the test knows no outbox %s", name);
}

static pid_t fork_child(struct world *world) {
        pid_t pid = fork();

        if (pid < 0)
                world_fail(world, "cannot fork");
        if (pid == 0)
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        return pid;
}

pid_t writer_start(struct world *world, const struct writer_options *options) {
        const struct world_outbox *outbox = find_outbox(world, options->source);
        pid_t pid = fork_child(world);

        if (pid == 0)
                writer_main(options, outbox);
        return pid;
}

void writer_wait(struct world *world, pid_t writer) {
        int r = wait_exit(writer);

        if (r != 0)
                world_fail(world, "a writer failed (%d)", r);
}

void outbox_fill_options(struct world *world, const struct writer_options *options) {
        writer_wait(world, writer_start(world, options));
}

void outbox_fill(struct world *world, const char *source, uint64_t events) {
        struct writer_options options = { .source = source, .events = events, .transaction_events = 500 };

        outbox_fill_options(world, &options);
}

/* Runs SQL in a child, which leaves the first value in `shared`. */
static void database_child(const struct world *world, const char *file, const char *sql, char *shared) {
        sqlite3 *database = chdir(world->directory) == 0 ? open_database(file) : NULL;
        sqlite3_stmt *row;
        const char *rest = sql;
        int r = SQLITE_OK;

        shared[0] = '\0';
        while (rest[0] && strspn(rest, " ;\n") < strlen(rest)) {
                if (sqlite3_prepare_v2(database, rest, -1, &row, &rest) != SQLITE_OK)
                        child_failed(database, sql);
                while ((r = sqlite3_step(row)) == SQLITE_ROW)
                        if (shared[0] == '\0' && sqlite3_column_text(row, 0))
                                (void) snprintf(shared, TEXT_BYTES, "%s",
                                                (const char *) sqlite3_column_text(row, 0));
                if (r != SQLITE_DONE)
                        child_failed(database, sql);
                (void) sqlite3_finalize(row);
        }
        (void) sqlite3_close(database);
        _exit(0);
}

const char *database_text(struct world *world, const char *file, const char *sql) {
        static char text[TEXT_BYTES];
        char *shared = mmap(NULL, TEXT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        pid_t pid;
        int r;

        assert(shared != MAP_FAILED);
        pid = fork_child(world);
        if (pid == 0)
                database_child(world, file, sql, shared);
        r = wait_exit(pid);
        memcpy(text, shared, TEXT_BYTES);
        (void) munmap(shared, TEXT_BYTES);
        if (r != 0)
                world_fail(world, "%s: %s failed", file, sql);
        return text;
}

void database_run(struct world *world, const char *file, const char *sql) {
        (void) database_text(world, file, sql);
}

int64_t database_number(struct world *world, const char *file, const char *sql) {
        return strtoll(database_text(world, file, sql), NULL, 10);
}

uint64_t outbox_last(struct world *world, const char *source) {
        const struct world_outbox *outbox = find_outbox(world, source);

        return (uint64_t) database_number(world, outbox->file,
                                          outbox->has_ledger ? "SELECT coalesce(max(seq), 0) FROM ledger"
                                                             : "SELECT coalesce(max(seq), 0) FROM outbox");
}

void wait_moved(struct world *world, const char *session, const char *source) {
        uint64_t last = outbox_last(world, source);

        WAIT_UNTIL(world, session_position(world, session) >= last);
}

void wait_all_moved(struct world *world) {
        for (size_t i = 0; i < world->outbox_count; i++)
                wait_moved(world, world->outboxes[i].name, world->outboxes[i].name);
}

/* Through SQLite's backup interface, as an online restore is done: into the same file. */
_noreturn_ static void restore_child(const char *file, const char *from) {
        sqlite3 *to = open_database(file), *source = open_database(from);
        sqlite3_backup *backup = sqlite3_backup_init(to, "main", source, "main");

        if (!backup || sqlite3_backup_step(backup, -1) != SQLITE_DONE ||
            sqlite3_backup_finish(backup) != SQLITE_OK)
                child_failed(to, "restore");
        (void) sqlite3_close(source);
        (void) sqlite3_close(to);
        _exit(0);
}

void database_restore(struct world *world, const char *file, const char *from) {
        pid_t pid = fork_child(world);

        if (pid == 0)
                restore_child(file, from);
        if (wait_exit(pid) != 0)
                world_fail(world, "cannot restore %s from %s", file, from);
}
