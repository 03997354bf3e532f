/* SPDX-License-Identifier: Apache-2.0 */
/* T8: a thread that is held at an entry (prove/tracer): when it goes on, and that it can be killed there. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sanitize.h"
#include "prove/tracer/tracer.h"

/* Leaks are looked for by ptrace, and one process is traced by one. */
#if SANITIZE_ADDRESS
const char *__asan_default_options(void); /* NOLINT(bugprone-reserved-identifier) */
const char *__asan_default_options(void) {
        return "detect_leaks=0";
}
#endif

/* Calls that nothing else makes: SYS_getpgid of such numbers. */
#define HELD 7000001
#define OTHER 7000002

static struct {
        unsigned held_asked, held_done, other_done;
        bool is_killed_there, comes_before;
} seen;

static enum trace_verdict on_call(struct tracer *tracer, struct trace_call *call, void *context) {
        (void) tracer, (void) context;
        if (call->number != SYS_getpgid)
                return TRACE_GO;
        if (call->arguments[0] == OTHER && !call->is_entry)
                seen.other_done++;
        if (call->arguments[0] != HELD)
                return TRACE_GO;
        if (!call->is_entry) {
                seen.comes_before = seen.other_done == 0;
                seen.held_done++;
                return TRACE_GO;
        }
        seen.held_asked++;
        return seen.other_done == 0 ? TRACE_HOLD : seen.is_killed_there ? TRACE_KILL : TRACE_GO;
}

static pid_t child(long argument, useconds_t after_usec) {
        pid_t pid = fork();

        if (pid != 0)
                return pid;
        (void) usleep(after_usec);
        (void) syscall(SYS_getpgid, argument);
        _exit(0);
}

static int driver(void *argument) {
        pid_t held = child(HELD, 0), other = child(OTHER, 50000);
        int status;

        (void) argument;
        if (held < 0 || other < 0 || waitpid(other, &status, 0) != other || status != 0)
                return 1;
        if (waitpid(held, &status, 0) != held)
                return 2;
        return WIFSIGNALED(status) ? 3 : 0;
}

static int run(void) {
        const struct tracer_options options = { .on_call = on_call, .roles = TRACE_BIT(TRACE_APPLICATION) };
        int status = -1;

        cr_assert_eq(tracer_run(&options, driver, NULL, &status), 0);
        cr_assert(WIFEXITED(status), "the driver ended with status %d", status);
        return WEXITSTATUS(status);
}

TestSuite(tracer_hold, .timeout = 60);

Test(tracer_hold, T8_it_goes_on_when_it_may) {
        cr_expect_eq(run(), 0);
        cr_expect_eq(seen.held_done, 1);
        cr_expect_not(seen.comes_before);
        cr_expect_gt(seen.held_asked, 1);
}

Test(tracer_hold, T8_it_can_be_killed_where_it_is_held) {
        seen.is_killed_there = true;
        cr_expect_eq(run(), 3);
        cr_expect_eq(seen.held_done, 0, "its call never happened");
}

/* ---- another thread of its process is killed ----------------------------------------------------------- */
static enum trace_verdict on_call_of_two(struct tracer *tracer, struct trace_call *call, void *context) {
        (void) tracer, (void) context;
        if (call->number != SYS_getpgid || !call->is_entry)
                return TRACE_GO;
        seen.held_asked += call->arguments[0] == HELD;
        return call->arguments[0] == HELD ? TRACE_HOLD : TRACE_KILL;
}

static atomic_bool has_begun;

static void *hold_me(void *argument) {
        has_begun = true;
        (void) syscall(SYS_getpgid, HELD);
        return argument;
}

static int driver_of_two(void *argument) {
        pid_t pid = fork();
        pthread_t thread;
        int status;

        if (pid == 0) {
                if (pthread_create(&thread, NULL, hold_me, argument) != 0)
                        _exit(1);
                while (!has_begun)
                        (void) usleep(1000);
                (void) usleep(50000);
                (void) syscall(SYS_getpgid, OTHER);
                _exit(0);
        }
        /* Nobody else does anything that the tracer hears of. */
        if (waitpid(pid, &status, 0) != pid)
                return 1;
        return WIFSIGNALED(status) ? 3 : 0;
}

Test(tracer_hold, T8_who_is_held_keeps_no_other_thread_from_being_killed, .timeout = 20) {
        const struct tracer_options options = { .on_call = on_call_of_two,
                                                .roles = TRACE_BIT(TRACE_APPLICATION) };
        int status = -1;

        if (SANITIZE_THREAD)
                cr_skip_test("ThreadSanitizer lets no child of a process with threads start one");
        cr_assert_eq(tracer_run(&options, driver_of_two, NULL, &status), 0);
        cr_assert(WIFEXITED(status), "the driver ended with status %d", status);
        cr_expect_eq(WEXITSTATUS(status), 3);
        cr_expect_gt(seen.held_asked, 0);
}
