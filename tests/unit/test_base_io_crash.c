/* SPDX-License-Identifier: Apache-2.0 */
/* base.K1, base.K2: death at the two numbered points of file_replace_text() (base/README.md). */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The sources themselves, so that the points exist in an ordinary build too. */
#undef BATON_CRASH_POINTS
#define BATON_CRASH_POINTS 1
#include "base/crash.c"
#include "base/io.c"

/* Replaces "old" by "new" in a child that dies at the point, and demands what a reader finds then. */
static void die_at(const char *point, const char *found) {
        const char *base = getenv("TMPDIR");
        _cleanup_free_ char *text = NULL;
        char place[PATH_MAX], command[PATH_MAX + 16];
        _cleanup_fd_ int fd = -1;
        int status;
        pid_t pid;

        (void) snprintf(place, sizeof place, "%s/baton-io.XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(place));
        fd = open(place, O_DIRECTORY | O_CLOEXEC);
        cr_assert_eq(file_replace_text(fd, "f", "old", 0600), 0);
        pid = fork();
        if (pid == 0) {
                (void) setenv("BATON_CRASH", point, 1);
                (void) file_replace_text(fd, "f", "new", 0600);
                _exit(0);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s was not passed", point);

        cr_assert_eq(file_read_text(fd, "f", 10, &text), 0);
        cr_assert_str_eq(text, found);
        free(TAKE(text));
        cr_assert_eq(file_replace_text(fd, "f", "next", 0600), 0, "the next writer is not hindered");
        cr_assert_eq(file_read_text(fd, "f", 10, &text), 0);
        cr_assert_str_eq(text, "next");
        (void) snprintf(command, sizeof command, "rm -rf '%s'", place);
        cr_assert_eq(system(command), 0);
}

Test(io_crash, K1_before_the_rename_the_old_stands) {
        die_at("base.K1", "old");
}

Test(io_crash, K2_after_the_rename_the_new_stands) {
        die_at("base.K2", "new");
}
