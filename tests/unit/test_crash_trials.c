/* SPDX-License-Identifier: Apache-2.0 */
/* What the enumeration tries (prove/crash): names of points, which of them are one, which calls are quiet. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macro.h"
#include "prove/crash/outcomes.h"
#include "prove/crash/trials.h"

Test(crash_trials, a_point_is_read_as_it_is_written) {
        static const char *const points[] = {
                "mover:takeover:137:exit",     "mover2:life:pwrite64.12:entry",
                "supervisor:recovery:1:entry", "memory3:life:read.1:exit",
                "control4:takeover:8000:exit", "mover:life:fdatasync.3:EIO",
                "mover:life:9:short",          "mover3:recovery:openat@00c0ffee.2:EMFILE"
        };
        char text[POINT_TEXT_BYTES];
        struct point point;

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                cr_assert(point_parse(points[i], &point), "%s", points[i]);
                point_format(&point, text, sizeof(text));
                cr_expect_str_eq(text, points[i]);
        }
        cr_expect_eq(point.place, 0xc0ffee);
        cr_assert(point_parse("mover:takeover:137:exit", &point));
        cr_expect_eq(point.place, 0);
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
                                             "mover:life:99999999999:exit",
                                             "mover:life:read@.1:exit",
                                             "mover:life:read@1234567.1:exit",
                                             "mover:life:read@123456789.1:exit",
                                             "mover:life:read@1234567x.1:exit" };
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

static void add_at(unsigned lane, uint16_t number, uint32_t place) {
        counts.calls[lane][counts.call_counts[lane]++] = (struct counted_call){ .number = number,
                                                                                .place = place };
}

static uint32_t points; /* of the mover, at the last failing() */

/* "mover:1.1:EIO": lane, place, which of it, fault */
static const char *failing(const struct variant *variant, struct places *places) {
        static char text[1024];
        size_t used = 0;

        text[0] = '\0';
        trials_make_errors(&trials, variant, CRASH_LIFE, &counts, places);
        for (size_t i = 0; i < trials.try_count; i++) {
                const struct point *point = &trials.tries[i];
                char lane[24];

                lane_name(point->lane, lane, sizeof(lane));
                used += (size_t) snprintf(text + used, sizeof(text) - used, "%s:%u.%u:%s ", lane,
                                          point->place, point->call, fault_name(point->fault));
        }
        points = trials.points[0];
        trials_done(&trials);
        return text;
}

/* No variant was before. */
static const char *failing_first(const struct variant *variant) {
        struct places *places = places_new();
        const char *text = failing(variant, places);

        free(places);
        return text;
}

Test(crash_trials, of_alike_calls_the_first_and_the_last_fail, .init = begin) {
        for (unsigned i = 0; i < 4; i++)
                add_at(0, SYS_fdatasync, i == 2 ? 7 : 5);
        cr_expect_str_eq(
                failing_first(&crash_variants[0]),
                "mover:5.1:EIO mover:5.1:ENOSPC mover:7.1:EIO mover:7.1:ENOSPC mover:5.3:EIO mover:5.3:ENOSPC ");
        cr_expect_eq(points, 8, "all that could fail");
}

Test(crash_trials, the_workers_of_a_phase_are_one_role, .init = begin) {
        add_at(0, SYS_fdatasync, 5);
        add_at(1, SYS_fdatasync, 5);
        add_at(1, SYS_fdatasync, 5);
        cr_expect_str_eq(failing_first(&crash_variants[0]),
                         "mover:5.1:EIO mover:5.1:ENOSPC mover2:5.2:EIO mover2:5.2:ENOSPC ");
}

Test(crash_trials, of_what_passes_by_itself_one_stands_for_all_but_at_the_first, .init = begin) {
        add_at(0, SYS_openat, 5);
        add_at(0, SYS_openat, 5);
        cr_expect_str_eq(
                failing_first(&crash_variants[0]),
                "mover:5.1:EIO mover:5.1:EINTR mover:5.1:ENOMEM mover:5.1:EMFILE mover:5.2:EIO mover:5.2:EMFILE ");
}

Test(crash_trials, what_a_variant_before_has_tried_fails_once_for_a_mover_alone, .init = begin) {
        const unsigned control = lane_find(TRACE_CONTROL, 1);
        struct places *places = places_new();

        add_at(0, SYS_fdatasync, 5);
        add_at(control, SYS_flock, 5);
        cr_expect_str_eq(failing(&crash_variants[0], places),
                         "mover:5.1:EIO mover:5.1:ENOSPC control:5.1:EINTR control:5.1:ENOLCK ");
        begin();
        add_at(0, SYS_fdatasync, 5);
        add_at(0, SYS_fdatasync, 6);
        add_at(0, SYS_fdatasync, 5);
        add_at(control, SYS_flock, 5);
        add_at(control, SYS_flock, 6);
        cr_expect_str_eq(failing(&crash_variants[1], places),
                         "mover:5.1:EIO mover:5.1:ENOSPC mover:6.1:EIO mover:6.1:ENOSPC control:6.1:EINTR "
                         "control:6.1:ENOLCK ");
        free(places);
}

Test(crash_trials, an_unlock_does_not_fail, .init = begin) {
        for (unsigned i = 0; i < 3; i++)
                add_at(0, SYS_fcntl, 5);
        counts.calls[0][0].is_spared = counts.calls[0][2].is_spared = true;
        cr_expect_str_eq(failing_first(&crash_variants[0]), "mover:5.2:EINTR mover:5.2:ENOLCK ");
}

