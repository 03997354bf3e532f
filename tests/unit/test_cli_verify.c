/* SPDX-License-Identifier: Apache-2.0 */
/* `baton verify` is tested on planted losses, duplicates, swaps and changes: a SQLite destination and a
 * file destination, with the source whole and cleaned. What it finds must be what was planted. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "include/baton/journal.h"
#include "supervisor/cli/verify.h"

#define OLDER 1000  /* events that an older backup of the destination holds */
#define EVENTS 3000 /* more than the source's reader takes in one chunk */

static char directory[256], source_path[300], destination_path[300], lines_path[300], state_path[300];
static struct url source_url, destination_url;
static const struct scheme *source_scheme, *destination_scheme;
static const uint8_t instance[INSTANCE_BYTES] = { 0xab };

static void run_sql(const char *path, const char *format, ...) {
        va_list arguments;
        sqlite3 *database;
        char *sql, *error = NULL;

        va_start(arguments, format);
        sql = sqlite3_vmprintf(format, arguments);
        va_end(arguments);
        cr_assert_eq(sqlite3_open(path, &database), SQLITE_OK);
        cr_assert_eq(sqlite3_exec(database, sql, NULL, NULL, &error), SQLITE_OK, "%s: %s", sql, error);
        sqlite3_free(sql);
        (void) sqlite3_close(database);
}

/* The row of event `i`, in all four places where it is written down. */
static struct event event_at(uint64_t i, char key[32], char payload[64]) {
        (void) snprintf(key, 32, "key-%u", (unsigned) (i % 10));
        (void) snprintf(payload, 64, "{\"n\":%u}", (unsigned) i);
        return (struct event){
                .position = i,
                .key = { .type = VALUE_TEXT, .bytes = (uint32_t) strlen(key), .data = key },
                .type = { .type = VALUE_NULL },
                .at = { .type = VALUE_INTEGER, .integer = (int64_t) (1000 + i) },
                .payload = { .type = VALUE_TEXT, .bytes = (uint32_t) strlen(payload), .data = payload },
        };
}

static uint64_t digest_sum(uint64_t last) {
        char key[32], payload[64];
        uint64_t sum = 0;

        for (uint64_t i = 1; i <= last; i++) {
                struct event event = event_at(i, key, payload);

                sum += event_digest(&event);
        }
        return sum;
}

static void parse(const char *scheme, const char *path, const struct scheme *const *schemes,
                  struct url *ret_url, const struct scheme **ret_scheme) {
        struct failure failure = {};
        char text[400];

        (void) snprintf(text, sizeof(text), "%s:%s", scheme, path);
        cr_assert_eq(url_parse(text, ret_url, &failure), 0, "%s", failure.text);
        cr_assert_eq(option_check(schemes, ret_url, ret_scheme, &failure), 0, "%s", failure.text);
}

#define ROWS                                                                            \
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) " \
        "INSERT INTO %s SELECT %s i, 'key-' || (i %% 10), NULL, 1000 + i, '{\"n\":' || i || '}' FROM n"

