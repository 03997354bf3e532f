/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes and decodes the journal's header and records (include/baton/journal.h).
 * Obeys: explicit little-endian, no struct overlay, so that the format is the same on every machine.
 * Must not touch: files. Bytes that come in are input: checked here, asserted nowhere. */
#include "worker/journal/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "base/macro.h"

static const char header_magic[8] = { 'B', 'A', 'T', 'O', 'N', 'J', 'N', 'L' };

enum {
        HEADER_MAGIC = 0,
        HEADER_VERSION = 8,
        HEADER_BYTES = 12,
        HEADER_INSTANCE = 16,
        HEADER_GENERATION = 32,
        HEADER_INDEX = 40,
        HEADER_FLAGS = 44,
        HEADER_CREATED = 48,
        HEADER_DESTINATION = 56,
        HEADER_EMPTY = 120,
        HEADER_CRC = 124,

        RECORD_LENGTH = 0,
        RECORD_CRC = 4,
        RECORD_TYPE = 8,
        RECORD_VERSION = 10,
        RECORD_SESSION_CRC = 12,
        RECORD_SEQUENCE = 16,
        RECORD_REALTIME = 24,
        RECORD_EPOCH = 32,
        RECORD_POSITION = 40,
        RECORD_ANCHOR = 48,
        RECORD_EVENTS = 56,
        RECORD_DIGEST = 64,
        RECORD_PARKED = 72,
        RECORD_SESSION = 80,
        RECORD_IDENTITY = 144,
        RECORD_STATE = 208,
};
static_assert(HEADER_CRC + 4 == JOURNAL_HEADER_BYTES, "the CRC ends the header");
static_assert(RECORD_STATE + DESTINATION_STATE_BYTES == JOURNAL_RECORD_BYTES, "the state ends the record");
static_assert(RECORD_SESSION + NAME_BYTES == RECORD_IDENTITY, "fields touch");
static_assert(RECORD_IDENTITY + IDENTITY_BYTES == RECORD_STATE, "fields touch");
static_assert(HEADER_DESTINATION + NAME_BYTES == HEADER_EMPTY, "fields touch");
static_assert(JOURNAL_RECORD_BYTES % 8 == 0 && JOURNAL_HEADER_BYTES % 8 == 0, "whole words");

static void put(uint8_t *bytes, size_t count, uint64_t value) {
        for (size_t i = 0; i < count; i++)
                bytes[i] = (uint8_t) (value >> (8 * i));
}

static uint64_t get(const uint8_t *bytes, size_t count) {
        uint64_t value = 0;

        for (size_t i = 0; i < count; i++)
                value |= (uint64_t) bytes[i] << (8 * i);
        return value;
}

/* A text field ends, and holds nothing behind its end: what this version's writer leaves there. */
static bool text_field_ok(const uint8_t *bytes, size_t field_bytes) {
        size_t length = strnlen((const char *) bytes, field_bytes);

        if (length == field_bytes)
                return false;
        for (size_t i = length; i < field_bytes; i++)
                if (bytes[i] != 0)
                        return false;
        return true;
}

/* ---- header ---------------------------------------------------------------------------------- */

void journal_header_encode(const struct journal_header *header, uint8_t *bytes) {
        assert(header->version == JOURNAL_VERSION);
        assert(header->header_bytes == JOURNAL_HEADER_BYTES);
        assert(text_is_terminated(header->destination, NAME_BYTES));

        memset(bytes, 0, JOURNAL_HEADER_BYTES);
        memcpy(bytes + HEADER_MAGIC, header_magic, sizeof header_magic);
        put(bytes + HEADER_VERSION, 4, header->version);
        put(bytes + HEADER_BYTES, 4, header->header_bytes);
        memcpy(bytes + HEADER_INSTANCE, header->instance, INSTANCE_BYTES);
        put(bytes + HEADER_GENERATION, 8, header->worker_generation);
        put(bytes + HEADER_INDEX, 4, header->worker_index);
        put(bytes + HEADER_FLAGS, 4, header->flags);
        put(bytes + HEADER_CREATED, 8, header->created_realtime_usec);
        memcpy(bytes + HEADER_DESTINATION, header->destination, strlen(header->destination));
        put(bytes + HEADER_CRC, 4, crc32c(0, bytes, HEADER_CRC));
}

