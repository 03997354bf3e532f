/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of SQLite source and destination share: a directory of their own, URLs, and a plain
 * connection that plays the application and the reader. Uses no code of the two. */
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/baton/destination.h"
#include "include/baton/source.h"

#define UNUSED __attribute__((unused))

static char fixture_directory[256];

UNUSED static void fixture_setup(void) {
        const char *base = getenv("TMPDIR");

        (void) snprintf(fixture_directory, sizeof fixture_directory, "%s/baton-test-XXXXXX",
                        base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(fixture_directory));
}

UNUSED static void fixture_teardown(void) {
        DIR *dir = opendir(fixture_directory);
        struct dirent *entry;
        char path[1024];

        while (dir && (entry = readdir(dir))) {
                (void) snprintf(path, sizeof path, "%s/%s", fixture_directory, entry->d_name);
                (void) unlink(path);
        }
        if (dir)
                (void) closedir(dir);
        (void) rmdir(fixture_directory);
}

/* PATH of a file in the test's directory. A few may be in use at once. */
UNUSED static const char *path_of(const char *name) {
        static char paths[8][512];
        static unsigned next;
        char *path = paths[next++ % 8];

        (void) snprintf(path, 512, "%s/%s", fixture_directory, name);
        return path;
}

/* Names in the directory, sorted, each followed by a space. */
UNUSED static void list_directory(char ret_text[1024]) {
        struct dirent **entries;
        int n = scandir(fixture_directory, &entries, NULL, alphasort);
        size_t used = 0;

        cr_assert(n >= 0);
        ret_text[0] = '\0';
        for (int i = 0; i < n; i++) {
                if (entries[i]->d_name[0] != '.')
                        used += (size_t) snprintf(ret_text + used, 1024 - used, "%s ", entries[i]->d_name);
                free(entries[i]);
        }
        free(entries);
}

UNUSED static sqlite3 *app_open(const char *name) {
        sqlite3 *db;

        cr_assert_eq(sqlite3_open(path_of(name), &db), SQLITE_OK);
        (void) sqlite3_busy_timeout(db, 5000);
        return db;
}

UNUSED __attribute__((format(printf, 2, 3))) static void app_run(sqlite3 *db, const char *format, ...) {
        char *sql, *message = NULL;
        va_list arguments;

        va_start(arguments, format);
        cr_assert(vasprintf(&sql, format, arguments) >= 0);
        va_end(arguments);
        cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &message), SQLITE_OK, "%s: %s", sql,
                     message ? message : "");
        free(sql);
}

/* One number, or -1 where there is no row. */
UNUSED __attribute__((format(printf, 2, 3))) static int64_t app_number(sqlite3 *db, const char *format, ...) {
        sqlite3_stmt *statement;
        int64_t number = -1;
        va_list arguments;
        char *sql;

        va_start(arguments, format);
        cr_assert(vasprintf(&sql, format, arguments) >= 0);
        va_end(arguments);
        cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK, "%s: %s", sql,
                     sqlite3_errmsg(db));
        if (sqlite3_step(statement) == SQLITE_ROW)
                number = sqlite3_column_int64(statement, 0);
        cr_assert_eq(sqlite3_finalize(statement), SQLITE_OK);
        free(sql);
        return number;
}

#define OUTBOX_COLUMNS "seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, type TEXT, at TEXT, payload"

/* An outbox in WAL mode, left open: the application. */
UNUSED static sqlite3 *app_outbox(const char *name) {
        sqlite3 *db = app_open(name);

        app_run(db, "PRAGMA journal_mode = WAL; CREATE TABLE outbox (" OUTBOX_COLUMNS ", moved_at TEXT)");
        return db;
}

/* `count` small events with the next numbers. */
UNUSED static void app_fill(sqlite3 *db, int count) {
        app_run(db,
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
                "INSERT INTO outbox (key, type, at, payload) "
                "SELECT 'k' || i, 'made', '2026-01-01T00:00:00.000Z', 'payload ' || i FROM n",
                count);
}

struct place {
        struct url url;
        const struct scheme *scheme;
};

UNUSED __attribute__((format(printf, 3, 4))) static void place_set(struct place *place,
                                                                   const struct scheme *const *schemes,
                                                                   const char *format, ...) {
        struct failure failure = { 0 };
        char text[1024];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        cr_assert_eq(url_parse(text, &place->url, &failure), 0, "%s", failure.text);
        cr_assert_eq(option_check(schemes, &place->url, &place->scheme, &failure), 0, "%s", failure.text);
}

UNUSED static int source_try(const char *name, const char *query, struct source **ret_source,
                             struct failure *ret_failure) {
        struct place place;
        struct source_config config = { .name = "orders" };

        place_set(&place, source_schemes, "sqlite:%s%s", path_of(name), query);
        config.url = &place.url;
        config.scheme = place.scheme;
        return source_ops_find("sqlite")->open(&config, ret_source, ret_failure);
}

UNUSED static struct source *source_get(const char *name, const char *query) {
        struct failure failure = { 0 };
        struct source *source = NULL;

        cr_assert_eq(source_try(name, query, &source, &failure), 0, "%s", failure.text);
        return source;
}

static const uint8_t fixture_instance[INSTANCE_BYTES] = { 1, 2,  3,  4,  5,  6,  7,  8,
                                                          9, 10, 11, 12, 13, 14, 15, 16 };

UNUSED static int destination_try(const char *name, const char *query, const uint8_t *instance,
                                  struct destination **ret_destination, struct failure *ret_failure) {
        struct place place;
        struct destination_config config = { .name = "events", .instance = instance };

        place_set(&place, destination_schemes, "sqlite:%s%s", path_of(name), query);
        config.url = &place.url;
        config.scheme = place.scheme;
        return destination_ops_find("sqlite")->open(&config, ret_destination, ret_failure);
}

UNUSED static struct destination *destination_get(const char *name) {
        struct failure failure = { 0 };
        struct destination *destination = NULL;

        cr_assert_eq(destination_try(name, "", fixture_instance, &destination, &failure), 0, "%s",
                     failure.text);
        return destination;
}

#define must(call)                                                          \
        do {                                                                \
                struct failure _failure = { 0 };                            \
                struct failure *failure = &_failure;                        \
                int _r = (call);                                            \
                cr_assert_eq(_r, 0, "%s: %d %s", #call, _r, failure->text); \
        } while (0)

#define must_fail(call, errno_wanted, kind_wanted)                                     \
        do {                                                                           \
                struct failure _failure = { 0 };                                       \
                struct failure *failure = &_failure;                                   \
                int _r = (call);                                                       \
                cr_assert_eq(_r, errno_wanted, "%s: %d %s", #call, _r, failure->text); \
                cr_assert_eq(failure->kind, kind_wanted, "%s: %s: %s", #call,          \
                             failure_kind_name(failure->kind), failure->text);         \
                cr_assert(strlen(failure->text) > 20, "%s", failure->text);            \
        } while (0)
