/* SPDX-License-Identifier: Apache-2.0 */
/* `baton scale` and `baton reload`: one method call each; the supervisor checks and answers in a
 * sentence. Must not touch: the segment, the configuration. */
#include <stdio.h>

#include "base/text.h"
#include "supervisor/cli/bus.h"
#include "supervisor/control.h"

static int run_scale(const struct invocation *invocation) {
        const char *destination = invocation->arguments[0], *text = invocation->arguments[1];
        _cleanup_bus_ sd_bus *bus = NULL;
        struct directories directories;
        struct failure failure = {};
        uint64_t workers;
        int r, code;

        if (text_parse_u64(text, &workers) < 0 || workers > UINT32_MAX)
                return cli_fail(invocation, EXIT_CODE_USAGE,
                                "%s is no number of workers; for example: baton scale %s 2", text,
                                destination);
        code = cli_directories(invocation, &directories);
        if (code != EXIT_CODE_OK)
                return code;
        code = bus_connect_for(invocation, directories.runtime, &bus);
        if (code != EXIT_CODE_OK)
                return code;
        r = bus_call(bus, CONTROL_METHOD_SCALE, &failure, NULL, "su", destination, (uint32_t) workers);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        printf("destination %s: %u worker%s wanted; `baton status` shows them come and go\n", destination,
               (uint32_t) workers, workers == 1 ? "" : "s");
        return EXIT_CODE_OK;
}

static int run_reload(const struct invocation *invocation) {
        struct directories directories;
        int code;

        code = bus_ask(invocation, CONTROL_METHOD_RELOAD, &directories);
        if (code == EXIT_CODE_OK)
                puts("the configuration is read anew and in use");
        return code;
}

extern const struct command command_scale, command_reload;
const struct command command_scale = {
        .name = "scale",
        .arguments = "DESTINATION N",
        .summary = "Sets how many workers serve a destination, while it runs",
        .text = "Sessions are spread evenly over the workers, and as few as possible change hands; each\n"
                "does so at a batch boundary, by agreement, so nothing waits. More workers are worth it\n"
                "for a second processor and for a quicker takeover; a destination with one writer\n"
                "(sqlite) still takes turns. The number holds until the next start, or until a reload\n"
                "finds another `workers =` in the configuration.",
        .options = CLI(RUNTIME),
        .argument_min = 2,
        .argument_max = 2,
        .run = run_scale,
};
const struct command command_reload = {
        .name = "reload",
        .arguments = "",
        .summary = "Reads the configuration anew; a bad one changes nothing and says why",
        .text = "The whole file is read and checked before anything of it is used. Sessions that did not\n"
                "change go on without a pause; new ones start, removed ones finish their batch and leave.\n"
                "Try a change first with `baton check -c FILE`.",
        .options = CLI(RUNTIME),
        .run = run_reload,
};
