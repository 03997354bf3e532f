/* SPDX-License-Identifier: Apache-2.0 */
/* `baton prove`: becomes baton-prove (execv). Must not touch: anything before that; it checks what it is
 * given and says what is wrong with it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/cli/command.h"

/* The proof calls the command line too, and this is the one to prove, wherever it is installed. */
static void tell_who_we_are(void) {
        char self[1024];
        ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (length <= 0)
                return; /* then baton-prove looks beside itself */
        self[length] = '\0';
        (void) setenv("BATON_COMMAND", self, 1);
}

static int run(const struct invocation *invocation) {
        static const enum cli_option_key passed_on[] = { CLI_POINTS, CLI_SECONDS, CLI_SEED };
        char path[1024], all[] = "all", points[] = "--points", seconds[] = "--seconds", seed[] = "--seed";
        char *const names[] = { points, seconds, seed };
        char *argv[10] = { path, all, invocation->arguments[0] };
        struct failure failure = {};
        size_t count = 3;
        int r;

        r = cli_find_program("baton-prove", "BATON_PROVE", path, sizeof(path), &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        for (size_t i = 0; i < ELEMENTSOF(passed_on); i++)
                if (invocation->values[passed_on[i]]) {
                        argv[count++] = names[i];
                        argv[count++] = (char *) invocation->values[passed_on[i]];
                }
        assert(count < ELEMENTSOF(argv));
        tell_who_we_are();
        execv(path, argv);
        return cli_fail(invocation, EXIT_CODE_FAILED, "cannot start %s: %s", path, strerror(errno));
}

extern const struct command command_prove;
const struct command command_prove = {
        .name = "prove",
        .arguments = "DIRECTORY",
        .summary = "Kills and torments Baton on a disk of yours, and counts",
        .text = "On the disk and file system that DIRECTORY stands on, in directories of its own that it\n"
                "removes again, it runs real supervisors and workers and\n"
                "  kills them at every system call that they make, one run for each (up to half an hour;\n"
                "  --points 200 takes a minute), lets them recover, and\n"
                "  torments a service at random for a minute (--seconds): kills, stops, failing syncs, a\n"
                "  full disk, vanishing sources, jumps of the clock, scaling, reloads.\n"
                "After each, a checker of its own compares source and destination, event by event. It ends\n"
                "with a report of what was tried and what held. A service that runs here is not touched;\n"
                "it will feel the load.",
        .options = CLI(POINTS) | CLI(SECONDS) | CLI(SEED),
        .argument_min = 1,
        .argument_max = 1,
        .run = run,
};
