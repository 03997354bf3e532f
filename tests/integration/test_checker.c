/* SPDX-License-Identifier: Apache-2.0 */
/* The judge is judged: each kind of damage is planted at a destination, and the checker must find it and
 * name it; where there is none it must say so. No Baton process takes part. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prove/world/outbox.h"
#include "tests/integration/test.h"

#define EVENTS "40"

static struct world world;
static char destination[WORLD_PATH_BYTES * 2];

static const char *file(const char *name) {
        return world_path(&world, name);
}

/* Source a with 40 events; the world knows it, though `baton` did not make it. */
static void begin(void) {
        struct world_outbox *outbox;

        test_begin(&world);
        outbox = &world.outboxes[world.outbox_count++];
        strcpy(outbox->name, "a");
        (void) snprintf(outbox->file, sizeof(outbox->file), "%.500s", file("a.db"));
        database_run(&world, outbox->file,
                     "CREATE TABLE outbox(seq INTEGER PRIMARY KEY, key, type, at, payload);"
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " EVENTS ")"
                     "INSERT INTO outbox SELECT i, 'k' || (i % 3), 'made', '2026-01-01T00:00:00Z',"
                     " '{\"n\":' || i || ',\"text\":\"a, {b}: \\\"c\\\" \"}' FROM n");
}

static void end(void) {
        test_end(&world);
}

TestSuite(checker, .init = begin, .fini = end, .timeout = 60);

/* ---- SQLite ------------------------------------------------------------------------------------ */
/* What a correct mover would have left; `table` decides about keys. The digest sum is the product's
 * specification (include/baton/event.h), taken here from the checker's own complaint. */
static void move_to_sqlite(const char *create_events) {
        char sql[2048];

        (void) snprintf(destination, sizeof(destination), "sqlite:%s", file("d.db"));
        (void) snprintf(
                sql, sizeof(sql),
                "%s;"
                "CREATE TABLE baton_checkpoint(session TEXT PRIMARY KEY, position, event_count, parked_count,"
                " digest_sum);"
                "CREATE TABLE baton_parked(session, position, key, type, at, payload, reason);"
                "ATTACH '%s' AS s;"
                "INSERT INTO baton_events SELECT 'a', seq, key, type, at, payload FROM s.outbox ORDER BY seq;"
                "INSERT INTO baton_checkpoint VALUES ('a', " EVENTS ", " EVENTS ", 0, 0)",
                create_events, world.outboxes[0].file);
        database_run(&world, file("d.db"), sql);
}

static void set_digest_sum(void) {
        char sql[160], *rows;

        (void) check_says(&world, destination, "--live");
        rows = strstr(world.output, "the rows say");
        cr_assert(rows, "the checker does not look at the digest sum: %s", world.output);
        rows = strstr(rows, "), ");
        cr_assert(rows);
        (void) snprintf(sql, sizeof(sql), "UPDATE baton_checkpoint SET digest_sum = %lld",
                        (long long) strtoull(rows + 3, NULL, 16));
        database_run(&world, file("d.db"), sql);
}

static void move_well(void) {
        move_to_sqlite(
                "CREATE TABLE baton_events(session TEXT NOT NULL, position INTEGER NOT NULL, key, type, at,"
                " payload, PRIMARY KEY (session, position)) WITHOUT ROWID");
        set_digest_sum();
}

static void move_without_key(void) {
        move_to_sqlite("CREATE TABLE baton_events(session, position, key, type, at, payload)");
        set_digest_sum();
}

static void damage(const char *sql) {
        database_run(&world, file("d.db"), sql);
}

static void expect_good(const char *mode) {
        cr_expect(check_says(&world, destination, mode), "%s: %s", mode, world.output);
}

static void expect_wrong(const char *mode, const char *words) {
        cr_expect(!check_says(&world, destination, mode), "%s: it says good", mode);
        cr_expect(strstr(world.output, words), "it does not say \"%s\": %s", words, world.output);
}

Test(checker, says_good_where_all_is_well) {
        move_well();
        expect_good("--final");
        expect_good("--live");
        cr_expect(strstr(world.output, "found 40"), "%s", world.output);
}

