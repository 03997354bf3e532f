/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's writer, reader and collector killed with SIGKILL: at every call to the disk, and at every
 * numbered crash point. After each, another one reads, collects and goes on (J5–J8, journal.K1–K12). And
 * the same while others read and collect at the same time. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* The sources themselves, so that the points exist in an ordinary build, too. */
#undef BATON_CRASH_POINTS
#define BATON_CRASH_POINTS 1
#include "base/crash.c"
#include "worker/journal/birth.c"
#include "worker/journal/collect.c"
#include "worker/journal/file.c"
#include "worker/journal/writer.c"

#include "tests/unit/test_journal_fixture.h"

#include "worker/journal/disk.h"

#define SESSION_COUNT 4

TestSuite(journal_crash, .init = fixture_make, .fini = fixture_remove);

/* Shared with the child that is killed: what it was about to say, and what it was told is durable. */
static struct shared {
        uint64_t told[SESSION_COUNT], acknowledged[SESSION_COUNT];
        volatile uint32_t is_done;
} * shared;

static const char *const session_names[SESSION_COUNT] = { "a", "b", "c", "d" };

static void shared_make(void) {
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(shared, MAP_FAILED);
}

/* ---- a disk that kills at the n-th call -------------------------------------------------------- */

static unsigned kill_at, kill_seen;

static void die(void) {
        (void) kill(getpid(), SIGKILL);
        for (;;)
                (void) pause();
}

static bool is_the_last(void) {
        return ++kill_seen == kill_at;
}

static int kill_open(int dir_fd, const char *name, int flags, mode_t mode) {
        int fd = journal_disk_real.open(dir_fd, name, flags, mode);

        if ((flags & O_CREAT) && is_the_last())
                die();
        return fd;
}

static ssize_t kill_pwrite(int fd, const void *data, size_t bytes, off_t offset) {
        if (is_the_last()) {
                (void) journal_disk_real.pwrite(fd, data, bytes / 2, offset);
                die();
        }
        return journal_disk_real.pwrite(fd, data, bytes, offset);
}

static int kill_truncate(int fd, off_t bytes) {
        if (is_the_last())
                die();
        return journal_disk_real.truncate(fd, bytes);
}

static int kill_sync(int fd) {
        (void) fd;
        if (is_the_last())
                die();
        return 0;
}

static int kill_rename(int dir_fd, const char *from, const char *to, bool may_replace) {
        int r = journal_disk_real.rename(dir_fd, from, to, may_replace);

        if (is_the_last())
                die();
        return r;
}

static int kill_unlink(int dir_fd, const char *name) {
        int r = journal_disk_real.unlink(dir_fd, name);

        if (is_the_last())
                die();
        return r;
}

static int kill_lock(int fd, bool exclusive) {
        int r = journal_disk_real.lock(fd, exclusive);

        if (is_the_last())
                die();
        return r;
}

static const struct journal_disk kill_disk_table = {
        .pwrite = kill_pwrite,
        .open = kill_open,
        .truncate = kill_truncate,
        .datasync = kill_sync,
        .dirsync = kill_sync,
        .rename = kill_rename,
        .unlink = kill_unlink,
        .lock = kill_lock,
};

static void kill_disk(unsigned at) {
        static struct journal_disk disk;

        disk = kill_disk_table;
        disk.pread = journal_disk_real.pread;
        disk.mkdir = journal_disk_real.mkdir;
        kill_at = at;
        kill_seen = 0;
        journal_disk = &disk;
}

/* ---- one life ---------------------------------------------------------------------------------- */

static void say(struct journal *journal, enum journal_type type, unsigned session, uint64_t position,
                uint64_t epoch) {
        struct failure failure = { 0 };

        shared->told[session] = position;
        if (fixture_append(journal, type, session_names[session], epoch, position, &failure) < 0)
                _exit(3);
        shared->acknowledged[session] = position;
}

/* Takes every session over from whoever had it, moves on with rotations, gives one back, collects.
 * Needs the best record of each session to be there: exits 4 if it is not. */
static void live(uint64_t generation) {
        struct journal_table *table = NULL;
        struct journal_config config = {
                .state_directory = fixture_state,
                .destination = "dest",
                .instance = fixture_instance,
                .worker_index = (uint32_t) (generation % 3),
                .worker_generation = generation,
                .synced = true,
                .rotate_bytes = 3000,
        };
        struct journal *journal = NULL;
        struct journal_entry entry;

        if (journal_open(&config, &journal, NULL) < 0 ||
            journal_table_load(fixture_state, "dest", fixture_instance, true, &table, NULL) < 0)
                _exit(3);
        for (unsigned i = 0; i < SESSION_COUNT; i++) {
                int r = journal_table_find(table, session_names[i], &entry, NULL);

                if (r < 0 && (r != -ENOENT || shared->acknowledged[i] != 0))
                        _exit(4);
                if (r >= 0 && entry.checkpoint.position < shared->acknowledged[i])
                        _exit(4);
                say(journal, JOURNAL_CLAIM, i, r < 0 ? 0 : entry.checkpoint.position, generation);
        }
        for (unsigned pass = 0; pass < 5; pass++)
                for (unsigned i = 0; i < SESSION_COUNT; i++)
                        say(journal, JOURNAL_MOVED, i, shared->acknowledged[i] + 1, generation);
        journal_forget(journal, "d");
        if (journal_collect(fixture_state, "dest", fixture_instance) < 0)
                _exit(3);
        journal_table_free(table);
        journal_close(journal);
        _exit(0);
}

