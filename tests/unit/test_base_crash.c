/* SPDX-License-Identifier: Apache-2.0 */
/* Crash points: the right one, at the right pass, and no other. */

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The source itself, so that the points exist in an ordinary build too. */
#undef BATON_CRASH_POINTS
#define BATON_CRASH_POINTS 1
#include "base/crash.c"

/* Passes two points five times each in a child; returns how many passes it lived through (0–10). */
static int passes_survived(const char *wanted) {
        int pipe_fds[2], count = 0, status;
        char byte;
        pid_t pid;

        cr_assert_eq(pipe(pipe_fds), 0);
        pid = fork();
        if (pid == 0) {
                (void) (wanted ? setenv("BATON_CRASH", wanted, 1) : unsetenv("BATON_CRASH"));
                for (int i = 0; i < 10; i++) {
                        CRASH_POINT("area.K1");
                        if (i % 2)
                                CRASH_POINT("area.K12");
                        (void) !write(pipe_fds[1], "x", 1);
                }
                _exit(0);
        }
        cr_assert_gt(pid, 0);
        (void) close(pipe_fds[1]);
        while (read(pipe_fds[0], &byte, 1) == 1)
                count++;
        (void) close(pipe_fds[0]);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        if (count == 10)
                cr_assert(WIFEXITED(status));
        else
                cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        return count;
}

Test(crash, dies_where_it_was_told) {
        cr_assert_eq(passes_survived(NULL), 10);
        cr_assert_eq(passes_survived(""), 10);
        cr_assert_eq(passes_survived("area.K2"), 10);
        cr_assert_eq(passes_survived("area.K"), 10, "a prefix is another name");
        cr_assert_eq(passes_survived("area.K1"), 0);
        cr_assert_eq(passes_survived("area.K1:1"), 0);
        cr_assert_eq(passes_survived("area.K1:3"), 2);
        cr_assert_eq(passes_survived("area.K1:11"), 10);
        cr_assert_eq(passes_survived("area.K12"), 1);
        cr_assert_eq(passes_survived("area.K12:2"), 3);
}
