/* SPDX-License-Identifier: Apache-2.0 */
/* `baton verify`: source against destination, by SQL and code of its own; the destination is read first,
 * so that it works while events are moved. Must not touch: a byte of either. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/command.h"
#include "supervisor/cli/format.h"
#include "supervisor/cli/verify.h"
#include "supervisor/config.h"

static int parse(const char *text, const struct scheme *const *schemes, struct url *ret_url,
                 const struct scheme **ret_scheme, struct failure *ret_failure) {
        int r;

        r = url_parse(text, ret_url, ret_failure);
        if (r < 0)
                return r;
        return option_check(schemes, ret_url, ret_scheme, ret_failure);
}

/* A session's durable name is its source's: that is what stands at the destination.
 *
 * A database is compared with what the journals saw durable there, too: an older copy of it agrees with the
 * source up to its own checkpoint. A journal that cannot be read hides nothing of the rest. */
static int verify_session(const struct config *config, const struct config_session *session,
                          const char *state_directory, struct verify_result *ret_result,
                          struct failure *ret_failure) {
        const struct config_destination *destination = &config->destinations[session->destination];
        const struct config_source *from = &config->sources[session->source];
        const struct scheme *source_scheme, *destination_scheme;
        struct url source_url, destination_url;
        struct verify_source *source = NULL;
        struct verify_memory memory;
        int r;

        r = parse(from->url, source_schemes, &source_url, &source_scheme, ret_failure);
        if (r >= 0)
                r = parse(destination->url, destination_schemes, &destination_url, &destination_scheme,
                          ret_failure);
        if (r >= 0)
                r = verify_source_open(&source_url, source_scheme, &source, ret_failure);
        if (r < 0)
                return r;
        if (strcmp(destination_url.scheme, "file") == 0)
                r = verify_file(&destination_url, destination->name, state_directory, from->name, source,
                                ret_result, ret_failure);
        else {
                verify_memory_read(state_directory, destination->name, from->name, &memory);
                r = verify_sqlite(&destination_url, destination_scheme, from->name, source, ret_result,
                                  ret_failure);
                if (r >= 0)
                        verify_memory_compare(&memory, ret_result);
        }
        verify_source_close(source);
        return r;
}

static void print_finding(const char *what, const struct verify_finding *finding) {
        size_t shown = MIN_OF(finding->count, (uint64_t) VERIFY_EXAMPLE_COUNT);
        char count[FORMAT_BYTES];

        if (finding->count == 0)
                return;
        printf("  %s %s", format_count(finding->count, count), what);
        for (size_t i = 0; i < shown && finding->examples[i] != 0; i++)
                printf("%s%" PRIu64, i == 0 ? ": position " : ", ", finding->examples[i]);
        puts(finding->count > shown ? ", …" : "");
}

static void print_behind(const char *name, const struct verify_result *result) {
        char a[FORMAT_BYTES], b[FORMAT_BYTES];

        printf("  BEHIND: the journal %s saw %s durable, the destination holds %s: it was restored from an "
               "older backup or replaced. Bring back the newer one, or run `baton adopt %s` to go on from "
               "there\n",
               result->memory.file_name, format_count(result->memory.position, a),
               format_count(result->checkpoint.position, b), name);
}

static void print_details(const char *name, const struct verify_result *result) {
        char a[FORMAT_BYTES], b[FORMAT_BYTES];

        if (result->is_behind)
                print_behind(name, result);
        if (result->memory.failure.text[0])
                printf("  whether the destination is an older copy of itself is not known: %s\n",
                       result->memory.failure.text);

        print_finding("missing at the destination", &result->missing);
        print_finding("there more than once", &result->duplicated);
        print_finding("out of order", &result->out_of_order);
        print_finding("with another content than at the source", &result->different);
        print_finding("at the destination, and neither at the source nor within the checkpoint",
                      &result->unexpected);
        if (result->count_differs)
                printf("  the checkpoint counts %s events, the destination holds %s\n",
                       format_count(result->checkpoint.event_count, a), format_count(result->stored, b));
        if (result->digest_differs)
                printf("  the digest of what the destination holds is %016" PRIx64
                       ", the checkpoint's is %016" PRIx64 "\n",
                       result->digest_sum, result->checkpoint.digest_sum);
        if (result->cleaned > 0 && !result->digest_differs)
                printf("  %s are no longer at the source; %s\n", format_count(result->cleaned, a),
                       result->digest_is_open
                               ? "their content could not be proved: it was changed, or it had storage "
                                 "classes (a BLOB, a number as text) that JSON does not keep"
                               : "their number and digest are those of what was moved");
}

