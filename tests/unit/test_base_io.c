/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole transfers, directories, and a replacement that is either old or new whoever dies. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"

static char place[PATH_MAX];
static int place_fd = -1;

static void make_place(void) {
        const char *base = getenv("TMPDIR");

        (void) snprintf(place, sizeof place, "%s/baton-io.XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(place));
        place_fd = open(place, O_DIRECTORY | O_CLOEXEC);
        cr_assert_geq(place_fd, 0);
}

static void remove_place(void) {
        char command[PATH_MAX + 16];

        fd_close(&place_fd);
        (void) snprintf(command, sizeof command, "rm -rf '%s'", place);
        cr_assert_eq(system(command), 0);
}

TestSuite(io, .init = make_place, .fini = remove_place);

static void put(const char *name, const void *data, size_t bytes) {
        _cleanup_fd_ int fd = openat(place_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        cr_assert_geq(fd, 0);
        cr_assert_eq(fd_pwrite_all(fd, data, bytes, 0), 0);
}

Test(io, close_keeps_errno_and_closes_once) {
        int fd = dup(STDERR_FILENO), copy = fd;

        errno = EXDEV;
        fd_close(&fd);
        cr_assert_eq(errno, EXDEV);
        cr_assert_eq(fd, -1);
        cr_assert_eq(fcntl(copy, F_GETFD), -1);
        fd_close(&fd);
        cr_assert_eq(fd, -1);
}

Test(io, transfers_at_an_offset) {
        _cleanup_fd_ int fd = openat(place_fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        char buffer[16];
        size_t bytes = 77;

        cr_assert_eq(fd_pwrite_all(fd, "hello", 5, 3), 0);
        cr_assert_eq(fd_pread_all(fd, buffer, sizeof buffer, 0, &bytes), 0);
        cr_assert_eq(bytes, 8);
        cr_assert_arr_eq(buffer, "\0\0\0hello", 8);
        cr_assert_eq(fd_pread_all(fd, buffer, 2, 4, &bytes), 0);
        cr_assert_eq(bytes, 2);
        cr_assert_arr_eq(buffer, "el", 2);
        cr_assert_eq(fd_pread_all(fd, buffer, 2, 100, &bytes), 0);
        cr_assert_eq(bytes, 0);
        cr_assert_eq(fd_pwrite_all(fd, NULL, 0, 0), 0);
}

Test(io, errors_come_back_as_errno) {
        _cleanup_fd_ int reader = openat(place_fd, ".", O_DIRECTORY | O_CLOEXEC);
        _cleanup_fd_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        size_t bytes = 77;
        char c;

        cr_assert_eq(fd_pread_all(reader, &c, 1, 0, &bytes), -EISDIR);
        cr_assert_eq(bytes, 77, "untouched on failure");
        cr_assert_eq(fd_pwrite_all(reader, "x", 1, 0), -EBADF);
        cr_assert_geq(full, 0);
        cr_assert_eq(fd_pwrite_all(full, "x", 1, 0), -ENOSPC);
}

/* The kernel writes what fits below the limit and says so; the rest must be tried and must fail. */
Test(io, a_short_write_is_not_taken_for_a_whole_one) {
        _cleanup_fd_ int fd = openat(place_fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct rlimit limit = { .rlim_cur = 10, .rlim_max = RLIM_INFINITY };

        cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
        limit.rlim_cur = 10;
        (void) signal(SIGXFSZ, SIG_IGN);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_assert_eq(fd_pwrite_all(fd, "0123456789abcdef", 16, 0), -EFBIG);
}

Test(io, makes_directories) {
        char path[PATH_MAX + 320], long_name[300];
        struct stat status;

        (void) snprintf(path, sizeof path, "%s/a/b//c/", place);
        cr_assert_eq(dir_make(path, 0750), 0);
        cr_assert_eq(stat(path, &status), 0);
        cr_assert(S_ISDIR(status.st_mode));
        cr_assert_eq(status.st_mode & 0027, 0);
        cr_assert_eq(dir_make(path, 0750), 0, "there already");
        cr_assert_eq(dir_make("/", 0750), 0);
        cr_assert_eq(dir_make("", 0750), -ENOENT);
        cr_assert_eq(dir_sync(place_fd), 0);

        put("file", "x", 1);
        (void) snprintf(path, sizeof path, "%s/file", place);
        cr_assert_eq(dir_make(path, 0750), -ENOTDIR);
        (void) snprintf(path, sizeof path, "%s/file/below", place);
        cr_assert_eq(dir_make(path, 0750), -ENOTDIR);
        cr_assert_eq(symlinkat("nowhere", place_fd, "dangling"), 0);
        (void) snprintf(path, sizeof path, "%s/dangling", place);
        cr_assert_eq(dir_make(path, 0750), -ENOTDIR);
        memset(long_name, 'n', sizeof long_name - 1);
        long_name[sizeof long_name - 1] = '\0';
        (void) snprintf(path, sizeof path, "%s/%s", place, long_name);
        cr_assert_eq(dir_make(path, 0750), -ENAMETOOLONG);
}

Test(io, reads_a_small_file) {
        _cleanup_free_ char *text = NULL;
        char *untouched = (char *) 1;

        put("f", "12345", 5);
        cr_assert_eq(file_read_text(place_fd, "f", 5, &text), 0);
        cr_assert_str_eq(text, "12345");
        cr_assert_eq(file_read_text(place_fd, "f", 4, &untouched), -EFBIG);
        cr_assert_eq(file_read_text(place_fd, "absent", 4, &untouched), -ENOENT);
        cr_assert_eq(file_read_text(place_fd, ".", 4, &untouched), -EISDIR);
        put("nul", "a\0b", 3);
        cr_assert_eq(file_read_text(place_fd, "nul", 9, &untouched), -EBADMSG);
        cr_assert_eq(mkfifoat(place_fd, "fifo", 0600), 0);
        cr_assert_eq(file_read_text(place_fd, "fifo", 9, &untouched), -EINVAL,
                     "and does not wait for a writer");
        cr_assert_eq(untouched, (char *) 1);

        put("empty", "", 0);
        free(TAKE(text));
        cr_assert_eq(file_read_text(place_fd, "empty", 0, &text), 0);
        cr_assert_str_eq(text, "");
}

static void expect_content(const char *wanted) {
        _cleanup_free_ char *text = NULL;

        cr_assert_eq(file_read_text(place_fd, "f", 100, &text), 0);
        cr_assert_str_eq(text, wanted);
}

Test(io, replaces_a_small_file) {
        struct stat status;
        mode_t mask = umask(0077);

        cr_assert_eq(file_replace_text(place_fd, "f", "one", 0640), 0);
        (void) umask(mask);
        expect_content("one");
        cr_assert_eq(fstatat(place_fd, "f", &status, 0), 0);
        cr_assert_eq(status.st_mode & 0777, 0640, "as asked, whatever the umask");
        cr_assert_eq(file_replace_text(place_fd, "f", "two, longer", 0600), 0);
        expect_content("two, longer");
}

Test(io, a_replacement_that_fails_changes_nothing_and_leaves_nothing) {
        char name[NAME_MAX + 1], command[PATH_MAX + 64];

        cr_assert_eq(mkdirat(place_fd, "f", 0700), 0);
        put("f/x", "x", 1);
        cr_assert_eq(file_replace_text(place_fd, "f", "text", 0600), -EISDIR);
        (void) snprintf(command, sizeof command, "test \"$(ls -A '%s')\" = f", place);
        cr_assert_eq(system(command), 0);

        memset(name, 'n', sizeof name - 1);
        name[sizeof name - 1] = '\0';
        cr_assert_eq(file_replace_text(place_fd, name, "text", 0600), -ENAMETOOLONG);
}

/* What a dead writer with our thread's number left behind must not stand in the way for ever. */
Test(io, a_temporary_of_the_dead_is_replaced) {
        char name[64];

        (void) snprintf(name, sizeof name, ".f.%d.tmp", (int) gettid());
        put(name, "torn", 4);
        cr_assert_eq(file_replace_text(place_fd, "f", "whole", 0600), 0);
        expect_content("whole");
        cr_assert_eq(faccessat(place_fd, name, F_OK, 0), -1);
}

/* Writers killed at any moment: the file is always one of the whole texts (base.K1, base.K2). */
Test(io, killed_writers_leave_old_or_new) {
        cr_assert_eq(file_replace_text(place_fd, "f", "aaaaaaaa", 0600), 0);
        for (int round = 0; round < 40; round++) {
                _cleanup_free_ char *text = NULL;
                pid_t pid = fork();

                if (pid == 0)
                        for (;;) {
                                (void) file_replace_text(place_fd, "f", "bbbbbbbbbbbbbbbb", 0600);
                                (void) file_replace_text(place_fd, "f", "cccc", 0600);
                        }
                cr_assert_gt(pid, 0);
                (void) usleep(500 * (useconds_t) (round % 8));
                cr_assert_eq(kill(pid, SIGKILL), 0);
                cr_assert_eq(waitpid(pid, NULL, 0), pid);
                cr_assert_eq(file_read_text(place_fd, "f", 100, &text), 0);
                cr_assert(strcmp(text, "aaaaaaaa") == 0 || strcmp(text, "bbbbbbbbbbbbbbbb") == 0 ||
                                  strcmp(text, "cccc") == 0,
                          "\"%s\"", text);
        }
}
