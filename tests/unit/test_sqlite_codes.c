/* SPDX-License-Identifier: Apache-2.0 */
/* What SQLite's result codes mean to a session (M6): who waits, who stops, who is parked, and the sentence. */
#include <errno.h>
#include <fcntl.h>

#include "tests/unit/sqlite_fixture.h"
#include "worker/source/sqlite_db.h"

/* db_fail() asks an open database for the extended code; without one, the code stands as it is. */
static const struct {
        int code, system_errno;
        enum failure_kind kind;
        int r; /* of db_fail(), which knows of no errno here */
        const char *sentence;
} codes[] = {
        { SQLITE_BUSY, 0, FAILURE_UNAVAILABLE, -EBUSY, "another process holds its lock, trying again" },
        { SQLITE_BUSY_SNAPSHOT, 0, FAILURE_UNAVAILABLE, -EBUSY, "another process holds its lock" },
        { SQLITE_LOCKED, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_PROTOCOL, 0, FAILURE_UNAVAILABLE, -EPROTO, "; trying again" },
        { SQLITE_NOMEM, 0, FAILURE_UNAVAILABLE, -ENOMEM, "; trying again" },
        { SQLITE_INTERRUPT, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_SCHEMA, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_PERM, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_AUTH, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_READONLY, 0, FAILURE_UNAVAILABLE, -EACCES, "check owner and mode of the file" },
        { SQLITE_CANTOPEN, 0, FAILURE_UNAVAILABLE, -EACCES, "check owner and mode of the file" },
        { SQLITE_READONLY_ROLLBACK, 0, FAILURE_UNAVAILABLE, -EACCES, "an interrupted transaction is in it" },
        { SQLITE_READONLY_RECOVERY, 0, FAILURE_UNAVAILABLE, -EACCES, "an interrupted transaction is in it" },
        { SQLITE_IOERR_NOMEM, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_IOERR_LOCK, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_IOERR_RDLOCK, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_IOERR_SHMOPEN, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_IOERR_SHMMAP, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_IOERR_SHMLOCK, 0, FAILURE_UNAVAILABLE, -EBUSY, "; trying again" },
        { SQLITE_FULL, 0, FAILURE_FULL, -ENOSPC, "make room on its disk" }, /* M8 */
        { SQLITE_IOERR_SHMSIZE, 0, FAILURE_FULL, -ENOSPC, "make room on its disk" },
        { SQLITE_IOERR_FSYNC, 0, FAILURE_SYNC, -EIO, "a write may be lost: look at the disk" }, /* M7 */
        { SQLITE_IOERR_DIR_FSYNC, 0, FAILURE_SYNC, -EIO, "a write may be lost" },
        { SQLITE_IOERR_WRITE, 0, FAILURE_SYNC, -EIO, "a write may be lost" },
        { SQLITE_IOERR_TRUNCATE, 0, FAILURE_SYNC, -EIO, "a write may be lost" },
        { SQLITE_IOERR_CLOSE, 0, FAILURE_SYNC, -EIO, "a write may be lost" },
        { SQLITE_IOERR_DIR_CLOSE, 0, FAILURE_SYNC, -EIO, "a write may be lost" },
        { SQLITE_CONSTRAINT, 0, FAILURE_REJECTED, -EINVAL, "(SQLite 19)" },
        { SQLITE_TOOBIG, 0, FAILURE_REJECTED, -EINVAL, "(SQLite 18)" },
        { SQLITE_MISMATCH, 0, FAILURE_REJECTED, -EINVAL, "(SQLite 20)" },
        { SQLITE_IOERR_READ, 0, FAILURE_STOP, -EIO, "(SQLite 266)" },
        { SQLITE_CORRUPT, 0, FAILURE_STOP, -EBADMSG, "PRAGMA integrity_check" },
        { SQLITE_NOTADB, 0, FAILURE_STOP, -EBADMSG, "it is no SQLite database: correct the url" },
        { SQLITE_ERROR, 0, FAILURE_STOP, -EBADMSG, "(SQLite 1)" },
        { SQLITE_MISUSE, 0, FAILURE_STOP, -EBADMSG, "(SQLite 21)" },
};

