/* SPDX-License-Identifier: Apache-2.0 */
/* The application of the demo: a process that inserts events into both outboxes, in transactions of
 * varying size, at a pace that lets the pictures be seen. It knows nothing of Baton.
 * Must not touch: anything but the two outboxes and its words in the shared page. */
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "supervisor/cli/demo.h"

#define PAYLOAD_BYTES 256
#define BUSY_MSEC 10000

struct outbox {
        sqlite3 *database;
        sqlite3_stmt *insert;
        const char *name;
        uint64_t written;
};

struct writer {
        const struct demo *demo;
        struct outbox outboxes[DEMO_SESSION_COUNT];
        uint64_t random;
};

static int trouble(const struct writer *writer, const struct outbox *outbox) {
        (void) snprintf(writer->demo->shared->trouble, sizeof(writer->demo->shared->trouble), "outbox %s: %s",
                        outbox->name, outbox->database ? sqlite3_errmsg(outbox->database) : "out of memory");
        return -EIO;
}

static int outbox_open(struct writer *writer, unsigned index) {
        struct outbox *outbox = &writer->outboxes[index];
        char path[DEMO_PATH_BYTES];

        outbox->name = demo_sessions[index];
        demo_outbox_path(writer->demo, index, path);
        if (sqlite3_open_v2(path, &outbox->database, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
            sqlite3_busy_timeout(outbox->database, BUSY_MSEC) != SQLITE_OK ||
            sqlite3_exec(outbox->database, "PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_prepare_v2(outbox->database, "INSERT INTO outbox (key, type, payload) VALUES (?, ?, ?)",
                               -1, &outbox->insert, NULL) != SQLITE_OK)
                return trouble(writer, outbox);
        return 0;
}

static void outbox_close(struct outbox *outbox) {
        (void) sqlite3_finalize(outbox->insert);
        (void) sqlite3_close_v2(outbox->database);
}

/* xorshift64: the same sizes in each run. */
static uint64_t draw(struct writer *writer) {
        writer->random ^= writer->random << 13;
        writer->random ^= writer->random >> 7;
        writer->random ^= writer->random << 17;
        return writer->random;
}

static int insert_one(struct writer *writer, struct outbox *outbox, uint64_t number) {
        char payload[PAYLOAD_BYTES + 1], key[32];
        int length;

        length = snprintf(payload, sizeof(payload),
                          "{\"number\":%" PRIu64 ",\"amount\":%" PRIu64 ",\"note\":\"", number,
                          draw(writer) % 100000);
        memset(payload + length, '.', (size_t) (PAYLOAD_BYTES - 2 - length));
        memcpy(payload + PAYLOAD_BYTES - 2, "\"}", 3);
        (void) snprintf(key, sizeof(key), "customer-%" PRIu64, draw(writer) % 1000);
        (void) sqlite3_bind_text(outbox->insert, 1, key, -1, SQLITE_TRANSIENT);
        (void) sqlite3_bind_text(outbox->insert, 2, outbox->name, -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(outbox->insert, 3, payload, PAYLOAD_BYTES, SQLITE_TRANSIENT);
        if (sqlite3_step(outbox->insert) != SQLITE_DONE || sqlite3_reset(outbox->insert) != SQLITE_OK)
                return trouble(writer, outbox);
        return 0;
}

static int write_transaction(struct writer *writer, unsigned index, uint64_t count) {
        struct outbox *outbox = &writer->outboxes[index];
        int r;

        if (sqlite3_exec(outbox->database, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
                return trouble(writer, outbox);
        for (uint64_t i = 1; i <= count; i++) {
                r = insert_one(writer, outbox, outbox->written + i);
                if (r < 0)
                        return r;
        }
        if (sqlite3_exec(outbox->database, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
                return trouble(writer, outbox);
        outbox->written += count;
        atomic_store(&writer->demo->shared->written[index], outbox->written);
        return 0;
}

/* What should be written by now, for each outbox. */
static uint64_t due(const struct demo *demo, uint64_t elapsed_usec) {
        uint64_t span_usec = demo->seconds * USEC_PER_SEC;

        if (elapsed_usec >= span_usec)
                return demo->events;
        return (uint64_t) ((double) demo->events * ((double) elapsed_usec / (double) span_usec));
}

static int write_all(struct writer *writer) {
        const struct demo *demo = writer->demo;
        uint64_t begin_usec = clock_usec();
        /* Up to 1/200 of all in a transaction, at most 800. */
        uint64_t largest = MAX_OF(MIN_OF(demo->events / 200, (uint64_t) 800), (uint64_t) 1);
        bool is_finished;
        int r;

        do {
                uint64_t target = due(demo, clock_usec() - begin_usec);
                bool is_idle = true;

                is_finished = true;
                for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++) {
                        uint64_t written = writer->outboxes[i].written;
                        uint64_t count = 1 + draw(writer) % largest;

                        is_finished &= written == demo->events;
                        if (written >= target)
                                continue;
                        r = write_transaction(writer, i, MIN_OF(count, demo->events - written));
                        if (r < 0)
                                return r;
                        is_idle = false;
                }
                if (is_idle && !is_finished)
                        demo_sleep(2 * USEC_PER_MSEC);
        } while (!is_finished);
        return 0;
}

int demo_write(const struct demo *demo) {
        struct writer writer = { .demo = demo, .random = 0x9e3779b97f4a7c15ULL };
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < DEMO_SESSION_COUNT; i++)
                r = outbox_open(&writer, i);
        if (r >= 0)
                r = write_all(&writer);
        if (r >= 0)
                atomic_store(&demo->shared->is_finished, 1);
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++)
                outbox_close(&writer.outboxes[i]);
        return r < 0;
}
