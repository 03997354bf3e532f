/* SPDX-License-Identifier: Apache-2.0 */
/* The fused path (M13): the row path's result to the last byte, within the same limits, and with the
 * source's own safeguards (M4, M12). */
#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "tests/unit/sqlite_fixture.h"

TestSuite(sqlite_fused, .init = fixture_setup, .fini = fixture_teardown);

static const struct source_ops *src;
static const struct destination_ops *dst;

static void find_ops(void) {
        src = source_ops_find("sqlite");
        dst = destination_ops_find("sqlite");
}

static struct batch_limits limits_of(uint32_t rows, uint64_t bytes) {
        return (struct batch_limits){ .rows = rows, .bytes = bytes, .deadline_usec = USEC_INFINITY };
}

/* One transaction by the row path. */
static void row_pass(struct source *source, struct destination *destination, struct destination_session *session,
                     struct checkpoint *checkpoint, const struct batch_limits *limits, bool *ret_more) {
        struct event_batch batch = { 0 };

        cr_assert_eq(event_batch_init(&batch, limits->rows, limits->bytes), 0);
        must(src->fetch(source, checkpoint->position, limits, &batch, ret_more, failure));
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        for (size_t i = 0; i < batch.event_count; i++) {
                must(dst->put(session, &batch.events[i], failure));
                checkpoint->anchor = event_digest(&batch.events[i]);
                checkpoint->digest_sum += checkpoint->anchor;
                checkpoint->position = batch.events[i].position;
                checkpoint->event_count++;
        }
        must(src->sync(source, failure));
        must(dst->session_end(session, checkpoint, failure));
        must(dst->commit(destination, failure));
        event_batch_done(&batch);
}

/* One transaction by the fused path. */
static void fused_pass(struct destination *destination, struct destination_session *session,
                       struct checkpoint *checkpoint, const struct batch_limits *limits, struct moved *ret_moved) {
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must(dst->fused_move(session, checkpoint->position, limits, ret_moved, failure));
        checkpoint->position = ret_moved->last_position;
        if (ret_moved->event_count > 0)
                checkpoint->anchor = ret_moved->last_digest;
        checkpoint->digest_sum += ret_moved->digest_sum;
        checkpoint->event_count += ret_moved->event_count;
        must(dst->fused_sync(session, failure));
        must(dst->session_end(session, checkpoint, failure));
        must(dst->commit(destination, failure));
}

static struct destination_session *take_over(struct destination *destination, uint64_t epoch,
                                             struct checkpoint *checkpoint) {
        struct destination_session *session;
        bool found, tail;

        must(dst->session_open(destination, "orders", &session, failure));
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must(dst->fence(session, epoch, checkpoint, &found, &tail, failure));
        must(dst->session_end(session, checkpoint, failure));
        must(dst->commit(destination, failure));
        return session;
}

static int attach(struct destination_session *session, const char *name, struct failure *ret_failure) {
        struct place place;
        struct source_config config = { .name = "orders" };

        place_set(&place, source_schemes, "sqlite:%s", path_of(name));
        config.url = &place.url;
        config.scheme = place.scheme;
        return dst->fused_open(session, &config, ret_failure);
}

/* Every storage class in every column, and the values that a careless copy would change. */
static void fill_with_everything(sqlite3 *db) {
        static const char *const values[] = {
                "NULL", "0", "-1", "9223372036854775807", "-9223372036854775808", "1.5", "-0.0", "9e999", "-9e999",
                "1e300", "3.0", "''", "'plain'", "'1'", "'1.0'", "CAST(x'610062' AS TEXT)", "CAST(x'fffe80' AS TEXT)",
                "CAST(x'00' AS TEXT)", "x''", "x'00ff00'", "x'31'", "zeroblob(300000)", "hex(zeroblob(70000))",
                "CAST(zeroblob(5000) AS TEXT)",
        };
        const size_t n = sizeof values / sizeof *values;

        app_run(db, "CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, key, type, at, payload)");
        for (size_t i = 0; i < n * 3; i++)
                app_run(db, "INSERT INTO outbox VALUES (%zu, %s, %s, %s, %s)", i * i + 1, values[i % n],
                        values[(i + i / n) % n], values[(i * 7 + 3) % n], values[(n - 1 - i % n)]);
        app_run(db, "INSERT INTO outbox VALUES (9223372036854775807, 'last', 1, 2, 3), (-5, 'never', 1, 2, 3)");
}

