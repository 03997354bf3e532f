/* SPDX-License-Identifier: Apache-2.0 */
/* What the enumeration tries (prove/crash): names of points, which of them are one, which calls are quiet. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macro.h"
#include "prove/crash/outcomes.h"
#include "prove/crash/trials.h"

Test(crash_trials, a_point_is_read_as_it_is_written) {
        static const char *const points[] = { "mover:takeover:137:exit",     "mover2:life:pwrite64.12:entry",
                                              "supervisor:recovery:1:entry", "memory3:life:read.1:exit",
                                              "control4:takeover:8000:exit", "mover:life:fdatasync.3:EIO",
                                              "mover:life:9:short" };
        char text[POINT_TEXT_BYTES];
        struct point point;

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                cr_assert(point_parse(points[i], &point), "%s", points[i]);
                point_format(&point, text, sizeof(text));
                cr_expect_str_eq(text, points[i]);
        }
        cr_assert(point_parse("mover:takeover:137:exit", &point));
        cr_expect_eq(lane_role(point.lane), TRACE_MOVER);
        cr_expect_eq(point.phase, CRASH_TAKEOVER);
        cr_expect_eq(point.call, 137);
        cr_expect_eq(point.number, POINT_ANY);
        cr_expect(point.at_exit);
}

Test(crash_trials, what_is_no_point_is_refused) {
        static const char *const texts[] = { "",
                                             "mover",
                                             "mover:life:1",
                                             "mover:life:1:exit:",
                                             "mover:life:0:exit",
                                             "mover:life:-1:exit",
                                             "mover:life:x:exit",
                                             "mover:life:no_such_call.1:exit",
                                             "mover:life:read.0:exit",
                                             "mover5:life:1:exit",
                                             "writer:life:1:exit",
                                             "mover:death:1:exit",
                                             "mover:life:1:middle",
                                             "mover:life:99999999999:exit" };
        struct point point;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                cr_expect_not(point_parse(texts[i], &point), "\"%s\"", texts[i]);
}

/* ---- which points are one ---------------------------------------------------------------------- */
static struct run_data counts, run;
static struct trials trials;

static void begin(void) {
        memset(&counts, 0, sizeof(counts));
        memset(&run, 0, sizeof(run));
        trials = (struct trials){ 0 };
}

static void add(struct run_data *data, uint16_t number, bool quiet, bool same, bool returned) {
        data->calls[0][data->call_counts[0]++] = (struct counted_call){
                .number = number, .is_quiet = quiet, .is_same = same, .has_returned = returned
        };
}

static const char *tried(void) {
        static char text[1024];
        size_t used = 0;

        text[0] = '\0';
        trials_make(&trials, &crash_variants[0], CRASH_LIFE, &counts);
        for (size_t i = 0; i < trials.try_count; i++)
                used += (size_t) snprintf(text + used, sizeof(text) - used, "%s.%u:%s ",
                                          call_name(trials.tries[i].number), trials.tries[i].call,
                                          trials.tries[i].at_exit ? "exit" : "entry");
        return text;
}

Test(crash_trials, both_places_of_a_call_with_an_effect_are_tried, .init = begin) {
        add(&counts, SYS_pwrite64, false, false, true);
        add(&counts, SYS_pwrite64, false, false, true);
        cr_expect_str_eq(tried(), "pwrite64.1:entry pwrite64.1:exit pwrite64.2:entry pwrite64.2:exit ");
        cr_expect_eq(trials.points[0], 4);
        cr_expect_eq(trials.calls[0], 2);
}

Test(crash_trials, a_quiet_call_is_tried_once, .init = begin) {
        add(&counts, SYS_read, true, false, true);
        add(&counts, SYS_read, true, false, true);
        cr_expect_str_eq(tried(), "read.1:entry read.2:entry ");
        cr_expect_eq(trials.points[0], 4);
}

Test(crash_trials, an_exit_and_the_next_entry_are_one_where_memory_is_the_same, .init = begin) {
        add(&counts, SYS_pwrite64, false, false, true);
        add(&counts, SYS_read, true, true, true);
        add(&counts, SYS_pwrite64, false, true, true);
        cr_expect_str_eq(tried(), "pwrite64.1:entry pwrite64.1:exit pwrite64.2:exit ");
        cr_expect_eq(trials.points[0], 6);
}

Test(crash_trials, a_call_that_did_not_return_has_no_exit, .init = begin) {
        add(&counts, SYS_exit_group, false, false, false);
        cr_expect_str_eq(tried(), "exit_group.1:entry ");
        cr_expect_eq(trials.points[0], 1);
}

Test(crash_trials, the_run_with_more_calls_counts, .init = begin) {
        add(&counts, SYS_read, false, false, true);
        add(&run, SYS_write, false, false, true);
        add(&run, SYS_write, false, false, true);
        counts_merge(&counts, &run);
        cr_expect_eq(counts.call_counts[0], 2);
        cr_expect_eq(counts.calls[0][0].number, SYS_write);
        run.call_counts[0] = 1;
        run.calls[0][0].number = SYS_read;
        counts_merge(&counts, &run);
        cr_expect_eq(counts.call_counts[0], 2);
        cr_expect_eq(counts.calls[0][0].number, SYS_write);
}

/* ---- quiet calls ------------------------------------------------------------------------------- */
static bool is_quiet(uint64_t number, uint64_t second, uint64_t third, int64_t result) {
        const struct trace_call call = { .number = number,
                                         .arguments = { 0, second, third },
                                         .result = result };

        return call_is_quiet(&call);
}

