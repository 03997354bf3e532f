/* SPDX-License-Identifier: Apache-2.0 */
/* M11: syncs a source through SQLite itself, with the handles that SQLite has open.
 *
 * An application with synchronous=NORMAL syncs its -wal only when it checkpoints: what it has committed,
 * and we have read, a power cut may take away again, and the same numbers would be given to other events.
 *
 * Order matters. First the -wal: after it, every frame that still stands there is durable. Then the
 * database file: a frame that is no longer in the -wal was copied into it before the first step ended.
 *
 * Nothing is synced where the WAL index stands as it stood before our last sync: a frame is in the -wal before
 * the index speaks of it, so that sync covered whatever is visible now (a source with a backlog costs no sync
 * at all). The database file is synced only when the log began anew since. Else, a file that was not written since
 * we last synced it is not synced again. That skip is sound only if every write after the last sync would show in
 * (size, ctime). The kernel stamps with a clock that stands still for up to a tick (10 ms); two writes in one tick
 * look alike. So a sync is remembered only if the stamp had been seen for STAMP_GRAIN when it began, by our own
 * monotonic clock: against the wall clock a stamp looks old after a jump, or where another machine's clock made it.
 * (ctime, not mtime: nobody can set it. An application that writes through a memory map is stamped at write-back;
 * SQLite as shipped never does.)
 *
 * Must not touch: locks, transactions, any descriptor of a database or -shm but SQLite's own (M12). */
#include "worker/source/sqlite_durability.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/macro.h"
#include "worker/source/sqlite_db.h"

/* The kernel stamps a write before it copies it, and a writer that is throttled may sleep in between, 200 ms at a
 * time: what is old enough must be older than that by far. */
#define STAMP_GRAIN_USEC (2 * USEC_PER_SEC)

static int sync_failed(const char *path, const char *what, struct failure *ret_failure) {
        return failure_set(
                ret_failure, -EIO, FAILURE_SYNC,
                "%s: the sync of its %s failed, so what was read there may not survive a power cut; look at "
                "the disk (kernel log) and at the source, then run `baton adopt`",
                path, what);
}

static int sync_path(const char *path, int flags, const char *source_path, const char *what,
                     struct failure *ret_failure) {
        _cleanup_fd_ int fd = -1;

        fd = open(path, O_RDONLY | O_CLOEXEC | flags);
        if (fd < 0 && errno == ENOENT)
                return 0; /* a journal that was deleted meanwhile: the directory's sync is to come */
        if (fd < 0)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE,
                                   "%s: cannot open its %s to sync it: %s", source_path, what,
                                   strerror(errno));
        if (fsync(fd) < 0)
                return sync_failed(source_path, what, ret_failure);
        return 0;
}

static int sync_directory(const char *path, struct failure *ret_failure) {
        char directory[PATH_MAX];
        const char *slash = strrchr(path, '/');

        (void) snprintf(directory, sizeof directory, "%.*s/", slash ? (int) (slash - path) : 0, path);
        return sync_path(directory, O_DIRECTORY, path, "directory", ret_failure);
}

static bool header_says_wal(sqlite3_file *file) {
        uint8_t version[2] = { 0 };

        return file->pMethods->xRead(file, version, sizeof version, 18) == SQLITE_OK && version[0] == 2;
}

/* The -wal as this connection has it open (SQLITE_FCNTL_JOURNAL_POINTER gives it in WAL mode; a
 * read-only connection never has a rollback journal open). NULL and *ret_missing: it should be there. */
static sqlite3_file *find_wal(sqlite3 *db, const char *schema, sqlite3_file *database, bool *ret_missing) {
        sqlite3_file *wal = db_file(db, schema, SQLITE_FCNTL_JOURNAL_POINTER);
        char sql[64];

        if (!wal && header_says_wal(database)) {
                /* The application went over to WAL since our last read; the next read sees it. */
                (void) snprintf(sql, sizeof sql, "PRAGMA %s.schema_version", schema);
                (void) sqlite3_exec(db, sql, NULL, NULL, NULL);
                wal = db_file(db, schema, SQLITE_FCNTL_JOURNAL_POINTER);
        }
        *ret_missing = !wal && header_says_wal(database);
        return wal;
}

static bool is_unchanged(const struct synced_file *synced, const struct stat *st) {
        return synced->inode == st->st_ino && synced->bytes == st->st_size &&
               synced->ctime_sec == st->st_ctim.tv_sec && synced->ctime_nsec == st->st_ctim.tv_nsec;
}

static struct synced_file look_at(const struct stat *st) {
        return (struct synced_file){
                .inode = st->st_ino,
                .bytes = st->st_size,
                .ctime_sec = st->st_ctim.tv_sec,
                .ctime_nsec = st->st_ctim.tv_nsec,
                .seen_usec = clock_usec(),
        };
}

