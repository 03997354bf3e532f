/* SPDX-License-Identifier: Apache-2.0 */
/* What a person asks for (`baton check`, `baton outbox create`) where one call fails, each in turn: it succeeds and says
 * all, or fails and says why; nothing is half made, and nothing is made that was not asked for (M12). */
#include "tests/unit/failing_calls.h"
#include "tests/unit/sqlite_fixture.h"

#include "include/baton/outbox.h"

#define TRIES_MOST 500u

static void setup(void) {
        if (access("/dev/shm", W_OK) == 0) /* nothing here asks for a disk */
                (void) setenv("TMPDIR", "/dev/shm", 1);
        fixture_setup();
}

TestSuite(sqlite_failing, .init = setup, .fini = fixture_teardown);

static void expect_told(int r, const struct failure *failure) {
        cr_assert_lt(r, 0, "%s failed", calls.failed);
        cr_assert_neq(failure->kind, FAILURE_NONE, "%s failed: %d", calls.failed, r);
        cr_assert_gt(strlen(failure->text), 20, "%s failed: \"%s\"", calls.failed, failure->text);
}

/* ---- `baton check` --------------------------------------------------------------------------------------- */

/* A check of the place, armed. */
typedef int check_fn(const struct place *place, char **ret_note, struct failure *ret_failure);

static int check_source(const struct place *place, char **ret_note, struct failure *ret_failure) {
        const struct source_config config = { .name = "orders", .url = &place->url, .scheme = place->scheme };
        int r;

        calls_armed(true);
        r = source_ops_find("sqlite")->check(&config, ret_note, ret_failure);
        calls_armed(false);
        return r;
}

static int check_destination(const struct place *place, char **ret_note, struct failure *ret_failure) {
        const struct destination_config config = {
                .name = "events", .url = &place->url, .scheme = place->scheme, .instance = fixture_instance
        };
        int r;

        calls_armed(true);
        r = destination_ops_find(place->scheme->name)->check(&config, ret_note, ret_failure);
        calls_armed(false);
        return r;
}

/* What is said undisturbed is said, or the check fails. */
static void check_each_failing(check_fn *fn, const struct place *place, const char *words) {
        for (enum calls_how how = 0; how < CALLS_HOW_COUNT; how++) {
                unsigned at = 1;

                for (; at < TRIES_MOST; at++) {
                        struct failure failure = { 0 };
                        char *note = NULL, before[1024], after[1024];
                        int r;

                        list_directory(before);
                        calls_begin(how, at);
                        r = fn(place, &note, &failure);
                        list_directory(after);
                        cr_assert_str_eq(before, after, "%s failed, and something was made", calls.failed);
                        if (r < 0)
                                expect_told(r, &failure);
                        else if (words)
                                cr_assert(note && strstr(note, words), "%s failed: \"%s\" is left unsaid: %s",
                                          calls.failed ? calls.failed : "nothing", words, note ? note : "");
                        free(note);
                        if (!calls.failed)
                                break;
                }
                cr_assert_null(calls.failed, "it never ends");
                cr_assert_gt(at, 1);
        }
}

Test(sqlite_failing, M12_check_of_a_source_says_all_or_fails) {
        sqlite3 *app = app_open("app.db");
        struct place place;

        app_run(app, "CREATE TABLE outbox (" OUTBOX_COLUMNS ", moved_at TEXT)");
        app_run(app, "INSERT INTO outbox (seq) VALUES (-1), (1)");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        place_set(&place, source_schemes, "sqlite:%s?clean-up=delete", path_of("app.db"));
        check_each_failing(check_source, &place, "rows of outbox with seq <= 0 are never moved");
        place_set(&place, source_schemes, "sqlite:%s?clean-up=mark", path_of("app.db"));
        check_each_failing(check_source, &place, "is in rollback-journal mode");
}

