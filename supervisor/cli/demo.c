/* SPDX-License-Identifier: Apache-2.0 */
/* `baton demo`: what Baton is for, shown with real processes in half a minute: a worker that runs two
 * sessions, a second that joins, a SIGKILL in the middle of a transaction, a survivor, and a count.
 * Must not touch: anything outside of the directory that it makes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "supervisor/cli/bus.h"
#include "supervisor/cli/demo.h"
#include "supervisor/cli/format.h"
#include "supervisor/control.h"

#define FRAME_USEC (100 * USEC_PER_MSEC)
#define STEP_TIMEOUT_USEC (30 * USEC_PER_SEC)

/* Parts of the writer's time at which the scene changes. */
#define SCENE_B 0.22
#define SCENE_C 0.50
#define SCENE_END 0.75

typedef bool (*demo_condition)(const struct demo *demo, const struct demo_frame *frame);

static double written_part(const struct demo *demo, const struct demo_frame *frame) {
        uint64_t written = 0;

        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++)
                written += frame->sessions[i].written;
        return (double) written / (double) (DEMO_SESSION_COUNT * demo->events);
}

static bool one_runs_both(const struct demo *demo, const struct demo_frame *frame) {
        (void) demo;
        return demo_one_owner(frame) && frame->sessions[0].position > 0 && frame->sessions[1].position > 0;
}
static bool two_run_one_each(const struct demo *demo, const struct demo_frame *frame) {
        (void) demo;
        return demo_live_workers(frame) == 2 && frame->sessions[0].owner != 0 &&
               frame->sessions[1].owner != 0 && frame->sessions[0].owner != frame->sessions[1].owner;
}
static bool replacement_is_there(const struct demo *demo, const struct demo_frame *frame) {
        (void) demo;
        return frame->worker_count >= 3 && demo_live_workers(frame) == 2 &&
               (frame->sessions[0].owner >= 3 || frame->sessions[1].owner >= 3);
}
static bool time_for_b(const struct demo *demo, const struct demo_frame *frame) {
        return written_part(demo, frame) >= SCENE_B;
}
static bool time_for_c(const struct demo *demo, const struct demo_frame *frame) {
        return written_part(demo, frame) >= SCENE_C;
}
static bool time_to_end(const struct demo *demo, const struct demo_frame *frame) {
        return written_part(demo, frame) >= SCENE_END;
}
static bool all_is_moved(const struct demo *demo, const struct demo_frame *frame) {
        return demo_all_moved(demo, frame);
}

/* Draws until the condition holds. The bound counts from the last event moved, so that a slow machine
 * is waited for and a stuck one is not. */
static int draw_until(struct demo *demo, demo_condition condition, const char *what, const char *note,
                      struct demo_frame *ret_frame, struct failure *ret_failure) {
        uint64_t progress_usec = clock_usec(), moved = 0;
        int r;

        for (;;) {
                struct demo_frame frame;
                uint64_t now_moved;

                demo_look(demo, &frame);
                demo_draw(&frame, note);
                if (condition(demo, &frame)) {
                        *ret_frame = frame;
                        return 0;
                }
                r = demo_processes_check(demo, ret_failure);
                if (r < 0)
                        return r;
                if (demo_is_interrupted())
                        return -EINTR;
                now_moved = frame.sessions[0].position + frame.sessions[1].position;
                if (now_moved != moved)
                        progress_usec = clock_usec();
                moved = now_moved;
                if (clock_usec() > progress_usec + STEP_TIMEOUT_USEC)
                        return failure_set(ret_failure, -ETIMEDOUT, FAILURE_STOP,
                                           "nothing was moved for 30 s while waiting until %s", what);
                demo_sleep(FRAME_USEC);
        }
}

