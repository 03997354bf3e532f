/* SPDX-License-Identifier: Apache-2.0 */
/* What a destination is: a const struct of operations. The mover knows nothing else of it.
 *
 * Called from the mover's thread alone, never after fork. Return 0 or negative errno with
 * *ret_failure filled (M6 classes; base/failure.h). Outputs untouched on failure.
 *
 * One transaction of the pool:
 *   begin → for each ready session: session_begin → (first time: fence) → put/park… or fused_move →
 *   session_end | session_rollback → … → commit | rollback.
 * M1: with DESTINATION_TRANSACTIONAL the checkpoint lives in the same transaction as the events, and
 * the destination is the authority. Without it (M3) the journal is: commit() makes the data durable
 * and fills checkpoint->destination_state, and the mover journals the checkpoint after it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "include/baton/source.h"

struct destination;         /* opaque */
struct destination_session; /* opaque: one session inside it */

enum destination_flags {
        DESTINATION_TRANSACTIONAL = 1 << 0,
        DESTINATION_ONE_WRITER = 1 << 1, /* movers of a pool take turns (layout_pool.turn) */
};

struct destination_config {
        const char *name;
        const struct url *url;
        const struct scheme *scheme;
        const uint8_t *instance; /* INSTANCE_BYTES */
        /* Called between chunks and while waiting for a lock, so that the mover answers pings (S3);
         * returns true when the mover must give up soon (the wait then fails with -ECANCELED,
         * FAILURE_UNAVAILABLE). May be NULL. */
        bool (*pulse)(void *context);
        /* How long one wait in begin() for another program's lock may last, in µs; 0: as long as the
         * destination likes. The mover holds the pool's turn meanwhile, and who holds it for
         * stall-timeout is killed (S3). Asked at each begin(): a reload may change it. May be NULL. */
        uint64_t (*lock_wait)(void *context);
        void *pulse_context; /* of both */
};

/* What a fused move did. */
struct moved {
        uint64_t last_position;
        uint64_t last_digest;
        uint64_t event_count, digest_sum, payload_bytes;
        bool more; /* it stopped at a limit */
};

struct destination_ops {
        const char *scheme;
        unsigned flags;

        /* Opens, makes what is missing (tables, directory entries). destination_close(). */
        int (*open)(const struct destination_config *config, struct destination **ret_destination,
                    struct failure *ret_failure);
        void (*close)(struct destination *destination);
        /* True if the path no longer leads to what is open. */
        bool (*is_stale)(struct destination *destination);

        int (*begin)(struct destination *destination, struct failure *ret_failure);
        /* Durable when it returns 0. On failure nothing of the transaction is visible, except
         * FAILURE_SYNC: then it is uncertain and the mover latches (M7). */
        int (*commit)(struct destination *destination, struct failure *ret_failure);
        void (*rollback)(struct destination *destination);
        /* M7: after a failed sync, from a fresh handle: write the uncertain bytes again to a new
         * place and sync (SQLite: wal_checkpoint(TRUNCATE) by a fresh connection). */
        int (*resync)(struct destination *destination, struct failure *ret_failure);

        /* `name` is the durable session name (the source's name). */
        int (*session_open)(struct destination *destination, const char *name,
                            struct destination_session **ret_session, struct failure *ret_failure);
        void (*session_close)(struct destination_session *session);

        int (*session_begin)(struct destination_session *session, struct failure *ret_failure);
        /* M2. Transactional: raises the stored epoch to `epoch`, in this transaction, then reads the
         * checkpoint; *ret_found false if there was none (a row with position 0 now stands).
         * FAILURE_FENCED if the stored epoch is higher than `epoch`: *checkpoint then carries the
         * stored row, so that a verified owner can raise its slot's epoch and come again.
         * FAILURE_STOP for another instance's row. Other destinations (M3): *checkpoint comes in from
         * the journal (position 0 and zeroed state if unknown: a file with content is then refused)
         * and the file is locked and examined; *ret_tail: bytes stand beyond the recorded length. */
        int (*fence)(struct destination_session *session, uint64_t epoch, struct checkpoint *checkpoint,
                     bool *ret_found, bool *ret_tail, struct failure *ret_failure);
        /* M3 (4), only without transactions (else NULL): is the tail's next piece this event? Steps
         * over it if so. Then tail_cut() keeps the rest aside, cuts, syncs. */
        int (*tail_adopt)(struct destination_session *session, const struct event *event, bool *ret_adopted,
                          bool *ret_parked, struct failure *ret_failure);
        int (*tail_cut)(struct destination_session *session, uint64_t *ret_cut_bytes,
                        struct failure *ret_failure);

        /* FAILURE_REJECTED: this event cannot be stored (the mover parks it). */
        int (*put)(struct destination_session *session, const struct event *event,
                   struct failure *ret_failure);
        int (*park)(struct destination_session *session, const struct event *event, const char *reason,
                    struct failure *ret_failure);
        /* Stores the checkpoint where epoch still is checkpoint->epoch, and the position the one that this
         * owner left there (FAILURE_FENCED otherwise: a backup may have been restored under it, M1).
         * Without transactions: only notes it; destination_state is filled by commit(). */
        int (*session_end)(struct destination_session *session, struct checkpoint *checkpoint,
                           struct failure *ret_failure);
        void (*session_rollback)(struct destination_session *session);

        /* Rotation (without transactions; else NULL): between batches. rotate() makes the next file,
         * syncs the directory and updates destination_state; the mover journals it before any put. */
        bool (*rotation_due)(struct destination_session *session);
        int (*rotate)(struct destination_session *session, struct checkpoint *checkpoint,
                      struct failure *ret_failure);

        /* M13, the fused path; all NULL where there is none. fused_open() before begin():
         * -EOPNOTSUPP where the pair cannot be fused, -EBUSY where no attachment is free.
         * fused_move() and fused_sync() mirror the source's fetch+put and sync.
         * fused_move() runs inside session_begin…session_end; on failure the caller rolls the session
         * back and takes the row path; on -EUCLEAN in another transaction, because nothing can be written
         * in this one any more. fused_sync() before commit (M11). */
        int (*fused_open)(struct destination_session *session, const struct source_config *source,
                          struct failure *ret_failure);
        void (*fused_close)(struct destination_session *session);
        int (*fused_move)(struct destination_session *session, uint64_t after,
                          const struct batch_limits *limits, struct moved *ret_moved,
                          struct failure *ret_failure);
        int (*fused_sync)(struct destination_session *session, struct failure *ret_failure);

        /* Without opening anything: the directory that its files are in, or will be (PATH_MAX bytes). NULL: it is not
         * in files. A worker may use no other (P7). */
        int (*directory)(const struct destination_config *config, char *ret_directory);

        /* `baton check`: read-only, makes nothing. A destination that does not exist yet is fine if
         * it could be made (directory there and writable). */
        int (*check)(const struct destination_config *config, char **ret_note, struct failure *ret_failure);
};

extern const struct destination_ops *const destination_ops_list[];
const struct destination_ops *destination_ops_find(const char *scheme);
