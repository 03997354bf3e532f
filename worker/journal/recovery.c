/* SPDX-License-Identifier: Apache-2.0 */
/* The recovery tables (J4, J5). Order of rows means nothing: exactly one matches. */
#include "worker/journal/recovery.h"

#include "base/macro.h"

const struct journal_row journal_header_rows[] = {
        { .no = HEADER_PRESENT,
          .decision = JOURNAL_UNBORN,
          .reason = "it is empty: its writer died before anything was durable" },
        { .yes = HEADER_PRESENT,
          .no = HEADER_MAGIC_OK,
          .decision = JOURNAL_DAMAGED,
          .reason = "it does not begin like a journal" },
        { .yes = HEADER_PRESENT | HEADER_MAGIC_OK,
          .no = HEADER_CRC_OK,
          .decision = JOURNAL_DAMAGED,
          .reason = "its header's checksum does not match" },
        { .yes = HEADER_PRESENT | HEADER_MAGIC_OK | HEADER_CRC_OK,
          .no = HEADER_KNOWN,
          .decision = JOURNAL_OTHER_VERSION,
          .reason = "its format is of a version that this Baton does not know" },
        { .yes = HEADER_PRESENT | HEADER_MAGIC_OK | HEADER_CRC_OK | HEADER_KNOWN,
          .no = HEADER_OURS,
          .decision = JOURNAL_FOREIGN,
          .reason = "it was written for another instance or destination" },
        { .yes = HEADER_PRESENT | HEADER_MAGIC_OK | HEADER_CRC_OK | HEADER_KNOWN | HEADER_OURS,
          .decision = JOURNAL_GO_ON,
          .reason = "the header is whole" },
};
const size_t journal_header_row_count = ELEMENTSOF(journal_header_rows);

/* A synced writer begins a record only when the one before it is durable, so at most its last one can
 * be incomplete: anything else in a synced file is damage. An unsynced file, after a power cut, may
 * lack any sector since its birth: a lost one reads as zeros, which is what tells it from damage.
 * Contradictory conditions (say, "zeros behind" and "a record behind") count as damage. */
