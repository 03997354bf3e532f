/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that is full, that fails its syncs, that takes a few bytes at a time, and a process that dies at
 * every system call: after each, recovery, and the files are byte for byte those of an uninterrupted owner
 * (M3, M7, M8). Every crash point file.K1 … file.K13 lies between two of the calls enumerated here. */
#include <sys/mman.h>
#include <sys/wait.h>

/* The source itself, so that its points exist in an ordinary build, too. */
#undef BATON_CRASH_POINTS
#define BATON_CRASH_POINTS 1
#include "base/crash.c"
#include "worker/destination/file_resync.c"

#include "tests/unit/file_disk.h"
#include "tests/unit/file_fixture.h"

static struct file_state durable(const struct fixture *fixture) {
        struct file_state state;

        cr_assert_eq(file_state_decode(fixture->journal->destination_state, &state), 0);
        return state;
}

/* ---- M3: the order ---------------------------------------------------------------------------------- */

static void expect_all_synced(const char *when) {
        cr_assert_eq(disk.dirty_count, 0, "%s: %u files are not synced", when, disk.dirty_count);
        cr_assert_eq(disk.entry_count, 0, "%s: the directory is not synced", when);
}

/* Whenever the journal gets a record, all that it speaks of is synced: bytes and directory entries. */
Test(file_faults, M3_nothing_is_journaled_before_it_is_synced) {
        struct checkpoint journal;
        struct fixture fixture;
        char path[640];

        for (unsigned torn = 0; torn < 3; torn++) {
                disk_attach();
                fixture_init(&fixture, "?rotate-size=700");
                fixture_must(&fixture, fixture_open(&fixture));
                fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
                expect_all_synced("after the claim");
                for (unsigned batch = 0; batch < 3; batch++) {
                        fixture_must(&fixture, fixture_move(&fixture, 6, FIXTURE_EVENT_COUNT));
                        expect_all_synced("after a batch");
                        if (batch < 2) {
                                fixture_must(&fixture, fixture_rotate(&fixture));
                                expect_all_synced("after a rotation");
                                journal = *fixture.journal;
                        }
                }
                fixture_close(&fixture);
                if (torn < 2) /* the last batch is a tail, whole or torn */
                        *fixture.journal = journal;
                fixture_path(&fixture, "orders.parked.jsonl", path);
                if (torn == 1)
                        cr_assert_eq(truncate(path,
                                              (off_t) fixture_size(&fixture, "orders.parked.jsonl") - 1),
                                     0);
                fixture_must(&fixture, fixture_open(&fixture));
                fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
                cr_assert_eq(fixture.tail, torn < 2);
                expect_all_synced("after the recovery");
                cr_assert_not(disk.early_cut,
                              "the copy is durable, and its name, before the original is cut");
                fixture_close(&fixture);
                fixture_done(&fixture);
        }
}

/* The mover puts the first batch into the transaction of the claim: nothing is committed in between. After a power
 * cut there must be no line without the mark that says where it comes from. */
Test(file_faults, M3_the_begun_mark_is_durable_before_the_first_line) {
        struct fixture fixture;

        disk_attach();
        fixture_init(&fixture, "");
        fixture_must(&fixture, fixture_open(&fixture));
        fixture.journal->epoch = 1;
        fixture.target = *fixture.journal;
        fixture_must(&fixture, fixture_begin(&fixture));
        fixture_must(&fixture, destination_file_ops.fence(fixture.session, 1, &fixture.target, &fixture.found,
                                                          &fixture.tail, &fixture.failure));
        cr_assert(fixture_exists(&fixture, ".orders.begun"));
        fixture_must(&fixture, fixture_end(&fixture, fixture_put(&fixture, 1, 4)));
        cr_assert_not(disk.early_line);
        expect_all_synced("after the batch");
        fixture_close(&fixture);
        fixture_done(&fixture);
}

/* ---- M8: no room ------------------------------------------------------------------------------------ */

