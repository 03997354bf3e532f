/* SPDX-License-Identifier: Apache-2.0 */
/* Which points of a tape, and which states of each point, are tried.
 * Must not touch: files. */
#pragma once

#include <stdio.h>

#include "prove/power/disk.h"

struct agenda_options {
        enum disk_blindness blindness;
        uint64_t seed;
        uint64_t states;                  /* of each point, the extremes among them */
        size_t points;                    /* at most; 0: all */
        uint64_t only_moment, only_state; /* UINT64_MAX: any */
};

struct agenda_state {
        uint64_t moment, number;
};

struct agenda {
        size_t op_count, data_count, name_count, sync_count; /* recorded after the beginning */
        size_t point_count, tried_point_count;
        uint64_t state_count;        /* of the points that are tried, equal ones too */
        struct agenda_state *states; /* each different directory once, in the order of the tape */
        size_t count, capacity;
};

void agenda_make(const struct tape *tape, const struct agenda_options *options, struct agenda *ret_agenda);
void agenda_done(struct agenda *agenda);

/* Each operation of a tape, a line: the moments of its entry and return, whose it is, what it did. */
void agenda_list(const struct tape *tape, FILE *file);
