/* SPDX-License-Identifier: Apache-2.0 */
/* M3 and M11 together: lines that an owner left beyond the record are adopted only when the source can lose
 * their events no more. The mover turned by hand, with a file destination. */
#include <pthread.h>

#include "tests/unit/worker_fixture.h"

static void setup(void) {
        fixture_scheme = "file";
        fixture_destination = "files?rotate-size=1000";
        worker_setup();
        cr_assert_eq(mkdir(path_of("files"), 0750), 0);
}

TestSuite(tail, .init = setup, .fini = worker_teardown);

/* Events that a line can hold. */
static void fill(sqlite3 *app, unsigned count) {
        for (unsigned i = 0; i < count; i++)
                app_run(app, "INSERT INTO outbox (key, payload) VALUES ('k', '{\"n\": %u}')", i);
}

static off_t lines_bytes(void) {
        struct stat st;

        cr_assert_eq(stat(path_of("files/a.000001.jsonl"), &st), 0);
        return st.st_size;
}

/* Five events are journalled, five more stand in the file alone: an owner died at worker.K4. */
static struct session *heir_of_a_tail(sqlite3 *app) {
        fill(app, 5);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        expect_phase(0, SESSION_IDLE);
        worker_leave();
        shell("cp -a state/journal before");
        worker_enter();
        fill(app, 5);
        (void) session_take(0);
        settle();
        expect_phase(0, SESSION_IDLE);
        worker_leave();
        shell("rm -rf state/journal && mv before state/journal");
        worker_enter();
        return session_take(0);
}

static struct source_ops failing_ops;

static int sync_fails(struct source *source, struct failure *ret_failure) {
        (void) source;
        return failure_set(ret_failure, -EIO, FAILURE_SYNC, "a test: the sync of the source failed");
}

Test(tail, M3_whole_lines_of_an_owner_that_died_are_adopted) {
        sqlite3 *app = app_outbox("a.db");
        off_t bytes;

        (void) heir_of_a_tail(app);
        bytes = lines_bytes();
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(status_of(0).position, 10);
        cr_assert_eq(lines_bytes(), bytes);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(tail, M11_nothing_is_adopted_that_the_source_may_still_lose) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = heir_of_a_tail(app);
        off_t bytes = lines_bytes();

        failing_ops = *session->entry->ops;
        failing_ops.sync = sync_fails;
        session->entry->ops = &failing_ops;
        settle();
        expect_phase(0, SESSION_STOPPED);
        cr_assert_eq(status_of(0).failure_kind, FAILURE_SYNC);
        cr_assert_eq(lines_bytes(), bytes, "nor is it cut: nobody knows yet");
        cr_assert_neq(session->checkpoint.position, 10, "and nothing of it is journalled");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* A thread has a life of its own (S1), so this is another worker, and the first one waits meanwhile. */
static void *another_owner(void *argument) {
        struct worker first = worker;

        (void) argument;
        urcu_memb_register_thread();
        worker_enter();
        for (unsigned batch = 0; batch < 3; batch++) {
                sqlite3 *app = app_open("a.db");

                fill(app, 15);
                cr_assert_eq(sqlite3_close(app), SQLITE_OK);
                if (batch == 0)
                        (void) session_take(0);
                session_set_ready(worker.by_slot[0]);
                settle();
        }
        worker_leave();
        urcu_memb_unregister_thread();
        worker = first;
        return NULL;
}

/* What it knew when it was the owner itself is the past: files were begun and left since. */
Test(tail, M3_an_owner_of_before_reads_the_journals_anew) {
        sqlite3 *app = app_outbox("a.db");
        pthread_t thread;

        fill(app, 5);
        (void) session_begin_on(0, "a", "a.db", "");
        settle();
        atomic_store(&worker_record(&worker)->drain_ref, worker.ref); /* it is given nothing meanwhile */
        session_hand_over(worker.by_slot[0], 0);
        cr_assert_eq(pthread_create(&thread, NULL, another_owner, NULL), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_assert_eq(access(path_of("files/a.000003.jsonl"), F_OK), 0, "it was rotated");
        fill(app, 5);
        atomic_store(&worker_record(&worker)->drain_ref, 0);
        (void) session_take(0);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(status_of(0).position, 55);
        shell("test $(cat files/a.0*.jsonl | sort -u | wc -l) = 55");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}
