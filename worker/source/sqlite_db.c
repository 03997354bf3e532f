/* SPDX-License-Identifier: Apache-2.0 */
/* Opens SQLite files with Baton's manners (M12), waits for locks with a bound, and turns SQLite's
 * result codes into the classes of M6. Must not touch: any table. Logs nothing. */
#include "worker/source/sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define BUSY_SLEEP_FIRST_USEC 20
#define BUSY_SLEEP_MAX_USEC 1000
#define BUSY_YIELD_USEC (1500)
#define BUSY_SHORT_USEC (5 * USEC_PER_MSEC)

int file_id_read(const char *path, struct file_id *ret_id) {
        struct statx stat;

        assert(path);
        assert(ret_id);

        if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_INO | STATX_BTIME, &stat) < 0)
                return -errno;
        *ret_id = (struct file_id){
                .device = (uint64_t) stat.stx_dev_major << 32 | stat.stx_dev_minor,
                .inode = stat.stx_ino,
                .born_sec = stat.stx_mask & STATX_BTIME ? stat.stx_btime.tv_sec : -1,
                .born_nsec = stat.stx_mask & STATX_BTIME ? stat.stx_btime.tv_nsec : 0,
        };
        return 0;
}

bool file_id_is_same(const struct file_id *a, const struct file_id *b) {
        return a->device == b->device && a->inode == b->inode && a->born_sec == b->born_sec &&
               a->born_nsec == b->born_nsec;
}

static void sleep_usec(uint64_t usec) {
        struct timespec span = { .tv_sec = (time_t) (usec / USEC_PER_SEC),
                                 .tv_nsec = (long) (usec % USEC_PER_SEC * NSEC_PER_USEC) };

        (void) clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

/* Short sleeps first: the usual holder is another worker that commits within a millisecond, or one
 * that was killed and whose locks the kernel drops a moment after the news of its death. */
static int busy_wait(void *context, int count) {
        struct db_busy *busy = context;
        uint64_t now_usec = clock_usec();

        assert(busy);

        if (count == 0) {
                busy->since_usec = now_usec;
                busy->sleep_usec = BUSY_SLEEP_FIRST_USEC;
                busy->canceled = false;
        }
        if (now_usec - busy->since_usec + busy->sleep_usec > busy->limit_usec)
                return 0;
        if (busy->pulse && busy->pulse(busy->pulse_context)) {
                busy->canceled = true;
                return 0;
        }
        /* A dead holder's locks go within a millisecond or so: not even a timer is waited for. */
        if (now_usec - busy->since_usec < BUSY_YIELD_USEC) {
                (void) sched_yield();
                return 1;
        }
        sleep_usec(busy->sleep_usec);
        /* Until then, look often. */
        if (now_usec - busy->since_usec >= BUSY_SHORT_USEC)
                busy->sleep_usec = MIN_OF(busy->sleep_usec * 2, (uint64_t) BUSY_SLEEP_MAX_USEC);
        return 1;
}

int db_uri(const char *path, const char *query, char *ret_uri, size_t uri_bytes) {
        static const char hex[] = "0123456789ABCDEF";
        char text[DB_URI_BYTES];
        size_t used = strlen("file:");

        assert(path);
        assert(query);

        memcpy(text, "file:", used);
        for (const char *p = path; *p; p++) {
                bool is_plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                                (*p >= '0' && *p <= '9') || strchr("/-_.~", *p);

                if (used + 4 + strlen(query) + 2 > sizeof(text))
                        return -ENAMETOOLONG;
                if (is_plain) {
                        text[used++] = *p;
                        continue;
                }
                text[used++] = '%';
                text[used++] = hex[(unsigned char) *p >> 4];
                text[used++] = hex[(unsigned char) *p & 15];
        }
        used += (size_t) sprintf(text + used, "?%s", query);
        if (used >= uri_bytes)
                return -ENAMETOOLONG;
        memcpy(ret_uri, text, used + 1);
        return 0;
}

#define LINKS_MAX 40 /* as the kernel has it */

int db_directory(const char *path, char *ret_directory, size_t directory_bytes) {
        char at[PATH_MAX], target[PATH_MAX], *slash;
        ssize_t length;

        assert(path && *path == '/');

        if (!realpath(path, at) && snprintf(at, sizeof at, "%s", path) >= (int) sizeof at)
                return -ENAMETOOLONG;
        for (unsigned links = 0; (length = readlink(at, target, sizeof target - 1)) > 0; links++) {
                if (links == LINKS_MAX)
                        return -ELOOP;
                target[length] = '\0';
                slash = strrchr(at, '/');
                *(target[0] == '/' ? at : slash + 1) = '\0';
                if (strlen(at) + (size_t) length >= sizeof at)
                        return -ENAMETOOLONG;
                strcat(at, target);
        }
        slash = strrchr(at, '/');
        *(slash == at ? slash + 1 : slash) = '\0';
        if (strlen(at) >= directory_bytes)
                return -ENAMETOOLONG;
        memcpy(ret_directory, at, strlen(at) + 1);
        return 0;
}

sqlite3_file *db_file(sqlite3 *db, const char *schema, int which) {
        sqlite3_file *file = NULL;

        (void) sqlite3_file_control(db, schema, which, &file);
        return file && file->pMethods ? file : NULL;
}

void db_close(sqlite3 **db) {
        if (db && *db) {
                /* close_v2: a statement that somebody forgot must not keep a closed connection alive
                 * unseen, so it is our bug. */
                int code = sqlite3_close(*db);

                assert(code == SQLITE_OK);
                (void) code;
                *db = NULL;
        }
}

void statement_finalize(sqlite3_stmt **statement) {
        if (statement) {
                (void) sqlite3_finalize(*statement); /* repeats the last step's error, seen already */
                *statement = NULL;
        }
}

/* Memory statistics cost a mutex and a few additions at each of SQLite's many allocations, and nobody
 * reads them. Pages of the cache come one by one, not twenty at the open: an outbox needs five (S8).
 * Too late (and harmless) where SQLite runs already. */
static void setup_once(void) {
        static bool done;

        if (!done) {
                (void) sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
                (void) sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
        }
        done = true;
}

static void set_manners(sqlite3 *db) {
        (void) sqlite3_extended_result_codes(db, 1);
        (void) sqlite3_wal_autocheckpoint(db, 0);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
}

/* What is open must be what the path led to: SQLite compares its descriptor with the path. */
static int identify(sqlite3 *db, const char *path, struct file_id *ret_id, struct failure *ret_failure) {
        int r, has_moved = 0;

        r = file_id_read(path, ret_id);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "%s: %s", path, strerror(-r));
        (void) sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved);
        if (has_moved)
                return failure_set(ret_failure, -EAGAIN, FAILURE_UNAVAILABLE,
                                   "%s was replaced while it was being opened; trying again", path);
        return 0;
}

