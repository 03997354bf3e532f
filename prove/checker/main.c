/* SPDX-License-Identifier: Apache-2.0 */
/* baton-checker: says whether a destination holds what its sources say, and exits 0 or 1.
 *
 * With --live it may run while events move: it reads the destination first, then the sources, so
 * that whatever stands at the destination must stand in the sources. Writes nothing. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prove/checker/checker.h"

static const char usage[] =
        "Usage: baton-checker --destination sqlite:FILE[:TABLE] | file:DIR\n"
        "                     --source NAME=FILE[:TABLE] … [--ledger NAME=FILE:TABLE …]\n"
        "                     [--parked EXPRESSION] [--live | --final]\n"
        "\n"
        "  --destination  what is judged; TABLE is the events table (baton_events)\n"
        "  --source       a session and its outbox (table outbox)\n"
        "  --ledger       the writer's own record of all that it committed, for a source that is cleaned\n"
        "  --parked       which events must be parked, as SQL over a source's row; then no other may be, but\n"
        "                 with files what has no JSON form (0: none)\n"
        "  --live         a prefix is enough; may run while events move\n"
        "  --final        nothing may be missing (the default)\n"
        "\n"
        "Exit: 0 all is well, 1 something is wrong, 2 it could not be judged.\n";

static struct check check = { .is_final = true };

static int add_source(char *text, bool is_ledger) {
        char *equals = strchr(text, '=');
        struct session *session;

        if (!equals || equals == text || equals[1] == '\0') {
                fprintf(stderr, "baton-checker: \"%s\" is not NAME=FILE[:TABLE]\n", text);
                return -1;
        }
        session = check_session(&check, text, (size_t) (equals - text));
        if (is_ledger)
                session->ledger = equals + 1;
        else
                session->source = equals + 1;
        return 0;
}

static int parse(int argc, char **argv) {
        static const struct option options[] = {
                { "destination", required_argument, NULL, 'd' },
                { "source", required_argument, NULL, 's' },
                { "ledger", required_argument, NULL, 'l' },
                { "parked", required_argument, NULL, 'p' },
                { "live", no_argument, NULL, 'L' },
                { "final", no_argument, NULL, 'F' },
                { "help", no_argument, NULL, 'h' },
                { NULL, 0, NULL, 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'd':
                        check.destination = optarg;
                        break;
                case 's':
                case 'l':
                        if (add_source(optarg, c == 'l') < 0)
                                return -1;
                        break;
                case 'p':
                        check.poison = optarg;
                        break;
                case 'L':
                case 'F':
                        check.is_final = c == 'F';
                        break;
                case 'h':
                        printf("%s", usage);
                        exit(0);
                default:
                        return -1;
                }
        return optind == argc && check.destination && check.session_count > 0 ? 0 : -1;
}

static int read_destination(void) {
        if (strncmp(check.destination, "sqlite:", 7) == 0) {
                check.destination += 7;
                check.form = FORM_STORED;
                return read_sqlite_destination(&check);
        }
        if (strncmp(check.destination, "file:", 5) == 0) {
                check.destination += 5;
                check.form = FORM_JSON;
                return read_file_destination(&check);
        }
        fprintf(stderr, "baton-checker: destination \"%s\" is neither sqlite: nor file:\n",
                check.destination);
        return -1;
}

int main(int argc, char **argv) {
        struct judgement judgement;
        bool good;

        check.sessions = calloc(SESSION_COUNT_MAX, sizeof(*check.sessions));
        if (!check.sessions || parse(argc, argv) < 0) {
                fprintf(stderr, "%s", usage);
                return 2;
        }
        if (read_destination() < 0)
                return 2;
        for (size_t i = 0; i < check.session_count; i++)
                if (read_source(&check, &check.sessions[i]) < 0)
                        return 2;
        good = !check.destination_is_damaged;
        for (size_t i = 0; i < check.session_count; i++) {
                good = judge(&check, &check.sessions[i], &judgement) && good;
                record_list_done(&check.sessions[i].expected);
                record_list_done(&check.sessions[i].found);
                record_list_done(&check.sessions[i].parked);
        }
        free(check.sessions);
        printf("%s\n", good ? "good" : "WRONG");
        return good ? 0 : 1;
}
