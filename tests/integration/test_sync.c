/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that fails under real workers and real SQLite (M7, M8): what could not be synced is written anew,
 * nothing is cleaned at a source meanwhile, `baton status` says why, and all goes on by itself when the disk
 * does. Each test ends with the checker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/world/outbox.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
        world_faulty(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(sync, .init = begin, .fini = end, .timeout = 120);

static const char *file(const char *name) {
        return world_path(&world, name);
}

static bool has_file(const char *name) {
        return access(file(name), F_OK) == 0;
}

/* Source a is cleaned, b is kept; both are moved by a pool of two to `destination`. */
static void start(const char *destination) {
        char text[1024];

        world_shell(&world, "mkdir -p out");
        world_outbox_cleaned(&world, "a");
        world_outbox(&world, "b");
        (void) snprintf(text, sizeof(text),
                        "[baton]\nadopt-timeout = 5s\n[destination d]\nurl = %s\nworkers = 2\n"
                        "[source a]\nurl = sqlite:%%D/a.db?clean-up=delete\nto = d\n"
                        "[source b]\nurl = sqlite:%%D/b.db\nto = d\n",
                        destination);
        world_config(&world, text);
        world_start(&world);
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 2 && all_owned_by_live(&world));
}

static void fill(uint64_t events) {
        outbox_fill(&world, "a", events);
        outbox_fill(&world, "b", events);
}

static int64_t rows_of_a(void) {
        return database_number(&world, file("a.db"), "SELECT count(*) FROM outbox");
}

/* All but the anchor (M4). */
static void wait_cleaned(void) {
        WAIT_UNTIL(&world, rows_of_a() == 1);
}

static bool status_says(const char *text) {
        (void) baton(&world, "status");
        return strstr(world.output, text) != NULL;
}

static char destination_url[WORLD_PATH_BYTES * 2];

static void check(const char *mode) {
        check_destination(&world, destination_url, mode);
}

static const char sqlite_text[] = "sqlite:%D/d.db", file_text[] = "file:%D/out?rotate-size=64K";

static void set_destination(const char *destination) {
        bool to_file = destination == file_text;

        (void) snprintf(destination_url, sizeof(destination_url), "%s:%s", to_file ? "file" : "sqlite",
                        file(to_file ? "out" : "d.db"));
}

/* Some events are moved and cleaned, so that all is open; then the disk begins to fail. */
static void start_well(const char *destination) {
        set_destination(destination);
        start(destination);
        fill(200);
        wait_all_moved(&world);
        wait_cleaned();
}

static void until_the_disk_is_well(void) {
        check("--live");
        world_faults_end(&world);
        wait_all_moved(&world);
        wait_cleaned();
        WAIT_UNTIL(&world, !has_file("state/latch-d"));
        cr_expect_not(status_says("a sync failed"), "%s", world.output);
        check("--final");
}

static bool is_held(const char *session) {
        return session_is(&world, session, SESSION_WAITING) || session_is(&world, session, SESSION_STOPPED);
}

/* Both sessions are held and say why, and nothing is cleaned. */
static void expect_held(int64_t rows) {
        WAIT_UNTIL(&world, world_fault_count(&world) >= 3);
        WAIT_UNTIL(&world, is_held("a") && session_says(&world, "a", "sync"));
        WAIT_UNTIL(&world, is_held("b") && session_says(&world, "b", "sync"));
        cr_expect_eq(rows_of_a(), rows, "nothing is cleaned while the disk fails");
}

/* … and nobody forgets it. */
static void expect_latched(int64_t rows) {
        expect_held(rows);
        cr_expect(has_file("state/latch-d"));
        cr_expect(status_says("a sync failed"), "%s", world.output);
}

/* ---- the SQLite destination ---------------------------------------------------------------------- */
Test(sync, M7_of_the_destinations_wal_at_commit) {
        start_well(sqlite_text);
        world_faults(&world, "sync EIO 0 */d.db-wal\n");
        fill(300);
        expect_latched(301);
        until_the_disk_is_well();
}

