/* SPDX-License-Identifier: Apache-2.0 */
/* M11: what has been read from a source is made durable there, before the destination commits it. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "worker/source/sqlite_wal.h"

/* A file as it looked when it was last synced. */
struct synced_file {
        bool is_durable;    /* as it is while it looks like this */
        uint64_t seen_usec; /* since then it has looked like this */
        uint64_t inode;
        int64_t bytes, ctime_sec;
        long ctime_nsec;
};

/* What was seen at the last sync; zeroed at open. One for each connection (or attached database). */
struct durability {
        struct synced_file database, wal;
        struct wal_index index; /* before the last sync that succeeded */
        bool has_failed;        /* M7: a sync that succeeds after one that failed proves nothing */
        uint64_t wal_inode;     /* the directory was synced since this -wal was first seen */
};

/* Syncs what a read through this connection may rest on: in WAL mode the -wal and, where a checkpoint
 * may have moved frames, the database file; in rollback mode the database file, a journal that is left,
 * and the directory. FAILURE_SYNC (EIO); FAILURE_STOP where SQLite shows no -wal although the database
 * is in WAL mode. */
int durability_sync(sqlite3 *db, const char *schema, const char *path, struct durability *durability,
                    struct failure *ret_failure);
