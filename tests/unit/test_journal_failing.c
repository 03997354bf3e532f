/* SPDX-License-Identifier: Apache-2.0 */
/* The journal where one call fails, each in turn: memory, and what asks for files (test_journal_fault.c fails writes and
 * syncs). What was acknowledged is found, by a table that failed and is loaded again too; nothing is collected that
 * somebody needs; whoever asks is told why (J2, J8, M7). */
#include "tests/unit/failing_calls.h"
#include "tests/unit/test_journal_fixture.h"

#define SESSIONS 20u /* more than a map holds at first */
#define TRIES_MOST 2000u

static void setup(void) {
        if (access("/dev/shm", W_OK) == 0) /* nothing here asks for a disk */
                (void) setenv("TMPDIR", "/dev/shm", 1);
        fixture_make();
}

TestSuite(journal_failing, .init = setup, .fini = fixture_remove);

/* SESSIONS sessions at position 100, in the journals of two dead writers, of which the second supersedes the first. */
static void leave_journals(void) {
        char session[16];

        for (uint64_t generation = 1; generation <= 2; generation++) {
                struct journal *journal = fixture_open_as(0, generation, true, 0);

                for (unsigned i = 0; i < SESSIONS; i++) {
                        (void) snprintf(session, sizeof session, "s%u", i);
                        fixture_must_append(journal, JOURNAL_CLAIM, session, generation, 100);
                        fixture_must_append(journal, JOURNAL_MOVED, session, generation, 100 * generation);
                }
                fixture_must_append(journal, JOURNAL_MOVED, "s0", generation, 100 * generation);
                journal_close(journal);
        }
}

static void expect_found(const struct journal_table *table, uint64_t position) {
        char session[16];

        for (unsigned i = 0; i < SESSIONS; i++) {
                (void) snprintf(session, sizeof session, "s%u", i);
                cr_assert_eq(fixture_position(table, session), (int64_t) position, "%s failed: %s",
                             calls.failed, session);
        }
}

