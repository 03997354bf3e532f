/* SPDX-License-Identifier: Apache-2.0 */
/* M7, the latch between workers: what one writes anew does not speak for what another could not sync
 * meanwhile, and word and file agree when all is over. */
#include "tests/unit/sqlite_faults.h"
#include "tests/unit/worker_fixture.h"
#include "worker/destination/file.h"
#include "worker/journal/disk.h"

static struct destination_ops ops;
static const struct destination_ops *real_ops;
static unsigned failures_meanwhile;
static const struct failure sync_failure = { .kind = FAILURE_SYNC, .text = "the sync of d.db-wal failed" };

TestSuite(worker_latch, .init = worker_setup, .fini = worker_teardown);

/* Another worker's sync fails after our bytes were written anew and before we say so. */
static int resync_and_fail_elsewhere(struct destination *destination, struct failure *ret_failure) {
        int r = real_ops->resync(destination, ret_failure);

        if (r >= 0 && failures_meanwhile > 0) {
                failures_meanwhile--;
                latch_set(&worker, &sync_failure);
        }
        return r;
}

static void begin(unsigned failures) {
        sqlite3 *db = app_outbox("a.db");

        app_fill(db, 1);
        cr_assert_eq(sqlite3_close(db), SQLITE_OK);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        cr_assert_eq(moved("a"), 1);
        real_ops = worker.destination_ops;
        ops = *real_ops;
        ops.resync = resync_and_fail_elsewhere;
        worker.destination_ops = &ops;
        failures_meanwhile = failures;
        latch_set(&worker, &sync_failure);
}

static bool latch_is_on_disk(void) {
        return access(path_of("state/latch-events"), F_OK) == 0;
}

Test(worker_latch, m7_is_lifted_in_word_and_file) {
        begin(0);
        cr_expect(latch_is_set(&worker));
        cr_expect(latch_is_on_disk());
        must(latch_clear(&worker, failure));
        cr_expect_not(latch_is_set(&worker));
        cr_expect_not(latch_is_on_disk());
}

