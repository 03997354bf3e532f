/* SPDX-License-Identifier: Apache-2.0 */
/* Warm sources (S8): of the sessions whose heir this worker is, the most recently active ones have their
 * source open, table checked and statements prepared before the owner dies. Nothing read while warm is
 * used (M2). Mover thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "include/baton/source.h"
#include "worker/roster.h"

struct worker;

#define WARM_COUNT 8u /* 53 KiB of heap and 3 descriptors each (source/README.md) */

struct warm_source {
        uint32_t slot_index;
        struct roster_entry *entry; /* its own; NULL: unused */
        struct source *source;
};

struct warm {
        struct warm_source sources[WARM_COUNT];
        uint64_t renew_at_usec;
        bool is_due; /* something rang since the last look */
};

/* While nothing else is to do, after a ring or a sweep, at most once a second: opens what should be warm, closes the rest. */
void warm_renew(struct worker *worker, uint64_t now_usec);
/* The open source of a slot that is ours now, if it was warm, is of the same configuration and its path
 * still leads to it; else NULL. The caller owns it. */
struct source *warm_take(struct worker *worker, uint32_t slot_index, const struct roster_entry *entry);
void warm_done(struct worker *worker);
