/* SPDX-License-Identifier: Apache-2.0 */
/* A source that cannot be synced (M7, M11): what it shows may not be on its disk. Every session of it stops
 * and says so, through deaths and reboots, until it is adopted; the others go on. Each test ends with the
 * checker. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

TestSuite(sync_source, .init = begin, .fini = end, .timeout = 120);

static const char *file(const char *name) {
        return world_path(&world, name);
}

static bool has_file(const char *name) {
        return access(file(name), F_OK) == 0;
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

static void wait_workers(void) {
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 2 && all_owned_by_live(&world));
}

static void check(const char *scheme, const char *name, const char *mode) {
        char url[WORLD_PATH_BYTES * 2];

        (void) snprintf(url, sizeof(url), "%s:%s", scheme, file(name));
        check_destination(&world, url, mode);
}

static void check_at(const char *scheme, const char *mode) {
        check(scheme, strcmp(scheme, "file") == 0 ? "out" : "out/d.db", mode);
}

/* Source a is cleaned, b is kept. Some events are moved, so that all is open. The destination stands in a directory of
 * its own: what fails beside a source is not to fail there. */
static void start(const char *scheme) {
        char text[1024];

        world_shell(&world, "mkdir -p out");
        world_outbox_cleaned(&world, "a");
        world_outbox(&world, "b");
        (void) snprintf(text, sizeof(text),
                        "[baton]\nadopt-timeout = 5s\n[destination d]\nurl = %s:%%D/%s\nworkers = 2\n"
                        "[source a]\nurl = sqlite:%%D/a.db?clean-up=delete\nto = d\n"
                        "[source b]\nurl = sqlite:%%D/b.db\nto = d\n",
                        scheme, strcmp(scheme, "file") == 0 ? "out" : "out/d.db");
        world_config(&world, text);
        world_start(&world);
        wait_workers();
        fill(200);
        wait_all_moved(&world);
        wait_cleaned();
}

static void expect_lost(void) {
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "sync"), "%s", session_reason(&world, "a"));
        cr_expect(strstr(session_reason(&world, "a"), "baton adopt"), "%s", session_reason(&world, "a"));
        (void) baton(&world, "status");
        cr_expect(strstr(world.output, "a is stopped"), "%s", world.output);
        cr_expect(has_file("state/lost-a"));
        cr_expect_eq(rows_of_a(), 301, "nothing is cleaned");
}

/* b goes on, a does not. */
static void expect_still_lost(int64_t rows) {
        wait_workers();
        fill(1);
        WAIT_UNTIL(&world, session_position(&world, "b") == outbox_last(&world, "b"));
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "a"), "baton adopt"), "%s", session_reason(&world, "a"));
        cr_expect_eq(rows_of_a(), rows);
}

static void is_lost(const char *scheme, const char *rule) {
        world_faults(&world, rule);
        /* Its database is written too, so that it must be synced as well as the -wal (M11). */
        database_run(&world, file("a.db"), "PRAGMA wal_checkpoint(TRUNCATE)");
        fill(300);
        expect_lost();
        world_faults_end(&world); /* the disk says yes again, and means nothing by it */
        expect_still_lost(302);
        world_kill_workers(&world, "d");
        expect_still_lost(303);
        world_reboot(&world);
        expect_still_lost(304);
        check_at(scheme, "--live");
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        wait_all_moved(&world);
        wait_cleaned();
        cr_expect_not(has_file("state/lost-a"));
        world_reboot(&world);
        fill(10);
        wait_all_moved(&world);
        check_at(scheme, "--final");
}

Test(sync_source, M7_of_its_wal) {
        start("sqlite");
        is_lost("sqlite", "sync EIO 0 */a.db-wal\n");
}

Test(sync_source, M7_of_its_database) {
        start("sqlite");
        is_lost("sqlite", "sync EIO 0 */a.db\n");
}

