/* SPDX-License-Identifier: Apache-2.0 */
/* What SQLite's WAL index says about commits, at the price of reading memory (M9). The format is SQLite's own
 * ("WAL-mode File Format", section 2), unchanged since 3.7.0; a header of another version is not understood,
 * and then nothing is claimed. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define WAL_INDEX_HEADER_BYTES 48u

/* The header of the WAL index: it changes with every commit, checkpoint reset and recovery. */
struct wal_index {
        bool is_known; /* false: not in WAL mode, just being written, or not understood */
        uint8_t header[WAL_INDEX_HEADER_BYTES];
};

/* As this connection sees it now. Reads memory that SQLite has mapped; opens nothing, takes no lock. */
struct wal_index wal_index_read(sqlite3 *db, const char *schema);
bool wal_index_is_same(const struct wal_index *a, const struct wal_index *b);
/* True if the log was not begun anew between the two: whatever stood in it at the first stands there still. */
bool wal_index_is_same_log(const struct wal_index *a, const struct wal_index *b);
/* True if no frame stands in the -wal that is written but not committed: then whatever becomes visible later
 * changes a file first. One short read of the -wal, through SQLite's own handle. */
bool wal_is_settled(sqlite3 *db, const struct wal_index *index);
