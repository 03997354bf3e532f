/* SPDX-License-Identifier: Apache-2.0 */
/* Identity of a process and proof of its death (S3, S6). */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/process.h"

/* A child that waits for its end, with a name that makes /proc/PID/stat hard to read. */
static pid_t start_child(void) {
        int ready[2];
        char byte;
        pid_t pid;

        cr_assert_eq(pipe(ready), 0);
        pid = fork();
        if (pid == 0) {
                (void) prctl(PR_SET_NAME, ") 1 (x) 2");
                (void) !write(ready[1], "x", 1);
                for (;;)
                        (void) pause();
        }
        cr_assert_gt(pid, 0);
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        (void) close(ready[0]);
        (void) close(ready[1]);
        return pid;
}

Test(process, a_thread_is_of_one_process) {
        cr_assert(process_has_thread(getpid(), gettid()));
        cr_assert_not(process_has_thread(getpid(), getppid()));
        cr_assert_not(process_has_thread(getpid(), 0));
        cr_assert_not(process_has_thread(0, gettid()));
}

Test(process, start_time_is_the_same_each_time_and_survives_a_hostile_name) {
        pid_t pid = start_child();
        uint64_t own = 0, again = 0, child = 0;

        cr_assert_eq(process_start_ticks(getpid(), &own), 0);
        cr_assert_eq(process_start_ticks(getpid(), &again), 0);
        cr_assert_eq(own, again);
        cr_assert_gt(own, 0);
        cr_assert_eq(process_start_ticks(pid, &child), 0);
        cr_assert_geq(child, own);
        cr_assert_lt(child, own + 100 * 3600 * 24);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        cr_assert_eq(process_start_ticks(pid, &child), -ESRCH);
        /* P1: a pid may be anything that another process wrote. */
        cr_assert_eq(process_start_ticks(0, &child), -ESRCH);
        cr_assert_eq(process_start_ticks(-1, &child), -ESRCH);
}

Test(process, a_stopped_process_is_seen_as_stopped) {
        pid_t pid = start_child();
        char state = '?';

        cr_assert_eq(kill(pid, SIGSTOP), 0);
        cr_assert_eq(waitpid(pid, NULL, WUNTRACED), pid);
        cr_assert_eq(process_state(pid, &state), 0);
        cr_assert_eq(state, 'T');
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        cr_assert_eq(process_state(pid, &state), -ESRCH);
        cr_assert_eq(process_state(-1, &state), -ESRCH);
        cr_assert_eq(state, 'T', "untouched on failure");
}

Test(process, a_reused_pid_is_never_taken_S6) {
        uint64_t ticks = 0;
        int fd = -7;

        cr_assert_eq(process_start_ticks(getpid(), &ticks), 0);
        cr_assert_eq(process_open(getpid(), ticks + 1, &fd), -ESRCH);
        cr_assert_eq(process_open(0, ticks, &fd), -ESRCH);
        cr_assert_eq(process_open(-1, ticks, &fd), -ESRCH);
        cr_assert_eq(fd, -7, "untouched on failure");
        cr_assert_eq(process_open(getpid(), ticks, &fd), 0);
        cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        fd_close(&fd);
}

Test(process, death_is_proven_by_the_pidfd_S3) {
        pid_t pid = start_child();
        _cleanup_fd_ int fd = -1;
        struct pollfd poller;
        uint64_t ticks = 0;

        cr_assert_eq(process_start_ticks(pid, &ticks), 0);
        cr_assert_eq(process_open(pid, ticks, &fd), 0);
        cr_assert_not(process_has_ended(fd));
        cr_assert_eq(process_signal(fd, 0), 0);
        cr_assert_eq(process_signal(fd, SIGSTOP), 0);
        cr_assert_eq(waitpid(pid, NULL, WUNTRACED), pid);
        cr_assert_not(process_has_ended(fd), "a stopped process is not dead");
        cr_assert_eq(process_signal(fd, SIGKILL), 0);
        poller = (struct pollfd){ .fd = fd, .events = POLLIN };
        cr_assert_eq(poll(&poller, 1, -1), 1);
        cr_assert(process_has_ended(fd), "dead before it is reaped");
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        cr_assert(process_has_ended(fd));
        cr_assert_eq(process_signal(fd, SIGKILL), -ESRCH);
}

/* In a root directory without /proc, as with hidepid and a program that may not be traced. */
static int look_without_proc(pid_t pid, uint64_t ticks, const char *directory) {
        int fd = -7;

        if (chroot(directory) < 0 && (unshare(CLONE_NEWUSER) < 0 || chroot(directory) < 0))
                return 77;
        return process_open(pid, ticks, &fd) == -EACCES && fd == -7 ? 0 : 1;
}

Test(process, who_cannot_be_seen_is_not_dead_S3) {
        char directory[] = "/tmp/baton-process.XXXXXX";
        pid_t pid = start_child(), looker;
        uint64_t ticks = 0;
        int status = 0;

        cr_assert_eq(process_start_ticks(pid, &ticks), 0);
        cr_assert_not_null(mkdtemp(directory));
        looker = fork();
        if (looker == 0)
                _exit(look_without_proc(pid, ticks, directory));
        cr_assert_eq(waitpid(looker, &status, 0), looker);
        cr_assert_eq(rmdir(directory), 0);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                cr_skip_test("neither chroot nor a user namespace is granted");
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it lives: %d", status);
}

Test(process, memory_is_that_of_the_process) {
        const size_t bytes = (size_t) 8 << 20;
        uint64_t resident = 0, private = 0, resident_after = 0, private_after = 0;
        char *memory;

        cr_assert_eq(process_memory(getpid(), &resident, &private), 0);
        cr_assert_gt(private, 0);
        cr_assert_geq(resident, private);
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(memory, MAP_FAILED);
        memset(memory, 1, bytes);
        cr_assert_eq(process_memory(getpid(), &resident_after, &private_after), 0);
        cr_assert_geq(private_after, private + bytes / 2);
        cr_assert_eq(munmap(memory, bytes), 0);
        cr_assert_eq(process_memory(-5, &resident, &private), -ESRCH);
}
