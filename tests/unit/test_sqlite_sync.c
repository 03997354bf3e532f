/* SPDX-License-Identifier: Apache-2.0 */
/* Durability of the SQLite pair under a disk that fails: what was read is synced at the source, in the
 * right order and through SQLite (M11); a failed sync is never taken for a success (M7); a full disk is
 * its own class (M8). */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/sqlite_faults.h"
#include "tests/unit/sqlite_fixture.h"
#include "worker/source/sqlite_source.h"

static const struct source_ops *src;
static const struct destination_ops *dst;
static time_t wall_ahead_sec;

/* The C library's: a wall clock that jumps. The stamps of files are the kernel's, and stay true. */
int clock_gettime(clockid_t clock, struct timespec *ret_time) {
        int r = (int) syscall(SYS_clock_gettime, clock, ret_time);

        if (r == 0 && clock == CLOCK_REALTIME)
                ret_time->tv_sec += wall_ahead_sec;
        return r;
}

static void setup(void) {
        fixture_setup();
        faults_install();
        src = source_ops_find("sqlite");
        dst = destination_ops_find("sqlite");
}

TestSuite(sqlite_sync, .init = setup, .fini = fixture_teardown);

static size_t fetch_all(struct source *source, uint64_t after, uint64_t *ret_last) {
        const struct batch_limits limits = { .rows = 1000, .bytes = 1 << 20, .deadline_usec = USEC_INFINITY };
        struct event_batch batch = { 0 };
        size_t count;
        bool more;

        cr_assert_eq(event_batch_init(&batch, 1000, 1 << 20), 0);
        must(src->fetch(source, after, &limits, &batch, &more, failure));
        count = batch.event_count;
        *ret_last = count > 0 ? batch.events[count - 1].position : after;
        event_batch_done(&batch);
        return count;
}

/* Longer than the kernel's clock for time stamps stands still. */
static void let_stamps_age(void) {
        const struct timespec span = { .tv_sec = 2, .tv_nsec = 100 * 1000 * 1000 };

        (void) nanosleep(&span, NULL);
}

Test(sqlite_sync, m6_an_error_is_classed_by_what_the_kernel_said_of_it) {
        cr_assert_eq(db_failure_kind(SQLITE_IOERR_FSTAT, EIO), FAILURE_STOP);
        cr_assert_eq(db_failure_kind(SQLITE_IOERR_FSTAT, ENOMEM), FAILURE_UNAVAILABLE);
        cr_assert_eq(db_failure_kind(SQLITE_IOERR_UNLOCK, EINTR), FAILURE_UNAVAILABLE);
        cr_assert_eq(db_failure_kind(SQLITE_IOERR_READ, 0), FAILURE_STOP);
        cr_assert_eq(db_failure_kind(SQLITE_IOERR_READ, ENOSPC), FAILURE_FULL);
        cr_assert_eq(db_failure_kind(SQLITE_IOERR_FSYNC, EINTR), FAILURE_SYNC,
                     "it is uncertain all the same");
        cr_assert_eq(db_failure_kind(SQLITE_CORRUPT, ENOMEM), FAILURE_STOP);
}

