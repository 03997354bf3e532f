/* SPDX-License-Identifier: Apache-2.0 */
/* The WAL index, read as memory: has anything been committed since, is a commit under way?
 *
 * A SQLite writer writes its frames into the -wal, syncs it, and then makes them valid by a store into the
 * index, which no inotify tells of. So a look that finds nothing is repeated (worker/news.c); with the index at
 * hand a repeated look costs some nanoseconds and takes no lock. Nothing here decides what is moved: whatever
 * it says only leads to a look by SQLite, or saves one that would find nothing.
 * Must not touch: any file but through SQLite's handles (M12); the index for writing. */
#include "worker/source/sqlite_wal.h"

#include <stdatomic.h>
#include <string.h>

#include "base/macro.h"
#include "worker/source/sqlite_db.h"

#define INDEX_REGION_BYTES 32768
#define INDEX_VERSION 3007000u
#define WAL_HEADER_BYTES 32
#define FRAME_HEADER_BYTES 24
#define SALT_BYTES 8u

/* Offsets in the index header; numbers in the byte order of the machine. */
enum { AT_VERSION = 0, AT_PAGE_BYTES = 14, AT_FRAME_COUNT = 16, AT_SALT = 32 };

static uint32_t get_u32(const uint8_t *header, size_t at) {
        uint32_t value;

        memcpy(&value, header + at, sizeof(value));
        return value;
}

/* 65536 does not fit into its field and is written as 1. */
static int64_t page_bytes(const uint8_t *header) {
        uint16_t value;

        memcpy(&value, header + AT_PAGE_BYTES, sizeof(value));
        return (value & 0xfe00) + ((int64_t) (value & 1) << 16);
}

/* The first page of the index as SQLite has it mapped; NULL outside of WAL mode. Only where SQLite has the
 * -wal open: else the call would make a -shm. */
static const volatile uint8_t *index_memory(sqlite3 *db, const char *schema) {
        sqlite3_file *file = db_file(db, schema, SQLITE_FCNTL_FILE_POINTER);
        void volatile *memory = NULL;

        if (!file || !db_file(db, schema, SQLITE_FCNTL_JOURNAL_POINTER) || file->pMethods->iVersion < 2 ||
            !file->pMethods->xShmMap)
                return NULL;
        if (file->pMethods->xShmMap(file, 0, INDEX_REGION_BYTES, 0, &memory) != SQLITE_OK)
                return NULL;
        return memory;
}

struct wal_index wal_index_read(sqlite3 *db, const char *schema) {
        const volatile uint8_t *memory = index_memory(db, schema);
        uint8_t second[WAL_INDEX_HEADER_BYTES];
        struct wal_index index = { 0 };

        if (!memory)
                return index;
        /* A writer stores the second copy, then the first: a reader takes them the other way round. Two that
         * differ are being written. */
        memcpy(index.header, (const void *) memory, sizeof(index.header));
        atomic_thread_fence(memory_order_acquire);
        memcpy(second, (const void *) (memory + WAL_INDEX_HEADER_BYTES), sizeof(second));
        index.is_known = memcmp(index.header, second, sizeof(second)) == 0 &&
                         get_u32(index.header, AT_VERSION) == INDEX_VERSION;
        return index;
}

bool wal_index_is_same(const struct wal_index *a, const struct wal_index *b) {
        return a->is_known && b->is_known && memcmp(a->header, b->header, sizeof(a->header)) == 0;
}

bool wal_index_is_same_log(const struct wal_index *a, const struct wal_index *b) {
        return a->is_known && b->is_known &&
               memcmp(a->header + AT_SALT, b->header + AT_SALT, SALT_BYTES) == 0;
}

bool wal_is_settled(sqlite3 *db, const struct wal_index *index) {
        sqlite3_file *wal = db_file(db, "main", SQLITE_FCNTL_JOURNAL_POINTER);
        uint8_t frame[FRAME_HEADER_BYTES];
        int64_t at;
        int code;

        if (!wal || !index->is_known)
                return false;
        /* The frame behind the last valid one: of this round of the log (same salt), or an old one? */
        at = WAL_HEADER_BYTES + (int64_t) get_u32(index->header, AT_FRAME_COUNT) *
                                        (FRAME_HEADER_BYTES + page_bytes(index->header));
        code = wal->pMethods->xRead(wal, frame, sizeof(frame), at);
        if (code == SQLITE_IOERR_SHORT_READ)
                return true;
        return code == SQLITE_OK && memcmp(frame + 8, index->header + AT_SALT, SALT_BYTES) != 0;
}
