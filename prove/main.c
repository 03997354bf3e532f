/* SPDX-License-Identifier: Apache-2.0 */
/* baton-prove: torments Baton in directories of its own and judges what is left. `make crash` and the like
 * call it, and `baton prove DIRECTORY`, so it needs nothing of the source tree. */
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "prove/power/power.h"
#include "prove/prove.h"

static int prove_help(int argc, char **argv);

static const struct prove_command commands[] = {
        { "crash", prove_crash, "a kill at every system call" },
        { "errors", prove_errors, "every system call fails, in every way that fits it" },
        { "power", power_run, "the power is cut after each recorded write" },
        { "torture", torture_main, "everything at once, at random, judged all the while" },
        { "all", prove_all, "crash and torture, on the disk that you name (baton prove)" },
        { "help", prove_help, "what there is" },
};

static int prove_help(int argc, char **argv) {
        (void) argc, (void) argv;
        printf("Usage: baton-prove COMMAND [OPTIONS]; baton-prove COMMAND --help teaches one\n\n");
        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                printf("  %-8s  %s\n", commands[i].name, commands[i].help);
        return 0;
}

int main(int argc, char *argv[]) {
        for (size_t i = 0; argc > 1 && i < ELEMENTSOF(commands); i++)
                if (strcmp(argv[1], commands[i].name) == 0)
                        return commands[i].run(argc - 1, argv + 1);
        fprintf(stderr, "baton-prove: %s%s; see baton-prove help\n",
                argc > 1 ? "no command " : "no command given", argc > 1 ? argv[1] : "");
        return 2;
}
