/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a source: absent, replaced, restored, emptied, cleaned, written in every manner
 * (M4, M5, M9, M11, M12). Each test ends with the checker. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prove/world/outbox.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(source, .init = begin, .fini = end, .timeout = 120);

static const char *file(const char *name) {
        return world_path(&world, name);
}

static void start_one(void) {
        world_outbox(&world, "a");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
}

static void move_some(uint64_t events) {
        outbox_fill(&world, "a", events);
        wait_all_moved(&world);
}

static void expect_stopped(const char *words) {
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), words), "says \"%s\": %s", words,
                  session_reason(&world, "a"));
        cr_expect_eq(baton(&world, "status"), 4, "a stopped session wants attention: %s", world.output);
        cr_expect(strstr(world.output, "stopped"), "%s", world.output);
}

Test(source, absent_and_then_there) {
        world_outbox(&world, "a");
        world_outbox(&world, "b");
        world_shell(&world, "mv a.db a.later");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_WAITING) && session_says(&world, "a", "a.db"));
        /* The other session of the same worker is not held up. */
        outbox_fill(&world, "b", 200);
        wait_moved(&world, "b", "b");
        cr_expect_neq(access(file("a.db"), F_OK), 0, "nothing makes the source");
        world_shell(&world, "mv a.later a.db");
        outbox_fill(&world, "a", 200);
        wait_all_moved(&world);
        check_final(&world);
}

Test(source, in_a_directory_that_comes_later) {
        world_outbox(&world, "a");
        world_shell(&world, "mkdir sub && mv a.db sub/a.db && mv sub later");
        world_config(&world,
                     "[destination d]\nurl = sqlite:%D/d.db\n[source a]\nurl = sqlite:%D/sub/a.db\nto = d\n");
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_WAITING));
        world_shell(&world, "mv later sub");
        (void) snprintf(world.outboxes[0].file, sizeof(world.outboxes[0].file), "%.500s", file("sub/a.db"));
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        check_final(&world);
}

/* What the power tests stand on: a file that was built anew is refused (M4), unless it is told to be the one
 * that it is a copy of. */
Test(source, copied_and_told_to_be_the_file_itself) {
        struct statx status;
        char words[96];

        start_one();
        move_some(50);
        (void) world_stop(&world);
        cr_assert_eq(statx(AT_FDCWD, file("a.db"), 0, STATX_INO | STATX_BTIME, &status), 0);
        database_run(&world, file("a.db"), "PRAGMA wal_checkpoint(TRUNCATE)");
        world_shell(&world, "cp a.db b.db && mv b.db a.db && rm -f a.db-wal a.db-shm");
        world_start(&world);
        expect_stopped("replaced");
        (void) world_stop(&world);
        (void) snprintf(words, sizeof(words), "%llu %lld %u", (unsigned long long) status.stx_ino,
                        (long long) status.stx_btime.tv_sec, status.stx_btime.tv_nsec);
        world_identity(&world, file("a.db"), words);
        world_start(&world);
        move_some(50);
        check_final(&world);
}

Test(source, replaced_by_another_file) {
        start_one();
        move_some(300);
        cr_assert_eq(baton(&world, "outbox", "create", file("new.db")), 0);
        database_run(&world, file("new.db"),
                     "INSERT INTO outbox(key, type, at, payload) VALUES ('x', 'y', 'z', '1')");
        world_shell(&world,
                    "mv a.db old.db; mv -f a.db-wal old.db-wal; mv -f a.db-shm old.db-shm; mv new.db a.db;"
                    " mv -f new.db-wal a.db-wal; true");
        expect_stopped("replaced");
        /* The right one comes back, and the session goes on by itself; of the other nothing was moved. */
        world_shell(&world, "rm -f a.db a.db-wal a.db-shm; mv old.db a.db; mv -f old.db-wal a.db-wal; true");
        move_some(100);
        check_final(&world);
}

/* The application has an older copy of itself back in the same file, inode and all, and goes on: its next
 * events get numbers that were moved already (M4). */
static void expect_restored_is_noticed(void) {
        database_run(&world, file("a.db"),
                     "INSERT INTO outbox(key, type, at, payload) VALUES ('after', 'the', 'restore', '1')");
        expect_stopped("baton adopt a");
        /* What was moved stands; nothing of the restored file was. */
        world.outboxes[0].has_ledger = true;
        check_final(&world);
}

Test(source, restored_from_a_backup_by_sqlite) {
        start_one();
        move_some(200);
        database_run(&world, file("a.db"), "VACUUM INTO 'backup.db'");
        move_some(100);
        database_run(&world, file("backup.db"),
                     "CREATE TABLE ledger(seq INTEGER PRIMARY KEY, key, type, at, payload);"
                     "ATTACH 'a.db' AS a; INSERT INTO ledger SELECT * FROM a.outbox");
        database_restore(&world, file("a.db"), file("backup.db"));
        expect_restored_is_noticed();
}