/* An error has a kind and a sentence. */
static void expect_told(int r, const struct failure *failure) {
        cr_assert_lt(r, 0, "%s failed", calls.failed);
        cr_assert_neq(failure->kind, FAILURE_NONE, "%s failed: %d", calls.failed, r);
        cr_assert_not_null(strstr(failure->text, "journal"), "%s failed: \"%s\"", calls.failed,
                           failure->text);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static void load_each_failing(enum calls_how how) {
        bool was_refused = false;

        leave_journals();
        for (unsigned at = 1; at < TRIES_MOST; at++) {
                struct journal_table *table = NULL;
                struct failure failure = { 0 };
                int r;

                calls_begin(how, at);
                calls_armed(true);
                r = journal_table_load(fixture_state, "dest", fixture_instance, true, &table, &failure);
                calls_armed(false);
                if (r < 0) {
                        was_refused = true;
                        expect_told(r, &failure);
                        r = journal_table_load(fixture_state, "dest", fixture_instance, true, &table,
                                               &failure);
                        cr_assert_eq(r, 0, "%s failed, then: %s", calls.failed, failure.text);
                }
                expect_found(table, 200);
                journal_table_free(table);
                if (!calls.failed)
                        break;
        }
        cr_assert_null(calls.failed, "it never ends");
        cr_assert(was_refused);
}

Test(journal_failing, J2_a_load_that_failed_is_repeated_with_the_same_table) {
        load_each_failing(CALLS_BROKEN);
}

Test(journal_failing, J2_the_same_where_it_passes) {
        load_each_failing(CALLS_SHORT);
}

Test(journal_failing, show_and_check_say_what_they_could_not_read) {
        leave_journals();
        for (unsigned json = 0; json < 2; json++)
                for (unsigned at = 1; at < TRIES_MOST; at++) {
                        struct failure failure = { 0 };
                        char *text = NULL;
                        size_t bytes;
                        FILE *out = open_memstream(&text, &bytes);
                        int r;

                        calls_begin(CALLS_BROKEN, at);
                        calls_armed(true);
                        r = journal_show(fixture_path("."), json, out, &failure);
                        calls_armed(false);
                        (void) fclose(out);
                        if (r < 0)
                                expect_told(r, &failure);
                        else
                                cr_assert_not_null(strstr(text, "clean"), "%s failed", calls.failed);
                        free(text);
                        if (!calls.failed)
                                break;
                }
        cr_assert_null(calls.failed, "it never ends");
}

/* ---- collecting -------------------------------------------------------------------------------------------- */

static void expect_best_is_there(void) {
        struct journal_table *table = fixture_load(false);

        expect_found(table, 200);
        journal_table_free(table);
}

static void collect_each_failing(enum calls_how how) {
        static const char *const names[] = { "0000-1.journal", "0000-2.journal" };
        uint8_t *bytes[2];
        size_t counts[2];

        leave_journals();
        for (size_t i = 0; i < 2; i++)
                bytes[i] = fixture_read(names[i], &counts[i]);
        for (unsigned at = 1; at < TRIES_MOST; at++) {
                int r;

                for (size_t i = 0; i < 2; i++)
                        fixture_write(names[i], bytes[i], counts[i]);
                calls_begin(how, at);
                calls_armed(true);
                r = journal_collect(fixture_state, "dest", fixture_instance);
                calls_armed(false);
                cr_assert(calls.failed || r == 0, "%d", r);
                cr_assert(fixture_exists(names[1]), "%s failed", calls.failed);
                expect_best_is_there();
                if (!calls.failed)
                        break;
        }
        cr_assert_null(calls.failed, "it never ends");
        cr_assert_not(fixture_exists(names[0]), "superseded, and still there");
        free(bytes[0]);
        free(bytes[1]);
}

/* Whatever fails, the best records stay, and the next collection goes on. */
Test(journal_failing, J8_nothing_is_collected_that_is_needed) {
        collect_each_failing(CALLS_BROKEN);
}

Test(journal_failing, J8_the_same_where_it_passes) {
        collect_each_failing(CALLS_SHORT);
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

/* One writer's life: open, two sessions, a rotation; what it was told is durable is remembered. */
static void write_with(uint64_t *acknowledged) {
        const struct journal_config config = { .state_directory = fixture_state,
                                               .destination = "dest",
                                               .instance = fixture_instance,
                                               .worker_generation = 3,
                                               .synced = true,
                                               .rotate_bytes = 2000 };
        struct failure failure = { 0 };
        struct journal *journal = NULL;
        int r;

        calls_armed(true);
        r = journal_open(&config, &journal, &failure);
        calls_armed(false);
        if (r < 0) {
                expect_told(r, &failure);
                cr_assert_null(journal, "%s failed: output untouched", calls.failed);
                return;
        }
        for (uint64_t i = 1; i <= 12; i++) {
                failure = (struct failure){ 0 };
                calls_armed(true);
                r = fixture_append(journal, i == 1 ? JOURNAL_CLAIM : JOURNAL_MOVED, "w", 9, i, &failure);
                if (r < 0 && failure.kind == FAILURE_SYNC)
                        (void) journal_renew(journal, &failure);
                calls_armed(false);
                if (r >= 0)
                        *acknowledged = i;
                else
                        expect_told(r, &failure);
        }
        journal_close(journal);
}

static void write_each_failing(enum calls_how how) {
        unsigned at = 1;

        for (; at < TRIES_MOST; at++) {
                uint64_t acknowledged = 0;
                int64_t best;

                calls_begin(how, at);
                write_with(&acknowledged);
                best = fixture_best("w");
                cr_assert(best >= (int64_t) acknowledged || (acknowledged == 0 && best == -ENOENT),
                          "%s failed: %lu acknowledged, %ld found", calls.failed,
                          (unsigned long) acknowledged, (long) best);
                fixture_remove();
                cr_assert_eq(mkdir(fixture_state, 0750), 0);
                if (!calls.failed)
                        break;
                cr_assert_geq(acknowledged, acknowledged ? 11u : 0u, "%s failed: and nothing after it",
                              calls.failed);
        }
        cr_assert_null(calls.failed, "it never ends");
        cr_assert_gt(at, 40);
}

Test(journal_failing, J3_what_was_acknowledged_is_found) {
        write_each_failing(CALLS_BROKEN);
}

Test(journal_failing, M8_the_same_where_there_is_no_room) {
        write_each_failing(CALLS_SHORT);
}
