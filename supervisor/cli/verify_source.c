/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox as verify reads it: rows in the order of seq, copied in chunks of a bounded size, each in a
 * read transaction of its own that ends before the chunk is compared (M12: a guest holds nothing).
 * Each chunk also reads the lowest seq, so that a clean-up in between is seen, not taken for a loss.
 * Must not touch: a byte of the application's database. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/format.h"
#include "supervisor/cli/verify.h"

#define CHUNK_ROWS 1000
#define CHUNK_BYTES (4u << 20)

struct verify_source {
        sqlite3 *database;
        sqlite3_stmt *chunk, *first, *at;
        char path[URL_BYTES];
        struct event events[CHUNK_ROWS];
        void *copies[CHUNK_ROWS]; /* one block for each event's texts; owned */
        size_t count, next;
        uint64_t after, first_position;
        uint64_t at_end_of; /* `last` of a chunk that came back empty; 0: none has */
};

static void chunk_clear(struct verify_source *source) {
        for (size_t i = 0; i < source->count; i++)
                free(source->copies[i]);
        source->count = source->next = 0;
}

void verify_source_close(struct verify_source *source) {
        if (!source)
                return;
        chunk_clear(source);
        (void) sqlite3_finalize(source->chunk);
        (void) sqlite3_finalize(source->first);
        (void) sqlite3_finalize(source->at);
        verify_database_close(&source->database);
        free(source);
}

/* Names have passed text_is_identifier() (option_check()); quoted, they are nothing but names. */
static int prepare(struct verify_source *source, const struct url *url, const struct scheme *scheme,
                   struct failure *ret_failure) {
        const char *seq = option_text(scheme, url, "seq"), *table = option_text(scheme, url, "table");
        char columns[512], sql[1024];
        int r;

        (void) snprintf(columns, sizeof(columns), "\"%s\", \"%s\", \"%s\", \"%s\", \"%s\"", seq,
                        option_text(scheme, url, "key"), option_text(scheme, url, "type"),
                        option_text(scheme, url, "at"), option_text(scheme, url, "payload"));
        (void) snprintf(sql, sizeof(sql),
                        "SELECT %s FROM \"%s\" WHERE \"%s\" > ? AND \"%s\" <= ? ORDER BY \"%s\"", columns,
                        table, seq, seq, seq);
        r = verify_database_prepare(source->database, source->path, sql, &source->chunk, ret_failure);
        if (r < 0)
                return r;
        (void) snprintf(sql, sizeof(sql), "SELECT %s FROM \"%s\" WHERE \"%s\" = ?", columns, table, seq);
        r = verify_database_prepare(source->database, source->path, sql, &source->at, ret_failure);
        if (r < 0)
                return r;
        (void) snprintf(sql, sizeof(sql), "SELECT min(\"%s\") FROM \"%s\" WHERE \"%s\" > 0", seq, table, seq);
        return verify_database_prepare(source->database, source->path, sql, &source->first, ret_failure);
}

int verify_source_open(const struct url *url, const struct scheme *scheme, struct verify_source **ret_source,
                       struct failure *ret_failure) {
        struct verify_source *source = must_have(calloc(1, sizeof(*source)));
        int r;

        r = text_copy(source->path, sizeof(source->path), url->path);
        assert(r == 0);
        source->first_position = 1;
        r = verify_database_open(source->path, &source->database, ret_failure);
        if (r >= 0)
                r = prepare(source, url, scheme, ret_failure);
        if (r < 0) {
                verify_source_close(source);
                return r;
        }
        *ret_source = source;
        return 0;
}

static size_t data_bytes(const struct event_value *value) {
        return value->type == VALUE_TEXT || value->type == VALUE_BLOB ? value->bytes : 0;
}

static char *move_value(struct event_value *value, char *copy) {
        size_t bytes = data_bytes(value);

        if (bytes > 0) {
                memcpy(copy, value->data, bytes);
                value->data = copy;
        }
        return copy + bytes;
}

