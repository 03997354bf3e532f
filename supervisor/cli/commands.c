/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and how a name on the command line finds its row. One file each besides.
 * Must not touch: anything; constant data and messages. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "supervisor/cli/command.h"

extern const struct command command_run, command_check, command_status, command_scale, command_adopt,
        command_reload, command_outbox_create, command_journal_check, command_journal_show, command_verify,
        command_demo, command_prove, command_upgrade, command_doctor;

const struct command *const commands[] = {
        &command_demo,   &command_outbox_create, &command_check,        &command_run,     &command_status,
        &command_scale,  &command_adopt,         &command_reload,       &command_upgrade, &command_doctor,
        &command_verify, &command_journal_check, &command_journal_show, &command_prove,   NULL,
};

#define COMMAND_COUNT (ELEMENTSOF(commands) - 1)

/* Length of the first word of a command's name. */
static size_t first_word(const char *name) {
        return strcspn(name, " ");
}

static bool word_is(const char *name, size_t length, const char *text) {
        return strlen(text) == length && strncmp(name, text, length) == 0;
}

bool command_print_group(const char *first) {
        bool found = false;

        for (size_t i = 0; i < COMMAND_COUNT; i++) {
                size_t length = first_word(commands[i]->name);

                if (commands[i]->name[length] == '\0' || !word_is(commands[i]->name, length, first))
                        continue;
                if (found)
                        puts("");
                help_print_command(commands[i]);
                found = true;
        }
        return found;
}

/* "outbox" alone, or with a second word that does not exist: says which there are. */
static int second_word_missing(const char *first, const char *second) {
        const char *separator = "";

        fprintf(stderr, "baton: `%s` needs one more word", first);
        if (second)
                fprintf(stderr, ", and %s is none of them", second);
        fputs(": ", stderr);
        for (size_t i = 0; i < COMMAND_COUNT; i++)
                if (word_is(commands[i]->name, first_word(commands[i]->name), first)) {
                        fprintf(stderr, "%sbaton %s", separator, commands[i]->name);
                        separator = ", ";
                }
        fputs("\n", stderr);
        return EXIT_CODE_USAGE;
}

static int unknown_command(const char *text) {
        const char *names[COMMAND_COUNT + 2], *nearest;

        for (size_t i = 0; i < COMMAND_COUNT; i++)
                names[i] = commands[i]->name;
        names[COMMAND_COUNT] = "help";
        names[COMMAND_COUNT + 1] = NULL;
        nearest = text_nearest(text, names);
        if (text[0] == '-')
                fprintf(stderr,
                        "baton: the command comes first, then its options; %s is no command. "
                        "`baton help` lists them.\n",
                        text);
        else if (nearest)
                fprintf(stderr,
                        "baton: there is no command %s; did you mean `baton %s`? `baton help` lists "
                        "them.\n",
                        text, nearest);
        else
                fprintf(stderr, "baton: there is no command %s. `baton help` lists them.\n", text);
        return EXIT_CODE_USAGE;
}

int command_find(int argc, char **argv, const struct command **ret_command, int *ret_words) {
        bool first_is_known = false;

        assert(argc > 0);
        assert(argv && ret_command && ret_words);

        for (size_t i = 0; i < COMMAND_COUNT; i++) {
                const char *name = commands[i]->name;
                size_t length = first_word(name);

                if (!word_is(name, length, argv[0]))
                        continue;
                if (name[length] == '\0') {
                        *ret_command = commands[i];
                        *ret_words = 1;
                        return EXIT_CODE_OK;
                }
                first_is_known = true;
                if (argc > 1 && strcmp(name + length + 1, argv[1]) == 0) {
                        *ret_command = commands[i];
                        *ret_words = 2;
                        return EXIT_CODE_OK;
                }
        }
        return first_is_known ? second_word_missing(argv[0], argc > 1 ? argv[1] : NULL)
                              : unknown_command(argv[0]);
}
