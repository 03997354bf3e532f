/* SPDX-License-Identifier: Apache-2.0 */
/* The harness itself: a sanitizer's report, or a death by a fault that nobody caused, fails the test, whatever
 * the test looked at and whatever became of the process. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(reports, .init = begin, .fini = end, .timeout = 120);

/* How world_end() ends a test: 0, or 128 + signal. The world is gone then. */
static int end_of_world(void) {
        int status = -1;
        pid_t child;

        (void) fflush(NULL);
        child = fork();
        if (child == 0) {
                (void) freopen("/dev/null", "w", stderr);
                world_end(&world);
                _exit(0);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        world.directory[0] = '\0';
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void expect_end(int wanted) {
        int r = end_of_world();

        cr_assert_eq(r, wanted, "%d", r);
}

/* ---- sanitizers ---------------------------------------------------------------------------------------- */
static const char *planted_kinds(void) {
        cr_assert_eq(world_run(&world, "../tests/planted", NULL), 0, "%s", world.output);
        return world.output;
}

/* Its output goes where that of a worker goes. */
static void plant(const char *kind) {
        char *argv[] = { "../tests/planted", (char *) kind, NULL };
        _cleanup_fd_ int log_fd = open(world_path(&world, "batond-0.log"), O_WRONLY | O_CREAT, 0600);

        (void) wait_exit(world_spawn(&world, log_fd, argv));
}

/* As a command, too, whose output is not kept. */
static void plant_in_command(const char *kind) {
        (void) world_run(&world, "../tests/planted", kind, NULL);
}

Test(reports, of_a_process_that_was_killed_fails_the_test) {
        char kinds[256], *rest = kinds;
        const char *kind;

        (void) snprintf(kinds, sizeof(kinds), "%.200s", planted_kinds());
        if (!kinds[0])
                cr_skip_test("this build has no sanitizer (make check SANITIZE=address,undefined or thread)");
        while ((kind = strsep(&rest, "\n")) && *kind) {
                plant(kind);
                expect_end(128 + SIGABRT);
                test_begin(&world);
                plant_in_command(kind);
                expect_end(128 + SIGABRT);
                test_begin(&world);
        }
}

Test(reports, a_world_without_one_ends_quietly) {
        plant_in_command("nothing");
        plant("nothing");
        expect_end(0);
}

/* ---- faults -------------------------------------------------------------------------------------------- */
static pid_t start_worker(void) {
        world_outbox(&world, "a");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 1 && all_owned_by_live(&world));
        return worker_of(&world, "d", 0);
}

static void wait_for_another(pid_t pid) {
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 1 && worker_of(&world, "d", 0) != pid);
}

Test(reports, a_worker_that_dies_of_a_fault_fails_the_test) {
        pid_t pid = start_worker();

        cr_assert_eq(kill(pid, SIGSEGV), 0); /* not by the harness: it does not know */
        wait_for_another(pid);
        expect_end(128 + SIGABRT);
}

Test(reports, a_fault_that_the_test_causes_does_not) {
        pid_t pid = start_worker();

        kill_process(pid, SIGSEGV);
        wait_for_another(pid);
        expect_end(0);
}

Test(reports, a_supervisor_that_dies_of_a_fault_fails_the_test) {
        (void) start_worker();
        cr_assert_eq(kill(world.batond, SIGABRT), 0);
        WAIT_UNTIL(&world, !process_is_alive(world.batond));
        cr_assert(reports_of_faults(&world));
        cr_assert(reports_of_faults(&world), "it is not reaped by looking");
        reports_expect_fault(SIGABRT);
        cr_assert_not(reports_of_faults(&world));
}