Test(sync, M7_of_the_destinations_wal_once) {
        start_well(sqlite_text);
        world_faults(&world, "sync EIO 1 */d.db-wal\n");
        fill(300);
        WAIT_UNTIL(&world, world_fault_count(&world) == 1);
        wait_all_moved(&world);
        until_the_disk_is_well();
}

Test(sync, M7_of_the_destinations_wal_while_workers_die_and_over_a_reboot) {
        uint64_t count;

        start_well(sqlite_text);
        world_faults(&world, "sync EIO 0 */d.db-wal\n");
        fill(300);
        expect_latched(301);
        world_kill_workers(&world, "d");
        count = world_fault_count(&world);
        WAIT_UNTIL(&world, world_fault_count(&world) > count);
        expect_latched(301);
        world_reboot(&world);
        count = world_fault_count(&world);
        WAIT_UNTIL(&world, world_fault_count(&world) > count);
        expect_latched(301);
        cr_expect_eq(world_stop(&world), 0, "M10: it need not be well to be stopped");
        world_start(&world);
        count = world_fault_count(&world);
        WAIT_UNTIL(&world, world_fault_count(&world) > count);
        expect_latched(301);
        until_the_disk_is_well();
}

/* The commit is durable, the checkpoint after it is not. */
Test(sync, M7_of_the_destinations_database_at_its_checkpoint) {
        struct writer_options options = { .source = "a", .events = 15000, .payload_bytes = 700 };

        start_well(sqlite_text);
        world_faults(&world, "sync EIO 0 */d.db\n");
        outbox_fill_options(&world, &options);
        WAIT_UNTIL(&world, has_file("state/latch-d"));
        expect_latched(rows_of_a());
        cr_expect_gt(rows_of_a(), 10000);
        until_the_disk_is_well();
}

/* SQLite syncs the directory of a -wal that it made, and looks at no result of it. */
Test(sync, M7_of_the_destinations_directory) {
        world_shell(&world, "mkdir own");
        (void) snprintf(destination_url, sizeof(destination_url), "sqlite:%s", file("own/d.db"));
        world_faults(&world, "sync EIO 0 */own\n");
        start("sqlite:%D/own/d.db");
        fill(200);
        expect_latched(200);
        until_the_disk_is_well();
}

/* ---- from the beginning ------------------------------------------------------------------------------ */
static void sick_from_the_beginning(const char *destination, const char *rules) {
        set_destination(destination);
        world_faults(&world, rules);
        start(destination);
        fill(300);
        WAIT_UNTIL(&world, is_held("a") && is_held("b") && session_says(&world, "a", "the disk"));
        world_reboot(&world);
        WAIT_UNTIL(&world, is_held("a") && is_held("b"));
        world_faults_end(&world);
        wait_all_moved(&world);
        wait_cleaned();
        check("--final");
}

Test(sync, M7_of_a_database_that_is_to_be_made) {
        sick_from_the_beginning(sqlite_text, "sync EIO 0 */d.db*\n");
}

Test(sync, M7_of_files_that_are_to_be_made) {
        sick_from_the_beginning(file_text, "sync EIO 0 */out*\n");
}

/* ---- files ------------------------------------------------------------------------------------------ */
Test(sync, M7_of_a_data_file_once) {
        start_well(file_text);
        world_faults(&world, "sync EIO 1 */out/a.0*.jsonl\n");
        fill(300);
        WAIT_UNTIL(&world, world_fault_count(&world) == 1);
        wait_all_moved(&world);
        until_the_disk_is_well();
}

/* Each fresh copy can be synced until it has the file's name. */
Test(sync, M7_of_data_files_for_a_while) {
        start_well(file_text);
        world_faults(&world, "sync EIO 0 */out/*.0*.jsonl\n");
        fill(300);
        expect_held(301);
        until_the_disk_is_well();
}

