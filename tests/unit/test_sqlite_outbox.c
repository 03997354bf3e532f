/* SPDX-License-Identifier: Apache-2.0 */
/* `baton outbox create`: makes a table that Baton can move, does nothing twice, and touches nothing of
 * what is there. */
#include <errno.h>

#include "include/baton/outbox.h"
#include "tests/unit/sqlite_fixture.h"

TestSuite(sqlite_outbox, .init = fixture_setup, .fini = fixture_teardown);

Test(sqlite_outbox, new_file_is_ready_for_application_and_source) {
        struct source *source;
        char names[1024];
        sqlite3 *app;
        bool more;

        must(outbox_create(path_of("app.db"), "outbox", failure));
        list_directory(names);
        cr_assert_str_eq(names, "app.db ");
        app = app_open("app.db");
        cr_assert_eq(app_number(app, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
        app_run(app, "INSERT INTO outbox (key, type, payload) VALUES ('k', 't', '{}')");
        cr_assert_eq(app_number(app, "SELECT at LIKE '20__-__-__T__:__:__.___Z' FROM outbox"), 1);
        source = source_get("app.db", "?clean-up=delete");
        must(source_ops_find("sqlite")->has_more(source, 0, &more, failure));
        cr_assert(more);
        source_ops_find("sqlite")->close(source);
        sqlite3_close(app);
}

Test(sqlite_outbox, twice_is_once) {
        sqlite3 *app;

        must(outbox_create(path_of("app.db"), "outbox", failure));
        app = app_open("app.db");
        app_fill(app, 3);
        must(outbox_create(path_of("app.db"), "outbox", failure));
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 3);
        must(outbox_create(path_of("app.db"), "second", failure));
        cr_assert_eq(app_number(app, "SELECT count(*) FROM second"), 0);
        sqlite3_close(app);
}

Test(sqlite_outbox, existing_database_keeps_its_mode) {
        sqlite3 *app = app_open("app.db");

        app_run(app, "CREATE TABLE mine (a)");
        must(outbox_create(path_of("app.db"), "outbox", failure));
        cr_assert_eq(app_number(app, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
        cr_assert_eq(app_number(app, "SELECT count(*) FROM outbox"), 0);
        sqlite3_close(app);
}

Test(sqlite_outbox, another_table_of_that_name_is_refused) {
        static const char *const others[] = {
                "a, b",
                "seq INTEGER PRIMARY KEY, key TEXT, type TEXT, at TEXT, payload",
                "seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, type TEXT, at TEXT",
                "seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, type TEXT, at TEXT, payload TEXT",
                "seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, type TEXT, at TEXT, payload, more",
        };
        sqlite3 *app = app_open("app.db");

        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
                app_run(app, "DROP TABLE IF EXISTS outbox; CREATE TABLE outbox (%s)", others[i]);
                must_fail(outbox_create(path_of("app.db"), "outbox", failure), -EEXIST, FAILURE_STOP);
        }
        sqlite3_close(app);
}

Test(sqlite_outbox, bad_names_and_places) {
        struct failure seen = { 0 };
        FILE *file;

        must_fail(outbox_create(path_of("app.db"), "a b", failure), -EINVAL, FAILURE_STOP);
        must_fail(outbox_create(path_of("app.db"), "sqlite_x", failure), -EINVAL, FAILURE_STOP);
        must_fail(outbox_create("relative.db", "outbox", failure), -EINVAL, FAILURE_STOP);
        must_fail(outbox_create(path_of("no/such/app.db"), "outbox", failure), -EACCES, FAILURE_UNAVAILABLE);
        cr_expect_eq(outbox_create(path_of("no/such/app.db"), "outbox", &seen), -EACCES);
        cr_expect(strstr(seen.text, "there is no directory"), "%s", seen.text);
        cr_expect_eq(outbox_create(path_of("."), "outbox", &seen), -EACCES);
        cr_expect(strstr(seen.text, "no regular file"), "%s", seen.text);
        file = fopen(path_of("text.db"), "w");
        for (int i = 0; i < 1000; i++)
                (void) fputs("this is a text, no database\n", file);
        (void) fclose(file);
        must_fail(outbox_create(path_of("text.db"), "outbox", failure), -EBADMSG, FAILURE_STOP);
}