Test(crash_trials, what_others_could_see_is_not_quiet) {
        static const uint16_t loud[] = { SYS_pwrite64, SYS_write,   SYS_ftruncate, SYS_renameat2,
                                         SYS_unlinkat, SYS_fsync,   SYS_fdatasync, SYS_sendto,
                                         SYS_kill,     SYS_clone,   SYS_execve,    SYS_mkdirat,
                                         SYS_bind,     SYS_connect, SYS_fchown,    SYS_pidfd_send_signal };

        for (size_t i = 0; i < ELEMENTSOF(loud); i++)
                cr_expect_not(is_quiet(loud[i], 0, 0, 0), "%s", call_name(loud[i]));
}

/* S7: a woken waiter that dies must not swallow the news; so before and after its wait are two points. */
Test(crash_trials, S7_a_wait_that_somebody_ended_is_not_quiet) {
        cr_expect_not(is_quiet(SYS_futex, 0, 0, 0));
        cr_expect_not(is_quiet(SYS_futex_waitv, 0, 0, 1));
        cr_expect(is_quiet(SYS_futex_waitv, 0, 0, -ETIMEDOUT));
        cr_expect(is_quiet(SYS_futex, 0, 0, -EAGAIN));
        cr_expect_not(is_quiet(SYS_restart_syscall, 0, 0, 0), "the rest of such a wait");
        cr_expect_not(is_quiet(SYS_wait4, 0, 0, 812));
        cr_expect(is_quiet(SYS_wait4, 0, 0, 0));
        cr_expect_not(is_quiet(SYS_waitid, 0, 0, 0), "somebody may have been reaped");
        cr_expect(is_quiet(SYS_waitid, 0, 0, -ECHILD));
}

Test(crash_trials, an_open_that_may_make_a_file_is_not_quiet) {
        cr_expect(is_quiet(SYS_openat, 0, O_RDWR, 3));
        cr_expect_not(is_quiet(SYS_openat, 0, O_RDWR | O_CREAT, 3));
        cr_expect_not(is_quiet(SYS_openat, 0, O_RDWR | O_TRUNC, 3));
}

/* ---- errors ------------------------------------------------------------------------------------ */
Test(crash_trials, only_what_fits_a_call_is_tried) {
        cr_expect(fault_fits(FAULT_ENOSPC, SYS_pwrite64));
        cr_expect(fault_fits(FAULT_SHORT, SYS_pwrite64));
        cr_expect(fault_fits(FAULT_EIO, SYS_fdatasync));
        cr_expect_not(fault_fits(FAULT_SHORT, SYS_fdatasync));
        cr_expect_not(fault_fits(FAULT_ENOSPC, SYS_pread64));
        cr_expect_not(fault_fits(FAULT_EIO, SYS_getpid));
        cr_expect_not(fault_fits(FAULT_KILL, SYS_pwrite64));
}

Test(crash_trials, of_alike_calls_the_first_and_the_last_fail, .init = begin) {
        for (unsigned i = 0; i < 4; i++)
                add(&counts, SYS_fdatasync, false, false, true);
        counts.calls[0][2].place = 7; /* from another place in the code: alone there */
        trials_make_errors(&trials, &crash_variants[0], CRASH_LIFE, &counts);
        cr_expect_eq(trials.points[0], 8);
        cr_expect_eq(trials.try_count, 6);
        cr_expect_eq(trials.tries[0].call, 1);
        cr_expect_eq(trials.tries[0].fault, FAULT_EIO);
        cr_expect_eq(trials.tries[1].fault, FAULT_ENOSPC);
        cr_expect_eq(trials.tries[2].call, 3);
        cr_expect_eq(trials.tries[4].call, 4);
}

Test(crash_trials, an_unlock_does_not_fail, .init = begin) {
        add(&counts, SYS_fcntl, true, false, true);
        add(&counts, SYS_fcntl, true, false, true);
        counts.calls[0][0].is_unlock = true;
        trials_make_errors(&trials, &crash_variants[0], CRASH_LIFE, &counts);
        cr_expect_eq(trials.try_count, 2);
        cr_expect_eq(trials.tries[0].call, 2);
}

Test(crash_trials, an_unlock_is_known_by_what_is_asked_for) {
        struct flock lock = { .l_type = F_UNLCK };
        struct trace_call call = { .number = SYS_fcntl, .pid = getpid() };

        call.arguments[1] = F_SETLK;
        call.arguments[2] = (uintptr_t) &lock;
        cr_expect(call_is_unlock(&call));
        lock.l_type = F_WRLCK;
        cr_expect_not(call_is_unlock(&call));
        lock.l_type = F_UNLCK;
        call.arguments[1] = F_GETFD;
        cr_expect_not(call_is_unlock(&call));
}

/* M6 to M8: a stop that the operator accepts must not hide one that never should have been. */
Test(crash_trials, a_session_stops_of_what_does_not_pass_alone_and_says_it) {
        const char *broken = "d.db: cannot read it: disk I/O error", *synced = "the sync of its -wal failed";

        cr_expect(stop_is_right(FAULT_EIO, SYS_pread64, broken));
        cr_expect(stop_is_right(FAULT_EIO, SYS_fdatasync, synced));
        cr_expect(stop_is_right(FAULT_ENOSPC, SYS_fsync, synced));
        cr_expect_not(stop_is_right(FAULT_ENOSPC, SYS_pwrite64, broken), "a full disk is waited for (M8)");
        for (unsigned fault = FAULT_EINTR; fault < FAULT_COUNT; fault++)
                cr_expect_not(stop_is_right((enum fault) fault, SYS_fdatasync, broken));
        cr_expect_not(stop_is_right(FAULT_SHORT, SYS_pwrite64, broken));
        cr_expect_not(stop_is_right(FAULT_EIO, SYS_newfstatat, "a.jsonl was moved away or replaced"));
        cr_expect_not(stop_is_right(FAULT_EIO, SYS_pread64, ""));
}
