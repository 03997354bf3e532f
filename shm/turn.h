/* SPDX-License-Identifier: Apache-2.0 */
/* The turn at a destination with one writer: movers of a pool queue here instead of in the
 * destination's busy handler, and alternate. A holder that dies frees it at once (robust); nothing
 * under it needs mending. */
#pragma once

#include "shm/segment.h"

/* Waits until the turn is ours, in slices of at most 100 ms so that pulse(context) can answer pings;
 * pulse true → -ECANCELED. -ENOTRECOVERABLE: condemned. Mover thread only. */
int turn_take(struct segment *segment, uint32_t pool_index, uint64_t self_ref, bool (*pulse)(void *context),
              void *context);
/* Gives it back. If others wait, the next turn_take() of this thread lets one of them go first. */
void turn_give(struct segment *segment, uint32_t pool_index, uint64_t self_ref);
