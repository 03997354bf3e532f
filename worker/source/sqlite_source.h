/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite source from inside: shared by sqlite.c, sqlite_clean.c, sqlite_lag.c and sqlite_check.c. */
#pragma once

#include <sqlite3.h>

#include "base/url.h"
#include "include/baton/source.h"
#include "worker/source/sqlite_db.h"
#include "worker/source/sqlite_durability.h"
#include "worker/source/sqlite_table.h"
#include "worker/source/sqlite_wal.h"

struct source {
        char name[NAME_BYTES];
        char path[URL_BYTES]; /* as configured */
        struct outbox_table table;
        struct file_id id;    /* of what is open */
        uint64_t doubt_count; /* of the opens that failed before it was opened */
        bool is_doubtful;     /* what it can do is not what it was opened for: it is opened anew */

        sqlite3 *reader; /* mode=ro */
        struct db_busy reader_busy;
        struct durability durability;
        sqlite3_stmt *fetch, *more;
        sqlite3_stmt *row, *range; /* NULL until first used */
        struct wal_index quiet;    /* before the last look that found nothing */

        sqlite3 *writer; /* mode=rw; NULL until clean-up first needs it */
        struct db_busy writer_busy;
        bool mark_known;
        uint64_t mark_position; /* rows up to here are marked */
};

/* After a failure: a handle that SQLite could open for reading alone it keeps so, and a lock that it could not give
 * back it forgets. Returns `r`. */
int sqlite_source_failed(struct source *source, int r);
int sqlite_source_clean(struct source *source, uint64_t position, uint32_t row_limit, bool *ret_more,
                        struct failure *ret_failure);
int sqlite_source_lag(struct source *source, uint64_t after, struct source_lag *ret_lag,
                      struct failure *ret_failure);
int sqlite_source_range(struct source *source, uint64_t *ret_first, uint64_t *ret_last,
                        struct failure *ret_failure);
int sqlite_source_check(const struct source_config *config, char **ret_note, struct failure *ret_failure);
int sqlite_source_watch(const struct source_config *config, struct source_watch *ret_watch,
                        struct failure *ret_failure);

/* `at` as microseconds since 1970: ISO 8601 text (without a zone: UTC, as SQLite writes it) or a number
 * of seconds, milliseconds or microseconds. LAG_UNKNOWN where it is neither. */
uint64_t event_time_usec(const struct event_value *at);
