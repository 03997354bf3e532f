/* SPDX-License-Identifier: Apache-2.0 */
/* The segment file: made whole before it is seen, checked before it is believed.
 * Must not touch: slots' content (slot.h), anything of an event. Logs nothing. */
#pragma once

#include <stdbool.h>

#include "base/failure.h"
#include "shm/layout.h"

#define SEGMENT_FILE_NAME "segment"

/* Elements of a segment are so far apart as its layout says, which may be another than this program's own (L1): they
 * are reached by segment_pool() and its like, never by C's indexing. */
struct segment_array {
        char *first;
        uint32_t stride;
};

struct segment {
        struct layout_header *header; /* all pointers into one mapping */
        struct segment_array pools, workers, slots, configs, statuses;
        _Atomic uint64_t *inboxes;
        /* As checked at open: a later change in the header is not believed (P1). */
        uint32_t layout_number;
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

/* Maps an existing one, of LAYOUT_NUMBER or of the layout before (L1). -ENOENT; -EBADMSG (no segment, or truncated, or
 * sizes that are not those of its layout, or offsets that do not add up); -EPROTONOSUPPORT (any other layout, or another
 * C library's mutexes); -ESTALE (of another boot, which is asked of a file on a disk alone).
 * Every offset and count is checked against the file's size before use. */
int segment_open(const char *runtime_directory, bool writable, struct segment **ret_segment,
                 struct failure *ret_failure);

/* The header of a segment of whatever layout: no word of it ever moves (L2), so its instance and its supervisor can be
 * read where nothing else can. 0; -ENOENT; -EBADMSG: no segment; other -errno. Everything in it is input. */
int segment_peek(const char *runtime_directory, struct layout_header *ret_header);

/* Unmaps; NULL is accepted. Releases no mutex. */
void segment_close(struct segment *segment);
void segment_closep(struct segment **segment);
#define _cleanup_segment_ _cleanup_(segment_closep)

/* The sentence of a refusal says what is wrong with the file, then, from here on, what to do. */
#define SEGMENT_ADVICE_START ". Start batond"
#define SEGMENT_ADVICE_LAYOUT ". Use the programs"

static inline void *segment_element(const struct segment_array *array, uint32_t index) {
        return array->first + (size_t) index * array->stride;
}
/* The caller has bounded the index. What lies behind the stride is the next element, or nothing: see segment_has(). */
static inline struct layout_pool *segment_pool(const struct segment *segment, uint32_t index) {
        return (struct layout_pool *) segment_element(&segment->pools, index);
}
static inline struct layout_worker *segment_worker(const struct segment *segment, uint32_t index) {
        return (struct layout_worker *) segment_element(&segment->workers, index);
}
static inline struct layout_slot *segment_slot(const struct segment *segment, uint32_t index) {
        return (struct layout_slot *) segment_element(&segment->slots, index);
}
static inline struct layout_config *segment_config(const struct segment *segment, uint32_t index) {
        return (struct layout_config *) segment_element(&segment->configs, index);
}
static inline struct layout_status *segment_status(const struct segment *segment, uint32_t index) {
        return (struct layout_status *) segment_element(&segment->statuses, index);
}

/* L4: whether this segment has the word of the element that a later layout appended: segment_has(segment->workers, worker,
 * word). Where it has not, this program does what the layout before did. */
#define segment_has(array, element, word) \
        ((array).stride >= offsetof(typeof(*(element)), word) + sizeof((element)->word))

/* In the build of the next layout: its word is used, where it is. Nothing otherwise. */
#ifdef LAYOUT_NEXT
#define LAYOUT_NEXT_TOUCH(array, element)                                  \
        do {                                                               \
                if (segment_has(array, element, next_word))                \
                        (void) atomic_fetch_add(&(element)->next_word, 1); \
        } while (0)
#else
#define LAYOUT_NEXT_TOUCH(array, element) ((void) 0)
#endif

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
