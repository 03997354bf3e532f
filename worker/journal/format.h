/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's bytes: header and record to and from memory, field by field, little-endian.
 * The format itself is specified in include/baton/journal.h and nowhere else. Pure functions.
 * Must not touch: files, locks, decisions (recovery.h decides). */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/baton/journal.h"

#define JOURNAL_FLAG_SYNCED 1u       /* header: every record is synced before it is acknowledged */
#define JOURNAL_RECORD_BYTES_MIN 24u /* of any version: enough for length, CRC, type, sequence */
#define JOURNAL_BYTES_MAX 4096u      /* a header or record of any version is not longer */

struct journal_header {
        uint32_t version, header_bytes;
        uint8_t instance[INSTANCE_BYTES];
        uint64_t worker_generation;
        uint32_t worker_index;
        uint32_t flags;
        uint64_t created_realtime_usec;
        char destination[NAME_BYTES];
};
static_assert(sizeof(struct journal_header) == 112, "no padding: headers are compared whole");

struct journal_record {
        enum journal_type type;
        uint64_t sequence;
        uint64_t realtime_usec;
        struct checkpoint checkpoint; /* instance is the header's, filled by whoever reads the file */
};

void journal_header_encode(const struct journal_header *header, uint8_t *bytes);
/* Fields as they stand, believed by nobody before the three checks below. `bytes` holds 128. */
void journal_header_decode(const uint8_t *bytes, struct journal_header *ret_header);
bool journal_header_magic_ok(const uint8_t *bytes, size_t available_bytes);
/* Of any version: its CRC stands in the last four of its header_bytes. */
bool journal_header_crc_ok(const uint8_t *bytes, size_t available_bytes);
/* This reader's version, with nothing in the fields that this version leaves empty. */
bool journal_header_is_known(const uint8_t *bytes, size_t available_bytes);
uint32_t journal_header_version(const uint8_t *bytes); /* of any version; believed where the CRC is */
/* Why a file is refused: the reason, or, where it is the version (0: not known), both versions. */
#define JOURNAL_REASON_BYTES 96
const char *journal_refusal(uint32_t version, const char *reason, char buffer[JOURNAL_REASON_BYTES]);

void journal_record_encode(const struct journal_record *record, uint8_t *bytes);
void journal_record_decode(const uint8_t *bytes, struct journal_record *ret_record);
uint32_t journal_record_length(const uint8_t *bytes); /* the field; not yet believed */
bool journal_record_length_is_sane(uint32_t length_bytes);
bool journal_record_crc_ok(const uint8_t *bytes, uint32_t length_bytes);
uint64_t journal_record_sequence(const uint8_t *bytes);
/* This reader's version, type and length, and texts that end: the rest of the record may be used. */
bool journal_record_is_known(const uint8_t *bytes, uint32_t length_bytes);
/* The session that a damaged record was about, where the name and the name's own CRC survived; NULL
 * otherwise. `bytes` holds 272; the answer points into it. */
const char *journal_record_damaged_session(const uint8_t *bytes);

const char *journal_type_name(enum journal_type type); /* "claim"; never NULL */
/* -1, 0, 1: "highest epoch, then highest position wins" (DESIGN 6). */
int journal_checkpoint_compare(const struct checkpoint *a, const struct checkpoint *b);