Test(checker, tells_a_prefix_from_a_loss) {
        move_well();
        damage("DELETE FROM baton_events WHERE position > 30");
        damage("UPDATE baton_checkpoint SET position = 30, event_count = 30");
        set_digest_sum();
        expect_good("--live");
        expect_wrong("--final", "missing 10");
}

Test(checker, finds_a_loss) {
        move_well();
        damage("DELETE FROM baton_events WHERE position = 17");
        expect_wrong("--live", "missing 1");
        expect_wrong("--final", "missing: session a, position 17");
}

Test(checker, finds_a_loss_although_the_checkpoint_hides_it) {
        move_well();
        damage("DELETE FROM baton_events WHERE position = 17; UPDATE baton_checkpoint SET event_count = 39");
        set_digest_sum();
        expect_wrong("--live", "missing 1");
}

Test(checker, finds_a_duplicate) {
        move_without_key();
        damage("INSERT INTO baton_events SELECT * FROM baton_events WHERE position = 40");
        expect_wrong("--live", "duplicated 1");
}

Test(checker, finds_events_stored_out_of_order) {
        move_without_key();
        damage("UPDATE baton_events SET position = 900 WHERE position = 7;"
               "UPDATE baton_events SET position = 7 WHERE position = 8;"
               "UPDATE baton_events SET position = 8 WHERE position = 900;"
               "UPDATE baton_events AS b SET key = s.key, payload = s.payload FROM"
               " (SELECT 7 AS p, 'k1' AS key, '{\"n\":7,\"text\":\"a, {b}: \\\"c\\\" \"}' AS payload UNION ALL"
               "  SELECT 8, 'k2', '{\"n\":8,\"text\":\"a, {b}: \\\"c\\\" \"}') AS s WHERE b.position = s.p");
        expect_wrong("--live", "out of order 1");
}

Test(checker, finds_two_events_whose_content_was_swapped) {
        move_well();
        damage("CREATE TEMP TABLE t AS SELECT * FROM baton_events WHERE position IN (7, 8);"
               "UPDATE baton_events SET payload = (SELECT payload FROM t WHERE position = 8) WHERE position = 7;"
               "UPDATE baton_events SET payload = (SELECT payload FROM t WHERE position = 7) WHERE position = 8");
        expect_wrong("--live", "different 2");
}

Test(checker, finds_a_changed_payload) {
        move_well();
        damage("UPDATE baton_events SET payload = payload || ' ' WHERE position = 3");
        expect_wrong("--live", "different: session a, position 3, column payload (content)");
}

Test(checker, finds_a_changed_storage_class) {
        move_well();
        damage("UPDATE baton_events SET payload = CAST(payload AS BLOB) WHERE position = 3");
        expect_wrong("--live", "different: session a, position 3, column payload (storage class)");
}

Test(checker, finds_a_row_that_the_source_never_had) {
        move_well();
        damage("INSERT INTO baton_events SELECT session, 41, key, type, at, payload FROM baton_events"
               " WHERE position = 40");
        expect_wrong("--live", "unexpected 1");
}

Test(checker, finds_an_unknown_session) {
        move_well();
        damage("INSERT INTO baton_events SELECT 'b', position, key, type, at, payload FROM baton_events"
               " WHERE position = 1");
        expect_wrong("--live", "unknown session b");
}

Test(checker, finds_an_event_in_the_wrong_session) {
        move_well();
        damage("UPDATE baton_events SET session = 'b' WHERE position = 5");
        expect_wrong("--live", "missing 1");
}

Test(checker, finds_a_checkpoint_that_disagrees) {
        move_well();
        damage("UPDATE baton_checkpoint SET position = 39");
        expect_wrong("--live", "checkpoint: session a says position 39");
        damage("UPDATE baton_checkpoint SET position = 40, event_count = 41");
        expect_wrong("--live", "41 events");
        damage("UPDATE baton_checkpoint SET event_count = 40, digest_sum = digest_sum + 1");
        expect_wrong("--live", "digest sum");
        damage("DELETE FROM baton_checkpoint");
        expect_wrong("--live", "no checkpoint");
}

