/* SPDX-License-Identifier: Apache-2.0 */
/* S11: any number of workers, or one maker of a segment; a death frees it; the holder is named. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "shm/workers_lock.h"

static char directory[256];

static void make_directory(void) {
        const char *base = getenv("TMPDIR");

        (void) snprintf(directory, sizeof directory, "%s/baton-lock.XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void) {
        char file[300];

        (void) snprintf(file, sizeof file, "%s/workers.lock", directory);
        (void) unlink(file);
        cr_assert_eq(rmdir(directory), 0);
}

/* A child that holds the lock, shared or alone, until it is killed. */
static pid_t holder_start(bool is_shared) {
        int fds[2];
        char byte;
        pid_t pid;

        cr_assert_eq(pipe(fds), 0);
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                struct failure failure;
                int fd, r = is_shared ? workers_lock_shared(directory, 0, &fd, &failure)
                                      : workers_lock_exclusive(directory, &fd, NULL, &failure);

                (void) !write(fds[1], r < 0 ? "n" : "y", 1);
                for (;;)
                        (void) pause();
        }
        (void) close(fds[1]);
        cr_assert_eq(read(fds[0], &byte, 1), 1);
        (void) close(fds[0]);
        cr_assert_eq(byte, 'y');
        return pid;
}

static void holder_kill(pid_t pid) {
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(shm_workers_lock, s11_workers_keep_a_maker_out, .init = make_directory, .fini = remove_directory) {
        pid_t first = holder_start(true), second = holder_start(true);
        int fd = -7, holder_pid = 0;
        struct failure failure;

        cr_assert_eq(workers_lock_exclusive(directory, &fd, &holder_pid, &failure), -EBUSY);
        cr_assert_eq(fd, -7, "output untouched on failure");
        cr_assert(holder_pid == first || holder_pid == second || holder_pid == 0, "%d", holder_pid);
        cr_assert_not_null(strstr(failure.text, directory));
        holder_kill(first);
        cr_assert_eq(workers_lock_exclusive(directory, &fd, NULL, NULL), -EBUSY);
        holder_kill(second);
        cr_assert_eq(workers_lock_exclusive(directory, &fd, &holder_pid, &failure), 0, "%s", failure.text);
        fd_close(&fd);
}

/* The number comes from /proc/locks, which names nobody (0) of another pid namespace. */
Test(shm_workers_lock, s11_the_holder_is_named_or_nobody, .init = make_directory, .fini = remove_directory) {
        pid_t holder = holder_start(true);
        int fd, holder_pid = -1;
        struct failure failure;

        cr_assert_eq(workers_lock_exclusive(directory, &fd, &holder_pid, &failure), -EBUSY);
        cr_assert(holder_pid == holder || holder_pid == 0, "never a wrong one: %d", holder_pid);
        holder_kill(holder);
}

/* As a container has it: a file's device is not the one that the kernel's list of locks shows. */
static void mount_overlay(const char *base, const char *lower) {
        char upper[300], work[300], merged[300], options[1000];

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", base, "tmpfs", 0, NULL) < 0)
                cr_skip_test("nothing can be mounted here");
        (void) snprintf(upper, sizeof upper, "%s/upper", base);
        (void) snprintf(work, sizeof work, "%s/work", base);
        (void) snprintf(merged, sizeof merged, "%s/merged", base);
        (void) snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
        cr_assert(mkdir(upper, 0755) == 0 && mkdir(work, 0755) == 0 && mkdir(merged, 0755) == 0);
        if (mount("overlay", merged, "overlay", 0, options) < 0)
                cr_skip_test("no overlay can be mounted here");
}

Test(shm_workers_lock, s11_the_holder_is_named_on_an_overlay, .init = make_directory,
     .fini = remove_directory) {
        char base[256], lower[256];
        struct failure failure;
        int fd, holder_pid = 0;
        pid_t holder;

        (void) snprintf(base, sizeof base, "%s", directory);
        make_directory();
        (void) snprintf(lower, sizeof lower, "%s", directory);
        mount_overlay(base, lower);
        (void) snprintf(directory, sizeof directory, "%.200s/merged", base);
        holder = holder_start(true);
        cr_expect_eq(workers_lock_exclusive(directory, &fd, &holder_pid, &failure), -EBUSY);
        cr_expect_eq(holder_pid, holder, "%d, not %d", holder_pid, holder);
        holder_kill(holder);
        cr_assert_eq(umount2(directory, MNT_DETACH), 0);
        cr_assert_eq(umount2(base, MNT_DETACH), 0);
        cr_assert_eq(rmdir(lower), 0);
        (void) snprintf(directory, sizeof directory, "%s", base);
}

Test(shm_workers_lock, s11_a_maker_keeps_workers_waiting, .init = make_directory, .fini = remove_directory) {
        pid_t maker = holder_start(false);
        struct failure failure;
        int fd = -7;

        cr_assert_eq(workers_lock_shared(directory, 1000, &fd, &failure), -EWOULDBLOCK);
        cr_assert_eq(fd, -7);
        cr_assert_not_null(strstr(failure.text, "workers.lock"));
        holder_kill(maker);
        cr_assert_eq(workers_lock_shared(directory, 20 * USEC_PER_SEC, &fd, &failure), 0);
        fd_close(&fd);
}

Test(shm_workers_lock, no_state_directory) {
        struct failure failure;
        int fd = -7;

        cr_assert_eq(workers_lock_shared("/nonexistent/baton", 0, &fd, &failure), -ENOENT);
        cr_assert_not_null(strstr(failure.text, "/nonexistent/baton"));
        cr_assert_eq(workers_lock_exclusive("/nonexistent/baton", &fd, NULL, &failure), -ENOENT);
        cr_assert_eq(fd, -7);
}

/* What every sentence about a holder says: that of "pid 0" would be of a process that there is not. */
Test(shm_workers_lock, s11_a_holder_that_is_not_known_is_not_pid_0) {
        char name[WORKERS_HOLDER_BYTES];

        cr_expect_str_eq(workers_lock_holder_name(4194304, name), "worker pid 4194304");
        cr_expect_str_eq(workers_lock_holder_name(0, name), "a worker whose pid is not known here");
}
