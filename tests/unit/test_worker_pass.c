/* SPDX-License-Identifier: Apache-2.0 */
/* Passes over a destination of which one operation fails, or is noted: what is told of a commit that failed (M1,
 * M14), what is synced when (M11), and what is opened anew (M6). */
#include <fcntl.h>

#include "shm/pool.h"
#include "shm/takeover.h"
#include "tests/unit/worker_fixture.h"
#include "worker/source/sqlite_db.h"

TestSuite(pass, .init = worker_setup, .fini = worker_teardown);

static struct destination_ops replaced_destination_ops;

static int commit_fails(struct destination *destination, struct failure *ret_failure) {
        (void) destination;
        return failure_set(ret_failure, -EBUSY, FAILURE_UNAVAILABLE, "a test: it could not be committed");
}

/* Five events are committed; five more are put, and their commit fails. */
static struct session *commit_in_vain(sqlite3 *app) {
        struct session *session = session_begin_on(0, "a", "a.db", "");
        const struct destination_ops *ops = worker.destination_ops;

        app_fill(app, 5);
        settle();
        replaced_destination_ops = *ops;
        replaced_destination_ops.commit = commit_fails;
        worker.destination_ops = &replaced_destination_ops;
        app_fill(app, 5);
        session_set_ready(session);
        settle();
        expect_phase(0, SESSION_WAITING);
        worker.destination_ops = ops;
        return session;
}

/* The journal is never ahead: else the next owner takes the destination for an old copy of itself. */
Test(pass, M1_nothing_is_journalled_that_was_not_committed) {
        sqlite3 *app = app_outbox("a.db");

        (void) commit_in_vain(app);
        worker_leave();
        worker_enter();
        (void) session_take(0);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* A sibling cleans the source by what is told: what is told must stand. */
Test(pass, M14_nothing_is_told_durable_that_was_not_committed) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = commit_in_vain(app);
        uint64_t position = 0;

        cr_assert_eq(session_durable_get(segment, 0, &position), 0);
        cr_assert_eq(position, 5, "five are durable, whatever was tried");
        retry_now(session);
        settle();
        cr_assert_eq(session_durable_get(segment, 0, &position), 0);
        cr_assert_eq(position, 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M6: what SQLite forgot to unlock ------------------------------------------------------------------ */

static unsigned close_count;

static int begin_finds_a_forgotten_lock(struct destination *destination, struct failure *ret_failure) {
        (void) destination;
        return db_fail(NULL, SQLITE_PROTOCOL, "d.db", "begin a transaction in it", ret_failure);
}

static void close_is_counted(struct destination *destination) {
        close_count++;
        destination_ops_find("sqlite")->close(destination);
}

/* The kernel lets go of it when the files are closed; nobody else can. */
Test(pass, M6_a_destination_whose_locks_are_in_doubt_is_opened_again) {
        const struct destination_ops *ops = worker.destination_ops;
        struct session *session = session_begin_on(0, "a", "a.db", "");
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 5);
        settle();
        replaced_destination_ops = *ops;
        replaced_destination_ops.begin = begin_finds_a_forgotten_lock;
        replaced_destination_ops.close = close_is_counted;
        worker.destination_ops = &replaced_destination_ops;
        app_fill(app, 5);
        session_set_ready(session);
        pass_run(&worker);
        cr_assert_eq(close_count, 1);
        expect_phase(0, SESSION_WAITING);
        worker.destination_ops = ops;
        retry_now(session);
        settle();
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M6: what SQLite opened for reading alone ---------------------------------------------------------- */

static const char *refused_end; /* of the name of the file that cannot be opened for writing, once */
static int (*true_open)(const char *path, int flags, int mode);

static int open_refuses_once(const char *path, int flags, int mode) {
        const size_t n = strlen(path), m = refused_end ? strlen(refused_end) : 0;

        if (m > 0 && n >= m && strcmp(path + n - m, refused_end) == 0 && (flags & O_ACCMODE) == O_RDWR) {
                refused_end = NULL;
                errno = EMFILE;
                return -1;
        }
        return true_open(path, flags, mode);
}

static void refuse_once(const char *end) {
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        if (!true_open)
                true_open = (int (*)(const char *, int, int)) vfs->xGetSystemCall(vfs, "open");
        refused_end = end;
        cr_assert_eq(vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr) open_refuses_once), SQLITE_OK);
}

/* SQLite then opens it for reading, says nothing, and keeps it so for good. */
static void destination_is_opened_again(const char *file) {
        struct session *session = session_begin_on(0, "a", "a.db", "");
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 5);
        settle();
        shell("cp d.db-wal kept-wal && cp d.db-shm kept-shm");
        target_close(&worker);
        shell("mv kept-wal d.db-wal && mv kept-shm d.db-shm"); /* as if another worker had it open */
        refuse_once(file);
        app_fill(app, 5);
        session_set_ready(session);
        for (unsigned tries = 0; tries < 3; tries++) { /* not asked meanwhile: we would open it ourselves */
                retry_clear(&worker.destination_retry);
                retry_now(session);
                settle();
        }
        cr_assert_null(refused_end, "the case is about an open that failed");
        cr_assert_eq(moved("a"), 10);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(pass, M6_a_destination_with_a_wal_for_reading_alone_is_opened_again) {
        destination_is_opened_again("d.db-wal");
}