/* The same owner goes on by itself when there is room, at whatever write there was none. */
Test(file_faults, M8_disk_full_at_every_write) {
        char *expected;
        unsigned n;

        disk_attach();
        expected = fixture_expected();
        for (unsigned half = 0; half < 2; half++)
                for (n = 1;; n++) {
                        struct fixture fixture;
                        char *all;
                        int r;

                        fixture_init(&fixture, "?rotate-size=700");
                        disk_attach();
                        disk.fail_write_at = n;
                        disk.fail_count = 3;
                        disk.half = half;
                        fixture_must(&fixture, fixture_open(&fixture));
                        while ((r = fixture_claim(&fixture, FIXTURE_EVENT_COUNT)) < 0)
                                cr_assert_eq(fixture.failure.kind, FAILURE_FULL, "%s", fixture.failure.text);
                        while (fixture.journal->position < FIXTURE_EVENT_COUNT * 3) {
                                r = fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT);
                                if (r >= 0)
                                        r = fixture_rotate(&fixture);
                                if (r < 0) {
                                        char name[FILE_NAME_BYTES];

                                        cr_assert_eq(fixture.failure.kind, FAILURE_FULL, "%s",
                                                     fixture.failure.text);
                                        file_data_name("orders", fixture.session->file_number, name);
                                        cr_assert_eq(fixture_size(&fixture, name),
                                                     durable(&fixture).data_bytes,
                                                     "cut back to what is durable");
                                }
                        }
                        fixture_close(&fixture);
                        all = fixture_read_all(&fixture);
                        cr_assert_str_eq(all, expected, "write %u", n);
                        free(all);
                        fixture_done(&fixture);
                        if (!disk.failed)
                                break;
                }
        cr_assert_gt(n, 10, "the test saw only %u writes", n);
        free(expected);
}

/* The disk is full while a dead owner's tail is kept aside: nothing is cut before the copy is whole. */
Test(file_faults, M8_disk_full_in_recovery) {
        char *expected;
        unsigned n;

        disk_attach();
        expected = fixture_expected();
        for (n = 1;; n++) {
                struct fixture fixture;
                struct checkpoint journal;
                char path[640];

                disk_attach();
                fixture_init(&fixture, "");
                fixture_must(&fixture, fixture_open(&fixture));
                fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
                fixture_must(&fixture, fixture_move(&fixture, 6, FIXTURE_EVENT_COUNT));
                journal = *fixture.journal;
                fixture_must(&fixture, fixture_move(&fixture, 6, FIXTURE_EVENT_COUNT));
                fixture_close(&fixture);
                *fixture.journal = journal;
                fixture_path(&fixture, "orders.000001.jsonl", path);
                cr_assert_eq(truncate(path, (off_t) fixture_size(&fixture, "orders.000001.jsonl") - 1), 0);

                disk_attach();
                disk.fail_write_at = n;
                disk.fail_count = 2;
                disk.half = true;
                fixture_must(&fixture, fixture_open(&fixture));
                while (fixture_claim(&fixture, FIXTURE_EVENT_COUNT) < 0)
                        cr_assert_eq(fixture.failure.kind, FAILURE_FULL, "%s", fixture.failure.text);
                fixture_close(&fixture);
                cr_assert_eq(fixture.journal->position % 3, 0);
                if (!disk.failed) {
                        fixture_done(&fixture);
                        break;
                }
                disk_attach();
                fixture_finish(&fixture, expected);
                fixture_done(&fixture);
        }
        cr_assert_geq(n, 3, "the test saw only %u writes", n);
        free(expected);
}

/* Short writes, short reads and EINTR are no failures. */
Test(file_faults, a_disk_that_takes_seven_bytes_at_a_time) {
        struct fixture fixture;
        char *expected;

        disk_attach();
        expected = fixture_expected();
        disk.chunk_bytes = 7;
        fixture_init(&fixture, "");
        fixture_finish(&fixture, expected);
        fixture_done(&fixture);
        free(expected);
}

/* ---- M7: a failed sync ------------------------------------------------------------------------------ */

