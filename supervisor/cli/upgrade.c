/* SPDX-License-Identifier: Apache-2.0 */
/* `baton upgrade`: asks the supervisor to become the installed binary, and waits until every worker runs the installed
 * one. Must not touch: the segment, any process. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "supervisor/cli/bus.h"
#include "supervisor/control.h"

#define UPGRADE_MOST_USEC (300 * USEC_PER_SEC) /* a worker finishes its batch before it leaves */
#define UPGRADE_LOOK_USEC (100 * USEC_PER_MSEC)

struct upgrade_state {
        int under_way;
        uint32_t stale_count;
        char version[32];
};

/* The supervisor may just be between the two. */
static int state_ask(const char *runtime_directory, struct upgrade_state *ret_state,
                     struct failure *ret_failure) {
        _cleanup_bus_ sd_bus *bus = NULL;
        sd_bus_message *reply = NULL;
        const char *version;
        int r;

        r = bus_connect(runtime_directory, 5 * USEC_PER_SEC, &bus, ret_failure);
        if (r >= 0)
                r = bus_call(bus, CONTROL_METHOD_UPGRADE_STATE, ret_failure, &reply, "");
        if (r >= 0)
                r = sd_bus_message_read(reply, "bus", &ret_state->under_way, &ret_state->stale_count,
                                        &version);
        if (r >= 0)
                (void) snprintf(ret_state->version, sizeof(ret_state->version), "%s", version);
        sd_bus_message_unref(reply);
        return r < 0 ? r : 0;
}

static int wait_done(const struct invocation *invocation, const char *runtime_directory) {
        const struct timespec pause = { .tv_nsec = UPGRADE_LOOK_USEC * NSEC_PER_USEC };
        uint64_t since_usec = clock_usec(), answered_usec = since_usec;
        struct failure failure = {};
        struct upgrade_state state = {};
        char span[32];
        int r;

        for (;;) {
                uint64_t now_usec = clock_usec();

                (void) nanosleep(&pause, NULL);
                r = state_ask(runtime_directory, &state, &failure);
                if (r >= 0 && !state.under_way)
                        break;
                if (r >= 0)
                        answered_usec = now_usec;
                else if (now_usec - answered_usec > 30 * USEC_PER_SEC)
                        return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
                if (now_usec - since_usec > UPGRADE_MOST_USEC)
                        return cli_fail(
                                invocation, EXIT_CODE_FAILED,
                                "%u worker%s of the version before still work; `baton status` shows what "
                                "they do. The upgrade goes on by itself",
                                state.stale_count, state.stale_count == 1 ? "" : "s");
        }
        clock_format_span(clock_usec() - since_usec, span, sizeof(span));
        printf("the supervisor is version %s, and every worker runs what is installed (%s)\n", state.version,
               span);
        return EXIT_CODE_OK;
}

static int run(const struct invocation *invocation) {
        struct directories directories;
        int code;

        code = bus_ask(invocation, CONTROL_METHOD_UPGRADE, &directories);
        return code == EXIT_CODE_OK ? wait_done(invocation, directories.runtime) : code;
}

extern const struct command command_upgrade;
const struct command command_upgrade = {
        .name = "upgrade",
        .arguments = "",
        .summary = "Goes over to the installed binaries while everything moves on",
        .text = "The supervisor asks the installed batond whether it can go on from here (configuration,\n"
                "segment). If it refuses, nothing changes, and it says why. Else the supervisor becomes\n"
                "it, with the same process id, and replaces the workers one at a time: a new one joins,\n"
                "takes its share of the sessions at batch boundaries, and an old one leaves. The package\n"
                "does this by itself. Waits until all is done.",
        .options = CLI(RUNTIME),
        .run = run,
};