/* The worst of it last, so that codes can be compared by size. */
static int result_code(const struct verify_result *result) {
        if (!verify_result_is_clean(result))
                return EXIT_CODE_DIFFERENT;
        return result->digest_is_open ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

/* Behind comes first: what else differs may be of that. */
static const char *result_word(const struct verify_result *result) {
        if (result->is_behind)
                return "BEHIND";
        if (!verify_result_is_clean(result))
                return "DIFFERENT";
        return result->digest_is_open ? "NOT PROVED" : "the same";
}

static void result_cells(const char *name, const struct verify_result *result, struct table *table) {
        const uint64_t counts[] = {
                result->checkpoint.position, result->expected,         result->found,
                result->missing.count,       result->duplicated.count, result->out_of_order.count,
                result->parked.count,        result->different.count
        };
        char text[FORMAT_BYTES];

        table_cell(table, "%s", name);
        for (size_t i = 0; i < ELEMENTSOF(counts); i++)
                table_cell(table, "%s", format_count(counts[i], text));
        table_cell(table, "%s", result_word(result));
}

static int select_sessions(const struct invocation *invocation, const struct config *config,
                           uint32_t *ret_indexes, size_t *ret_count) {
        const char *nearest;

        for (size_t i = 0; i < invocation->argument_count; i++) {
                ret_indexes[i] = config_find_session(config, invocation->arguments[i]);
                if (ret_indexes[i] != UINT32_MAX)
                        continue;
                nearest = config_nearest_session(config, invocation->arguments[i]);
                return cli_fail(invocation, EXIT_CODE_USAGE, "the configuration has no session %s%s%s",
                                invocation->arguments[i], nearest ? "; the nearest is " : "",
                                nearest ? nearest : "");
        }
        *ret_count = invocation->argument_count;
        if (invocation->argument_count > 0)
                return EXIT_CODE_OK;
        for (uint32_t i = 0; i < config->session_count; i++)
                ret_indexes[i] = i;
        *ret_count = config->session_count;
        return EXIT_CODE_OK;
}

static bool has_details(const struct verify_result *result) {
        return !verify_result_is_clean(result) || result->cleaned > 0 || result->memory.failure.text[0];
}

static const char *const titles[] = { "SESSION",    "UP TO",        "EXPECTED", "FOUND",   "MISSING",
                                      "DUPLICATED", "OUT OF ORDER", "PARKED",   "CHANGED", "" };

/* Each session by itself: one that cannot be read does not hide the others. */
static int verify_all(const struct invocation *invocation, const struct config *config,
                      const char *state_directory, const uint32_t *indexes, size_t count) {
        struct verify_result *results = must_have(calloc(count + 1, sizeof(results[0])));
        _cleanup_table_ struct table table = { .align = "lrrrrrrrrl" };
        bool *is_read = must_have(calloc(count + 1, sizeof(bool)));
        int code = EXIT_CODE_OK;

        for (size_t i = 0; i < ELEMENTSOF(titles); i++)
                table_cell(&table, "%s", titles[i]);
        for (size_t i = 0; i < count; i++) {
                const struct config_session *session = &config->sessions[indexes[i]];
                struct failure failure = {};
                int r;

                r = verify_session(config, session, state_directory, &results[i], &failure);
                is_read[i] = r >= 0;
                if (r < 0) {
                        failure_prefix(&failure, "session %s", session->name);
                        code = MAX_OF(code,
                                      cli_fail_with(invocation,
                                                    r == -EBADMSG ? EXIT_CODE_DIFFERENT : EXIT_CODE_FAILED, r,
                                                    &failure));
                        continue;
                }
                result_cells(session->name, &results[i], &table);
                code = MAX_OF(code, result_code(&results[i]));
        }
        if (table.cell_count > ELEMENTSOF(titles))
                table_print(&table, 0, stdout);
        for (size_t i = 0; i < count; i++)
                if (is_read[i] && has_details(&results[i])) {
                        printf("%s\n", config->sessions[indexes[i]].name);
                        print_details(config->sessions[indexes[i]].name, &results[i]);
                }
        free(results);
        free(is_read);
        return code;
}

static int run(const struct invocation *invocation) {
        _cleanup_config_ struct config *config = NULL;
        _cleanup_free_ uint32_t *indexes = NULL;
        struct directories directories;
        struct failure failure = {};
        size_t count = 0;
        int r, code;

        code = cli_directories(invocation, &directories);
        if (code != EXIT_CODE_OK)
                return code;
        r = config_load(cli_config_path(invocation), &config, &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        indexes = must_have(calloc(MAX_OF((size_t) config->session_count, invocation->argument_count) + 1,
                                   sizeof(indexes[0])));
        code = select_sessions(invocation, config, indexes, &count);
        if (code != EXIT_CODE_OK)
                return code;
        return verify_all(invocation, config, directories.state, indexes, count);
}

extern const struct command command_verify;
const struct command command_verify = {
        .name = "verify",
        .arguments = "[SESSION…]",
        .summary = "Compares source and destination event by event, with SQL of its own",
        .text = "It reads the destination first and then the source, both read-only, so it may run while\n"
                "events are moved. For each session up to its checkpoint: how many events were expected\n"
                "and found, how many are missing, there twice, out of order, parked (rejected and kept), or\n"
                "changed; the first few positions of each sort are named. Where the source was cleaned,\n"
                "the number and the digest of what the destination holds are compared with those of what\n"
                "was moved; where JSON lines do not keep enough to tell, it says NOT PROVED and exits 1.\n"
                "A database that holds less than Baton's journals saw durable there is an older copy of\n"
                "itself: BEHIND. Where the journals cannot be read it says so, and compares the rest.\n"
                "Without SESSION: all of them. It reads everything, so it takes its time.",
        .options = CLI(CONFIG) | CLI(STATE),
        .argument_max = SIZE_MAX,
        .run = run,
};
