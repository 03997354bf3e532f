/* SPDX-License-Identifier: Apache-2.0 */
/* In which order the journal's effects reach the disk (J6, J8, J10): seen at the call that must not come too early.
 * What comes of each order in a power cut stands in test_journal_fault.c. */
#include <sys/file.h>

#include "tests/unit/test_journal_fixture.h"
#include "worker/journal/disk.h"

static struct journal_disk watched;
static unsigned rename_count, unlink_count;
static bool has_new_names; /* since the directory was synced */

static int watched_rename(int dir_fd, const char *from, const char *to, bool may_replace) {
        int fd = openat(dir_fd, from, O_RDONLY | O_CLOEXEC);

        cr_assert_geq(fd, 0);
        cr_assert_lt(flock(fd, LOCK_SH | LOCK_NB), 0, "%s: who reads it now takes its writer for dead", from);
        (void) close(fd);
        rename_count++;
        has_new_names = true;
        return journal_disk_real.rename(dir_fd, from, to, may_replace);
}

static int watched_dirsync(int fd) {
        has_new_names = false;
        return journal_disk_real.dirsync(fd);
}

static int watched_unlink(int dir_fd, const char *name) {
        const char *end = strrchr(name, '.');
        bool is_there = faccessat(dir_fd, name, F_OK, 0) == 0;

        if (is_there && end && strcmp(end, ".journal") == 0) {
                unlink_count++;
                cr_assert_not(has_new_names, "%s goes; what says more may have no name after a power cut",
                              name);
        }
        return journal_disk_real.unlink(dir_fd, name);
}

static struct journal *writing; /* appends while the next sync is on its way */

static int watched_datasync(int fd) {
        int r = journal_disk_real.datasync(fd);
        struct journal *journal = writing;

        writing = NULL;
        if (journal)
                fixture_must_append(journal, JOURNAL_MOVED, "a", 1, 6);
        return r;
}

static void setup(void) {
        fixture_make();
        watched = journal_disk_real;
        watched.rename = watched_rename;
        watched.dirsync = watched_dirsync;
        watched.datasync = watched_datasync;
        watched.unlink = watched_unlink;
        journal_disk = &watched;
}

static void teardown(void) {
        journal_disk = &journal_disk_real;
        fixture_remove();
}

TestSuite(journal_order, .init = setup, .fini = teardown);

Test(journal_order, a_file_is_locked_before_it_has_its_name_J6) {
        struct journal *journal = fixture_open_as(0, 1, true, 3000);
        struct failure failure = { 0 };

        for (uint64_t i = 1; i <= 30; i++)
                fixture_must_append(journal, JOURNAL_MOVED, "a", 1, i);
        cr_assert_eq(journal_renew(journal, &failure), 0, "%s", failure.text);
        cr_expect_geq(rename_count, 3, "its birth, a rotation, the renewal");
        journal_close(journal);
}

Test(journal_order, nothing_goes_before_the_name_of_what_supersedes_it_is_durable_J8) {
        struct journal *before = fixture_open_as(0, 1, false, 0), *after;

        fixture_must_append(before, JOURNAL_MOVED, "a", 1, 5);
        journal_close(before);
        after = fixture_open_as(1, 1, false, 0); /* not synced: nor is the directory at its birth */
        fixture_must_append(after, JOURNAL_CLAIM, "a", 2, 5);
        fixture_must_append(after, JOURNAL_MOVED, "a", 2, 6);
        cr_assert(has_new_names);
        cr_assert_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect_eq(unlink_count, 1);
        cr_expect_eq(fixture_best("a"), 6);
        journal_close(after);
}

Test(journal_order, what_a_load_has_read_is_synced_and_not_what_came_meanwhile_J10) {
        struct journal *journal = fixture_open_as(0, 1, false, 0); /* it does not sync what it appends */
        struct journal_table *table;

        fixture_must_append(journal, JOURNAL_MOVED, "a", 1, 5);
        writing = journal;
        table = fixture_load(true);
        cr_assert_null(writing, "it was synced");
        cr_expect_eq(fixture_position(table, "a"), 5, "6 may be gone after a power cut");
        journal_table_free(table);
        table = fixture_load(true);
        cr_expect_eq(fixture_position(table, "a"), 6);
        journal_table_free(table);
        journal_close(journal);
}