static int wait_segment(struct demo *demo, struct failure *ret_failure) {
        uint64_t deadline_usec = clock_usec() + STEP_TIMEOUT_USEC;
        int r;

        for (;;) {
                struct failure failure = {};

                r = segment_open(demo->runtime, false, &demo->segment, &failure);
                if (r >= 0)
                        return 0;
                r = demo_processes_check(demo, ret_failure);
                if (r < 0)
                        return r;
                if (demo_is_interrupted())
                        return -EINTR;
                if (clock_usec() > deadline_usec)
                        return failure_set(ret_failure, -ETIMEDOUT, FAILURE_STOP,
                                           "the supervisor made no segment within 30 s: %s", failure.text);
                demo_sleep(5 * USEC_PER_MSEC);
        }
}

static int scale(const struct demo *demo, uint32_t workers, struct failure *ret_failure) {
        _cleanup_bus_ sd_bus *bus = NULL;
        int r;

        r = bus_connect(demo->runtime, 10 * USEC_PER_SEC, &bus, ret_failure);
        if (r < 0)
                return r;
        return bus_call(bus, CONTROL_METHOD_SCALE, ret_failure, NULL, "su", "events", workers);
}

static int picture_a(struct demo *demo, unsigned *ret_worker, struct failure *ret_failure) {
        struct demo_frame frame;
        int r;

        demo_draw_begin('A', "One worker runs both sessions");
        r = draw_until(demo, one_runs_both, "the first worker runs both sessions", "starting", &frame,
                       ret_failure);
        if (r < 0)
                return r;
        *ret_worker = frame.sessions[0].owner;
        r = draw_until(demo, time_for_b, "the writer goes on",
                       "an application keeps inserting into both outboxes", &frame, ret_failure);
        if (r >= 0)
                demo_draw_end(&frame, "an application keeps inserting into both outboxes");
        return r;
}

static int picture_b(struct demo *demo, struct failure *ret_failure) {
        struct demo_frame frame;
        int r;

        demo_draw_begin('B', "A second worker joins and takes one session over");
        r = scale(demo, 2, ret_failure);
        if (r >= 0)
                r = draw_until(demo, two_run_one_each, "the second worker runs a session",
                               "`baton scale events 2`: the second worker is starting", &frame, ret_failure);
        if (r >= 0)
                r = draw_until(demo, time_for_c, "the writer goes on",
                               "handed over between two batches, by agreement: nothing waited", &frame,
                               ret_failure);
        if (r >= 0)
                demo_draw_end(&frame, "handed over between two batches, by agreement: nothing waited");
        return r;
}

/* A frozen picture stays long enough to be read; the processes do not wait for it. */
static int hold(struct demo *demo, uint64_t span_usec, struct failure *ret_failure) {
        uint64_t deadline_usec = clock_usec() + span_usec;

        while (clock_usec() < deadline_usec) {
                if (demo_is_interrupted())
                        return -EINTR;
                demo_sleep(MIN_OF(FRAME_USEC, span_usec));
        }
        return demo_processes_check(demo, ret_failure);
}

static int picture_c(struct demo *demo, unsigned victim, struct demo_kill *ret_kill,
                     struct failure *ret_failure) {
        char note[160], span[FORMAT_BYTES];
        int r;

        r = demo_kill_in_transaction(demo, victim, ret_kill, ret_failure);
        if (r < 0)
                return r;
        if (ret_kill->was_in_transaction)
                (void) snprintf(note, sizeof(note),
                                "kill -9 %d, %s into a transaction: what it had written and not "
                                "committed is undone",
                                ret_kill->victim_pid, format_span(ret_kill->transaction_usec, span));
        else
                (void) snprintf(note, sizeof(note),
                                "kill -9 %d; it was between two transactions at that moment",
                                ret_kill->victim_pid);
        demo_draw_begin('C', "The first worker is killed in the middle of a transaction");
        demo_draw_end(&ret_kill->before, note);
        return hold(demo, demo->seconds * USEC_PER_SEC / 10, ret_failure);
}

