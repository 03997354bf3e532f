/* SPDX-License-Identifier: Apache-2.0 */
/* `baton run`: becomes batond. */
#include "supervisor/cli/command.h"

static int run(const struct invocation *invocation) {
        return cli_become(invocation, "batond", "BATON_BATOND", NULL);
}

extern const struct command command_run;
const struct command command_run = {
        .name = "run",
        .arguments = "",
        .summary = "Runs the supervisor in the foreground; it starts the workers",
        .text = "It becomes batond, which reads the configuration, starts the workers of each destination\n"
                "and writes one line for each event of interest to stderr. Ctrl-C (or SIGTERM) lets\n"
                "every worker finish its batch and leave; SIGHUP, or `baton reload`, reads the\n"
                "configuration anew. If it is killed, the workers go on, and the next one adopts them.\n"
                "As a service, let systemd run batond itself (Type=notify).",
        .options = CLI(CONFIG) | CLI(STATE) | CLI(RUNTIME),
        .run = run,
};