Test(sqlite_sync, m11_wal_first_then_database) {
        struct source *source;
        uint64_t last;
        sqlite3 *app = app_outbox("app.db");

        app_run(app, "PRAGMA synchronous = OFF");
        app_fill(app, 10);
        source = source_get("app.db", "");
        cr_assert_eq(fetch_all(source, 0, &last), 10);
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        cr_assert_eq(faults.sync_count_database, 1);
        cr_assert_lt(faults.sync_order_wal, faults.sync_order_database);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_sync, m11_unchanged_files_are_skipped_once_their_stamp_is_old) {
        struct source *source;
        uint64_t last;
        sqlite3 *app = app_outbox("app.db");

        app_fill(app, 10);
        source = source_get("app.db", "");
        (void) fetch_all(source, 0, &last);
        let_stamps_age();
        must(src->sync(source, failure));
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count, 0);

        /* New frames: the -wal again, not the database. */
        app_run(app, "PRAGMA synchronous = NORMAL");
        app_fill(app, 10);
        faults = (struct faults){ 0 };
        (void) fetch_all(source, last, &last);
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        cr_assert_eq(faults.sync_count_database, 0);

        /* A checkpoint has moved frames: the database too. */
        app_run(app, "PRAGMA synchronous = OFF; PRAGMA wal_checkpoint(RESTART)");
        app_fill(app, 10);
        faults = (struct faults){ 0 };
        (void) fetch_all(source, last, &last);
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        cr_assert_eq(faults.sync_count_database, 1);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_sync, m11_what_is_visible_is_synced_once) {
        struct source *source;
        uint64_t last;
        sqlite3 *app = app_outbox("app.db"), *hold;

        app_run(app, "PRAGMA synchronous = OFF");
        app_fill(app, 10);
        source = source_get("app.db", "");
        (void) fetch_all(source, 0, &last);
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        (void) fetch_all(source, 5, &last);
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1, "however fresh the file is: nothing was committed since");
        app_fill(app, 1);
        (void) fetch_all(source, 10, &last);
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 2);
        faults = (struct faults){ 0 };
        hold = app_open("app.db"); /* a reader of the newest state: the next writer may not begin anew */
        app_run(hold, "BEGIN; SELECT count(*) FROM outbox");
        app_run(app, "PRAGMA wal_checkpoint(PASSIVE)"); /* copied, and the frames stand in the log still */
        app_fill(app, 1);
        app_run(hold, "COMMIT");
        sqlite3_close(hold);
        (void) fetch_all(source, 11, &last);
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        cr_assert_eq(faults.sync_count_database, 0);
        app_run(app, "PRAGMA wal_checkpoint(RESTART)"); /* not synced by it, and the log begins anew */
        app_fill(app, 1);
        (void) fetch_all(source, 12, &last);
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        cr_assert_eq(faults.sync_count_database, 1);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_sync, m11_a_fresh_stamp_is_not_trusted) {
        struct source *source;
        uint64_t last;
        sqlite3 *app = app_outbox("app.db");

        source = source_get("app.db", "");
        for (int i = 0; i < 20; i++) {
                app_run(app, "PRAGMA synchronous = OFF");
                app_fill(app, 1); /* may bear the stamp of the one before */
                (void) fetch_all(source, (uint64_t) i, &last);
                faults = (struct faults){ 0 };
                must(src->sync(source, failure));
                cr_assert_eq(faults.sync_count_wal, 1);
        }
        src->close(source);
        sqlite3_close(app);
}

/* As if the last write to it had borne the stamp, and left the size, that it had at our last sync. */
static void take_for_synced(const char *name, struct synced_file *synced) {
        struct stat st;

        cr_assert_eq(stat(path_of(name), &st), 0);
        synced->bytes = st.st_size;
        synced->ctime_sec = st.st_ctim.tv_sec;
        synced->ctime_nsec = st.st_ctim.tv_nsec;
}

/* The clock of the kernel stood still: size and stamp are those of the last sync, the bytes are not. */
Test(sqlite_sync, m11_two_writes_of_one_tick_are_two) {
        struct source *source;
        uint64_t last;
        sqlite3 *app = app_outbox("app.db");

        app_run(app, "PRAGMA synchronous = OFF");
        app_fill(app, 1);
        source = source_get("app.db", "");
        (void) fetch_all(source, 0, &last);
        must(src->sync(source, failure));
        app_fill(app, 1);
        (void) fetch_all(source, 1, &last);
        take_for_synced("app.db-wal", &source->durability.wal);
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        src->close(source);
        sqlite3_close(app);
}

/* In rollback mode, where no WAL index tells what was committed since. */
static sqlite3 *app_rollback(struct source **ret_source) {
        sqlite3 *app = app_open("app.db");
        uint64_t last;

        app_run(app, "PRAGMA synchronous = OFF; CREATE TABLE outbox (" OUTBOX_COLUMNS ")");
        app_fill(app, 1);
        *ret_source = source_get("app.db", "");
        cr_assert_eq(fetch_all(*ret_source, 0, &last), 1);
        faults = (struct faults){ 0 };
        return app;
}

