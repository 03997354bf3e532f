/* SPDX-License-Identifier: Apache-2.0 */
/* A command that becomes another program of ours (execv), with what it was given. Must not touch: anything
 * before that; the program checks what it is given and says what is wrong with it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/cli/command.h"

#define OPTION_NAME_BYTES 24

int cli_become(const struct invocation *invocation, const char *program, const char *environment,
               const char *word) {
        char path[1024], names[CLI_OPTION_COUNT][OPTION_NAME_BYTES];
        const char *argv[5 + 2 * CLI_OPTION_COUNT] = { path };
        struct failure failure = {};
        size_t count = 1;
        int r;

        assert(invocation->argument_count <= 1);

        r = cli_find_program(program, environment, path, sizeof(path), &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        if (word)
                argv[count++] = word;
        for (size_t i = 0; i < CLI_OPTION_COUNT; i++)
                if (invocation->values[i]) {
                        assert(cli_options[i].argument);
                        (void) snprintf(names[i], sizeof(names[i]), "--%s", cli_options[i].name);
                        argv[count++] = names[i];
                        argv[count++] = invocation->values[i];
                }
        if (invocation->argument_count > 0) {
                argv[count++] = "--"; /* whatever it begins with */
                argv[count++] = invocation->arguments[0];
        }
        assert(count < ELEMENTSOF(argv));
        execv(path, (char *const *) (uintptr_t) argv);
        return cli_fail(invocation, EXIT_CODE_FAILED, "cannot start %s: %s", path, strerror(errno));
}
