/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder (prove/power/recorder.h) on a child that does to files whatever can be done: the tape accounts
 * for what stands there, syncs are where they were, and what it cannot see it refuses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "prove/power/account.h"
#include "prove/power/disk.h"
#include "prove/power/recorder.h"

enum { MARK_START = 1, MARK_STOP };

static char root[64];
static struct recorder *recorder;
static void (*deed)(void); /* what the child does, in root */
static bool accounted_for;

static void begin(void) {
        (void) snprintf(root, sizeof(root), "/tmp/baton-recorder-XXXXXX");
        cr_assert(mkdtemp(root));
        recorder_new(root, &recorder);
}

static void end(void) {
        char command[128];

        recorder_free(recorder);
        (void) snprintf(command, sizeof(command), "rm -rf '%s'", root);
        (void) !system(command);
}

TestSuite(power_recorder, .init = begin, .fini = end, .timeout = 60);

static enum trace_verdict on_call(struct tracer *tracer, struct trace_call *call, void *context) {
        (void) tracer, (void) context;
        return recorder_call(recorder, call);
}

static void on_process(struct tracer *tracer, const struct trace_process *process, void *context) {
        (void) tracer, (void) context;
        recorder_process(recorder, process);
}

static void on_mark(struct tracer *tracer, uint64_t mark, void *context) {
        (void) tracer, (void) context;
        if (mark == MARK_START)
                recorder_start(recorder);
        else {
                recorder_stop(recorder);
                accounted_for = account_holds(recorder_tape(recorder), root);
        }
}

static int driver(void *argument) {
        int status = 0;
        pid_t pid;

        (void) argument;
        tracer_mark(MARK_START);
        pid = fork();
        if (pid == 0) {
                if (chdir(root) < 0)
                        _exit(1);
                deed();
                _exit(0);
        }
        (void) waitpid(pid, &status, 0);
        tracer_mark(MARK_STOP);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

static void record(void (*what)(void)) {
        const struct tracer_options options = { .on_call = on_call,
                                                .on_process = on_process,
                                                .on_mark = on_mark,
                                                .roles = TRACE_BIT(TRACE_APPLICATION) |
                                                         TRACE_BIT(TRACE_COMMAND) };
        int status, r;

        deed = what;
        r = tracer_run(&options, driver, NULL, &status);
        if (r == -EPERM)
                cr_skip_test("this system lets nobody trace");
        cr_assert_eq(r, 0);
        cr_assert_eq(status, 0, "the child failed: %#x", status);
}

/* Anything that fails in the child ends it. */
static void must(bool good) {
        if (!good)
                _exit(1);
}

static size_t count(enum tape_kind kind) {
        const struct tape *tape = recorder_tape(recorder);
        size_t found = 0;

        for (size_t i = 0; i < tape->count; i++)
                found += tape->ops[i].kind == kind && !tape->ops[i].is_base;
        return found;
}

/* ---- all that it knows --------------------------------------------------------------------------- */
static void write_in_every_manner(void) {
        struct iovec parts[] = { { "vec", 3 }, { "tor", 3 } };
        int fd = open("a", O_RDWR | O_CREAT, 0644), appending;

        must(fd >= 0 && write(fd, "first", 5) == 5 && write(fd, " second", 7) == 7);
        must(pwrite(fd, "PW", 2, 3) == 2 && writev(fd, parts, 2) == 6 && pwritev(fd, parts, 2, 30) == 6);
        appending = open("a", O_WRONLY | O_APPEND);
        must(appending >= 0 && write(appending, "end", 3) == 3);
        must(pwrite(fd, "x", 1, 5000) == 1 && ftruncate(fd, 4000) == 0 && ftruncate(fd, 9000) == 0);
        must(fallocate(fd, 0, 0, 12000) == 0);
        /* Not every file system makes holes. */
        must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 5) == 0 || errno == EOPNOTSUPP);
        must(write(999, "nobody", 6) < 0 && pwrite(fd, "neither", 7, -1) < 0);
}

Test(power_recorder, writes_and_sizes) {
        record(write_in_every_manner);
        cr_assert_null(recorder_error(recorder), "%s", recorder_error(recorder));
        cr_expect(accounted_for);
        cr_expect_eq(count(TAPE_WRITE), 7, "%zu", count(TAPE_WRITE));
        cr_expect_eq(count(TAPE_CREATE), 1);
}

