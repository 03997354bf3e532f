/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a destination: full, restored, of another instance, a file, two of them; and that the
 * fused path is the row path to the last byte (M1, M3, M6, M8, M13, M14). Each test ends with the checker. */
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prove/world/outbox.h"
#include "tests/integration/test.h"

static struct world world;
static char destination_text[WORLD_PATH_BYTES * 2];

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        /* The small file system of a test: unmounted, or its directory cannot be removed. */
        (void) umount2(world_path(&world, "small"), MNT_DETACH);
        test_end(&world);
}

TestSuite(destination, .init = begin, .fini = end, .timeout = 120);

static const char *file(const char *name) {
        return world_path(&world, name);
}

static const char *destination(const char *scheme, const char *name) {
        (void) snprintf(destination_text, sizeof(destination_text), "%s:%s", scheme, file(name));
        return destination_text;
}

/* ---- SQLite ------------------------------------------------------------------------------------ */
Test(destination, full_disk_stops_it_and_room_lets_it_go_on) {
        char options[] = "size=4m,mode=0700";

        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
            mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
                cr_skip("needs root and a mount namespace of its own for a small file system");
        world_shell(&world, "mkdir small");
        cr_assert_eq(mount("tmpfs", file("small"), "tmpfs", 0, options), 0);
        world_outbox(&world, "a");
        world_outbox(&world, "b");
        world_config(&world,
                     "[baton]\nadopt-timeout = 5s\n"
                     "[destination d]\nurl = sqlite:%D/small/d.db\nbatch-rows = 500\n"
                     "[source a]\nurl = sqlite:%D/a.db\nto = d\n[source b]\nurl = sqlite:%D/b.db\nto = d\n");
        world_start(&world);
        struct writer_options options_a = {
                .source = "a", .events = 8000, .payload_bytes = 600, .transaction_events = 500
        };

        outbox_fill_options(&world, &options_a);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_WAITING));
        WAIT_UNTIL(&world, session_says(&world, "a", "full") || session_says(&world, "a", "space"));
        cr_expect_gt(session_position(&world, "a"), 0);
        cr_expect_lt(session_position(&world, "a"), 8000);
        check_destination(&world, destination("sqlite", "small/d.db"), "--live");
        cr_assert_eq(mount("tmpfs", file("small"), "tmpfs", MS_REMOUNT, "size=64m,mode=0700"), 0);
        outbox_fill(&world, "b", 300);
        wait_all_moved(&world);
        check_destination(&world, destination("sqlite", "small/d.db"), "--final");
}

Test(destination, restored_from_an_older_backup_is_noticed) {
        struct session_status status;

        world_outbox(&world, "a");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        outbox_fill(&world, "a", 200);
        wait_all_moved(&world);
        database_run(&world, file("d.db"), "VACUUM INTO 'backup.db'");
        outbox_fill(&world, "a", 200);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        world_shell(&world, "rm -f d.db-wal d.db-shm && mv backup.db d.db");
        /* What it holds agrees with the source; the journal alone knows that it once held more (M1). */
        cr_expect_eq(baton(&world, "verify", "-c", world.config), 5, "%s", world.output);
        cr_expect(strstr(world.output, "saw 400 durable, the destination holds 200"), "%s", world.output);
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "backup"), "%s", session_reason(&world, "a"));
        /* It stopped within the new owner's first claim, so that owner has read nothing that counts (C4). */
        cr_assert(session_status(&world, "a", &status));
        cr_expect_eq(status.position, UINT64_MAX);
        cr_expect_eq(status.event_count, UINT64_MAX);
        cr_expect_eq(status.parked_count, UINT64_MAX);
        check_live(&world);
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        wait_all_moved(&world);
        cr_expect_eq(baton(&world, "verify", "-c", world.config), 0, "%s", world.output);
        check_final(&world);
}

