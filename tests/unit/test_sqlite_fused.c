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
static void row_pass(struct source *source, struct destination *destination,
                     struct destination_session *session, struct checkpoint *checkpoint,
                     const struct batch_limits *limits, bool *ret_more) {
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
                       struct checkpoint *checkpoint, const struct batch_limits *limits,
                       struct moved *ret_moved) {
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
                "NULL",
                "0",
                "-1",
                "9223372036854775807",
                "-9223372036854775808",
                "1.5",
                "-0.0",
                "9e999",
                "-9e999",
                "1e300",
                "3.0",
                "''",
                "'plain'",
                "'1'",
                "'1.0'",
                "CAST(x'610062' AS TEXT)",
                "CAST(x'fffe80' AS TEXT)",
                "CAST(x'00' AS TEXT)",
                "x''",
                "x'00ff00'",
                "x'31'",
                "zeroblob(300000)",
                "hex(zeroblob(70000))",
                "CAST(zeroblob(5000) AS TEXT)",
        };
        const size_t n = sizeof values / sizeof *values;

        app_run(db, "CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, key, type, at, payload)");
        for (size_t i = 0; i < n * 3; i++)
                app_run(db, "INSERT INTO outbox VALUES (%zu, %s, %s, %s, %s)", i * i + 1, values[i % n],
                        values[(i + i / n) % n], values[(i * 7 + 3) % n], values[(n - 1 - i % n)]);
        app_run(db,
                "INSERT INTO outbox VALUES (9223372036854775807, 'last', 1, 2, 3), (-5, 'never', 1, 2, 3)");
}

