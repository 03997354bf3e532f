/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite source: what it refuses and in which class, what it reads, and what it leaves alone (M4, M5,
 * M9, M12). */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "tests/unit/sqlite_fixture.h"
#include "worker/source/sqlite_db.h"

static const struct source_ops *src;

static void setup(void) {
        fixture_setup();
        src = source_ops_find("sqlite");
}

TestSuite(sqlite_source, .init = setup, .fini = fixture_teardown);

static void refuse(const char *name, const char *query, int r, enum failure_kind kind, const char *says) {
        struct failure failure = { 0 };
        struct source *source = NULL;

        cr_assert_eq(source_try(name, query, &source, &failure), r, "%s", failure.text);
        cr_assert_eq(failure.kind, kind, "%s: %s", failure_kind_name(failure.kind), failure.text);
        cr_assert_not_null(strstr(failure.text, says), "%s", failure.text);
        cr_assert_null(source);
}

static void refuse_table(const char *columns, const char *query, const char *says) {
        sqlite3 *app = app_open("app.db");

        app_run(app, "DROP TABLE IF EXISTS outbox; CREATE TABLE outbox (%s", columns);
        refuse("app.db", query, -EINVAL, FAILURE_STOP, says);
        sqlite3_close(app);
}

Test(sqlite_source, absent_file_waits) {
        char names[1024];

        refuse("none.db", "", -ENOENT, FAILURE_UNAVAILABLE, "is absent; waiting for it to appear");
        list_directory(names);
        cr_assert_str_eq(names, "");
}

Test(sqlite_source, empty_database_waits) {
        int fd = open(path_of("app.db"), O_CREAT | O_WRONLY, 0644);

        refuse("app.db", "", -ENOENT, FAILURE_UNAVAILABLE, "empty database");
        close(fd);
}

Test(sqlite_source, file_that_is_no_database_stops) {
        FILE *file = fopen(path_of("app.db"), "w");

        for (int i = 0; i < 1000; i++)
                (void) fputs("this is a text, no database\n", file);
        (void) fclose(file);
        refuse("app.db", "", -EBADMSG, FAILURE_STOP, "no SQLite database");
}

Test(sqlite_source, directory_stops) {
        refuse("", "", -EINVAL, FAILURE_STOP, "no regular file");
}

Test(sqlite_source, missing_table_and_columns_stop) {
        sqlite3_close(app_outbox("app.db"));
        refuse("app.db", "?table=orders", -EINVAL, FAILURE_STOP, "no table orders");
        refuse("app.db", "?payload=body", -EINVAL, FAILURE_STOP, "no column body");
        refuse("app.db", "?key=id", -EINVAL, FAILURE_STOP, "no column id");
        refuse("app.db", "?type=id", -EINVAL, FAILURE_STOP, "(type=COLUMN)");
        refuse("app.db", "?at=id", -EINVAL, FAILURE_STOP, "(at=COLUMN)");
        refuse("app.db", "?seq=id", -EINVAL, FAILURE_STOP, "no column id");
        refuse("app.db", "?clean-up=mark&mark=seen", -EINVAL, FAILURE_STOP, "no column seen");
        refuse("app.db", "?clean-up=mark&mark=at", -EINVAL, FAILURE_STOP, "column of its own");
}

Test(sqlite_source, m5_seq_must_be_the_rowid) {
        const char *says = "no INTEGER PRIMARY KEY";

        refuse_table("seq INTEGER, key, type, at, payload)", "", says);
        refuse_table("seq INT PRIMARY KEY, key, type, at, payload)", "", says);
        refuse_table("seq INTEGER PRIMARY KEY DESC, key, type, at, payload)", "", says);
        refuse_table("seq INTEGER PRIMARY KEY, key, type, at, payload) WITHOUT ROWID", "", says);
        refuse_table("seq INTEGER, key, type, at, payload, PRIMARY KEY (seq, key))", "", says);
        refuse_table("seq TEXT PRIMARY KEY, key, type, at, payload)", "", says);
        refuse_table("seq INTEGER UNIQUE, key, type, at, payload)", "", says);
        refuse_table("seq INTEGER PRIMARY KEY, key, type, at, payload)", "?clean-up=delete", "AUTOINCREMENT");
}