/* Through SQLite, into the open file, and within one ownership: inode and epoch stay what they were. */
Test(destination, restored_under_a_running_worker_is_noticed) {
        world_outbox(&world, "a");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        outbox_fill(&world, "a", 200);
        wait_all_moved(&world);
        database_run(&world, file("d.db"), "VACUUM INTO 'backup.db'");
        outbox_fill(&world, "a", 200);
        wait_all_moved(&world);
        database_restore(&world, file("d.db"), file("backup.db"));
        outbox_fill(&world, "a", 10);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "backup"), "%s", session_reason(&world, "a"));
        check_live(&world);
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        wait_all_moved(&world);
        check_final(&world);
}

/* Somebody's trigger takes the transaction of all sessions away: its own stops, nothing half is left. */
Test(destination, a_trigger_that_rolls_back_stops_its_session_alone) {
        world_outbox(&world, "a");
        world_outbox(&world, "b");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        outbox_fill(&world, "a", 10);
        outbox_fill(&world, "b", 10);
        wait_all_moved(&world);
        database_run(
                &world, file("d.db"),
                "CREATE TRIGGER no BEFORE INSERT ON baton_events WHEN NEW.session = 'a' AND NEW.position = 25"
                " BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END");
        outbox_fill(&world, "a", 30);
        outbox_fill(&world, "b", 30);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "RAISE(ROLLBACK)"), "%s", session_reason(&world, "a"));
        wait_moved(&world, "b", "b");
        check_live(&world);
        cr_expect_eq(database_number(&world, file("d.db"), "SELECT count(*) FROM baton_parked"), 0);
        database_run(&world, file("d.db"), "DROP TRIGGER no");
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        wait_all_moved(&world);
        check_final(&world);
}

/* M1: accepted, it is no longer stopped, though there is nothing that could be moved and say so. */
Test(destination, restored_and_adopted_while_the_source_is_empty) {
        world_outbox_cleaned(&world, "a");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        database_run(&world, file("d.db"), "VACUUM INTO 'backup.db'");
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        world_shell(&world, "rm -f d.db-wal d.db-shm && mv backup.db d.db");
        /* What the destination lost is gone from the source too. */
        database_run(&world, file("a.db"), "DELETE FROM outbox; DELETE FROM ledger WHERE seq > 100");
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_IDLE));
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        check_final(&world);
}

Test(destination, of_another_instance_is_refused) {
        world_outbox(&world, "a");
        outbox_fill(&world, "a", 100);
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        world_shell(&world, "rm -rf state && mkdir state"); /* another machine's Baton, so to speak */
        outbox_fill(&world, "a", 100);
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "another Baton"), "%s", session_reason(&world, "a"));
        check_live(&world);
        cr_expect_eq(database_number(&world, file("d.db"), "SELECT count(*) FROM baton_events"), 100);
}

Test(destination, whose_directory_comes_later) {
        world_outbox(&world, "a");
        outbox_fill(&world, "a", 100);
        world_config(&world, "[destination d]\nurl = sqlite:%D/sub/d.db\n"
                             "[source a]\nurl = sqlite:%D/a.db\nto = d\n");
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_WAITING));
        world_shell(&world, "mkdir sub");
        wait_all_moved(&world);
        check_destination(&world, destination("sqlite", "sub/d.db"), "--final");
}

Test(destination, that_an_application_reads_and_locks_meanwhile) {
        struct writer_options options = { .source = "a", .events = 3000, .per_second = 5000 };

        world_outbox(&world, "a");
        world_config_standard(&world, 2, NULL);
        world_start(&world);
        pid_t writer = writer_start(&world, &options);

        WAIT_UNTIL(&world, session_position(&world, "a") > 100);
        for (unsigned i = 0; i < 20; i++)
                database_run(
                        &world, file("d.db"),
                        "BEGIN IMMEDIATE; SELECT count(*) FROM baton_events; CREATE TABLE IF NOT EXISTS mine(x);"
                        "INSERT INTO mine VALUES (1); COMMIT");
        writer_wait(&world, writer);
        wait_all_moved(&world);
        check_final(&world);
}

