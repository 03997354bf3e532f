/* SPDX-License-Identifier: Apache-2.0 */
/* M9 where inotify is silent or watches the wrong place: an event that becomes visible long after its
 * file's last write, links and directories on the way to the source that change. Turned by hand. */
#include "tests/unit/worker_fixture.h"

TestSuite(news, .init = worker_setup, .fini = worker_teardown);

/* ---- visible long after the last write --------------------------------------------------------------- */
static struct source_ops replaced_ops;
static const struct source_ops *true_ops;
static bool is_hidden;
static unsigned questions;

static int has_more_or_hidden(struct source *source, uint64_t after, bool *ret_more,
                              struct failure *ret_failure) {
        int r = true_ops->has_more(source, after, ret_more, ret_failure);

        questions++;
        if (r >= 0 && is_hidden)
                *ret_more = false;
        return r;
}

/* Idle after 5 events, with a sixth that is written and not visible; inotify has told all it will. */
static struct session *hide_an_event(sqlite3 *app) {
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        settle();
        expect_phase(0, SESSION_IDLE);
        true_ops = session->entry->ops;
        replaced_ops = *true_ops;
        replaced_ops.has_more = has_more_or_hidden;
        session->entry->ops = &replaced_ops;
        is_hidden = true;
        app_fill(app, 1);
        (void) hears(session);
        session->news_usec -= 2 * USEC_PER_SEC; /* quiet for so long: the rechecks end */
        session_set_ready(session);
        settle();
        cr_assert_eq(session->recheck_at_usec, 0);
        sweep(clock_usec()); /* sees the files changed … */
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 5);
        return session;
}

Test(news, M9_an_event_visible_after_the_last_write_is_found_by_the_sweep) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = hide_an_event(app);
        uint64_t before = session->fingerprint;

        is_hidden = false;
        cr_assert_not(hears(session));
        sweep(clock_usec()); /* … and now no file has changed any more */
        cr_assert_eq(session->fingerprint, before);
        settle();
        cr_assert_eq(moved("a"), 6);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* Heard before it is visible, as SQLite's writers are: looks follow one another until it is there. */
Test(news, M9_a_wake_is_followed_by_look_after_look) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = hide_an_event(app);

        news_from_source(session, NULL);
        settle();
        for (unsigned look = 0; look < 5; look++) {
                cr_assert_neq(session->recheck_at_usec, 0, "another one after look %u", look);
                (void) news_deadline(&worker, session->recheck_at_usec);
                cr_assert(session->is_ready);
                settle();
                cr_assert_eq(moved("a"), 5);
                session->news_usec = clock_usec(); /* the test's own time does not count */
        }
        is_hidden = false;
        (void) news_deadline(&worker, session->recheck_at_usec);
        settle();
        cr_assert_eq(moved("a"), 6);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* A source that was closed for the budget (S8) in the middle of a commit: no file will tell of its end. */
Test(news, M9_a_source_closed_in_the_middle_of_a_commit_is_asked) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = hide_an_event(app);

        session_close_source(session);
        cr_assert_not(session->is_settled);
        questions = 0;
        sweep(clock_usec());
        settle();
        cr_assert_gt(questions, 0);
        session_close_source(session);
        is_hidden = false;
        sweep(clock_usec());
        settle();
        cr_assert_eq(moved("a"), 6);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(news, M9_a_source_closed_at_rest_costs_a_stat) {
        sqlite3 *app = app_outbox("a.db");
        struct session *session = session_begin_on(0, "a", "a.db", "");

        app_fill(app, 5);
        (void) hears(session);
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert(session->is_rechecked, "its files were written a moment ago");
        session_close_source(session);
        cr_assert(session->is_settled);
        cr_assert_not(session->is_rechecked, "but what was written was seen, and nothing is under way");
        sweep(clock_usec());
        settle();
        cr_assert_null(session->source, "nothing changed: it was not even opened");
        app_fill(app, 1);
        sweep(clock_usec());
        settle();
        cr_assert_eq(moved("a"), 6, "a file changed, and nobody heard it: the sweep sees that");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* ---- what leads to the source changes ------------------------------------------------------------------ */

/* An outbox with 5 events in DIRECTORY/a.db, and nothing but that file. */
static void outbox_in(const char *file) {
        sqlite3 *app = app_outbox(file);

        app_fill(app, 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

/* The file that the path leads to now is another one; the operator takes it for the continuation. Then its
 * next event is heard at once, where it is. */
static void adopt_and_hear(struct session *session, const char *file) {
        sqlite3 *app;

        (void) hears(session); /* the mover's order: news, then the sweep */
        sweep(clock_usec());
        settle();
        expect_phase(0, SESSION_STOPPED);
        adopt(0);
        settle();
        expect_phase(0, SESSION_IDLE);
        (void) hears(session);
        sweep(clock_usec());
        settle();
        app = app_open(file);
        (void) hears(session); /* whatever opening it said */
        settle();
        app_fill(app, 1);
        cr_assert(hears(session), "watched where it is now");
        settle();
        cr_assert_eq(moved("a"), 6);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

static struct session *idle_on(const char *file) {
        struct session *session = session_begin_on(0, "a", file, "");

        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 5);
        sweep(clock_usec());
        (void) hears(session);
        settle();
        return session;
}

Test(news, M9_a_symbolic_link_that_leads_elsewhere_is_followed) {
        struct session *session;

        shell("mkdir one two && ln -s one link");
        outbox_in("one/a.db");
        session = idle_on("link/a.db");
        shell("cp one/a.db two/ && ln -sfn two link");
        adopt_and_hear(session, "two/a.db");
}

Test(news, M9_a_directory_that_comes_later_is_watched) {
        struct session *session = session_begin_on(0, "a", "sub/a.db", "");
        sqlite3 *app;

        settle();
        expect_phase(0, SESSION_WAITING);
        shell("mkdir sub");
        outbox_in("sub/a.db");
        retry_now(session); /* nothing could tell: the wait ends by its time */
        settle();
        expect_phase(0, SESSION_IDLE);
        cr_assert_eq(moved("a"), 5);
        app = app_open("sub/a.db");
        (void) hears(session);
        settle();
        app_fill(app, 1);
        cr_assert(hears(session));
        settle();
        cr_assert_eq(moved("a"), 6);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
}

Test(news, M9_a_directory_that_is_removed_and_made_anew_is_watched) {
        struct session *session;

        shell("mkdir sub");
        outbox_in("sub/a.db");
        session = idle_on("sub/a.db");
        shell("cp sub/a.db keep.db && rm -r sub");
        (void) hears(session);
        settle();
        expect_phase(0, SESSION_WAITING);
        shell("mkdir sub && mv keep.db sub/a.db");
        retry_now(session);
        settle();
        adopt_and_hear(session, "sub/a.db");
}

Test(news, M9_a_directory_that_gives_way_to_another_is_watched) {
        struct session *session;

        shell("mkdir sub");
        outbox_in("sub/a.db");
        session = idle_on("sub/a.db");
        shell("mkdir new && cp sub/a.db new/ && mv sub old && mv new sub");
        adopt_and_hear(session, "sub/a.db");
}
