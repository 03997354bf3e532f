/* SPDX-License-Identifier: Apache-2.0 */
/* `baton status`: reads the segment itself, so it answers while the supervisor hangs or is dead (S10).
 * Must not touch: any word of the segment (it is mapped read-only), the control socket, a database. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "supervisor/cli/status.h"

int status_open_segment(const struct invocation *invocation, const char *runtime_directory,
                        struct segment **ret_segment) {
        struct failure failure = {};
        struct view view = {};
        int r;

        r = segment_open(runtime_directory, false, ret_segment, &failure);
        if (r < 0 && view_read_waits(runtime_directory, &view))
                return cli_fail(invocation, EXIT_CODE_ATTENTION, "the supervisor (pid %d) waits: %s",
                                view.supervisor_pid, view.waits);
        if (r == -ENOENT)
                return cli_fail(invocation, EXIT_CODE_NOT_RUNNING,
                                "there is no segment %s/" SEGMENT_FILE_NAME
                                ": Baton has not run with this runtime "
                                "directory since the machine started. Start it with `baton run`, or name the "
                                "directory it uses with --runtime",
                                runtime_directory);
        if (r == -ESTALE)
                return cli_fail_with(invocation, EXIT_CODE_NOT_RUNNING, r, &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        return EXIT_CODE_OK;
}

/* Gone or none wins: whoever watches Baton wants to know that first. */
static int exit_code_of(const struct view *view) {
        if (view->supervisor == SUPERVISOR_GONE || view->supervisor == SUPERVISOR_NONE)
                return EXIT_CODE_NOT_RUNNING;
        if (view->supervisor == SUPERVISOR_SILENT || view->supervisor == SUPERVISOR_WAITING ||
            view->condemned || view->config_refused[0])
                return EXIT_CODE_ATTENTION;
        for (uint32_t i = 0; i < view->session_count; i++)
                if (state_needs_attention(view->sessions[i].state.word))
                        return EXIT_CODE_ATTENTION;
        return EXIT_CODE_OK;
}

static void sleep_usec(uint64_t span_usec) {
        struct timespec left = { .tv_sec = (time_t) (span_usec / USEC_PER_SEC),
                                 .tv_nsec = (long) (span_usec % USEC_PER_SEC * NSEC_PER_USEC) };

        while (nanosleep(&left, &left) < 0 && errno == EINTR)
                ;
}

static int run(const struct invocation *invocation) {
        const char *sample = invocation->values[CLI_SAMPLE];
        _cleanup_segment_ struct segment *segment = NULL;
        _cleanup_view_ struct view view = {}, before = {};
        struct directories directories;
        uint64_t sample_usec = 0;
        int code;

        if (sample && (clock_parse_span(sample, &sample_usec) < 0 || sample_usec < 10 * USEC_PER_MSEC ||
                       sample_usec > 60 * USEC_PER_SEC))
                return cli_fail(invocation, EXIT_CODE_USAGE,
                                "--sample %s is no span between 10ms and 60s; for example --sample 500ms",
                                sample);
        code = cli_directories(invocation, &directories);
        if (code != EXIT_CODE_OK)
                return code;
        code = status_open_segment(invocation, directories.runtime, &segment);
        if (code != EXIT_CODE_OK)
                return code;
        if (sample) {
                view_read(segment, &before);
                sleep_usec(sample_usec);
        }
        view_read(segment, &view);
        (void) view_read_waits(directories.runtime, &view);
        if (sample)
                view_set_rates(&view, &before);
        if (!invocation->values[CLI_JSON])
                status_print_text(&view, stdout);
        else if (status_print_json(&view, stdout) < 0)
                return cli_fail(invocation, EXIT_CODE_FAILED, "out of memory while writing JSON");
        return exit_code_of(&view);
}

extern const struct command command_status;
const struct command command_status = {
        .name = "status",
        .arguments = "",
        .summary = "Shows every destination, its workers and its sessions, even while the supervisor hangs",
        .text = "It reads the shared segment itself and asks nobody, so it works on a hung or dead\n"
                "supervisor, and takes no lock, so it disturbs nobody. States of a session:\n"
                "  moving    events are being moved\n"
                "  idle      there is nothing to move\n"
                "  starting  its worker has just got it\n"
                "  waiting   something is in the way and is tried again by itself; the reason is printed\n"
                "  paused    an operator wants it so\n"
                "  stalled   events wait and nothing was committed for stall-timeout; look at it\n"
                "  stopped   it cannot go on without you; the reason says why and what to do\n"
                "If the configuration is refused and the last good one goes on, its second line says so.\n"
                "The line of a destination counts what is stopped, stalled or waiting; those sessions\n"
                "stand first, each with its reason below it.\n"
                "Lag is how many positions wait at the source, about how many bytes, and how old the\n"
                "oldest is. What is not known is printed as unknown (null in JSON), never as zero.",
        .options = CLI(RUNTIME) | CLI(JSON) | CLI(SAMPLE),
        .run = run,
};
