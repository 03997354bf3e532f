/* SPDX-License-Identifier: Apache-2.0 */
/* One tape, tried: its agenda made, every state on it recovered from, several at a time, and told.
 * Must not touch: anything but the worlds of its recoveries, and the tape's file where one fails. */
#pragma once

#include "prove/power/agenda.h"
#include "prove/power/scenario.h"

struct round_totals {
        size_t points, different;
        uint64_t states;
        unsigned failures;
};

struct round {
        struct agenda_options how;
        const struct variant *variant;
        struct tape *tape;
        const char *directory;       /* for recoveries where there is no tmpfs; NULL: $TMPDIR or /tmp */
        struct round_totals *totals; /* what is tried here is added */
        unsigned failures_max;       /* 0: no limit */
        uint64_t span_usec;          /* what the recording took */
        struct agenda agenda;        /* set by round_run() */
};

/* The exit code: 0 all held, 1 not, 2 there is nothing to try, 130 interrupted. */
int round_run(struct round *round);
void round_keep_tape(const struct tape *tape, const char *file);
