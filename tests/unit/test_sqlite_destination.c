/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite destination: its tables, the fence (M2), the checkpoint in the events' transaction (M1),
 * parked events (M6), and what it refuses. */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "tests/unit/sqlite_fixture.h"

static const struct destination_ops *dst;

static void setup(void) {
        fixture_setup();
        dst = destination_ops_find("sqlite");
}

TestSuite(sqlite_destination, .init = setup, .fini = fixture_teardown);

static struct destination_session *session_get(struct destination *destination, const char *name) {
        struct destination_session *session;

        must(dst->session_open(destination, name, &session, failure));
        return session;
}

static void begin(struct destination *destination, struct destination_session *session) {
        must(dst->begin(destination, failure));
        must(dst->session_begin(session, failure));
}

static bool fence(struct destination_session *session, uint64_t epoch, struct checkpoint *ret_checkpoint) {
        bool found, tail = true;

        must(dst->fence(session, epoch, ret_checkpoint, &found, &tail, failure));
        cr_assert_not(tail);
        return found;
}

static void end(struct destination *destination, struct destination_session *session,
                struct checkpoint *checkpoint) {
        must(dst->session_end(session, checkpoint, failure));
        must(dst->commit(destination, failure));
}

static struct event event_at(uint64_t position) {
        return (struct event){
                .position = position,
                .key = { .type = VALUE_TEXT, .bytes = 3, .data = "key" },
                .payload = { .type = VALUE_INTEGER, .integer = (int64_t) position * 10 },
        };
}

/* ---- tables ---------------------------------------------------------------------------------- */