/* What the product's mover does (worker/pass.c): everything is closed, opened anew, resync(), claim. */
static void mover_after_sync_failure(struct fixture *fixture) {
        fixture_close(fixture);
        fixture_must(fixture, fixture_open(fixture));
        fixture_must(fixture, destination_file_ops.resync(fixture->destination, &fixture->failure));
}

static ino_t inode_of(const struct fixture *fixture, const char *name) {
        char path[640];
        struct stat status;

        fixture_path(fixture, name, path);
        return stat(path, &status) == 0 ? status.st_ino : 0;
}

/* Returns true if a data file was uncertain, and was therefore written to a new place. */
static bool sync_fails_at(unsigned n, bool lose, const char *expected) {
        struct fixture fixture;
        bool claimed = false, uncertain = false;
        char name[FILE_NAME_BYTES];
        ino_t before = 0;
        char *all;
        int r;

        fixture_init(&fixture, "?rotate-size=700");
        disk_attach();
        disk.fail_sync_at = n;
        disk.fail_count = 1;
        disk.lose = lose;
        fixture_must(&fixture, fixture_open(&fixture));
        while (fixture.journal->position < FIXTURE_EVENT_COUNT * 3) {
                disk.durable = durable(&fixture);
                r = claimed ? fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT)
                            : fixture_claim(&fixture, FIXTURE_EVENT_COUNT);
                claimed = r >= 0;
                if (claimed && before != 0)
                        cr_assert_neq(inode_of(&fixture, name), before, "a new place (M7)");
                if (claimed)
                        before = 0;
                if (r >= 0)
                        r = fixture_rotate(&fixture);
                if (r >= 0)
                        continue;
                cr_assert_eq(fixture.failure.kind, FAILURE_SYNC, "%s", fixture.failure.text);
                cr_assert_lt(destination_file_ops.begin(fixture.destination, &fixture.failure), 0, "latched");
                cr_assert_eq(fixture.failure.kind, FAILURE_SYNC);
                if (fixture_size(&fixture, ".orders.lock") > 0) {
                        uncertain = true;
                        file_data_name("orders", fixture.session->file_number, name);
                        before = inode_of(&fixture, name);
                }
                mover_after_sync_failure(&fixture);
                claimed = false;
        }
        fixture_close(&fixture);
        all = fixture_read_all(&fixture);
        cr_assert_str_eq(all, expected, "sync %u", n);
        cr_assert_eq(fixture_size(&fixture, ".orders.lock"), 0, "no longer uncertain");
        cr_assert_not(fixture_exists(&fixture, ".orders.resync"));
        free(all);
        fixture_done(&fixture);
        return uncertain;
}

Test(file_faults, M7_every_sync_fails_once) {
        unsigned n, uncertain_count = 0;
        char *expected;

        disk_attach();
        expected = fixture_expected();
        for (unsigned lose = 0; lose < 2; lose++)
                for (n = 1;; n++) {
                        uncertain_count += sync_fails_at(n, lose, expected);
                        if (!disk.failed)
                                break;
                }
        cr_assert_gt(n, 12, "the test saw only %u syncs", n);
        cr_assert_gt(uncertain_count, 10, "the test saw only %u uncertain files", uncertain_count);
        cr_assert_gt(uncertain_count, 10, "the test saw only %u uncertain files", uncertain_count);
        free(expected);
}

