/* SPDX-License-Identifier: Apache-2.0 */
/* From what was counted to what is tried. */
#pragma once

#include "prove/crash/crash.h"

/* The points of one variant and phase. Those that leave the same world behind are tried once. */
struct trials {
        const struct variant *variant;
        enum crash_phase phase;
        uint32_t calls[LANE_COUNT], points[LANE_COUNT];
        struct point *tries;
        size_t try_count, try_capacity;
};

/* Takes the run with more calls, lane by lane. */
void counts_merge(struct run_data *most, const struct run_data *run);
void trials_make(struct trials *trials, const struct variant *variant, enum crash_phase phase,
                 const struct run_data *counts);
/* Places in the code that were tried already, by role and phase; of variants that came before. */
struct places;
struct places *places_new(void);

/* Of each call that may fail, from each place in the code, the first that a role makes, in each way (faults.c), and
 * the last, in one way of each class. Where a variant before has tried that place: a mover's first in one way of each
 * class, another role's not at all. */
void trials_make_errors(struct trials *trials, const struct variant *variant, enum crash_phase phase,
                        const struct run_data *counts, struct places *places);
void trials_done(struct trials *trials);
