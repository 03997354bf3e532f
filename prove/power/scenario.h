/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded: two sources, two workers, one destination, in several variants. And the application,
 * as it goes on after a cut.
 *
 * Must not touch: the tape; Baton, but as an operator does. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "prove/power/tape.h"
#include "prove/world/world.h"

struct variant {
        const char *name, *what;
        const char *destination;  /* lines of [destination d] */
        bool is_file;             /* it is a directory of JSON lines */
        bool has_rollback_source; /* `payments` in rollback journal mode */
        uint64_t events;          /* of each source, in each of the two parts */
        unsigned payload_bytes, transaction_events;
        uint64_t payments_per_second; /* 0: as fast as it can */
        uint64_t orders_per_second;   /* in the second part; 0: as fast as it can */
        unsigned points_percent;      /* of the points that a variant has: some are slow */
        const struct variant *after;  /* not played: recoveries from states of that one are recorded */
};

extern const struct variant variants[];
extern const size_t variant_count;
const struct variant *variant_find(const char *name); /* NULL: there is none of this name */

/* The outboxes as the world's members, without making them. */
void scenario_know(struct world *world, const struct variant *variant);
/* Outboxes and configuration, before anything is recorded. */
void scenario_prepare(struct world *world, const struct variant *variant);
void scenario_configure(struct world *world, const struct variant *variant);

/* What tracer_mark() says: from STEP_BEGIN on it is recorded, until STEP_END. */
enum scenario_step {
        STEP_BEGIN = 1,
        STEP_END,
        STEP_START,
        STEP_LOAD_AND_KILL,
        STEP_ONE_WORKER,
        STEP_TWO_WORKERS,
        STEP_LOAD,
        STEP_RECOVER,
        STEP_GO_ON,
        STEP_STOP,
};
const char *scenario_step_name(uint64_t mark);
/* The scenario itself, from STEP_BEGIN to STEP_END; fails by world_fail(). */
void scenario_play(struct world *world, const struct variant *variant);

/* The application after the cut: so many events more at each source, which are others than those that had the
 * same numbers before. Returns when they are committed. */
void scenario_go_on(struct world *world, const struct variant *variant, unsigned salt);
/* Where the checker finds the destination. */
const char *scenario_destination(const struct world *world, const struct variant *variant);