/* SQLite says no more than "unable to open database file": what a person can see is said instead. */
static int fail_to_open(sqlite3 *db, int code, const char *path, struct failure *ret_failure) {
        const char *slash = strrchr(path, '/');
        char directory[PATH_MAX];
        struct stat st;

        if ((code & 0xff) != SQLITE_CANTOPEN || !slash)
                return db_fail(db, code, path, "open it", ret_failure);
        (void) snprintf(directory, sizeof(directory), "%.*s/", (int) (slash - path), path);
        if (stat(directory, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
                return failure_set(ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                                   "%s: there is no directory %s (is its file system mounted?): make it",
                                   path, directory);
        if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
                return failure_set(ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                                   "%s is no regular file: correct the path, or move away what is there",
                                   path);
        if (stat(path, &st) < 0 && errno == ENOENT &&
            faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) < 0)
                return failure_set(ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                                   "%s: user %u has no permission to make files in %s: give it", path,
                                   (unsigned) geteuid(), directory);
        return db_fail(db, code, path, "open it", ret_failure);
}

static uint64_t doubt_count;

/* os_unix.c: "dropping a lock or two doesn't matter much". */
void db_open_failed(int code) {
        doubt_count += code == SQLITE_IOERR;
}

uint64_t db_doubt_count(void) {
        return doubt_count;
}

int db_open(const char *path, enum db_mode mode, struct db_busy *busy, sqlite3 **ret_db,
            struct file_id *ret_id, struct failure *ret_failure) {
        static const struct {
                const char *query;
                int flags;
        } modes[] = {
                [DB_READ] = { "mode=ro", SQLITE_OPEN_READONLY },
                [DB_PEEK] = { "mode=ro&immutable=1", SQLITE_OPEN_READONLY },
                [DB_WRITE] = { "mode=rw", SQLITE_OPEN_READWRITE },
                [DB_CREATE] = { "mode=rwc", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE },
        };
        _cleanup_db_ sqlite3 *db = NULL;
        struct file_id id = { 0 };
        char uri[DB_URI_BYTES];
        int r, code;

        assert(path);
        assert(busy);
        assert(ret_db);

        setup_once();
        r = db_uri(path, modes[mode].query, uri, sizeof(uri));
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "the path of %.80s… is too long", path);
        if (mode != DB_CREATE) {
                r = file_id_read(path, &id);
                if (r < 0)
                        return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "%s: %s", path, strerror(-r));
        }

        code = sqlite3_open_v2(uri, &db, modes[mode].flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
        if (code != SQLITE_OK) {
                db_open_failed(db ? sqlite3_extended_errcode(db) : code);
                return fail_to_open(db, code, path, ret_failure);
        }
        /* SQLite tries again for reading where it cannot open for writing, and says nothing. It may have been
         * a moment's trouble of the disk, and a handle that can only read would be kept for good. */
        if ((mode == DB_WRITE || mode == DB_CREATE) && sqlite3_db_readonly(db, "main") == 1)
                return db_fail(db, SQLITE_READONLY, path, "open it for writing", ret_failure);
        set_manners(db);
        (void) sqlite3_busy_handler(db, busy_wait, busy);
        /* P7: what SQLite would spill stands in no file of its own, in a directory that a worker may not reach. */
        r = db_execute(db, path, "PRAGMA temp_store = MEMORY", ret_failure);
        if (r < 0)
                return r;

        r = identify(db, path, &id, ret_failure);
        if (r < 0)
                return r;
        if (ret_id)
                *ret_id = id;
        *ret_db = TAKE(db);
        return 0;
}