Test(sqlite_source, m5_a_view_is_no_table) {
        sqlite3 *app = app_outbox("app.db");

        app_run(app, "CREATE VIEW v AS SELECT * FROM outbox");
        refuse("app.db", "?table=v", -EINVAL, FAILURE_STOP, "no table v");
        sqlite3_close(app);
}

Test(sqlite_source, other_names_and_spellings_are_accepted) {
        sqlite3 *app = app_open("app.db");
        struct source *source;
        bool more;

        app_run(app,
                "CREATE TABLE Events (Id integer primary key, \"select\", \"from\", \"where\", \"group\");"
                "INSERT INTO events VALUES (1, 2, 3, 4, 5)");
        source = source_get("app.db", "?table=events&seq=id&key=select&type=from&at=where&payload=group");
        must(src->has_more(source, 0, &more, failure));
        cr_assert(more);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_source, path_is_encoded) {
        const char *name = "a b%20?#&=é.db";
        sqlite3 *app = app_outbox(name);
        struct url url = { .path = path_of(name), .scheme = "sqlite" };
        struct source_config config = { .name = "orders", .url = &url, .scheme = source_schemes[0] };
        struct source *source;
        bool more;

        app_fill(app, 1);
        must(src->open(&config, &source, failure));
        must(src->has_more(source, 0, &more, failure));
        cr_assert(more);
        src->close(source);
        sqlite3_close(app);
}

/* ---- reading --------------------------------------------------------------------------------- */

static size_t fetch(struct source *source, uint64_t after, uint32_t rows, uint64_t bytes,
                    uint64_t deadline_usec, bool *ret_more, uint64_t *ret_last) {
        const struct batch_limits limits = { .rows = rows, .bytes = bytes, .deadline_usec = deadline_usec };
        struct event_batch batch = { 0 };
        size_t count;

        cr_assert_eq(event_batch_init(&batch, rows, bytes), 0);
        must(src->fetch(source, after, &limits, &batch, ret_more, failure));
        count = batch.event_count;
        *ret_last = after;
        for (size_t i = 0; i < count; i++) {
                cr_assert_gt(batch.events[i].position, *ret_last);
                *ret_last = batch.events[i].position;
        }
        event_batch_done(&batch);
        return count;
}

