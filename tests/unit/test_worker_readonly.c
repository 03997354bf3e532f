/* SPDX-License-Identifier: Apache-2.0 */
/* M6: no descriptor is left while SQLite opens a -wal. It opens it for reading then, if it can, says nothing, and keeps
 * it so: every write would be refused for as long as the handle lives. It is opened anew. */
#include <fcntl.h>

#include "tests/unit/worker_fixture.h"

TestSuite(readonly, .init = worker_setup, .fini = worker_teardown);

static int (*real_open)(const char *path, int flags, int mode);
static const char *fails_once; /* end of the path; NULL: none fails */
static unsigned passes;        /* so many opens of it succeed before */

/* In the place of the system call below SQLite. */
static int open_without_descriptors(const char *path, int flags, int mode) {
        size_t bytes = strlen(path), end = fails_once ? strlen(fails_once) : 0;

        if (end > 0 && bytes >= end && strcmp(path + bytes - end, fails_once) == 0 &&
            (flags & O_ACCMODE) == O_RDWR && passes-- == 0) {
                fails_once = NULL;
                errno = EMFILE;
                return -1;
        }
        return real_open(path, flags, mode);
}

static void without_descriptors_once(const char *end, unsigned after) {
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        real_open = (int (*)(const char *, int, int)) vfs->xGetSystemCall(vfs, "open");
        cr_assert_eq(vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr) open_without_descriptors),
                     SQLITE_OK);
        fails_once = end;
        passes = after;
}

Test(readonly, M6_a_destination_that_was_opened_for_reading_alone_is_opened_anew) {
        sqlite3 *app = app_outbox("a.db"), *other;

        app_fill(app, 5);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        cr_assert_eq(moved("a"), 5);
        other = app_open("d.db"); /* another worker: the -wal is there */
        cr_assert_eq(app_number(other, "SELECT count(*) FROM baton_events"), 5);
        target_close(&worker);
        without_descriptors_once("d.db-wal", 0);
        app_fill(app, 5);
        settle();
        cr_assert_null(fails_once, "it was opened without a descriptor");
        expect_phase(0, SESSION_WAITING);
        cr_assert_not_null(strstr(status_of(0).reason, "readonly"), "%s", status_of(0).reason);
        worker.destination_retry.at_usec = 0;
        retry_now(worker.by_slot[0]);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app) + sqlite3_close(other), SQLITE_OK);
}

Test(readonly, M14_a_source_that_was_opened_for_reading_alone_is_cleaned_up_all_the_same) {
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 5);
        (void) session_begin_on(0, "a", "a.db", "?clean-up=delete");
        without_descriptors_once("a.db-wal", 1); /* the reader's does not fail */
        settle();
        cr_assert_null(fails_once, "the writer was opened without a descriptor");
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 5, "not yet");
        cr_assert(worker.by_slot[0]->clean_pending);
        worker.by_slot[0]->clean_at_usec = 0;
        (void) clean_deadline(&worker, clock_usec() + 60 * USEC_PER_SEC);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 1, "the anchor alone");
        cr_assert_eq(moved("a"), 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