static void check_honest(const char *what, unsigned at) {
        struct journal_table *table = fixture_load(false);

        for (uint32_t i = 0; i < journal_table_finding_count(table); i++)
                cr_assert_null(strstr(journal_table_finding(table, i), "damaged"), "%s %u: %s", what, at,
                               journal_table_finding(table, i));
        for (unsigned i = 0; i < SESSION_COUNT; i++) {
                int64_t position = fixture_position(table, session_names[i]);

                if (position == -ENOENT)
                        position = 0;
                cr_assert(position >= (int64_t) shared->acknowledged[i] &&
                                  position <= (int64_t) shared->told[i],
                          "%s %u: session %s: acknowledged %lu, told %lu, found %ld", what, at,
                          session_names[i], (unsigned long) shared->acknowledged[i],
                          (unsigned long) shared->told[i], (long) position);
                /* What stood there when the writer died is what its successor takes over. */
                shared->told[i] = shared->acknowledged[i] = (uint64_t) position;
        }
        journal_table_free(table);
}

/* Forks a life; true if it was killed, false if it ended well. */
static bool child_was_killed(uint64_t generation, unsigned at, const char *point) {
        pid_t pid = fork();
        int status;

        cr_assert_geq(pid, 0);
        if (pid == 0) {
                if (point)
                        (void) setenv("BATON_CRASH", point, 1);
                kill_disk(at);
                live(generation);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        if (WIFSIGNALED(status)) {
                cr_assert_eq(WTERMSIG(status), SIGKILL, "call %u: signal %d", at, WTERMSIG(status));
                return true;
        }
        cr_assert_eq(WEXITSTATUS(status), 0, "call %u, %s: exit %d", at, point ? point : "",
                     WEXITSTATUS(status));
        return false;
}

Test(journal_crash, killed_at_every_call_one_after_another_J6_J7_J8) {
        uint64_t generation = 1;
        unsigned at;

        shared_make();
        for (at = 1;; at++) {
                if (!child_was_killed(generation++, at, NULL))
                        break;
                check_honest("killed at call", at);
                /* Every other time a whole life comes in between, which collects what was left. */
                if (at % 2 == 0)
                        (void) child_was_killed(generation++, 0, NULL);
                check_honest("after call", at);
        }
        cr_expect_gt(at, 60, "only %u calls", at);
        (void) child_was_killed(generation++, 0, NULL);
        cr_expect_eq(fixture_count(".new"), 0, "collection left a file that was never born");
        cr_expect_leq(fixture_count(".journal"), 4, "collection left %u files", fixture_count(".journal"));
        check_honest("at the end", at);
}

Test(journal_crash, killed_at_every_crash_point) {
        uint64_t generation = 1;
        char point[32];

        shared_make();
        (void) child_was_killed(generation++, 0, NULL);
        for (unsigned number = 1; number <= 12; number++) {
                unsigned killed = 0;

                /* K9 and K10 need a torn tail: the writer before is killed inside a record, somewhere
                 * among its first calls. The others are reached by any life; K6 has a test of its own. */
                for (unsigned pass = 1; pass <= 30; pass++) {
                        bool needs_tail = number == 9 || number == 10;

                        if (!needs_tail && pass > 4)
                                break;
                        if (needs_tail)
                                (void) child_was_killed(generation++, 9 + pass, NULL);
                        (void) snprintf(point, sizeof point, "journal.K%u:%u", number, needs_tail ? 1 : pass);
                        killed += child_was_killed(generation++, 0, point);
                        check_honest(point, pass);
                        (void) child_was_killed(generation++, 0, NULL);
                        check_honest(point, pass);
                }
                if (number != 6)
                        cr_expect_gt(killed, 0, "journal.K%u was never reached", number);
        }
}

/* K6: a file that never rotates grows by a chunk. */
Test(journal_crash, killed_while_the_file_grows_K6) {
        pid_t pid = fork();
        int status;

        cr_assert_geq(pid, 0);
        if (pid == 0) {
                struct journal *journal = fixture_open_as(0, 1, false, 1 << 20);

                (void) setenv("BATON_CRASH", "journal.K6", 1);
                for (uint64_t position = 1; position < 1000; position++)
                        (void) fixture_append(journal, JOURNAL_MOVED, "a", 1, position, NULL);
                _exit(0);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        cr_expect_eq(fixture_best("a"), (65536 - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES);
}

/* ---- others at the same time ------------------------------------------------------------------- */

Test(journal_crash, a_reader_beside_a_writer_sees_no_damage_and_no_step_back_J5) {
        struct journal_table *kept = NULL;
        int64_t before = 0, position;
        unsigned loads = 0;
        int status;
        pid_t pid;

        shared_make();
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                struct journal *journal = fixture_open_as(0, 1, false, 64 * 1024);

                for (uint64_t i = 1; i <= 60000; i++)
                        say(journal, JOURNAL_MOVED, 0, i, 1);
                shared->is_done = 1;
                _exit(0);
        }
        while (!shared->is_done) {
                struct journal_table *fresh = fixture_load(false);
                uint64_t acknowledged = shared->acknowledged[0];

                cr_assert_eq(journal_table_finding_count(fresh), 0, "%s", journal_table_finding(fresh, 0));
                journal_table_free(fresh);
                cr_assert_eq(journal_table_load(fixture_state, "dest", fixture_instance, false, &kept, NULL),
                             0);
                cr_assert_eq(journal_table_finding_count(kept), 0, "%s", journal_table_finding(kept, 0));
                position = fixture_position(kept, "a");
                if (position == -ENOENT)
                        position = 0;
                cr_assert_geq(position, before);
                cr_assert_geq(position, (int64_t) acknowledged);
                before = position;
                loads++;
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect_eq(status, 0);
        cr_assert_eq(journal_table_load(fixture_state, "dest", fixture_instance, true, &kept, NULL), 0);
        cr_expect_eq(fixture_position(kept, "a"), 60000);
        cr_expect_gt(loads, 3);
        journal_table_free(kept);
}

Test(journal_crash, collect_with_three_dead_writers_J8) {
        struct journal *dead[3], *alive;

        for (uint32_t i = 0; i < 3; i++) {
                dead[i] = fixture_open_as(i, 1, true, 0);
                fixture_must_append(dead[i], JOURNAL_CLAIM, "a", i + 1, 10 + i);
                fixture_must_append(dead[i], JOURNAL_MOVED, session_names[i + 1], 1, 5);
                journal_close(dead[i]);
        }
        cr_assert_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect_eq(fixture_count(".journal"), 3, "each still holds a session of its own");

        alive = fixture_open_as(3, 1, true, 0);
        fixture_must_append(alive, JOURNAL_CLAIM, "b", 2, 5);
        cr_assert_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect(fixture_exists("0000-1.journal"), "the claim may not be synced yet: it is the last record");
        fixture_must_append(alive, JOURNAL_CLAIM, "c", 2, 5);
        cr_assert_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect_not(fixture_exists("0000-1.journal"));
        cr_expect(fixture_exists("0001-1.journal"));
        cr_expect(fixture_exists("0002-1.journal"));
        fixture_must_append(alive, JOURNAL_CLAIM, "d", 2, 5);
        fixture_must_append(alive, JOURNAL_MOVED, "d", 2, 6);
        cr_assert_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect_not(fixture_exists("0001-1.journal"));
        cr_expect(fixture_exists("0002-1.journal"), "the best record of a");
        cr_expect_eq(fixture_best("a"), 12);
        fixture_must_append(alive, JOURNAL_CLAIM, "a", 9, 12);
        fixture_must_append(alive, JOURNAL_MOVED, "a", 9, 13);
        cr_assert_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect_eq(fixture_count(".journal"), 1);
        cr_expect(fixture_exists("0003-1.journal"), "a live writer's file");
        cr_expect_eq(fixture_best("a"), 13);
        journal_close(alive);
}

Test(journal_crash, many_lives_and_collectors_at_once_J7_J8) {
        pid_t pids[4];
        int status;

        shared_make();
        for (unsigned i = 0; i < 4; i++) {
                pids[i] = fork();
                cr_assert_geq(pids[i], 0);
                if (pids[i] != 0)
                        continue;
                if (i == 0) {
                        for (uint64_t generation = 1; generation <= 30; generation++) {
                                pid_t pid = fork();

                                if (pid == 0) {
                                        kill_disk(generation % 3 ? 20 + (unsigned) generation * 3 : 0);
                                        live(generation);
                                }
                                if (pid < 0 || waitpid(pid, &status, 0) != pid ||
                                    (WIFEXITED(status) && status != 0))
                                        _exit(5);
                        }
                        shared->is_done = 1;
                        _exit(0);
                }
                while (!shared->is_done)
                        if (journal_collect(fixture_state, "dest", fixture_instance) < 0)
                                _exit(6);
                _exit(0);
        }
        for (unsigned i = 0; i < 4; i++) {
                cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
                cr_expect_eq(status, 0, "process %u: %#x", i, status);
        }
        for (unsigned i = 0; i < SESSION_COUNT; i++)
                cr_expect_geq(fixture_best(session_names[i]), (int64_t) shared->acknowledged[i]);
        cr_expect_eq(fixture_count(".new"), 0);
}
