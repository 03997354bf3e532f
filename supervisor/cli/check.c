/* SPDX-License-Identifier: Apache-2.0 */
/* `baton check`: reads the configuration as batond does, then opens every source and destination
 * read-only and says what each can promise (DESIGN section 1: never "exactly once" where it is not).
 * Must not touch: anything; it makes no file and no table. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/directories.h"
#include "include/baton/destination.h"
#include "include/baton/journal.h"
#include "supervisor/cli/command.h"
#include "supervisor/cli/format.h"
#include "supervisor/cli/instance.h"
#include "supervisor/cli/unit.h"
#include "supervisor/config.h"

struct check {
        const struct config *config;
        uint8_t instance[INSTANCE_BYTES]; /* zero where Baton has not run with this state directory */
        bool *destination_works, *source_works;
        const char **guarantees;                  /* of destinations; from their schemes: constant */
        char **destination_notes, **source_notes; /* what holds only in part; NULL: nothing to say */
        unsigned wrong_count;
};

static void check_done(struct check *check) {
        for (uint32_t i = 0; check->destination_notes && i < check->config->destination_count; i++)
                free(check->destination_notes[i]);
        for (uint32_t i = 0; check->source_notes && i < check->config->source_count; i++)
                free(check->source_notes[i]);
        free(check->destination_works);
        free(check->source_works);
        free(check->guarantees);
        free(check->destination_notes);
        free(check->source_notes);
}

/* One finding: where in the configuration, what, and why not. */
static void print_wrong(struct check *check, const char *side, const char *name, const char *file,
                        uint32_t line, int r, const struct failure *failure) {
        printf("%s %s: would not work: %s (%s, line %u)\n", side, name,
               failure->text[0] ? failure->text : strerror(-r), file, line);
        check->wrong_count++;
}

static int parse(const char *text, const struct scheme *const *schemes, struct url *ret_url,
                 const struct scheme **ret_scheme, struct failure *ret_failure) {
        int r;

        r = url_parse(text, ret_url, ret_failure);
        if (r < 0)
                return r;
        return option_check(schemes, ret_url, ret_scheme, ret_failure);
}

static void check_destination(struct check *check, uint32_t index) {
        const struct config_destination *entry = &check->config->destinations[index];
        const struct destination_ops *ops;
        struct destination_config config = { .name = entry->name, .instance = check->instance };
        struct failure failure = {};
        struct url url;
        int r;

        r = parse(entry->url, destination_schemes, &url, &config.scheme, &failure);
        if (r >= 0) {
                ops = destination_ops_find(url.scheme);
                assert(ops);
                config.url = &url;
                r = ops->check(&config, &check->destination_notes[index], &failure);
        }
        if (r < 0) {
                print_wrong(check, "destination", entry->name, entry->file, entry->line, r, &failure);
                return;
        }
        check->destination_works[index] = true;
        check->guarantees[index] = config.scheme->guarantee;
        printf("destination %s: %s works, %u worker%s%s%s\n", entry->name, entry->url, entry->workers,
               entry->workers == 1 ? "" : "s", check->destination_notes[index] ? "; " : "",
               check->destination_notes[index] ? check->destination_notes[index] : "");
}

/* A journal that is damaged, or another version's, stops the sessions of its destination (J2). */
static void check_journal(struct check *check, const struct directories *directories, uint32_t index) {
        const struct config_destination *entry = &check->config->destinations[index];
        struct failure failure = {};
        char path[PATH_MAX];
        FILE *nowhere;
        int r;

        (void) snprintf(path, sizeof(path), "%s/journal/%s", directories->state, entry->name);
        if (access(path, F_OK) < 0)
                return; /* nothing was moved yet, or the state directory's own line says why */
        nowhere = fopen("/dev/null", "we"); /* its findings are for `baton journal check` */
        if (!nowhere)
                return;
        r = journal_check(path, nowhere, &failure);
        (void) fclose(nowhere);
        if (r < 0)
                print_wrong(check, "destination", entry->name, entry->file, entry->line, r, &failure);
}

static void check_state(struct check *check, const struct directories *directories) {
        struct failure failure = {};
        int r;

        r = directories_check_state(directories, &failure);
        if (r >= 0) {
                r = instance_read(directories->state, check->instance, &failure);
                if (r >= 0 || r == -ENOENT)
                        return;
        }
        printf("state directory: would not work: %s\n", failure.text[0] ? failure.text : strerror(-r));
        check->wrong_count++;
}

