/* SPDX-License-Identifier: Apache-2.0 */
/* `baton help`: what there is, and for each command what it does, when to use it and what it returns.
 * Keys of the configuration and options of URLs are printed from the tables that the parser checks
 * against (supervisor/config.h, include/baton/option.h), so the two cannot drift apart. Must not touch: anything; it prints. */
#include <stdio.h>
#include <string.h>

#include "include/baton/option.h"
#include "supervisor/cli/command.h"
#include "supervisor/config.h"

static const struct {
        int code;
        const char *meaning;
} exit_codes[] = {
        { EXIT_CODE_OK, "done; nothing to say against it" },
        { EXIT_CODE_FAILED, "it did not work; the sentence on stderr says what, where, why and what to do" },
        { EXIT_CODE_USAGE, "the command line was not understood; nothing was tried" },
        { EXIT_CODE_NOT_RUNNING, "no supervisor is running there, or there is no segment" },
        { EXIT_CODE_ATTENTION,
          "status: a session is stopped or stalled, the supervisor does not answer, or the segment is condemned" },
        { EXIT_CODE_DIFFERENT, "verify: source and destination differ, or it is behind" },
};
static_assert(ELEMENTSOF(exit_codes) == EXIT_CODE_COUNT, "each exit code is explained");

static void print_exit_codes(void) {
        puts("\nExit codes:");
        for (size_t i = 0; i < ELEMENTSOF(exit_codes); i++)
                printf("  %d  %s\n", exit_codes[i].code, exit_codes[i].meaning);
}

void help_print_all(void) {
        puts("baton moves events from outboxes to destinations, each once and in order, whatever dies.\n"
             "\n"
             "Usage: baton COMMAND [OPTIONS] [ARGUMENTS]\n"
             "\n"
             "Commands:");
        for (size_t i = 0; commands[i]; i++)
                printf("  %-14s %s\n", commands[i]->name, commands[i]->summary);
        puts("  help           `baton help COMMAND` explains one of them\n"
             "\n"
             "A first time: `baton demo` shows it at work. Then: `baton outbox create FILE`, write a\n"
             "configuration (`baton help check` shows one), `baton check -c FILE`, `baton run -c FILE`,\n"
             "and in another terminal `baton status`.");
        print_exit_codes();
}

static void print_schemes(const char *title, const struct scheme *const *schemes) {
        for (; *schemes; schemes++) {
                printf("\n%s %s%s%s, for example %s\n", title, (*schemes)->name,
                       (*schemes)->guarantee ? ": " : "", (*schemes)->guarantee ? (*schemes)->guarantee : "",
                       (*schemes)->example);
                for (const struct scheme_option *option = (*schemes)->options; option && option->key;
                     option++) {
                        printf("  %-12s %s", option->key, option->help);
                        if (option->default_text)
                                printf(" (default %s)", option->default_text);
                        for (size_t i = 0; option->choices && option->choices[i]; i++)
                                printf("%s%s", i == 0 ? "; one of " : ", ", option->choices[i]);
                        puts("");
                }
        }
}

static void print_config_keys(void) {
        for (size_t section = 0; section < CONFIG_SECTION_COUNT; section++) {
                printf("\nSection [%s%s]\n", config_section_names[section],
                       section == CONFIG_BATON ? "" : " NAME");
                for (const struct config_key *key = config_keys[section]; key->key; key++) {
                        printf("  %-14s %s", key->key, key->help);
                        if (key->range_text)
                                printf("; %s", key->range_text);
                        printf(" (%s%s)\n", key->default_text ? "default " : "must be given",
                               key->default_text ? key->default_text : "");
                }
        }
}

void help_print_command(const struct command *command) {
        assert(command);

        printf("Usage: baton %s%s", command->name, command->options ? " [OPTIONS]" : "");
        printf("%s%s\n\n%s.\n\n%s\n", command->arguments[0] ? " " : "", command->arguments, command->summary,
               command->text);
        puts("\nOptions:");
        for (size_t key = 0; key < CLI_OPTION_COUNT; key++) {
                const struct cli_option *option = &cli_options[key];
                char letter[8] = "    ", left[32];

                if (key != CLI_HELP && (command->options & 1u << key) == 0)
                        continue;
                if (option->letter)
                        (void) snprintf(letter, sizeof(letter), "-%c, ", option->letter);
                (void) snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument ? " " : "",
                                option->argument ? option->argument : "");
                printf("  %s%-16s %s\n", letter, left, option->help);
        }
        if (strcmp(command->name, "check") == 0) {
                print_config_keys();
                print_schemes("Source", source_schemes);
                print_schemes("Destination", destination_schemes);
        }
        print_exit_codes();
}
