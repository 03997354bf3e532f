/* SPDX-License-Identifier: Apache-2.0 */
/* P1: a supervisor that dies while it writes a session's configuration leaves the sequence odd. What was
 * known before goes on holding, for the owner and for an heir, until the next supervisor writes it whole. */
#include <pthread.h>

#include "tests/unit/worker_fixture.h"

static void teardown(void) {
        roster_free(&worker.roster);
        worker_teardown();
}

TestSuite(roster, .init = worker_setup, .fini = teardown);

static void publish(void) {
        cr_assert_eq(roster_publish(&worker.roster, worker.segment, 0), 0);
}

/* Session `a` of a source with five events, meant for this worker, which has not taken it. */
static void configure(void) {
        struct layout_config config = config_of("a", "a.db", "");
        sqlite3 *app = app_outbox("a.db");

        app_fill(app, 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        cr_assert_eq(slot_configure(segment, 0, 0, &config), 0);
        slot_assign(segment, 0, worker.ref, 0);
}

static void dies_while_it_writes(void) {
        (void) atomic_fetch_or(&segment_config(segment, 0)->sequence, 1);
        (void) memset(segment_config(segment, 0)->url, 'x', sizeof segment_config(segment, 0)->url);
}

static void writes_whole(const char *query) {
        struct layout_config config = config_of("a", "a.db", query);

        cr_assert_eq(slot_reconfigure(segment, 0, &config), 0);
}

Test(roster, P1_an_heir_runs_what_was_known_before_a_half_written_configuration) {
        configure();
        publish();
        dies_while_it_writes();
        publish();
        look_at_slot(&worker, 0);
        cr_assert_not_null(worker.by_slot[0]);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 5);
}

Test(roster, P1_the_next_supervisor_writes_it_whole) {
        configure();
        publish();
        dies_while_it_writes();
        publish();
        look_at_slot(&worker, 0);
        writes_whole("?clean-up=keep");
        publish();
        look_at_slot(&worker, 0);
        cr_assert_not_null(worker.by_slot[0]);
        cr_assert_not_null(strstr(worker.by_slot[0]->entry->config.url, "keep"));
}

/* Each look and each sweep comes by here: the session is not begun anew for what it knows already. */
Test(roster, P1_a_half_written_configuration_interrupts_no_running_session) {
        struct session *session;

        configure();
        publish();
        look_at_slot(&worker, 0);
        settle();
        session = worker.by_slot[0];
        cr_assert(session->claimed);
        dies_while_it_writes();
        publish();
        look_at_slot(&worker, 0);
        cr_assert_eq(worker.by_slot[0], session);
        cr_assert(session->claimed, "and not another at the same address");
}

/* Two writes ago is another matter: the slot may have been another session's then. */
Test(roster, P1_what_is_older_than_the_last_whole_configuration_is_not_run) {
        configure();
        publish();
        writes_whole("?clean-up=keep"); /* not seen by the roster */
        dies_while_it_writes();
        publish();
        look_at_slot(&worker, 0);
        cr_assert_null(worker.by_slot[0]);
        writes_whole("");
        look_at_slot(&worker, 0);
        cr_assert_not_null(worker.by_slot[0]);
}

/* The roster is renewed by another thread: what it does not know yet stands in the slot. */
Test(roster, P4_a_session_is_run_by_the_newest_configuration) {
        configure();
        publish();
        writes_whole("?clean-up=keep");
        look_at_slot(&worker, 0);
        cr_assert_not_null(worker.by_slot[0]);
        cr_assert_not_null(strstr(worker.by_slot[0]->entry->config.url, "keep"));
}

/* ---- two threads (S8): the control thread publishes while the mover looks up --------------------------- */

#define FINDINGS 200u /* of each */

static _Atomic uint32_t is_enough;

static void *publish_many(void *argument) {
        static const char *const queries[] = { "?clean-up=keep", "?clean-up=mark" };

        (void) argument;
        for (unsigned i = 0; !atomic_load(&is_enough); i++) {
                writes_whole(queries[i % 2]);
                publish();
        }
        return NULL;
}

/* What is found is one of the two, whole, however often it is replaced and freed meanwhile. */
Test(roster, a_reader_finds_what_was_published_and_never_what_was_freed) {
        unsigned kept = 0, marked = 0;
        pthread_t control;

        configure();
        writes_whole("?clean-up=keep");
        publish();
        cr_assert_eq(pthread_create(&control, NULL, publish_many, NULL), 0);
        while (kept < FINDINGS || marked < FINDINGS) {
                struct roster_entry *entry = roster_get(&worker.roster, 0);
                bool is_kept;

                cr_assert_not_null(entry);
                cr_assert_str_eq(entry->config.session, "a");
                cr_assert_str_eq(entry->config.source, "a");
                is_kept = strstr(entry->config.url, "?clean-up=keep") != NULL;
                cr_assert(is_kept || strstr(entry->config.url, "?clean-up=mark"), "%s", entry->config.url);
                kept += is_kept;
                marked += !is_kept;
                roster_entry_free(entry);
        }
        atomic_store(&is_enough, 1);
        cr_assert_eq(pthread_join(control, NULL), 0);
}
