/* SPDX-License-Identifier: Apache-2.0 */
/* Baton's journal: its format on disk, and how to read and write it (DESIGN section 6).
 *
 * One file per worker, one writer, in STATE/journal/DESTINATION/, called
 * WWWW-G.journal (worker index in 4 digits, worker generation in decimal), or WWWW-G.N.journal where
 * that name was taken: generations begin again in a new segment, and a dead writer's file is never
 * overwritten. Little-endian.
 *
 * File header, 128 bytes:
 *   0  8  magic "BATONJNL"       8  4  version (1)        12  4  header_bytes (128)
 *  16 16  instance              32  8  worker_generation   40  4  worker_index
 *  44  4  flags: bit 0 = every record is synced before it is acknowledged; others zero
 *  48  8  created_realtime_usec 56 64  destination name    120 4  zero   124  4  CRC-32C of bytes 0–123
 * (every later version keeps magic, version and header_bytes there, and the CRC in its last 4 bytes)
 *
 * Then records, each a multiple of 8 bytes:
 *   0  4  record_bytes (the whole record; 0 = end: the space behind is zero-filled)
 *   4  4  CRC-32C of bytes 8 … record_bytes-1
 *   8  2  type (enum journal_type)  10 2 record version (1)
 *  12  4  CRC-32C of the session field alone: a damaged record still says whom it concerns
 *  16  8  sequence: 1, 2, 3 … in this file   24 8 realtime_usec
 *  32  8  epoch        40 8 position      48 8 anchor       56 8 event_count
 *  64  8  digest_sum   72 8 parked_count  80 64 session    144 64 source_identity
 * 208 64  destination_state               → record_bytes = 272
 * A reader refuses a version it does not know (-EPROTONOSUPPORT) and skips nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/failure.h"
#include "include/baton/event.h"

#define JOURNAL_VERSION 1
#define JOURNAL_HEADER_BYTES 128
#define JOURNAL_RECORD_BYTES 272

enum journal_type {
        JOURNAL_SNAPSHOT = 1, /* state at the beginning of this file */
        JOURNAL_CLAIM = 2,    /* a new owner's epoch (M3 step 3) */
        JOURNAL_MOVED = 3,    /* events up to position are durable at the destination */
        JOURNAL_ROTATED = 4,  /* the destination's file was changed */
        JOURNAL_RELEASED = 5, /* given up at a batch boundary */
        JOURNAL_TYPE_COUNT
};

struct journal; /* opaque: the writer */

struct journal_config {
        const char *state_directory; /* STATE */
        const char *destination;     /* its name */
        const uint8_t *instance;
        uint32_t worker_index;
        uint64_t worker_generation;
        bool synced;           /* records are synced (file destination) or not */
        uint64_t rotate_bytes; /* 0 = default 256 KiB; always at least twice the snapshot */
};

/* Makes this worker's journal file (empty snapshot), holds flock(LOCK_EX) on it until closed. */
int journal_open(const struct journal_config *config, struct journal **ret_journal,
                 struct failure *ret_failure);
void journal_close(struct journal *journal); /* removes nothing */

/* Appends one record; if the journal is `synced`, durable (fdatasync into zero-filled space) when it
 * returns 0. Rotates by itself where the file has grown (new file with a snapshot of the latest record
 * of every session it holds, renamed over). FAILURE_SYNC: uncertain, latch (M7): the record counts as
 * said, and journal_renew() carries it; until then every append answers FAILURE_SYNC. FAILURE_FULL:
 * nothing was appended. -ESTALE (FAILURE_STOP): the session's record would be lower than the one
 * before, which "highest epoch, then highest position" would not let win: raise the epoch first. */
int journal_append(struct journal *journal, enum journal_type type, const struct checkpoint *checkpoint,
                   struct failure *ret_failure);
/* Forgets a session that another worker owns now: it leaves the next snapshot as soon as another
 * journal surely holds a better record. An append takes it back. */
void journal_forget(struct journal *journal, const char *session);
/* M7: after a failed sync: a new file with everything known, synced; the old one is never synced again. */
int journal_renew(struct journal *journal, struct failure *ret_failure);

/* The best record of a session over all journals of a destination: highest epoch, then highest
 * position. Damage and torn tails are reported, not hidden. */
struct journal_table; /* opaque: session → best checkpoint, and where it stood */
struct journal_entry {
        struct checkpoint checkpoint;
        enum journal_type type;
        char file_name[64];
};
/* Reads every journal in STATE/journal/DESTINATION/ (a missing directory is an empty table), each
 * synced first if `sync` (M3 step 2: what is read must be durable). Cheap enough for a takeover: files
 * unchanged since the last call on the same *table (inode, size, mtime of a dead writer) are not read
 * again. *table: NULL the first time, or a new one that leaves torn tails where they are (who changes
 * nothing, or tells nobody what it found); journal_table_free(); kept (and to be freed) on failure too.
 * FAILURE_SYNC: a file cannot be synced; it is reported once and never synced again by this table. What a
 * file says is not a failure here: see the findings and journal_table_find(). */
struct journal_table *journal_table_new(bool leave_tails); /* NULL: out of memory */
int journal_table_load(const char *state_directory, const char *destination, const uint8_t *instance,
                       bool sync, struct journal_table **table, struct failure *ret_failure);
/* 0 and a copy; -ENOENT where no journal knows the session; -EBADMSG (FAILURE_STOP, names file and
 * offset, points to `baton journal check`) where damage touches it: a damaged file holds it, or has a
 * damaged record of which nobody can say whom it was about; -EPROTONOSUPPORT (FAILURE_STOP) beside a
 * journal of another version. */
int journal_table_find(const struct journal_table *table, const char *session,
                       struct journal_entry *ret_entry, struct failure *ret_failure);
void journal_table_free(struct journal_table *table);
/* What the last load found that should be logged, one sentence each, once: a torn tail cut, a damaged,
 * foreign or empty file. */
uint32_t journal_table_finding_count(const struct journal_table *table);
const char *journal_table_finding(const struct journal_table *table, uint32_t index);

/* Unlinks journals of dead writers (flock free) of which every session has a better record elsewhere.
 * Called by a mover at start and after rotation; safe against concurrent callers (gc lock).
 * -EUCLEAN: it syncs what it reads, and one such sync failed, which no later reader is told of (M7). */
int journal_collect(const char *state_directory, const char *destination, const uint8_t *instance);

/* For `baton journal check|show`: read-only, a file or a directory of them. check: 0 clean, 1 torn tail
 * only (or empty, or lacking what a power cut took of an unsynced file), -EBADMSG damaged,
 * -EPROTONOSUPPORT other version; *ret_failure says file, offset and reason. Prints findings to `out`. */
int journal_check(const char *path, FILE *out, struct failure *ret_failure);
int journal_show(const char *path, bool json, FILE *out, struct failure *ret_failure);
