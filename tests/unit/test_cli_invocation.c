/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor/cli: command names and options; what is unknown names the nearest that is known, and
 * nothing is tried (exit code 2). */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <string.h>

#include "supervisor/cli/command.h"

#define WORDS(...)                \
        (char *[]) {              \
                __VA_ARGS__, NULL \
        }

static const struct command *find(int argc, char **argv, int *ret_words) {
        const struct command *command = NULL;

        cr_assert_eq(command_find(argc, argv, &command, ret_words), EXIT_CODE_OK);
        return command;
}

/* Parses the words behind `baton COMMAND`. */
static int parse(const char *name, int argc, char **argv, struct invocation *ret_invocation) {
        char first[32], second[32] = "";
        const struct command *command;
        int words;

        (void) sscanf(name, "%31s %31s", first, second);
        command = find(2, WORDS(first, second), &words);
        return invocation_parse(command, argc, argv, ret_invocation);
}

static void said(const char *expected) {
        char text[1024] = "";
        FILE *file = cr_get_redirected_stderr();

        (void) fflush(stderr);
        (void) fread(text, 1, sizeof(text) - 1, file);
        cr_assert_not_null(strstr(text, expected), "said \"%s\", not \"%s\"", text, expected);
}

TestSuite(cli_invocation, .init = cr_redirect_stderr);

Test(cli_invocation, every_command_is_found_and_explains_itself) {
        for (size_t i = 0; commands[i]; i++) {
                char name[64], *second;
                int words = 0;

                cr_assert_lt(strlen(commands[i]->name), sizeof(name));
                strcpy(name, commands[i]->name);
                second = strchr(name, ' ');
                if (second)
                        *second++ = '\0';
                cr_assert_eq(find(second ? 2 : 1, WORDS(name, second), &words), commands[i]);
                cr_assert_eq(words, second ? 2 : 1);
                cr_assert(commands[i]->summary[0] && strlen(commands[i]->text) > 40, "%s", commands[i]->name);
                for (const char *line = commands[i]->text; line; line = strchr(line + 1, '\n'))
                        cr_assert_leq(strcspn(line + 1, "\n"), 90, "%s: %s", commands[i]->name, line);
        }
}

Test(cli_invocation, unknown_command_names_the_nearest) {
        const struct command *command;
        int words;

        cr_assert_eq(command_find(1, WORDS("statsu"), &command, &words), EXIT_CODE_USAGE);
        said("did you mean `baton status`");
        /* `baton help journal` teaches both; a word that begins nothing is left to command_find(). */
        cr_expect(command_print_group("journal"));
        cr_expect(!command_print_group("status"));
        cr_expect(!command_print_group("jour"));
}

Test(cli_invocation, a_second_word_is_asked_for) {
        const struct command *command;
        int words;

        cr_assert_eq(command_find(2, WORDS("journal", "chek"), &command, &words), EXIT_CODE_USAGE);
        said("baton journal check, baton journal show");
}

Test(cli_invocation, options_stand_anywhere) {
        char **argv = WORDS("a", "-cfile", "b", "--state", "dir"); /* the arguments stay in it */
        struct invocation invocation;

        cr_assert_eq(parse("verify", 5, argv, &invocation), EXIT_CODE_OK);
        cr_assert_str_eq(invocation.values[CLI_CONFIG], "file");
        cr_assert_str_eq(invocation.values[CLI_STATE], "dir");
        cr_assert_eq(invocation.argument_count, 2);
        cr_assert_str_eq(invocation.arguments[1], "b");
        cr_assert_eq(parse("verify", 1, WORDS("--config=x=y"), &invocation), EXIT_CODE_OK);
        cr_assert_str_eq(invocation.values[CLI_CONFIG], "x=y");
        cr_assert_eq(parse("scale", 3, WORDS("--", "-c", "--json"), &invocation), EXIT_CODE_OK);
        cr_assert_eq(invocation.argument_count, 2);
}

Test(cli_invocation, unknown_option_names_the_nearest) {
        struct invocation invocation;

        cr_assert_eq(parse("status", 1, WORDS("--jsn"), &invocation), EXIT_CODE_USAGE);
        said("did you mean --json?");
}

Test(cli_invocation, an_option_of_another_command_is_unknown) {
        struct invocation invocation;

        cr_assert_eq(parse("status", 2, WORDS("--table", "x"), &invocation), EXIT_CODE_USAGE);
        said("there is no option --table");
}

Test(cli_invocation, values_are_demanded_and_refused) {
        struct invocation invocation;

        cr_assert_eq(parse("status", 1, WORDS("--runtime"), &invocation), EXIT_CODE_USAGE);
        said("--runtime needs a value");
        cr_assert_eq(parse("status", 1, WORDS("--json=1"), &invocation), EXIT_CODE_USAGE);
        cr_assert_eq(parse("status", 2, WORDS("--json", "--json"), &invocation), EXIT_CODE_USAGE);
        cr_assert_eq(parse("status", 1, WORDS("--runtime="), &invocation), EXIT_CODE_USAGE);
}

Test(cli_invocation, arguments_are_counted_but_not_before_help) {
        struct invocation invocation;

        cr_assert_eq(parse("scale", 1, WORDS("events"), &invocation), EXIT_CODE_USAGE);
        said("usage: baton scale DESTINATION N");
        cr_assert_eq(parse("scale", 3, WORDS("events", "1", "2"), &invocation), EXIT_CODE_USAGE);
        cr_assert_eq(parse("scale", 1, WORDS("-h"), &invocation), EXIT_CODE_OK);
        cr_assert_not_null(invocation.values[CLI_HELP]);
}