Test(destination, table_of_another_name) {
        world_outbox(&world, "a");
        outbox_fill(&world, "a", 100);
        world_config(&world, "[destination d]\nurl = sqlite:%D/d.db?table=inbox\n"
                             "[source a]\nurl = sqlite:%D/a.db\nto = d\n");
        world_start(&world);
        wait_all_moved(&world);
        check_destination(&world, destination("sqlite", "d.db:inbox"), "--final");
}

/* ---- fused against row (M13) ------------------------------------------------------------------- */
#define BYTES(column) "typeof(" column "), hex(CAST(" column " AS BLOB))"
#define ROWS \
        "SELECT session, position, " BYTES("key") ", " BYTES("type") ", " BYTES("at") ", " BYTES("payload")

Test(destination, fused_and_row_path_leave_the_same_bytes) {
        struct writer_options options = {
                .source = "a", .events = 1400, .mixes_classes = true, .rolls_back = true, .leaves_gaps = true
        };
        struct session_status status;

        world_outbox(&world, "a");
        world_outbox(&world, "b");
        world_config(&world, "[baton]\nadopt-timeout = 5s\n"
                             "[destination d]\nurl = sqlite:%D/d.db\nfused = yes\nbatch-bytes = 256K\n"
                             "[destination r]\nurl = sqlite:%D/r.db\nfused = no\nbatch-bytes = 64K\n"
                             "[source a]\nurl = sqlite:%D/a.db\nto = d, r\n"
                             "[source b]\nurl = sqlite:%D/b.db\nto = d, r\n");
        world_start(&world);
        outbox_fill_options(&world, &options);
        outbox_fill(&world, "b", 3000);
        for (unsigned i = 0; i < 4; i++)
                wait_moved(&world, (const char *[]){ "a/d", "a/r", "b/d", "b/r" }[i], i < 2 ? "a" : "b");
        cr_expect(session_status(&world, "a/d", &status) && status.path == 2, "d took the fused path");
        cr_expect(session_status(&world, "a/r", &status) && status.path == 1, "r took the row path");
        cr_assert_eq(world_stop(&world), 0);
        check_destination(&world, destination("sqlite", "d.db"), "--final");
        check_destination(&world, destination("sqlite", "r.db"), "--final");
        cr_expect_eq(database_number(&world, file("d.db"),
                                     "ATTACH 'r.db' AS r;"
                                     "SELECT (SELECT count(*) FROM (" ROWS
                                     " FROM main.baton_events EXCEPT " ROWS
                                     " FROM r.baton_events)) + (SELECT count(*) FROM (" ROWS
                                     " FROM r.baton_events EXCEPT " ROWS " FROM main.baton_events))"),
                     0);
        cr_expect_eq(
                database_number(
                        &world, file("d.db"),
                        "ATTACH 'r.db' AS r;"
                        "SELECT count(*) FROM (SELECT session, position, event_count, digest_sum, anchor,"
                        " parked_count, source_identity FROM main.baton_checkpoint EXCEPT SELECT session,"
                        " position, event_count, digest_sum, anchor, parked_count, source_identity"
                        " FROM r.baton_checkpoint)"),
                0);
}

/* An event larger than the batch limit is moved alone, on both paths. */
Test(destination, an_event_larger_than_the_batch_limit_is_moved_alone) {
        world_outbox(&world, "a");
        database_run(&world, file("a.db"),
                     "INSERT INTO outbox(key, type, at, payload) VALUES ('k', 't', 'x', '1'),"
                     " ('k', 't', 'x', hex(zeroblob(100000))), ('k', 't', 'x', '3'),"
                     " ('k', 't', 'x', hex(zeroblob(3000000))), ('k', 't', 'x', '5')");
        world_config(&world, "[destination d]\nurl = sqlite:%D/d.db\nfused = yes\nbatch-bytes = 4K\n"
                             "[destination r]\nurl = sqlite:%D/r.db\nfused = no\nbatch-bytes = 4K\n"
                             "[source a]\nurl = sqlite:%D/a.db\nto = d, r\n");
        world_start(&world);
        wait_moved(&world, "a/d", "a");
        wait_moved(&world, "a/r", "a");
        check_destination(&world, destination("sqlite", "d.db"), "--final");
        check_destination(&world, destination("sqlite", "r.db"), "--final");
}