int db_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **ret_statement,
               struct failure *ret_failure) {
        sqlite3_stmt *statement = NULL;
        int code;

        assert(db);
        assert(ret_statement);

        code = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
        if (code != SQLITE_OK)
                return db_fail(db, code, path, "prepare a statement", ret_failure);
        *ret_statement = statement;
        return 0;
}

int db_prepare_format(sqlite3 *db, const char *path, sqlite3_stmt **ret_statement,
                      struct failure *ret_failure, const char *format, ...) {
        _cleanup_free_ char *sql = NULL;
        va_list arguments;
        int n;

        va_start(arguments, format);
        n = vasprintf(&sql, format, arguments);
        va_end(arguments);
        if (n < 0) {
                sql = NULL;
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "%s: out of memory", path);
        }
        return db_prepare(db, path, sql, ret_statement, ret_failure);
}

int db_execute(sqlite3 *db, const char *path, const char *sql, struct failure *ret_failure) {
        int code;

        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
        if (code != SQLITE_OK)
                return db_fail(db, code, path, "prepare it for use", ret_failure);
        return 0;
}

int statement_run(sqlite3_stmt *statement) {
        int code;

        assert(statement);

        code = sqlite3_step(statement);
        assert(code != SQLITE_ROW);
        /* reset() gives the step's error again, in the detailed form. */
        return sqlite3_reset(statement) != SQLITE_OK && code == SQLITE_DONE ? SQLITE_ERROR
               : code == SQLITE_DONE                                        ? SQLITE_OK
                                                                            : code;
}

static bool is_as_uncertain(int code) {
        /* A write that failed is as uncertain as a sync: the page may be lost, or half there (M7). */
        return code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_TRUNCATE || code == SQLITE_IOERR_CLOSE ||
               code == SQLITE_IOERR_DIR_CLOSE;
}

enum failure_kind db_failure_kind(int code, int system_errno) {
        bool is_io = (code & 0xff) == SQLITE_IOERR;

