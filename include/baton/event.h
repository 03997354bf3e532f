/* SPDX-License-Identifier: Apache-2.0 */
/* An event, a batch of them, and the checkpoint up to which a session is durable.
 *
 * Everything here is plain data of one process; nothing is shared or written to disk in this shape
 * (formats on disk: include/baton/journal.h, and the tables in worker/destination/README.md). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* SQLite's five storage classes: what moves keeps its class to the last byte. */
enum value_type { VALUE_NULL = 0, VALUE_INTEGER = 1, VALUE_FLOAT = 2, VALUE_TEXT = 3, VALUE_BLOB = 4 };

struct event_value {
        enum value_type type;
        uint32_t bytes; /* TEXT, BLOB: length of data, without a NUL */
        union {
                int64_t integer;
                double real;
                const void *data; /* borrowed: from the batch's arena, or the row being read */
        };
};

struct event {
        uint64_t position; /* the source's seq; 1 … INT64_MAX */
        struct event_value key, type, at, payload;
};

/* The digest of one event: XXH3_64bits (libxxhash, seed 0) over
 *   position as 8 bytes little-endian, then for key, type, at, payload in this order:
 *   1 byte value_type, 4 bytes length little-endian, then the bytes:
 *   NULL none; INTEGER 8 bytes little-endian two's complement; FLOAT 8 bytes little-endian IEEE 754;
 *   TEXT and BLOB the bytes as stored (TEXT in UTF-8).
 * The checkpoint's anchor is the digest of the last moved event (M4); its digest_sum is the sum of
 * all digests modulo 2^64, so it can be recomputed from the destination in any order (`verify`).
 * The position is in it, so a swap of two events changes the sum. Pure, thread-safe. */
uint64_t event_digest(const struct event *event);

/* Bytes that count against batch-bytes: the sum of the four values' stored bytes. */
uint64_t event_bytes(const struct event *event);

/* A batch of events in one arena. The mover owns it and reuses it; a source fills it. At most
 * event_capacity events; the arena grows for a single event that is larger than the limit (it is
 * moved alone) and is given back after it. */
struct event_batch {
        struct event *events;
        size_t event_count, event_capacity;
        uint8_t *arena;
        size_t arena_used_bytes, arena_capacity_bytes;
        size_t arena_usual_bytes; /* what clear() goes back to after a large event */
        uint64_t payload_bytes;   /* sum of event_bytes() */
};

int event_batch_init(struct event_batch *batch, size_t event_capacity, size_t arena_bytes);
void event_batch_clear(struct event_batch *batch); /* empties, keeps memory */
void event_batch_done(struct event_batch *batch);  /* frees; NULL and zeroed are accepted */

/* Appends a deep copy. -E2BIG when count or arena is full and the batch is not empty (the event is
 * left for the next batch); an event larger than the whole arena enters an empty batch alone;
 * -ENOMEM. Pointers of earlier events stay valid. */
int event_batch_add(struct event_batch *batch, const struct event *event);

#define INSTANCE_BYTES 16
#define IDENTITY_BYTES 64
#define DESTINATION_STATE_BYTES 64

/* Up to where a session is durable, and what it rests on. */
struct checkpoint {
        uint8_t instance[INSTANCE_BYTES];     /* of the state directory (M1) */
        char session[NAME_BYTES];             /* durable name: the *source's* name */
        uint64_t epoch;                       /* fence (M2) */
        uint64_t position;                    /* last event that is durable; 0 = none yet */
        char source_identity[IDENTITY_BYTES]; /* text; "" = not seen yet (M4) */
        uint64_t anchor;                      /* digest of the event at `position`; 0 where position = 0 */
        uint64_t event_count;                 /* all events stepped over: moved and parked */
        uint64_t digest_sum;                  /* of the same */
        uint64_t parked_count;                /* of them, parked */
        uint8_t destination_state[DESTINATION_STATE_BYTES]; /* opaque; destinations without transactions */
};
