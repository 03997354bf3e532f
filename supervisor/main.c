/* SPDX-License-Identifier: Apache-2.0 */
/* batond: the supervisor's command line. Exit: 0 stopped in order; 1 could not start or go on (one
 * sentence); 2 wrong usage. */
#include <getopt.h>
#include <stdio.h>

#include "base/log.h"
#include "supervisor/control.h"
#include "supervisor/manager.h"

#define EXIT_USAGE 2

static const char help_text[] =
        "batond [-c FILE] [--state DIR] [--runtime DIR] [-v]\n"
        "\n"
        "Baton's supervisor: starts, watches and balances workers; never touches an event.\n"
        "It runs in the foreground; SIGTERM drains and ends it, SIGHUP reads the configuration anew.\n"
        "\n"
        "  -c, --config FILE   configuration (default " CONFIG_FILE_DEFAULT "; drop-ins in FILE.d)\n"
        "      --state DIR     state directory (default $STATE_DIRECTORY, else /var/lib/baton)\n"
        "      --runtime DIR   runtime directory (default $RUNTIME_DIRECTORY, else /run/baton)\n"
        "  -v, --verbose       tell also when a session begins to move and falls idle\n"
        "  -h, --help          this text\n"
        "      --version       the version\n";

struct arguments {
        const char *config, *state, *runtime;
};

/* -1: go on; else the exit code. */
static int arguments_parse(int argc, char **argv, struct arguments *ret_arguments) {
        enum { OPTION_STATE = 256, OPTION_RUNTIME, OPTION_VERSION };
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "state", required_argument, NULL, OPTION_STATE },
                { "runtime", required_argument, NULL, OPTION_RUNTIME },
                { "verbose", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, OPTION_VERSION },
                {},
        };
        int option;

        while ((option = getopt_long(argc, argv, "c:vh", options, NULL)) != -1)
                switch (option) {
                case 'c':
                        ret_arguments->config = optarg;
                        break;
                case OPTION_STATE:
                        ret_arguments->state = optarg;
                        break;
                case OPTION_RUNTIME:
                        ret_arguments->runtime = optarg;
                        break;
                case 'v':
                        log_level(LOG_DEBUG);
                        break;
                case 'h':
                        (void) fputs(help_text, stdout);
                        return EXIT_SUCCESS;
                case OPTION_VERSION:
                        (void) puts("batond " BATON_VERSION);
                        return EXIT_SUCCESS;
                default:
                        (void) fputs("batond --help shows the options\n", stderr);
                        return EXIT_USAGE;
                }
        if (optind < argc) {
                (void) fprintf(stderr, "batond takes no argument \"%s\"; batond --help shows the options\n",
                               argv[optind]);
                return EXIT_USAGE;
        }
        return -1;
}

int main(int argc, char **argv) {
        struct arguments arguments = { .config = CONFIG_FILE_DEFAULT };
        _cleanup_(manager_freep) struct manager *manager = NULL;
        struct directories directories;
        struct failure failure = {};
        int r;

        log_init("batond");
        r = arguments_parse(argc, argv, &arguments);
        if (r >= 0)
                return r;
        r = directories_resolve(arguments.state, arguments.runtime, &directories, &failure);
        if (r >= 0)
                r = manager_new(&directories, arguments.config, &manager, &failure);
        if (r >= 0)
                r = manager_start(manager, &failure);
        if (r >= 0)
                r = manager_run(manager, &failure);
        if (r < 0) {
                log_line(LOG_ERR, NULL, "%s", failure.text);
                return EXIT_FAILURE;
        }
        return EXIT_SUCCESS;
}
