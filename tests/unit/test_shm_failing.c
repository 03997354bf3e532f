/* SPDX-License-Identifier: Apache-2.0 */
/* Segment, workers.lock and a worker's entry where one call fails, each in turn (S11, P1): the sentence says why and
 * where, nothing is half made, outputs are untouched, no descriptor stays open, and the next attempt succeeds. */
#include "tests/unit/failing_calls.h"
#include "tests/unit/test_shm_support.h"

#include "shm/workers_lock.h"

static char directory[256];

static void setup(void) {
        test_directory(directory, sizeof directory);
}

static void teardown(void) {
        char command[300];

        (void) snprintf(command, sizeof command, "rm -rf '%s'", directory);
        cr_assert_eq(system(command), 0);
}

TestSuite(shm_failing, .init = setup, .fini = teardown);

static unsigned descriptors(void) {
        DIR *fds = opendir("/proc/self/fd");
        unsigned count = 0;

        cr_assert_not_null(fds);
        while (readdir(fds))
                count++;
        (void) closedir(fds);
        return count;
}

static unsigned entries(void) {
        DIR *names = opendir(directory);
        unsigned count = 0;

        cr_assert_not_null(names);
        for (struct dirent *entry; (entry = readdir(names));)
                count += entry->d_name[0] != '.';
        (void) closedir(names);
        return count;
}

/* One attempt with the n-th call failing. False: there was no n-th call any more, and it succeeded. */
static bool fails_at(enum calls_how how, unsigned at, int (*fn)(struct failure *failure), int *ret_r) {
        unsigned before = descriptors();
        struct failure failure = { 0 };
        int r;

        calls_begin(how, at);
        calls_armed(true);
        r = fn(&failure);
        calls_armed(false);
        if (!calls.failed)
                cr_assert_eq(r, 0, "%s", failure.text);
        if (calls.failed && r >= 0) /* what an interrupted call did is done again; a piece was not there */
                cr_assert(how == CALLS_SHORT || strcmp(calls.failed, "unlinkat") == 0,
                          "%s failed, and nobody noticed", calls.failed);
        if (r < 0) {
                cr_assert_neq(failure.kind, FAILURE_NONE, "%s", calls.failed);
                cr_assert_not_null(strstr(failure.text, directory), "%s failed: it says \"%s\"", calls.failed,
                                   failure.text);
                cr_assert_eq(descriptors(), before, "%s failed: a descriptor stays open", calls.failed);
        }
        *ret_r = r;
        return calls.failed;
}

static const char *segment_file(void) {
        static char file[300];

        (void) snprintf(file, sizeof file, "%s/%s", directory, SEGMENT_FILE_NAME);
        return file;
}

/* ---- S11: the segment ------------------------------------------------------------------------------ */

static int create(struct failure *failure) {
        const struct segment_geometry geometry = { 2, 2 };
        struct segment *segment = (void *) 1;
        int r = segment_create(directory, &geometry, test_instance, EPOCH_BASE, &segment, failure);

        cr_assert((r < 0) == (segment == (void *) 1), "output untouched on failure");
        if (r >= 0)
                segment_close(segment);
        return r;
}

static int open_it(struct failure *failure) {
        struct segment *segment = (void *) 1;
        int r = segment_open(directory, true, &segment, failure);

        cr_assert((r < 0) == (segment == (void *) 1), "output untouched on failure");
        if (r >= 0)
                segment_close(segment);
        return r;
}

static void expect_whole_or_nothing(enum calls_how how) {
        struct failure failure = { 0 };
        unsigned at = 1;

        for (int r; fails_at(how, at, create, &r); at++) {
                cr_assert_eq(entries(), r < 0 ? 0 : 1, "%s failed: a piece of a segment was left",
                             calls.failed);
                cr_assert_eq(open_it(&failure), r < 0 ? -ENOENT : 0, "%s failed", calls.failed);
                (void) unlinkat(AT_FDCWD, segment_file(), 0);
        }
        cr_assert_gt(at, 20, "locks and files were made to fail");
        cr_assert_eq(open_it(&failure), 0, "%s", failure.text);
}

