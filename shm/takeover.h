/* SPDX-License-Identifier: Apache-2.0 */
/* The takeover (S7): EOWNERDEAD, a readable pidfd, or a hunch means only: *look*.
 * No event, no I/O, no allocation: it runs at SCHED_FIFO in every worker. */
#pragma once

#include "shm/segment.h"

struct takeover_result {
        uint32_t dead_count;  /* workers found dead and completed */
        uint32_t slots_given; /* slots that got a new owner */
        uint32_t slots_to_self;
        uint32_t quarantined; /* slots quarantined in this look */
        uint64_t span_usec;   /* from the pool mutex taken to the last slot owned */
};

/* Takes the pool's mutex, tests every worker's life, marks the dead, gives each orphan to its heir (or,
 * heir dead, by the balance function), raises epochs, sets inbox hints, rings; then completes the dead
 * entries. Idempotent; may be run by anyone, any number of times, in parallel. -ENOTRECOVERABLE: the
 * pool mutex is lost and the segment is condemned (S11). self_ref may be 0 (a joiner not yet live). */
int takeover_run(struct segment *segment, uint32_t pool_index, uint64_t self_ref,
                 struct takeover_result *ret_result);

/* The same, for a caller that holds the pool mutex already (life_enter). */
int takeover_run_locked(struct segment *segment, uint32_t pool_index, uint64_t self_ref,
                        struct takeover_result *ret_result);