Test(sqlite_destination, tables_are_made_once) {
        struct destination *destination = destination_get("out.db");
        sqlite3 *db;

        dst->close(destination);
        destination = destination_get("out.db");
        cr_assert_not(dst->is_stale(destination));
        dst->close(destination);
        db = app_open("out.db");
        cr_assert_eq(app_number(db, "SELECT value FROM baton_meta WHERE name = 'schema_version'"), 1);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), 4);
        cr_assert_eq(app_number(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
        cr_assert_eq(app_number(db,
                                "SELECT count(*) FROM pragma_table_info('baton_events') WHERE type <> ''"),
                     0);
        sqlite3_close(db);
}

Test(sqlite_destination, two_workers_may_make_the_tables_at_once) {
        pid_t children[6];
        sqlite3 *db;
        int status;

        for (int i = 0; i < 6; i++) {
                children[i] = fork();
                if (children[i] == 0) {
                        struct failure failure = { 0 };
                        struct destination *destination;

                        if (destination_try("out.db", "", fixture_instance, &destination, &failure) < 0) {
                                (void) fprintf(stderr, "%s\n", failure.text);
                                _exit(1);
                        }
                        dst->close(destination);
                        _exit(0);
                }
        }
        for (int i = 0; i < 6; i++) {
                cr_assert_eq(waitpid(children[i], &status, 0), children[i]);
                cr_assert_eq(status, 0);
        }
        db = app_open("out.db");
        cr_assert_eq(app_number(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), 4);
        sqlite3_close(db);
}

static void refuse(const char *name, const char *query, int r, const char *says) {
        struct destination *destination = NULL;
        struct failure failure = { 0 };

        cr_assert_eq(destination_try(name, query, fixture_instance, &destination, &failure), r, "%s",
                     failure.text);
        cr_assert_eq(failure.kind, FAILURE_STOP, "%s", failure.text);
        cr_assert_not_null(strstr(failure.text, says), "%s", failure.text);
}

Test(sqlite_destination, tables_of_somebody_else_stop) {
        sqlite3 *db = app_open("out.db");

        app_run(db,
                "CREATE TABLE baton_events (a, b); CREATE TABLE near (session, position, key, type, at, payload)");
        refuse("out.db", "", -EEXIST, "not Baton's");
        refuse("out.db", "?table=near", -EEXIST, "not Baton's"); /* no primary key: twice would be possible */
        refuse("out.db", "?table=Baton_Meta", -EINVAL, "Baton's own");
        cr_assert_eq(app_number(db, "SELECT count(*) FROM sqlite_schema"), 2);
        sqlite3_close(db);
}

Test(sqlite_destination, other_schema_version_stops) {
        struct destination *destination = destination_get("out.db");
        sqlite3 *db;

        dst->close(destination);
        refuse("out.db", "?table=second", -EINVAL, "already");
        db = app_open("out.db");
        app_run(db, "UPDATE baton_meta SET value = 2 WHERE name = 'schema_version'");
        refuse("out.db", "", -EPROTONOSUPPORT, "schema version 2");
        sqlite3_close(db);
}

Test(sqlite_destination, text_encoding_must_keep_bytes) {
        sqlite3 *db = app_open("out.db");

        app_run(db, "PRAGMA encoding = 'UTF-16'; CREATE TABLE x (y)");
        refuse("out.db", "", -EINVAL, "UTF-8");
        sqlite3_close(db);
}

Test(sqlite_destination, file_that_is_no_database_stops) {
        FILE *file = fopen(path_of("out.db"), "w");

        for (int i = 0; i < 1000; i++)
                (void) fputs("this is a text, no database\n", file);
        (void) fclose(file);
        refuse("out.db", "", -EBADMSG, "no SQLite database");
}

Test(sqlite_destination, unreachable_is_unavailable) {
        struct destination *destination;
        struct failure failure = { 0 };

        cr_assert_lt(destination_try("no/such/out.db", "", fixture_instance, &destination, &failure), 0);
        cr_assert_eq(failure.kind, FAILURE_UNAVAILABLE, "%s", failure.text);
}

Test(sqlite_destination, stale_when_replaced) {
        struct destination *destination = destination_get("out.db");

        cr_assert_eq(rename(path_of("out.db"), path_of("old.db")), 0);
        cr_assert(dst->is_stale(destination));
        dst->close(destination);
}

/* ---- fence and checkpoint -------------------------------------------------------------------- */

Test(sqlite_destination, m2_fence_makes_raises_and_reads) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        struct checkpoint checkpoint = { 0 };
        sqlite3 *db = app_open("out.db");

        begin(destination, session);
        cr_assert_not(fence(session, 7, &checkpoint));
        cr_assert_eq(checkpoint.epoch, 7);
        cr_assert_eq(checkpoint.position, 0);
        cr_assert_str_eq(checkpoint.session, "orders");
        cr_assert_str_eq(checkpoint.source_identity, "");
        cr_assert_eq(memcmp(checkpoint.instance, fixture_instance, INSTANCE_BYTES), 0);
        checkpoint.position = 41;
        checkpoint.anchor = UINT64_MAX - 3;
        checkpoint.digest_sum = UINT64_C(0x8000000000000001);
        checkpoint.event_count = 40;
        checkpoint.parked_count = 2;
        (void) strcpy(checkpoint.source_identity, "ino=1;btime=2");
        end(destination, session, &checkpoint);
        cr_assert_eq(app_number(db, "SELECT anchor FROM baton_checkpoint"), -4);

        begin(destination, session);
        memset(&checkpoint, 0, sizeof checkpoint);
        cr_assert(fence(session, UINT64_C(9) << 60, &checkpoint));
        cr_assert_eq(checkpoint.epoch, UINT64_C(9) << 60);
        cr_assert_eq(checkpoint.position, 41);
        cr_assert_eq(checkpoint.anchor, UINT64_MAX - 3);
        cr_assert_eq(checkpoint.digest_sum, UINT64_C(0x8000000000000001));
        cr_assert_eq(checkpoint.event_count, 40);
        cr_assert_eq(checkpoint.parked_count, 2);
        cr_assert_str_eq(checkpoint.source_identity, "ino=1;btime=2");
        end(destination, session, &checkpoint);
        cr_assert_eq(app_number(db, "SELECT fence_count FROM baton_checkpoint"), 2);
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_destination, m2_lower_epoch_is_fenced_and_told_the_row) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        struct checkpoint checkpoint;
        bool found, tail;

        begin(destination, session);
        (void) fence(session, 7, &checkpoint);
        checkpoint.position = 5;
        end(destination, session, &checkpoint);
        begin(destination, session);
        memset(&checkpoint, 0, sizeof checkpoint);
        must_fail(dst->fence(session, 6, &checkpoint, &found, &tail, failure), -ESTALE, FAILURE_FENCED);
        cr_assert_eq(checkpoint.epoch, 7);
        cr_assert_eq(checkpoint.position, 5);
        dst->session_rollback(session);
        dst->rollback(destination);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_destination, m2_a_dead_owners_late_batch_is_fenced) {
        struct destination *old = destination_get("out.db"), *heir = destination_get("out.db");
        struct destination_session *a = session_get(old, "orders"), *b = session_get(heir, "orders");
        struct checkpoint ours, theirs;
        struct event event = event_at(1);
        sqlite3 *db = app_open("out.db");

        begin(old, a);
        (void) fence(a, 1, &ours);
        end(old, a, &ours);
        begin(heir, b);
        (void) fence(b, 2, &theirs);
        end(heir, b, &theirs);

        begin(old, a);
        must(dst->put(a, &event, failure));
        ours.position = 1;
        must_fail(dst->session_end(a, &ours, failure), -ESTALE, FAILURE_FENCED);
        dst->session_rollback(a);
        must(dst->commit(old, failure));
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"), 0);
        cr_assert_eq(app_number(db, "SELECT epoch FROM baton_checkpoint"), 2);
        sqlite3_close(db);
        dst->session_close(a);
        dst->session_close(b);
        dst->close(old);
        dst->close(heir);
}

