/* SPDX-License-Identifier: Apache-2.0 */
/* `baton check` of SQLite sources and destinations: says everything, makes nothing (M12). */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/sqlite_fixture.h"

TestSuite(sqlite_check, .init = fixture_setup, .fini = fixture_teardown);

/* What stands there, with sizes and times of change: any trace would show. */
static void look(char ret_text[2048]) {
        char names[1024];
        size_t used = 0;
        struct stat st;

        list_directory(names);
        ret_text[0] = '\0';
        for (char *name = strtok(names, " "); name; name = strtok(NULL, " ")) {
                cr_assert_eq(stat(path_of(name), &st), 0);
                if (strstr(name, "-shm")) /* where readers say that they read */
                        st.st_mtim = (struct timespec){ 0 };
                used += (size_t) snprintf(ret_text + used, 2048 - used, "%s %ju %jd.%ld\n", name,
                                          (uintmax_t) st.st_size, (intmax_t) st.st_mtim.tv_sec,
                                          st.st_mtim.tv_nsec);
        }
}

static int check_source(const char *name, const char *query, char **ret_note, struct failure *ret_failure) {
        struct source_config config = { .name = "orders" };
        char before[2048], after[2048];
        struct place place;
        int r;

        place_set(&place, source_schemes, "sqlite:%s%s", path_of(name), query);
        config.url = &place.url;
        config.scheme = place.scheme;
        look(before);
        r = source_ops_find("sqlite")->check(&config, ret_note, ret_failure);
        look(after);
        cr_assert_str_eq(before, after);
        return r;
}

static void source_is_fine(const char *name, const char *query, const char *note_wanted) {
        struct failure failure = { 0 };
        char *note = NULL;

        cr_assert_eq(check_source(name, query, &note, &failure), 0, "%s", failure.text);
        if (note_wanted) {
                cr_assert_not_null(note);
                cr_assert_not_null(strstr(note, note_wanted), "%s", note);
        } else
                cr_assert_null(note, "%s", note);
        free(note);
}

Test(sqlite_check, m12_source_at_rest) {
        sqlite3 *app = app_outbox("app.db");

        app_fill(app, 10);
        sqlite3_close(app);
        source_is_fine("app.db", "", NULL);
        source_is_fine("app.db", "?clean-up=delete", NULL);
}

Test(sqlite_check, m12_source_in_use) {
        sqlite3 *app = app_outbox("app.db");

        app_fill(app, 10);
        source_is_fine("app.db", "", NULL);
        app_run(app, "BEGIN IMMEDIATE; INSERT INTO outbox (key) VALUES (1)");
        source_is_fine("app.db", "", NULL);
        sqlite3_close(app);
}

