/* SPDX-License-Identifier: Apache-2.0 */
/* `baton check` of a SQLite destination: reads only, makes nothing. A file that does not exist yet is
 * fine where it could be made. Must not touch: the file but through SQLite. Logs nothing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/destination/sqlite_destination.h"

static int check_directory(const char *path, struct failure *ret_failure) {
        char directory[PATH_MAX];
        const char *slash = strrchr(path, '/');
        struct stat st;

        (void) snprintf(directory, sizeof directory, "%.*s/", slash ? (int) (slash - path) : 0, path);
        if (stat(directory, &st) < 0 || !S_ISDIR(st.st_mode))
                return failure_set(ret_failure, -ENOENT, FAILURE_UNAVAILABLE,
                                   "destination %s: there is no directory %s: make it", path, directory);
        if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) < 0)
                return failure_set(ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                                   "destination %s: user %u has no permission to make files in %s: give it",
                                   path, (unsigned) geteuid(), directory);
        return 0;
}

/* 1: it is there, 0: it is not. */
static int beside_exists(const char *path, const char *suffix, struct failure *ret_failure) {
        char name[URL_BYTES + 8];
        struct stat st;
        int r = snprintf(name, sizeof name, "%s%s", path, suffix);

        assert(r > 0 && (size_t) r < sizeof name);
        if (stat(name, &st) == 0)
                return 1;
        r = -errno;
        return r == -ENOENT
                       ? 0
                       : failure_set(ret_failure, r, failure_kind_of_errno(r), "%s: %s", name, strerror(-r));
}

static int no_memory(const char *path, struct failure *ret_failure) {
        return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "no memory to check %s", path);
}

/* Sessions of another Baton stand here: one of ours with the same name would stop. Adds to the note. */
static int note_foreign(sqlite3 *db, const struct destination_config *config, char **note,
                        struct failure *ret_failure) {
        static const uint8_t none[INSTANCE_BYTES];
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        const char *session, *instance;
        char *longer;
        int r, code;

        if (!config->instance || memcmp(config->instance, none, sizeof none) == 0)
                return 0;
        r = db_prepare(db, config->url->path,
                       "SELECT session, lower(hex(instance)) FROM baton_checkpoint WHERE instance <> ?1",
                       &statement, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_bind_blob(statement, 1, config->instance, INSTANCE_BYTES, SQLITE_STATIC);
        code = sqlite3_step(statement);
        if (code == SQLITE_DONE)
                return 0;
        if (code != SQLITE_ROW)
                return db_fail(db, code, config->url->path, "read its checkpoints", ret_failure);
        session = (const char *) sqlite3_column_text(statement, 0);
        instance = (const char *) sqlite3_column_text(statement, 1);
        if (!session || !instance ||
            asprintf(
                    &longer,
                    "%s%sit holds session %s of another Baton (instance %s): one of that name would stop; use "
                    "that one's state directory, or another destination",
                    *note ? *note : "", *note ? "; " : "", session, instance) < 0)
                return no_memory(config->url->path, ret_failure);
        free(*note);
        *note = longer;
        return 0;
}

int sqlite_destination_check(const struct destination_config *config, char **ret_note,
                             struct failure *ret_failure) {
        struct db_busy busy = { .limit_usec = DB_GUEST_BUSY_USEC };
        _cleanup_db_ sqlite3 *db = NULL;
        const char *path, *table;
        _cleanup_free_ char *note = NULL;
        struct stat st;
        int r, has_wal, has_shm;
        bool is_live, is_ours;

        assert(config && config->url);
        assert(ret_note);

        path = config->url->path;
        table = option_text(config->scheme, config->url, "table");
        r = schema_check_name(table, ret_failure);
        if (r < 0)
                return r;
        r = check_directory(path, ret_failure);
        if (r < 0)
                return r;
        if (stat(path, &st) < 0) {
                if (errno != ENOENT)
                        return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE, "%s: %s", path,
                                           strerror(errno));
                *ret_note = NULL;
                return 0;
        }
        if (!S_ISREG(st.st_mode))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "%s is no regular file: correct the url", path);
        if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) < 0)
                return failure_set(ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                                   "destination %s cannot be written by user %u: give it the right", path,
                                   (unsigned) geteuid());

        /* Without both -wal and -shm an ordinary opening might make them: look at the file alone. */
        has_wal = beside_exists(path, "-wal", ret_failure);
        if (has_wal < 0)
                return has_wal;
        has_shm = beside_exists(path, "-shm", ret_failure);
        if (has_shm < 0)
                return has_shm;
        is_live = has_wal && has_shm;
        r = db_open(path, is_live ? DB_READ : DB_PEEK, &busy, &db, NULL, ret_failure);
        if (r < 0)
                return r;
        r = schema_verify(db, path, table, &is_ours, ret_failure);
        if (r < 0)
                return r;
        if (!is_live && has_wal &&
            asprintf(&note, "%s-wal was not read: it has no -shm, which the next opening makes", path) < 0) {
                note = NULL;
                return no_memory(path, ret_failure);
        }
        if (is_ours) {
                r = note_foreign(db, config, &note, ret_failure);
                if (r < 0)
                        return r;
        }
        *ret_note = TAKE(note);
        return 0;
}
