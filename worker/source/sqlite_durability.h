/* SPDX-License-Identifier: Apache-2.0 */
/* M11: what has been read from a source is made durable there, before the destination commits it. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"

/* What was seen at the last sync; zeroed at open. One for each connection (or attached database). */
struct durability {
        uint64_t wal_inode;            /* the directory was synced since this -wal was first seen */
        bool database_known;           /* the database file is durable as it was then: */
        uint64_t database_inode;
        int64_t database_bytes, database_ctime_sec;
        long database_ctime_nsec;
};

/* Syncs what a read through this connection may rest on: in WAL mode the -wal and, where a checkpoint
 * may have moved frames, the database file; in rollback mode the database file, a journal that is left,
 * and the directory. FAILURE_SYNC (EIO); FAILURE_STOP where SQLite shows no -wal although the database
 * is in WAL mode. */
int durability_sync(sqlite3 *db, const char *schema, const char *path, struct durability *durability,
                    struct failure *ret_failure);