Test(worker_latch, m7_another_failure_meanwhile_keeps_it) {
        begin(1);
        must_fail(latch_clear(&worker, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        cr_expect(latch_is_set(&worker), "its bytes are still uncertain");
        cr_expect(latch_is_on_disk(), "and a restart must know it");
        must(latch_clear(&worker, failure));
        cr_expect_not(latch_is_set(&worker));
        cr_expect_not(latch_is_on_disk());
}

/* Of a thousand sessions that leave a journal that failed, each says so: one file, written once. */
Test(worker_latch, m7_what_stands_on_the_disk_is_not_written_again) {
        struct stat first, again;

        begin(0);
        cr_assert_eq(stat(path_of("state/latch-events"), &first), 0);
        latch_set(&worker, &sync_failure);
        cr_assert_eq(stat(path_of("state/latch-events"), &again), 0);
        cr_expect_eq(first.st_ino, again.st_ino);
        cr_expect_eq(atomic_load(&segment_pool(segment, 0)->sync_failures), 2, "but counted");
        atomic_store(&segment_pool(segment, 0)->latched, 0); /* a new segment */
        latch_set(&worker, &sync_failure);
        cr_expect(latch_is_set(&worker));
        cr_expect(latch_is_on_disk());
}

Test(worker_latch, m7_a_restart_begins_latched) {
        begin(0);
        atomic_store(&segment_pool(segment, 0)->latched, 0);
        latch_restore(&worker);
        cr_expect(latch_is_set(&worker));
}

/* A second worker lifts it, a third one's sync fails, all while the first writes anew: set again, it looks as
 * it did. */
static int resync_while_others_lift_and_fail(struct destination *destination, struct failure *ret_failure) {
        int r = real_ops->resync(destination, ret_failure);

        ops.resync = real_ops->resync;
        must(latch_clear(&worker, failure));
        latch_set(&worker, &sync_failure);
        return r;
}

Test(worker_latch, m7_another_failure_is_not_taken_for_the_one_before) {
        begin(0);
        ops.resync = resync_while_others_lift_and_fail;
        must_fail(latch_clear(&worker, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        cr_expect(latch_is_set(&worker));
        cr_expect(latch_is_on_disk());
}

static unsigned end_failures;

static int end_fails(struct destination_session *session, struct checkpoint *checkpoint,
                     struct failure *ret_failure) {
        if (end_failures > 0) {
                end_failures--;
                return failure_set(ret_failure, -EIO, FAILURE_SYNC, "a write to d.db-wal failed");
        }
        return real_ops->session_end(session, checkpoint, ret_failure);
}

/* The claim of a source that is not the one is written all the same; whose write failed is the destination. */
Test(worker_latch, m7_a_failed_write_of_a_claim_is_not_the_sources) {
        sqlite3 *app;

        begin(0);
        must(latch_clear(&worker, failure));
        app = app_open("a.db");
        app_run(app, "DELETE FROM outbox");
        target_close(&worker); /* claimed anew */
        ops.session_end = end_fails;
        end_failures = 1;
        session_set_ready(worker.by_slot[0]);
        settle();
        cr_expect_eq(end_failures, 0);
        cr_expect_eq(atomic_load(&segment_pool(segment, 0)->sync_failures), 2, "one of begin(), and this");
        cr_expect_not(lost_is_set(worker.by_slot[0]));
        expect_phase(0, SESSION_STOPPED);
        cr_expect_eq(status_of(0).failure_kind, FAILURE_IDENTITY);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

static int rename_fails(int dir_fd, const char *from, const char *to, bool may_replace) {
        (void) dir_fd, (void) from, (void) to, (void) may_replace;
        errno = EIO;
        return -1;
}

/* A reboot in the midst of it forgets nothing. */
Test(worker_latch, m7_stays_until_the_journal_too_is_written_anew) {
        struct journal_disk broken = *journal_disk;
        const struct journal_disk *sound = journal_disk;
        struct failure failure = { 0 };

        begin(0);
        broken.rename = rename_fails;
        journal_disk = &broken;
        cr_expect_lt(latch_clear(&worker, &failure), 0);
        journal_disk = sound;
        cr_expect(latch_is_set(&worker));
        cr_expect(latch_is_on_disk());
        must(latch_clear(&worker, failure));
        cr_expect_not(latch_is_set(&worker));
        cr_expect_not(latch_is_on_disk());
}

/* ---- a sync that fails while the destination is opened ------------------------------------------------- */

static void setup_on_a_faulty_disk(void) {
        faults_install();
        worker_setup();
}

TestSuite(worker_latch_open, .init = setup_on_a_faulty_disk, .fini = worker_teardown);

Test(worker_latch_open, m7_a_sync_that_fails_as_it_is_made_latches_it) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 1);
        faults.fail_sync_of = "d.db-journal"; /* it is no WAL database yet */
        settle();
        expect_phase(0, SESSION_WAITING);
        cr_expect(latch_is_set(&worker));
        cr_expect(latch_is_on_disk());
        faults.fail_sync_of = NULL;
        retry_clear(&worker.destination_retry);
        retry_now(session);
        settle();
        cr_expect_eq(moved("a"), 1);
        cr_expect_not(latch_is_set(&worker));
        cr_expect_not(latch_is_on_disk());
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- the journals of others ---------------------------------------------------------------------------- */

static unsigned datasync_failures;

static int datasync_fails(int fd) {
        if (datasync_failures > 0) {
                datasync_failures--;
                errno = EIO;
                return -1;
        }
        return journal_disk_real.datasync(fd);
}

static void setup_of_files(void) {
        fixture_scheme = "file";
        fixture_destination = "out?rotate-size=1000";
        fixture_fused = false;
        worker_setup();
        cr_assert_eq(mkdir(path_of("out"), 0750), 0);
}

TestSuite(worker_latch_file, .init = setup_of_files, .fini = worker_teardown);

/* Who opens it next is not told, and a file rests on what it says (M3). */
Test(worker_latch_file, m7_a_journal_of_another_that_cannot_be_synced_latches_it) {
        struct journal_disk broken = journal_disk_real;
        sqlite3 *app = app_outbox("a.db");
        struct session *session;

        app_fill(app, 1);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        worker_leave();
        worker_enter();
        broken.datasync = datasync_fails;
        journal_disk = &broken;
        datasync_failures = 1;
        app_fill(app, 1);
        session = session_take(0);
        settle();
        cr_expect_eq(datasync_failures, 0);
        cr_expect(latch_is_set(&worker));
        expect_phase(0, SESSION_WAITING);
        retry_clear(&worker.destination_retry);
        retry_now(session);
        settle();
        journal_disk = &journal_disk_real;
        cr_expect_eq(status_of(0).position, 2);
        cr_expect_not(latch_is_set(&worker));
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* The same as any other record: where it stands, earlier ones of other sessions do. Who leaves does not wait to
 * write them anew; who comes next must. */
Test(worker_latch_file, m7_last_words_that_cannot_be_synced_latch_it) {
        struct journal_disk broken = journal_disk_real;
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 1);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        cr_expect_not(latch_is_set(&worker));
        broken.datasync = datasync_fails;
        journal_disk = &broken;
        datasync_failures = 1;
        worker_leave();
        journal_disk = &journal_disk_real;
        cr_expect_eq(datasync_failures, 0);
        cr_expect(latch_is_on_disk());
        worker_enter();
        cr_expect(latch_is_set(&worker));
        app_fill(app, 1);
        (void) session_take(0);
        settle();
        cr_expect_eq(status_of(0).position, 2);
        cr_expect_not(latch_is_set(&worker));
        cr_expect_not(latch_is_on_disk());
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- a rotation that fails ----------------------------------------------------------------------------- */

static unsigned fsync_failures;

static int fsync_fails(int fd) {
        if (fsync_failures > 0) {
                fsync_failures--;
                errno = EIO;
                return -1;
        }
        return fsync(fd);
}

/* Lines that are too many for one file. */
static void fill_lines(sqlite3 *app, unsigned count) {
        for (unsigned i = 0; i < count; i++)
                app_run(app, "INSERT INTO outbox (key, payload) VALUES ('k', '{\"n\": %u}')", i);
}

/* What it moved before is durable, so it is cleaned; the directory is not, and nobody may forget that. */
Test(worker_latch_file, m7_a_rotation_that_cannot_be_synced_latches_it) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "?clean-up=delete");

        fill_lines(app, 1);
        settle();
        fill_lines(app, 30);
        file_calls.fsync = fsync_fails;
        fsync_failures = 1;
        session_set_ready(session);
        settle();
        cr_expect_eq(fsync_failures, 0);
        expect_phase(0, SESSION_WAITING);
        cr_expect(latch_is_set(&worker));
        cr_expect(latch_is_on_disk());
        cr_expect_eq(app_number(app, "SELECT count(*) FROM outbox"), 1);
        retry_now(session);
        settle();
        file_calls.fsync = fsync;
        expect_phase(0, SESSION_IDLE);
        cr_expect_eq(status_of(0).position, 31);
        cr_expect_not(latch_is_set(&worker));
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