/* Syncs SQLite's file, which `path` leads to, unless it is durable as it stands. */
static int sync_file(sqlite3_file *file, const char *path, const char *what, struct synced_file *synced,
                     struct failure *ret_failure) {
        struct synced_file seen = { 0 };
        struct stat st;

        if (stat(path, &st) >= 0) { /* gone: sync what is open, remember nothing */
                seen = is_unchanged(synced, &st) ? *synced : look_at(&st);
                if (seen.is_durable)
                        return 0;
                seen.is_durable = clock_usec() - seen.seen_usec > STAMP_GRAIN_USEC;
        }
        synced->is_durable = false;
        if (file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) != SQLITE_OK)
                return sync_failed(path, what, ret_failure);
        *synced = seen;
        return 0;
}

static int sync_wal(sqlite3_file *wal, const char *path, struct durability *durability,
                    struct failure *ret_failure) {
        char name[PATH_MAX];
        struct stat st;
        bool is_known;
        int r;

        if (snprintf(name, sizeof name, "%s-wal", path) >= (int) sizeof name)
                return failure_set(ret_failure, -ENAMETOOLONG, FAILURE_STOP, "%.80s…: the path is too long",
                                   path);
        r = sync_file(wal, name, "-wal", &durability->wal, ret_failure);
        if (r < 0)
                return r;
        /* Its name must be durable too, once: with synchronous=OFF nobody else sees to that. Where nobody can say
         * which file it is now, the directory is synced, and nothing is remembered. */
        is_known = stat(name, &st) == 0;
        if (is_known && durability->wal_inode == st.st_ino)
                return 0;
        r = sync_directory(path, ret_failure);
        if (r < 0)
                return r;
        durability->wal_inode = is_known ? st.st_ino : 0;
        return 0;
}

/* Rollback mode: the commit is the journal's end (deleted, truncated or zeroed). If that is lost, the
 * next to open the database rolls the commit back. */
static int sync_rollback(sqlite3_file *database, const char *path, struct durability *durability,
                         struct failure *ret_failure) {
        char name[PATH_MAX];
        int r;

        r = sync_file(database, path, "database file", &durability->database, ret_failure);
        if (r < 0)
                return r;
        if (snprintf(name, sizeof name, "%s-journal", path) < (int) sizeof name) {
                r = sync_path(name, 0, path, "-journal", ret_failure);
                if (r < 0)
                        return r;
        }
        return sync_directory(path, ret_failure);
}

/* The log is still the one that stood at our last sync, also now that it is synced again. Then every frame that a
 * checkpoint has copied since stands in it as well, and what was copied from logs before was in the database
 * file at that sync. */
static bool log_goes_on(sqlite3 *db, const char *schema, const struct durability *durability,
                        const struct wal_index *index) {
        const struct wal_index now = wal_index_read(db, schema);

        return wal_index_is_same_log(&durability->index, index) && wal_index_is_same_log(index, &now);
}

int durability_sync(sqlite3 *db, const char *schema, const char *path, struct durability *durability,
                    struct failure *ret_failure) {
        sqlite3_file *database, *wal;
        struct wal_index index;
        bool wal_is_missing;
        const char *real;
        int r;

        assert(db);
        assert(schema);
        assert(durability);

        if (durability->has_failed)
                return sync_failed(path, "files", ret_failure);
        index = wal_index_read(db, schema);
        if (wal_index_is_same(&durability->index, &index))
                return 0;
        database = db_file(db, schema, SQLITE_FCNTL_FILE_POINTER);
        if (!database)
                return failure_set(
                        ret_failure, -EBADMSG, FAILURE_STOP,
                        "%s: this SQLite (%s) shows no file to sync, so what is read cannot be made durable",
                        path, sqlite3_libversion());
        wal = find_wal(db, schema, database, &wal_is_missing);
        if (wal_is_missing)
                return failure_set(
                        ret_failure, -EBADMSG, FAILURE_STOP,
                        "%s is in WAL mode, but this SQLite (%s) shows no -wal to sync, so what is read cannot "
                        "be made durable",
                        path, sqlite3_libversion());
        /* Links resolved: SQLite's files stand beside the real one. */
        real = sqlite3_db_filename(db, schema);
        if (!real || !*real)
                real = path;
        r = wal ? sync_wal(wal, real, durability, ret_failure)
                : sync_rollback(database, real, durability, ret_failure);
        if (r >= 0 && wal && !log_goes_on(db, schema, durability, &index))
                r = sync_file(database, real, "database file", &durability->database, ret_failure);
        durability->has_failed = r == -EIO;
        durability->index = index;
        durability->index.is_known = index.is_known && r >= 0;
        return r;
}