/* ---- files (M3) -------------------------------------------------------------------------------- */
static unsigned count_files(const char *name) {
        DIR *directory = opendir(file(name));
        unsigned count = 0;

        for (struct dirent *entry; directory && (entry = readdir(directory));)
                count += strstr(entry->d_name, ".jsonl") != NULL;
        if (directory)
                (void) closedir(directory);
        return count;
}

static void start_file(const char *query, unsigned workers) {
        char text[1024];

        world_shell(&world, "mkdir -p out");
        world_outbox(&world, "a");
        world_outbox(&world, "b");
        (void) snprintf(text, sizeof(text),
                        "[baton]\nadopt-timeout = 5s\n[destination d]\nurl = file:%%D/out%s\nworkers = %u\n"
                        "batch-rows = 300\n[source a]\nurl = sqlite:%%D/a.db\nto = d\n"
                        "[source b]\nurl = sqlite:%%D/b.db\nto = d\n",
                        query, workers);
        world_config(&world, text);
        world_start(&world);
}

Test(destination, file_takes_events_exactly_once_while_workers_die) {
        start_file("", 2);
        outbox_fill(&world, "a", 8000);
        outbox_fill(&world, "b", 8000);
        for (unsigned round = 0; round < 6; round++) {
                kill_in_transaction(&world, SIGKILL);
                check_destination(&world, destination("file", "out"), "--live");
        }
        wait_all_moved(&world);
        check_destination(&world, destination("file", "out"), "--final");
}

Test(destination, file_rotates_and_survives_kills_and_a_restart) {
        start_file("?rotate-size=64K", 2);
        outbox_fill(&world, "a", 4000);
        for (unsigned round = 0; round < 4; round++)
                kill_in_transaction(&world, SIGKILL);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        outbox_fill(&world, "b", 4000);
        world_start(&world);
        wait_all_moved(&world);
        cr_expect_gt(count_files("out"), 6, "it rotated");
        check_destination(&world, destination("file", "out"), "--final");
        cr_expect_eq(baton(&world, "journal", "check", file("state/journal")), 0, "%s", world.output);
}

Test(destination, file_parks_what_json_cannot_hold) {
        struct writer_options options = { .source = "a", .events = 700, .mixes_classes = true };

        start_file("", 1);
        outbox_fill_options(&world, &options);
        outbox_fill(&world, "b", 100);
        wait_all_moved(&world);
        check_destination(&world, destination("file", "out"), "--final");
        cr_expect(strstr(world.output, "not JSON"), "%s", world.output);
        cr_expect(strstr(world.output, "parked: session a"), "%s", world.output);
}

Test(destination, too_many_parked_events_stop_the_session) {
        struct session_status status;

        world_shell(&world, "mkdir out");
        world_outbox(&world, "a");
        world_config(&world, "[destination d]\nurl = file:%D/out\nparked-limit = 10\n"
                             "[source a]\nurl = sqlite:%D/a.db\nto = d\n");
        world_start(&world);
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        database_run(&world, file("a.db"),
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)"
                     "INSERT INTO outbox(key, type, at, payload) SELECT 'k', 't', 'x', 'no JSON' FROM n");
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "parked"), "%s", session_reason(&world, "a"));
        /* What is before the one too many is moved, and parked as the log says. */
        cr_expect_eq(session_position(&world, "a"), 60);
        cr_assert(session_status(&world, "a", &status));
        cr_expect_eq(status.parked_count, 10);
        check_destination(&world, destination("file", "out"), "--live");
}