Test(source, restored_from_a_backup_by_copying_into_the_same_file) {
        start_one();
        move_some(200);
        database_run(&world, file("a.db"), "VACUUM INTO 'backup.db'");
        move_some(100);
        database_run(&world, file("backup.db"),
                     "CREATE TABLE ledger(seq INTEGER PRIMARY KEY, key, type, at, payload);"
                     "ATTACH 'a.db' AS a; INSERT INTO ledger SELECT * FROM a.outbox");
        /* As the manual says: the old WAL must not be applied to the restored file. */
        world_shell(&world, "cat backup.db >a.db && rm -f a.db-wal a.db-shm");
        expect_restored_is_noticed();
}

Test(source, emptied_and_adopted) {
        start_one();
        move_some(300);
        database_run(&world, file("a.db"), "CREATE TABLE ledger AS SELECT * FROM outbox; DELETE FROM outbox");
        world.outboxes[0].has_ledger = true;
        expect_stopped("gone");
        check_live(&world);
        /* New events have higher numbers (AUTOINCREMENT): the operator takes it as the continuation. */
        outbox_fill(&world, "a", 100);
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        wait_all_moved(&world);
        check_final(&world);
}

/* M4, M12: to stop a session is no worker's death (SQLite cannot detach inside a transaction), and a source
 * adopted while it is empty is idle, not looked at for ever. */
Test(source, stopped_and_adopted_while_empty_by_the_same_worker) {
        pid_t worker;

        start_one();
        move_some(300);
        worker = session_owner(&world, "a");
        database_run(&world, file("a.db"), "CREATE TABLE ledger AS SELECT * FROM outbox; DELETE FROM outbox");
        world.outboxes[0].has_ledger = true;
        expect_stopped("gone");
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_IDLE));
        cr_expect_eq(session_owner(&world, "a"), worker, "the worker lives through it");
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        check_final(&world);
}

/* M4: stopped by what it found at the start, where no file changes that would make it look again: adopted,
 * with nothing to move, it is idle and not called stopped any more. */
Test(source, another_last_row_is_adopted_with_nothing_behind_it) {
        start_one();
        move_some(50);
        world_stop(&world);
        /* In this mode our own opening makes no file, whose news would bring a second look. */
        database_run(&world, file("a.db"),
                     "PRAGMA journal_mode = DELETE; CREATE TABLE ledger AS SELECT * FROM outbox;"
                     "UPDATE outbox SET payload = 'another' WHERE seq = (SELECT max(seq) FROM outbox)");
        world.outboxes[0].has_ledger = true;
        world_start(&world);
        expect_stopped("another content");
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_IDLE));
        check_final(&world);
}

Test(source, an_emptied_outbox_that_starts_again_at_1_is_not_mistaken) {
        world_outbox(&world, "a");
        database_run(&world, file("a.db"),
                     "DROP TABLE outbox; CREATE TABLE outbox(seq INTEGER PRIMARY KEY,"
                     " key, type, at, payload)");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        move_some(5);
        database_run(&world, file("a.db"),
                     "CREATE TABLE ledger AS SELECT * FROM outbox; DELETE FROM outbox;"
                     "INSERT INTO outbox(key, type, at, payload) VALUES ('n', 'n', 'n', 'n')");
        expect_stopped("baton adopt a");
        world.outboxes[0].has_ledger = true;
        check_final(&world); /* what was moved stands, nothing of the new row does */
}

/* The claim that an adoption begins with is committed, also where the source is then refused: it must not
 * take away what the source is known by. */
Test(source, refused_in_spite_of_adoption_keeps_its_anchor) {
        char anchor[64];

        start_one();
        move_some(50);
        database_run(&world, file("a.db"), "VACUUM INTO 'backup.db'");
        move_some(50);
        (void) snprintf(anchor, sizeof(anchor), "%s",
                        database_text(&world, file("d.db"), "SELECT anchor FROM baton_checkpoint"));
        database_run(&world, file("a.db"), "VACUUM INTO 'right.db'");
        database_restore(&world, file("a.db"), file("backup.db"));
        expect_stopped("gone");
        cr_expect_neq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        expect_stopped("numbers that were used");
        cr_expect_str_eq(database_text(&world, file("d.db"), "SELECT anchor FROM baton_checkpoint"), anchor);
        /* The refused one grows past what was moved, by numbers that were used. */
        database_run(&world, file("a.db"),
                     "INSERT INTO outbox(key, type, at, payload) SELECT 'n', 'n', 'n', seq FROM outbox"
                     " UNION ALL SELECT 'n', 'n', 'n', seq FROM outbox");
        WAIT_UNTIL(&world, strstr(session_reason(&world, "a"), "another content"));
        cr_expect_eq(database_number(&world, file("d.db"), "SELECT count(*) FROM baton_events"), 100);
        database_restore(&world, file("a.db"), file("right.db"));
        move_some(50);
        check_final(&world);
}