const struct journal_row journal_record_rows[] = {
        /* A whole record. */
        { .yes = RECORD_LENGTH_SANE | RECORD_CRC_OK | RECORD_KNOWN | RECORD_IN_SEQUENCE,
          .no = RECORD_BLANK,
          .decision = JOURNAL_GO_ON,
          .reason = "the record is whole" },
        { .yes = RECORD_LENGTH_SANE | RECORD_CRC_OK | RECORD_KNOWN,
          .no = RECORD_BLANK | RECORD_IN_SEQUENCE,
          .decision = JOURNAL_DAMAGED,
          .reason = "a whole record stands where another belongs" },
        { .yes = RECORD_LENGTH_SANE | RECORD_CRC_OK,
          .no = RECORD_BLANK | RECORD_KNOWN,
          .decision = JOURNAL_OTHER_VERSION,
          .reason = "the record is of a version that this Baton does not know" },
        { .yes = RECORD_CRC_OK,
          .no = RECORD_BLANK | RECORD_LENGTH_SANE,
          .decision = JOURNAL_DAMAGED,
          .reason = "the record's length is impossible" },

        /* Nothing here. */
        { .yes = RECORD_BLANK | RECORD_ZERO_BEHIND,
          .no = RECORD_VALID_BEHIND,
          .decision = JOURNAL_CLEAN_END,
          .reason = "the records end here" },
        { .yes = RECORD_BLANK | RECORD_ZERO_BEHIND | RECORD_VALID_BEHIND,
          .decision = JOURNAL_DAMAGED,
          .reason = "a record is missing" },
        { .yes = RECORD_BLANK | RECORD_FILE_SYNCED,
          .no = RECORD_ZERO_BEHIND,
          .decision = JOURNAL_DAMAGED,
          .reason = "a record is missing, or bytes stand behind the last one" },
        { .yes = RECORD_BLANK | RECORD_VALID_BEHIND,
          .no = RECORD_ZERO_BEHIND | RECORD_FILE_SYNCED,
          .decision = JOURNAL_LOST,
          .reason = "a record was not yet on the disk at a power cut" },
        { .yes = RECORD_BLANK,
          .no = RECORD_ZERO_BEHIND | RECORD_FILE_SYNCED | RECORD_VALID_BEHIND | RECORD_WRITER_ALIVE,
          .decision = JOURNAL_TORN_TAIL,
          .reason = "the last records are incomplete" },
        { .yes = RECORD_BLANK | RECORD_WRITER_ALIVE,
          .no = RECORD_ZERO_BEHIND | RECORD_FILE_SYNCED | RECORD_VALID_BEHIND,
          .decision = JOURNAL_LIVE_TAIL,
          .reason = "the last record is being written" },

        /* Something here, and it is no whole record. */
        { .yes = RECORD_ZERO_BEHIND,
          .no = RECORD_BLANK | RECORD_CRC_OK | RECORD_VALID_BEHIND | RECORD_WRITER_ALIVE,
          .decision = JOURNAL_TORN_TAIL,
          .reason = "the last record is incomplete" },
        { .yes = RECORD_ZERO_BEHIND | RECORD_WRITER_ALIVE,
          .no = RECORD_BLANK | RECORD_CRC_OK | RECORD_VALID_BEHIND,
          .decision = JOURNAL_LIVE_TAIL,
          .reason = "the last record is being written" },
        { .yes = RECORD_ZERO_BEHIND | RECORD_VALID_BEHIND,
          .no = RECORD_BLANK | RECORD_CRC_OK,
          .decision = JOURNAL_DAMAGED,
          .reason = "the record's checksum does not match" },
        { .yes = RECORD_FILE_SYNCED,
          .no = RECORD_BLANK | RECORD_CRC_OK | RECORD_ZERO_BEHIND,
          .decision = JOURNAL_DAMAGED,
          .reason = "the record's checksum does not match" },
        { .yes = RECORD_VALID_BEHIND | RECORD_SECTOR_ZERO,
          .no = RECORD_BLANK | RECORD_CRC_OK | RECORD_ZERO_BEHIND | RECORD_FILE_SYNCED,
          .decision = JOURNAL_LOST,
          .reason = "a part of the record was not yet on the disk at a power cut" },
        { .yes = RECORD_VALID_BEHIND,
          .no = RECORD_BLANK | RECORD_CRC_OK | RECORD_ZERO_BEHIND | RECORD_FILE_SYNCED | RECORD_SECTOR_ZERO,
          .decision = JOURNAL_DAMAGED,
          .reason = "the record's checksum does not match" },
        { .no = RECORD_BLANK | RECORD_CRC_OK | RECORD_ZERO_BEHIND | RECORD_FILE_SYNCED | RECORD_VALID_BEHIND |
                RECORD_WRITER_ALIVE,
          .decision = JOURNAL_TORN_TAIL,
          .reason = "the last records are incomplete" },
        { .yes = RECORD_WRITER_ALIVE,
          .no = RECORD_BLANK | RECORD_CRC_OK | RECORD_ZERO_BEHIND | RECORD_FILE_SYNCED | RECORD_VALID_BEHIND,
          .decision = JOURNAL_LIVE_TAIL,
          .reason = "the last record is being written" },
};
const size_t journal_record_row_count = ELEMENTSOF(journal_record_rows);

static const struct journal_row *decide(const struct journal_row *rows, size_t row_count,
                                        uint32_t conditions) {
        const struct journal_row *match = NULL;

        for (size_t i = 0; i < row_count; i++) {
                assert((rows[i].yes & rows[i].no) == 0);
                if ((conditions & rows[i].yes) != rows[i].yes || (conditions & rows[i].no) != 0)
                        continue;
                assert(!match);
                match = &rows[i];
        }
        assert(match);
        return match;
}

const struct journal_row *journal_header_decide(uint32_t conditions) {
        assert(conditions < 1u << HEADER_CONDITION_COUNT);
        return decide(journal_header_rows, journal_header_row_count, conditions);
}

const struct journal_row *journal_record_decide(uint32_t conditions) {
        assert(conditions < 1u << RECORD_CONDITION_COUNT);
        return decide(journal_record_rows, journal_record_row_count, conditions);
}
