/* SPDX-License-Identifier: Apache-2.0 */
/* Slots that the mover is to look at, handed to it by the takeover and control threads through
 * liburcu's wait-free queue. A slot stands in the queue at most once; nothing is allocated after
 * handoff_init(), so the takeover thread never waits for the allocator. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <urcu/wfcqueue.h>

struct handoff_node {
        struct cds_wfcq_node node;
        _Atomic uint32_t is_queued;
};

struct handoff {
        struct cds_wfcq_head head;
        struct cds_wfcq_tail tail;
        struct handoff_node *nodes; /* one for each slot; its index is the slot's */
        uint32_t slot_count;
};

int handoff_init(struct handoff *handoff, uint32_t slot_count);
void handoff_done(struct handoff *handoff);
/* Any thread; wait-free. Does not wake the mover: the caller does, once, after the last. */
void handoff_put(struct handoff *handoff, uint32_t slot_index);
/* The mover alone. 0 and *ret_slot_index; -ENOENT: empty. The slot may be put again from now on. */
int handoff_take(struct handoff *handoff, uint32_t *ret_slot_index);