Test(shm_failing, S11_a_segment_is_made_whole_or_not_at_all) {
        expect_whole_or_nothing(CALLS_BROKEN);
}

Test(shm_failing, S11_the_same_where_room_or_rights_are_short) {
        expect_whole_or_nothing(CALLS_SHORT);
}

/* The workers that live in it go on. */
Test(shm_failing, S11_what_fails_leaves_the_segment_before_it_in_its_place) {
        struct stat before, after;
        struct failure failure = { 0 };

        cr_assert_eq(create(&failure), 0, "%s", failure.text);
        cr_assert_eq(stat(segment_file(), &before), 0);
        for (int at = 1, r; fails_at(CALLS_BROKEN, (unsigned) at, create, &r); at++) {
                cr_assert_eq(stat(segment_file(), &after), 0);
                cr_assert_eq(after.st_ino == before.st_ino, r < 0, "%s failed", calls.failed);
                cr_assert_eq(entries(), 1, "%s failed", calls.failed);
                before = after;
        }
}

Test(shm_failing, P1_a_segment_that_cannot_be_read_is_refused_with_the_reason) {
        struct failure failure = { 0 };

        cr_assert_eq(create(&failure), 0, "%s", failure.text);
        for (enum calls_how how = 0; how < CALLS_HOW_COUNT; how++) {
                unsigned at = 1;

                for (int r; fails_at(how, at, open_it, &r);)
                        at++;
                cr_assert_gt(at, 5);
        }
}

/* ---- S11: workers.lock ------------------------------------------------------------------------------ */

static int lock_shared(struct failure *failure) {
        int fd = -2, r = workers_lock_shared(directory, 0, &fd, failure);

        cr_assert((r < 0) == (fd == -2), "output untouched on failure");
        if (r >= 0)
                (void) close(fd);
        return r;
}

static int lock_exclusive(struct failure *failure) {
        int fd = -2, holder = 0, r = workers_lock_exclusive(directory, &fd, &holder, failure);

        cr_assert((r < 0) == (fd == -2), "output untouched on failure");
        if (r >= 0)
                (void) close(fd);
        return r;
}

Test(shm_failing, S11_a_lock_that_cannot_be_had_is_not_taken_for_one_that_is) {
        for (enum calls_how how = 0; how < CALLS_HOW_COUNT; how++) {
                unsigned at = 1;

                for (int r; fails_at(how, at, lock_shared, &r);)
                        at++;
                cr_assert_gt(at, 3);
                at = 1;
                for (int r; fails_at(how, at, lock_exclusive, &r);)
                        at++;
                cr_assert_gt(at, 3);
        }
}

/* Who it is is a help, and no condition. */
Test(shm_failing, S11_it_is_held_also_where_the_holder_cannot_be_named) {
        struct failure failure = { 0 };
        int shared = -1, fd = -2, holder = -1;

        cr_assert_eq(workers_lock_shared(directory, 0, &shared, &failure), 0, "%s", failure.text);
        cr_assert_eq(workers_lock_exclusive(directory, &fd, NULL, &failure), -EBUSY);
        calls_begin(CALLS_BROKEN, 4); /* two opens, the flock; then what asks for the inode */
        calls_armed(true);
        cr_assert_eq(workers_lock_exclusive(directory, &fd, &holder, &failure), -EBUSY);
        calls_armed(false);
        cr_assert_str_eq(calls.failed, "fstat");
        cr_assert_eq(holder, 0);
        cr_assert_not_null(strstr(failure.text, ": a worker whose pid is not known here still lives"), "%s",
                           failure.text);
        cr_assert_eq(fd, -2);
        (void) close(shared);
}
