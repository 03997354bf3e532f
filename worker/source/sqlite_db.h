/* SPDX-License-Identifier: Apache-2.0 */
/* One open SQLite file: how Baton opens it, waits for its locks, and says what went wrong.
 * Shared by the SQLite source and the SQLite destination; knows no event and no table.
 * All of it belongs to the mover's thread (S1); connections are opened without SQLite's mutexes. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/macro.h"

enum db_mode {
        DB_READ,   /* mode=ro: a guest. Takes shared locks only (M12) */
        DB_PEEK,   /* immutable=1: takes no lock, makes no file, sees no -wal (`check`) */
        DB_WRITE,  /* mode=rw: the file must exist */
        DB_CREATE, /* mode=rwc */
};

/* How long a connection waits for somebody else's lock. Owned by whoever owns the connection; limits
 * may be changed between two calls into SQLite. */
struct db_busy {
        uint64_t limit_usec;          /* total of one wait */
        bool (*pulse)(void *context); /* may be NULL; true: give up (destination_config.pulse) */
        void *pulse_context;
        bool canceled;                   /* pulse said so during the last wait */
        uint64_t since_usec, sleep_usec; /* of the wait that is going on */
};

#define DB_GUEST_BUSY_USEC 5000ULL             /* M12: in somebody else's database */
#define DB_OWN_BUSY_USEC (5ULL * USEC_PER_SEC) /* in our own destination, at most */

/* What is open, against what the path leads to. The device number is left out of durable identities
 * (it may change at boot) but compared within one process. */
struct file_id {
        uint64_t device, inode;
        int64_t born_sec; /* btime; -1 where the file system keeps none */
        uint32_t born_nsec;
};

/* statx() of the path: opens nothing (M12). 0 or -errno. */
int file_id_read(const char *path, struct file_id *ret_id);
bool file_id_is_same(const struct file_id *a, const struct file_id *b);

/* Opens `path` (absolute; percent-encoded here) with our manners set: no checkpoint on close, no
 * automatic checkpoint, defensive, schema not trusted, extended result codes. *ret_id is what is open,
 * checked after the open so that a file replaced meanwhile is not taken for it; may be NULL.
 * `busy` is kept by the connection. -ENOENT where a file that must exist does not. */
int db_open(const char *path, enum db_mode mode, struct db_busy *busy, sqlite3 **ret_db,
            struct file_id *ret_id, struct failure *ret_failure);
/* Tells of an open that failed, and how many of those left locks in doubt: where SQLite cannot fstat() a file
 * that it just opened, it closes it, and POSIX takes from the process every lock that it has on that file. An
 * application may then leave WAL mode, or remove its -wal, under a handle of ours (M12). Whoever was opened
 * before such an open is opened anew. */
void db_open_failed(int code);
uint64_t db_doubt_count(void);
/* The directory in which SQLite would open the path, or make it, and the files beside it: it follows links, those that
 * lead to nothing yet among them. -ENAMETOOLONG; -ELOOP. Nothing is opened. */
int db_directory(const char *path, char *ret_directory, size_t directory_bytes);
/* Writes "file:/percent/encoded/path?QUERY". -ENAMETOOLONG. */
int db_uri(const char *path, const char *query, char *ret_uri, size_t uri_bytes);
#define DB_URI_BYTES 4096
/* SQLite's own handle (`which`: SQLITE_FCNTL_FILE_POINTER or _JOURNAL_POINTER); NULL where it has none open. */
sqlite3_file *db_file(sqlite3 *db, const char *schema, int which);
void db_close(sqlite3 **db); /* NULL and a pointer to NULL are accepted */
#define _cleanup_db_ _cleanup_(db_close)
void statement_finalize(sqlite3_stmt **statement);
#define _cleanup_statement_ _cleanup_(statement_finalize)

/* Prepares a statement that will be used often. */
int db_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **ret_statement,
               struct failure *ret_failure);
/* Prepares from a format (identifiers only: text_is_identifier() was asked before). */
int db_prepare_format(sqlite3 *db, const char *path, sqlite3_stmt **ret_statement,
                      struct failure *ret_failure, const char *format, ...) _printf_(5, 6);
/* Runs a text that gives no rows, or whose rows nobody wants. */
int db_execute(sqlite3 *db, const char *path, const char *sql, struct failure *ret_failure);
/* Steps a statement that gives no rows, and resets it. An SQLite result code: SQLITE_OK or an error. */
int statement_run(sqlite3_stmt *statement);

/* The class (M6) of an SQLite result code. `system_errno`: sqlite3_system_errno(), or 0. */
enum failure_kind db_failure_kind(int code, int system_errno);
/* Fills the failure from the connection's last error: "PATH: cannot WHAT: SQLite's words; ADVICE".
 * Returns the negative errno of the class. */
int db_fail(sqlite3 *db, int code, const char *path, const char *what, struct failure *ret_failure);