Test(checker, counts_parked_events_as_stepped_over_and_wants_a_reason) {
        move_well();
        damage("INSERT INTO baton_parked SELECT session, position, key, type, at, payload, 'no room for it'"
               " FROM baton_events WHERE position = 9; DELETE FROM baton_events WHERE position = 9;"
               "UPDATE baton_checkpoint SET parked_count = 1");
        expect_good("--final");
        cr_expect(strstr(world.output, "no room for it"), "%s", world.output);
        cr_expect(strstr(world.output, "parked 1"), "%s", world.output);
        damage("UPDATE baton_parked SET reason = ''");
        expect_wrong("--final", "parked without a reason");
}

/* With --parked, which the world does not give. */
static int judge_parked(const char *expression, const char *mode) {
        char source[WORLD_PATH_BYTES * 2];

        (void) snprintf(source, sizeof(source), "a=%s", world.outboxes[0].file);
        return world_run(&world, "baton-checker", "--destination", destination, "--source", source,
                         "--parked", expression, mode, NULL);
}

Test(checker, where_it_is_known_what_must_be_parked_nothing_else_may_be) {
        move_well();
        cr_expect_eq(judge_parked("0", "--final"), 0, "%s", world.output);
        cr_expect_eq(judge_parked("seq = 9", "--final"), 1);
        cr_expect(strstr(world.output, "position 9, it should have been parked"), "%s", world.output);
        damage("INSERT INTO baton_parked SELECT session, position, key, type, at, payload, 'why'"
               " FROM baton_events WHERE position = 9; DELETE FROM baton_events WHERE position = 9;"
               "UPDATE baton_checkpoint SET parked_count = 1");
        cr_expect_eq(judge_parked("seq = 9", "--final"), 0, "%s", world.output);
        cr_expect_eq(judge_parked("0", "--live"), 1);
        cr_expect(strstr(world.output, "position 9, it is parked and should not be"), "%s", world.output);
        cr_expect_eq(judge_parked("no such column", "--live"), 2);
}

Test(checker, finds_an_event_both_moved_and_parked) {
        move_well();
        damage("INSERT INTO baton_parked SELECT session, position, key, type, at, payload, 'why'"
               " FROM baton_events WHERE position = 9");
        expect_wrong("--live", "duplicated 1");
}

Test(checker, takes_the_ledger_where_the_source_was_cleaned) {
        move_well();
        database_run(&world, file("a.db"),
                     "CREATE TABLE ledger AS SELECT * FROM outbox;"
                     "DELETE FROM outbox WHERE seq < 40");
        expect_wrong("--final", "unexpected 39");
        world.outboxes[0].has_ledger = true;
        expect_good("--final");
}

/* ---- JSON lines -------------------------------------------------------------------------------- */
static void move_to_lines(void) {
        char path[WORLD_PATH_BYTES * 2];
        FILE *lines;

        (void) mkdir(file("lines"), 0700);
        (void) snprintf(destination, sizeof(destination), "file:%s", file("lines"));
        (void) snprintf(path, sizeof(path), "%s/a.jsonl", file("lines"));
        lines = fopen(path, "we");
        cr_assert(lines);
        for (int i = 1; i <= 40; i++)
                fprintf(lines,
                        "{\"session\":\"a\",\"position\":%d,\"key\":\"k%d\",\"type\":\"made\","
                        "\"at\":\"2026-01-01T00:00:00Z\",\"payload\":{\"n\":%d,\"text\":\"a, {b}: \\\"c\\\" \"}}\n",
                        i, i % 3, i);
        cr_assert_eq(fclose(lines), 0);
}

/* Runs sed on the file of lines. */
static void damage_lines(const char *script) {
        char command[WORLD_PATH_BYTES * 3];

        (void) snprintf(command, sizeof(command), "sed -i '%s' '%s/a.jsonl'", script, file("lines"));
        cr_assert_eq(system(command), 0);
}

Test(checker, lines_say_good_where_all_is_well) {
        move_to_lines();
        expect_good("--final");
        damage_lines("$d");
        expect_good("--live");
        expect_wrong("--final", "missing 1");
}

Test(checker, lines_find_a_loss) {
        move_to_lines();
        damage_lines("17d");
        expect_wrong("--live", "missing: session a, position 17");
}

Test(checker, lines_find_a_duplicate) {
        move_to_lines();
        damage_lines("17p");
        expect_wrong("--live", "duplicated 1");
}

