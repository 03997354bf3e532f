/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite source and destination where a system call fails and SQLite says nothing of it (M6, M11). */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "include/baton/outbox.h"
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

static void overlook_journals(bool overlook) {
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        if (!true_stat)
                true_stat = (int (*)(const char *, struct stat *)) vfs->xGetSystemCall(vfs, "stat");
        cr_assert_eq(vfs->xSetSystemCall(vfs, "stat",
                                         (sqlite3_syscall_ptr) (overlook ? stat_fails_on_a_journal
                                                                         : true_stat)),
                     SQLITE_OK);
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
        struct destination *destination = destination_get("out.db");

        dst->close(destination);
        journal_make('x');
        overlook_journals(true);
        must_fail(destination_try("out.db", "", fixture_instance, &destination, failure), -EAGAIN,
                  FAILURE_UNAVAILABLE);
        journal_make('\0'); /* one that is over */
        must(destination_try("out.db", "", fixture_instance, &destination, failure));
        dst->close(destination);
        journal_make('x');
        overlook_journals(false);
        must(destination_try("out.db", "", fixture_instance, &destination, failure));
        dst->close(destination);
}

/* ---- sources in rollback mode ------------------------------------------------------------------------- */
#define EVENTS 2000

static void rollback_outbox(void) {
        sqlite3 *app = app_open("app.db");

        app_run(app, "CREATE TABLE outbox (" OUTBOX_COLUMNS ")");
        app_fill(app, EVENTS);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* An application that dies in a transaction of which a part is in its file already. */
static void app_dies_after(const char *statements) {
        static sqlite3 *volatile app; /* in use to the end: no leak */
        pid_t pid = fork();
        int status;

        cr_assert(pid >= 0);
        if (pid == 0) {
                app = app_open("app.db");
                app_run(app, statements);
                _exit(0);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert_eq(status, 0);
        cr_assert_eq(access(path_of("app.db-journal"), F_OK), 0);
}

/* An application that does so much, and is gone again. */
static void app_passes(const char *statements) {
        sqlite3 *app = app_open("app.db");

        app_run(app, statements);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

static void app_dies(void) {
        app_dies_after("PRAGMA cache_size = 5; BEGIN; UPDATE outbox SET payload = 'never so'");
}

static int fetch_all(struct source *source, size_t *ret_count, struct failure *ret_failure) {
        const struct batch_limits limits = { .rows = EVENTS,
                                             .bytes = 1 << 20,
                                             .deadline_usec = USEC_INFINITY };
        struct event_batch batch = { 0 };
        bool more;
        int r;

        cr_assert_eq(event_batch_init(&batch, EVENTS + 1, 1 << 20), 0);
        r = source_ops_find("sqlite")->fetch(source, 0, &limits, &batch, &more, ret_failure);
        for (size_t i = 0; i < batch.event_count; i++)
                cr_assert(batch.events[i].payload.bytes != strlen("never so") ||
                                  memcmp(batch.events[i].payload.data, "never so", 8) != 0,
                          "an event that was never committed");
        *ret_count = batch.event_count;
        event_batch_done(&batch);
        return r;
}

Test(sqlite_overlooks, M11_an_event_that_is_to_be_undone_is_not_read) {
        const struct source_ops *src = source_ops_find("sqlite");
        struct source *source;
        uint64_t digest;
        size_t count;

        rollback_outbox();
        source = source_get("app.db", "?table=outbox");
        app_dies();
        overlook_journals(true);
        must_fail(fetch_all(source, &count, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        cr_assert_eq(count, 0);
        must_fail(src->anchor(source, 1, &digest, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        overlook_journals(false);
        app_passes("SELECT max(seq) FROM outbox"); /* its application is back */
        overlook_journals(true);
        must(fetch_all(source, &count, failure));
        cr_assert_eq(count, EVENTS);
        overlook_journals(false);
        src->close(source);
}

/* What was seen in between is not kept: the change counter is again what it was before. */
Test(sqlite_overlooks, M11_what_was_only_deleted_for_a_while_is_found_again) {
        const struct source_ops *src = source_ops_find("sqlite");
        struct source *source;
        uint64_t first, last;
        bool more = true;

        rollback_outbox();
        source = source_get("app.db", "?table=outbox");
        app_passes("CREATE TABLE other (bytes)");
        app_dies_after(
                "PRAGMA cache_size = 5; BEGIN; DELETE FROM outbox WHERE seq > 10; "
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO other SELECT randomblob(3000) FROM n");
        overlook_journals(true);
        must(src->has_more(source, 10, &more, failure));
        cr_assert_not(more, "the case is about a file that was changed before it was to be");
        must_fail(src->range(source, &first, &last, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        overlook_journals(false);
        app_passes("SELECT max(seq) FROM outbox");
        must(src->has_more(source, 10, &more, failure));
        cr_expect(more);
        must(src->range(source, &first, &last, failure));
        cr_expect_eq(last, EVENTS);
        src->close(source);
}

/* A transaction that is half written looks like damage, and is none. */
Test(sqlite_overlooks, M6_what_is_half_written_is_not_taken_for_damage) {
        const struct source_ops *src = source_ops_find("sqlite");
        struct source *source;
        char noise[4096];
        size_t count;
        bool more;
        int fd;

        rollback_outbox();
        source = source_get("app.db", "?table=outbox");
        app_dies();
        fd = open(path_of("app.db"), O_WRONLY | O_CLOEXEC);
        memset(noise, 0xa5, sizeof noise);
        cr_assert_eq(pwrite(fd, noise, sizeof noise, 4096), sizeof noise); /* the root of the table */
        cr_assert_eq(close(fd), 0);
        overlook_journals(true);
        must_fail(src->has_more(source, 0, &more, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        must_fail(fetch_all(source, &count, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        cr_assert_eq(unlink(path_of("app.db-journal")), 0);
        must_fail(fetch_all(source, &count, failure), -EBADMSG, FAILURE_STOP);
        overlook_journals(false);
        src->close(source);
}

/* The -journal of a writer that lives is none to be rolled back: it waits for us before it touches the file. */
Test(sqlite_overlooks, M12_a_writer_that_lives_keeps_nobody_from_reading) {
        struct source *source;
        sqlite3 *app;
        size_t count;

        rollback_outbox();
        source = source_get("app.db", "?table=outbox");
        app = app_open("app.db");
        app_run(app, "PRAGMA cache_size = 2000; BEGIN; UPDATE outbox SET payload = 'never so' WHERE seq = 7");
        cr_assert_eq(access(path_of("app.db-journal"), F_OK), 0);
        must(fetch_all(source, &count, failure));
        cr_assert_eq(count, EVENTS);
        app_run(app, "ROLLBACK");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        source_ops_find("sqlite")->close(source);
}

/* Nor where its -journal is not ours to read (SQLite gives it the database's mode, and its writer's group). */
Test(sqlite_overlooks, M12_nor_one_whose_journal_cannot_be_read) {
        const struct source_ops *src = source_ops_find("sqlite");
        struct source *source;
        uint64_t first, last;
        sqlite3 *app;
        size_t count;

        rollback_outbox();
        source = source_get("app.db", "?table=outbox");
        app = app_open("app.db");
        app_run(app, "BEGIN IMMEDIATE");
        cr_assert_eq(symlink("app.db-journal", path_of("app.db-journal")), 0); /* also root cannot open it */
        must(fetch_all(source, &count, failure));
        cr_assert_eq(count, EVENTS);
        must(src->range(source, &first, &last, failure));
        app_run(app, "ROLLBACK");
        must_fail(src->range(source, &first, &last, failure), -ELOOP, FAILURE_STOP);
        cr_assert_eq(unlink(path_of("app.db-journal")), 0);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        src->close(source);
}

/* Who writes into what is to be undone first is undone with it, or leaves half of each. */
Test(sqlite_overlooks, M14_nothing_is_written_where_a_transaction_is_to_be_undone) {
        const struct source_ops *src = source_ops_find("sqlite");
        struct source *source;
        sqlite3 *app;
        bool more;

        rollback_outbox();
        source = source_get("app.db", "?table=outbox&clean-up=delete");
        app_dies();
        overlook_journals(true);
        must_fail(src->clean(source, EVENTS, 1000, &more, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        must_fail(outbox_create(path_of("app.db"), "second", failure), -EAGAIN, FAILURE_UNAVAILABLE);
        overlook_journals(false);
        src->close(source);
        app = app_open("app.db");
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox WHERE payload != 'never so'"), EVENTS);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
