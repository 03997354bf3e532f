/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite destination where a system call fails and SQLite says nothing of it (M6). */
#include <errno.h>
#include <sys/stat.h>

#include "tests/unit/sqlite_fixture.h"

static const struct destination_ops *dst;

static void setup(void) {
        fixture_setup();
        dst = destination_ops_find("sqlite");
}

TestSuite(sqlite_overlooks, .init = setup, .fini = fixture_teardown);

static int (*true_stat)(const char *path, struct stat *ret_stat);

static int stat_fails_on_a_journal(const char *path, struct stat *ret_stat) {
        if (strstr(path, "-journal")) {
                errno = ENOMEM;
                return -1;
        }
        return true_stat(path, ret_stat);
}

static void journal_make(char first) {
        FILE *file = fopen(path_of("out.db-journal"), "we");

        cr_assert_not_null(file);
        cr_assert_eq(fputc(first, file), first);
        cr_assert_eq(fclose(file), 0);
}

/* A worker died as it made the database. SQLite takes a -journal that it cannot stat() for none, and would go on in
 * what is half made. */
Test(sqlite_overlooks, M6_a_journal_that_SQLite_overlooks_is_not_passed_by) {
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
        struct destination *destination = destination_get("out.db");

        dst->close(destination);
        journal_make('x');
        true_stat = (int (*)(const char *, struct stat *)) vfs->xGetSystemCall(vfs, "stat");
        cr_assert_eq(vfs->xSetSystemCall(vfs, "stat", (sqlite3_syscall_ptr) stat_fails_on_a_journal),
                     SQLITE_OK);
        must_fail(destination_try("out.db", "", fixture_instance, &destination, failure), -EAGAIN,
                  FAILURE_UNAVAILABLE);
        journal_make('\0'); /* one that is over */
        must(destination_try("out.db", "", fixture_instance, &destination, failure));
        dst->close(destination);
        journal_make('x');
        cr_assert_eq(vfs->xSetSystemCall(vfs, "stat", (sqlite3_syscall_ptr) true_stat), SQLITE_OK);
        must(destination_try("out.db", "", fixture_instance, &destination, failure));
        dst->close(destination);
}