/* A backup of this very ownership, restored by SQLite's own means while the file is open, has our epoch. */
Test(sqlite_destination, m1_a_checkpoint_set_back_under_its_owner_is_fenced) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        struct checkpoint checkpoint;
        sqlite3 *db = app_open("out.db");
        struct event event = event_at(1);

        begin(destination, session);
        (void) fence(session, 7, &checkpoint);
        must(dst->put(session, &event, failure));
        checkpoint.position = 1;
        end(destination, session, &checkpoint);

        /* What is rolled back after session_end() does not count as left there. */
        begin(destination, session);
        event.position = checkpoint.position = 2;
        must(dst->put(session, &event, failure));
        must(dst->session_end(session, &checkpoint, failure));
        dst->rollback(destination);
        begin(destination, session);
        must(dst->put(session, &event, failure));
        end(destination, session, &checkpoint);

        app_run(db, "DELETE FROM baton_events WHERE position > 1; UPDATE baton_checkpoint SET position = 1");
        begin(destination, session);
        event.position = checkpoint.position = 3;
        must(dst->put(session, &event, failure));
        must_fail(dst->session_end(session, &checkpoint, failure), -ESTALE, FAILURE_FENCED);
        dst->session_rollback(session);
        dst->rollback(destination);
        cr_assert_eq(app_number(db, "SELECT max(position) FROM baton_events"), 1);
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_destination, m1_another_instance_stops) {
        const uint8_t other_instance[INSTANCE_BYTES] = { 99 };
        struct destination *destination = destination_get("out.db"), *other;
        struct destination_session *session = session_get(destination, "orders");
        struct failure failure = { 0 };
        struct checkpoint checkpoint;
        bool found, tail;

        begin(destination, session);
        (void) fence(session, 1, &checkpoint);
        end(destination, session, &checkpoint);
        dst->session_close(session);
        dst->close(destination);

        cr_assert_eq(destination_try("out.db", "", other_instance, &other, &failure), 0, "%s", failure.text);
        session = session_get(other, "orders");
        begin(other, session);
        must_fail(dst->fence(session, 5, &checkpoint, &found, &tail, failure), -EEXIST, FAILURE_STOP);
        dst->session_rollback(session);
        dst->rollback(other);
        dst->session_close(session);
        dst->close(other);
}

Test(sqlite_destination, edited_checkpoint_stops) {
        static const char *const edits[] = { "position = -1", "instance = 'short'", "instance = 5",
                                             "source_identity = printf('%100d', 1)" };
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        sqlite3 *db = app_open("out.db");
        struct checkpoint checkpoint;
        bool found, tail;

        for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
                app_run(db, "DELETE FROM baton_checkpoint");
                begin(destination, session);
                (void) fence(session, 1, &checkpoint);
                end(destination, session, &checkpoint);
                app_run(db, "UPDATE baton_checkpoint SET %s", edits[i]);
                begin(destination, session);
                must_fail(dst->fence(session, 2, &checkpoint, &found, &tail, failure), -EBADMSG,
                          FAILURE_STOP);
                dst->session_rollback(session);
                dst->rollback(destination);
        }
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
}

/* ---- events ---------------------------------------------------------------------------------- */