static void name_in_every_manner(void) {
        int directory, fd;

        must(mkdir("d", 0755) == 0 && mkdirat(AT_FDCWD, "e", 0755) == 0 && mkdir("d", 0755) < 0);
        directory = open("d", O_RDONLY | O_DIRECTORY);
        fd = openat(directory, "a", O_WRONLY | O_CREAT | O_EXCL, 0600);
        must(fd >= 0 && write(fd, "data", 4) == 4);
        must(rename("d/a", "e/b") == 0 && renameat(AT_FDCWD, "e/b", directory, "c") == 0);
        must(pwrite(fd, "D", 1, 0) == 1); /* a name does not matter to who has it open */
        must(link("d/c", "again") == 0 && linkat(directory, "c", directory, "more", 0) == 0);
        must(unlink("again") == 0 && unlinkat(directory, "more", 0) == 0 && rmdir("e") == 0);
        must(unlink("nothing") < 0 && rename("nothing", "else") < 0);
        must(open("d/c", O_WRONLY | O_TRUNC) >= 0 && open("d/c", O_WRONLY | O_CREAT, 0600) >= 0);
        must(unlink("d/c") == 0 && pwrite(fd, "gone", 4, 0) == 4);
        must(open("d/c", O_WRONLY | O_CREAT, 0600) >= 0); /* another one, perhaps with its inode */
}

Test(power_recorder, names) {
        record(name_in_every_manner);
        cr_assert_null(recorder_error(recorder), "%s", recorder_error(recorder));
        cr_expect(accounted_for);
        cr_expect_eq(count(TAPE_CREATE), 2);
        cr_expect_eq(count(TAPE_MAKE_DIRECTORY), 2);
        cr_expect_eq(count(TAPE_RENAME), 2);
        cr_expect_eq(count(TAPE_LINK), 2);
        cr_expect_eq(count(TAPE_UNLINK), 4);
}

static void sync_in_every_manner(void) {
        int fd = open("a", O_RDWR | O_CREAT, 0644), synchronous = open("a", O_WRONLY | O_DSYNC);
        int directory = open(".", O_RDONLY | O_DIRECTORY), reading = open("/dev/null", O_RDONLY);

        must(write(fd, "data", 4) == 4 && fsync(fd) == 0 && fdatasync(fd) == 0 && fsync(directory) == 0);
        must(syncfs(fd) == 0 && pwrite(synchronous, "x", 1, 0) == 1);
        must(fsync(999) < 0);
        (void) fsync(reading);
}

Test(power_recorder, syncs) {
        const struct tape *tape;
        bool is_synchronous = false;

        record(sync_in_every_manner);
        cr_assert_null(recorder_error(recorder), "%s", recorder_error(recorder));
        cr_expect(accounted_for);
        cr_expect_eq(count(TAPE_SYNC), 2);
        cr_expect_eq(count(TAPE_DATASYNC), 1);
        cr_expect_eq(count(TAPE_SYNC_ALL), 1);
        tape = recorder_tape(recorder);
        for (size_t i = 0; i < tape->count; i++) {
                cr_expect(tape->ops[i].ended > tape->ops[i].begun || tape->ops[i].kind == TAPE_MARK);
                is_synchronous |= tape->ops[i].is_synchronous;
        }
        cr_expect(is_synchronous);
}

/* ---- what was there, what does not count --------------------------------------------------------- */
static void change_what_was_there(void) {
        int fd = open("old", O_RDWR);

        must(fd >= 0 && pwrite(fd, "NEW", 3, 0) == 3);
        must(open("a.log", O_WRONLY | O_CREAT, 0600) >= 0 && open("a.db-shm", O_RDWR | O_CREAT, 0600) >= 0);
}

Test(power_recorder, what_was_there_is_the_base_and_some_files_do_not_count) {
        char path[128];
        int fd;

        (void) snprintf(path, sizeof(path), "%s/old", root);
        fd = open(path, O_WRONLY | O_CREAT, 0644);
        cr_assert_eq(write(fd, "old content", 11), 11);
        (void) close(fd);
        record(change_what_was_there);
        cr_assert_null(recorder_error(recorder), "%s", recorder_error(recorder));
        cr_expect(accounted_for);
        cr_expect_eq(count(TAPE_CREATE), 0);
        cr_expect_eq(count(TAPE_WRITE), 1);
}

/* ---- what it refuses ----------------------------------------------------------------------------- */
static void map_shared(void) {
        int fd = open("a", O_RDWR | O_CREAT, 0644);

        must(ftruncate(fd, 4096) == 0);
        must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
}

Test(power_recorder, a_shared_writable_mapping_is_refused) {
        record(map_shared);
        cr_assert(recorder_error(recorder));
        cr_expect(strstr(recorder_error(recorder), "does not know"), "%s", recorder_error(recorder));
}

static void map_harmlessly(void) {
        int shm = open("a.db-shm", O_RDWR | O_CREAT, 0644), fd = open("a", O_RDWR | O_CREAT, 0644);

        must(ftruncate(shm, 4096) == 0 && ftruncate(fd, 4096) == 0);
        must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, shm, 0) != MAP_FAILED);
        must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
        must(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
}

Test(power_recorder, other_mappings_are_not) {
        record(map_harmlessly);
        cr_expect_null(recorder_error(recorder), "%s", recorder_error(recorder));
        cr_expect(accounted_for);
}

