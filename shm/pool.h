/* SPDX-License-Identifier: Apache-2.0 */
/* The pool mutex (rank 10) with holder and since-when (S3), and what follows when it is lost (S11).
 * For shm/ itself: workers reach it through life.h, slot.h and takeover.h. */
#pragma once

#include "shm/segment.h"

/* Takes the pool's mutex. A holder that died left nothing to mend: the next look recomputes it all (S7).
 * 0; -ENOTRECOVERABLE: lost, or the segment is condemned already; not taken. */
int pool_lock(struct segment *segment, uint32_t pool_index, uint64_t self_ref);
void pool_unlock(struct segment *segment, uint32_t pool_index);

/* Membership changed: +1 and wake everyone who waits for it. */
void pool_announce(struct segment *segment, uint32_t pool_index);

/* Says, for ever, that no lock of this segment is to be trusted (S11), and wakes everyone to see it. */
void segment_condemn(struct segment *segment);
bool segment_is_condemned(const struct segment *segment);
