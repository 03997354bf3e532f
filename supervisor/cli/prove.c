/* SPDX-License-Identifier: Apache-2.0 */
/* `baton prove`: becomes baton-prove. */
#include <stdlib.h>
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
        tell_who_we_are();
        return cli_become(invocation, "baton-prove", "BATON_PROVE", "all");
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