static int picture_d(struct demo *demo, const struct demo_kill *kill, struct failure *ret_failure) {
        char note[160], span[FORMAT_BYTES], other[FORMAT_BYTES];

        (void) snprintf(note, sizeof(note), "owned again %s after the kill, next durable commit after %s",
                        format_span(kill->owned_usec, span), format_span(kill->committed_usec, other));
        demo_draw_begin('D', "The survivor runs both");
        demo_draw_end(&kill->after, note);
        return hold(demo, demo->seconds * USEC_PER_SEC / 8, ret_failure);
}

/* What the supervisor does about it meanwhile, and the rest of the events. */
static int picture_rest(struct demo *demo, struct failure *ret_failure) {
        static const char replaced[] = "the supervisor has started a replacement, and it was given its share";
        struct demo_frame frame;
        int r;

        demo_draw_begin(' ', "Afterwards: the supervisor starts a replacement by itself");
        r = draw_until(demo, replacement_is_there, "a replacement runs a session",
                       "the replacement is starting", &frame, ret_failure);
        if (r >= 0)
                r = draw_until(demo, time_to_end, "the writer goes on", replaced, &frame, ret_failure);
        if (r >= 0)
                r = draw_until(demo, all_is_moved, "every event is moved", replaced, &frame, ret_failure);
        if (r >= 0)
                demo_draw_end(&frame, "everything is moved; the pool is told to stop (SIGTERM)");
        return r;
}

static int show(struct demo *demo, struct demo_kill *ret_kill, struct failure *ret_failure) {
        unsigned victim = 0;
        int r;

        r = demo_place_make(demo, ret_failure);
        if (r >= 0)
                r = demo_writer_start(demo, ret_failure);
        if (r >= 0)
                r = demo_supervisor_start(demo, ret_failure);
        if (r >= 0)
                r = wait_segment(demo, ret_failure);
        if (r >= 0)
                r = picture_a(demo, &victim, ret_failure);
        if (r >= 0)
                r = picture_b(demo, ret_failure);
        if (r >= 0)
                r = picture_c(demo, victim, ret_kill, ret_failure);
        if (r >= 0)
                r = picture_d(demo, ret_kill, ret_failure);
        if (r >= 0)
                r = picture_rest(demo, ret_failure);
        if (r >= 0)
                r = demo_supervisor_stop(demo, ret_failure);
        return r;
}

static void count_cells(const char *name, const struct demo_count *count, struct table *table) {
        const uint64_t values[] = { count->expected, count->found, count->missing, count->duplicated,
                                    count->out_of_order };
        char text[FORMAT_BYTES];

        table_cell(table, "%s", name);
        for (size_t i = 0; i < ELEMENTSOF(values); i++)
                table_cell(table, "%s", format_count(values[i], text));
}

/* *ret_is_right: nothing missing, duplicated or out of order, and each row is the one that was written. */
static int count_all(struct demo *demo, bool *ret_is_right, struct failure *ret_failure) {
        static const char *const titles[] = { "session", "expected",   "found",
                                              "missing", "duplicated", "out of order" };
        _cleanup_table_ struct table table = { .align = "lrrrrr" };
        bool is_right = true;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(titles); i++)
                table_cell(&table, "%s", titles[i]);
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++) {
                struct demo_count count;

                r = demo_count_session(demo, i, &count, ret_failure);
                if (r < 0)
                        return r;
                count_cells(demo_sessions[i], &count, &table);
                is_right &= count.expected == demo->events && count.found == count.expected &&
                            count.missing == 0 && count.duplicated == 0 && count.out_of_order == 0;
        }
        puts("\n    Counted in the databases, by SQL that shares nothing with the movers:");
        table_print(&table, 3, stdout);
        *ret_is_right = is_right;
        return 0;
}

static void print_end(const struct demo *demo, const struct demo_kill *kill) {
        char owned[FORMAT_BYTES], committed[FORMAT_BYTES], span[FORMAT_BYTES];

        puts("");
        demo_say("Worker %u was killed%s.", kill->victim,
                 kill->was_in_transaction ? " in the middle of a transaction" : "");
        demo_say("  from the kill until worker %u owned its session      %s", kill->heir,
                 format_span(kill->owned_usec, owned));
        demo_say("  from the kill until that session's next commit      %s",
                 format_span(kill->committed_usec, committed));
        demo_say("Every event is at the destination once, in order. All of it took %s.",
                 format_span(clock_usec() - demo->start_usec, span));
}