static void compare_tables(const char *a, const char *b) {
        sqlite3 *db = app_open(a);

        app_run(db, "ATTACH '%s' AS other", path_of(b));
        cr_assert(app_number(db, "SELECT count(*) FROM baton_events") > 0);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"),
                     app_number(db, "SELECT count(*) FROM other.baton_events"));
        /* quote() writes a value with its class, to the last byte; a text that holds a NUL is compared as
         * a blob as well, because quote() ends there. */
        cr_assert_eq(app_number(db, "SELECT count(*) FROM main.baton_events m JOIN other.baton_events o ON m.rowid = o.rowid "
                                    "WHERE m.session = o.session AND m.position = o.position "
                                    "AND quote(m.key) = quote(o.key) AND typeof(m.key) = typeof(o.key) "
                                    "AND CAST(m.key AS BLOB) IS CAST(o.key AS BLOB) "
                                    "AND quote(m.type) = quote(o.type) AND typeof(m.type) = typeof(o.type) "
                                    "AND CAST(m.type AS BLOB) IS CAST(o.type AS BLOB) "
                                    "AND quote(m.at) = quote(o.at) AND typeof(m.at) = typeof(o.at) "
                                    "AND CAST(m.at AS BLOB) IS CAST(o.at AS BLOB) "
                                    "AND quote(m.payload) = quote(o.payload) AND typeof(m.payload) = typeof(o.payload) "
                                    "AND CAST(m.payload AS BLOB) IS CAST(o.payload AS BLOB)"),
                     app_number(db, "SELECT count(*) FROM baton_events"));
        cr_assert_eq(app_number(db, "SELECT count(*) FROM main.baton_checkpoint m JOIN other.baton_checkpoint o USING "
                                    "(session, position, anchor, event_count, digest_sum, parked_count)"),
                     1);
        sqlite3_close(db);
}

/* Against the source itself: what came is what was there. */
static void compare_with_source(const char *a, const char *source) {
        sqlite3 *db = app_open(a);

        app_run(db, "ATTACH '%s' AS s", path_of(source));
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events e JOIN s.outbox o ON e.position = o.seq "
                                    "WHERE typeof(e.key) = typeof(o.key) AND CAST(e.key AS BLOB) IS CAST(o.key AS BLOB) "
                                    "AND typeof(e.type) = typeof(o.type) AND CAST(e.type AS BLOB) IS CAST(o.type AS BLOB) "
                                    "AND typeof(e.at) = typeof(o.at) AND CAST(e.at AS BLOB) IS CAST(o.at AS BLOB) "
                                    "AND typeof(e.payload) = typeof(o.payload) "
                                    "AND CAST(e.payload AS BLOB) IS CAST(o.payload AS BLOB)"),
                     app_number(db, "SELECT count(*) FROM s.outbox WHERE seq > 0"));
        sqlite3_close(db);
}

static void differ(uint32_t rows, uint64_t bytes) {
        const struct batch_limits limits = limits_of(rows, bytes);
        struct checkpoint by_row = { 0 }, by_fused = { 0 };
        struct destination_session *s, *t;
        struct destination *d, *e;
        struct source *source;
        struct moved moved;
        bool more = true;
        sqlite3 *app;

        find_ops();
        app = app_open("app.db");
        app_run(app, "PRAGMA journal_mode = WAL");
        fill_with_everything(app);

        source = source_get("app.db", "");
        d = destination_get("row.db");
        s = take_over(d, 1, &by_row);
        while (more)
                row_pass(source, d, s, &by_row, &limits, &more);

        e = destination_get("fused.db");
        t = take_over(e, 1, &by_fused);
        must(attach(t, "app.db", failure));
        do
                fused_pass(e, t, &by_fused, &limits, &moved);
        while (moved.more || moved.event_count > 0);

        cr_assert_eq(by_row.position, INT64_MAX);
        cr_assert_eq(by_row.position, by_fused.position);
        cr_assert_eq(by_row.anchor, by_fused.anchor);
        cr_assert_eq(by_row.digest_sum, by_fused.digest_sum);
        cr_assert_eq(by_row.event_count, by_fused.event_count);

        dst->session_close(s);
        dst->session_close(t);
        dst->close(d);
        dst->close(e);
        src->close(source);
        compare_tables("row.db", "fused.db");
        compare_with_source("row.db", "app.db");
        compare_with_source("fused.db", "app.db");
        sqlite3_close(app);
}

Test(sqlite_fused, m13_equals_row_path_in_one_batch) {
        differ(10000, 64 << 20);
}

Test(sqlite_fused, m13_equals_row_path_in_small_batches) {
        differ(7, 64 << 20);
}

Test(sqlite_fused, m13_equals_row_path_where_bytes_limit) {
        differ(10000, 100000); /* many events are larger: they go alone */
}