Test(sqlite_source, fetch_keeps_its_limits) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        uint64_t last;
        bool more;

        app_fill(app, 1000);
        source = source_get("app.db", "");
        cr_assert_eq(fetch(source, 0, 10, 1 << 20, USEC_INFINITY, &more, &last), 10);
        cr_assert(more);
        cr_assert_eq(last, 10);
        cr_assert_eq(fetch(source, 0, 1000, 1 << 20, USEC_INFINITY, &more, &last), 1000);
        cr_assert_not(more);
        cr_assert_eq(fetch(source, 990, 1000, 1 << 20, USEC_INFINITY, &more, &last), 10);
        cr_assert_not(more);
        cr_assert_eq(fetch(source, 1000, 1000, 1 << 20, USEC_INFINITY, &more, &last), 0);
        cr_assert_not(more);
        cr_assert_lt(fetch(source, 0, 1000, 1000, USEC_INFINITY, &more, &last), 30);
        cr_assert(more);
        /* A deadline that has passed ends the batch, but never before there is one event. */
        cr_assert_geq(fetch(source, 0, 1000, 1 << 20, 0, &more, &last), 1);
        cr_assert(more);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_source, large_event_comes_alone) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        uint64_t last;
        bool more;

        app_run(app,
                "INSERT INTO outbox (payload) VALUES ('small'), (zeroblob(3000000)), ('small'), ('small')");
        source = source_get("app.db", "");
        cr_assert_eq(fetch(source, 0, 100, 10000, USEC_INFINITY, &more, &last), 1);
        cr_assert(more);
        cr_assert_eq(fetch(source, 1, 100, 10000, USEC_INFINITY, &more, &last), 1);
        cr_assert(more);
        cr_assert_eq(last, 2);
        cr_assert_eq(fetch(source, 2, 100, 10000, USEC_INFINITY, &more, &last), 2);
        cr_assert_not(more);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_source, utf16_database_is_read_as_utf8) {
        sqlite3 *app = app_open("app.db");
        struct source *source;
        uint64_t in_16, in_8;
        sqlite3 *other = app_outbox("other.db");

        app_run(app, "PRAGMA encoding = 'UTF-16le'; CREATE TABLE outbox (" OUTBOX_COLUMNS ");"
                     "INSERT INTO outbox VALUES (1, 'Größe', '€', '2026', '𝄞')");
        app_run(other, "INSERT INTO outbox VALUES (1, 'Größe', '€', '2026', '𝄞', NULL)");
        source = source_get("app.db", "");
        must(src->anchor(source, 1, &in_16, failure));
        src->close(source);
        source = source_get("other.db", "");
        must(src->anchor(source, 1, &in_8, failure));
        src->close(source);
        cr_assert_eq(in_16, in_8);
        sqlite3_close(app);
        sqlite3_close(other);
}

Test(sqlite_source, rows_at_or_below_zero_are_never_moved) {
        sqlite3 *app = app_outbox("app.db");
        uint64_t first, last;
        struct source *source;
        bool more;

        app_run(app, "INSERT INTO outbox (seq) VALUES (-3), (0)");
        source = source_get("app.db", "");
        must(src->range(source, &first, &last, failure));
        cr_assert_eq(first, 0);
        cr_assert_eq(last, 0);
        must(src->has_more(source, 0, &more, failure));
        cr_assert_not(more);
        app_run(app, "INSERT INTO outbox (seq) VALUES (5), (9)");
        must(src->range(source, &first, &last, failure));
        cr_assert_eq(first, 5);
        cr_assert_eq(last, 9);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_source, impossible_position_stops) {
        sqlite3_close(app_outbox("app.db"));
        struct source *source = source_get("app.db", "");
        bool more;

        must_fail(src->has_more(source, UINT64_MAX, &more, failure), -EBADMSG, FAILURE_STOP);
        /* M5: the next numbers would be free ones below. */
        must_fail(src->has_more(source, INT64_MAX, &more, failure), -EOVERFLOW, FAILURE_STOP);
        src->close(source);
}

/* ---- identity -------------------------------------------------------------------------------- */

Test(sqlite_source, m4_identity_and_replacement) {
        char identity[IDENTITY_BYTES], again[IDENTITY_BYTES];
        sqlite3 *app = app_outbox("app.db");
        struct source *source = source_get("app.db", "");

        must(src->identity(source, identity, failure));
        cr_assert_eq(strncmp(identity, "ino=", 4), 0);
        cr_assert_not_null(strstr(identity, ";btime="));
        cr_assert_not(src->is_stale(source));
        sqlite3_close(app);

        cr_assert_eq(rename(path_of("app.db"), path_of("old.db")), 0);
        cr_assert(src->is_stale(source));
        must_fail(src->identity(source, again, failure), -ESTALE, FAILURE_UNAVAILABLE);
        app = app_outbox("app.db");
        cr_assert(src->is_stale(source));
        src->close(source);

        source = source_get("app.db", "");
        must(src->identity(source, again, failure));
        cr_assert_neq(strcmp(identity, again), 0);
        src->close(source);
        sqlite3_close(app);
}

