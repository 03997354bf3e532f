/* SPDX-License-Identifier: Apache-2.0 */
/* Many runs, several at a time, each a child process with a directory and a world of its own.
 *
 * Of each run three things may come: it returns, it fails (world_fail(), an assertion, a signal), or it
 * does not end in its time. The last is a failure too, told with `baton status` and what each thread waits
 * for. Whatever comes, nothing of a run is left: no process, no directory but that of a failure. Ctrl-C
 * ends what runs, and what ended before it counts.
 *
 * Must not touch: anything of a run but its result and its directory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prove/world/world.h"

enum fleet_outcome { FLEET_HELD, FLEET_FAILED, FLEET_HUNG };

struct fleet_result {
        enum fleet_outcome outcome;
        uint64_t span_usec;
        char message[1024];               /* of a failure: its first line is the sentence */
        char directory[WORLD_PATH_BYTES]; /* of a failure: what is kept; output and state are in it */
        char state[WORLD_PATH_BYTES], runtime[WORLD_PATH_BYTES], bin[WORLD_PATH_BYTES]; /* of its world */
};

struct fleet_options {
        const char *directory;  /* where the runs' directories are made; NULL: $TMPDIR or /tmp */
        unsigned parallel;      /* 0: twice the processors, because a run mostly waits */
        unsigned limit_seconds; /* of one run; 0: 60 */
        unsigned kept_max;      /* so many failures keep their directory; 0: 3 */
        size_t data_bytes;      /* of what a run gives back besides */
        void *context;
        /* In the child. The world has begun, and is ended by the fleet. `data` is zeroed, and shared with the
         * parent; so it may be written by any process of the run. Returning is holding; see fleet_fail(). */
        void (*run)(size_t index, struct world *world, void *data, void *context);
        /* In the parent, as each ends. False: no further run is begun. May be NULL. */
        bool (*done)(size_t index, const struct fleet_result *result, const void *data, void *context);
};

/* Runs 0 … count - 1. Returns the number of runs that did not hold, or -EINTR, or another -errno. */
int fleet_run(const struct fleet_options *options, size_t count);

/* Ends the run that this process belongs to, as world_fail() does, but without a world. */
_noreturn_ void fleet_fail(const char *format, ...) _printf_(1, 2);