/* A session that stays open: resync() writes its file to a new place, then the commit stands. */
Test(file_faults, M7_resync_of_an_open_session) {
        for (unsigned commit = 0; commit < 2; commit++) {
                struct fixture fixture;
                char *expected;
                ino_t before;

                disk_attach();
                expected = fixture_expected();
                fixture_init(&fixture, "");
                fixture_must(&fixture, fixture_open(&fixture));
                fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
                fixture_must(&fixture, fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT));
                before = inode_of(&fixture, "orders.000001.jsonl");

                disk_attach();
                disk.fail_sync_at = disk.fail_count = 1;
                fixture.target = *fixture.journal;
                fixture_must(&fixture, fixture_begin(&fixture));
                fixture_must(&fixture, fixture_put(&fixture, 5, 8));
                fixture_must(&fixture,
                             destination_file_ops.session_end(fixture.session, &fixture.target, NULL));
                cr_assert_lt(destination_file_ops.commit(fixture.destination, &fixture.failure), 0);
                cr_assert_eq(fixture.failure.kind, FAILURE_SYNC);
                cr_assert_eq(fixture_size(&fixture, ".orders.lock"), 1, "the next owner would know");
                cr_assert_lt(destination_file_ops.commit(fixture.destination, &fixture.failure), 0,
                             "not again");
                fixture_must(&fixture, destination_file_ops.resync(fixture.destination, &fixture.failure));
                cr_assert_neq(inode_of(&fixture, "orders.000001.jsonl"), before, "a new place");
                if (commit) {
                        fixture_must(&fixture,
                                     destination_file_ops.commit(fixture.destination, &fixture.failure));
                        *fixture.journal = fixture.target;
                } else {
                        destination_file_ops.rollback(fixture.destination);
                        cr_assert_eq(fixture_size(&fixture, "orders.000001.jsonl"),
                                     durable(&fixture).data_bytes);
                }
                fixture_must(&fixture, fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT));
                fixture_close(&fixture);
                fixture_finish(&fixture, expected);
                fixture_done(&fixture);
                free(expected);
        }
}

/* M7: a fresh copy cannot be synced either: wait, and nothing that was durable is gone. */
Test(file_faults, M7_a_disk_that_stays_broken_is_waited_for) {
        struct fixture fixture;
        char *expected;

        disk_attach();
        expected = fixture_expected();
        fixture_init(&fixture, "");
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        fixture_must(&fixture, fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT));
        disk_attach();
        disk.fail_sync_at = 1;
        disk.fail_count = 1000;
        cr_assert_lt(fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT), 0);
        cr_assert_lt(destination_file_ops.resync(fixture.destination, &fixture.failure), 0);
        cr_assert_eq(fixture.failure.kind, FAILURE_UNAVAILABLE, "%s", fixture.failure.text);
        fixture_close(&fixture);
        fixture_must(&fixture, fixture_open(&fixture));
        cr_assert_lt(fixture_claim(&fixture, FIXTURE_EVENT_COUNT), 0);
        cr_assert_eq(fixture.failure.kind, FAILURE_UNAVAILABLE, "%s", fixture.failure.text);
        fixture_close(&fixture);
        disk_attach(); /* mended */
        fixture_finish(&fixture, expected);
        fixture_done(&fixture);
        free(expected);
}

/* ---- death at every system call ---------------------------------------------------------------------- */

/* The journal of processes that die; and whether the last of them got to its end. */
struct shared {
        struct checkpoint journal;
        unsigned deadly_calls;
};

static struct shared *shared_new(void) {
        struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        cr_assert_neq(shared, MAP_FAILED);
        return shared;
}

/* Runs an owner that dies at its n-th call; `sync_failure`: after its 4th sync failed, so that it dies in
 * the rewrite too. True if it died, false if it came to the end before. */
