/* SPDX-License-Identifier: Apache-2.0 */
/* Coverage that survives SIGKILL: linked into every program of a build with COVERAGE=1.
 *
 * gcov counts in memory and writes files when a process exits; most processes of these tests are killed, or leave by
 * _exit(). So the counters of a program, which counters.ld puts into pages of their own, are replaced at its
 * start by a shared mapping of one file: what any process of it counted stands there whatever became of it,
 * and nothing is written at an exit. At the end report.sh starts each program once more with
 * BATON_COVERAGE_DUMP set: then, and only then, gcov writes its own files from those counters.
 * Counters are added to by locked instructions (-fprofile-update=atomic), so processes do not disturb each other.
 *
 * Must not touch: anything that the program could notice but one mapping. No descriptor stays open. */
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef COUNTERS_DIRECTORY
#define COUNTERS_DIRECTORY "counters" /* the Makefile says where */
#endif

extern char counters_begin[], counters_end[]; /* counters.ld */
void __gcov_dump(void);                       /* NOLINT(bugprone-reserved-identifier): gcc's names */
void __wrap___gcov_exit(void);                /* NOLINT(bugprone-reserved-identifier) */

/* In place of gcov's own, which every object calls at exit. */
void __wrap___gcov_exit(void) { /* NOLINT(bugprone-reserved-identifier) */
}

/* COUNTERS_DIRECTORY/PATH!OF!THE!PROGRAM; -1: it cannot be named. */
static int counters_open(void) {
        char program[PATH_MAX], path[2 * PATH_MAX];
        ssize_t bytes = readlink("/proc/self/exe", program, sizeof program - 1);

        if (bytes <= 0)
                return -1;
        program[bytes] = '\0';
        for (char *c = program; (c = strchr(c, '/'));)
                *c = '!';
        (void) snprintf(path, sizeof path, "%s/%s", COUNTERS_DIRECTORY, program);
        return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
}

/* Again, where it fails: `make errors` may have meant a mapping of the product. */
static bool counters_map(int fd, size_t bytes) {
        for (unsigned attempt = 0; attempt < 3; attempt++)
                if (mmap(counters_begin, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) !=
                    MAP_FAILED)
                        return true;
        return false;
}

/* First of all constructors, so that what the others count is not lost. A process that may not write there
 * (another user's) counts for itself and is not seen. */
__attribute__((constructor(101))) static void counters_share(void) {
        size_t bytes = (size_t) (counters_end - counters_begin);
        int fd = counters_open();

        if (fd < 0)
                return;
        if (ftruncate(fd, (off_t) bytes) == 0 && bytes > 0 && !counters_map(fd, bytes))
                abort(); /* a half-replaced range would be neither */
        (void) close(fd);
        if (getenv("BATON_COVERAGE_DUMP")) {
                __gcov_dump();
                _exit(0);
        }
}