/* A file system gives the number of a removed file to the next one: when it was born tells them apart. */
static struct file_id id_of_a_new_file(void) {
        struct file_id id;
        int fd = open(path_of("app.db"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        cr_assert_geq(fd, 0);
        (void) close(fd);
        cr_assert_eq(file_id_read(path_of("app.db"), &id), 0);
        return id;
}

Test(sqlite_source, m4_an_inode_that_is_used_again_is_another_file) {
        struct file_id before = id_of_a_new_file(), after;

        after = before;
        cr_assert(file_id_is_same(&before, &after));
        after.born_nsec++;
        cr_assert_not(file_id_is_same(&before, &after));
        after = before;
        after.born_sec++;
        cr_assert_not(file_id_is_same(&before, &after));
        for (unsigned i = 0; i < 5; i++) { /* where this one does so, for real */
                (void) usleep(20000);      /* births are stamped by a clock that stands still for a tick */
                cr_assert_eq(unlink(path_of("app.db")), 0);
                after = id_of_a_new_file();
                cr_assert_not(file_id_is_same(&before, &after), "inode %" PRIu64, after.inode);
        }
}

Test(sqlite_source, m4_anchor_knows_a_changed_row) {
        sqlite3 *app = app_outbox("app.db");
        uint64_t digest, other;
        struct source *source;

        app_fill(app, 3);
        source = source_get("app.db", "");
        must(src->anchor(source, 2, &digest, failure));
        app_run(app, "UPDATE outbox SET moved_at = 'now'"); /* not part of the event */
        must(src->anchor(source, 2, &other, failure));
        cr_assert_eq(digest, other);
        app_run(app, "UPDATE outbox SET payload = 'forged' WHERE seq = 2");
        must(src->anchor(source, 2, &other, failure));
        cr_assert_neq(digest, other);
        app_run(app, "DELETE FROM outbox");
        must_fail(src->anchor(source, 2, &other, failure), -ENOENT, FAILURE_IDENTITY);
        src->close(source);
        sqlite3_close(app);
}

/* ---- manners --------------------------------------------------------------------------------- */

Test(sqlite_source, m12_a_reader_hinders_no_writer_and_no_checkpoint) {
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        uint64_t last;
        bool more;

        (void) sqlite3_busy_timeout(app, 0);
        app_fill(app, 100);
        source = source_get("app.db", "");
        (void) fetch(source, 0, 10, 1 << 20, USEC_INFINITY, &more, &last);
        must(src->has_more(source, last, &more, failure));
        must(src->sync(source, failure));
        app_fill(app, 100);
        /* TRUNCATE needs every reader to have let go: no read transaction of ours is open. */
        cr_assert_eq(app_number(app, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_source, m12_close_leaves_the_wal_to_its_application) {
        char names[1024], after[1024];
        sqlite3 *app = app_outbox("app.db");
        struct source *source;
        struct stat before, st;

        app_fill(app, 100);
        (void) sqlite3_db_config(app, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_close(app); /* as if it had been killed */
        list_directory(names);
        cr_assert_eq(stat(path_of("app.db-wal"), &before), 0);
        source = source_get("app.db", "");
        src->close(source);
        list_directory(after);
        cr_assert_str_eq(names, after);
        cr_assert_eq(stat(path_of("app.db-wal"), &st), 0);
        cr_assert_eq(st.st_size, before.st_size);
}

Test(sqlite_source, m12_another_user_does_not_make_a_wal_first) {
        struct source *source = NULL;
        struct failure failure = { 0 };
        char names[1024];
        sqlite3 *app;

        if (geteuid() != 0)
                cr_skip_test("needs root, to become somebody else");
        app = app_outbox("app.db");
        sqlite3_close(app); /* the last to leave: no -wal */
        cr_assert_eq(chmod(fixture_directory, 0777), 0);
        cr_assert_eq(chmod(path_of("app.db"), 0644), 0);
        cr_assert_eq(seteuid(65534), 0);
        cr_assert_eq(source_try("app.db", "", &source, &failure), -EACCES, "%s", failure.text);
        cr_assert_eq(failure.kind, FAILURE_UNAVAILABLE);
        cr_assert_not_null(strstr(failure.text, "waiting for the application"), "%s", failure.text);
        list_directory(names);
        cr_assert_str_eq(names, "app.db ");

        /* The application has opened it: nothing need be made any more. */
        cr_assert_eq(seteuid(0), 0);
        app = app_open("app.db");
        app_fill(app, 1);
        cr_assert_eq(chmod(path_of("app.db-shm"), 0666), 0);
        cr_assert_eq(chmod(path_of("app.db-wal"), 0666), 0);
        cr_assert_eq(seteuid(65534), 0);
        cr_assert_eq(source_try("app.db", "", &source, &failure), 0, "%s", failure.text);
        src->close(source);
        cr_assert_eq(seteuid(0), 0);
        sqlite3_close(app);

        /* A file that everybody may write locks nobody out. */
        cr_assert_eq(chmod(path_of("app.db"), 0666), 0);
        cr_assert_eq(seteuid(65534), 0);
        cr_assert_eq(source_try("app.db", "", &source, &failure), 0, "%s", failure.text);
        src->close(source);
        cr_assert_eq(seteuid(0), 0);
}

Test(sqlite_source, m12_a_locked_database_is_waited_for_shortly) {
        sqlite3 *app = app_open("app.db");
        struct source *source;
        bool more;

        app_run(app, "CREATE TABLE outbox (" OUTBOX_COLUMNS ")");
        source = source_get("app.db", "");
        app_run(app, "BEGIN EXCLUSIVE");
        must_fail(src->has_more(source, 0, &more, failure), -EBUSY, FAILURE_UNAVAILABLE);
        app_run(app, "COMMIT");
        must(src->has_more(source, 0, &more, failure));
        src->close(source);
        sqlite3_close(app);
}

/* ---- lag and watch --------------------------------------------------------------------------- */

Test(sqlite_source, lag_counts_and_never_invents) {
        sqlite3 *app = app_outbox("app.db");
        struct source_lag lag;
        struct source *source = source_get("app.db", "");

        must(src->lag(source, 0, &lag, failure));
        cr_assert_eq(lag.events, 0);
        cr_assert_eq(lag.bytes, 0);
        cr_assert_eq(lag.oldest_realtime_usec, LAG_UNKNOWN);

        app_run(app,
                "INSERT INTO outbox (seq, at, payload) VALUES (11, '2026-11-23T18:02:11.5Z', 'ten bytes.'),"
                "(12, 'yesterday', 'ten bytes.'), (20, NULL, 'ten bytes.')");
        must(src->lag(source, 0, &lag, failure));
        cr_assert_eq(lag.events, 10); /* what lies below the first row does not wait */
        cr_assert_neq(lag.bytes, LAG_UNKNOWN);
        cr_assert_eq(lag.oldest_realtime_usec, UINT64_C(1795456931500000));
        must(src->lag(source, 11, &lag, failure));
        cr_assert_eq(lag.events, 9);
        cr_assert_eq(lag.oldest_realtime_usec, LAG_UNKNOWN);
        must(src->lag(source, 20, &lag, failure));
        cr_assert_eq(lag.events, 0);
        src->close(source);
        sqlite3_close(app);
}

Test(sqlite_source, lag_reads_times) {
        static const struct {
                const char *sql;
                uint64_t usec;
        } times[] = {
                { "'1970-01-01'", 0 },
                { "'1970-01-02 00:00'", UINT64_C(86400000000) },
                { "'2026-11-23 18:02:11'", UINT64_C(1795456931000000) },
                { "'2026-11-23T19:02:11+01:00'", UINT64_C(1795456931000000) },
                { "'2026-11-23T12:32:11.000001-0530'", UINT64_C(1795456931000001) },
                { "'2024-02-29T00:00:00Z'", UINT64_C(1709164800000000) },
                { "1795456931", UINT64_C(1795456931000000) },
                { "1795456931123", UINT64_C(1795456931123000) },
                { "1795456931123456", UINT64_C(1795456931123456) },
                { "1795456931.5", UINT64_C(1795456931500000) },
                { "'202x-11-23'", LAG_UNKNOWN },
                { "'2026/11-23'", LAG_UNKNOWN },
                { "'2026-1x-23'", LAG_UNKNOWN },
                { "'2026-11/23'", LAG_UNKNOWN },
                { "'2026-11-2'", LAG_UNKNOWN },
                { "'2026-00-23'", LAG_UNKNOWN },
                { "'2026-11-00'", LAG_UNKNOWN },
                { "'2026-11-32'", LAG_UNKNOWN },
                { "'2026-11-23X18:02'", LAG_UNKNOWN },
                { "'2026-11-23T1'", LAG_UNKNOWN },
                { "'2026-11-23T18.02'", LAG_UNKNOWN },
                { "'2026-11-23T18:0'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:1'", LAG_UNKNOWN },
                { "'2026-11-23T25:02'", LAG_UNKNOWN },
                { "'2026-11-23T18:60'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:61'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:11.5x'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:11Zx'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:11+1'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:11+01:0'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:11+01:00x'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:11,25+01'", UINT64_C(1795453331250000) },
                { "'1969-12-31T23:59:59Z'", LAG_UNKNOWN }, /* before 1970 */
                { "'0000-01-01'", LAG_UNKNOWN },
                { "-5", LAG_UNKNOWN },
                { "9e999", LAG_UNKNOWN },
                { "''", LAG_UNKNOWN },
                { "'2026-13-01'", LAG_UNKNOWN },
                { "'2026-11-23T18'", LAG_UNKNOWN },
                { "'2026-11-23T18:02:11Q'", LAG_UNKNOWN },
                { "x'32303236'", LAG_UNKNOWN },
                { "NULL", LAG_UNKNOWN },
        };
        sqlite3 *app = app_open("app.db");
        struct source_lag lag;
        struct source *source;

        app_run(app, "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, key, type, at, payload)");
        source = source_get("app.db", "");
        for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
                app_run(app, "INSERT OR REPLACE INTO outbox (seq, at) VALUES (1, %s)", times[i].sql);
                must(src->lag(source, 0, &lag, failure));
                cr_assert_eq(lag.oldest_realtime_usec, times[i].usec, "%s: %" PRIu64, times[i].sql,
                             lag.oldest_realtime_usec);
        }
        src->close(source);
        sqlite3_close(app);
}

static void watch(const char *name, struct source_watch *ret_watch) {
        struct source_config config = { .name = "orders" };
        struct place place;

        place_set(&place, source_schemes, "sqlite:%s", path_of(name));
        config.url = &place.url;
        config.scheme = place.scheme;
        must(src->watch(&config, ret_watch, failure));
}

Test(sqlite_source, m9_watch_names_what_changes) {
        struct source_watch found;
        char *real;

        watch("app.db", &found); /* absent yet */
        cr_assert_str_eq(found.directory, fixture_directory);
        cr_assert_str_eq(found.file_names[0], "app.db");
        cr_assert_str_eq(found.file_names[1], "app.db-wal");
        cr_assert_str_eq(found.file_names[2], "app.db-journal");
        cr_assert_str_eq(found.file_names[3], "");

        /* Through a link: SQLite's files stand beside the real one. */
        sqlite3_close(app_outbox("app.db"));
        cr_assert_eq(symlink(path_of("app.db"), path_of("link.db")), 0);
        watch("link.db", &found);
        real = realpath(fixture_directory, NULL);
        cr_assert_str_eq(found.directory, real);
        cr_assert_str_eq(found.file_names[1], "app.db-wal");
        free(real);
}
