/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's decisions, one step at a time: is there a supervisor (P1), and which slots the sweep
 * hands to the mover (S4). */
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/ruleset.h"
#include "tests/unit/worker_fixture.h"

/* The source itself: its steps are static. */
#include "worker/control_thread.c"

#define ADOPT_TIMEOUT_USEC (30 * USEC_PER_SEC)

static struct control control;

static void setup(void) {
        worker_setup();
        control = (struct control){ .worker = &worker, .neighbour_fds = { -1, -1 }, .supervisor_fd = -1 };
        atomic_store(&segment->header->adopt_timeout_usec, ADOPT_TIMEOUT_USEC);
}

static void teardown(void) {
        fd_close(&control.supervisor_fd);
        worker_teardown();
}

TestSuite(control, .init = setup, .fini = teardown);

static void supervisor_is(pid_t pid) {
        uint64_t start_ticks;

        cr_assert_eq(process_start_ticks(pid, &start_ticks), 0);
        atomic_store(&segment->header->supervisor_start_ticks, start_ticks);
        atomic_store(&segment->header->supervisor_pid, (uint32_t) pid);
}

/* A look at its beginning, and one more than adopt-timeout later. */
static void adopt_timeout_passes(void) {
        supervisor_renew(&control, USEC_PER_SEC);
        supervisor_renew(&control, 2 * USEC_PER_SEC + ADOPT_TIMEOUT_USEC);
}

static rlim_t descriptors_most(rlim_t most) {
        struct rlimit limit;
        rlim_t before;

        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        before = limit.rlim_cur;
        limit.rlim_cur = most;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        return before;
}

Test(control, P1_a_supervisor_that_cannot_be_opened_is_not_gone) {
        rlim_t before;

        supervisor_is(getpid());
        before = descriptors_most(3);
        adopt_timeout_passes();
        (void) descriptors_most(before);
        cr_assert_eq(control.supervisor_fd, -1, "the case is about a process that has no descriptor left");
        cr_assert_eq(atomic_load(&worker.draining), DRAIN_NO);
        supervisor_renew(&control, 3 * USEC_PER_SEC + ADOPT_TIMEOUT_USEC);
        cr_assert_geq(control.supervisor_fd, 0, "it is tried again");
}

/* A confined worker may trace nobody (P7), so a /proc that shows only who may be traced shows it nobody else. In a child
 * of the test's: 77 where this host has no such thing to try. */
static int watch_unseen(void) {
        _cleanup_(ruleset_done) struct ruleset ruleset = { .fd = -1 };
        int fds[2], fd;
        char byte;
        pid_t pid;

        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("proc", "/proc", "proc", 0, "hidepid=invisible") < 0 || pipe(fds) < 0)
                return 77;
        /* As the service's user; group 0 would see everybody. */
        if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
            setresuid(65534, 65534, 65534) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
                return 77;
        pid = fork();
        if (pid == 0) {
                (void) close(fds[1]);
                _exit((int) read(fds[0], &byte, 1));
        }
        supervisor_is(pid); /* which it can be seen to be */
        if (ruleset_new(&ruleset) < 0 || ruleset_allow(&ruleset, "/proc", RULESET_READ, NULL) < 0 ||
            ruleset_enforce(&ruleset) < 0)
                return 77;
        if (process_open(pid, atomic_load(&segment->header->supervisor_start_ticks), &fd) != -EACCES)
                return 1;
        adopt_timeout_passes();
        if (control.supervisor_fd < 0 || atomic_load(&worker.draining) != DRAIN_NO)
                return 2;
        (void) close(fds[1]);
        while (!process_has_ended(control.supervisor_fd))
                (void) usleep(1000);
        adopt_timeout_passes();
        return atomic_load(&worker.draining) == DRAIN_LEAVE ? 0 : 3;
}

Test(control, P7_the_end_of_one_that_proc_does_not_show_is_heard) {
        int status;
        pid_t pid = fork();

        if (pid == 0)
                _exit(watch_unseen());
        cr_assert_gt(pid, 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                cr_skip_test("no Landlock here, or no right to mount a /proc");
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

Test(control, P1_a_supervisor_that_has_ended_is_gone) {
        pid_t pid = fork();

        if (pid == 0)
                for (;;)
                        (void) pause();
        cr_assert_gt(pid, 0);
        supervisor_is(pid);
        adopt_timeout_passes();
        cr_assert_geq(control.supervisor_fd, 0);
        cr_assert_eq(atomic_load(&worker.draining), DRAIN_NO);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        adopt_timeout_passes();
        cr_assert_eq(atomic_load(&worker.draining), DRAIN_LEAVE);
}

Test(control, P1_no_supervisor_at_all_is_gone) {
        adopt_timeout_passes();
        cr_assert_eq(atomic_load(&worker.draining), DRAIN_LEAVE);
}

/* ---- the sweep --------------------------------------------------------------------------------------- */

static void quarantine(uint32_t slot_index) {
        atomic_store(&segment_slot(segment, slot_index)->quarantined, 1);
}

static bool is_handed_over(uint32_t slot_index) {
        uint32_t taken;

        slots_sweep(&control);
        while (handoff_take(&worker.handoff, &taken) == 0)
                if (taken == slot_index)
                        return true;
        return false;
}

Test(control, S4_a_quarantined_slot_is_not_hidden_from_its_owner) {
        cr_assert_not_null(session_begin_on(0, "a", "a.db", ""));
        cr_assert(is_handed_over(0));
        quarantine(0);
        cr_assert(is_handed_over(0));
        look_at_slot(&worker, 0);
        cr_assert_null(worker.by_slot[0], "nothing is moved by what S4 gave up");
}

Test(control, S4_a_quarantined_orphan_is_left_alone) {
        struct layout_config config = config_of("a", "a.db", "");

        cr_assert_eq(slot_configure(segment, 0, 0, &config), 0);
        slot_assign(segment, 0, worker.ref, 0);
        cr_assert(is_handed_over(0));
        quarantine(0);
        cr_assert_not(is_handed_over(0));
}