Test(sqlite_destination, m1_sessions_share_a_transaction_each_under_its_savepoint) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *a = session_get(destination, "a"), *b = session_get(destination, "b");
        struct checkpoint of_a, of_b;
        struct event event = event_at(1);
        sqlite3 *db = app_open("out.db");

        must(dst->begin(destination, failure));
        must(dst->session_begin(a, failure));
        (void) fence(a, 1, &of_a);
        must(dst->put(a, &event, failure));
        of_a.position = 1;
        must(dst->session_end(a, &of_a, failure));
        must(dst->session_begin(b, failure));
        (void) fence(b, 1, &of_b);
        must(dst->put(b, &event, failure));
        dst->session_rollback(b);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"), 0); /* not before commit */
        must(dst->commit(destination, failure));
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events WHERE session = 'a'"), 1);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_checkpoint"), 1);

        must(dst->begin(destination, failure));
        must(dst->session_begin(b, failure));
        (void) fence(b, 1, &of_b);
        must(dst->put(b, &event, failure)); /* the bound name follows the session */
        must(dst->session_end(b, &of_b, failure));
        dst->rollback(destination);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_checkpoint"), 1);
        sqlite3_close(db);
        dst->session_close(a);
        dst->session_close(b);
        dst->close(destination);
}

Test(sqlite_destination, m6_rejected_event_is_parked_in_the_same_transaction) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        struct event good = event_at(1), bad = event_at(2), ignored = event_at(3);
        struct checkpoint checkpoint;
        sqlite3 *db = app_open("out.db");

        app_run(db,
                "CREATE TRIGGER t BEFORE INSERT ON baton_events WHEN new.position > 1 BEGIN "
                "SELECT CASE new.position WHEN 2 THEN raise(ABORT, 'too much') ELSE raise(IGNORE) END; END");
        begin(destination, session);
        (void) fence(session, 4, &checkpoint);
        must(dst->put(session, &good, failure));
        must_fail(dst->put(session, &bad, failure), -EINVAL, FAILURE_REJECTED);
        must(dst->park(session, &bad, "too much", failure));
        must_fail(dst->put(session, &ignored, failure), -EINVAL, FAILURE_REJECTED);
        must(dst->park(session, &ignored, "ignored", failure));
        checkpoint.position = 3;
        checkpoint.parked_count = 2;
        end(destination, session, &checkpoint);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"), 1);
        cr_assert_eq(
                app_number(db, "SELECT count(*) FROM baton_parked WHERE position = 2 AND reason = 'too much' "
                               "AND epoch = 4 AND key = 'key' AND typeof(type) = 'null' AND payload = 20 "
                               "AND parked_at LIKE '20__-__-__T%%Z'"),
                1);
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
}

/* The transaction is gone: what is put or parked then would be committed at once, and the rest missing. */
Test(sqlite_destination, m1_nothing_is_stored_after_a_trigger_rolled_back) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        struct event first = event_at(1), second = event_at(2), third = event_at(3);
        struct checkpoint checkpoint;
        sqlite3 *db = app_open("out.db");

        begin(destination, session);
        (void) fence(session, 1, &checkpoint);
        end(destination, session, &checkpoint);
        app_run(db, "CREATE TRIGGER no BEFORE INSERT ON baton_events WHEN NEW.position = 2 "
                    "BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END");
        begin(destination, session);
        must(dst->put(session, &first, failure));
        must_fail(dst->put(session, &second, failure), -ECANCELED, FAILURE_STOP);
        must_fail(dst->park(session, &second, "rejected", failure), -EAGAIN, FAILURE_UNAVAILABLE);
        must_fail(dst->put(session, &third, failure), -EAGAIN, FAILURE_UNAVAILABLE);
        dst->session_rollback(session);
        dst->rollback(destination);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"), 0);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_parked"), 0);
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_destination, m6_user_triggers_may_follow) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        struct event event = event_at(1);
        struct checkpoint checkpoint;
        sqlite3 *db = app_open("out.db");

        app_run(db, "CREATE TABLE seen (position); CREATE TRIGGER t AFTER INSERT ON baton_events BEGIN "
                    "INSERT INTO seen VALUES (new.position), (new.position); END");
        begin(destination, session);
        (void) fence(session, 1, &checkpoint);
        must(dst->put(session, &event, failure));
        end(destination, session, &checkpoint);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM seen"), 2);
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
}

