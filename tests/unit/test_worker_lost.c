/* SPDX-License-Identifier: Apache-2.0 */
/* M7 at the source: that its sync failed is known to every session of it, in every segment to come, until
 * each is adopted; and a death at either numbered point forgets nothing (worker.K7, worker.K8). */
#include <signal.h>
#include <stdlib.h>

#include "tests/unit/test_shm_support.h"

/* The source itself, so that the points exist in an ordinary build too. */
#undef BATON_CRASH_POINTS
#define BATON_CRASH_POINTS 1
#include "base/crash.c"
#include "worker/lost.c"

/* Two sessions of source `orders` (slots 0 and 1), one of another source (slot 2). */
static const char *const names[3] = { "orders/events", "orders/archive", "payments" };

static struct worker worker;
static struct roster_entry entries[3];
static struct session sessions[3];
static const struct failure failure = { .kind = FAILURE_SYNC, .text = "the sync of its -wal failed" };

/* A segment as the supervisor makes it; called again, it is the one after a reboot. */
static void new_segment(void) {
        worker.segment = test_segment(8, 16);
        for (uint32_t i = 0; i < 3; i++) {
                struct layout_config config = { .sibling_slot = i == 2 ? 2 : 1 - i };

                (void) snprintf(config.session, sizeof config.session, "%s", names[i]);
                (void) snprintf(config.source, sizeof config.source, "%s", i == 2 ? "payments" : "orders");
                cr_assert_eq(slot_configure(worker.segment, i, 0, &config), 0);
                cr_assert_eq(session_config_read(worker.segment, i, &entries[i].config), 0);
                sessions[i] = (struct session){ .worker = &worker, .slot_index = i, .entry = &entries[i] };
        }
}

static void setup(void) {
        test_directory(worker.directories.state, sizeof(worker.directories.state));
        new_segment();
}

static void teardown(void) {
        char command[600];

        (void) snprintf(command, sizeof command, "rm -rf '%s'", worker.directories.state);
        cr_assert_eq(system(command), 0);
}

TestSuite(lost, .init = setup, .fini = teardown);

static void restore_all(void) {
        for (size_t i = 0; i < 3; i++)
                lost_restore(&sessions[i]);
}

static const char *file_of(const char *name) {
        static char path[700];

        (void) snprintf(path, sizeof path, "%s/%s", worker.directories.state, name);
        return path;
}

static bool has_file(const char *name) {
        return access(file_of(name), F_OK) == 0;
}

Test(lost, M7_every_session_of_the_source_knows_and_no_other) {
        lost_set(&sessions[0], &failure);
        cr_expect(lost_is_set(&sessions[0]));
        cr_expect(lost_is_set(&sessions[1]));
        cr_expect_not(lost_is_set(&sessions[2]));
        cr_expect(has_file("lost-orders+events"));
        cr_expect(has_file("lost-orders+archive"));
        cr_expect_not(has_file("lost-payments"));
}

Test(lost, M7_a_new_segment_does_not_forget) {
        lost_set(&sessions[1], &failure);
        new_segment();
        cr_expect_not(lost_is_set(&sessions[0]), "the segment is new");
        restore_all();
        cr_expect(lost_is_set(&sessions[0]));
        cr_expect(lost_is_set(&sessions[1]));
        cr_expect_not(lost_is_set(&sessions[2]));
}

Test(lost, M7_each_session_is_adopted_for_itself) {
        lost_set(&sessions[0], &failure);
        lost_clear(&sessions[0]);
        cr_expect_not(lost_is_set(&sessions[0]));
        cr_expect(lost_is_set(&sessions[1]));
        restore_all(); /* another owner, or another segment */
        cr_expect_not(lost_is_set(&sessions[0]), "what was adopted stays adopted");
        cr_expect(lost_is_set(&sessions[1]));
        lost_clear(&sessions[1]);
        new_segment();
        restore_all();
        cr_expect_not(lost_is_set(&sessions[1]));
}

