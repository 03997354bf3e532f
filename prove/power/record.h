/* SPDX-License-Identifier: Apache-2.0 */
/* One recording: a world of its own, the scenario in it under the tracer, and the tape that comes of it.
 * Must not touch: anything but that world. */
#pragma once

#include "prove/power/replay.h"
#include "prove/power/scenario.h"

/* The directory below which the world is made; NULL: $TMPDIR or /tmp. 0, or -1 after a sentence on stderr:
 * the scenario failed, or the tape does not account for what stands in the directory in the end. */
int record_variant(const struct variant *variant, const char *directory, struct tape *ret_tape);
/* The same of a recovery from a state of another tape. */
int record_recovery(const struct replay *replay, const char *directory, struct tape *ret_tape);