static void check_source(struct check *check, uint32_t index) {
        const struct config_source *entry = &check->config->sources[index];
        const struct source_ops *ops;
        struct source_config config = { .name = entry->name };
        struct failure failure = {};
        struct url url;
        int r;

        r = parse(entry->url, source_schemes, &url, &config.scheme, &failure);
        if (r >= 0) {
                ops = source_ops_find(url.scheme);
                assert(ops);
                config.url = &url;
                r = ops->check(&config, &check->source_notes[index], &failure);
        }
        if (r < 0) {
                print_wrong(check, "source", entry->name, entry->file, entry->line, r, &failure);
                return;
        }
        check->source_works[index] = true;
        printf("source %s: %s works\n", entry->name, entry->url);
}

/* What a session promises is what its destination can, less what its source says. */
static void print_session(const struct check *check, const struct config_session *session) {
        const char *note = check->source_notes[session->source];

        printf("session %s: %s to %s: ", session->name, check->config->sources[session->source].name,
               check->config->destinations[session->destination].name);
        if (!check->source_works[session->source])
                puts("its source would not work");
        else if (!check->destination_works[session->destination])
                puts("its destination would not work");
        else if (note)
                puts(note);
        else
                puts(check->guarantees[session->destination] ? check->guarantees[session->destination]
                                                             : "no guarantee is known");
}

static void check_everything(struct check *check, const struct directories *directories) {
        const struct config *config = check->config;

        check_state(check, directories);

        check->destination_works = must_have(calloc(config->destination_count + 1, sizeof(bool)));
        check->source_works = must_have(calloc(config->source_count + 1, sizeof(bool)));
        check->guarantees = must_have(calloc(config->destination_count + 1, sizeof(check->guarantees[0])));
        check->destination_notes = must_have(calloc(config->destination_count + 1, sizeof(char *)));
        check->source_notes = must_have(calloc(config->source_count + 1, sizeof(char *)));
        for (uint32_t i = 0; i < config->destination_count; i++) {
                check_destination(check, i);
                check_journal(check, directories, i);
        }
        for (uint32_t i = 0; i < config->source_count; i++)
                check_source(check, i);
        for (uint32_t i = 0; i < config->session_count; i++)
                print_session(check, &config->sessions[i]);
}

static int grants_print(const struct invocation *invocation, const struct config *config) {
        _cleanup_free_ struct unit_place *places = NULL;
        struct failure failure = {};
        size_t count;
        int r;

        r = unit_places(config, UNIT_STATE, &places, &count, &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        (void) unit_print_grants(places, count);
        return EXIT_CODE_OK;
}

static int run(const struct invocation *invocation) {
        _cleanup_config_ struct config *config = NULL;
        _cleanup_(check_done) struct check check = {};
        struct directories directories;
        struct failure failure = {};
        int r, code;

        code = cli_directories(invocation, &directories);
        if (code != EXIT_CODE_OK)
                return code;
        r = config_load(cli_config_path(invocation), &config, &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        if (invocation->values[CLI_UNIT])
                return grants_print(invocation, config);
        check.config = config;
        check_everything(&check, &directories);
        if (config->session_count == 0)
                printf("%s names no source: there is nothing to move\n", cli_config_path(invocation));
        if (check.wrong_count > 0)
                return cli_fail(invocation, EXIT_CODE_FAILED,
                                "%u thing%s would not work; each is named above, with what to do",
                                check.wrong_count, check.wrong_count == 1 ? "" : "s");
        return EXIT_CODE_OK;
}

extern const struct command command_check;
const struct command command_check = {
        .name = "check",
        .arguments = "",
        .summary =
                "Says whether a configuration would work, and what each session can promise; makes nothing",
        .text = "It reads the configuration exactly as `baton run` does, opens every source and every\n"
                "destination read-only, and prints one line for each: whether it works, or what is in the\n"
                "way. Each session's line says what is promised: exactly-once, or in words what is not. The\n"
                "state directory and the journals in it are looked at, too. With --unit it prints, instead,\n"
                "the drop-in and the commands that let the service have the files (`sh` runs them as they\n"
                "stand; as root, only what is missing is printed). A complete configuration\n"
                "(files FILE.d/*.conf are read after FILE):\n"
                "  [destination events]\n"
                "  url = sqlite:/var/lib/baton/events.db\n"
                "  workers = 2\n"
                "\n"
                "  [source orders]\n"
                "  url = sqlite:/srv/shop/orders.db?table=outbox\n"
                "  to  = events",
        .options = CLI(CONFIG) | CLI(STATE) | CLI(UNIT),
        .run = run,
};