Test(sqlite_failing, M1_check_of_a_destination_says_all_or_fails) {
        struct destination *destination = destination_get("out.db");
        struct place place;
        sqlite3 *db;

        destination_ops_find("sqlite")->close(destination);
        place_set(&place, destination_schemes, "sqlite:%s", path_of("out.db"));
        check_each_failing(check_destination, &place, NULL);
        db = app_open("out.db");
        app_run(db, "INSERT INTO baton_checkpoint VALUES ('orders', x'00', 1, 5, '', 0, 5, 0, 0, 1, '')");
        check_each_failing(check_destination, &place, "another Baton");
        cr_assert_eq(sqlite3_close(db), SQLITE_OK);
        place_set(&place, destination_schemes, "sqlite:%s", path_of("not-yet.db"));
        check_each_failing(check_destination, &place, NULL);
}

Test(sqlite_failing, M3_check_of_a_directory_says_all_or_fails) {
        struct place place;

        cr_assert_eq(close(open(path_of("orders.000001.jsonl"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
        place_set(&place, destination_schemes, "file:%s", fixture_directory);
        check_each_failing(check_destination, &place, "holds 1 .jsonl files already");
}

/* ---- M11: what is moved is durable at the source --------------------------------------------------------------- */

/* A source whose -wal is new, and its writer syncs nothing: its name in the directory, too, is ours to make durable. */
static struct source *unsynced_source(sqlite3 **ret_app) {
        struct source *source;
        bool more;

        *ret_app = app_outbox("app.db");
        app_run(*ret_app, "PRAGMA synchronous = OFF");
        app_fill(*ret_app, 3);
        source = source_get("app.db", "");
        must(source_ops_find("sqlite")->has_more(source, 0, &more, failure));
        cr_assert(more);
        return source;
}

Test(sqlite_failing, M11_whatever_fails_a_sync_that_succeeds_has_synced_the_name_too) {
        for (enum calls_how how = 0; how < CALLS_HOW_COUNT; how++)
                for (unsigned at = 1; at < TRIES_MOST; at++) {
                        struct failure failure = { 0 };
                        struct source *source;
                        sqlite3 *app;
                        int r;

                        source = unsynced_source(&app);
                        calls_begin(how, at);
                        calls_armed(true);
                        r = source_ops_find("sqlite")->sync(source, &failure);
                        calls_armed(false);
                        if (r < 0)
                                expect_told(r, &failure);
                        else
                                cr_assert_gt(calls.fsyncs, 0, "%s failed, and the directory was not synced",
                                             calls.failed);
                        source_ops_find("sqlite")->close(source);
                        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
                        fixture_teardown();
                        fixture_setup();
                        if (!calls.failed)
                                break;
                }
        cr_assert_null(calls.failed, "it never ends");
}

/* ---- `baton outbox create` ----------------------------------------------------------------------------------- */

static void create_each_failing(enum calls_how how) {
        unsigned at = 1;

        for (; at < TRIES_MOST; at++) {
                struct failure failure = { 0 };
                sqlite3 *app;
                int r;

                app = app_open("app.db");
                app_run(app, "DROP TABLE IF EXISTS outbox; CREATE TABLE IF NOT EXISTS mine (a)");
                calls_begin(how, at);
                calls_armed(true);
                r = outbox_create(path_of("app.db"), "outbox", &failure);
                calls_armed(false);
                cr_assert_eq(app_number(app, "SELECT count(*) FROM sqlite_schema WHERE name = 'outbox'"),
                             r >= 0, "%s failed", calls.failed);
                app_run(app, "INSERT INTO mine VALUES (1)"); /* no lock was left */
                cr_assert_eq(sqlite3_close(app), SQLITE_OK);
                if (r < 0)
                        expect_told(r, &failure);
                if (!calls.failed)
                        break;
        }
        cr_assert_null(calls.failed, "it never ends");
        cr_assert_gt(at, 5);
}

Test(sqlite_failing, an_outbox_is_made_whole_or_not_at_all) {
        create_each_failing(CALLS_BROKEN);
        create_each_failing(CALLS_SHORT);
}