Test(destination, file_shorter_than_recorded_stops_the_session) {
        struct session_status status;

        start_file("", 1);
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        world_shell(&world, "truncate -s -200 out/a.000001.jsonl");
        outbox_fill(&world, "a", 100);
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "a.000001.jsonl"), "%s", session_reason(&world, "a"));
        /* Nobody has read the checkpoint: unknown is never shown as zero. */
        cr_assert(session_status(&world, "a", &status));
        cr_expect_eq(status.position, UINT64_MAX);
        cr_expect_eq(status.event_count, UINT64_MAX);
        outbox_fill(&world, "b", 100);
        wait_moved(&world, "b", "b"); /* the other session is not held up */
        cr_expect(!check_says(&world, destination("file", "out"), "--final"), "what was cut off is missing");
}

/* Adopted while nothing waits: it goes on, and what comes later is moved. */
Test(destination, file_put_back_and_adopted_goes_on) {
        start_file("", 1);
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        world_shell(&world, "cp out/a.000001.jsonl kept && truncate -s -200 out/a.000001.jsonl");
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        world_shell(&world, "cat kept > out/a.000001.jsonl");
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_IDLE));
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        check_destination(&world, destination("file", "out"), "--final");
}

Test(destination, file_with_content_and_no_journal_stops_the_session) {
        start_file("", 1);
        /* The first batch alone could be told from the files; from the second on the journal is needed. */
        for (unsigned i = 0; i < 3; i++) {
                outbox_fill(&world, "a", 100);
                wait_all_moved(&world);
        }
        cr_assert_eq(world_stop(&world), 0);
        world_shell(&world, "rm -rf state/journal");
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "journal"), "%s", session_reason(&world, "a"));
        check_destination(&world, destination("file", "out"), "--final");
}

Test(destination, damaged_journal_stops_the_session_and_is_named) {
        start_file("", 1);
        for (unsigned i = 0; i < 4; i++) {
                outbox_fill(&world, "a", 50);
                wait_all_moved(&world);
        }
        cr_assert_eq(world_stop(&world), 0);
        world_shell(
                &world,
                "for f in state/journal/d/*.journal; do printf 'XXXX' | dd of=$f bs=1 seek=480 conv=notrunc status=none;"
                " done");
        cr_expect_neq(baton(&world, "journal", "check", file("state/journal")), 0, "%s", world.output);
        cr_expect(strstr(world.output, ".journal"), "%s", world.output);
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "journal check"), "%s", session_reason(&world, "a"));
        check_destination(&world, destination("file", "out"), "--live");
}

/* ---- several destinations (M14) ---------------------------------------------------------------- */
Test(destination, two_for_one_source_and_the_slower_one_holds_the_clean_up) {
        world_shell(&world, "mkdir out");
        world_outbox_cleaned(&world, "a");
        world_config(&world, "[baton]\nadopt-timeout = 5s\n"
                             "[destination d]\nurl = sqlite:%D/d.db\n[destination f]\nurl = file:%D/out\n"
                             "[source a]\nurl = sqlite:%D/a.db?clean-up=delete\nto = d, f\n");
        world_start(&world);
        outbox_fill(&world, "a", 500);
        wait_moved(&world, "a/d", "a");
        wait_moved(&world, "a/f", "a");
        WAIT_UNTIL(&world, database_number(&world, file("a.db"), "SELECT count(*) FROM outbox") == 1);

        /* f stops moving: what it has not got stays at the source. */
        cr_assert_eq(baton(&world, "scale", "f", "0"), 0, "%s", world.output);
        WAIT_UNTIL(&world, live_workers(&world, "f", NULL, 0) == 0);
        outbox_fill(&world, "a", 500);
        wait_moved(&world, "a/d", "a");
        outbox_fill(&world, "a", 10);
        wait_moved(&world, "a/d", "a");
        cr_expect_geq(database_number(&world, file("a.db"), "SELECT count(*) FROM outbox"), 510);
        cr_assert_eq(baton(&world, "scale", "f", "1"), 0, "%s", world.output);
        wait_moved(&world, "a/f", "a");
        WAIT_UNTIL(&world, database_number(&world, file("a.db"), "SELECT count(*) FROM outbox") == 1);
        check_destination(&world, destination("sqlite", "d.db"), "--final");
        check_destination(&world, destination("file", "out"), "--final");
}

