/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker refuses before it enters (P1, P4): the segment is input, and its command line is the supervisor's. Each with
 * a sentence that names it, and with the exit status that tells the supervisor whether to try again. */
#include <fcntl.h>
#include <sys/wait.h>

#include "shm/life.h"
#include "tests/unit/worker_fixture.h"

static void setup(void) {
        worker_setup();
        worker_leave();
}

static void teardown(void) {
        settings_write();
        worker_enter();
        worker_teardown();
}

#define TRY_AGAIN 75 /* main.c: a new worker finds the new segment */

TestSuite(refusals, .init = setup, .fini = teardown);

/* ---- the segment's words ---------------------------------------------------------------------------------- */

static void expect_refused(uint32_t pool_index, int r, const char *sentence) {
        struct directories directories;
        struct failure failure = { 0 };
        struct worker refused;

        (void) snprintf(directories.state, sizeof directories.state, "%s", path_of("state"));
        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s", path_of("run"));
        cr_assert_eq(worker_open(&refused, &directories, pool_index, &failure), r, "%s: %s", sentence,
                     failure.text);
        cr_assert_not_null(strstr(failure.text, sentence), "%s", failure.text);
        worker_done(&refused);
}

static void url_write(const char *url) {
        struct pool_settings settings = { .state = POOL_ACTIVE,
                                          .workers_wanted = 1,
                                          .batch_rows = 1000,
                                          .batch_bytes = 1 << 20,
                                          .name = "events" };

        (void) snprintf(settings.url, sizeof settings.url, "%s", url);
        pool_settings_write(segment, 0, &settings);
}

Test(refusals, P1_a_pool_that_cannot_be_served_is_refused_with_the_reason) {
        expect_refused(LAYOUT_POOL_COUNT_MAX, -ERANGE, "the segment has no pool");
        expect_refused(1, -ESTALE, "pool 1 is not in use");
        memset(segment_pool(segment, 0)->name, 'x', LAYOUT_NAME_BYTES);
        expect_refused(0, -EBADMSG, "pool 0 of the segment cannot be read");
        url_write("sqlite");
        expect_refused(0, -EINVAL, "sqlite");
        url_write("carrier-pigeon:/tmp/d.db");
        expect_refused(0, -EINVAL, "carrier-pigeon");
        url_write("sqlite:/tmp/d.db?colour=red");
        expect_refused(0, -EINVAL, "colour");
}

/* A worker asserts it: what its own table of options accepts, it can run. */
Test(refusals, P4_every_scheme_that_an_url_may_have_can_be_run) {
        for (const struct scheme *const *scheme = source_schemes; *scheme; scheme++)
                cr_expect_not_null(source_ops_find((*scheme)->name), "%s", (*scheme)->name);
        for (const struct scheme *const *scheme = destination_schemes; *scheme; scheme++)
                cr_expect_not_null(destination_ops_find((*scheme)->name), "%s", (*scheme)->name);
        cr_expect_null(source_ops_find("file"));
        cr_expect_null(destination_ops_find("postgres"));
}

Test(refusals, S8_a_batch_that_no_memory_holds_is_refused_and_says_which_key) {
        struct pool_settings settings = { .state = POOL_ACTIVE,
                                          .batch_rows = 1000,
                                          .batch_bytes = UINT64_MAX / 4,
                                          .name = "events",
                                          .url = "sqlite:/tmp/d.db" };

        pool_settings_write(segment, 0, &settings);
        expect_refused(0, -ENOMEM, "lower batch-bytes");
}

Test(refusals, S11_a_segment_that_is_condemned_is_not_entered) {
        struct failure failure = { 0 };
        struct directories directories;
        struct worker late;
        uint64_t ref = 4711;

        (void) snprintf(directories.state, sizeof directories.state, "%s", path_of("state"));
        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s", path_of("run"));
        must(worker_open(&late, &directories, 0, failure));
        atomic_store(&segment->header->condemned, 1);
        cr_assert_eq(life_enter(late.segment, 0, &ref, &failure), -ESTALE, "%s", failure.text);
        cr_assert_eq(ref, 4711);
        worker_done(&late);
        atomic_store(&segment->header->condemned, 0);
}

/* ---- the command line -------------------------------------------------------------------------------------- */

/* Exit status of BIN/baton-worker with these arguments; what it said. */
static int run_worker(const char *arguments, char ret_text[2048]) {
        const char *bin = getenv("BATON_BIN");
        char command[2048];
        size_t bytes;
        FILE *out;
        int status;

        (void) snprintf(command, sizeof command, "'%s/baton-worker' %s 2>&1", bin ? bin : "build/bin",
                        arguments);
        out = popen(command, "re");
        cr_assert_not_null(out);
        bytes = fread(ret_text, 1, 2047, out);
        ret_text[bytes] = '\0';
        status = pclose(out);
        cr_assert(WIFEXITED(status), "%s: %#x", arguments, (unsigned) status);
        return WEXITSTATUS(status);
}

Test(refusals, P4_a_command_line_that_is_not_the_supervisors_is_refused) {
        static const struct {
                const char *arguments, *sentence;
        } refused[] = {
                { "", "--pool is missing" },
                { "--state /tmp --runtime /tmp", "--pool is missing" },
                { "--pool 0 extra", "an argument too many" },
                { "--pool x", "--pool is no index of a pool" },
                { "--pool 4711", "--pool is no index of a pool" },
                { "--pool -1", "--pool is no index of a pool" },
                { "--config /etc/baton.conf --pool 0", "unknown option" },
                { "--pool", "unknown option" },
                { "--state '' --runtime /tmp --pool 0", "--state is empty" },
        };
        char text[2048];

        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                cr_expect_eq(run_worker(refused[i].arguments, text), 2, "%s: %s", refused[i].arguments, text);
                cr_expect_not_null(strstr(text, refused[i].sentence), "%s: %s", refused[i].arguments, text);
                cr_expect_not_null(strstr(text, "not by hand"), "%s", text);
        }
}

/* A segment that is gone, or a pool that was withdrawn, is no fault of the worker: the supervisor tries again. */
Test(refusals, S11_where_there_is_nothing_to_join_it_says_so_and_may_come_again) {
        char arguments[1024], text[2048];

        (void) snprintf(arguments, sizeof arguments, "--state '%s' --runtime '%s' --pool 1", path_of("state"),
                        path_of("run"));
        cr_expect_eq(run_worker(arguments, text), TRY_AGAIN, "%s", text);
        cr_expect_not_null(strstr(text, "pool 1 is not in use"), "%s", text);
        (void) snprintf(arguments, sizeof arguments, "--state '%s' --runtime '%s' --pool 0", path_of("state"),
                        path_of("state"));
        cr_expect_eq(run_worker(arguments, text), TRY_AGAIN, "%s", text);
        cr_expect_not_null(strstr(text, "Baton is not running here"), "%s", text);
        url_write("sqlite");
        (void) snprintf(arguments, sizeof arguments, "--state '%s' --runtime '%s' --pool 0", path_of("state"),
                        path_of("run"));
        cr_expect_eq(run_worker(arguments, text), EXIT_FAILURE, "%s", text);
}
