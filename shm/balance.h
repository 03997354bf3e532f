/* SPDX-License-Identifier: Apache-2.0 */
/* Who should own what: a pure function of (sessions, workers, assignment) (S9). Even by count, as few
 * moves as possible, sticky, the same answer for the same input. O(sessions + workers). */
#pragma once

#include <stdint.h>

#define BALANCE_NOBODY UINT32_MAX

/* owner[i] (in): the worker number 0 … worker_count-1 of session i now, or BALANCE_NOBODY.
 * owner[i] (out): the worker that should have it; BALANCE_NOBODY only if worker_count = 0.
 * heir[i] (out, may be NULL): who gets it if that one dies: a different worker, spread evenly over the
 * others for each owner; BALANCE_NOBODY if worker_count < 2.
 * Promises: max - min of sessions per worker ≤ 1; a session moves only from a worker that has more than
 * its share; idempotent. scratch: caller's, 4 × worker_count words of uint32_t (no allocation here). */
void balance(uint32_t session_count, uint32_t *owner, uint32_t *heir, uint32_t worker_count,
             uint32_t *scratch);

/* One orphan while others stay: the live worker with the fewest sessions (lowest number wins).
 * load[w] = UINT32_MAX: not live. */
uint32_t balance_one(const uint32_t *load, uint32_t worker_count);