/* One that was set back needs again what it had: from then on it holds the clean-up there. */
Test(destination, one_of_two_restored_from_a_backup_holds_the_clean_up) {
        world_outbox_cleaned(&world, "a");
        world_config(&world, "[baton]\nadopt-timeout = 5s\n"
                             "[destination d]\nurl = sqlite:%D/d.db\n[destination e]\nurl = sqlite:%D/e.db\n"
                             "[source a]\nurl = sqlite:%D/a.db?clean-up=delete\nto = d, e\n");
        world_start(&world);
        outbox_fill(&world, "a", 300);
        wait_moved(&world, "a/d", "a");
        wait_moved(&world, "a/e", "a");
        database_run(&world, file("e.db"), "VACUUM INTO 'backup.db'");
        cr_assert_eq(baton(&world, "scale", "d", "0"), 0, "%s", world.output);
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 0);
        outbox_fill(&world, "a", 300);
        wait_moved(&world, "a/e", "a");
        cr_assert_eq(baton(&world, "scale", "e", "0"), 0, "%s", world.output);
        WAIT_UNTIL(&world, live_workers(&world, "e", NULL, 0) == 0);
        world_shell(&world, "rm -f e.db-wal e.db-shm && mv backup.db e.db");
        cr_assert_eq(baton(&world, "scale", "e", "1"), 0, "%s", world.output);
        WAIT_UNTIL(&world, session_is(&world, "a/e", SESSION_STOPPED));
        cr_assert_eq(baton(&world, "scale", "d", "1"), 0, "%s", world.output);
        wait_moved(&world, "a/d", "a");
        outbox_fill(&world, "a", 10);
        wait_moved(&world, "a/d", "a");
        cr_expect_eq(baton(&world, "adopt", "a/e"), 0, "%s", world.output);
        wait_moved(&world, "a/e", "a");
        check_destination(&world, destination("sqlite", "d.db"), "--final");
        check_destination(&world, destination("sqlite", "e.db"), "--final");
}

/* ---- verify: the product's own judge agrees with ours ------------------------------------------ */
Test(destination, verify_agrees_and_finds_a_planted_difference) {
        world_outbox(&world, "a");
        outbox_fill(&world, "a", 500);
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        wait_all_moved(&world);
        cr_expect_eq(baton(&world, "verify", "-c", world.config), 0, "%s", world.output);
        cr_assert_eq(world_stop(&world), 0);
        database_run(&world, file("d.db"), "UPDATE baton_events SET payload = '0' WHERE position = 17");
        cr_expect_eq(baton(&world, "verify", "-c", world.config), 5, "%s", world.output);
        cr_expect(!check_says(&world, destination("sqlite", "d.db"), "--final"), "%s", world.output);
}

/* The source was cleaned, and JSON keeps no storage classes: a line that was changed cannot be told from one
 * that once was a BLOB, and must not be called the same. */
Test(destination, verify_does_not_vouch_for_lines_that_nobody_can_prove) {
        world_outbox(&world, "a");
        outbox_fill(&world, "a", 200);
        world_shell(&world, "mkdir out");
        world_config(&world, "[destination d]\nurl = file:%D/out\n"
                             "[source a]\nurl = sqlite:%D/a.db?clean-up=delete\nto = d\n");
        world.outboxes[0].has_ledger = true;
        database_run(&world, file("a.db"), "CREATE TABLE IF NOT EXISTS ledger AS SELECT * FROM outbox");
        world_start(&world);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        check_destination(&world, destination("file", "out"), "--final");
        cr_expect_eq(baton(&world, "verify", "-c", world.config), 0, "%s", world.output);
        world_shell(&world, "sed -i '17s/\"at\":/\"at\":1/' out/a.000001.jsonl");
        cr_expect_eq(baton(&world, "verify", "-c", world.config), 1, "%s", world.output);
        cr_expect(strstr(world.output, "NOT PROVED"), "%s", world.output);
}
