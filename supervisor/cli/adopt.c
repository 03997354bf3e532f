/* SPDX-License-Identifier: Apache-2.0 */
/* `baton adopt SESSION`: accepts what stopped a session (M4: another source, another last event; a
 * destination older than the journal), after saying what that is, and waits until the session runs.
 * Must not touch: the segment (read-only); the source, the destination. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "supervisor/cli/bus.h"
#include "supervisor/cli/format.h"
#include "supervisor/cli/status.h"
#include "supervisor/control.h"

#define ADOPT_WAIT_USEC (30 * USEC_PER_SEC)

static int unknown_session(const struct invocation *invocation, const struct view *view, const char *name) {
        const char **names = must_have(calloc(view->session_count + 1, sizeof(names[0])));
        const char *nearest;
        int code;

        for (uint32_t i = 0; i < view->session_count; i++)
                names[i] = view->sessions[i].name;
        nearest = text_nearest(name, names);
        code = cli_fail(invocation, EXIT_CODE_FAILED, "there is no session %s%s%s; `baton status` lists them",
                        name, nearest ? "; the nearest is " : "", nearest ? nearest : "");
        free(names);
        return code;
}

/* What accepting means, for each reason that can be accepted. */
static const char *consequence(const struct view_session *session) {
        if (session->quarantined)
                return "a new slot is made for it, and a worker runs it again from its checkpoint";
        if (session->status.failure_kind == FAILURE_BEHIND)
                return "what the destination says is taken as the truth; events that it has lost and the source "
                       "still has are moved again";
        if (session->status.failure_kind == FAILURE_IDENTITY)
                return "what is at the source now is taken as the continuation, and moved from the position above "
                       "onwards";
        return "it is tried again as it stands";
}

static void print_offer(const struct view_session *session) {
        char text[FORMAT_BYTES];

        printf("%s is stopped at position %s: %s\n", session->name,
               format_count(session->has_said ? session->status.position : VIEW_UNKNOWN, text),
               session->state.why);
        printf("adopting it: %s\n", consequence(session));
        (void) fflush(stdout);
}

/* True once the outcome of `request` is known. */
static bool is_settled(const struct view_session *session, uint64_t request) {
        bool is_handled = session->has_said && session->status.adopt_done >= request;

        return is_handled && session->state.word != STATE_STARTING;
}

static int report(const struct invocation *invocation, const struct view_session *session) {
        char text[FORMAT_BYTES];

        if (session->state.word == STATE_STOPPED)
                return cli_fail(invocation, EXIT_CODE_FAILED, "%s is stopped again: %s", session->name,
                                session->state.why);
        printf("%s is %s at position %s%s%s\n", session->name, state_name(session->state.word),
               format_count(session->status.position, text), session->state.why[0] ? ": " : "",
               session->state.why);
        return EXIT_CODE_OK;
}

static int wait_settled(const struct invocation *invocation, const struct segment *segment, const char *name,
                        uint64_t request) {
        const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
        uint64_t deadline_usec = clock_usec() + ADOPT_WAIT_USEC;

        for (;;) {
                _cleanup_view_ struct view view = {};
                const struct view_session *session;

                view_read(segment, &view);
                session = view_find_session(&view, name);
                if (session && is_settled(session, request))
                        return report(invocation, session);
                if (view.now_usec >= deadline_usec)
                        return cli_fail(
                                invocation, EXIT_CODE_FAILED,
                                "the request is noted, and no worker has taken it up within 30 s; %s is %s%s%s",
                                name, session ? state_name(session->state.word) : "gone",
                                session && session->state.why[0] ? ": " : "",
                                session ? session->state.why : "");
                (void) nanosleep(&pause, NULL);
        }
}

/* Asks the supervisor; *ret_request is what to wait for. */
static int ask(const struct invocation *invocation, const char *runtime_directory, const char *name,
               uint64_t *ret_request) {
        _cleanup_bus_ sd_bus *bus = NULL;
        sd_bus_message *reply = NULL;
        struct failure failure = {};
        uint64_t request = 0;
        int r, code;

        code = bus_connect_for(invocation, runtime_directory, &bus);
        if (code != EXIT_CODE_OK)
                return code;
        r = bus_call(bus, CONTROL_METHOD_ADOPT, &failure, &reply, "s", name);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        r = sd_bus_message_read(reply, "t", &request);
        sd_bus_message_unref(reply);
        if (r < 0)
                return cli_fail(invocation, EXIT_CODE_FAILED,
                                "the supervisor's answer makes no sense (%s): is it of "
                                "another version?",
                                strerror(-r));
        *ret_request = request;
        return EXIT_CODE_OK;
}

static int run(const struct invocation *invocation) {
        const char *name = invocation->arguments[0];
        _cleanup_segment_ struct segment *segment = NULL;
        _cleanup_view_ struct view view = {};
        struct directories directories;
        const struct view_session *session;
        uint64_t request = 0;
        int code;

        code = cli_directories(invocation, &directories);
        if (code != EXIT_CODE_OK)
                return code;
        code = status_open_segment(invocation, directories.runtime, &segment);
        if (code != EXIT_CODE_OK)
                return code;
        view_read(segment, &view);
        session = view_find_session(&view, name);
        if (!session)
                return unknown_session(invocation, &view, name);
        if (session->state.word != STATE_STOPPED)
                return cli_fail(invocation, EXIT_CODE_FAILED,
                                "%s is not stopped, it is %s%s%s; there is nothing to "
                                "adopt",
                                name, state_name(session->state.word), session->state.why[0] ? ": " : "",
                                session->state.why);
        print_offer(session);
        code = ask(invocation, directories.runtime, name, &request);
        if (code != EXIT_CODE_OK)
                return code;
        return wait_settled(invocation, segment, name, request);
}

extern const struct command command_adopt;
const struct command command_adopt = {
        .name = "adopt",
        .arguments = "SESSION",
        .summary = "Accepts what stopped a session, says what that means, and waits until it runs",
        .text = "A session stops when what it finds is not what it left: the source is another file, its\n"
                "last moved event is gone or different (a backup was restored, the table was emptied), or\n"
                "the destination is older than Baton's journal. Baton does not guess then. Look at the\n"
                "reason (`baton status`), decide whether what is there now is right, and adopt it. Or bring\n"
                "the right one back first: adopting then finds nothing to accept, and the session goes on.",
        .options = CLI(RUNTIME),
        .argument_min = 1,
        .argument_max = 1,
        .run = run,
};