static void compare_tables(const char *a, const char *b) {
        sqlite3 *db = app_open(a);

        app_run(db, "ATTACH '%s' AS other", path_of(b));
        cr_assert(app_number(db, "SELECT count(*) FROM baton_events") > 0);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"),
                     app_number(db, "SELECT count(*) FROM other.baton_events"));
        /* quote() writes a value with its class, to the last byte; a text that holds a NUL is compared as
         * a blob as well, because quote() ends there. */
        cr_assert_eq(
                app_number(
                        db,
                        "SELECT count(*) FROM main.baton_events m JOIN other.baton_events o ON m.rowid = o.rowid "
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
        cr_assert_eq(
                app_number(db,
                           "SELECT count(*) FROM main.baton_checkpoint m JOIN other.baton_checkpoint o USING "
                           "(session, position, anchor, event_count, digest_sum, parked_count)"),
                1);
        sqlite3_close(db);
}

/* Against the source itself: what came is what was there. */
static void compare_with_source(const char *a, const char *source) {
        sqlite3 *db = app_open(a);

        app_run(db, "ATTACH '%s' AS s", path_of(source));
        cr_assert_eq(
                app_number(
                        db,
                        "SELECT count(*) FROM baton_events e JOIN s.outbox o ON e.position = o.seq "
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

/* ---- limits ---------------------------------------------------------------------------------- */

static struct moved move_once(struct destination *destination, struct destination_session *session,
                              struct checkpoint *checkpoint, uint32_t rows, uint64_t bytes) {
        const struct batch_limits limits = limits_of(rows, bytes);
        struct moved moved;

        fused_pass(destination, session, checkpoint, &limits, &moved);
        return moved;
}

Test(sqlite_fused, batch_limits_are_kept) {
        struct destination_session *session;
        struct checkpoint checkpoint = { 0 };
        struct destination *destination;
        struct batch_limits limits;
        struct moved moved;
        sqlite3 *app;

        find_ops();
        app = app_outbox("app.db");
        app_fill(app, 5000);
        app_run(app, "UPDATE outbox SET payload = zeroblob(20000) WHERE seq = 3000;"
                     "UPDATE outbox SET payload = zeroblob(50000) WHERE seq > 4995");
        destination = destination_get("out.db");
        session = take_over(destination, 1, &checkpoint);
        must(attach(session, "app.db", failure));

        moved = move_once(destination, session, &checkpoint, 10, 1 << 20);
        cr_assert_eq(moved.event_count, 10);
        cr_assert(moved.more);
        moved = move_once(destination, session, &checkpoint, 10000, 1000);
        cr_assert_leq(moved.payload_bytes, 1000);
        cr_assert_gt(moved.event_count, 5);
        cr_assert(moved.more);
        limits = (struct batch_limits){ .rows = 10000, .bytes = 1 << 20, .deadline_usec = 0 };
        fused_pass(destination, session, &checkpoint, &limits, &moved);
        cr_assert_gt(moved.event_count, 0); /* a deadline that has passed: one piece, not none */
        cr_assert_lt(moved.event_count, 2000);
        cr_assert(moved.more);
        while (checkpoint.position < 4995) {
                moved = move_once(destination, session, &checkpoint, 10000, 10000);
                cr_assert(moved.event_count > 0);
                cr_assert(moved.payload_bytes <= 10000 || moved.event_count == 1);
        }
        for (uint64_t seq = 4996; seq <= 5000; seq++) {
                moved = move_once(destination, session, &checkpoint, 10000, 10000);
                cr_assert_eq(moved.event_count, 1); /* each is larger than the limit: alone */
                cr_assert_eq(moved.last_position, seq);
        }
        moved = move_once(destination, session, &checkpoint, 10000, 10000);
        cr_assert_eq(moved.event_count, 0);
        cr_assert_not(moved.more);
        cr_assert_eq(moved.last_position, 5000);
        dst->session_close(session);
        dst->close(destination);
        compare_with_source("out.db", "app.db");
        sqlite3_close(app);
}

static bool count_pulse(void *context) {
        ++*(unsigned *) context;
        return false;
}

Test(sqlite_fused, s3_pulses_between_pieces) {
        struct destination_config config = { .name = "events",
                                             .instance = fixture_instance,
                                             .pulse = count_pulse };
        struct destination_session *session;
        struct checkpoint checkpoint = { 0 };
        struct destination *destination;
        struct place place;
        unsigned pulses = 0;
        sqlite3 *app;

        find_ops();
        app = app_outbox("app.db");
        app_fill(app, 10000);
        place_set(&place, destination_schemes, "sqlite:%s", path_of("out.db"));
        config.url = &place.url;
        config.scheme = place.scheme;
        config.pulse_context = &pulses;
        must(dst->open(&config, &destination, failure));
        session = take_over(destination, 1, &checkpoint);
        must(attach(session, "app.db", failure));
        cr_assert_eq(move_once(destination, session, &checkpoint, 10000, 64 << 20).event_count, 10000);
        cr_assert_geq(pulses, 5);
        dst->session_close(session);
        dst->close(destination);
        sqlite3_close(app);
}

/* ---- what cannot be fused -------------------------------------------------------------------- */

Test(sqlite_fused, pairs_that_cannot_be_fused) {
        struct destination_session *session, *sessions[10], *eleventh;
        struct checkpoint checkpoint;
        struct destination *destination;
        sqlite3 *app, *wide, *plain;
        char name[16];

        find_ops();
        destination = destination_get("out.db");
        session = take_over(destination, 1, &checkpoint);
        must_fail(attach(session, "none.db", failure), -ENOENT, FAILURE_UNAVAILABLE);

        plain = app_open("plain.db");
        app_run(plain, "CREATE TABLE outbox (" OUTBOX_COLUMNS ")");
        must_fail(attach(session, "plain.db", failure), -EOPNOTSUPP, FAILURE_UNAVAILABLE); /* M12 */
        wide = app_open("wide.db");
        app_run(wide,
                "PRAGMA encoding = 'UTF-16'; PRAGMA journal_mode = WAL; CREATE TABLE outbox (" OUTBOX_COLUMNS
                ")");
        must_fail(attach(session, "wide.db", failure), -EOPNOTSUPP, FAILURE_UNAVAILABLE);
        app = app_outbox("app.db");
        app_run(app, "CREATE TABLE other (a)");
        app_run(app, "ALTER TABLE outbox RENAME TO elsewhere");
        must_fail(attach(session, "app.db", failure), -EINVAL, FAILURE_STOP);
        app_run(app, "ALTER TABLE elsewhere RENAME TO outbox");

        /* A failed attempt keeps no attachment: all ten are free. */
        for (int i = 0; i < 10; i++) {
                (void) snprintf(name, sizeof name, "s%d", i);
                must(dst->session_open(destination, name, &sessions[i], failure));
                must(attach(sessions[i], "app.db", failure));
        }
        must_fail(attach(session, "app.db", failure), -EBUSY, FAILURE_UNAVAILABLE);
        dst->fused_close(sessions[4]);
        must(attach(session, "app.db", failure));
        must(dst->session_open(destination, "eleventh", &eleventh, failure));
        must_fail(attach(eleventh, "app.db", failure), -EBUSY, FAILURE_UNAVAILABLE);
        for (int i = 0; i < 10; i++)
                dst->session_close(sessions[i]);
        dst->session_close(eleventh);
        dst->session_close(session);
        dst->close(destination);
        sqlite3_close(app);
        sqlite3_close(wide);
        sqlite3_close(plain);
}

/* ---- safeguards ------------------------------------------------------------------------------ */

Test(sqlite_fused, m4_another_file_under_the_path_is_not_moved_from) {
        const struct batch_limits limits = limits_of(100, 1 << 20);
        struct destination_session *session;
        struct checkpoint checkpoint = { 0 };
        struct destination *destination;
        struct moved moved;
        sqlite3 *app, *other, *db;

        find_ops();
        app = app_outbox("app.db");
        app_fill(app, 10);
        destination = destination_get("out.db");
        session = take_over(destination, 1, &checkpoint);
        must(attach(session, "app.db", failure));
        cr_assert_eq(move_once(destination, session, &checkpoint, 5, 1 << 20).event_count, 5);

        /* Replaced while it is attached. */
        cr_assert_eq(rename(path_of("app.db"), path_of("old.db")), 0);
        cr_assert_eq(rename(path_of("app.db-wal"), path_of("old.db-wal")), 0);
        cr_assert_eq(rename(path_of("app.db-shm"), path_of("old.db-shm")), 0);
        other = app_outbox("app.db");
        app_fill(other, 10);
        app_run(other, "UPDATE outbox SET payload = 'another'");
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must_fail(dst->fused_move(session, 5, &limits, &moved, failure), -ESTALE, FAILURE_UNAVAILABLE);
        dst->session_rollback(session);
        dst->rollback(destination);

        /* Attached anew: the anchor tells. */
        dst->fused_close(session);
        must(attach(session, "app.db", failure));
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must_fail(dst->fused_move(session, 5, &limits, &moved, failure), -ESTALE, FAILURE_IDENTITY);
        dst->session_rollback(session);
        dst->rollback(destination);
        db = app_open("out.db");
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"), 5);
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
        sqlite3_close(other);
        sqlite3_close(app);
}

Test(sqlite_fused, m4_a_backup_restored_between_two_moves_is_not_moved_from) {
        const struct batch_limits limits = limits_of(100, 1 << 20);
        struct destination_session *session;
        struct checkpoint checkpoint = { 0 };
        struct destination *destination;
        struct moved moved;
        sqlite3 *app;

        find_ops();
        app = app_outbox("app.db");
        app_fill(app, 10);
        destination = destination_get("out.db");
        session = take_over(destination, 1, &checkpoint);
        must(attach(session, "app.db", failure));
        cr_assert_eq(move_once(destination, session, &checkpoint, 5, 1 << 20).event_count, 5);
        app_run(app, "UPDATE outbox SET payload = 'restored ' || seq"); /* the same file, the same numbers */
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must_fail(dst->fused_move(session, 5, &limits, &moved, failure), -ESTALE, FAILURE_IDENTITY);
        dst->session_rollback(session);
        dst->rollback(destination);
        dst->session_close(session);
        dst->close(destination);
        sqlite3_close(app);
}

Test(sqlite_fused, m12_the_application_writes_while_we_move) {
        const struct batch_limits limits = limits_of(100, 1 << 20);
        struct destination_session *session;
        struct checkpoint checkpoint = { 0 };
        struct destination *destination;
        struct moved moved;
        sqlite3 *app;

        find_ops();
        app = app_outbox("app.db");
        (void) sqlite3_busy_timeout(app, 0);
        app_fill(app, 10);
        destination = destination_get("out.db");
        session = take_over(destination, 1, &checkpoint);
        must(attach(session, "app.db", failure));
        must(dst->begin(destination, failure));
        app_fill(app, 1);
        must(dst->session_begin(session, failure));
        must(dst->fused_move(session, 0, &limits, &moved, failure));
        app_fill(app, 1);
        must(dst->fused_sync(session, failure));
        checkpoint.position = moved.last_position;
        checkpoint.anchor = moved.last_digest;
        must(dst->session_end(session, &checkpoint, failure));
        app_fill(app, 1);
        must(dst->commit(destination, failure));
        cr_assert_eq(moved.event_count, 11);
        /* No read transaction is left behind: the application can empty its -wal. */
        cr_assert_eq(app_number(app, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
        dst->session_close(session);
        dst->close(destination);
        sqlite3_close(app);
}

Test(sqlite_fused, m12_a_broken_source_does_not_hold_the_destination_up) {
        struct destination_session *session;
        struct checkpoint checkpoint = { 0 };
        struct destination *destination;
        sqlite3 *app;

        find_ops();
        app = app_outbox("app.db");
        app_fill(app, 10);
        destination = destination_get("out.db");
        session = take_over(destination, 1, &checkpoint);
        must(attach(session, "app.db", failure));
        app_run(app, "PRAGMA locking_mode = EXCLUSIVE");
        sqlite3_close(app);
        cr_assert_eq(truncate(path_of("app.db"), 100), 0);
        cr_assert_eq(unlink(path_of("app.db-wal")), 0);
        must(dst->begin(destination, failure)); /* BEGIN IMMEDIATE would have read the source */
        dst->rollback(destination);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_fused, m6_a_row_that_a_trigger_drops_sends_to_the_row_path) {
        const struct batch_limits limits = limits_of(100, 1 << 20);
        struct destination_session *session;
        struct checkpoint checkpoint = { 0 };
        struct destination *destination;
        struct moved moved;
        sqlite3 *app, *db;

        find_ops();
        app = app_outbox("app.db");
        app_fill(app, 10);
        destination = destination_get("out.db");
        session = take_over(destination, 1, &checkpoint);
        must(attach(session, "app.db", failure));
        db = app_open("out.db");
        app_run(db, "CREATE TRIGGER t BEFORE INSERT ON baton_events WHEN new.position = 5 BEGIN "
                    "SELECT raise(IGNORE); END");
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
        must_fail(dst->fused_move(session, 0, &limits, &moved, failure), -EINVAL, FAILURE_REJECTED);
        dst->session_rollback(session);
        must(dst->commit(destination, failure));
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"), 0);

        /* A trigger that lets rows through makes SQLite collect them first: the result is the same. */
        app_run(db,
                "DROP TRIGGER t; CREATE TABLE seen (n); CREATE TRIGGER t AFTER INSERT ON baton_events BEGIN "
                "INSERT INTO seen VALUES (new.position); END");
        cr_assert_eq(move_once(destination, session, &checkpoint, 7, 1 << 20).event_count, 7);
        cr_assert_eq(move_once(destination, session, &checkpoint, 100, 1 << 20).event_count, 3);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM seen"), 10);
        cr_assert_eq(checkpoint.position, 10);
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
        compare_with_source("out.db", "app.db");
        sqlite3_close(app);
}

Test(sqlite_fused, the_function_is_not_for_others) {
        struct destination *destination;
        sqlite3 *db;

        find_ops();
        destination = destination_get("out.db");
        db = app_open("out.db");
        app_run(db,
                "CREATE TRIGGER t AFTER INSERT ON baton_events BEGIN SELECT baton_event(1, 2, 3, 4, 5); END");
        {
                struct destination_session *session;
                struct event event = { .position = 1 };
                struct failure failure = { 0 };

                must(dst->session_open(destination, "orders", &session, failure));
                must(dst->begin(destination, failure));
                must(dst->session_begin(session, failure));
                cr_assert_lt(dst->put(session, &event, &failure), 0);
                dst->session_rollback(session);
                dst->rollback(destination);
                dst->session_close(session);
        }
        sqlite3_close(db);
        dst->close(destination);
}

/* The plan that the whole path rests on: in order without a sorter, the function once for each row. */
Test(sqlite_fused, m13_plan_has_no_sorter) {
        sqlite3_stmt *statement;
        sqlite3 *db = app_open("out.db");
        bool sorts = false, searches = false;

        app_run(db,
                "CREATE TABLE baton_events (session, position, key, type, at, payload, PRIMARY KEY (session, position));"
                "ATTACH ':memory:' AS src0; CREATE TABLE src0.outbox (" OUTBOX_COLUMNS ")");
        cr_assert_eq(
                sqlite3_prepare_v2(
                        db,
                        "EXPLAIN QUERY PLAN INSERT INTO main.baton_events SELECT ?1, abs(seq), key, type, at, "
                        "payload FROM src0.outbox WHERE seq > ?2 ORDER BY seq LIMIT ?3",
                        -1, &statement, NULL),
                SQLITE_OK);
        while (sqlite3_step(statement) == SQLITE_ROW) {
                const char *detail = (const char *) sqlite3_column_text(statement, 3);

                sorts = sorts || strstr(detail, "TEMP B-TREE");
                searches = searches || strstr(detail, "USING INTEGER PRIMARY KEY (rowid>?)");
        }
        cr_assert_not(sorts);
        cr_assert(searches);
        (void) sqlite3_finalize(statement);
        sqlite3_close(db);
}