        /* M7: for want of room, too. What the kernel could not find room for as late as that may be gone. */
        if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
                return FAILURE_SYNC;
        /* SQLite knows ENOSPC as SQLITE_FULL; a quota it does not, nor a -shm that cannot grow. */
        if ((code & 0xff) == SQLITE_FULL || (is_io && (system_errno == ENOSPC || system_errno == EDQUOT)) ||
            code == SQLITE_IOERR_SHMSIZE)
                return FAILURE_FULL;
        if (is_as_uncertain(code))
                return FAILURE_SYNC;
        if (code == SQLITE_IOERR_NOMEM || code == SQLITE_IOERR_LOCK || code == SQLITE_IOERR_RDLOCK ||
            code == SQLITE_IOERR_SHMOPEN || code == SQLITE_IOERR_SHMMAP || code == SQLITE_IOERR_SHMLOCK)
                return FAILURE_UNAVAILABLE;
        /* A host at its limits: it passes, and nothing is uncertain of it. */
        if (is_io && failure_kind_of_errno(system_errno) == FAILURE_UNAVAILABLE)
                return FAILURE_UNAVAILABLE;

        switch (code & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL:
        case SQLITE_NOMEM:
        case SQLITE_INTERRUPT:
        case SQLITE_READONLY:
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
        case SQLITE_AUTH:
        case SQLITE_SCHEMA:
                return FAILURE_UNAVAILABLE;
        case SQLITE_CONSTRAINT:
        case SQLITE_TOOBIG:
        case SQLITE_MISMATCH:
                return FAILURE_REJECTED;
        default: /* CORRUPT, NOTADB, ERROR (no such table …), MISUSE, IOERR of a read */
                return FAILURE_STOP;
        }
}

static int errno_of_code(int code, enum failure_kind kind) {
        switch (kind) {
        case FAILURE_FULL:
                return -ENOSPC;
        case FAILURE_SYNC:
                return -EIO;
        case FAILURE_REJECTED:
                return -EINVAL;
        case FAILURE_UNAVAILABLE:
                return (code & 0xff) == SQLITE_NOMEM      ? -ENOMEM
                       : (code & 0xff) == SQLITE_PROTOCOL ? -EPROTO
                       : (code & 0xff) == SQLITE_READONLY ? -EACCES
                       : (code & 0xff) == SQLITE_CANTOPEN ? -EACCES
                                                          : -EBUSY;
        default:
                return (code & 0xff) == SQLITE_IOERR ? -EIO : -EBADMSG;
        }
}

static const char *advice_of_code(int code, enum failure_kind kind) {
        if ((code & 0xff) == SQLITE_NOTADB)
                return "; it is no SQLite database: correct the url";
        if (code == SQLITE_READONLY_ROLLBACK || code == SQLITE_READONLY_RECOVERY)
                return "; an interrupted transaction is in it, which its application rolls back when it opens it; waiting";
        if ((code & 0xff) == SQLITE_CORRUPT)
                return "; SQLite says so where a read failed, too: look at the disk (kernel log), then at the file with "
                       "`PRAGMA integrity_check`; restore it from a backup where it is damaged";
        switch (kind) {
        case FAILURE_FULL:
                return "; make room on its disk, Baton goes on by itself";
        case FAILURE_SYNC:
                return "; a write may be lost: look at the disk (kernel log)";
        case FAILURE_UNAVAILABLE:
                return (code & 0xff) == SQLITE_BUSY ? "; another process holds its lock, trying again"
                       : (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY
                               ? "; check owner and mode of the file and of its directory"
                               : "; trying again";
        default:
                return "";
        }
}

int db_fail(sqlite3 *db, int code, const char *path, const char *what, struct failure *ret_failure) {
        int extended = db && (sqlite3_extended_errcode(db) & 0xff) == (code & 0xff)
                               ? sqlite3_extended_errcode(db)
                               : code;
        enum failure_kind kind = db_failure_kind(extended, db ? sqlite3_system_errno(db) : 0);

        assert(code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE);

        return failure_set(ret_failure, errno_of_code(code, kind), kind, "%s: cannot %s: %s (SQLite %d)%s",
                           path, what, db ? sqlite3_errmsg(db) : sqlite3_errstr(code), extended,
                           advice_of_code(extended, kind));
}
