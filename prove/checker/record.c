/* SPDX-License-Identifier: Apache-2.0 */
/* One event as the checker keeps it: a hash of each column and its storage class.
 *
 * Two columns are equal if class and bytes are: an integer 1 and a text "1" differ. With FORM_JSON
 * both sides are brought into one canonical JSON text first, because that is all that a line of JSON can
 * keep. Must not touch: files, databases. */
#include <endian.h>
#include <errno.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state on the stack */
#include <xxhash.h>

#include "prove/checker/checker.h"

const char *const column_names[COLUMN_COUNT] = { "key", "type", "at", "payload" };

static void *memory_or_die(void *memory) {
        if (!memory) {
                fprintf(stderr, "baton-checker: out of memory\n");
                exit(2);
        }
        return memory;
}

void record_add(struct record_list *list, const struct record *record) {
        if (list->count == list->capacity) {
                list->capacity = list->capacity ? list->capacity * 2 : 1024;
                list->items = memory_or_die(realloc(list->items, list->capacity * sizeof(*list->items)));
        }
        list->items[list->count++] = *record;
}

void record_list_done(struct record_list *list) {
        for (size_t i = 0; i < list->count; i++)
                free(list->items[i].reason);
        free(list->items);
        *list = (struct record_list){};
}

static int compare_position(const void *a, const void *b) {
        const struct record *left = a, *right = b;

        return (left->position > right->position) - (left->position < right->position);
}

void record_list_sort(struct record_list *list) {
        if (list->count > 1)
                qsort(list->items, list->count, sizeof(*list->items), compare_position);
}

struct session *check_session(struct check *check, const char *name, size_t name_bytes) {
        struct session *session;

        for (size_t i = 0; i < check->session_count; i++)
                if (strlen(check->sessions[i].name) == name_bytes &&
                    memcmp(check->sessions[i].name, name, name_bytes) == 0)
                        return &check->sessions[i];
        if (check->session_count == SESSION_COUNT_MAX || name_bytes >= sizeof(session->name)) {
                fprintf(stderr, "baton-checker: more than %d sessions, or a name that is too long\n",
                        SESSION_COUNT_MAX);
                exit(2);
        }
        session = &check->sessions[check->session_count++];
        *session = (struct session){};
        memcpy(session->name, name, name_bytes);
        return session;
}

/* The digest is written once more here, from the words in include/baton/event.h, on purpose. It is
 * kept as a streaming state in `digest` only between two calls on one record: positions are read first,
 * columns in their order. */
static XXH3_state_t digest_state;

uint64_t record_digest_start(int64_t position) {
        uint64_t little = htole64((uint64_t) position);

        XXH3_64bits_reset(&digest_state);
        XXH3_64bits_update(&digest_state, &little, sizeof(little));
        return XXH3_64bits_digest(&digest_state);
}

/* SQLite's class numbers (INTEGER 1, FLOAT 2, TEXT 3, BLOB 4, NULL 5) to the digest's (NULL 0). */
static uint8_t digest_class(int class) {
        return class == SQLITE_NULL ? 0 : (uint8_t) class;
}

void record_stored(struct record *record, int column, int class, const void *data, size_t bytes,
                   int64_t integer, double real) {
        uint64_t word = htole64((uint64_t) integer);
        uint8_t head[5] = { digest_class(class) };
        uint32_t length;
        XXH3_state_t one;

        if (class == SQLITE_FLOAT) {
                memcpy(&word, &real, sizeof(word));
                word = htole64(word);
        }
        if (class == SQLITE_INTEGER || class == SQLITE_FLOAT) {
                data = &word;
                bytes = sizeof(word);
        } else if (class == SQLITE_NULL)
                bytes = 0;

        length = htole32((uint32_t) bytes);
        memcpy(head + 1, &length, sizeof(length));
        XXH3_64bits_update(&digest_state, head, sizeof(head));
        XXH3_64bits_update(&digest_state, data, bytes);
        record->digest = XXH3_64bits_digest(&digest_state);

        XXH3_64bits_reset(&one);
        XXH3_64bits_update(&one, head, sizeof(head));
        XXH3_64bits_update(&one, data, bytes);
        record->hash[column] = XXH3_64bits_digest(&one);
        record->class[column] = (uint8_t) class;
}

void record_json_text(struct record *record, int column, const char *canonical, uint8_t json_type) {
        record->hash[column] = XXH3_64bits(canonical, strlen(canonical));
        record->class[column] = json_type;
}

/* ---- what a line of JSON can hold of a stored value ------------------------------------------- */
static json_t *stored_to_json(int class, const void *data, size_t bytes, int64_t integer, double real) {
        switch (class) {
        case SQLITE_NULL:
                return json_null();
        case SQLITE_INTEGER:
                return json_integer(integer);
        case SQLITE_FLOAT:
                return json_real(real);
        case SQLITE_TEXT:
                return memchr(data, 0, bytes) ? NULL : json_stringn(data, bytes);
        default:
                return NULL;
        }
}

void record_stored_as_json(struct record *record, int column, int class, const void *data, size_t bytes,
                           int64_t integer, double real) {
        json_t *value;
        char *canonical = NULL;

        if (column == COLUMN_COUNT - 1 && (class == SQLITE_TEXT || class == SQLITE_BLOB)) {
                value = json_loadb(data ? data : "", bytes,
                                   JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
                record->no_json = record->no_json || !value;
                json_decref(value);
                record_json_payload(record, column, data ? data : "", bytes);
                return;
        }
        value = stored_to_json(class, data ? data : "", bytes, integer, real);

        if (value)
                canonical = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
        if (canonical && column == COLUMN_COUNT - 1)
                record_json_payload(record, column, canonical, strlen(canonical));
        else if (canonical)
                record_json_text(record, column, canonical, (uint8_t) json_typeof(value));
        else
                record->no_json = true;
        free(canonical);
        json_decref(value);
}
