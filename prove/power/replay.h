/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery from one state, and what it is judged by.
 * Must not touch: the tape; anything but the world that it is given. */
#pragma once

#include "prove/power/cut.h"
#include "prove/power/scenario.h"

struct replay {
        const struct tape *tape;
        const struct variant *variant;
        enum disk_blindness blindness;
        uint64_t moment, number, seed;
};

/* Makes the state in a world that has begun and is empty; the configuration too. */
void replay_build(struct world *world, const struct replay *replay);
/* In such a world, as what is recorded: from STEP_BEGIN to STEP_END Baton recovers, the application goes on, a
 * clean end. */
void replay_play(struct world *world, const struct variant *variant);
/* In a world that has begun and is empty. Fails by world_fail(). */
void replay_run(struct world *world, const struct replay *replay);
