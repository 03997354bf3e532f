/* SPDX-License-Identifier: Apache-2.0 */
/* `baton run`: becomes batond (execv). Must not touch: anything before that; batond checks what it is
 * given and says what is wrong with it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/cli/command.h"

static int run(const struct invocation *invocation) {
        static const enum cli_option_key passed_on[] = { CLI_STATE, CLI_RUNTIME };
        char path[1024], config[] = "-c", state[] = "--state", runtime[] = "--runtime";
        char *const names[] = { state, runtime };
        char *argv[8] = { path };
        struct failure failure = {};
        size_t count = 1;
        int r;

        r = cli_find_program("batond", "BATON_BATOND", path, sizeof(path), &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        if (invocation->values[CLI_CONFIG]) {
                argv[count++] = config;
                argv[count++] = (char *) invocation->values[CLI_CONFIG];
        }
        for (size_t i = 0; i < ELEMENTSOF(passed_on); i++)
                if (invocation->values[passed_on[i]]) {
                        argv[count++] = names[i];
                        argv[count++] = (char *) invocation->values[passed_on[i]];
                }
        assert(count < ELEMENTSOF(argv));
        execv(path, argv);
        return cli_fail(invocation, EXIT_CODE_FAILED, "cannot start %s: %s", path, strerror(errno));
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
