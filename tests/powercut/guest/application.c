/* SPDX-License-Identifier: Apache-2.0 */
/* The application: for each source a process that inserts events and, in the same transaction, what it
 * inserted into a ledger of its own.
 *
 * Numbers have no gaps, so an event's number is also how many there were. What an event holds depends on
 * the boot too: an event that its source lost in a cut and one that is given the same number afterwards
 * differ, so a destination that kept the first is found out (M11).
 * Must not touch: anything but its database. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "tests/powercut/guest/guest.h"

#define TRANSACTION_EVENTS_MAX 12
#define PAYLOAD_BYTES_MAX 24576
#define PAUSE_USEC_MAX 40000

struct application {
        _Atomic uint64_t committed[SOURCE_COUNT];
        _Atomic bool stops;
};

struct writer {
        const struct source *source;
        sqlite3 *database;
        sqlite3_stmt *insert, *ledger, *last;
        uint64_t random, boot;
};

_noreturn_ static void fail(const struct writer *writer, const char *what) {
        say("writer of %s: %s: %s", writer->source->name, what, sqlite3_errmsg(writer->database));
        _exit(1);
}

static uint64_t random_next(struct writer *writer) {
        writer->random ^= writer->random << 13;
        writer->random ^= writer->random >> 7;
        writer->random ^= writer->random << 17;
        return writer->random;
}

static void execute(struct writer *writer, const char *sql) {
        if (sqlite3_exec(writer->database, sql, NULL, NULL, NULL) != SQLITE_OK)
                fail(writer, sql);
}

static sqlite3_stmt *prepare(struct writer *writer, const char *sql) {
        sqlite3_stmt *statement = NULL;

        if (sqlite3_prepare_v3(writer->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
            SQLITE_OK)
                fail(writer, sql);
        return statement;
}

/* A small automatic checkpoint, so that cuts fall into one often. */
static void open_database(struct writer *writer) {
        if (sqlite3_open(writer->source->file, &writer->database) != SQLITE_OK)
                fail(writer, "open");
        (void) sqlite3_busy_timeout(writer->database, 600000);
        execute(writer, "PRAGMA journal_mode = WAL");
        execute(writer, writer->source->normal ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL");
        execute(writer, "PRAGMA wal_autocheckpoint = 150");
        execute(writer, "CREATE TABLE IF NOT EXISTS ledger(seq INTEGER PRIMARY KEY, key, type, at, payload)");
        writer->insert = prepare(writer, "INSERT INTO outbox(seq, key, type, at, payload)"
                                         " VALUES (?, ?, 'thing.done', '2026-01-01T00:00:00Z', ?)");
        writer->ledger = prepare(writer, "INSERT INTO ledger SELECT seq, key, type, at, payload"
                                         " FROM outbox WHERE seq = ?");
        writer->last = prepare(writer, "SELECT coalesce(max(seq), 0) FROM ledger");
}

static uint64_t last_seq(struct writer *writer) {
        uint64_t last;

        if (sqlite3_step(writer->last) != SQLITE_ROW)
                fail(writer, "the last event");
        last = (uint64_t) sqlite3_column_int64(writer->last, 0);
        (void) sqlite3_reset(writer->last);
        return last;
}

static int step(sqlite3_stmt *statement) {
        int r = sqlite3_step(statement);

        (void) sqlite3_reset(statement);
        return r == SQLITE_DONE ? SQLITE_OK : r;
}

static int insert_event(struct writer *writer, uint64_t seq) {
        static char payload[PAYLOAD_BYTES_MAX + 128];
        size_t want = random_next(writer) % 64 == 0 ? PAYLOAD_BYTES_MAX : 40 + random_next(writer) % 200;
        size_t used = (size_t) snprintf(payload, sizeof(payload),
                                        "{\"source\":\"%s\",\"seq\":%" PRIu64 ",\"boot\":\"%016" PRIx64
                                        "\",\"data\":\"",
                                        writer->source->name, seq, writer->boot);
        char key[32];
        int r;

        for (size_t i = 0; i < want; i++)
                payload[used++] = "0123456789abcdef"[(seq + i * i) % 16];
        payload[used++] = '"';
        payload[used++] = '}';
        (void) snprintf(key, sizeof(key), "k%" PRIu64, seq % 13);
        (void) sqlite3_bind_int64(writer->insert, 1, (int64_t) seq);
        (void) sqlite3_bind_text(writer->insert, 2, key, -1, SQLITE_TRANSIENT);
        (void) sqlite3_bind_text(writer->insert, 3, payload, (int) used, SQLITE_STATIC);
        r = step(writer->insert);
        if (r != SQLITE_OK)
                return r;
        (void) sqlite3_bind_int64(writer->ledger, 1, (int64_t) seq);
        return step(writer->ledger);
}

/* The last event that is committed now. A full disk is waited for, as an application would; what its
 * database then holds, it says. */
static uint64_t write_transaction(struct writer *writer, uint64_t last) {
        uint64_t count = 1 + random_next(writer) % TRANSACTION_EVENTS_MAX;
        bool rolls_back = random_next(writer) % 9 == 0;
        int r = sqlite3_exec(writer->database, "BEGIN IMMEDIATE", NULL, NULL, NULL);

        for (uint64_t i = 1; r == SQLITE_OK && i <= count; i++)
                r = insert_event(writer, last + i);
        if (r == SQLITE_OK)
                r = sqlite3_exec(writer->database, rolls_back ? "ROLLBACK" : "COMMIT", NULL, NULL, NULL);
        if (r == SQLITE_OK)
                return rolls_back ? last : last + count;
        if (r != SQLITE_FULL && r != SQLITE_IOERR)
                fail(writer, "a transaction");
        (void) sqlite3_exec(writer->database, "ROLLBACK", NULL, NULL, NULL);
        (void) usleep(100000);
        return last_seq(writer);
}

_noreturn_ static void writer_main(struct application *application, unsigned index) {
        struct writer writer = { .source = &sources[index] };
        uint64_t last;

        (void) getrandom(&writer.random, sizeof(writer.random), 0);
        (void) getrandom(&writer.boot, sizeof(writer.boot), 0);
        writer.random |= 1;
        open_database(&writer);
        last = last_seq(&writer);
        while (!application->stops) {
                last = write_transaction(&writer, last);
                application->committed[index] = last;
                (void) usleep((useconds_t) (random_next(&writer) % PAUSE_USEC_MAX));
        }
        (void) sqlite3_finalize(writer.insert);
        (void) sqlite3_finalize(writer.ledger);
        (void) sqlite3_finalize(writer.last);
        (void) sqlite3_close(writer.database);
        _exit(0);
}

/* ---- in init ----------------------------------------------------------------------------------- */
void application_begin(struct guest *guest) {
        void *shared = mmap(NULL, sizeof(struct application), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (shared == MAP_FAILED)
                guest_fail(guest, "no memory");
        guest->application = shared;
}

static void start_writers(struct guest *guest) {
        for (unsigned i = 0; i < SOURCE_COUNT; i++) {
                guest->writers[i] = fork();
                if (guest->writers[i] == 0)
                        writer_main(guest->application, i);
        }
}

void application_start(struct guest *guest) {
        guest->application->stops = false;
        start_writers(guest);
}

void application_stop(struct guest *guest) {
        guest->application->stops = true;
        for (unsigned i = 0; i < SOURCE_COUNT; i++)
                if (program_end(&guest->writers[i], 0) != 0)
                        guest_fail(guest, "the writer of %s failed", sources[i].name);
}

/* Writers that are told to stop at once make their tables and no event. */
void application_install(struct guest *guest) {
        guest->application->stops = true;
        start_writers(guest);
        application_stop(guest);
}

uint64_t application_committed(const struct guest *guest, unsigned source) {
        return guest->application->committed[source];
}

/* In a process of its own: init forks. */
_noreturn_ static void read_last(const struct source *source, _Atomic uint64_t *ret_last) {
        sqlite3 *database = NULL;
        sqlite3_stmt *row = NULL;

        if (sqlite3_open_v2(source->file, &database, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
                _exit(1);
        (void) sqlite3_busy_timeout(database, 600000);
        if (sqlite3_prepare_v2(database, "SELECT coalesce(max(seq), 0) FROM ledger", -1, &row, NULL) !=
                    SQLITE_OK ||
            sqlite3_step(row) != SQLITE_ROW)
                _exit(1);
        *ret_last = (uint64_t) sqlite3_column_int64(row, 0);
        (void) sqlite3_finalize(row);
        (void) sqlite3_close(database);
        _exit(0);
}

uint64_t source_last(struct guest *guest, unsigned source) {
        _Atomic uint64_t *last = &guest->application->committed[source];
        pid_t pid;

        *last = 0;
        pid = fork();
        if (pid == 0)
                read_last(&sources[source], last);
        if (pid < 0 || program_end(&pid, 0) != 0)
                guest_fail(guest, "source %s cannot be read", sources[source].name);
        return *last;
}
