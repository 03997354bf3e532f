/* SPDX-License-Identifier: Apache-2.0 */
/* Doorbells and inboxes (S12): a ring says "look", an inbox bit says where. Both are hints: a lost one
 * costs a safety poll, never correctness. */
#pragma once

#include "shm/segment.h"

/* +1 and wake all waiters of that worker's doorbell. Bad index or dead worker: nothing happens. */
void doorbell_ring(struct segment *segment, uint64_t ref);
/* Sets the hint for a slot in a worker's inbox; does not ring. */
void inbox_put(struct segment *segment, uint64_t ref, uint32_t slot_index);
/* Takes all hints out: calls fn(context, slot_index) for each in rising order. Returns the count. */
uint32_t inbox_drain(struct segment *segment, uint64_t self_ref,
                     void (*fn)(void *context, uint32_t slot_index), void *context);

/* Raw futex words, shared between processes. wait: 0 woken or value differs, -ETIMEDOUT. */
int futex_wait_shared(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_usec);
void futex_wake_shared(_Atomic uint32_t *word, int count);
