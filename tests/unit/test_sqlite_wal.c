/* SPDX-License-Identifier: Apache-2.0 */
/* M9: what the WAL index tells without a question to SQLite: "nothing was committed since", and "nothing that
 * is written can still become visible by itself". Whatever is doubtful must be answered with no. */
#include <fcntl.h>

#include "tests/unit/sqlite_faults.h"
#include "tests/unit/sqlite_fixture.h"

static const struct source_ops *src;

static void setup(void) {
        fixture_setup();
        faults_install();
        src = source_ops_find("sqlite");
}

TestSuite(sqlite_wal, .init = setup, .fini = fixture_teardown);

static bool look(struct source *source, uint64_t after) {
        bool more = false;

        must(src->has_more(source, after, &more, failure));
        return more;
}

Test(sqlite_wal, quiet_until_the_next_commit) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;

        app_fill(app, 3);
        source = source_get("app.db", "");
        cr_expect(!src->is_quiet(source), "nobody has looked yet");
        cr_assert(!look(source, 3));
        cr_expect(src->is_quiet(source));
        app_fill(app, 1);
        cr_expect(!src->is_quiet(source));
        cr_assert(look(source, 3));
        cr_expect(!src->is_quiet(source), "the look found something");
        cr_assert(!look(source, 4));
        cr_expect(src->is_quiet(source));
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_wal, a_commit_that_is_not_an_event_is_a_commit) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source = source_get("app.db", "");

        cr_assert(!look(source, 0));
        app_run(app, "CREATE TABLE other(x); DELETE FROM outbox");
        cr_expect(!src->is_quiet(source), "a table that was emptied must be seen (M4)");
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_wal, quiet_through_an_open_transaction_and_its_rollback) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source = source_get("app.db", "");

        cr_assert(!look(source, 0));
        app_run(app, "BEGIN; INSERT INTO outbox (payload) VALUES ('never')");
        cr_expect(src->is_quiet(source));
        app_run(app, "ROLLBACK");
        cr_expect(src->is_quiet(source));
        app_fill(app, 1);
        cr_expect(!src->is_quiet(source));
        src->close(source);
        sqlite3_close(app);
}

static sqlite3 *late_app;

static void commit_one(void) {
        app_fill(late_app, 1);
}

Test(sqlite_wal, not_quiet_where_a_commit_came_at_the_end_of_the_look) {
        struct source *source;

        late_app = app_outbox("app.db");
        app_fill(late_app, 1);
        source = source_get("app.db", "");
        faults = (struct faults){ .after_read = commit_one };
        cr_assert(!look(source, 1), "it was not there yet");
        cr_expect(!src->is_quiet(source), "and is now: a look was in vain, and the next must not be saved");
        cr_expect(look(source, 1));
        src->close(source);
        sqlite3_close(late_app);
}

Test(sqlite_wal, not_quiet_after_the_log_began_anew) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source = source_get("app.db", "");

        app_fill(app, 5);
        cr_assert(!look(source, 5));
        app_run(app, "PRAGMA wal_checkpoint(TRUNCATE)");
        app_fill(app, 1);
        cr_expect(!src->is_quiet(source));
        cr_assert(look(source, 5));
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_wal, settled_between_two_commits) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source = source_get("app.db", "");

        app_fill(app, 3);
        cr_assert(!look(source, 3));
        cr_expect(src->is_settled(source));
        app_fill(app, 1);
        cr_expect(!src->is_settled(source), "there is something that nobody has looked at");
        cr_assert(!look(source, 4));
        cr_expect(src->is_settled(source));
        src->close(source);
        sqlite3_close(app);
}

/* Frames of a transaction that is not committed stand in the -wal: when they become visible, no file changes
 * any more. Here SQLite spills them early; a writer that is stopped in its sync leaves the same. */
Test(sqlite_wal, not_settled_while_frames_wait_for_their_commit) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source = source_get("app.db", "");

        app_fill(app, 3);
        app_run(app, "PRAGMA cache_size = 2; PRAGMA cache_spill = 1; BEGIN;"
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
                     "INSERT INTO outbox (payload) SELECT hex(zeroblob(1000)) FROM n");
        cr_assert(!look(source, 3));
        cr_expect(src->is_quiet(source));
        cr_expect(!src->is_settled(source));
        app_run(app, "COMMIT");
        cr_assert(look(source, 3));
        cr_assert(!look(source, 203));
        cr_expect(src->is_settled(source));
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_wal, old_frames_behind_the_last_are_no_commit_under_way) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source = source_get("app.db", "");

        app_fill(app, 500);
        app_run(app, "PRAGMA wal_checkpoint(RESTART)");
        app_fill(app, 1); /* overwrites the log from its beginning; the rest of it stands */
        cr_assert(!look(source, 501));
        cr_expect(src->is_settled(source));
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_wal, a_rollback_journal_tells_nothing_but_is_settled) {
        sqlite3 *app = app_open("app.db");
        struct source *source;

        app_run(app, "CREATE TABLE outbox (" OUTBOX_COLUMNS ")");
        app_fill(app, 2);
        source = source_get("app.db", "");
        cr_assert(!look(source, 2));
        cr_expect(!src->is_quiet(source));
        cr_expect(src->is_settled(source), "its commits end a -journal, which is watched");
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_wal, an_index_of_another_version_claims_nothing) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        uint32_t version = 3007001, right = 3007000;
        int fd;

        app_fill(app, 2);
        source = source_get("app.db", "");
        cr_assert(!look(source, 2));
        cr_assert(src->is_quiet(source));
        fd = open(path_of("app.db-shm"), O_RDWR | O_CLOEXEC);
        cr_assert_geq(fd, 0);
        for (off_t at = 0; at <= 48; at += 48)
                cr_assert_eq(pwrite(fd, &version, sizeof(version), at), (ssize_t) sizeof(version));
        cr_expect(!src->is_quiet(source));
        cr_expect(!src->is_settled(source));
        for (off_t at = 0; at <= 48; at += 48)
                cr_assert_eq(pwrite(fd, &right, sizeof(right), at), (ssize_t) sizeof(right));
        cr_expect(src->is_quiet(source));
        (void) close(fd);
        src->close(source);
        sqlite3_close(app);
}

/* A writer stores the second copy first: where it was stopped in between, the first still shows what was. */
Test(sqlite_wal, an_index_that_is_being_written_claims_nothing) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        uint8_t byte, other;
        int fd;

        app_fill(app, 2);
        source = source_get("app.db", "");
        cr_assert(!look(source, 2));
        cr_assert(src->is_quiet(source) && src->is_settled(source));
        fd = open(path_of("app.db-shm"), O_RDWR | O_CLOEXEC);
        cr_assert_geq(fd, 0);
        for (off_t at = 48; at < 96; at++) { /* the second copy */
                cr_assert_eq(pread(fd, &byte, 1, at), 1);
                other = byte ^ 1;
                cr_assert_eq(pwrite(fd, &other, 1, at), 1);
                cr_expect(!src->is_quiet(source), "byte %d", (int) at);
                cr_expect(!src->is_settled(source), "byte %d", (int) at);
                cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
        }
        cr_expect(src->is_quiet(source));
        (void) close(fd);
        src->close(source);
        sqlite3_close(app);
}
