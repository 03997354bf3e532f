/* SPDX-License-Identifier: Apache-2.0 */
/* Cleaning a source up: what goes, what stays (M4: the anchor), and never in the application's way
 * (M12). */
#include <errno.h>
#include <sys/stat.h>

#include "tests/unit/sqlite_fixture.h"

static const struct source_ops *src;

static void setup(void) {
        fixture_setup();
        src = source_ops_find("sqlite");
}

TestSuite(sqlite_clean, .init = setup, .fini = fixture_teardown);

static unsigned clean_all(struct source *source, uint64_t position, uint32_t row_limit) {
        unsigned calls = 0;
        bool more = true;

        while (more) {
                must(src->clean(source, position, row_limit, &more, failure));
                calls++;
        }
        return calls;
}

Test(sqlite_clean, keep_touches_nothing) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;

        app_fill(app, 10);
        source = source_get("app.db", "");
        cr_assert_eq(src->clean_up(source), CLEAN_KEEP);
        cr_assert_eq(clean_all(source, 10, 100), 1);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox WHERE moved_at IS NULL"), 10);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_clean, m4_delete_keeps_the_anchor_and_what_follows) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        bool more;

        app_fill(app, 10);
        app_run(app, "INSERT INTO outbox (seq) VALUES (-1)");
        source = source_get("app.db", "?clean-up=delete");
        cr_assert_eq(src->clean_up(source), CLEAN_DELETE);
        must(src->clean(source, 0, 100, &more, failure));
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 11);
        must(src->clean(source, 1, 100, &more, failure));
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 11);
        (void) clean_all(source, 7, 100);
        cr_assert_eq(app_number(app, "SELECT group_concat(seq, '') = '-178910' FROM outbox"), 1);
        (void) clean_all(source, 7, 100);
        (void) clean_all(source, 10, 100);
        cr_assert_eq(app_number(app, "SELECT group_concat(seq, '') = '-110' FROM outbox"), 1);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_clean, delete_is_done_in_bounded_pieces) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        bool more;

        app_fill(app, 100);
        app_run(app, "DELETE FROM outbox WHERE seq %% 3 = 0 AND seq < 50"); /* gaps count for nothing */
        source = source_get("app.db", "?clean-up=delete");
        for (int64_t left = app_number(app, "SELECT count(*) FROM outbox"); left > 11;) {
                must(src->clean(source, 91, 10, &more, failure));
                cr_assert_geq(app_number(app, "SELECT count(*) FROM outbox"), left - 10);
                left = app_number(app, "SELECT count(*) FROM outbox");
                if (!more)
                        break;
        }
        cr_assert_not(more);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 10);
        cr_assert_eq(app_number(app, "SELECT min(seq) FROM outbox"), 91);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_clean, mark_fills_the_column_once_including_the_anchor) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;

        app_fill(app, 100);
        source = source_get("app.db", "?clean-up=mark");
        cr_assert_eq(src->clean_up(source), CLEAN_MARK);
        cr_assert_eq(clean_all(source, 35, 10), 4);
        cr_assert_eq(app_number(app, "SELECT max(seq) FROM outbox WHERE moved_at IS NOT NULL"), 35);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox WHERE moved_at LIKE '20__-__-__T%%Z'"), 35);
        app_run(app, "UPDATE outbox SET moved_at = 'mine' WHERE seq = 35");
        src->close(source);

        /* Another owner finds where marking stopped, and changes nothing below. */
        source = source_get("app.db", "?clean-up=mark");
        (void) clean_all(source, 60, 1000);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox WHERE moved_at IS NOT NULL"), 60);
        cr_assert_eq(app_number(app, "SELECT moved_at = 'mine' FROM outbox WHERE seq = 35"), 1);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_clean, mark_column_can_be_named) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;

        app_run(app, "ALTER TABLE outbox ADD COLUMN done");
        app_fill(app, 5);
        source = source_get("app.db", "?clean-up=mark&mark=done");
        (void) clean_all(source, 5, 1000);
        cr_assert_eq(app_number(app,
                                "SELECT count(*) FROM outbox WHERE done IS NOT NULL AND moved_at IS NULL"),
                     5);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_clean, m4_without_its_anchor_nothing_is_cleaned) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        bool more;

        app_fill(app, 10);
        source = source_get("app.db", "?clean-up=delete");
        app_run(app, "DELETE FROM outbox WHERE seq = 7"); /* emptied and filled anew, or restored */
        must_fail(src->clean(source, 7, 100, &more, failure), -ENOENT, FAILURE_IDENTITY);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 9);
        app_fill(app, 1); /* no lock is left */
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_clean, m4_a_replaced_file_is_not_cleaned) {
        sqlite3 *app = app_outbox("app.db"), *other;
        struct source *source;
        bool more;

        app_fill(app, 10);
        source = source_get("app.db", "?clean-up=delete");
        cr_assert_eq(rename(path_of("app.db"), path_of("old.db")), 0);
        cr_assert_eq(rename(path_of("app.db-wal"), path_of("old.db-wal")), 0);
        cr_assert_eq(rename(path_of("app.db-shm"), path_of("old.db-shm")), 0);
        other = app_outbox("app.db");
        app_fill(other, 10);
        must_fail(src->clean(source, 7, 100, &more, failure), -ESTALE, FAILURE_UNAVAILABLE);
        cr_assert_eq(app_number(other, "SELECT count(*) FROM outbox"), 10);
        src->close(source);
        sqlite3_close(other);
        sqlite3_close(app);
}

Test(sqlite_clean, m12_a_busy_application_is_not_waited_for) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        bool more;

        app_fill(app, 10);
        source = source_get("app.db", "?clean-up=delete");
        app_run(app, "BEGIN IMMEDIATE");
        must_fail(src->clean(source, 7, 100, &more, failure), -EBUSY, FAILURE_UNAVAILABLE);
        app_run(app, "COMMIT");
        must(src->clean(source, 7, 100, &more, failure));
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 4);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_clean, m12_never_checkpoints) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        struct stat before, after;

        app_run(app, "PRAGMA wal_autocheckpoint = 0");
        app_fill(app, 50000);
        cr_assert_eq(stat(path_of("app.db"), &before), 0);
        source = source_get("app.db", "?clean-up=delete");
        (void) clean_all(source, 50000, 50000);
        src->close(source);
        cr_assert_eq(stat(path_of("app.db"), &after), 0);
        cr_assert_eq(before.st_size, after.st_size);
        cr_assert_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 1);
        sqlite3_close(app);
}