Test(crash_trials, an_unlock_is_known_by_what_is_asked_for) {
        struct flock lock = { .l_type = F_UNLCK };
        struct trace_call call = { .number = SYS_fcntl, .pid = getpid() };

        call.arguments[1] = F_SETLK;
        call.arguments[2] = (uintptr_t) &lock;
        cr_expect(call_is_spared(&call));
        lock.l_type = F_WRLCK;
        cr_expect_not(call_is_spared(&call));
        lock.l_type = F_UNLCK;
        call.arguments[1] = F_GETFD;
        cr_expect_not(call_is_spared(&call));
}

Test(crash_trials, a_wait_fails_and_a_wake_does_not) {
        struct trace_call call = { .number = SYS_futex };

        call.arguments[1] = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME;
        cr_expect_not(call_is_spared(&call));
        call.arguments[1] = FUTEX_WAIT;
        cr_expect_not(call_is_spared(&call));
        call.arguments[1] = FUTEX_WAKE | FUTEX_PRIVATE_FLAG;
        cr_expect(call_is_spared(&call));
        call.arguments[1] = FUTEX_UNLOCK_PI;
        cr_expect(call_is_spared(&call));
}

/* M6 to M8: a stop that the operator accepts must not hide one that never should have been. */
Test(crash_trials, a_session_stops_of_what_does_not_pass_alone_and_says_it) {
        const char *broken = "d.db: cannot read it: disk I/O error", *synced = "the sync of its -wal failed";

        cr_expect(stop_is_right(FAULT_EIO, SYS_pread64, "d.db", "a", broken));
        cr_expect(stop_is_right(FAULT_EIO, SYS_fdatasync, "a.db-wal", "a", synced));
        cr_expect(stop_is_right(FAULT_ENOSPC, SYS_fsync, "a.db-wal", "a", synced));
        cr_expect_not(stop_is_right(FAULT_EIO, SYS_fsync, "a.db-wal", "a", broken),
                      "it was a sync that failed");
        cr_expect_not(stop_is_right(FAULT_ENOSPC, SYS_pwrite64, "d.db", "a", broken), "waited for (M8)");
        for (unsigned fault = FAULT_EINTR; fault < FAULT_COUNT; fault++)
                cr_expect_not(stop_is_right((enum fault) fault, SYS_fdatasync, "d.db", "a", broken));
        cr_expect_not(stop_is_right(FAULT_SHORT, SYS_pwrite64, "d.db", "a", broken));
        cr_expect_not(
                stop_is_right(FAULT_EIO, SYS_newfstatat, "d", "a", "a.jsonl was moved away or replaced"));
        cr_expect_not(stop_is_right(FAULT_EIO, SYS_pread64, "d.db", "a", ""));
}

Test(crash_trials, a_session_does_not_stop_of_what_is_anothers) {
        const char *reason = "disk I/O error";

        cr_expect(stop_is_right(FAULT_EIO, SYS_pread64, "b.db-wal", "b", reason));
        cr_expect_not(stop_is_right(FAULT_EIO, SYS_pread64, "b.db-wal", "a", reason));
        cr_expect_not(stop_is_right(FAULT_EIO, SYS_openat, ".b.lock", "a", reason));
        cr_expect_not(stop_is_right(FAULT_EIO, SYS_openat, "b.000001.jsonl", "a", reason));
        cr_expect(stop_is_right(FAULT_EIO, SYS_openat, "0001-1.journal", "a", reason));
}

Test(crash_trials, M7_a_sync_that_failed_comes_to_what_it_must) {
        const struct variant *rows = crash_variant_find("row"), *file = crash_variant_find("file");
        struct run_data *data = calloc(1, sizeof(*data));

        data->is_hit = true;
        data->hit_number = SYS_fdatasync;
        strcpy(data->hit_object, "a.db-wal");
        cr_expect_null(sync_went_wrong(rows, FAULT_EIO, data), "warm, and of no use yet");
        data->was_hit_owner = true;
        cr_expect_not_null(sync_went_wrong(rows, FAULT_EIO, data), "the source may have lost it");
        data->was_stopped = true;
        cr_expect_null(sync_went_wrong(rows, FAULT_EIO, data));
        strcpy(data->hit_object, "d.db-wal");
        data->was_latched = true;
        cr_expect_not_null(sync_went_wrong(rows, FAULT_ENOSPC, data), "it is written anew, and goes on");
        data->was_stopped = false;
        cr_expect_null(sync_went_wrong(rows, FAULT_ENOSPC, data));
        data->was_latched = false;
        cr_expect_not_null(sync_went_wrong(rows, FAULT_ENOSPC, data));
        strcpy(data->hit_object, "d.db");
        cr_expect_not_null(sync_went_wrong(rows, FAULT_EIO, data));
        data->was_hit_leaving = true;
        cr_expect_null(sync_went_wrong(rows, FAULT_EIO, data), "tidying up");
        strcpy(data->hit_object, "0001-1.journal");
        cr_expect_null(sync_went_wrong(rows, FAULT_EIO, data), "it only remembers");
        cr_expect_not_null(sync_went_wrong(file, FAULT_EIO, data), "it is the authority (M3)");
        data->hit_number = SYS_pwrite64;
        cr_expect_null(sync_went_wrong(file, FAULT_EIO, data));
        free(data);
}