Test(pass, M6_a_destination_with_an_index_for_reading_alone_is_opened_again) {
        destination_is_opened_again("d.db-shm");
}

/* ---- M11: synced is what was read, so after it was read ------------------------------------------------ */

static unsigned call_count, moved_at, synced_at;
static const struct destination_ops *true_destination_ops;

static int noted_move(struct destination_session *session, uint64_t after, const struct batch_limits *limits,
                      struct moved *ret_moved, struct failure *ret_failure) {
        moved_at = ++call_count;
        return true_destination_ops->fused_move(session, after, limits, ret_moved, ret_failure);
}

static int noted_sync(struct destination_session *session, struct failure *ret_failure) {
        synced_at = ++call_count;
        return true_destination_ops->fused_sync(session, ret_failure);
}

Test(pass, M11_the_source_is_synced_after_its_events_were_read) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        settle();
        true_destination_ops = worker.destination_ops;
        replaced_destination_ops = *true_destination_ops;
        replaced_destination_ops.fused_move = noted_move;
        replaced_destination_ops.fused_sync = noted_sync;
        worker.destination_ops = &replaced_destination_ops;
        app_fill(app, 5);
        session_set_ready(session);
        settle();
        worker.destination_ops = true_destination_ops;
        cr_assert_eq(moved("a"), 10);
        cr_assert_gt(moved_at, 0, "the case is about the fused path");
        cr_assert_gt(synced_at, moved_at, "what is committed between the two would be moved and not synced");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M2, S11: an epoch that nobody gave -------------------------------------------------------------------- */

Test(pass, S11_an_overwritten_epoch_reaches_no_destination) {
        sqlite3 *app = app_outbox("a.db");
        struct layout_config config = config_of("a", "a.db", "");

        app_fill(app, 5);
        cr_assert_eq(slot_configure(segment, 0, 0, &config), 0);
        slot_assign(segment, 0, worker.ref, 0);
        memset((void *) &segment_slot(segment, 0)->epoch, 'x', sizeof(segment_slot(segment, 0)->epoch));
        cr_assert_eq(takeover_run(segment, 0, 0, NULL), 0);
        look_at_slot(&worker, 0);
        settle();
        cr_assert(segment_is_condemned(segment), "the supervisor makes a new one");
        cr_assert_eq(moved("a"), 0);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M12: what a failed open may cost ------------------------------------------------------------------ */

static bool fstat_fails;
static int (*true_fstat)(int fd, struct stat *ret_stat);

static int fstat_fails_once(int fd, struct stat *ret_stat) {
        if (fstat_fails) {
                fstat_fails = false;
                errno = EIO;
                return -1;
        }
        return true_fstat(fd, ret_stat);
}

/* SQLite closes what it cannot fstat() at once, and POSIX takes every lock from us that we have on it: a handle that
 * was open before keeps nobody from removing the -wal that it reads. */
Test(pass, M12_a_source_whose_attachment_failed_is_opened_again) {
        struct session *session = session_begin_on(0, "a", "a.db", "");
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
        sqlite3 *app = app_outbox("a.db");
        uint64_t closed;

        settle(); /* claimed, the source open, nothing to attach it for */
        cr_assert_not_null(session->source);
        cr_assert_not(session->fused);
        app_fill(app, 5);
        closed = worker.closed_source_count;
        true_fstat = (int (*)(int, struct stat *)) vfs->xGetSystemCall(vfs, "fstat");
        fstat_fails = true;
        cr_assert_eq(vfs->xSetSystemCall(vfs, "fstat", (sqlite3_syscall_ptr) fstat_fails_once), SQLITE_OK);
        session_set_ready(session);
        settle();
        cr_assert_not(fstat_fails, "the case is about an attachment that failed");
        cr_assert_eq(worker.closed_source_count, closed + 1);
        cr_assert_eq(moved("a"), 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- M6: a clean-up that can no longer write ----------------------------------------------------------- */

static void rows_alone(void) {
        fixture_fused = false;
        worker_setup();
}

TestSuite(pass_rows, .init = rows_alone, .fini = worker_teardown);

Test(pass_rows, M6_a_source_that_can_be_cleaned_no_more_is_opened_again) {
        struct session *session = session_begin_on(0, "a", "a.db", "?clean-up=delete");
        sqlite3 *app = app_outbox("a.db");

        settle();
        cr_assert_not_null(session->source, "it has its -wal");
        refuse_once("a.db-wal");
        app_fill(app, 5);
        session_set_ready(session);
        for (unsigned tries = 0; tries < 3; tries++) {
                settle();
                session->clean_at_usec = 0;
                (void) clean_deadline(&worker, clock_usec());
        }
        cr_assert_null(refused_end, "the case is about an open that failed");
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 1, "all but the anchor (M4)");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
