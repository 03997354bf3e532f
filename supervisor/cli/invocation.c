/* SPDX-License-Identifier: Apache-2.0 */
/* Options and arguments of a command, and what every command needs of them: directories, paths,
 * messages. An unknown option names the nearest known one. Must not touch: the file system, but to
 * look for a program. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "supervisor/cli/command.h"
#include "supervisor/config.h"

#ifndef LIBEXECDIR
#define LIBEXECDIR "/usr/local/lib/baton"
#endif

const struct cli_option cli_options[CLI_OPTION_COUNT] = {
        [CLI_CONFIG] = { "config", 'c', "FILE", "the configuration (default " CONFIG_FILE_DEFAULT ")" },
        [CLI_STATE] = { "state", 0, "DIR",
                        "what must survive a reboot: journals, instance (default "
                        "$STATE_DIRECTORY, /var/lib/baton)" },
        [CLI_RUNTIME] = { "runtime", 0, "DIR",
                          "where the segment and the control socket are (default "
                          "$RUNTIME_DIRECTORY, /run/baton)" },
        [CLI_JSON] = { "json", 0, NULL, "print JSON with stable field names; unknown is null" },
        [CLI_SAMPLE] = { "sample", 0, "SPAN", "look twice, SPAN apart (500ms, 2s), and print rates" },
        [CLI_TABLE] = { "table", 0, "NAME", "the table's name (default outbox)" },
        [CLI_EVENTS] = { "events", 0, "N", "events in each of the two outboxes (default 100000)" },
        [CLI_SECONDS] = { "seconds", 0, "N",
                          "how long the demo's writer takes (12), or prove torments (60)" },
        [CLI_KEEP] = { "keep", 0, NULL, "keep the directory, to look at what is in it" },
        [CLI_POINTS] = { "points", 0, "N", "so many system calls, evenly spread, in place of all" },
        [CLI_SEED] = { "seed", 0, "N", "repeat what was drawn at random" },
        [CLI_UNIT] = { "unit", 0, NULL, "prints what baton.service must be granted for this configuration" },
        [CLI_HELP] = { "help", 'h', NULL, "print this help" },
};

/* Every command takes --help. */
static bool option_is_known(const struct command *command, size_t key) {
        return key == CLI_HELP || (command->options & 1u << key) != 0;
}

static int unknown_option(const struct invocation *invocation, const char *text) {
        const char *names[CLI_OPTION_COUNT + 1], *nearest;
        size_t count = 0;

        for (size_t key = 0; key < CLI_OPTION_COUNT; key++)
                if (option_is_known(invocation->command, key))
                        names[count++] = cli_options[key].name;
        names[count] = NULL;
        nearest = text_nearest(text + strspn(text, "-"), names);
        if (nearest)
                return cli_fail(invocation, EXIT_CODE_USAGE,
                                "there is no option %s; did you mean --%s? `baton help %s` lists them", text,
                                nearest, invocation->command->name);
        return cli_fail(invocation, EXIT_CODE_USAGE, "there is no option %s; `baton help %s` lists them",
                        text, invocation->command->name);
}

/* "--name", "--name=value", "-c", "-cvalue": the key, and the value that stands in the same word. */
static int option_match(const struct command *command, const char *text, const char **ret_value) {
        size_t length = strcspn(text, "=");

        for (size_t key = 0; key < CLI_OPTION_COUNT; key++) {
                const struct cli_option *option = &cli_options[key];

                if (!option_is_known(command, key))
                        continue;
                if (text[1] == '-' && strlen(option->name) == length - 2 &&
                    strncmp(option->name, text + 2, length - 2) == 0) {
                        *ret_value = text[length] == '=' ? text + length + 1 : NULL;
                        return (int) key;
                }
                if (text[1] != '-' && text[1] == option->letter) {
                        *ret_value = text[2] != '\0' ? text + 2 : NULL;
                        return (int) key;
                }
        }
        return -ENOENT;
}

/* One option at argv[index]. Returns the words used, or -EXIT_CODE_USAGE. */
static int option_take(struct invocation *invocation, int argc, char **argv, int index) {
        const char *value = NULL;
        int key = option_match(invocation->command, argv[index], &value);
        int words = 1;

        if (key < 0)
                return -unknown_option(invocation, argv[index]);
        if (cli_options[key].argument && !value) {
                if (index + 1 >= argc)
                        return -cli_fail(invocation, EXIT_CODE_USAGE, "--%s needs a value: --%s %s",
                                         cli_options[key].name, cli_options[key].name,
                                         cli_options[key].argument);
                value = argv[index + 1];
                words = 2;
        } else if (!cli_options[key].argument && value)
                return -cli_fail(invocation, EXIT_CODE_USAGE, "--%s takes no value, and got %s",
                                 cli_options[key].name, value);
        if (invocation->values[key])
                return -cli_fail(invocation, EXIT_CODE_USAGE, "--%s is given twice", cli_options[key].name);
        if (value && value[0] == '\0')
                return -cli_fail(invocation, EXIT_CODE_USAGE, "--%s has an empty value",
                                 cli_options[key].name);
        invocation->values[key] = value ? value : "";
        return words;
}

