/* SPDX-License-Identifier: Apache-2.0 */
/* Nice value and slice: granted, or refused without a change of the nice value. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/priority.h"

/* What `fn` says in a process of its own. */
static int in_child(int (*fn)(void)) {
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
                _exit(fn());
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int lower(void) {
        int before = getpriority(PRIO_PROCESS, 0);

        return priority_set(before + 3, 200) == 0 && getpriority(PRIO_PROCESS, 0) == before + 3 ? 0 : 1;
}

Test(base_priority, what_is_granted_is_set) {
        cr_expect_eq(in_child(lower), 0, "nobody needs a right to be nicer");
}

static int refused(void) {
        struct rlimit none = { 0, 0 };

        if (setpriority(PRIO_PROCESS, 0, 5) < 0 || setrlimit(RLIMIT_NICE, &none) < 0 ||
            (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0)))
                return 99;
        if (priority_set(-10, 200) != -EPERM)
                return 1;
        return getpriority(PRIO_PROCESS, 0) == 5 ? 0 : 2;
}

Test(base_priority, what_is_refused_changes_no_nice_value) {
        int code = in_child(refused);

        if (code == 99)
                cr_skip("cannot become another user here");
        cr_expect_eq(code, 0, "%d", code);
}