void journal_header_decode(const uint8_t *bytes, struct journal_header *ret_header) {
        *ret_header = (struct journal_header){
                .version = (uint32_t) get(bytes + HEADER_VERSION, 4),
                .header_bytes = (uint32_t) get(bytes + HEADER_BYTES, 4),
                .worker_generation = get(bytes + HEADER_GENERATION, 8),
                .worker_index = (uint32_t) get(bytes + HEADER_INDEX, 4),
                .flags = (uint32_t) get(bytes + HEADER_FLAGS, 4),
                .created_realtime_usec = get(bytes + HEADER_CREATED, 8),
        };
        memcpy(ret_header->instance, bytes + HEADER_INSTANCE, INSTANCE_BYTES);
        memcpy(ret_header->destination, bytes + HEADER_DESTINATION, NAME_BYTES);
        ret_header->destination[NAME_BYTES - 1] = '\0';
}

bool journal_header_magic_ok(const uint8_t *bytes, size_t available_bytes) {
        return available_bytes >= sizeof header_magic &&
               memcmp(bytes, header_magic, sizeof header_magic) == 0;
}

bool journal_header_crc_ok(const uint8_t *bytes, size_t available_bytes) {
        uint32_t header_bytes;

        if (available_bytes < HEADER_INSTANCE)
                return false;
        header_bytes = (uint32_t) get(bytes + HEADER_BYTES, 4);
        if (header_bytes < HEADER_INSTANCE + 4 || header_bytes > JOURNAL_BYTES_MAX || header_bytes % 8 != 0 ||
            header_bytes > available_bytes)
                return false;
        return get(bytes + header_bytes - 4, 4) == crc32c(0, bytes, header_bytes - 4);
}

bool journal_header_is_known(const uint8_t *bytes, size_t available_bytes) {
        return available_bytes >= JOURNAL_HEADER_BYTES && get(bytes + HEADER_VERSION, 4) == JOURNAL_VERSION &&
               get(bytes + HEADER_BYTES, 4) == JOURNAL_HEADER_BYTES &&
               (get(bytes + HEADER_FLAGS, 4) & ~(uint64_t) JOURNAL_FLAG_SYNCED) == 0 &&
               get(bytes + HEADER_EMPTY, 4) == 0 && text_field_ok(bytes + HEADER_DESTINATION, NAME_BYTES);
}

uint32_t journal_header_version(const uint8_t *bytes) {
        return (uint32_t) get(bytes + HEADER_VERSION, 4);
}

const char *journal_refusal(uint32_t version, const char *reason, char buffer[JOURNAL_REASON_BYTES]) {
        if (version == 0 || version == JOURNAL_VERSION)
                return reason;
        (void) snprintf(buffer, JOURNAL_REASON_BYTES,
                        "its format is of version %" PRIu32 ", and this Baton knows version %d", version,
                        JOURNAL_VERSION);
        return buffer;
}

/* ---- record ---------------------------------------------------------------------------------- */

void journal_record_encode(const struct journal_record *record, uint8_t *bytes) {
        const struct checkpoint *checkpoint = &record->checkpoint;

        assert(record->type >= JOURNAL_SNAPSHOT && record->type < JOURNAL_TYPE_COUNT);
        assert(record->sequence > 0);
        assert(text_is_name(checkpoint->session));
        assert(text_is_terminated(checkpoint->source_identity, IDENTITY_BYTES));

        memset(bytes, 0, JOURNAL_RECORD_BYTES);
        put(bytes + RECORD_LENGTH, 4, JOURNAL_RECORD_BYTES);
        put(bytes + RECORD_TYPE, 2, (uint64_t) record->type);
        put(bytes + RECORD_VERSION, 2, JOURNAL_VERSION);
        put(bytes + RECORD_SEQUENCE, 8, record->sequence);
        put(bytes + RECORD_REALTIME, 8, record->realtime_usec);
        put(bytes + RECORD_EPOCH, 8, checkpoint->epoch);
        put(bytes + RECORD_POSITION, 8, checkpoint->position);
        put(bytes + RECORD_ANCHOR, 8, checkpoint->anchor);
        put(bytes + RECORD_EVENTS, 8, checkpoint->event_count);
        put(bytes + RECORD_DIGEST, 8, checkpoint->digest_sum);
        put(bytes + RECORD_PARKED, 8, checkpoint->parked_count);
        memcpy(bytes + RECORD_SESSION, checkpoint->session, strlen(checkpoint->session));
        memcpy(bytes + RECORD_IDENTITY, checkpoint->source_identity, strlen(checkpoint->source_identity));
        memcpy(bytes + RECORD_STATE, checkpoint->destination_state, DESTINATION_STATE_BYTES);
        put(bytes + RECORD_SESSION_CRC, 4, crc32c(0, bytes + RECORD_SESSION, NAME_BYTES));
        put(bytes + RECORD_CRC, 4, crc32c(0, bytes + RECORD_TYPE, JOURNAL_RECORD_BYTES - RECORD_TYPE));
}