static void copy_in_the_kernel(void) {
        int from = open("a", O_RDWR | O_CREAT, 0644), to = open("b", O_RDWR | O_CREAT, 0644);

        must(pwrite(from, "data", 4, 0) == 4);
        (void) !copy_file_range(from, NULL, to, NULL, 4, 0);
}

Test(power_recorder, a_call_that_it_does_not_know_is_refused) {
        record(copy_in_the_kernel);
        cr_assert(recorder_error(recorder));
        cr_expect(strstr(recorder_error(recorder), "does not know"), "%s", recorder_error(recorder));
}

/* ---- a process that is killed in a call ----------------------------------------------------------- */
static void die_in_a_write(void) {
        struct stat found = { 0 };
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                int fd = open("a", O_RDWR | O_CREAT, 0644);
                static char data[8 * 1024 * 1024];

                memset(data, 'x', sizeof(data));
                for (;;)
                        must(pwrite(fd, data, sizeof(data), 0) == (ssize_t) sizeof(data));
        }
        while (stat("a", &found) < 0 || found.st_size == 0)
                (void) usleep(100); /* until some of it is there */
        must(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
}

Test(power_recorder, of_a_write_that_was_cut_short_the_file_is_asked) {
        for (int round = 0; round < 5; round++) {
                end();
                begin();
                record(die_in_a_write);
                cr_assert_null(recorder_error(recorder), "%s", recorder_error(recorder));
                cr_assert(accounted_for);
                cr_expect_gt(count(TAPE_WRITE), 0);
        }
}

/* Several at once, so that the tracer has not heard yet of calls that have been made. */
#define VICTIMS 6

struct victim {
        pthread_mutex_t life;
        pid_t pid;
        char directory[2];
        atomic_bool is_at_it;
};

/* Its memory takes a while to go, and the heir has learnt of the death before. */
_Noreturn static void change_names(struct victim *victim) {
        static char memory[8 * 1024 * 1024];

        memset(memory, 'x', sizeof(memory));
        must(mkdir(victim->directory, 0755) == 0 && chdir(victim->directory) == 0);
        must(pthread_mutex_lock(&victim->life) == 0);
        victim->is_at_it = true;
        for (;;) {
                must(close(open("made", O_WRONLY | O_CREAT | O_EXCL, 0644)) == 0);
                must(rename("made", "named") == 0 && unlink("named") == 0);
        }
}

static void victim_start(struct victim *victim, char name) {
        pthread_mutexattr_t how;
        pid_t pid;

        must(pthread_mutexattr_init(&how) == 0);
        must(pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST) == 0);
        must(pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED) == 0);
        must(pthread_mutex_init(&victim->life, &how) == 0);
        victim->directory[0] = name;
        pid = fork();
        if (pid == 0)
                change_names(victim);
        must(pid > 0);
        victim->pid = pid;
        while (!victim->is_at_it)
                (void) usleep(100);
}

static void victim_inherit(struct victim *victim) {
        int status;

        must(kill(victim->pid, SIGKILL) == 0 && pthread_mutex_lock(&victim->life) == EOWNERDEAD);
        must(chdir(victim->directory) == 0);
        (void) rename("made", "kept");
        (void) rename("named", "kept");
        must(chdir("..") == 0);
        must(waitpid(victim->pid, &status, 0) == victim->pid && WIFSIGNALED(status));
}

static void inherit_names(void) {
        struct victim *victims = mmap(NULL, VICTIMS * sizeof(*victims), PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        must(victims != MAP_FAILED);
        for (int i = 0; i < VICTIMS; i++)
                victim_start(&victims[i], (char) ('a' + i));
        for (int i = 0; i < VICTIMS; i++)
                victim_inherit(&victims[i]);
}

Test(power_recorder, names_too_are_asked_before_whoever_comes_next_changes_them, .timeout = 240) {
        for (int round = 0; round < 10; round++) {
                end();
                begin();
                record(inherit_names);
                cr_assert_null(recorder_error(recorder), "%s", recorder_error(recorder));
                cr_assert(accounted_for, "round %d", round);
        }
}

/* One makes names, and another removes them as they come. */
#define MADE 400

static void make_and_remove(void) {
        pid_t pid = fork();
        int status;

        must(pid >= 0);
        if (pid == 0) {
                for (int i = 0; i < MADE; i++)
                        (void) unlink("made");
                _exit(0);
        }
        for (int i = 0; i < MADE; i++) {
                int fd = open("made", O_WRONLY | O_CREAT, 0644);

                must(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
        }
        must(waitpid(pid, &status, 0) == pid && status == 0);
}

Test(power_recorder, a_name_that_is_removed_as_it_is_made_is_accounted_for, .timeout = 240) {
        for (int round = 0; round < 5; round++) {
                end();
                begin();
                record(make_and_remove);
                cr_assert_null(recorder_error(recorder), "%s", recorder_error(recorder));
                cr_assert(accounted_for, "round %d", round);
        }
}