Test(sqlite_check, m12_source_whose_application_was_killed) {
        sqlite3 *app = app_outbox("app.db");

        app_fill(app, 10);
        (void) sqlite3_db_config(app, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        app_run(app, "PRAGMA wal_checkpoint");
        sqlite3_close(app);
        source_is_fine("app.db", "", NULL);
        cr_assert_eq(unlink(path_of("app.db-shm")), 0); /* as after a copy without it */
        source_is_fine("app.db", "", "-wal was not read");
}

Test(sqlite_check, source_in_rollback_mode_is_noted) {
        sqlite3 *app = app_open("app.db");

        app_run(app, "CREATE TABLE outbox (" OUTBOX_COLUMNS "); INSERT INTO outbox (seq) VALUES (0)");
        source_is_fine("app.db", "", "rollback-journal mode");
        source_is_fine("app.db", "", "never moved");
        sqlite3_close(app);
}

Test(sqlite_check, source_faults_are_said) {
        struct failure failure = { 0 };
        char *note = NULL;
        FILE *file;

        cr_assert_eq(check_source("none.db", "", &note, &failure), -ENOENT);
        cr_assert_not_null(strstr(failure.text, "absent"));
        sqlite3_close(app_outbox("app.db"));
        cr_assert_eq(check_source("app.db", "?table=other", &note, &failure), -EINVAL);
        cr_assert_eq(check_source("app.db", "?key=other", &note, &failure), -EINVAL);
        file = fopen(path_of("text.db"), "w");
        for (int i = 0; i < 1000; i++)
                (void) fputs("this is a text, no database\n", file);
        (void) fclose(file);
        cr_assert_eq(check_source("text.db", "", &note, &failure), -EBADMSG);
        cr_assert_null(note);
}

Test(sqlite_check, m12_rights_that_would_shut_the_application_out) {
        struct failure failure = { 0 };
        char *note = NULL;

        if (geteuid() != 0)
                cr_skip_test("needs root, to become somebody else");
        sqlite3_close(app_outbox("app.db"));
        cr_assert_eq(chmod(fixture_directory, 0777), 0);
        cr_assert_eq(chmod(path_of("app.db"), 0644), 0);
        cr_assert_eq(seteuid(65534), 0);
        source_is_fine("app.db", "", "could not write it");
        cr_assert_eq(check_source("app.db", "?clean-up=delete", &note, &failure), -EACCES);
        cr_assert_eq(seteuid(0), 0);
        cr_assert_eq(chmod(fixture_directory, 0755), 0);
        cr_assert_eq(seteuid(65534), 0);
        source_is_fine("app.db", "", "may not make its -wal");
        cr_assert_eq(seteuid(0), 0);
        cr_assert_eq(chmod(path_of("app.db"), 0600), 0);
        cr_assert_eq(seteuid(65534), 0);
        cr_assert_eq(check_source("app.db", "", &note, &failure), -EACCES);
        cr_assert_eq(seteuid(0), 0);
}

/* ---- destination ----------------------------------------------------------------------------- */

static int check_destination(const char *name, const char *query, struct failure *ret_failure) {
        struct destination_config config = { .name = "events", .instance = fixture_instance };
        char before[2048], after[2048], *note = NULL;
        struct place place;
        int r;

        place_set(&place, destination_schemes, "sqlite:%s%s", path_of(name), query);
        config.url = &place.url;
        config.scheme = place.scheme;
        look(before);
        r = destination_ops_find("sqlite")->check(&config, &note, ret_failure);
        look(after);
        cr_assert_str_eq(before, after);
        free(note);
        return r;
}

Test(sqlite_check, destination_that_does_not_exist_yet) {
        struct failure failure = { 0 };

        cr_assert_eq(check_destination("out.db", "", &failure), 0, "%s", failure.text);
        cr_assert_eq(check_destination("no/such/out.db", "", &failure), -ENOENT);
        cr_assert_not_null(strstr(failure.text, "no directory"), "%s", failure.text);
}

Test(sqlite_check, destination_at_rest_and_in_use) {
        struct destination *destination = destination_get("out.db");
        struct failure failure = { 0 };

        cr_assert_eq(check_destination("out.db", "", &failure), 0, "%s", failure.text);
        destination_ops_find("sqlite")->close(destination);
        cr_assert_eq(check_destination("out.db", "", &failure), 0, "%s", failure.text);
        cr_assert_eq(check_destination("out.db", "?table=other", &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "events in table baton_events"), "%s", failure.text);
}

Test(sqlite_check, destination_faults_are_said) {
        struct failure failure = { 0 };
        sqlite3 *db = app_open("out.db");

        app_run(db,
                "CREATE TABLE mine (a, b); CREATE TABLE typed (session, position, key TEXT, type, at, payload, "
                "PRIMARY KEY (session, position))");
        cr_assert_eq(check_destination("out.db", "?table=mine", &failure), -EEXIST);
        cr_assert_eq(check_destination("out.db", "?table=typed", &failure), -EEXIST);
        cr_assert_eq(check_destination("out.db", "?table=baton_parked", &failure), -EINVAL);
        cr_assert_eq(check_destination("out.db", "?table=sqlite_x", &failure), -EINVAL);
        cr_assert_eq(check_destination("out.db", "", &failure), 0, "%s", failure.text);
        sqlite3_close(db);
        db = app_open("wide.db");
        app_run(db, "PRAGMA encoding = 'UTF-16'; CREATE TABLE x (y)");
        sqlite3_close(db);
        cr_assert_eq(check_destination("wide.db", "", &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "UTF-8"), "%s", failure.text);
}