/* No new place can be synced either. */
Test(sync, M7_of_data_files_and_their_copies) {
        start_well(file_text);
        world_faults(&world, "sync EIO 0 */out/*\n");
        fill(300);
        WAIT_UNTIL(&world,
                   session_says(&world, "a", "fresh copy") && session_says(&world, "b", "fresh copy"));
        expect_held(301);
        world_kill_workers(&world, "d");
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 2 && all_owned_by_live(&world));
        WAIT_UNTIL(&world,
                   session_says(&world, "a", "fresh copy") && session_says(&world, "b", "fresh copy"));
        world_reboot(&world);
        WAIT_UNTIL(&world,
                   session_says(&world, "a", "fresh copy") && session_says(&world, "b", "fresh copy"));
        expect_held(301);
        until_the_disk_is_well();
}

/* ---- the journal ------------------------------------------------------------------------------------ */
Test(sync, M7_of_the_journal_of_files) {
        start_well(file_text);
        world_faults(&world, "sync EIO 0 */state/journal/*\n");
        fill(300);
        expect_latched(301);
        world_reboot(&world);
        expect_latched(301);
        until_the_disk_is_well();
}

Test(sync, M7_of_the_journal_of_files_once) {
        start_well(file_text);
        world_faults(&world, "sync EIO 1 */state/journal/*\n");
        fill(300);
        WAIT_UNTIL(&world, world_fault_count(&world) == 1);
        wait_all_moved(&world);
        until_the_disk_is_well();
}

/* Whether its directories stand is not known then: a person looks (M6), and is told how it goes on. */
Test(sync, M6_the_journals_directory_of_files_cannot_be_synced) {
        start_well(file_text);
        world_faults(&world, "sync EIO 0 */state/journal\n");
        fill(300);
        world_kill_workers(&world, "d");
        WAIT_UNTIL(&world,
                   session_is(&world, "a", SESSION_STOPPED) && session_is(&world, "b", SESSION_STOPPED));
        cr_expect(session_says(&world, "a", "run `baton adopt`"), "%s", session_reason(&world, "a"));
        check("--live");
        world_faults_end(&world);
        /* It tries at once, also the destination, and says how it went; unless it has just tried by itself. */
        cr_expect(baton(&world, "adopt", "a") == 0 || strstr(world.output, "a is not stopped"), "%s",
                  world.output);
        until_the_disk_is_well();
}

/* With transactions it only remembers; but a worker that begins needs one. */
Test(sync, M7_of_the_journal_of_a_database) {
        start_well(sqlite_text);
        world_faults(&world, "sync EIO 0 */state/journal/*\n");
        fill(300);
        wait_all_moved(&world);
        world_reboot(&world);
        fill(300);
        WAIT_UNTIL(&world,
                   session_is(&world, "a", SESSION_WAITING) && session_is(&world, "b", SESSION_WAITING));
        WAIT_UNTIL(&world, session_says(&world, "a", "journal"));
        until_the_disk_is_well();
}

/* ---- writes ------------------------------------------------------------------------------------------ */
static void writes_fail(const char *destination, const char *rule, const char *reason) {
        start_well(destination);
        world_faults(&world, rule);
        fill(300);
        WAIT_UNTIL(&world, world_fault_count(&world) >= 3);
        WAIT_UNTIL(&world, is_held("a") && is_held("b") && session_says(&world, "a", reason));
        cr_expect_eq(rows_of_a(), 301);
        world_kill_workers(&world, "d");
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 2 && all_owned_by_live(&world));
        WAIT_UNTIL(&world, is_held("a") && is_held("b"));
        until_the_disk_is_well();
}

Test(sync, M8_no_room_for_the_destinations_wal) {
        writes_fail(sqlite_text, "write ENOSPC 0 */d.db-wal\n", "full");
}

Test(sync, M7_the_destinations_wal_cannot_be_written) {
        writes_fail(sqlite_text, "write EIO 0 */d.db-wal\n", "d.db");
}

Test(sync, M8_no_room_for_the_data_files) {
        writes_fail(file_text, "write ENOSPC 0 */out/*\n", "room");
}

