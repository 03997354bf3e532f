/* SPDX-License-Identifier: Apache-2.0 */
/* The writer from the inside, for writer.c (append) and birth.c (how a file comes to be). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "worker/journal/format.h"
#include "worker/journal/map.h"
#include "worker/journal/place.h"

#define JOURNAL_CHUNK_BYTES 65536u /* zero-filled ahead, so that a sync needs no metadata */
#define JOURNAL_ROTATE_BYTES_DEFAULT (256u * 1024u)

struct journal {
        char *state_directory, *directory; /* freed by journal_close() */
        char name[JOURNAL_NAME_BYTES];     /* the file's; the same over all rotations */
        int dir_fd, fd;                    /* fd holds flock(LOCK_EX) of the file */
        struct journal_header header;
        bool is_synced;
        bool is_latched; /* M7: a sync failed; nothing but journal_renew() helps */
        uint64_t rotate_bytes;
        uint64_t rotate_not_before;         /* after a rotation that found no room: not at once again */
        uint64_t offset;                    /* where the next record goes: a place (J3) */
        uint64_t allocated_bytes;           /* the file's size; zeros from `offset` on */
        struct journal_map known;           /* the next snapshot */
        bool has_forgotten;                 /* some entry of it is `forgotten` */
        struct journal_table *others;       /* what others hold, for forgetting (J7); NULL until needed */
        uint8_t chunk[JOURNAL_CHUNK_BYTES]; /* scratch */
};

enum journal_birth {
        JOURNAL_BIRTH_FIRST,  /* a new name; -EEXIST if a file has it already */
        JOURNAL_BIRTH_ROTATE, /* over the old file, which stays in use if there is no room (-ENOSPC) */
        JOURNAL_BIRTH_RENEW,  /* the same after a failed sync: durable even if the journal is not synced */
};

/* Makes a new file with a snapshot of everything known and goes over to it. On failure the old file
 * is as it was; FAILURE_SYNC: latched. */
int journal_birth(struct journal *journal, enum journal_birth birth, struct failure *ret_failure);

/* Fills *ret_failure from a bare error and returns it. No room: FULL. An error that leaves open what the
 * disk holds (`is_uncertain`, and EIO always): SYNC, and the journal is latched (M7). */
int journal_fail(struct journal *journal, int r, bool is_uncertain, const char *what,
                 struct failure *ret_failure);