Test(sqlite_sync, m11_a_clock_that_jumps_makes_no_stamp_old) {
        struct source *source;
        uint64_t last;
        sqlite3 *app = app_rollback(&source);

        wall_ahead_sec = 3600;
        must(src->sync(source, failure));
        app_fill(app, 1);
        take_for_synced("app.db", &source->durability.database);
        cr_assert_eq(fetch_all(source, 1, &last), 1);
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_database, 2,
                     "a write in the tick of the stamp, copied after the sync");
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_sync, m11_a_stamp_that_was_seen_for_long_is_trusted) {
        struct source *source;
        sqlite3 *app = app_rollback(&source);

        wall_ahead_sec = -3600;
        for (int i = 0; i < 2; i++) {
                must(src->sync(source, failure));
                must(src->sync(source, failure));
                let_stamps_age();
        }
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_database, 3, "twice while it was fresh, once when it was old");
        src->close(source);
        sqlite3_close(app);
}

static sqlite3 *late_app;

static void commit_one(void) {
        app_fill(late_app, 1);
}

Test(sqlite_sync, m11_what_is_committed_during_the_sync_is_synced_by_the_next) {
        struct source *source;
        uint64_t last;

        late_app = app_outbox("app.db");
        app_run(late_app, "PRAGMA synchronous = OFF");
        app_fill(late_app, 3);
        source = source_get("app.db", "");
        (void) fetch_all(source, 0, &last);
        faults = (struct faults){ .after_sync = commit_one };
        must(src->sync(source, failure));
        cr_assert_eq(fetch_all(source, 3, &last), 1, "it came while the sync was on its way");
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        src->close(source);
        sqlite3_close(late_app);
}

Test(sqlite_sync, m11_rollback_mode_syncs_the_database) {
        struct source *source;
        uint64_t last;
        sqlite3 *app = app_open("app.db");

        app_run(app, "PRAGMA synchronous = OFF; CREATE TABLE outbox (" OUTBOX_COLUMNS ")");
        app_fill(app, 3);
        source = source_get("app.db", "");
        cr_assert_eq(fetch_all(source, 0, &last), 3);
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_database, 1);

        /* The application goes over to WAL between two reads. */
        app_run(app, "PRAGMA journal_mode = WAL");
        app_fill(app, 3);
        faults = (struct faults){ 0 };
        must(src->sync(source, failure));
        cr_assert_eq(faults.sync_count_wal, 1);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_sync, m11_failed_sync_of_the_source_is_said) {
        struct source *source;
        uint64_t last;
        sqlite3 *app = app_outbox("app.db");

        app_fill(app, 3);
        source = source_get("app.db", "");
        (void) fetch_all(source, 0, &last);
        faults = (struct faults){ .fail_sync_of = "app.db-wal" };
        must_fail(src->sync(source, failure), -EIO, FAILURE_SYNC);
        /* M7: the disk may say yes the second time, and mean nothing by it. */
        faults = (struct faults){ 0 };
        must_fail(src->sync(source, failure), -EIO, FAILURE_SYNC);
        src->close(source);
        sqlite3_close(app);
}

/* ---- destination ----------------------------------------------------------------------------- */

static struct destination_session *take(struct destination *destination, struct checkpoint *checkpoint) {
        struct destination_session *session;
        bool found, tail;

        must(dst->session_open(destination, "orders", &session, failure));
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must(dst->fence(session, 1, checkpoint, &found, &tail, failure));
        must(dst->session_end(session, checkpoint, failure));
        must(dst->commit(destination, failure));
        return session;
}

static void put_one(struct destination *destination, struct destination_session *session,
                    struct checkpoint *checkpoint) {
        struct event event = { .position = checkpoint->position + 1 };

        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must(dst->put(session, &event, failure));
        checkpoint->position++;
        checkpoint->event_count++;
        must(dst->session_end(session, checkpoint, failure));
}

