/* SPDX-License-Identifier: Apache-2.0 */
/* How a process ended that is no child of ours: another is its parent, and reaps it when it is told to. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/process.h"

TestSuite(process_end, .timeout = 60);

struct stranger {
        pid_t parent;
        int pid_fd;
        int go_fd;   /* a byte: the child may end; another: its parent reaps it */
        int told_fd; /* its pid; then, when it was reaped, what wait() said of it */
};

static void read_all(int fd, void *data, size_t bytes) {
        cr_assert_eq(read(fd, data, bytes), (ssize_t) bytes, "%s", strerror(errno));
}

static void write_byte(int fd) {
        cr_assert_eq(write(fd, "x", 1), 1);
}

static void parent_run(void (*end)(void), int go_fd, int told_fd) {
        int status = 0;
        pid_t pid;
        char byte;

        pid = fork();
        if (pid == 0) {
                (void) !read(go_fd, &byte, 1);
                end();
                _exit(99);
        }
        (void) !write(told_fd, &pid, sizeof(pid));
        (void) waitid(P_PID, (id_t) pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
        (void) !read(go_fd, &byte, 1);
        (void) waitpid(pid, &status, 0);
        (void) !write(told_fd, &status, sizeof(status));
        _exit(0);
}

static struct stranger stranger_start(void (*end)(void)) {
        struct stranger stranger;
        int go[2], told[2];
        pid_t pid;

        cr_assert_eq(pipe(go), 0);
        cr_assert_eq(pipe(told), 0);
        stranger.parent = fork();
        if (stranger.parent == 0)
                parent_run(end, go[0], told[1]);
        cr_assert_gt(stranger.parent, 0);
        (void) close(go[0]);
        (void) close(told[1]);
        stranger.go_fd = go[1];
        stranger.told_fd = told[0];
        read_all(stranger.told_fd, &pid, sizeof(pid));
        stranger.pid_fd = pidfd_open(pid, 0);
        cr_assert_geq(stranger.pid_fd, 0);
        return stranger;
}

/* Until the descriptor has the event; what it has then. */
static short wait_for(int pid_fd, short events) {
        struct pollfd poller = { .fd = pid_fd, .events = events };

        cr_assert_eq(poll(&poller, 1, 30000), 1);
        return poller.revents;
}

/* Has it end and be reaped; what wait() said. */
static int stranger_end(struct stranger *stranger) {
        int status;

        write_byte(stranger->go_fd);
        (void) wait_for(stranger->pid_fd, POLLIN);
        write_byte(stranger->go_fd);
        read_all(stranger->told_fd, &status, sizeof(status));
        return status;
}

static void stranger_forget(struct stranger *stranger) {
        fd_close(&stranger->pid_fd);
        fd_close(&stranger->go_fd);
        fd_close(&stranger->told_fd);
        cr_assert_eq(waitpid(stranger->parent, NULL, 0), stranger->parent);
}

/* This kernel does not tell: so it is said, and there is nothing to compare. */
static bool kernel_tells(void) {
        struct process_end end;
        int pid_fd = pidfd_open(getpid(), 0), r;

        r = process_how_ended(pid_fd, &end);
        (void) close(pid_fd);
        return r == -EAGAIN;
}

static void expect_told(void (*how)(void), enum process_end_kind kind, int number) {
        struct stranger stranger = stranger_start(how);
        struct process_end end = { .number = -7 };
        int status, r;

        r = process_how_ended(stranger.pid_fd, &end);
        cr_assert(r == -EAGAIN || r == -EOPNOTSUPP, "it lives: %d", r);
        status = stranger_end(&stranger);
        r = process_how_ended(stranger.pid_fd, &end);
        if (r == -EOPNOTSUPP) {
                cr_assert_eq(end.number, -7, "untouched on failure");
                stranger_forget(&stranger);
                cr_skip_test("this kernel does not tell how others' children end (before 6.15)");
        }
        cr_assert_eq(r, 0);
        cr_assert_eq(end.kind, kind);
        cr_assert_eq(end.number, number);
        cr_assert_eq(end.wrote_core, WIFSIGNALED(status) && WCOREDUMP(status));
        cr_assert_neq(wait_for(stranger.pid_fd, 0) & POLLHUP, 0, "that is how one knows that it was reaped");
        stranger_forget(&stranger);
}

static void exit_0(void) {
        _exit(0);
}
static void exit_75(void) {
        _exit(75);
}
static void killed(void) {
        (void) raise(SIGKILL);
}
static void no_core(void) {
        struct rlimit limit = { 0, 0 };

        (void) setrlimit(RLIMIT_CORE, &limit);
        abort();
}

/* Where cores are allowed at all; what is compared is what wait() says. */
static char core_directory[] = "/tmp/baton-core.XXXXXX";

static void with_core(void) {
        struct rlimit limit;

        if (chdir(core_directory) >= 0 && getrlimit(RLIMIT_CORE, &limit) >= 0) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_CORE, &limit);
        }
        abort();
}