static bool owner_dies_at(struct fixture *fixture, unsigned n, bool half, bool sync_failure) {
        pid_t child;
        int status;

        child = fork();
        cr_assert(child >= 0);
        if (child == 0) {
                int r;

                disk_attach();
                disk.die_at = n;
                disk.half = half;
                disk.fail_sync_at = sync_failure ? 4 : 0;
                disk.fail_count = sync_failure;
                r = fixture_run(fixture);
                if (r < 0 && fixture->failure.kind == FAILURE_SYNC) {
                        fixture_close(fixture);
                        r = fixture_run(fixture);
                }
                _exit(r < 0 ? 1 : 0);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        if (WIFSIGNALED(status)) {
                cr_assert_eq(WTERMSIG(status), SIGKILL);
                return true;
        }
        cr_assert_eq(WEXITSTATUS(status), 0);
        return false;
}

static unsigned deaths(const char *query, bool half, bool sync_failure) {
        struct shared *shared = shared_new();
        char *expected;
        unsigned n;
        bool died;

        disk_attach();
        expected = fixture_expected();
        for (n = 1, died = true; died; n++) {
                struct fixture fixture;

                fixture_init(&fixture, query);
                memset(shared, 0, sizeof(*shared));
                fixture.journal = &shared->journal;
                died = owner_dies_at(&fixture, n, half, sync_failure);
                fixture.epoch = shared->journal.epoch;
                disk_attach();
                fixture_finish(&fixture, expected);
                fixture_done(&fixture);
        }
        free(expected);
        (void) munmap(shared, sizeof(*shared));
        return n - 1;
}

Test(file_faults, M3_an_owner_dies_at_every_call) {
        cr_assert_gt(deaths("", false, false), 25);
        cr_assert_gt(deaths("", true, false), 25);
}

Test(file_faults, M3_an_owner_dies_at_every_call_with_rotation) {
        cr_assert_gt(deaths("?rotate-size=700", false, false), 30);
}

Test(file_faults, M7_an_owner_dies_at_every_call_around_a_failed_sync) {
        cr_assert_gt(deaths("", false, true), 30);
}

/* That a sync failed under the dead owner is not told to its heir, whose own then says yes: the cache may show lines
 * that the disk has lost. So each that is adopted is written again, from memory. */
Test(file_faults, M7_adopted_lines_are_written_once_more) {
        struct checkpoint journal;
        struct fixture fixture;
        uint64_t bytes;

        disk_attach();
        fixture_init(&fixture, "");
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        journal = *fixture.journal;
        fixture_must(&fixture, fixture_move(&fixture, 6, FIXTURE_EVENT_COUNT));
        fixture_close(&fixture);
        *fixture.journal = journal;
        bytes = fixture_size(&fixture, "orders.000001.jsonl") + fixture_size(&fixture, "orders.parked.jsonl");
        fixture_must(&fixture, fixture_open(&fixture));
        disk.line_bytes = 0;
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        cr_assert_eq(fixture.adopted, 6);
        cr_assert_eq(disk.line_bytes, bytes);
        expect_all_synced("after the recovery");
        fixture_close(&fixture);
        fixture_done(&fixture);
}

/* The two points that no load reaches, because they need a sync that fails. */
Test(file_faults, M7_an_owner_dies_at_K12_and_K13) {
        static const char *const points[] = { "file.K12", "file.K13" };
        struct shared *shared = shared_new();
        char *expected;

        disk_attach();
        expected = fixture_expected();
        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                struct fixture fixture;

                fixture_init(&fixture, "");
                memset(shared, 0, sizeof(*shared));
                fixture.journal = &shared->journal;
                (void) setenv("BATON_CRASH", points[i], 1);
                cr_assert(owner_dies_at(&fixture, 0, false, true), "%s was not passed", points[i]);
                (void) unsetenv("BATON_CRASH");
                fixture.epoch = shared->journal.epoch;
                disk_attach();
                fixture_finish(&fixture, expected);
                fixture_done(&fixture);
        }
        free(expected);
        (void) munmap(shared, sizeof(*shared));
}

/* The heir dies too, at every call of its recovery and after; a third one finishes. */
Test(file_faults, M3_the_heir_dies_in_recovery_too) {
        struct shared *shared = shared_new();
        char *expected;

        disk_attach();
        expected = fixture_expected();
        for (unsigned first = 8; first < 40; first += 3)
                for (unsigned second = 1; second < 30; second++) {
                        struct fixture fixture;

                        fixture_init(&fixture, "?rotate-size=700");
                        memset(shared, 0, sizeof(*shared));
                        fixture.journal = &shared->journal;
                        (void) owner_dies_at(&fixture, first, true, first % 2 == 0);
                        fixture.epoch = shared->journal.epoch;
                        (void) owner_dies_at(&fixture, second, second % 2 == 0, false);
                        fixture.epoch = shared->journal.epoch;
                        disk_attach();
                        fixture_finish(&fixture, expected);
                        fixture_done(&fixture);
                }
        free(expected);
        (void) munmap(shared, sizeof(*shared));
}
