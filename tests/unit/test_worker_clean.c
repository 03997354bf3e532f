/* SPDX-License-Identifier: Apache-2.0 */
/* A clean-up whose sync fails (M7): the kernel tells of a page that it could not write to whoever syncs next, once. If
 * that is the clean-up, the next sync of the source (M11) succeeds, and means nothing by it. */
#include <sys/syscall.h>

#include "tests/unit/worker_fixture.h"

TestSuite(clean, .init = worker_setup, .fini = worker_teardown);

/* SQLite's calls go through it: what the program itself exports comes before the C library. */
static ino_t failing_inode; /* 0: none */

int fdatasync(int fd) {
        struct stat st;

        if (failing_inode != 0 && fstat(fd, &st) == 0 && st.st_ino == failing_inode) {
                failing_inode = 0;
                errno = EIO;
                return -1;
        }
        return (int) syscall(SYS_fdatasync, fd);
}

static void sync_fails(const char *name) {
        struct stat st;

        cr_assert_eq(stat(path_of(name), &st), 0);
        failing_inode = st.st_ino;
}

/* All is moved, and the application has kept the clean-up away. */
static sqlite3 *moved_and_not_cleaned(const char *options) {
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 10);
        app_run(app, "BEGIN IMMEDIATE");
        (void) session_begin_on(0, "a", "a.db", options);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 10);
        cr_assert(worker.by_slot[0]->clean_pending);
        app_run(app, "ROLLBACK");
        /* The next to write begins the log anew, and syncs its header. */
        cr_assert_eq(sqlite3_wal_checkpoint_v2(app, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL), SQLITE_OK);
        return app;
}

static void clean_now(void) {
        worker.by_slot[0]->clean_at_usec = 0;
        (void) clean_deadline(&worker, clock_usec());
}

static void expect_lost_by(const char *options) {
        sqlite3 *app = moved_and_not_cleaned(options);

        sync_fails("a.db-wal");
        clean_now();
        cr_assert_eq(failing_inode, 0, "it was synced");
        expect_phase(0, SESSION_STOPPED);
        cr_expect_not_null(strstr(status_of(0).reason, "a.db: a sync or a write of its clean-up failed"),
                           "%s", status_of(0).reason);
        cr_expect_not_null(strstr(status_of(0).reason, "baton adopt"), "%s", status_of(0).reason);
        cr_expect(lost_is_set(worker.by_slot[0]));
        cr_expect_null(worker.by_slot[0]->source, "M12: it holds nothing");

        app_fill(app, 5);
        session_set_ready(worker.by_slot[0]);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_expect_eq(moved("a"), 10, "nothing more of it is moved");
        clean_now();
        cr_expect_eq(app_number(app, "SELECT count(*) FROM outbox"), 15, "nor cleaned");

        adopt(0);
        settle();
        cr_expect_eq(moved("a"), 15);
        clean_now();
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(clean, M7_a_sync_of_the_deletion_that_failed_stops_the_session) {
        expect_lost_by("?clean-up=delete");
}

Test(clean, M7_a_sync_of_the_marking_that_failed_stops_the_session) {
        expect_lost_by("?clean-up=mark");
}

/* In rollback mode it syncs the application's own file, after each piece. */
Test(clean, M7_a_sync_of_the_database_that_failed_stops_the_session) {
        sqlite3 *app = app_open("a.db");

        app_run(app, "CREATE TABLE outbox (" OUTBOX_COLUMNS ")");
        app_fill(app, 10);
        app_run(app, "BEGIN IMMEDIATE");
        (void) session_begin_on(0, "a", "a.db", "?clean-up=delete");
        settle();
        cr_assert_eq(moved("a"), 10);
        cr_assert(worker.by_slot[0]->clean_pending);
        app_run(app, "ROLLBACK");
        sync_fails("a.db");
        clean_now();
        cr_assert_eq(failing_inode, 0, "it was synced");
        expect_phase(0, SESSION_STOPPED);
        cr_expect(lost_is_set(worker.by_slot[0]));
        app_fill(app, 5);
        adopt(0);
        settle();
        cr_expect_eq(moved("a"), 15);
        clean_now();
        cr_expect_eq(app_number(app, "SELECT count(*) FROM outbox"), 1);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- a sync that another session of the source met ------------------------------------------------------ */

static const struct failure sync_failure = { .kind = FAILURE_SYNC, .text = "the sync of its -wal failed" };

Test(clean, M7_who_is_told_that_its_source_is_lost_lets_go_of_it) {
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 10);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        cr_assert_not_null(worker.by_slot[0]->source);
        lost_set(worker.by_slot[0], &sync_failure);
        app_fill(app, 5);
        session_set_ready(worker.by_slot[0]);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_expect_eq(moved("a"), 10);
        cr_expect_null(worker.by_slot[0]->source, "M12");
        cr_expect_not(worker.by_slot[0]->fused, "M12");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* What an operator accepted was before it. */
Test(clean, M7_a_sync_that_fails_after_the_adoption_counts) {
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 10);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        lost_set(worker.by_slot[0], &sync_failure);
        app_fill(app, 5);
        adopt(0);
        lost_set(worker.by_slot[0], &sync_failure);
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_expect_eq(moved("a"), 10);
        adopt(0);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_expect_eq(moved("a"), 15);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* It is tried again, and stops nothing. */
Test(clean, M14_a_lock_of_the_application_holds_the_clean_up_alone) {
        sqlite3 *app = moved_and_not_cleaned("?clean-up=delete");

        clean_now();
        expect_phase(0, SESSION_IDLE);
        cr_expect_eq(app_number(app, "SELECT count(*) FROM outbox"), 1);
        cr_expect_not(worker.by_slot[0]->clean_pending);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