static void core_directory_make(void) {
        cr_assert_not_null(mkdtemp(core_directory));
}

static void core_directory_remove(void) {
        char command[sizeof(core_directory) + 16];

        (void) snprintf(command, sizeof(command), "rm -rf '%s'", core_directory);
        cr_assert_eq(system(command), 0);
}

Test(process_end, an_exit_code_is_told) {
        expect_told(exit_75, PROCESS_END_EXIT, 75);
}

Test(process_end, an_orderly_end_is_told) {
        expect_told(exit_0, PROCESS_END_EXIT, 0);
}

Test(process_end, a_signal_is_told) {
        expect_told(killed, PROCESS_END_SIGNAL, SIGKILL);
}

Test(process_end, a_fault_without_a_core_is_told) {
        expect_told(no_core, PROCESS_END_SIGNAL, SIGABRT);
}

Test(process_end, a_core_is_told, .init = core_directory_make, .fini = core_directory_remove) {
        expect_told(with_core, PROCESS_END_SIGNAL, SIGABRT);
}

Test(process_end, what_wait_says_has_one_meaning) {
        struct process_end end = process_end_of_wait(SIGSEGV | 0x80);

        cr_assert(end.kind == PROCESS_END_SIGNAL && end.number == SIGSEGV && end.wrote_core);
        end = process_end_of_wait(3 << 8);
        cr_assert(end.kind == PROCESS_END_EXIT && end.number == 3 && !end.wrote_core);
        end = process_end_of_wait(0);
        cr_assert(end.kind == PROCESS_END_EXIT && end.number == 0);
        cr_assert_eq(process_end_of_wait(0x7f | SIGSTOP << 8).kind, PROCESS_END_UNKNOWN, "a stop is no end");
}

Test(process_end, before_it_is_reaped_nobody_knows) {
        struct stranger stranger = stranger_start(killed);
        struct process_end end = { .number = -7 };
        int status;

        if (!kernel_tells())
                cr_skip("this kernel does not tell how others' children end (before 6.15)");
        write_byte(stranger.go_fd);
        cr_assert_eq(wait_for(stranger.pid_fd, POLLIN) & POLLHUP, 0);
        cr_assert(process_has_ended(stranger.pid_fd), "the proof of its end needs no reaping (S3)");
        cr_assert_eq(process_how_ended(stranger.pid_fd, &end), -EAGAIN);
        cr_assert_eq(end.number, -7, "untouched on failure");
        write_byte(stranger.go_fd);
        read_all(stranger.told_fd, &status, sizeof(status));
        cr_assert_eq(process_how_ended(stranger.pid_fd, &end), 0);
        cr_assert_eq(end.number, SIGKILL);
        stranger_forget(&stranger);
}

/* A kernel before 6.13 knows no ioctl of a pidfd: ENOTTY. Others, and who confines a process, have other numbers. */
static void answer_ioctl_with(int error) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

        cr_assert_not_null(filter);
        cr_assert_eq(seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint16_t) error), SCMP_SYS(ioctl), 0), 0);
        cr_assert_eq(seccomp_load(filter), 0);
        seccomp_release(filter);
}

Test(process_end, a_kernel_that_does_not_tell_says_nothing_of_an_exit_0) {
        static const int errors[] = { ENOTTY, EINVAL, ESRCH, EPERM, ENOSYS };
        struct stranger stranger = stranger_start(killed);

        (void) stranger_end(&stranger);
        for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
                pid_t pid = fork();
                int status;

                if (pid == 0) {
                        struct process_end end = { .kind = PROCESS_END_UNKNOWN, .number = -7 };

                        answer_ioctl_with(errors[i]);
                        _exit(process_how_ended(stranger.pid_fd, &end) != -EOPNOTSUPP ||
                              end.kind != PROCESS_END_UNKNOWN || end.number != -7);
                }
                cr_assert_eq(waitpid(pid, &status, 0), pid);
                cr_assert_eq(status, 0, "errno %d is taken for an answer", errors[i]);
        }
        stranger_forget(&stranger);
}

Test(process_end, what_is_no_pidfd_says_nothing) {
        struct process_end end = { .number = -7 };
        int fd = eventfd(0, EFD_CLOEXEC);

        cr_assert_eq(process_how_ended(fd, &end), -EOPNOTSUPP);
        cr_assert_eq(end.number, -7);
        (void) close(fd);
}
