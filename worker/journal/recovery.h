/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader concludes from what it finds: a table of conditions and decisions (DESIGN 6).
 *
 * Two tables, one for a file's header and one for the place where a record should be. Every
 * combination of conditions, also one that cannot happen, matches exactly one row; a unit test feeds
 * them all. Pure data and one pure function. Must not touch: files. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum journal_header_condition {
        HEADER_PRESENT = 1 << 0, /* some byte of the file is not zero */
        HEADER_MAGIC_OK = 1 << 1,
        HEADER_CRC_OK = 1 << 2,
        HEADER_KNOWN = 1 << 3, /* version, and every field that the version leaves empty is */
        HEADER_OURS = 1 << 4,  /* instance and destination are those of the reader */
        HEADER_CONDITION_COUNT = 5,
};

enum journal_record_condition {
        RECORD_BLANK = 1 << 0, /* all its bytes are zero, or the file ends here */
        RECORD_LENGTH_SANE = 1 << 1,
        RECORD_CRC_OK = 1 << 2,
        RECORD_KNOWN = 1 << 3,        /* version, type, length, texts that end */
        RECORD_IN_SEQUENCE = 1 << 4,  /* the number that belongs at this offset */
        RECORD_ZERO_BEHIND = 1 << 5,  /* nothing but zeros behind it to the end of the file */
        RECORD_VALID_BEHIND = 1 << 6, /* a whole record stands at its place somewhere behind it */
        RECORD_WRITER_ALIVE = 1 << 7, /* the writer's flock is held */
        RECORD_FILE_SYNCED = 1 << 8,  /* the header says that each record was synced before the next */
        RECORD_SECTOR_ZERO = 1 << 9,  /* one of the sectors it lies in is zero where it lies */
        RECORD_CONDITION_COUNT = 10,
};

enum journal_decision {
        JOURNAL_GO_ON, /* good: use it, look at the next place */
        JOURNAL_CLEAN_END,
        JOURNAL_TORN_TAIL,     /* died while writing: cut (dead writer, lock held) and report */
        JOURNAL_LIVE_TAIL,     /* the writer is writing it right now: the end, nothing to report */
        JOURNAL_LOST,          /* unsynced file after a power cut: report, go on behind it */
        JOURNAL_DAMAGED,       /* stop the sessions concerned, name file and offset; go on behind it */
        JOURNAL_OTHER_VERSION, /* refuse the file */
        JOURNAL_FOREIGN,       /* of another instance or destination: its sessions stop */
        JOURNAL_UNBORN,        /* died before anything was durable: holds nothing */
        JOURNAL_DECISION_COUNT
};

struct journal_row {
        uint32_t yes, no; /* these conditions hold; these do not; the others do not matter */
        enum journal_decision decision;
        const char *reason; /* what a person reads, after "because " */
};

extern const struct journal_row journal_header_rows[], journal_record_rows[];
extern const size_t journal_header_row_count, journal_record_row_count;

/* The one row that matches. Asserts that there is exactly one. */
const struct journal_row *journal_header_decide(uint32_t conditions);
const struct journal_row *journal_record_decide(uint32_t conditions);
