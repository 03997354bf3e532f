/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-off queue between the threads of a worker. Touches no shared memory. */
#include "worker/handoff.h"

#include <errno.h>
#include <stdlib.h>

#include "base/macro.h"

int handoff_init(struct handoff *handoff, uint32_t slot_count) {
        assert(handoff);
        assert(slot_count > 0);

        handoff->nodes = calloc(slot_count, sizeof(handoff->nodes[0]));
        if (!handoff->nodes)
                return -ENOMEM;
        handoff->slot_count = slot_count;
        cds_wfcq_init(&handoff->head, &handoff->tail);
        return 0;
}

void handoff_done(struct handoff *handoff) {
        if (!handoff->nodes)
                return;
        cds_wfcq_destroy(&handoff->head, &handoff->tail);
        free(TAKE(handoff->nodes));
}

void handoff_put(struct handoff *handoff, uint32_t slot_index) {
        struct handoff_node *node;

        assert(handoff->nodes);
        assert(slot_index < handoff->slot_count);

        node = &handoff->nodes[slot_index];
        /* Queued already: the mover clears the flag before it looks, so it will see what we saw. */
        if (atomic_exchange(&node->is_queued, 1))
                return;
        cds_wfcq_node_init(&node->node);
        (void) cds_wfcq_enqueue(&handoff->head, &handoff->tail, &node->node);
}

int handoff_take(struct handoff *handoff, uint32_t *ret_slot_index) {
        struct cds_wfcq_node *taken;
        struct handoff_node *node;

        assert(handoff->nodes);
        assert(ret_slot_index);

        taken = __cds_wfcq_dequeue_blocking(&handoff->head, &handoff->tail);
        if (!taken)
                return -ENOENT;
        node = caa_container_of(taken, struct handoff_node, node);
        atomic_store(&node->is_queued, 0);
        *ret_slot_index = (uint32_t) (node - handoff->nodes);
        return 0;
}
