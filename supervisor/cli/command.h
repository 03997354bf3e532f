/* SPDX-License-Identifier: Apache-2.0 */
/* What a subcommand of `baton` is: one row of the table in commands.c, with the help that teaches it.
 *
 * Messages on stderr begin with "baton COMMAND: " and say what failed, on what, why and what to do.
 * What a command was asked for goes to stdout, and nothing else does. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/directories.h"
#include "base/failure.h"
#include "base/macro.h"

/* The table of `baton help` and README.md. */
enum exit_code {
        EXIT_CODE_OK = 0,
        EXIT_CODE_FAILED = 1,
        EXIT_CODE_USAGE = 2,
        EXIT_CODE_NOT_RUNNING = 3,
        EXIT_CODE_ATTENTION = 4,
        EXIT_CODE_DIFFERENT = 5,
        EXIT_CODE_COUNT
};

#define EXIT_CODE_INTERRUPTED 130 /* Ctrl-C in the demo: 128 + SIGINT, as a shell says it */

enum cli_option_key {
        CLI_CONFIG = 0,
        CLI_STATE,
        CLI_RUNTIME,
        CLI_JSON,
        CLI_SAMPLE,
        CLI_TABLE,
        CLI_EVENTS,
        CLI_SECONDS,
        CLI_KEEP,
        CLI_POINTS,
        CLI_SEED,
        CLI_UNIT,
        CLI_HELP,
        CLI_OPTION_COUNT
};
#define CLI(key) (1u << CLI_##key)

struct cli_option {
        const char *name;     /* without "--" */
        char letter;          /* 0: none */
        const char *argument; /* NULL: a switch */
        const char *help;     /* one line */
};
extern const struct cli_option cli_options[CLI_OPTION_COUNT];

struct invocation;

struct command {
        const char *name;      /* "status", "outbox create" */
        const char *arguments; /* as usage shows them: "DESTINATION N" */
        const char *summary;   /* one line */
        const char *text;      /* paragraphs, each line at most 90 columns */
        uint32_t options;      /* mask of CLI(…); --help is always there */
        size_t argument_min, argument_max;
        int (*run)(const struct invocation *invocation); /* an enum exit_code */
};
extern const struct command *const commands[]; /* NULL-terminated; commands.c */

struct invocation {
        const struct command *command;
        const char *values[CLI_OPTION_COUNT]; /* NULL: not given; "" for a switch that is */
        char **arguments;                     /* into argv */
        size_t argument_count;
};

/* Reads options and arguments; `argv` is reordered in place. 0, or EXIT_CODE_USAGE after a message that
 * names the nearest known option. --help may stand anywhere: then counts are not checked. */
int invocation_parse(const struct command *command, int argc, char **argv, struct invocation *ret_invocation);
/* 0 and the command, *ret_words of argv used; else EXIT_CODE_USAGE after a message with the nearest. */
int command_find(int argc, char **argv, const struct command **ret_command, int *ret_words);
/* Prints the help of each command of two words that begins with this one; false: there is none. */
bool command_print_group(const char *first);

void help_print_all(void);
void help_print_command(const struct command *command);

/* Prints "baton COMMAND: sentence" on stderr and returns `code`. */
int cli_fail(const struct invocation *invocation, enum exit_code code, const char *format, ...)
        _printf_(3, 4);
/* The same for a failure that a library has put into words; adds what errno says where it has not. */
int cli_fail_with(const struct invocation *invocation, enum exit_code code, int r,
                  const struct failure *failure);

/* STATE and RUNTIME from the options and the environment. 0, or an exit code after a message. */
int cli_directories(const struct invocation *invocation, struct directories *ret_directories);
/* The path of the configuration: the option, else the one place it lives by default. */
const char *cli_config_path(const struct invocation *invocation);

/* Finds batond or another program of ours: beside this binary, in ../lib/baton beside it (a tree that was
 * installed and then moved), then $environment, then LIBEXECDIR.
 * 0, or -ENOENT with *ret_failure naming every place that was looked at. */
int cli_find_program(const char *name, const char *environment, char *ret_path, size_t path_bytes,
                     struct failure *ret_failure);
/* Becomes a program of ours: `word` (NULL: none), the options that were given, the one argument. Returns an exit
 * code after a message, or not at all. */
int cli_become(const struct invocation *invocation, const char *program, const char *environment,
               const char *word);