Test(sync_source, M7_of_its_wal_on_the_way_to_files) {
        start("file");
        is_lost("file", "sync EIO 0 */a.db-wal\n");
}

static void leave_wal_mode(void) {
        cr_assert_eq(world_stop(&world), 0); /* or it could not */
        database_run(&world, file("a.db"), "PRAGMA journal_mode = DELETE");
        world_start(&world);
        wait_workers();
}

Test(sync_source, M7_of_one_with_a_rollback_journal) {
        start("sqlite");
        leave_wal_mode();
        is_lost("sqlite", "sync EIO 0 */a.db\n");
}

/* The application's commit is that the journal's name is gone. Source b stands there too. */
Test(sync_source, M7_of_the_directory_of_one_with_a_rollback_journal) {
        start("sqlite");
        leave_wal_mode();
        world_faults(&world, "sync EIO 0 */baton-test-[!/][!/][!/][!/][!/][!/]\n");
        outbox_fill(&world, "a", 300);
        expect_lost();
        cr_expect(strstr(session_reason(&world, "a"), "directory"), "%s", session_reason(&world, "a"));
        world_faults_end(&world);
        cr_expect_eq(baton(&world, "adopt", "a"), 0, "%s", world.output);
        if (session_is(&world, "b", SESSION_STOPPED))
                cr_expect_eq(baton(&world, "adopt", "b"), 0, "%s", world.output);
        wait_all_moved(&world);
        check_at("sqlite", "--final");
}

/* One of two sessions finds it; the source is lost to both (M11), until each is adopted. */
Test(sync_source, M7_of_one_with_two_destinations) {
        uint64_t last;

        world_outbox(&world, "a");
        world_config(&world, "[destination d]\nurl = sqlite:%D/d.db\n[destination e]\nurl = sqlite:%D/e.db\n"
                             "[source a]\nurl = sqlite:%D/a.db\nto = d, e\n");
        world_start(&world);
        outbox_fill(&world, "a", 200);
        wait_moved(&world, "a/d", "a");
        wait_moved(&world, "a/e", "a");
        world_faults(&world, "sync EIO 1 */a.db-wal\n");
        outbox_fill(&world, "a", 200);
        WAIT_UNTIL(&world, has_file("state/lost-a+d") && has_file("state/lost-a+e"));
        outbox_fill(&world, "a", 200);
        last = outbox_last(&world, "a");
        WAIT_UNTIL(&world,
                   session_is(&world, "a/d", SESSION_STOPPED) && session_is(&world, "a/e", SESSION_STOPPED));
        cr_expect_lt(session_position(&world, "a/d"), last);
        cr_expect_lt(session_position(&world, "a/e"), last);
        cr_expect_eq(baton(&world, "adopt", "a/d"), 0, "%s", world.output);
        wait_moved(&world, "a/d", "a");
        cr_expect(session_is(&world, "a/e", SESSION_STOPPED));
        world_reboot(&world);
        outbox_fill(&world, "a", 10);
        wait_moved(&world, "a/d", "a");
        WAIT_UNTIL(&world, session_is(&world, "a/e", SESSION_STOPPED));
        cr_expect_eq(baton(&world, "adopt", "a/e"), 0, "%s", world.output);
        wait_moved(&world, "a/e", "a");
        check_final(&world);
        check("sqlite", "e.db", "--final");
}

/* M14: what cannot be cleaned now is cleaned later; it never holds the movement. */
Test(sync_source, M8_no_room_for_the_clean_up) {
        start("sqlite");
        world_faults(&world, "write ENOSPC 0 */a.db-wal\n");
        fill(300);
        WAIT_UNTIL(&world, world_fault_count(&world) >= 1);
        wait_all_moved(&world);
        cr_expect_eq(rows_of_a(), 301);
        world_faults_end(&world);
        fill(1);
        wait_all_moved(&world);
        wait_cleaned();
        check_at("sqlite", "--final");
}