/* Nothing tells a write that failed from one that will fail again: a person looks (M6). */
Test(sync, M6_the_data_files_cannot_be_written) {
        start_well(file_text);
        world_faults(&world, "write EIO 0 */out/*\n");
        fill(300);
        WAIT_UNTIL(&world,
                   session_is(&world, "a", SESSION_STOPPED) && session_is(&world, "b", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "baton adopt"), "%s", session_reason(&world, "a"));
        cr_expect_eq(rows_of_a(), 301);
        check("--live");
        world_faults_end(&world);
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        cr_expect_eq(baton(&world, "adopt", "b"), 0, "%s", world.output);
        until_the_disk_is_well();
}

Test(sync, M8_no_room_for_the_journal_of_files) {
        writes_fail(file_text, "write ENOSPC 0 */state/journal/*\n", "journal");
}

Test(sync, M7_the_journal_of_files_cannot_be_written) {
        writes_fail(file_text, "write EIO 0 */state/journal/*\n", "journal");
}

/* With transactions the journal only remembers. */
Test(sync, M7_the_journal_of_a_database_cannot_be_written) {
        start_well(sqlite_text);
        world_faults(&world, "write EIO 0 */state/journal/*\n");
        fill(300);
        WAIT_UNTIL(&world, world_fault_count(&world) >= 1);
        wait_all_moved(&world);
        fill(300);
        until_the_disk_is_well();
}

/* ---- all of it at random ----------------------------------------------------------------------------- */
static void random_fault(unsigned *seed) {
        static const char *const actions[] = { "sync EIO", "sync EIO", "write ENOSPC", "sync SEGV",
                                               "sync ABRT" };
        static const char *const files[] = { "*/d.db-wal",    "*/d.db",     "*/out/*.0*", "*/out/*",
                                             "*/journal/d/*", "*/a.db-wal", "*/state/*" };
        char rule[128];
        pid_t owner;

        (void) snprintf(rule, sizeof(rule), "%s %d %s\n",
                        actions[(size_t) rand_r(seed) % ELEMENTSOF(actions)], rand_r(seed) % 4,
                        files[(size_t) rand_r(seed) % ELEMENTSOF(files)]);
        world_faults(&world, rule);
        (void) usleep((useconds_t) rand_r(seed) % 80000);
        owner = session_owner(&world, "a"); /* 0: it died of the fault, and nobody has it yet */
        if (rand_r(seed) % 4 == 0 && owner > 0)
                kill_process(owner, SIGKILL);
        world_faults_end(&world);
        (void) usleep((useconds_t) rand_r(seed) % 80000);
}

/* What only an operator may let go on; again, until it goes on: a worker that was warm hears of the old
 * failure once more. */
static void adopt_what_is_stopped(void) {
        static const char *const sessions[] = { "a", "b" };

        for (size_t i = 0; i < ELEMENTSOF(sessions); i++)
                while (session_position(&world, sessions[i]) < outbox_last(&world, sessions[i])) {
                        if (session_is(&world, sessions[i], SESSION_STOPPED))
                                (void) baton(&world, "adopt", sessions[i]);
                        (void) usleep(10000);
                }
}

static void at_random(const char *destination) {
        const char *told = getenv("BATON_TEST_SEED");
        unsigned seed = told ? (unsigned) strtoul(told, NULL, 10) : (unsigned) clock_usec();
        struct writer_options options = { .events = 6000, .per_second = 3000, .rolls_back = true };
        pid_t writers[2];

        fprintf(stderr, "BATON_TEST_SEED=%u\n", seed);
        start_well(destination);
        for (size_t i = 0; i < 2; i++) {
                options.source = i ? "b" : "a";
                writers[i] = writer_start(&world, &options);
        }
        for (unsigned round = 0; round < 25; round++) {
                random_fault(&seed);
                if (round % 8 == 7)
                        check("--live");
        }
        writer_wait(&world, writers[0]);
        writer_wait(&world, writers[1]);
        adopt_what_is_stopped();
        until_the_disk_is_well();
}

Test(sync, at_random_with_a_database) {
        at_random(sqlite_text);
}

Test(sync, at_random_with_files) {
        at_random(file_text);
}
