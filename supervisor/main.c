/* SPDX-License-Identifier: Apache-2.0 */
/* batond: the supervisor's command line. Exit: 0 stopped in order; 1 could not start or go on (one
 * sentence); 2 wrong usage. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/version.h"
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
        "      --clear         ends the workers that a supervisor has left behind (ExecStopPost= of the unit)\n"
        "      --probe         says whether this binary could go on where another runs (baton upgrade)\n"
        "      --version       the version\n";

struct arguments {
        const char *config, *state, *runtime;
        bool clears, probes;
};

/* -1: go on; else the exit code. */
static int arguments_parse(int argc, char **argv, struct arguments *ret_arguments) {
        enum { OPTION_STATE = 256, OPTION_RUNTIME, OPTION_CLEAR, OPTION_PROBE, OPTION_VERSION };
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "state", required_argument, NULL, OPTION_STATE },
                { "runtime", required_argument, NULL, OPTION_RUNTIME },
                { "clear", no_argument, NULL, OPTION_CLEAR },
                { "probe", no_argument, NULL, OPTION_PROBE },
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
                case OPTION_CLEAR:
                        ret_arguments->clears = true;
                        break;
                case OPTION_PROBE:
                        ret_arguments->probes = true;
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

/* On failure *ret_told_as is set where its kind is known better than SUPERVISOR_FAILED. */
static int serve(const struct directories *directories, const char *config, enum message_kind *ret_told_as,
                 struct failure *ret_failure) {
        _cleanup_(manager_freep) struct manager *manager = NULL;
        bool is_upgrade = getenv(UPGRADE_ENVIRONMENT) != NULL;
        int r;

        if (!is_upgrade)
                starts_begin(directories);
        (void) unsetenv(UPGRADE_ENVIRONMENT); /* workers are not to have it */
        r = manager_new(directories, config, &manager, ret_failure);
        if (r >= 0)
                manager->upgrading = is_upgrade;
        if (r >= 0)
                r = manager_start(manager, ret_failure);
        if (r >= 0)
                r = manager_run(manager, ret_failure);
        if (r >= 0)
                starts_end(directories);
        else if (manager && !manager->config) /* manager_start() reads it first, or has given it up */
                *ret_told_as = MESSAGE_CONFIGURATION_REFUSED;
        return r;
}

int main(int argc, char **argv) {
        struct arguments arguments = { .config = CONFIG_FILE_DEFAULT };
        struct directories directories;
        enum message_kind told_as = MESSAGE_SUPERVISOR_FAILED;
        struct failure failure = {};
        int r;

        log_init("batond");
        r = arguments_parse(argc, argv, &arguments);
        if (r >= 0)
                return r;
        r = directories_resolve(arguments.state, arguments.runtime, &directories, &failure);
        if (r >= 0 && arguments.probes)
                r = upgrade_probe(&directories, arguments.config, &failure);
        else if (r >= 0 && !arguments.clears)
                r = serve(&directories, arguments.config, &told_as, &failure);
        else if (r >= 0 && clear_is_wanted(getenv("SERVICE_RESULT")))
                r = clear_run(&directories, &failure);
        if (r < 0)
                log_line(told_as, LOG_ERR, NULL, "%s", failure.text);
        log_finish();
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
