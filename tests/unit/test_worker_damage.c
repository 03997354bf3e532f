/* SPDX-License-Identifier: Apache-2.0 */
/* A damaged source beside a sound one, in one transaction of one destination (M6, M13). SQLite refuses every write of
 * a transaction in which it met damage, in whichever of the attached files, until that is rolled back. */
#include <fcntl.h>

#include "tests/unit/worker_fixture.h"

TestSuite(damage, .init = worker_setup, .fini = worker_teardown);

/* ---- a read that failed, once --------------------------------------------------------------------------- */
static ssize_t (*true_pread)(int fd, void *buffer, size_t bytes, off_t offset);
static ino_t failing_inode; /* 0: none */
static unsigned failing_read;

/* SQLite takes EIO for damage. */
static ssize_t pread_fails_once(int fd, void *buffer, size_t bytes, off_t offset) {
        struct stat st;

        if (failing_inode != 0 && fstat(fd, &st) == 0 && st.st_ino == failing_inode && --failing_read == 0) {
                failing_inode = 0;
                errno = EIO;
                return -1;
        }
        return true_pread(fd, buffer, bytes, offset);
}

static void read_fails(const char *name, unsigned nth) {
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
        struct stat st;

        if (!true_pread)
                true_pread = (ssize_t(*)(int, void *, size_t, off_t)) vfs->xGetSystemCall(vfs, "pread64");
        cr_assert_eq(vfs->xSetSystemCall(vfs, "pread64", (sqlite3_syscall_ptr) pread_fails_once), SQLITE_OK);
        cr_assert_eq(stat(path_of(name), &st), 0);
        failing_inode = st.st_ino;
        failing_read = nth;
}

static void two_sources(sqlite3 **ret_a, sqlite3 **ret_b) {
        *ret_a = app_outbox("a.db");
        *ret_b = app_outbox("b.db");
        app_fill(*ret_a, 5);
        app_fill(*ret_b, 5);
        (void) session_begin_on(0, "a", "a.db", "");
        (void) session_begin_on(1, "b", "b.db", "");
        settle();
        /* Both are claimed, and have been moved from by attachment. */
        app_fill(*ret_a, 5);
        app_fill(*ret_b, 5);
        session_set_ready(worker.by_slot[0]);
        session_set_ready(worker.by_slot[1]);
        settle();
        cr_assert(worker.by_slot[0]->fused && worker.by_slot[1]->fused);
}

/* True: it failed, where both were moved by attachment, so that the transaction was void. */
static bool one_read_fails(unsigned nth) {
        bool is_void;
        sqlite3 *a, *b;

        two_sources(&a, &b);
        app_fill(a, 5);
        app_fill(b, 5);
        session_set_ready(worker.by_slot[1]); /* first */
        session_set_ready(worker.by_slot[0]);
        read_fails("b.db-wal", nth);
        pass_run(&worker);
        is_void = failing_inode == 0 && status_of(0).phase == SESSION_WAITING;
        failing_inode = 0;
        retry_now(worker.by_slot[0]);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 15);
        if (status_of(1).phase == SESSION_STOPPED)
                cr_assert_not_null(strstr(status_of(1).reason, "b.db: "), "%s", status_of(1).reason);
        else {
                retry_now(worker.by_slot[1]);
                settle();
                cr_assert_eq(moved("b"), 15);
        }
        cr_assert_eq(sqlite3_close(a), SQLITE_OK);
        cr_assert_eq(sqlite3_close(b), SQLITE_OK);
        return is_void;
}

Test(damage, M6_a_read_of_one_source_that_failed_stops_no_other) {
        unsigned voids = 0;

        for (unsigned nth = 1; nth <= 6; nth++) {
                voids += one_read_fails(nth);
                worker_teardown();
                worker_setup();
        }
        cr_assert_gt(voids, 0, "the case is about a transaction that met damage");
}

/* ---- a source that is damaged --------------------------------------------------------------------------- */

/* Its later pages: those of its schema and of its first events are sound. */
static void damage(const char *name) {
        int fd = open(path_of(name), O_RDWR | O_CLOEXEC);
        char noise[4096];
        off_t end;

        memset(noise, 0xa5, sizeof noise);
        cr_assert(fd >= 0);
        end = lseek(fd, 0, SEEK_END);
        cr_assert_gt(end, 10 * 4096);
        for (off_t at = end / 2; at < end; at += 4096)
                cr_assert_eq(pwrite(fd, noise, sizeof noise, at / 4096 * 4096), sizeof noise);
        cr_assert_eq(close(fd), 0);
}

Test(damage, M6_a_damaged_source_stops_its_own_session_alone) {
        sqlite3 *a, *b;

        two_sources(&a, &b);
        app_fill(b, 2000);
        cr_assert_eq(sqlite3_wal_checkpoint_v2(b, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL), SQLITE_OK);
        damage("b.db");
        app_fill(a, 5);
        session_set_ready(worker.by_slot[1]); /* first */
        session_set_ready(worker.by_slot[0]);
        settle();
        retry_now(worker.by_slot[1]);
        retry_now(worker.by_slot[0]);
        settle();
        expect_phase(1, SESSION_STOPPED);
        cr_assert_not_null(strstr(status_of(1).reason, "b.db: "), "%s", status_of(1).reason);
        cr_assert_null(strstr(status_of(1).reason, "d.db: "), "%s", status_of(1).reason);
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 15);
        cr_assert_eq(sqlite3_close(a), SQLITE_OK);
        cr_assert_eq(sqlite3_close(b), SQLITE_OK);
}

/* ---- a destination that is damaged ---------------------------------------------------------------------- */

Test(damage, M6_a_damaged_destination_stops_who_meets_it_by_its_own_name) {
        sqlite3 *a, *b, *d;

        two_sources(&a, &b);
        for (unsigned i = 0; i < 4; i++) {
                app_fill(a, 500);
                session_set_ready(worker.by_slot[0]);
                settle();
        }
        d = app_open("d.db");
        cr_assert_eq(sqlite3_wal_checkpoint_v2(d, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL), SQLITE_OK);
        cr_assert_eq(sqlite3_close(d), SQLITE_OK);
        target_close(&worker); /* what it has in its cache is sound */
        damage("d.db");
        app_fill(a, 5);
        session_set_ready(worker.by_slot[0]);
        settle();
        for (unsigned i = 0; i < 3 && status_of(0).phase == SESSION_WAITING; i++) {
                retry_now(worker.by_slot[0]);
                settle();
        }
        expect_phase(0, SESSION_STOPPED);
        cr_assert_not_null(strstr(status_of(0).reason, "d.db: "), "%s", status_of(0).reason);
        cr_assert_null(strstr(status_of(0).reason, "a.db"), "%s", status_of(0).reason);
        cr_assert_eq(sqlite3_close(a), SQLITE_OK);
        cr_assert_eq(sqlite3_close(b), SQLITE_OK);
}
