/* SPDX-License-Identifier: Apache-2.0 */
/* `baton doctor`: everything that the service needs of this machine, each with what was found and what to do. Must not
 * touch: anything; it reads. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/command.h"
#include "supervisor/cli/doctor.h"
#include "supervisor/config.h"

/* ---- lines ---------------------------------------------------------------------------------------------- */
static void line_print(const char *verdict, const char *what, const char *advice, const char *format,
                       va_list arguments) {
        printf("%-4s %-22s ", verdict, what);
        (void) vprintf(format, arguments);
        putchar('\n');
        if (advice)
                printf("     %-22s %s\n", "", advice);
}

void doctor_ok(struct doctor *doctor, const char *what, const char *format, ...) {
        va_list arguments;

        (void) doctor;
        va_start(arguments, format);
        line_print("ok", what, NULL, format, arguments);
        va_end(arguments);
}

void doctor_bad(struct doctor *doctor, const char *what, const char *advice, const char *format, ...) {
        va_list arguments;

        doctor->bad_count++;
        va_start(arguments, format);
        line_print("bad", what, advice, format, arguments);
        va_end(arguments);
}

void doctor_unknown(struct doctor *doctor, const char *what, const char *advice, const char *format, ...) {
        va_list arguments;

        doctor->unknown_count++;
        va_start(arguments, format);
        line_print("?", what, advice, format, arguments);
        va_end(arguments);
}

void doctor_nothing_runs(struct doctor *doctor, const char *what, const char *found) {
        if (doctor->is_hidden)
                doctor_unknown(doctor, what, "do what is said of the segment, above",
                               "the segment cannot be read, so it is not known who runs");
        else
                doctor_unknown(doctor, what, "start the service: `systemctl start baton`", "%s", found);
}

/* ---- the command ------------------------------------------------------------------------------------------ */
static void look_configuration(struct doctor *doctor, const char *path, struct config **ret_config) {
        struct failure failure = {};

        if (config_load(path, ret_config, &failure) < 0) {
                doctor_bad(doctor, "configuration", "`baton check` says what else would not work", "%s",
                           failure.text);
                return;
        }
        doctor->config = *ret_config;
        doctor_ok(doctor, "configuration", "%s: %u sources, %u destinations, %u sessions", path,
                  doctor->config->source_count, doctor->config->destination_count,
                  doctor->config->session_count);
}

static void look_segment(struct doctor *doctor) {
        _cleanup_segment_ struct segment *segment = NULL;
        struct failure failure = {};
        int r;

        r = segment_open(doctor->directories.runtime, false, &segment, &failure);
        doctor->is_hidden = r < 0 && r != -ENOENT;
        if (r >= 0)
                view_read(segment, &doctor->view);
        else if (doctor->is_hidden)
                doctor_unknown(doctor, "segment",
                               r == -EACCES ? "run doctor as root, or as the user that Baton runs as"
                                            : "`baton status` says more",
                               "%s", failure.text);
        (void) view_read_waits(doctor->directories.runtime, &doctor->view);
}

static int run(const struct invocation *invocation) {
        static void (*const looks[])(struct doctor * doctor) = {
                doctor_look_kernel,     doctor_look_clock,   doctor_look_directories,
                doctor_look_locks,      doctor_look_places,  doctor_look_supervisor,
                doctor_look_priorities, doctor_look_sandbox, doctor_look_landlock,
                doctor_look_cores,      doctor_look_bus,     doctor_look_credentials,
        };
        _cleanup_config_ struct config *config = NULL;
        struct doctor doctor = {};
        int code;

        code = cli_directories(invocation, &doctor.directories);
        if (code != EXIT_CODE_OK)
                return code;
        doctor.config_path = cli_config_path(invocation);
        look_configuration(&doctor, doctor.config_path, &config);
        look_segment(&doctor);
        for (size_t i = 0; i < ELEMENTSOF(looks); i++)
                looks[i](&doctor);
        view_done(&doctor.view);
        if (doctor.bad_count + doctor.unknown_count == 0) {
                puts("all is well");
                return EXIT_CODE_OK;
        }
        printf("%u bad, %u unknown: each says what to do\n", doctor.bad_count, doctor.unknown_count);
        return doctor.bad_count > 0 ? EXIT_CODE_ATTENTION : EXIT_CODE_FAILED;
}

extern const struct command command_doctor;
const struct command command_doctor = {
        .name = "doctor",
        .arguments = "",
        .summary = "Looks at everything the service needs of this machine, and says what to do",
        .text = "One line each: ok, bad, or ? for what cannot be found out (run it as root for the most).\n"
                "It looks at the kernel, the clock, directories, lock files, the service's rights on every\n"
                "source and destination, the watchdog, scheduling priorities, the confinement of workers,\n"
                "core dumps, the name on the system bus, and credentials. It exits with 0 only if all is\n"
                "well, with 4 if something is bad.",
        .options = CLI(CONFIG) | CLI(STATE) | CLI(RUNTIME),
        .run = run,
};