/* Copies the row at hand behind the chunk. Returns its bytes. */
static size_t chunk_add(struct verify_source *source, sqlite3_stmt *row) {
        struct event event = { .position = (uint64_t) sqlite3_column_int64(row, 0) };
        size_t bytes;
        char *copy;

        verify_database_event(row, 1, &event);
        bytes = data_bytes(&event.key) + data_bytes(&event.type) + data_bytes(&event.at) +
                data_bytes(&event.payload);
        copy = must_have(malloc(bytes + 1));
        source->copies[source->count] = copy;
        copy = move_value(&event.key, copy);
        copy = move_value(&event.type, copy);
        copy = move_value(&event.at, copy);
        (void) move_value(&event.payload, copy);
        source->events[source->count++] = event;
        return bytes;
}

/* An empty outbox was cleaned of everything. */
static int read_first(struct verify_source *source, struct failure *ret_failure) {
        int r = sqlite3_step(source->first);

        if (r == SQLITE_ROW)
                source->first_position = sqlite3_column_type(source->first, 0) == SQLITE_NULL
                                                 ? UINT64_MAX
                                                 : (uint64_t) sqlite3_column_int64(source->first, 0);
        (void) sqlite3_reset(source->first);
        return r == SQLITE_ROW ? 0 : verify_database_fail(source->database, source->path, ret_failure);
}

static int read_rows(struct verify_source *source, uint64_t last, struct failure *ret_failure) {
        size_t bytes = 0;
        int r = SQLITE_ROW;

        (void) sqlite3_bind_int64(source->chunk, 1, (sqlite3_int64) source->after);
        (void) sqlite3_bind_int64(source->chunk, 2, (sqlite3_int64) MIN_OF(last, (uint64_t) INT64_MAX));
        while (source->count < CHUNK_ROWS && bytes < CHUNK_BYTES) {
                r = sqlite3_step(source->chunk);
                if (r != SQLITE_ROW)
                        break;
                bytes += chunk_add(source, source->chunk);
        }
        (void) sqlite3_reset(source->chunk);
        return r == SQLITE_ROW || r == SQLITE_DONE
                       ? 0
                       : verify_database_fail(source->database, source->path, ret_failure);
}

/* Both statements see one moment: rows first vanish from below, never behind the lowest that is left. */
static int chunk_fill(struct verify_source *source, uint64_t last, struct failure *ret_failure) {
        int r;

        chunk_clear(source);
        if (sqlite3_exec(source->database, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
                return verify_database_fail(source->database, source->path, ret_failure);
        r = read_first(source, ret_failure);
        if (r >= 0)
                r = read_rows(source, last, ret_failure);
        (void) sqlite3_exec(source->database, "COMMIT", NULL, NULL, NULL);
        if (r >= 0 && source->count == 0)
                source->at_end_of = last;
        return r;
}

int verify_source_peek(struct verify_source *source, uint64_t last, const struct event **ret_event,
                       struct failure *ret_failure) {
        int r;

        if (source->next == source->count && (source->at_end_of == 0 || source->at_end_of < last)) {
                r = chunk_fill(source, last, ret_failure);
                if (r < 0)
                        return r;
        }
        *ret_event = source->next < source->count && source->events[source->next].position <= last
                             ? &source->events[source->next]
                             : NULL;
        return 0;
}

void verify_source_next(struct verify_source *source) {
        assert(source->next < source->count);
        source->after = source->events[source->next++].position;
}

int verify_source_compare(struct verify_source *source, const struct verify_arrival *arrival,
                          enum verify_answer *ret_answer, struct failure *ret_failure) {
        struct event event = { .position = arrival->position };
        enum verify_answer answer = VERIFY_ABSENT;
        int r;

        (void) sqlite3_bind_int64(source->at, 1, (sqlite3_int64) arrival->position);
        r = sqlite3_step(source->at);
        if (r == SQLITE_ROW) {
                verify_database_event(source->at, 1, &event);
                answer = arrival->is_same(arrival, &event) ? VERIFY_SAME : VERIFY_OTHER;
        }
        (void) sqlite3_reset(source->at);
        if (r != SQLITE_ROW && r != SQLITE_DONE)
                return verify_database_fail(source->database, source->path, ret_failure);
        *ret_answer = answer;
        return 0;
}

uint64_t verify_source_first(const struct verify_source *source) {
        return source->first_position;
}