static int check_counts(const struct invocation *invocation) {
        const struct command *command = invocation->command;

        if (invocation->values[CLI_HELP])
                return EXIT_CODE_OK;
        if (invocation->argument_count > command->argument_max)
                return cli_fail(invocation, EXIT_CODE_USAGE, "too many arguments at %s; usage: baton %s%s%s",
                                invocation->arguments[command->argument_max], command->name,
                                command->arguments[0] ? " " : "", command->arguments);
        if (invocation->argument_count < command->argument_min)
                return cli_fail(invocation, EXIT_CODE_USAGE, "something is missing; usage: baton %s %s",
                                command->name, command->arguments);
        return EXIT_CODE_OK;
}

int invocation_parse(const struct command *command, int argc, char **argv,
                     struct invocation *ret_invocation) {
        struct invocation invocation = { .command = command, .arguments = argv };
        bool only_arguments = false;
        int words;

        assert(command && ret_invocation);
        assert(argc >= 0);

        for (int i = 0; i < argc; i += words) {
                words = 1;
                if (!only_arguments && strcmp(argv[i], "--") == 0) {
                        only_arguments = true;
                        continue;
                }
                if (only_arguments || argv[i][0] != '-' || argv[i][1] == '\0') {
                        argv[invocation.argument_count++] = argv[i];
                        continue;
                }
                words = option_take(&invocation, argc, argv, i);
                if (words < 0)
                        return -words;
        }
        words = check_counts(&invocation);
        if (words != EXIT_CODE_OK)
                return words;
        *ret_invocation = invocation;
        return EXIT_CODE_OK;
}

int cli_fail(const struct invocation *invocation, enum exit_code code, const char *format, ...) {
        char sentence[4096];
        va_list arguments;
        size_t length;

        assert(code != EXIT_CODE_OK);

        va_start(arguments, format);
        (void) vsnprintf(sentence, sizeof(sentence), format, arguments);
        va_end(arguments);
        length = strlen(sentence);
        (void) fflush(stdout); /* in the order in which it happened, where both go to one place */
        fprintf(stderr, "baton %s: %s%s\n", invocation->command->name, sentence,
                length > 0 && sentence[length - 1] == '?' ? "" : ".");
        return code;
}

/* A library's sentence, without the full stop that it may carry. */
int cli_fail_with(const struct invocation *invocation, enum exit_code code, int r,
                  const struct failure *failure) {
        size_t length = strnlen(failure->text, sizeof(failure->text));

        if (length == 0)
                return cli_fail(invocation, code, "%s", strerror(r < 0 ? -r : EIO));
        while (length > 0 && failure->text[length - 1] == '.')
                length--;
        return cli_fail(invocation, code, "%.*s", (int) length, failure->text);
}

int cli_directories(const struct invocation *invocation, struct directories *ret_directories) {
        struct failure failure = {};
        int r;

        r = directories_resolve(invocation->values[CLI_STATE], invocation->values[CLI_RUNTIME],
                                ret_directories, &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_USAGE, r, &failure);
        return EXIT_CODE_OK;
}

const char *cli_config_path(const struct invocation *invocation) {
        return invocation->values[CLI_CONFIG] ? invocation->values[CLI_CONFIG] : CONFIG_FILE_DEFAULT;
}

/* DIRECTORY/name, if it can be executed. */
static bool program_is_in(const char *directory, const char *name, char *ret_path, size_t path_bytes) {
        int length = snprintf(ret_path, path_bytes, "%s/%s", directory, name);

        return length > 0 && (size_t) length < path_bytes && access(ret_path, X_OK) == 0;
}

int cli_find_program(const char *name, const char *environment, char *ret_path, size_t path_bytes,
                     struct failure *ret_failure) {
        char beside[1024] = "", installed[sizeof(beside) + 16];
        const char *told = getenv(environment);
        ssize_t length;
        char *slash;

        length = readlink("/proc/self/exe", beside, sizeof(beside) - 1);
        beside[MAX_OF(length, 0)] = '\0';
        slash = strrchr(beside, '/');
        if (slash) {
                *slash = '\0';
                if (program_is_in(beside, name, ret_path, path_bytes))
                        return 0;
                (void) snprintf(installed, sizeof(installed), "%s/../lib/baton", beside);
                if (program_is_in(installed, name, ret_path, path_bytes))
                        return 0;
        }
        if (told && access(told, X_OK) == 0 && text_copy(ret_path, path_bytes, told) == 0)
                return 0;
        if (program_is_in(LIBEXECDIR, name, ret_path, path_bytes))
                return 0;
        ret_path[0] = '\0';
        return failure_set(
                ret_failure, -ENOENT, FAILURE_STOP,
                "the program %s is not there: looked in %s and its ../lib/baton, at $%s (%s) and in "
                "%s. Build it with `make`, or set $%s to its path",
                name, beside, environment, told ? told : "not set", LIBEXECDIR, environment);
}
