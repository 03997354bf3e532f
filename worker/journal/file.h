/* SPDX-License-Identifier: Apache-2.0 */
/* One journal file as a reader knows it: what it says of each session, where it is damaged, how far it
 * was read and how far that is known to be durable. Kept between two looks, so that a file that has
 * not changed costs one fstatat(), and one that has grown costs only what was added. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "worker/journal/map.h"
#include "worker/journal/place.h"
#include "worker/journal/scan.h"

#define JOURNAL_FINDING_COUNT_MAX 32u

/* What a look found that a person should know: torn tails cut, damage, foreign files. */
struct journal_findings {
        uint32_t count; /* of all; texts beyond the maximum are not kept */
        char texts[JOURNAL_FINDING_COUNT_MAX][FAILURE_TEXT_BYTES];
};
void journal_findings_add(struct journal_findings *findings, const char *format, ...) _printf_(2, 3);

struct journal_file {
        char name[JOURNAL_NAME_BYTES];
        bool is_present;     /* seen by the running load; scratch of table.c */
        bool is_dead;        /* its writer's flock was free: nothing is appended any more */
        bool is_sync_failed; /* M7: never synced again by this reader */
        struct stat stat;    /* at the end of the last look; zeroed: never looked at */

        /* GO_ON, or why the file as a whole is refused: UNBORN, DAMAGED (its header), OTHER_VERSION,
         * FOREIGN; with the reason and the place. */
        enum journal_decision verdict;
        const char *reason;
        uint64_t reason_offset;

        struct journal_header header;
        uint64_t next_offset;   /* read up to here; 0: header not yet judged */
        uint64_t synced_offset; /* … and durable up to here */
        uint32_t last_index;    /* entry of the last record; UINT32_MAX: none yet */
        uint64_t damage_offset; /* first damaged place; 0: none */
        const char *damage_reason;
        bool is_damage_unnamed; /* nobody knows whom a damaged record was about: it may be anyone */
        struct journal_map sessions;
};

struct journal_look { /* what a look needs beside the file; all borrowed */
        int dir_fd;
        const char *directory; /* for sentences */
        const uint8_t *instance;
        const char *destination;
        bool sync;        /* M3 (2): what is read is durable when the look returns */
        bool leave_tails; /* torn tails stay for a reader that tells of them */
        struct journal_scan *scan;
        struct journal_findings *findings;
};

/* Reads what is new. Cuts a torn tail only if it holds the dead writer's lock exclusively.
 * -ENOENT: the file is gone; other -errno with a failure (FAILURE_SYNC: not durable). */
int journal_file_look(struct journal_file *file, const struct journal_look *look,
                      struct failure *ret_failure);
void journal_file_done(struct journal_file *file);

/* True if its own, whole, undamaged content may stand in for another file's (J8). */
bool journal_file_is_sound(const struct journal_file *file);
/* The first damaged place, if damage in this file concerns the session (J2); 0: it does not. */
uint64_t journal_file_damage_of(const struct journal_file *file, const struct journal_known *known);