Test(sqlite_sync, m1_commit_syncs_the_wal) {
        struct checkpoint checkpoint;
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = take(destination, &checkpoint);

        put_one(destination, session, &checkpoint);
        faults = (struct faults){ 0 };
        must(dst->commit(destination, failure));
        cr_assert_geq(faults.sync_count_wal, 1);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_sync, m2_fence_alone_is_synced) {
        struct checkpoint checkpoint;
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = take(destination, &checkpoint);
        bool found, tail;

        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must(dst->fence(session, 1, &checkpoint, &found, &tail, failure)); /* the same epoch again */
        faults = (struct faults){ 0 };
        must(dst->session_end(session, &checkpoint, failure));
        must(dst->commit(destination, failure));
        cr_assert_geq(faults.sync_count_wal, 1);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_sync, m7_failed_commit_latches_and_resync_writes_anew) {
        struct checkpoint checkpoint;
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = take(destination, &checkpoint);
        struct stat st;
        sqlite3 *reader;

        put_one(destination, session, &checkpoint);
        faults = (struct faults){ .fail_sync_of = "-wal" };
        must_fail(dst->commit(destination, failure), -EIO, FAILURE_SYNC);
        must_fail(dst->resync(destination, failure), -EIO, FAILURE_SYNC);

        faults = (struct faults){ 0 };
        must(dst->resync(destination, failure));
        cr_assert_geq(faults.sync_count_database, 1);
        cr_assert_eq(stat(path_of("out.db-wal"), &st), 0);
        cr_assert_eq(st.st_size, 0); /* nothing rests on the doubtful pages any more */

        /* Nothing of the failed transaction is there, and the next one works. */
        checkpoint.position = 0;
        checkpoint.event_count = 0;
        put_one(destination, session, &checkpoint);
        must(dst->commit(destination, failure));
        reader = app_open("out.db");
        cr_assert_eq(app_number(reader, "SELECT count(*) FROM baton_events"), 1);
        sqlite3_close(reader);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_sync, m7_close_after_a_failed_sync_touches_nothing) {
        struct checkpoint checkpoint;
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = take(destination, &checkpoint);

        put_one(destination, session, &checkpoint);
        faults = (struct faults){ .fail_sync_of = "-wal" };
        must_fail(dst->commit(destination, failure), -EIO, FAILURE_SYNC);
        faults = (struct faults){ 0 };
        dst->session_close(session);
        dst->close(destination);
        cr_assert_eq(faults.sync_count, 0);
        cr_assert_eq(access(path_of("out.db-wal"), F_OK), 0);
}

