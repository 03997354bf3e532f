/* SPDX-License-Identifier: Apache-2.0 */
/* M12: no file is made that the application cannot open.
 *
 * The first connection to a database in WAL mode makes -wal and -shm, even a read-only one. SQLite gives
 * them the database's mode, and, only as root, its owner. So a guest of another user that comes first
 * (the application has closed its last connection, or never ran since the boot) can lock the host out.
 * Where both files are there already, nothing is made and nothing need be asked.
 *
 * Must not touch: the file, but through SQLite (a descriptor of our own would drop SQLite's locks when it
 * is closed). Logs nothing. */
#include "worker/source/sqlite_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/source/sqlite_acl.h"
#include "worker/source/sqlite_db.h"

static bool beside_exists(const char *path, const char *suffix) {
        char name[PATH_MAX];
        struct stat st;

        if (snprintf(name, sizeof name, "%s%s", path, suffix) >= (int) sizeof name)
                return false;
        return stat(name, &st) == 0;
}

/* Bytes 18 and 19 of the header are 2 in WAL mode. */
static int read_wal_mode(const char *path, bool *ret_wal_mode, struct failure *ret_failure) {
        struct db_busy busy = { .limit_usec = DB_GUEST_BUSY_USEC };
        _cleanup_db_ sqlite3 *db = NULL;
        sqlite3_file *file = NULL;
        uint8_t version[2] = { 0 };
        int r;

        r = db_open(path, DB_PEEK, &busy, &db, NULL, ret_failure);
        if (r < 0)
                return r;
        (void) sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
        if (file && file->pMethods) /* an empty file is read short, and zero */
                (void) file->pMethods->xRead(file, version, sizeof version, 18);
        *ret_wal_mode = version[0] == 2 || version[1] == 2;
        return 0;
}

/* Could the database's owner open a file that we make with the database's mode? */
static bool owner_could_open(const struct stat *database, const char *directory) {
        gid_t group = getegid();
        struct stat dir;

        if (geteuid() == 0 || (database->st_mode & 06) == 06)
                return true; /* root gives the files to the database's owner */
        if (geteuid() == database->st_uid)
                return true;
        if (stat(directory, &dir) == 0 && (dir.st_mode & S_ISGID))
                group = dir.st_gid;
        return (database->st_mode & 060) == 060 &&
               (group == database->st_gid || acl_default_lets(directory, database->st_uid));
}

static void directory_of(const char *path, char ret_directory[PATH_MAX]) {
        const char *slash = strrchr(path, '/');
        size_t bytes = slash ? (size_t) (slash - path) : 0;

        (void) snprintf(ret_directory, PATH_MAX, "%.*s/", (int) bytes, path);
}

int guest_look(const char *path, struct guest_view *ret_view, struct failure *ret_failure) {
        struct guest_view view;
        char real[PATH_MAX], directory[PATH_MAX];
        struct stat database;
        int r;

        assert(path);
        assert(ret_view);

        /* SQLite follows links and puts its files beside the real one. */
        if (!realpath(path, real) || stat(real, &database) < 0) {
                r = -errno;
                if (r == -ENOENT || r == -ENOTDIR)
                        return failure_set(ret_failure, -ENOENT, FAILURE_UNAVAILABLE,
                                           "source file %s is absent; waiting for it to appear", path);
                return failure_set(ret_failure, r, failure_kind_of_errno(r), "source file %s: %s%s", path,
                                   strerror(-r),
                                   r == -EACCES
                                           ? "; Baton's user needs the right to search (x) each directory "
                                             "on the way"
                                           : "");
        }
        if (!S_ISREG(database.st_mode))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "%s is no regular file: correct the url", path);
        if (faccessat(AT_FDCWD, real, R_OK, AT_EACCESS) < 0)
                return failure_set(
                        ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                        "source file %s cannot be read by user %u: give it the right (group and mode)", path,
                        (unsigned) geteuid());

        view = (struct guest_view){
                .has_wal = beside_exists(real, "-wal"),
                .has_shm = beside_exists(real, "-shm"),
                .has_journal = beside_exists(real, "-journal"),
                .owner = database.st_uid,
        };
        view.wal_mode = view.has_wal && view.has_shm;
        if (!view.wal_mode) {
                r = read_wal_mode(real, &view.wal_mode, ret_failure);
                if (r < 0)
                        return r;
                view.would_create = view.wal_mode;
        }
        directory_of(real, directory);
        view.cannot_create = view.would_create && faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) < 0;
        view.shuts_out = view.would_create && !view.cannot_create && !owner_could_open(&database, directory);
        *ret_view = view;
        return 0;
}

int guest_admit(const char *path, struct failure *ret_failure) {
        struct guest_view view;
        int r;

        r = guest_look(path, &view, ret_failure);
        if (r < 0)
                return r;
        if (view.shuts_out)
                return failure_set(
                        ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                        "%s: nobody has it open, and user %u would make its -wal so that its owner (user %u) "
                        "could not write it; waiting for the application to open it (or grant it: `baton check --unit`)",
                        path, (unsigned) geteuid(), (unsigned) view.owner);
        if (view.cannot_create)
                return failure_set(
                        ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                        "%s: nobody has it open, and user %u may not make its -wal in that directory; waiting "
                        "for the application to open it (or give write permission on the directory)",
                        path, (unsigned) geteuid());
        return 0;
}
