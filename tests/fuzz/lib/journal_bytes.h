/* SPDX-License-Identifier: Apache-2.0 */
/* A journal's bytes by their offsets in include/baton/journal.h, for the oracle and the mutator of the journal
 * target. Must not touch: worker/journal, so that a mistake there is not repeated here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/baton/journal.h"

#define JOURNAL_BYTES_MAGIC "BATONJNL"
/* clang-format off */
#define JOURNAL_BYTES_INSTANCE { 'f', 'u', 'z', 'z', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }
/* clang-format on */

enum {
        JOURNAL_AT_LENGTH = 0,
        JOURNAL_AT_CRC = 4,
        JOURNAL_AT_TYPE = 8,
        JOURNAL_AT_VERSION = 10,
        JOURNAL_AT_SESSION_CRC = 12,
        JOURNAL_AT_SEQUENCE = 16,
        JOURNAL_AT_EPOCH = 32,
        JOURNAL_AT_POSITION = 40,
        JOURNAL_AT_SESSION = 80,
        JOURNAL_AT_IDENTITY = 144,
};

/* Where the k-th record stands, k from 0. */
static inline size_t journal_bytes_place(size_t k) {
        return JOURNAL_HEADER_BYTES + k * JOURNAL_RECORD_BYTES;
}
uint64_t journal_bytes_get(const uint8_t *bytes); /* 8 of them, little-endian */
void journal_bytes_put(uint8_t *bytes, size_t count, uint64_t value);

/* Of this version, this instance and destination "dest", with its checksum. */
bool journal_bytes_header_is_ours(const uint8_t *data, size_t bytes);
/* With its checksum, of this version, and with the number that belongs to place k. */
bool journal_bytes_record_is_whole(const uint8_t *record, size_t k);
int journal_bytes_compare(const uint8_t *a, const uint8_t *b); /* epoch, then position */
bool journal_bytes_is_checkpoint(const uint8_t *record, const struct checkpoint *checkpoint);

/* Puts the checksums right. */
void journal_bytes_seal_header(uint8_t *header);
void journal_bytes_seal_record(uint8_t *record);
