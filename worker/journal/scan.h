/* SPDX-License-Identifier: Apache-2.0 */
/* Walks one journal file from its header to its end, place by place, and says at each what the
 * recovery table decides. Reads only. Bytes of the file are input: judged, never asserted. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "worker/journal/format.h"
#include "worker/journal/recovery.h"

#define JOURNAL_WINDOW_BYTES 65536u
#define JOURNAL_NOWHERE UINT64_MAX

struct journal_scan { /* 64 KiB: on the heap; the caller owns it */
        int fd;       /* borrowed */
        bool alive;   /* the writer's flock was held when the scan began */
        bool synced;  /* from the header */
        uint64_t file_bytes;
        uint64_t offset; /* the next place */
        /* Answers kept, so that a damaged file is walked once and not once a record:
         * no byte from `_from` up to `_at` is anything but zero (is a valid record's beginning). */
        uint64_t nonzero_from, nonzero_at, valid_from, valid_at;
        uint64_t window_offset;
        size_t window_bytes;
        uint8_t window[JOURNAL_WINDOW_BYTES];
};

struct journal_step {
        enum journal_decision decision;
        const char *reason;
        uint64_t offset;
        struct journal_record record;     /* JOURNAL_GO_ON */
        char damaged_session[NAME_BYTES]; /* JOURNAL_DAMAGED: whom it was about; "" = cannot be known */
};

/* 0 or -errno of the file system. */
int journal_scan_begin(struct journal_scan *scan, int fd, bool alive);
/* Judges the header; `instance` and `destination` may be NULL (whoever's it is, is fine). *ret_header
 * is whole where the decision is JOURNAL_GO_ON or JOURNAL_FOREIGN, and the scan may go on then; of a file of
 * another version it is the version alone, of any other zero. */
int journal_scan_header(struct journal_scan *scan, const uint8_t *instance, const char *destination,
                        struct journal_header *ret_header, const struct journal_row **ret_row);
/* Goes on where an earlier scan of the same file ended. */
void journal_scan_resume(struct journal_scan *scan, const struct journal_header *header, uint64_t offset);
/* Judges the next place, and steps behind it where there may be more (GO_ON, LOST, DAMAGED). */
int journal_scan_next(struct journal_scan *scan, struct journal_step *ret_step);
/* True for the decisions after which the scan is at its end. */
bool journal_decision_is_end(enum journal_decision decision);
