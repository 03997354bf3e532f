/* SPDX-License-Identifier: Apache-2.0 */
/* `baton`: finds the command, reads its options, runs it, and returns its exit code.
 * Must not touch: anything but argv; every effect is a command's. */
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "supervisor/cli/command.h"

static bool is_one_of(const char *text, const char *a, const char *b) {
        return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

/* `baton help [COMMAND]`: argv begins behind "help". */
static int run_help(int argc, char **argv) {
        const struct command *command;
        int words, code;

        if (argc == 0) {
                help_print_all();
                return EXIT_CODE_OK;
        }
        if (argc == 1 && command_print_group(argv[0]))
                return EXIT_CODE_OK;
        code = command_find(argc, argv, &command, &words);
        if (code != EXIT_CODE_OK)
                return code;
        help_print_command(command);
        return EXIT_CODE_OK;
}

static int run(int argc, char **argv) {
        const struct command *command;
        struct invocation invocation;
        int words, code;

        code = command_find(argc, argv, &command, &words);
        if (code != EXIT_CODE_OK)
                return code;
        code = invocation_parse(command, argc - words, argv + words, &invocation);
        if (code != EXIT_CODE_OK)
                return code;
        if (invocation.values[CLI_HELP]) {
                help_print_command(command);
                return EXIT_CODE_OK;
        }
        return command->run(&invocation);
}

int main(int argc, char **argv) {
        int code;

        if (argc < 2) {
                fputs("baton: what should be done? `baton help` lists the commands; `baton demo` shows what "
                      "it is for.\n",
                      stderr);
                return EXIT_CODE_USAGE;
        }
        if (is_one_of(argv[1], "--version", "-V")) {
                puts("baton " BATON_VERSION);
                code = EXIT_CODE_OK;
        } else if (is_one_of(argv[1], "--help", "-h"))
                code = run_help(0, NULL);
        else if (strcmp(argv[1], "help") == 0)
                code = run_help(argc - 2, argv + 2);
        else
                code = run(argc - 1, argv + 1);

        /* What was asked for and could not be delivered (a full disk, a closed pipe) is a failure. */
        if (fflush(stdout) != 0 && code == EXIT_CODE_OK) {
                fprintf(stderr, "baton: cannot write the output: %m\n");
                code = EXIT_CODE_FAILED;
        }
        return code;
}