Test(sqlite_destination, m1_an_event_above_the_checkpoint_stops) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        struct event event = event_at(1);
        struct checkpoint checkpoint;
        sqlite3 *db = app_open("out.db");

        begin(destination, session);
        (void) fence(session, 1, &checkpoint);
        must(dst->put(session, &event, failure));
        end(destination, session, &checkpoint); /* the position was set back, as by an editor */
        begin(destination, session);
        must_fail(dst->put(session, &event, failure), -EEXIST, FAILURE_STOP);
        dst->session_rollback(session);
        dst->rollback(destination);
        cr_assert_eq(app_number(db, "SELECT count(*) FROM baton_events"), 1);
        sqlite3_close(db);
        dst->session_close(session);
        dst->close(destination);
}

/* ---- locks ----------------------------------------------------------------------------------- */

Test(sqlite_destination, begin_takes_the_write_lock) {
        struct destination *destination = destination_get("out.db");
        sqlite3 *db = app_open("out.db");

        (void) sqlite3_busy_timeout(db, 0);
        must(dst->begin(destination, failure));
        cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_BUSY);
        dst->rollback(destination);
        cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        dst->close(destination);
}

static bool give_up(void *context) {
        return ++*(unsigned *) context > 10;
}

Test(sqlite_destination, s3_waiting_for_the_lock_pulses_and_can_be_ended) {
        struct destination_config config = { .name = "events",
                                             .instance = fixture_instance,
                                             .pulse = give_up };
        sqlite3 *db = app_open("out.db");
        struct destination *destination;
        struct place place;
        unsigned pulses = 0;

        place_set(&place, destination_schemes, "sqlite:%s", path_of("out.db"));
        config.url = &place.url;
        config.scheme = place.scheme;
        config.pulse_context = &pulses;
        must(dst->open(&config, &destination, failure));
        app_run(db, "BEGIN IMMEDIATE");
        must_fail(dst->begin(destination, failure), -ECANCELED, FAILURE_UNAVAILABLE);
        cr_assert_eq(pulses, 11);
        app_run(db, "COMMIT");
        must(dst->begin(destination, failure));
        dst->rollback(destination);
        sqlite3_close(db);
        dst->close(destination);
}

static void *release_later(void *context) {
        const struct timespec span = { .tv_nsec = 30 * 1000 * 1000 };

        (void) nanosleep(&span, NULL);
        app_run(context, "COMMIT");
        return NULL;
}

Test(sqlite_destination, begin_waits_for_another_worker) {
        struct destination *destination = destination_get("out.db");
        sqlite3 *db = app_open("out.db");
        pthread_t thread;

        app_run(db, "BEGIN IMMEDIATE");
        cr_assert_eq(pthread_create(&thread, NULL, release_later, db), 0);
        must(dst->begin(destination, failure));
        dst->rollback(destination);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        sqlite3_close(db);
        dst->close(destination);
}

Test(sqlite_destination, wal_is_checkpointed_and_stays_small) {
        struct destination *destination = destination_get("out.db");
        struct destination_session *session = session_get(destination, "orders");
        static uint8_t blob[100000];
        struct checkpoint checkpoint;
        FILE *wal;

        begin(destination, session);
        (void) fence(session, 1, &checkpoint);
        end(destination, session, &checkpoint);
        for (uint64_t i = 1; i <= 40; i++) {
                begin(destination, session);
                for (uint64_t k = 0; k < 10; k++) {
                        struct event event = { .position = i * 10 + k };

                        event.payload = (struct event_value){ .type = VALUE_BLOB,
                                                              .bytes = sizeof blob,
                                                              .data = blob };
                        must(dst->put(session, &event, failure));
                        checkpoint.position = event.position;
                }
                end(destination, session, &checkpoint);
        }
        wal = fopen(path_of("out.db-wal"), "r");
        cr_assert_not_null(wal);
        cr_assert_eq(fseek(wal, 0, SEEK_END), 0);
        cr_assert_lt(ftell(wal), 12 << 20); /* of 40 MB that were written */
        (void) fclose(wal);
        dst->session_close(session);
        dst->close(destination);
        cr_assert_neq(access(path_of("out.db-wal"), F_OK), 0); /* the last to leave tidies up */
}