static int finish(const struct invocation *invocation, struct demo *demo, int code) {
        demo_processes_end(demo);
        if (demo->directory[0] == '\0')
                return code;
        if (demo->keep || code == EXIT_CODE_FAILED) {
                if (demo->runtime_is_apart)
                        demo_say("Kept: %s and %s. Remove them when you have seen enough.", demo->directory,
                                 demo->runtime);
                else
                        demo_say("Kept: %s. Remove it when you have seen enough.", demo->directory);
                return code;
        }
        demo_place_remove(demo);
        (void) invocation;
        return code;
}

static int run_demo(const struct invocation *invocation, struct demo *demo) {
        struct failure failure = {};
        struct demo_kill kill = {};
        bool is_right = false;
        int r;

        r = show(demo, &kill, &failure);
        if (r >= 0)
                r = count_all(demo, &is_right, &failure);
        if (demo_is_interrupted()) {
                puts("\nInterrupted; cleaning up.");
                (void) fflush(stdout);
                return EXIT_CODE_INTERRUPTED;
        }
        if (r < 0) {
                (void) cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
                demo_log_show(demo);
                return EXIT_CODE_FAILED;
        }
        if (!is_right)
                return cli_fail(invocation, EXIT_CODE_FAILED,
                                "the counts above are not what they must be: this is a "
                                "bug in Baton; the directory is kept for whoever looks for it");
        print_end(demo, &kill);
        return EXIT_CODE_OK;
}

static int read_number(const struct invocation *invocation, enum cli_option_key key, uint64_t minimum,
                       uint64_t maximum, uint64_t *ret_value) {
        const char *text = invocation->values[key];
        uint64_t value;

        if (!text)
                return EXIT_CODE_OK;
        if (text_parse_u64(text, &value) < 0 || value < minimum || value > maximum)
                return cli_fail(invocation, EXIT_CODE_USAGE,
                                "--%s %s is not a number from %" PRIu64 " to %" PRIu64, cli_options[key].name,
                                text, minimum, maximum);
        *ret_value = value;
        return EXIT_CODE_OK;
}

static int run(const struct invocation *invocation) {
        struct demo demo = { .events = 100000,
                             .seconds = 12,
                             .start_usec = clock_usec(),
                             .keep = invocation->values[CLI_KEEP] != NULL };
        int code;

        code = read_number(invocation, CLI_EVENTS, 1000, 100000000, &demo.events);
        if (code == EXIT_CODE_OK)
                code = read_number(invocation, CLI_SECONDS, 4, 3600, &demo.seconds);
        if (code != EXIT_CODE_OK)
                return code;
        demo_catch_signals();
        demo_draw_init();
        puts("Two applications insert events into their outboxes, orders and payments; Baton moves them\n"
             "to one destination. Watch what happens when a worker is killed.");
        return finish(invocation, &demo, run_demo(invocation, &demo));
}

extern const struct command command_demo;
const struct command command_demo = {
        .name = "demo",
        .arguments = "",
        .summary = "Shows it at work, with real processes, in a directory of its own: kill -9 loses nothing",
        .text = "It makes two outboxes and a destination in a temporary directory, starts a supervisor, and\n"
                "lets an application insert into the outboxes all the while. Four pictures: (A) one worker\n"
                "runs both sessions; (B) a second joins and takes one over; (C) the first is killed with\n"
                "SIGKILL in the middle of a transaction; (D) the survivor runs both. It measures the time\n"
                "from the kill until the session is owned again, and until its next durable commit. At the\n"
                "end it counts, with SQL of its own, what is missing, duplicated or out of order: exit 0\n"
                "only if nothing is (130: you interrupted it). The directory is removed, unless something\n"
                "went wrong or --keep.",
        .options = CLI(EVENTS) | CLI(SECONDS) | CLI(KEEP),
        .run = run,
};
