/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong without anybody asking: a report of a sanitizer in any process of the world, also in one that
 * was killed later, and a worker or batond that died of its own fault where the test caused none.
 *
 * Sanitizers write into files of the world's directory (log_path), because the output of a process that is
 * started by another is read by nobody. world_end() asks, so that no test can forget it.
 * Must not touch: what the caller's own *_OPTIONS say besides. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "prove/world/world.h"

/* In the words in which the supervisor logs it. */
static const struct {
        int number;
        const char *words;
} fault_signals[] = { { SIGSEGV, "was killed by SIGSEGV" }, { SIGBUS, "was killed by SIGBUS" },
                      { SIGILL, "was killed by SIGILL" },   { SIGFPE, "was killed by SIGFPE" },
                      { SIGABRT, "was killed by SIGABRT" }, { SIGSYS, "was killed by SIGSYS" } };

static bool fault_is_expected; /* of this world: a process has one at a time */

/* A fault kills, as it does in service, and is found below: tests send such signals, and a runtime that takes
 * one for its own would report it. */
#define NO_HANDLERS "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:handle_abort=0"

void reports_begin(const struct world *world) {
        static const char *const names[] = { "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS",
                                             "UBSAN_OPTIONS" };
        static char *inherited[ELEMENTSOF(names)]; /* the first world's: a later one replaces the path */
        char text[4096];

        fault_is_expected = false;
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const char *now = getenv(names[i]);

                if (!inherited[i] && !(inherited[i] = strdup(now ? now : "")))
                        abort();
                (void) snprintf(text, sizeof(text), "%s:" NO_HANDLERS ":log_path=%s/report", inherited[i],
                                world->directory);
                (void) setenv(names[i], text, 1);
        }
}

void reports_expect_fault(int signal_number) {
        for (size_t i = 0; i < ELEMENTSOF(fault_signals); i++)
                if (signal_number == fault_signals[i].number)
                        fault_is_expected = true;
}

/* ---- files ------------------------------------------------------------------------------------------ */
/* Calls `line_is_seen` with each line of the matching files; true if one of them was true. */
static bool any_line(const struct world *world, const char *pattern, bool (*line_is_seen)(const char *line)) {
        _cleanup_free_ char *line = NULL;
        char path[WORLD_PATH_BYTES * 2];
        size_t capacity = 0;
        bool found = false;
        glob_t files;

        (void) snprintf(path, sizeof(path), "%s/%s", world->directory, pattern);
        if (glob(path, 0, NULL, &files) != 0)
                return false;
        for (size_t i = 0; i < files.gl_pathc; i++) {
                FILE *file = fopen(files.gl_pathv[i], "re");

                while (file && getline(&line, &capacity, file) > 0)
                        found = line_is_seen(line) || found;
                if (file)
                        (void) fclose(file);
        }
        globfree(&files);
        return found;
}

/* A sanitizer that has no memory to give says so, too: that is the test's own doing. */
static bool print_report(const char *line) {
        if (strstr(line, "failed to allocate"))
                return false;
        fputs(line, stderr);
        return true;
}

/* gcc's undefined-behaviour runtime, beside that for addresses, writes to stderr whatever it is told. */
#define UNDEFINED ": runtime error: "

static bool print_undefined(const char *line) {
        if (!strstr(line, UNDEFINED))
                return false;
        fputs(line, stderr);
        return true;
}

static bool print_fault(const char *line) {
        for (size_t i = 0; i < ELEMENTSOF(fault_signals); i++)
                if (strstr(line, fault_signals[i].words)) {
                        fputs(line, stderr);
                        return true;
                }
        return false;
}

/* ---- at the end --------------------------------------------------------------------------------------- */
static bool supervisor_died_of_fault(const struct world *world) {
        siginfo_t info = { 0 };

        if (world->batond <= 0 ||
            waitid(P_PID, (id_t) world->batond, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0 ||
            info.si_code == CLD_EXITED)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(fault_signals); i++)
                if (info.si_status == fault_signals[i].number) {
                        fprintf(stderr, "---- batond %s\n", fault_signals[i].words);
                        return true;
                }
        return false;
}

void reports_keep(const struct world *world, const char *path) {
        static unsigned count;
        char kept[WORLD_PATH_BYTES * 2];

        if (!strstr(world->output, UNDEFINED))
                return;
        (void) snprintf(kept, sizeof(kept), "%s/report.output-%u", world->directory, count++);
        (void) rename(path, kept);
}

bool reports_of_faults(const struct world *world) {
        if (fault_is_expected)
                return false;
        return any_line(world, "batond-*.log", print_fault) || supervisor_died_of_fault(world);
}

bool reports_of_sanitizers(const struct world *world) {
        bool in_log = any_line(world, "*.log", print_undefined);

        return any_line(world, "report.*", print_report) || in_log;
}