Test(sqlite_codes, M6_each_code_has_its_class_its_errno_and_its_sentence) {
        for (size_t i = 0; i < ELEMENTSOF(codes); i++) {
                struct failure failure = { 0 };

                cr_expect_eq(db_failure_kind(codes[i].code, 0), codes[i].kind, "%d", codes[i].code);
                cr_expect_eq(db_fail(NULL, codes[i].code, "/x.db", "read it", &failure), codes[i].r, "%d: %s",
                             codes[i].code, failure.text);
                cr_expect_eq(failure.kind, codes[i].kind, "%d", codes[i].code);
                cr_expect_eq(strncmp(failure.text, "/x.db: cannot read it: ", 23), 0, "%s", failure.text);
                cr_expect_not_null(strstr(failure.text, codes[i].sentence), "%d: %s", codes[i].code,
                                   failure.text);
        }
}

/* M8: what SQLite says as an I/O error, the kernel may have said of room, quota or a host at its limits. */
Test(sqlite_codes, M8_an_io_error_is_what_the_kernel_said) {
        static const struct {
                int code, system_errno;
                enum failure_kind kind;
        } errors[] = {
                { SQLITE_IOERR_WRITE, ENOSPC, FAILURE_FULL },
                { SQLITE_IOERR_WRITE, EDQUOT, FAILURE_FULL },
                { SQLITE_IOERR_FSYNC, EIO, FAILURE_SYNC }, /* M7: and for want of room, too */
                { SQLITE_IOERR_FSYNC, EDQUOT, FAILURE_SYNC },
                { SQLITE_IOERR_FSYNC, ENOSPC, FAILURE_SYNC },
                { SQLITE_IOERR_DIR_FSYNC, ENOSPC, FAILURE_SYNC },
                { SQLITE_IOERR_FSTAT, ENOMEM, FAILURE_UNAVAILABLE },
                { SQLITE_IOERR_READ, EIO, FAILURE_STOP },
                { SQLITE_BUSY, ENOSPC, FAILURE_UNAVAILABLE }, /* of an earlier call */
        };

        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                cr_expect_eq(db_failure_kind(errors[i].code, errors[i].system_errno), errors[i].kind,
                             "%d, %d", errors[i].code, errors[i].system_errno);
}

/* ---- what cannot be opened ------------------------------------------------------------------------------ */

TestSuite(sqlite_places, .init = fixture_setup, .fini = fixture_teardown);

static void cannot_open(const char *path, enum db_mode mode, enum failure_kind kind, const char *sentence) {
        struct db_busy busy = { 0 };
        sqlite3 *db = (void *) 1;
        struct failure failure = { 0 };

        cr_assert_lt(db_open(path, mode, &busy, &db, NULL, &failure), 0, "%s", path);
        cr_assert_eq(db, (void *) 1, "output untouched on failure");
        cr_assert_eq(failure.kind, kind, "%s", failure.text);
        cr_assert_not_null(strstr(failure.text, sentence), "%s", failure.text);
}

Test(sqlite_places, what_stands_in_the_way_is_named) {
        char path[5000];

        cr_assert_eq(close(open(path_of("file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
        (void) snprintf(path, sizeof path, "%s/absent/x.db", fixture_directory);
        cannot_open(path, DB_CREATE, FAILURE_UNAVAILABLE, "there is no directory");
        cannot_open(path, DB_READ, FAILURE_UNAVAILABLE, "No such file or directory");
        (void) snprintf(path, sizeof path, "%s/file/x.db", fixture_directory);
        cannot_open(path, DB_CREATE, FAILURE_UNAVAILABLE, "there is no directory");
        cannot_open(fixture_directory, DB_CREATE, FAILURE_UNAVAILABLE, "is no regular file");
        memset(path, ' ', 1500); /* three characters each in a URI */
        path[1500] = '\0';
        cannot_open(path, DB_CREATE, FAILURE_STOP, "is too long");
        memset(path, 'x', 4089);
        path[4089] = '\0';
        cannot_open(path, DB_CREATE, FAILURE_STOP, "is too long");
}