Test(checker, lines_find_a_swap) {
        move_to_lines();
        damage_lines("17{h;d};18G");
        expect_wrong("--live", "out of order 1");
}

Test(checker, lines_find_a_changed_payload) {
        move_to_lines();
        damage_lines("17s/\"n\":17/\"n\":17.0/");
        expect_wrong("--live", "different: session a, position 17, column payload");
}

Test(checker, lines_find_a_changed_class) {
        move_to_lines();
        damage_lines("17s/\"type\":\"made\"/\"type\":null/");
        expect_wrong("--live", "column type (storage class)");
}

Test(checker, lines_find_an_extra_line_and_a_wrong_session) {
        move_to_lines();
        damage_lines("40{p;s/\"position\":40/\"position\":41/}");
        expect_wrong("--live", "unexpected 1");
        damage_lines("3s/\"session\":\"a\"/\"session\":\"z\"/");
        expect_wrong("--live", "unknown session z");
}

Test(checker, lines_find_a_torn_end) {
        char command[WORLD_PATH_BYTES * 3];

        move_to_lines();
        (void) snprintf(command, sizeof(command), "printf '{\"session\":\"a\"' >>'%s/a.jsonl'",
                        file("lines"));
        cr_assert_eq(system(command), 0);
        expect_good("--live");
        expect_wrong("--final", "torn");
        damage_lines("5s/^/x/");
        expect_wrong("--live", "line 5");
}

/* Lines and parked lines are written one after the other: what stands in one file alone is being written. */
Test(checker, lines_of_a_batch_half_written_are_a_prefix) {
        char command[WORLD_PATH_BYTES * 3];

        move_to_lines();
        /* Event 38 has no JSON form; its parked line is still to come, then those behind it are. */
        database_run(&world, file("a.db"), "UPDATE outbox SET payload = 'no json' WHERE seq = 38");
        damage_lines("38d");
        expect_good("--live");
        expect_wrong("--final", "missing: session a, position 38");
        (void) snprintf(command, sizeof(command),
                        "printf '{\"session\":\"a\",\"position\":38,\"key\":null,\"type\":null,\"at\":null,"
                        "\"payload\":\"no json\",\"reason\":\"no JSON\"}\\n' >'%s/a.parked.jsonl'",
                        file("lines"));
        cr_assert_eq(system(command), 0);
        cr_expect_eq(judge_parked("0", "--final"), 0, "%s", world.output);
        damage_lines("30,$d");
        expect_good("--live");
        expect_wrong("--final", "missing 10"); /* 30 to 37, 39 and 40 */
        damage_lines("20d");
        expect_wrong("--live", "missing: session a, position 20");
}

Test(checker, lines_do_not_excuse_a_parked_event_that_others_are_parked_behind) {
        char command[WORLD_PATH_BYTES * 3];

        move_to_lines();
        database_run(&world, file("a.db"), "UPDATE outbox SET payload = 'no json' WHERE seq IN (20, 30)");
        damage_lines("20d;30d");
        (void) snprintf(command, sizeof(command),
                        "printf '{\"session\":\"a\",\"position\":30,\"key\":null,\"type\":null,\"at\":null,"
                        "\"payload\":\"no json\",\"reason\":\"no JSON\"}\\n' >'%s/a.parked.jsonl'",
                        file("lines"));
        cr_assert_eq(system(command), 0);
        expect_wrong("--live", "missing: session a, position 20");
}

/* A schema that cannot be read is no empty one: what stood there would pass for a prefix of nothing. */
Test(checker, does_not_take_an_unreadable_destination_for_an_empty_one) {
        move_well();
        database_run(&world, file("d.db"), "PRAGMA journal_mode = DELETE");
        world_shell(&world, "printf xxxx | dd of=d.db bs=1 seek=100 conv=notrunc status=none");
        cr_expect_eq(judge_parked("0", "--live"), 2, "%s", world.output);
}

Test(checker, refuses_what_it_cannot_judge) {
        cr_expect_eq(world_run(&world, "baton-checker", NULL), 2);
        cr_expect_eq(world_run(&world, "baton-checker", "--destination", "ftp:x", "--source", "a=b", NULL),
                     2);
        cr_expect_eq(world_run(&world, "baton-checker", "--destination", "sqlite:/x", "--source", "nonsense",
                               NULL),
                     2);
}
