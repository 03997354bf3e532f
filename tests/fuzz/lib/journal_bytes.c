/* SPDX-License-Identifier: Apache-2.0 */
/* See journal_bytes.h; and the mutator of the journal target, which puts checksums right behind what libFuzzer
 * changed, so that more than the checksum is tested. */
#include "tests/fuzz/lib/journal_bytes.h"

#include <string.h>

#include "base/checksum.h"
#include "base/macro.h"

static uint64_t get(const uint8_t *bytes, size_t count) {
        uint64_t value = 0;

        for (size_t i = 0; i < count; i++)
                value |= (uint64_t) bytes[i] << (8 * i);
        return value;
}

uint64_t journal_bytes_get(const uint8_t *bytes) {
        return get(bytes, 8);
}

void journal_bytes_put(uint8_t *bytes, size_t count, uint64_t value) {
        for (size_t i = 0; i < count; i++)
                bytes[i] = (uint8_t) (value >> (8 * i));
}

static bool is_zero(const uint8_t *bytes, size_t count) {
        for (size_t i = 0; i < count; i++)
                if (bytes[i] != 0)
                        return false;
        return true;
}

/* A text of 64 bytes, and nothing behind its end. */
static bool is_text(const uint8_t *field) {
        size_t length = strnlen((const char *) field, 64);

        return length < 64 && is_zero(field + length, 64 - length);
}

bool journal_bytes_header_is_ours(const uint8_t *data, size_t bytes) {
        static const uint8_t instance[INSTANCE_BYTES] = JOURNAL_BYTES_INSTANCE;

        return bytes >= JOURNAL_HEADER_BYTES && memcmp(data, JOURNAL_BYTES_MAGIC, 8) == 0 &&
               get(data + 8, 4) == JOURNAL_VERSION && get(data + 12, 4) == JOURNAL_HEADER_BYTES &&
               memcmp(data + 16, instance, sizeof(instance)) == 0 && get(data + 44, 4) <= 1 &&
               strncmp((const char *) data + 56, "dest", 64) == 0 && is_text(data + 56) &&
               is_zero(data + 120, 4) && get(data + 124, 4) == crc32c(0, data, 124);
}

bool journal_bytes_record_is_whole(const uint8_t *record, size_t k) {
        const char *session = (const char *) record + JOURNAL_AT_SESSION;

        return get(record, 4) == JOURNAL_RECORD_BYTES &&
               get(record + JOURNAL_AT_CRC, 4) == crc32c(0, record + 8, JOURNAL_RECORD_BYTES - 8) &&
               get(record + JOURNAL_AT_TYPE, 2) >= JOURNAL_SNAPSHOT &&
               get(record + JOURNAL_AT_TYPE, 2) < JOURNAL_TYPE_COUNT &&
               get(record + JOURNAL_AT_VERSION, 2) == JOURNAL_VERSION &&
               get(record + JOURNAL_AT_SESSION_CRC, 4) == crc32c(0, session, NAME_BYTES) &&
               is_text(record + JOURNAL_AT_SESSION) && text_is_name(session) &&
               is_text(record + JOURNAL_AT_IDENTITY) && get(record + JOURNAL_AT_SEQUENCE, 8) == k + 1;
}

int journal_bytes_compare(const uint8_t *a, const uint8_t *b) {
        for (size_t at = JOURNAL_AT_EPOCH; at <= JOURNAL_AT_POSITION; at += 8)
                if (get(a + at, 8) != get(b + at, 8))
                        return get(a + at, 8) < get(b + at, 8) ? -1 : 1;
        return 0;
}

bool journal_bytes_is_checkpoint(const uint8_t *record, const struct checkpoint *checkpoint) {
        return strcmp((const char *) record + JOURNAL_AT_SESSION, checkpoint->session) == 0 &&
               get(record + 32, 8) == checkpoint->epoch && get(record + 40, 8) == checkpoint->position &&
               get(record + 48, 8) == checkpoint->anchor && get(record + 56, 8) == checkpoint->event_count &&
               get(record + 64, 8) == checkpoint->digest_sum &&
               get(record + 72, 8) == checkpoint->parked_count &&
               strcmp((const char *) record + JOURNAL_AT_IDENTITY, checkpoint->source_identity) == 0 &&
               memcmp(record + 208, checkpoint->destination_state, DESTINATION_STATE_BYTES) == 0;
}

void journal_bytes_seal_header(uint8_t *header) {
        journal_bytes_put(header + 124, 4, crc32c(0, header, 124));
}

void journal_bytes_seal_record(uint8_t *record) {
        journal_bytes_put(record + JOURNAL_AT_SESSION_CRC, 4,
                          crc32c(0, record + JOURNAL_AT_SESSION, NAME_BYTES));
        journal_bytes_put(record + JOURNAL_AT_CRC, 4, crc32c(0, record + 8, JOURNAL_RECORD_BYTES - 8));
}
