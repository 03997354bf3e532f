/* SPDX-License-Identifier: Apache-2.0 */
/* S11: a worker that waited while a new segment was made belongs to the new one. */
#include <dirent.h>
#include <limits.h>
#include <sys/wait.h>

#include "shm/workers_lock.h"
#include "tests/unit/worker_fixture.h"

#define EPOCH_OF_NEW (2ULL << 32)

static void setup(void) {
        worker_setup();
        worker_leave(); /* nobody holds the lock now */
        log_init("test");
}

static void teardown(void) {
        worker_enter();
        worker_teardown();
}

TestSuite(worker_open, .init = setup, .fini = teardown);

/* The process has opened workers.lock, so whatever it does before that is done. */
static bool has_opened_the_lock(pid_t pid) {
        char path[64], target[PATH_MAX];
        struct dirent *entry;
        bool found = false;
        DIR *directory;

        (void) snprintf(path, sizeof path, "/proc/%d/fd", (int) pid);
        directory = opendir(path);
        while (directory && (entry = readdir(directory))) {
                ssize_t bytes = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);

                if (bytes <= 0)
                        continue;
                target[bytes] = '\0';
                found = found || strcmp(target, path_of("state/workers.lock")) == 0;
        }
        if (directory)
                (void) closedir(directory);
        return found;
}

/* What a worker process does first; its exit status says where it belongs. The maker's lock is closed in it, as by
 * an exec, before this returns. */
static pid_t start(void) {
        int ready[2];
        char byte = 0;
        pid_t pid;

        cr_assert_eq(pipe(ready), 0);
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                struct directories directories;
                struct failure failure;

                for (int fd = 3; fd < 256; fd++)
                        if (fd != ready[1])
                                (void) close(fd);
                if (write(ready[1], &byte, 1) != 1)
                        _exit(3);
                (void) snprintf(directories.state, sizeof directories.state, "%s", path_of("state"));
                (void) snprintf(directories.runtime, sizeof directories.runtime, "%s", path_of("run"));
                if (worker_open(&worker, &directories, 0, &failure) < 0)
                        _exit(2);
                _exit(worker.segment->header->epoch_base == EPOCH_OF_NEW ? 0 : 1);
        }
        (void) close(ready[1]);
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        (void) close(ready[0]);
        return pid;
}

Test(worker_open, S11_who_waited_for_a_maker_lives_in_what_it_made) {
        const struct segment_geometry geometry = { 4, 8 };
        int lock_fd = -1, status = 0;
        pid_t pid;

        must(workers_lock_exclusive(path_of("state"), &lock_fd, NULL, failure));
        pid = start();
        while (!has_opened_the_lock(pid))
                cr_assert_eq(waitpid(pid, &status, WNOHANG), 0, "it waits for the lock: %#x", status);
        segment_close(TAKE(segment));
        must(segment_create(path_of("run"), &geometry, fixture_instance, EPOCH_OF_NEW, &segment, failure));
        settings_write();
        (void) close(lock_fd);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFEXITED(status));
        cr_assert_eq(WEXITSTATUS(status), 0, "1: it lives in the segment that is gone; 2: it could not join");
}