/* The same in one step, and past what was moved: nothing ends below the position then. */
Test(source, an_emptied_outbox_that_begins_again_and_overtakes_is_not_mistaken) {
        world_outbox(&world, "a");
        database_run(&world, file("a.db"),
                     "DROP TABLE outbox; CREATE TABLE outbox(seq INTEGER PRIMARY KEY,"
                     " key, type, at, payload)");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        move_some(50);
        database_run(&world, file("a.db"), "CREATE TABLE ledger AS SELECT * FROM outbox; DELETE FROM outbox");
        expect_stopped("gone");
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_IDLE));
        database_run(&world, file("a.db"),
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80)"
                     "INSERT INTO outbox(key, type, at, payload) SELECT 'n', 'n', 'n', i FROM n");
        expect_stopped("numbers that were used");
        world.outboxes[0].has_ledger = true;
        check_final(&world); /* what was moved stands, nothing of the new rows does */
}

static void write_and_check(bool normal, const char *journal_mode) {
        struct writer_options options = {
                .source = "a", .events = 4000, .normal = normal, .rolls_back = true, .leaves_gaps = true
        };

        world_outbox(&world, "a");
        database_run(&world, file("a.db"), journal_mode);
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        outbox_fill_options(&world, &options);
        wait_all_moved(&world);
        check_final(&world);
}

Test(source, writer_at_full) {
        write_and_check(false, "PRAGMA journal_mode = WAL");
}

Test(source, writer_at_normal) {
        write_and_check(true, "PRAGMA journal_mode = WAL");
}

/* One event after the other into an idle system: each wake must find its event (M9). */
Test(source, single_events_are_found_at_once) {
        start_one();
        for (unsigned i = 0; i < 15; i++)
                move_some(1);
        check_final(&world);
}

Test(source, a_writer_with_a_rollback_journal) {
        world_outbox(&world, "a");
        world_config_standard(&world, 1, NULL);
        database_run(&world, file("a.db"), "PRAGMA journal_mode = DELETE");
        world_start(&world);
        for (unsigned i = 0; i < 20; i++)
                database_run(
                        &world, file("a.db"),
                        "INSERT INTO outbox(key, type, at, payload) VALUES ('k', 't', 'x', '1'), ('k', 't', 'x', '2')");
        wait_all_moved(&world);
        check_final(&world);
        cr_expect_str_eq(database_text(&world, file("a.db"), "PRAGMA journal_mode"), "delete",
                         "the application's setting is its own");
}

/* ---- clean-up ---------------------------------------------------------------------------------- */
static void start_cleaned(const char *option) {
        char text[1024];

        world_outbox_cleaned(&world, "a");
        (void) snprintf(text, sizeof(text),
                        "[destination d]\nurl = sqlite:%%D/d.db\nworkers = 2\nbatch-rows = 200\n"
                        "[source a]\nurl = sqlite:%%D/a.db?clean-up=%s\nto = d\n",
                        option);
        world_config(&world, text);
        world_start(&world);
}

Test(source, cleaned_by_delete_while_workers_die) {
        struct writer_options options = {
                .source = "a", .events = 4000, .per_second = 5000, .rolls_back = true
        };

        start_cleaned("delete");
        pid_t writer = writer_start(&world, &options);

        for (unsigned round = 1; round <= 3; round++) {
                pid_t owner;

                WAIT_UNTIL(&world, session_position(&world, "a") > round * 800);
                WAIT_UNTIL(&world, (owner = session_owner(&world, "a")) != 0);
                kill_and_wait(owner, SIGKILL);
        }
        writer_wait(&world, writer);
        wait_all_moved(&world);
        /* All but the anchor, the last moved row (M4). */
        WAIT_UNTIL(&world, database_number(&world, file("a.db"), "SELECT count(*) FROM outbox") == 1);
        cr_expect_eq(database_number(&world, file("a.db"), "SELECT seq FROM outbox"),
                     (int64_t) outbox_last(&world, "a"));
        check_final(&world);
}

Test(source, cleaned_by_mark) {
        world_outbox(&world, "a");
        database_run(&world, file("a.db"), "ALTER TABLE outbox ADD COLUMN moved_at");
        world_config(&world, "[destination d]\nurl = sqlite:%D/d.db\n"
                             "[source a]\nurl = sqlite:%D/a.db?clean-up=mark\nto = d\n");
        world_start(&world);
        move_some(1500);
        WAIT_UNTIL(&world, database_number(&world, file("a.db"),
                                           "SELECT count(*) FROM outbox WHERE moved_at IS NULL") == 0);
        check_final(&world);
}

/* M12: our presence must not keep the application from its own database. */
Test(source, the_application_can_change_its_schema_and_vacuum) {
        start_one();
        move_some(200);
        database_run(&world, file("a.db"),
                     "CREATE TABLE other(x); INSERT INTO other VALUES (1); VACUUM;"
                     "PRAGMA wal_checkpoint(TRUNCATE)");
        move_some(200);
        database_run(&world, file("a.db"), "ALTER TABLE outbox ADD COLUMN extra");
        move_some(200);
        check_final(&world);
}
