/* SPDX-License-Identifier: Apache-2.0 */
/* The segment file: made whole before it is seen, checked before it is believed.
 * Must not touch: slots' content (slot.h), anything of an event. Logs nothing. */
#pragma once

#include <stdbool.h>

#include "base/failure.h"
#include "shm/layout.h"

#define SEGMENT_FILE_NAME "segment"

struct segment {
        struct layout_header *header; /* all pointers into one mapping */
        struct layout_pool *pools;
        struct layout_worker *workers;
        struct layout_slot *slots;
        struct layout_config *configs;
        struct layout_status *statuses;
        _Atomic uint64_t *inboxes;
        /* Geometry as checked at open: a later change in the header is not believed (P1). */
        uint32_t pool_count, worker_count, slot_count, inbox_words;
        size_t bytes;
        bool writable;
};

struct segment_geometry {
        uint32_t worker_count, slot_count;
}; /* pools: LAYOUT_POOL_COUNT_MAX */

/* Makes RUNTIME/segment (mode 0640): temporary file, mutexes initialised, magic last, rename over.
 * The caller holds workers.lock exclusively (S11). Private to each call; thread-safe. */
int segment_create(const char *runtime_directory, const struct segment_geometry *geometry,
                   const uint8_t instance[LAYOUT_INSTANCE_BYTES], uint64_t epoch_base,
                   struct segment **ret_segment, struct failure *ret_failure);

/* Maps an existing one. -ENOENT; -EBADMSG (no segment, or truncated, or offsets that do not add up);
 * -EPROTONOSUPPORT (another layout number, other struct or mutex size); -ESTALE (of another boot, which is asked of a
 * file on a disk alone).
 * Every offset and count is checked against the file's size before use. */
int segment_open(const char *runtime_directory, bool writable, struct segment **ret_segment,
                 struct failure *ret_failure);

/* Unmaps; NULL is accepted. Releases no mutex. */
void segment_close(struct segment *segment);
void segment_closep(struct segment **segment);
#define _cleanup_segment_ _cleanup_(segment_closep)

/* worker_ref: generation << 16 | index. */
static inline uint64_t worker_ref(uint32_t index, uint64_t generation) {
        return generation << 16 | index;
}
static inline uint32_t worker_ref_index(uint64_t ref) {
        return (uint32_t) (ref & 0xffff);
}
static inline uint64_t worker_ref_generation(uint64_t ref) {
        return ref >> 16;
}

/* How far slots were ever used, bounded: the header's word is input. */
static inline uint32_t segment_slot_used(const struct segment *segment) {
        uint32_t used = segment->header->slot_used;

        return used < segment->slot_count ? used : segment->slot_count;
}