void journal_record_decode(const uint8_t *bytes, struct journal_record *ret_record) {
        struct checkpoint *checkpoint = &ret_record->checkpoint;

        *ret_record = (struct journal_record){
                .type = (enum journal_type) get(bytes + RECORD_TYPE, 2),
                .sequence = get(bytes + RECORD_SEQUENCE, 8),
                .realtime_usec = get(bytes + RECORD_REALTIME, 8),
                .checkpoint = {
                        .epoch = get(bytes + RECORD_EPOCH, 8),
                        .position = get(bytes + RECORD_POSITION, 8),
                        .anchor = get(bytes + RECORD_ANCHOR, 8),
                        .event_count = get(bytes + RECORD_EVENTS, 8),
                        .digest_sum = get(bytes + RECORD_DIGEST, 8),
                        .parked_count = get(bytes + RECORD_PARKED, 8),
                },
        };
        memcpy(checkpoint->session, bytes + RECORD_SESSION, NAME_BYTES);
        memcpy(checkpoint->source_identity, bytes + RECORD_IDENTITY, IDENTITY_BYTES);
        memcpy(checkpoint->destination_state, bytes + RECORD_STATE, DESTINATION_STATE_BYTES);
}

uint32_t journal_record_length(const uint8_t *bytes) {
        return (uint32_t) get(bytes + RECORD_LENGTH, 4);
}

bool journal_record_length_is_sane(uint32_t length_bytes) {
        return length_bytes >= JOURNAL_RECORD_BYTES_MIN && length_bytes <= JOURNAL_BYTES_MAX &&
               length_bytes % 8 == 0;
}

bool journal_record_crc_ok(const uint8_t *bytes, uint32_t length_bytes) {
        assert(journal_record_length_is_sane(length_bytes));

        return get(bytes + RECORD_CRC, 4) == crc32c(0, bytes + RECORD_TYPE, length_bytes - RECORD_TYPE);
}

uint64_t journal_record_sequence(const uint8_t *bytes) {
        return get(bytes + RECORD_SEQUENCE, 8);
}

bool journal_record_is_known(const uint8_t *bytes, uint32_t length_bytes) {
        uint64_t type;

        if (length_bytes != JOURNAL_RECORD_BYTES || get(bytes + RECORD_VERSION, 2) != JOURNAL_VERSION)
                return false;
        type = get(bytes + RECORD_TYPE, 2);
        return type >= JOURNAL_SNAPSHOT && type < JOURNAL_TYPE_COUNT &&
               journal_record_damaged_session(bytes) &&
               text_field_ok(bytes + RECORD_IDENTITY, IDENTITY_BYTES);
}

const char *journal_record_damaged_session(const uint8_t *bytes) {
        const uint8_t *name = bytes + RECORD_SESSION;

        if (get(bytes + RECORD_SESSION_CRC, 4) != crc32c(0, name, NAME_BYTES))
                return NULL;
        if (!text_field_ok(name, NAME_BYTES) || !text_is_name((const char *) name))
                return NULL;
        return (const char *) name;
}

const char *journal_type_name(enum journal_type type) {
        static const char *const names[JOURNAL_TYPE_COUNT] = {
                [JOURNAL_SNAPSHOT] = "snapshot", [JOURNAL_CLAIM] = "claim",       [JOURNAL_MOVED] = "moved",
                [JOURNAL_ROTATED] = "rotated",   [JOURNAL_RELEASED] = "released",
        };

        if ((unsigned) type >= JOURNAL_TYPE_COUNT || !names[type])
                return "unknown";
        return names[type];
}

int journal_checkpoint_compare(const struct checkpoint *a, const struct checkpoint *b) {
        if (a->epoch != b->epoch)
                return a->epoch < b->epoch ? -1 : 1;
        if (a->position != b->position)
                return a->position < b->position ? -1 : 1;
        return 0;
}
