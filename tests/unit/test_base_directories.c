/* SPDX-License-Identifier: Apache-2.0 */
/* Where STATE and RUNTIME are, and the sentence where they cannot be. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/directories.h"

static void clear_environment(void) {
        (void) unsetenv("STATE_DIRECTORY");
        (void) unsetenv("RUNTIME_DIRECTORY");
}

TestSuite(directories, .init = clear_environment);

Test(directories, option_then_environment_then_default) {
        struct directories directories;

        cr_assert_eq(directories_resolve(NULL, NULL, &directories, NULL), 0);
        cr_assert_str_eq(directories.state, "/var/lib/baton");
        cr_assert_str_eq(directories.runtime, "/run/baton");

        (void) setenv("STATE_DIRECTORY", "/srv/one:/srv/two", 1);
        (void) setenv("RUNTIME_DIRECTORY", "/run/b/", 1);
        cr_assert_eq(directories_resolve(NULL, NULL, &directories, NULL), 0);
        cr_assert_str_eq(directories.state, "/srv/one");
        cr_assert_str_eq(directories.runtime, "/run/b");

        cr_assert_eq(directories_resolve("/opt/a:b//", "/opt/r", &directories, NULL), 0);
        cr_assert_str_eq(directories.state, "/opt/a:b", "only systemd's variable is a list");
        cr_assert_str_eq(directories.runtime, "/opt/r");
        cr_assert_eq(directories_resolve("/", NULL, &directories, NULL), 0);
        cr_assert_str_eq(directories.state, "/");

        (void) setenv("STATE_DIRECTORY", "", 1);
        cr_assert_eq(directories_resolve(NULL, NULL, &directories, NULL), 0);
        cr_assert_str_eq(directories.state, "/var/lib/baton");
}

Test(directories, a_relative_path_becomes_absolute) {
        struct directories directories;

        cr_assert_eq(chdir("/usr"), 0);
        cr_assert_eq(directories_resolve("s", "./r", &directories, NULL), 0);
        cr_assert_str_eq(directories.state, "/usr/s");
        cr_assert_str_eq(directories.runtime, "/usr/./r");
}

Test(directories, what_cannot_be_says_so) {
        struct directories directories = { .state = "x" };
        struct failure failure;
        char path[600];

        memset(path, 'd', sizeof path);
        path[0] = '/';
        path[sizeof path - 1] = '\0';
        cr_assert_eq(directories_resolve(path, NULL, &directories, &failure), -ENAMETOOLONG);
        cr_assert_not_null(strstr(failure.text, "--state"), "%s", failure.text);
        /* A socket's address ends after 107 bytes, and RUNTIME/control must fit. */
        path[100] = '\0';
        cr_assert_eq(directories_resolve(NULL, path, &directories, &failure), -ENAMETOOLONG);
        cr_assert_not_null(strstr(failure.text, "may have 99"), "%s", failure.text);
        cr_assert_eq(directories_resolve("", NULL, &directories, &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "--state is empty"), "%s", failure.text);
        cr_assert_str_eq(directories.state, "x", "untouched on failure");
        path[99] = '\0';
        cr_assert_eq(directories_resolve(path, path, &directories, NULL), 0);
}

Test(directories, prepare_makes_both) {
        char place[] = "/tmp/baton-dir.XXXXXX", command[64];
        struct directories directories;
        struct failure failure;
        bool is_tmpfs = true;
        struct stat status;

        cr_assert_not_null(mkdtemp(place));
        (void) snprintf(directories.state, sizeof directories.state, "%s/a/state", place);
        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s/r", place);
        cr_assert_eq(directories_check_state(&directories, &failure), 0, "%s", failure.text);
        cr_assert_eq(stat(directories.state, &status), -1, "a check makes nothing");
        cr_assert_eq(directories_prepare(&directories, &is_tmpfs, &failure), 0, "%s", failure.text);
        cr_assert_eq(directories_check_state(&directories, &failure), 0, "%s", failure.text);
        cr_assert_eq(stat(directories.state, &status), 0);
        cr_assert_eq(status.st_mode & 0777, 0750);
        cr_assert_eq(directories_prepare(&directories, NULL, &failure), 0, "twice is once");

        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s/file", place);
        cr_assert_geq(open(directories.runtime, O_CREAT | O_WRONLY | O_CLOEXEC, 0600), 0);
        cr_assert_eq(directories_prepare(&directories, NULL, &failure), -ENOTDIR);
        cr_assert_not_null(strstr(failure.text, "runtime directory"), "%s", failure.text);
        cr_assert_not_null(strstr(failure.text, directories.runtime), "%s", failure.text);

        (void) snprintf(command, sizeof command, "rm -rf '%s'", place);
        cr_assert_eq(system(command), 0);
}

Test(directories, dev_shm_is_tmpfs) {
        char state[] = "/tmp/baton-dir.XXXXXX", runtime[] = "/dev/shm/baton-dir.XXXXXX";
        struct directories directories;
        bool is_tmpfs = false;

        cr_assert_not_null(mkdtemp(state));
        cr_assert_not_null(mkdtemp(runtime));
        cr_assert_eq(directories_resolve(state, runtime, &directories, NULL), 0);
        cr_assert_eq(directories_prepare(&directories, &is_tmpfs, NULL), 0);
        cr_assert(is_tmpfs);
        (void) rmdir(state);
        (void) rmdir(runtime);
}

Test(directories, no_permission_is_unavailable_and_says_what_to_do) {
        char place[] = "/tmp/baton-dir.XXXXXX";
        struct directories directories;
        struct failure failure = { 0 };

        cr_assert_not_null(mkdtemp(place));
        cr_assert_eq(chmod(place, 0555), 0);
        if (getuid() == 0) /* root may do anything, so be somebody else */
                cr_assert_eq(setuid(65534), 0);
        (void) snprintf(directories.state, sizeof directories.state, "%s/s", place);
        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s", place);
        cr_assert_eq(directories_check_state(&directories, &failure), -EACCES);
        cr_assert_not_null(strstr(failure.text, "--state"), "%s", failure.text);
        cr_assert_eq(directories_prepare(&directories, NULL, &failure), -EACCES);
        cr_assert_eq(failure.kind, FAILURE_UNAVAILABLE);
        cr_assert_not_null(strstr(failure.text, "--state"), "%s", failure.text);
        (void) snprintf(directories.state, sizeof directories.state, "%s", place);
        cr_assert_eq(directories_prepare(&directories, NULL, &failure), -EACCES);
        cr_assert_not_null(strstr(failure.text, "cannot use the state directory"), "%s", failure.text);
}