Test(lost, M7_without_a_state_directory_the_segment_still_knows) {
        teardown();
        lost_set(&sessions[0], &failure);
        cr_expect(lost_is_set(&sessions[0]));
        lost_clear(&sessions[0]);
        cr_expect_not(lost_is_set(&sessions[0]), "the operator is obeyed all the same");
        cr_assert_eq(mkdir(worker.directories.state, 0700), 0);
}

Test(lost, M7_one_file_that_cannot_be_written_does_not_cost_the_others) {
        char path[700];

        (void) snprintf(path, sizeof path, "%s/lost-orders+events/in", worker.directories.state);
        cr_assert_eq(dir_make(path, 0700), 0, "a directory cannot be replaced by a file");
        lost_set(&sessions[0], &failure);
        cr_expect(has_file("lost-orders+archive"));
}

/* The supervisor is writing it, or died in it. */
Test(lost, M7_a_session_that_cannot_be_read_is_told_all_the_same) {
        atomic_fetch_add(&segment_config(worker.segment, 1)->sequence, 1);
        lost_set(&sessions[0], &failure);
        cr_expect(lost_is_set(&sessions[1]));
        cr_expect(has_file("lost-orders+events"));
        atomic_fetch_add(&segment_config(worker.segment, 1)->sequence, 1);
        lost_restore(&sessions[1]); /* who begins with it knows its name */
        cr_expect(has_file("lost-orders+archive"));
}

/* P1: the ring is the supervisor's; one that does not close, or leads elsewhere, is left. */
Test(lost, P1_a_broken_ring_is_bounded) {
        segment_config(worker.segment, 1)->sibling_slot = 1;
        lost_set(&sessions[0], &failure);
        cr_expect(lost_is_set(&sessions[1]));
        segment_config(worker.segment, 1)->sibling_slot = 9999;
        lost_set(&sessions[0], &failure);
        entries[2].config.sibling_slot = 0;
        lost_set(&sessions[2], &failure);
        cr_expect(lost_is_set(&sessions[2]));
}

static void die_at(const char *point, void (*step)(void)) {
        pid_t pid = fork();

        if (pid == 0) {
                (void) setenv("BATON_CRASH", point, 1);
                step();
                _exit(0);
        }
        child_was_killed(pid, point);
}

static void step_set(void) {
        lost_set(&sessions[0], &failure);
}

static void step_clear(void) {
        lost_clear(&sessions[0]);
}

Test(lost, K7_told_but_no_file_yet) {
        die_at("worker.K7", step_set);
        cr_expect_not(has_file("lost-orders+events"));
        lost_restore(&sessions[0]);
        cr_expect(lost_is_set(&sessions[0]), "the next owner");
        cr_expect(lost_is_set(&sessions[1]));
        new_segment(); /* condemned (S11): the page cache is what it was */
        restore_all();
        cr_expect(lost_is_set(&sessions[0]));
        cr_expect(lost_is_set(&sessions[1]), "nobody had begun with it meanwhile");
        cr_expect_not(lost_is_set(&sessions[2]));
}

Test(lost, K7_some_of_the_files_are_made_all_of_them) {
        lost_set(&sessions[0], &failure);
        cr_assert_eq(unlink(file_of("lost-orders+archive")), 0);
        lost_restore(&sessions[0]);
        cr_expect(has_file("lost-orders+archive"));
}

Test(lost, K7_who_was_adopted_meanwhile_is_not_told_again) {
        die_at("worker.K7", step_set);
        lost_clear(&sessions[1]);
        lost_restore(&sessions[0]);
        cr_expect(has_file("lost-orders+events"));
        cr_expect_not(has_file("lost-orders+archive"));
}

Test(lost, K8_no_file_but_still_told) {
        lost_set(&sessions[0], &failure);
        die_at("worker.K8", step_clear);
        cr_expect_not(has_file("lost-orders+events"));
        restore_all();
        cr_expect(lost_is_set(&sessions[0]), "adopt was not answered");
        lost_clear(&sessions[0]);
        cr_expect_not(lost_is_set(&sessions[0]), "it is obeyed again");
}