Test(sqlite_sync, m8_full_disk_is_its_own_class_and_goes_on) {
        struct event event = { .position = 1, .payload = { .type = VALUE_BLOB } };
        struct checkpoint checkpoint;
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = take(destination, &checkpoint);
        static uint8_t blob[100000];
        sqlite3 *reader;

        event.payload.data = blob;
        event.payload.bytes = sizeof blob;
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must(dst->put(session, &event, failure));
        checkpoint.position = 1;
        must(dst->session_end(session, &checkpoint, failure));
        faults = (struct faults){ .full_at = "-wal" };
        must_fail(dst->commit(destination, failure), -ENOSPC, FAILURE_FULL);
        dst->rollback(destination);

        faults = (struct faults){ 0 };
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must(dst->put(session, &event, failure));
        must(dst->session_end(session, &checkpoint, failure));
        must(dst->commit(destination, failure));
        reader = app_open("out.db");
        cr_assert_eq(app_number(reader, "SELECT position FROM baton_checkpoint"), 1);
        sqlite3_close(reader);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_sync, m8_full_in_the_middle_of_a_transaction) {
        struct event event = { .position = 1, .payload = { .type = VALUE_BLOB } };
        struct failure failure = { 0 };
        struct checkpoint checkpoint;
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = take(destination, &checkpoint);
        static uint8_t blob[1 << 20];
        int r = 0;

        event.payload.data = blob;
        event.payload.bytes = sizeof blob;
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        faults = (struct faults){ .full_at = "-wal" };
        for (; r == 0 && event.position < 100; event.position++) /* the cache spills into the -wal */
                r = dst->put(session, &event, &failure);
        cr_assert_eq(r, -ENOSPC, "%s", failure.text);
        cr_assert_eq(failure.kind, FAILURE_FULL);
        dst->session_rollback(session);
        must_fail(dst->commit(destination, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        dst->rollback(destination);
        faults = (struct faults){ 0 };
        put_one(destination, session, &checkpoint);
        must(dst->commit(destination, failure));
        dst->session_close(session);
        dst->close(destination);
}

/* ---- clean-up ---------------------------------------------------------------------------------- */
static void clean_to(struct source *source, uint64_t position) {
        bool more;

        faults = (struct faults){ 0 };
        must(src->clean(source, position, 100, &more, failure));
}

/* With one sync the pages of a -journal and their count reach the disk in any order, and after a cut a torn page
 * is played back into the application's database. So the pages are synced first, then their count. */
Test(sqlite_sync, m12_a_clean_up_in_rollback_mode_syncs_the_journal_before_its_count) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;

        app_fill(app, 10);
        app_run(app, "PRAGMA journal_mode = DELETE");
        source = source_get("app.db", "?clean-up=delete");
        clean_to(source, 5);
        cr_assert_eq(faults.sync_count_other, 2, "the -journal: %d", faults.sync_count_other);
        cr_assert_geq(faults.sync_count_database, 1);
        cr_assert_eq(app_number(app, "SELECT min(seq) FROM outbox"), 5);
        src->close(source);
        sqlite3_close(app);
}

/* The application goes over to WAL meanwhile: from then on no lock is held over a sync. */
Test(sqlite_sync, m12_a_clean_up_in_wal_mode_syncs_nothing) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;

        app_fill(app, 20);
        app_run(app, "PRAGMA journal_mode = DELETE");
        source = source_get("app.db", "?clean-up=delete");
        clean_to(source, 5);
        app_run(app, "PRAGMA journal_mode = WAL");
        clean_to(source, 10); /* it may be the one that finds it out */
        clean_to(source, 15);
        cr_assert_eq(faults.sync_count, 0);
        cr_assert_eq(app_number(app, "SELECT min(seq) FROM outbox"), 15);
        src->close(source);
        sqlite3_close(app);
}

/* ---- a database that opens for reading alone ----------------------------------------------------- */
static int (*real_open)(const char *path, int flags, int mode);
static int refused_opens;

static int refusing_open(const char *path, int flags, int mode) {
        const char *name = strrchr(path, '/');

        if (refused_opens > 0 && name && strcmp(name, "/out.db") == 0 && (flags & O_ACCMODE) == O_RDWR) {
                refused_opens--;
                errno = EIO;
                return -1;
        }
        return real_open(path, flags, mode);
}

/* SQLite then opens it for reading and says nothing. A handle that can never write must not be kept: its
 * sessions would wait for as long as this worker lives, on a disk that is long well again. */
Test(sqlite_sync, m6_a_database_that_opens_for_reading_alone_is_not_open) {
        struct destination *destination = destination_get("out.db");
        struct checkpoint checkpoint;
        sqlite3_vfs *vfs = real_vfs;

        dst->close(destination);
        real_open = (int (*)(const char *, int, int)) vfs->xGetSystemCall(vfs, "open");
        cr_assert_eq(vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr) refusing_open), SQLITE_OK);
        refused_opens = 1;
        must_fail(destination_try("out.db", "", fixture_instance, &destination, failure), -EACCES,
                  FAILURE_UNAVAILABLE);
        cr_expect_eq(refused_opens, 0);
        destination = destination_get("out.db");
        (void) vfs->xSetSystemCall(vfs, "open", NULL);
        dst->session_close(take(destination, &checkpoint));
        dst->close(destination);
}
