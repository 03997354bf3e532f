/* SPDX-License-Identifier: Apache-2.0 */
/* What a source is: a const struct of operations. The mover knows nothing else of it.
 *
 * All functions are called from the mover's thread alone (S1), never after fork. They return 0 or
 * negative errno and fill *ret_failure on error: FAILURE_UNAVAILABLE (absent, locked, no permission:
 * retried), FAILURE_STOP (not a database, missing table or column: stopped), FAILURE_IDENTITY,
 * FAILURE_SYNC, FAILURE_FULL. Outputs are untouched on failure. Nothing is held open across a wait
 * but descriptors: no read transaction, no lock (M12). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/url.h"
#include "include/baton/event.h"
#include "include/baton/option.h"

struct source; /* opaque; each implementation has its own */

enum clean_up { CLEAN_KEEP = 0, CLEAN_DELETE, CLEAN_MARK };

struct source_config {
        const char *name;      /* the source's name; borrowed for the call of open() */
        const struct url *url; /* already passed option_check(); borrowed likewise */
        const struct scheme *scheme;
};

struct batch_limits {
        uint32_t rows;
        uint64_t bytes;
        uint64_t deadline_usec; /* CLOCK_MONOTONIC; stop reading after it */
};

#define LAG_UNKNOWN UINT64_MAX /* unknown is never shown as zero */
struct source_lag {
        uint64_t events;               /* positions not yet moved (gaps in seq count); LAG_UNKNOWN */
        uint64_t bytes;                /* estimate; LAG_UNKNOWN */
        uint64_t oldest_realtime_usec; /* `at` of the oldest waiting event where it can be read
                                          * (ISO 8601 text, or seconds/ms/us since 1970), else LAG_UNKNOWN */
};

/* What to watch for a wake-up (M9). `file_names` change content; the directory is watched for
 * create, move and delete of those names only. */
#define SOURCE_WATCH_FILES 4
struct source_watch {
        char directory[URL_BYTES];
        char file_names[SOURCE_WATCH_FILES][256]; /* "" = unused */
};

struct source_ops {
        const char *scheme;

        /* Opens read-only and checks table and columns. Makes no file. *ret_source: source_close(). */
        int (*open)(const struct source_config *config, struct source **ret_source,
                    struct failure *ret_failure);
        void (*close)(struct source *source); /* NULL is accepted */

        /* What identifies the source (M4), e.g. "ino=4711;btime=1700000000.123". */
        int (*identity)(struct source *source, char ret_identity[IDENTITY_BYTES],
                        struct failure *ret_failure);
        /* True if the path no longer leads to what is open (replaced, removed). */
        bool (*is_stale)(struct source *source);
        /* Digest of the event at the position. -ENOENT if there is none (FAILURE_IDENTITY). */
        int (*anchor)(struct source *source, uint64_t position, uint64_t *ret_digest,
                      struct failure *ret_failure);
        /* Lowest and highest position present; both 0 if empty. */
        int (*range)(struct source *source, uint64_t *ret_first, uint64_t *ret_last,
                     struct failure *ret_failure);
        /* True if an event with a higher position than `after` is visible. Cheap. */
        int (*has_more)(struct source *source, uint64_t after, bool *ret_more, struct failure *ret_failure);
        /* True only if nothing was committed since the last has_more() that found nothing. Costs no system
         * call and no lock; "don't know" is false. */
        bool (*is_quiet)(struct source *source);
        /* True only if whatever becomes visible later than the last has_more() will change one of the
         * watched files first (M9). "Don't know" is false. At most one short read. */
        bool (*is_settled)(struct source *source);
        /* Appends events after `after`, in order, within the limits (one event larger than
         * limits->bytes comes alone). *ret_more: there is more behind the batch. */
        int (*fetch)(struct source *source, uint64_t after, const struct batch_limits *limits,
                     struct event_batch *batch, bool *ret_more, struct failure *ret_failure);
        /* M11: makes durable at the source whatever fetch() returned. FAILURE_SYNC on error. */
        int (*sync)(struct source *source, struct failure *ret_failure);
        int (*lag)(struct source *source, uint64_t after, struct source_lag *ret_lag,
                   struct failure *ret_failure);
        /* Removes or marks events below/up to the position, at most row_limit in one short
         * transaction; never removes the row at `position` itself (M4 anchor); `mark` marks it too.
         * Nothing to do for `keep`. *ret_more: call again. Never waits longer than 5 ms for a lock.
         * FAILURE_SYNC: a sync or a write of it failed, and what was read of the source is uncertain (M7);
         * FAILURE_IDENTITY: the row at `position` is gone; any other kind: it may be tried again. */
        int (*clean)(struct source *source, uint64_t position, uint32_t row_limit, bool *ret_more,
                     struct failure *ret_failure);
        enum clean_up (*clean_up)(struct source *source);

        /* Without opening anything: what to watch. */
        int (*watch)(const struct source_config *config, struct source_watch *ret_watch,
                     struct failure *ret_failure);
        /* `baton check`: opens read-only, makes nothing, says everything that would stop a session.
         * *ret_note (caller frees, may be NULL): what holds only in part (e.g. at-least-once). */
        int (*check)(const struct source_config *config, char **ret_note, struct failure *ret_failure);
};

/* NULL-terminated; defined in worker/source/registry.c. */
extern const struct source_ops *const source_ops_list[];
const struct source_ops *source_ops_find(const char *scheme); /* NULL if none */