/* Source and SQLite destination, equal. No key at the destination: what is planted must be possible. */
static void setup(void) {
        const char *base = getenv("TMPDIR");

        (void) snprintf(directory, sizeof(directory), "%s/baton-verify-XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(directory));
        (void) snprintf(source_path, sizeof(source_path), "%s/source.db", directory);
        (void) snprintf(destination_path, sizeof(destination_path), "%s/destination.db", directory);
        (void) snprintf(lines_path, sizeof(lines_path), "%s/lines", directory);
        (void) snprintf(state_path, sizeof(state_path), "%s/state", directory);
        run_sql(source_path,
                "CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, key, type, at, payload);" ROWS,
                EVENTS, "outbox", "");
        run_sql(destination_path,
                "CREATE TABLE baton_events (session, position, key, type, at, payload);"
                "CREATE TABLE baton_parked (session, position, reason, key, type, at, payload);"
                "CREATE TABLE baton_checkpoint (session, position, event_count, digest_sum, parked_count);" ROWS,
                EVENTS, "baton_events", "'orders',");
        run_sql(destination_path, "INSERT INTO baton_checkpoint VALUES ('orders', %d, %d, %lld, 0)", EVENTS,
                EVENTS, (long long) digest_sum(EVENTS));
        parse("sqlite", source_path, source_schemes, &source_url, &source_scheme);
        parse("sqlite", destination_path, destination_schemes, &destination_url, &destination_scheme);
}

static void teardown(void) {
        char command[400];

        (void) snprintf(command, sizeof(command), "rm -rf '%s'", directory);
        cr_assert_eq(system(command), 0);
}

TestSuite(cli_verify, .init = setup, .fini = teardown);

static struct verify_result verify(void) {
        struct verify_source *source = NULL;
        struct verify_result result = {};
        struct failure failure = {};

        cr_assert_eq(verify_source_open(&source_url, source_scheme, &source, &failure), 0, "%s",
                     failure.text);
        cr_assert_eq(verify_sqlite(&destination_url, destination_scheme, "orders", source, &result, &failure),
                     0, "%s", failure.text);
        verify_source_close(source);
        return result;
}

/* Exactly these counts, and no others. */
static void found(const struct verify_result *result, uint64_t missing, uint64_t duplicated,
                  uint64_t out_of_order, uint64_t different, uint64_t unexpected) {
        cr_assert_eq(result->missing.count, missing, "missing %lu", (unsigned long) result->missing.count);
        cr_assert_eq(result->duplicated.count, duplicated, "duplicated %lu",
                     (unsigned long) result->duplicated.count);
        cr_assert_eq(result->out_of_order.count, out_of_order, "out of order %lu",
                     (unsigned long) result->out_of_order.count);
        cr_assert_eq(result->different.count, different, "different %lu",
                     (unsigned long) result->different.count);
        cr_assert_eq(result->unexpected.count, unexpected, "unexpected %lu",
                     (unsigned long) result->unexpected.count);
}

Test(cli_verify, equal_sides_are_the_same) {
        struct verify_result result = verify();

        found(&result, 0, 0, 0, 0, 0);
        cr_assert(verify_result_is_clean(&result));
        cr_assert_eq(result.expected, EVENTS);
        cr_assert_eq(result.found, EVENTS);
}

Test(cli_verify, a_session_without_a_checkpoint_has_moved_nothing) {
        struct verify_result result;

        run_sql(destination_path, "DELETE FROM baton_checkpoint; DELETE FROM baton_events");
        result = verify();
        cr_assert(verify_result_is_clean(&result));
        cr_assert_eq(result.expected, 0);
}

Test(cli_verify, events_behind_the_checkpoint_are_not_expected_yet) {
        struct verify_result result;

        run_sql(source_path, "INSERT INTO outbox (payload) VALUES ('new'), ('newer')");
        result = verify();
        cr_assert(verify_result_is_clean(&result));
}

Test(cli_verify, losses_are_counted_and_named) {
        struct verify_result result;

        run_sql(destination_path, "DELETE FROM baton_events WHERE position IN (1, 1500, 2999, 3000)");
        result = verify();
        found(&result, 4, 0, 0, 0, 0);
        cr_assert_eq(result.missing.examples[1], 1500);
        cr_assert(result.count_differs && result.digest_differs);
        cr_assert(!verify_result_is_clean(&result));
}

Test(cli_verify, duplicates) {
        struct verify_result result;

        run_sql(destination_path,
                "INSERT INTO baton_events SELECT * FROM baton_events WHERE position IN (3000, 17)");
        result = verify();
        cr_assert_eq(result.duplicated.count, 2);
        cr_assert_eq(result.found, EVENTS);
        cr_assert(!verify_result_is_clean(&result));
}

Test(cli_verify, a_swap_is_out_of_order) {
        struct verify_result result;

        run_sql(destination_path, "UPDATE baton_events SET rowid = -1 WHERE position = 100;"
                                  "UPDATE baton_events SET rowid = 100 WHERE position = 101;"
                                  "UPDATE baton_events SET rowid = 101 WHERE position = 100");
        result = verify();
        found(&result, 0, 0, 1, 0, 0);
        cr_assert_eq(result.out_of_order.examples[0], 101);
        cr_assert(!verify_result_is_clean(&result));
}

Test(cli_verify, content_is_compared_to_the_storage_class) {
        struct verify_result result;

        run_sql(destination_path, "UPDATE baton_events SET at = CAST(at AS TEXT) WHERE position = 5;"
                                  "UPDATE baton_events SET payload = '{}' WHERE position = 6;"
                                  "UPDATE baton_events SET type = '' WHERE position = 7");
        result = verify();
        found(&result, 0, 0, 0, 3, 0);
        cr_assert(result.digest_differs);
}

Test(cli_verify, what_nobody_sent_is_unexpected) {
        struct verify_result result;

        run_sql(source_path, "DELETE FROM outbox WHERE seq = 2000");
        run_sql(destination_path, "INSERT INTO baton_events (session, position) VALUES ('orders', 3001)");
        result = verify();
        found(&result, 0, 0, 0, 0, 2);
}

Test(cli_verify, another_session_is_another_session) {
        struct verify_result result;

        run_sql(destination_path,
                "INSERT INTO baton_events SELECT 'payments', position, key, type, at, payload "
                "FROM baton_events");
        result = verify();
        cr_assert(verify_result_is_clean(&result));
}

Test(cli_verify, parked_events_are_not_missing) {
        struct verify_result result;

        run_sql(destination_path,
                "INSERT INTO baton_parked SELECT session, position, 'why', key, type, at, payload "
                "FROM baton_events WHERE position IN (9, 10);"
                "DELETE FROM baton_events WHERE position IN (9, 10)");
        result = verify();
        found(&result, 0, 0, 0, 0, 0);
        cr_assert(verify_result_is_clean(&result));
        cr_assert_eq(result.parked.count, 2);
        cr_assert_eq(result.found, EVENTS - 2);
}

Test(cli_verify, parked_and_moved_is_twice) {
        struct verify_result result;

        run_sql(destination_path,
                "INSERT INTO baton_parked SELECT session, position, 'why', key, type, at, payload "
                "FROM baton_events WHERE position = 9");
        result = verify();
        found(&result, 0, 1, 0, 0, 0);
}

Test(cli_verify, a_cleaned_source_is_proved_by_count_and_digest) {
        struct verify_result result;

        run_sql(source_path, "DELETE FROM outbox WHERE seq < 2500");
        result = verify();
        cr_assert(verify_result_is_clean(&result));
        cr_assert_eq(result.cleaned, 2499);
        cr_assert_eq(result.expected, EVENTS);
        run_sql(source_path, "DELETE FROM outbox");
        result = verify();
        cr_assert(verify_result_is_clean(&result), "also where nothing is left");
        cr_assert_eq(result.cleaned, EVENTS);
}

Test(cli_verify, a_cleaned_source_hides_no_loss_and_no_change) {
        struct verify_result result;

        run_sql(source_path, "DELETE FROM outbox WHERE seq < 2500");
        run_sql(destination_path, "DELETE FROM baton_events WHERE position = 3");
        result = verify();
        found(&result, 1, 0, 0, 0, 0);
        cr_assert(result.count_differs);
        run_sql(destination_path,
                "INSERT INTO baton_events VALUES ('orders', 3, 'other', NULL, 1003, '{\"n\":3}')");
        result = verify();
        cr_assert(!result.count_differs && result.digest_differs);
        cr_assert(!verify_result_is_clean(&result));
}

Test(cli_verify, a_file_that_is_no_database_is_said) {
        struct verify_source *source = NULL;
        struct verify_result result = {};
        struct failure failure = {};
        FILE *file = fopen(destination_path, "w");

        (void) fputs("this is no database, but long enough to look at", file);
        (void) fclose(file);
        cr_assert_eq(verify_source_open(&source_url, source_scheme, &source, &failure), 0);
        cr_assert_lt(verify_sqlite(&destination_url, destination_scheme, "orders", source, &result, &failure),
                     0);
        cr_assert_not_null(strstr(failure.text, destination_path), "%s", failure.text);
        verify_source_close(source);
}

/* ---- files -------------------------------------------------------------------------------------- */

/* A journal that says: moved up to EVENTS. */
static void make_journal(void) {
        struct journal_config config = { .state_directory = state_path,
                                         .destination = "archive",
                                         .instance = instance,
                                         .worker_generation = 1,
                                         .synced = true };
        struct checkpoint checkpoint = { .session = "orders",
                                         .epoch = 1,
                                         .position = EVENTS,
                                         .event_count = EVENTS,
                                         .digest_sum = digest_sum(EVENTS) };
        struct journal *journal = NULL;
        struct failure failure = {};
        char path[400];
        FILE *file;

        memcpy(checkpoint.instance, instance, sizeof(instance));
        cr_assert_eq(dir_make(state_path, 0700), 0);
        (void) snprintf(path, sizeof(path), "%s/instance", state_path);
        file = fopen(path, "w");
        for (size_t i = 0; i < INSTANCE_BYTES; i++)
                fprintf(file, "%02x", instance[i]);
        (void) fclose(file);
        cr_assert_eq(journal_open(&config, &journal, &failure), 0, "%s", failure.text);
        cr_assert_eq(journal_append(journal, JOURNAL_MOVED, &checkpoint, &failure), 0, "%s", failure.text);
        journal_close(journal);
}

/* The destination as it was at position OLDER. */
static void restore_older_backup(void) {
        run_sql(destination_path,
                "DELETE FROM baton_events WHERE position > %d;"
                "UPDATE baton_checkpoint SET position = %d, event_count = %d, digest_sum = %lld",
                OLDER, OLDER, OLDER, (long long) digest_sum(OLDER));
}

/* Writes events first … last as lines, but one, and repeats another (0: none). */
static void write_lines(unsigned number, uint64_t first, uint64_t last, uint64_t without, uint64_t twice) {
        char path[400], key[32], payload[64];
        FILE *file;

        cr_assert_eq(dir_make(lines_path, 0700), 0);
        (void) snprintf(path, sizeof(path), "%s/orders.%06u.jsonl", lines_path, number);
        file = fopen(path, "a");
        for (uint64_t i = first; i <= last; i++) {
                struct event event = event_at(i, key, payload);

                for (unsigned k = 0; k < 1u + (i == twice) - (i == without); k++)
                        fprintf(file,
                                "{\"session\":\"orders\",\"position\":%u,\"key\":\"%s\",\"type\":null,\"at\":%u,"
                                "\"payload\":%s}\n",
                                (unsigned) i, key, (unsigned) event.at.integer, payload);
        }
        (void) fclose(file);
}

static int verify_lines(struct verify_result *ret_result, struct failure *ret_failure) {
        struct verify_source *source = NULL;
        int r;

        parse("file", lines_path, destination_schemes, &destination_url, &destination_scheme);
        cr_assert_eq(verify_source_open(&source_url, source_scheme, &source, ret_failure), 0);
        r = verify_file(&destination_url, "archive", state_path, "orders", source, ret_result, ret_failure);
        verify_source_close(source);
        return r;
}

static struct verify_result lines_verified(void) {
        struct verify_result result = {};
        struct failure failure = {};

        cr_assert_eq(verify_lines(&result, &failure), 0, "%s", failure.text);
        return result;
}

Test(cli_verify, lines_in_several_files_are_the_same_m3) {
        struct verify_result result;
        char path[400];
        FILE *file;

        make_journal();
        write_lines(1, 1, 1000, 0, 0);
        write_lines(2, 1001, EVENTS, 0, 0);
        write_lines(2, EVENTS + 1, EVENTS + 5, 0, 0); /* not recorded yet: a mover is at work */
        (void) snprintf(path, sizeof(path), "%s/orders.000002.jsonl", lines_path);
        file = fopen(path, "a");
        (void) fputs("{\"session\":\"orders\",\"posi", file);
        (void) fclose(file);
        result = lines_verified();
        found(&result, 0, 0, 0, 0, 0);
        cr_assert(verify_result_is_clean(&result));
        cr_assert_eq(result.found, EVENTS);
}

Test(cli_verify, planted_damage_in_lines_is_found) {
        struct verify_result result;

        make_journal();
        write_lines(1, 1, 1999, 50, 70);
        write_lines(1, 2001, 2001, 0, 0);
        write_lines(1, 2000, 2000, 0, 0);
        write_lines(1, 2002, EVENTS, 0, 0);
        run_sql(source_path, "UPDATE outbox SET payload = '{\"n\":-1}' WHERE seq = 2500");
        result = lines_verified();
        found(&result, 1, 1, 1, 1, 0);
        cr_assert_eq(result.missing.examples[0], 50);
        cr_assert_eq(result.duplicated.examples[0], 70);
        cr_assert_eq(result.out_of_order.examples[0], 2000);
        cr_assert_eq(result.different.examples[0], 2500);
}

Test(cli_verify, cleaned_lines_are_proved_or_said_to_be_open) {
        struct verify_result result;

        make_journal();
        write_lines(1, 1, EVENTS, 0, 0);
        run_sql(source_path, "DELETE FROM outbox WHERE seq < 2000");
        result = lines_verified();
        cr_assert(verify_result_is_clean(&result));
        cr_assert(!result.digest_is_open);
        cr_assert_eq(result.cleaned, 1999);
}

/* C2, J5: verify reads journals and changes none, not even a dead worker's torn tail; a damaged one says
 * nothing of whether source and destination differ. */
Test(cli_verify, a_journal_is_read_and_never_mended_c2) {
        struct verify_result result = {};
        struct failure failure = {};
        struct stat before, after;
        char path[400];
        int fd;

        make_journal();
        write_lines(1, 1, EVENTS, 0, 0);
        (void) snprintf(path, sizeof(path), "%s/journal/archive/0000-1.journal", state_path);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        cr_assert_geq(fd, 0, "%s", path);
        cr_assert_eq(pwrite(fd, "\x10\x01\0\0torn", 8, JOURNAL_HEADER_BYTES + JOURNAL_RECORD_BYTES), 8);
        cr_assert_eq(stat(path, &before), 0);
        result = lines_verified();
        cr_expect(verify_result_is_clean(&result));
        cr_assert_eq(stat(path, &after), 0);
        cr_expect_eq(after.st_size, before.st_size, "verify cut a journal");

        cr_assert_eq(pwrite(fd, "damaged", 7, JOURNAL_HEADER_BYTES + 40), 7);
        (void) close(fd);
        cr_expect_eq(verify_lines(&result, &failure), -EUCLEAN);
        cr_expect(strstr(failure.text, "baton journal check"), "%s", failure.text);
}

/* M1: an older copy of a database agrees with the source up to its own checkpoint; only the journal tells. */
Test(cli_verify, a_database_that_is_behind_the_journal_is_an_older_copy_m1) {
        struct verify_memory memory;
        struct verify_result result;

        make_journal();
        verify_memory_read(state_path, "archive", "orders", &memory);
        result = verify();
        verify_memory_compare(&memory, &result);
        cr_expect(!result.is_behind, "the journal is as far as the destination");
        cr_expect(verify_result_is_clean(&result));

        restore_older_backup();
        result = verify();
        found(&result, 0, 0, 0, 0, 0);
        verify_memory_compare(&memory, &result);
        cr_expect(result.is_behind);
        cr_expect_eq(result.memory.position, EVENTS);
        cr_expect_eq(result.checkpoint.position, OLDER);
        cr_expect_str_eq(result.memory.file_name, "0000-1.journal");
        cr_expect(!verify_result_is_clean(&result));
}

/* What cannot be remembered is said, and says nothing against what was compared. */
Test(cli_verify, a_journal_that_cannot_be_read_hides_nothing_of_the_rest) {
        struct verify_memory memory;
        struct verify_result result = verify();
        char path[400];
        int fd;

        verify_memory_read(state_path, "archive", "orders", &memory);
        verify_memory_compare(&memory, &result);
        cr_expect(!memory.is_read && !result.is_behind);
        cr_expect(strstr(memory.failure.text, "instance"), "%s", memory.failure.text);
        cr_expect(verify_result_is_clean(&result));

        make_journal();
        (void) snprintf(path, sizeof(path), "%s/journal/archive/0000-1.journal", state_path);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        cr_assert_eq(pwrite(fd, "damaged", 7, 56), 7); /* in its header */
        (void) close(fd);
        verify_memory_read(state_path, "archive", "orders", &memory);
        verify_memory_compare(&memory, &result);
        cr_expect(!memory.is_read && !result.is_behind);
        cr_expect(strstr(memory.failure.text, "baton journal check"), "%s", memory.failure.text);
        cr_expect(verify_result_is_clean(&result));

        verify_memory_read(state_path, "archive", "payments", &memory);
        cr_expect(memory.failure.text[0], "the damage may be anyone's");
        verify_memory_read(state_path, "events", "orders", &memory);
        cr_expect(memory.is_read && memory.position == 0, "no journal knows it: nothing was seen durable");
}

Test(cli_verify, a_damaged_line_is_named) {
        struct verify_result result;
        struct failure failure = {};
        char path[400];
        FILE *file;

        make_journal();
        write_lines(1, 1, 10, 0, 0);
        (void) snprintf(path, sizeof(path), "%s/orders.000001.jsonl", lines_path);
        file = fopen(path, "a");
        (void) fputs("something else\n", file);
        (void) fclose(file);
        cr_assert_eq(verify_lines(&result, &failure), -EBADMSG);
        cr_assert_not_null(strstr(failure.text, "line 11"), "%s", failure.text);
}
