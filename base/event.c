/* SPDX-License-Identifier: Apache-2.0 */
/* Events: their digest, and the arena that holds a batch of them (M4, S8).
 * It lies in base/, because worker, command line and tests link it and none of them may include the
 * other. Must not touch: sources, destinations, disk. */

#include "include/baton/event.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Compiled in: the streaming state's layout is no stable interface of the shared library. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/macro.h"

/* The same function, from libxxhash, which chooses AVX2 or AVX-512 by the processor: two thirds of the
 * time for an event of 256 bytes. Its header cannot be included beside the compiled-in functions. */
#if defined(__x86_64__)
uint64_t XXH3_64bits_dispatch(const void *data, size_t bytes);
#define digest_in_one XXH3_64bits_dispatch
#else
#define digest_in_one XXH3_64bits
#endif

#define HUGE_PAGE_BYTES ((size_t) 2 << 20)
/* Events up to here are hashed in one piece: three times as fast as in parts. */
#define DIGEST_INLINE_BYTES 1024
#define DIGEST_FRAME_BYTES (8 + 4 * (1 + 4 + 8))

static bool value_is_data(const struct event_value *value) {
        return value->type == VALUE_TEXT || value->type == VALUE_BLOB;
}

static inline uint32_t value_bytes(const struct event_value *value) {
        switch (value->type) {
        case VALUE_NULL:
                return 0;
        case VALUE_INTEGER:
        case VALUE_FLOAT:
                return 8;
        default:
                return value->bytes;
        }
}

static const struct event_value *event_value_at(const struct event *event, unsigned i) {
        const struct event_value *const values[] = { &event->key, &event->type, &event->at, &event->payload };

        assert(i < ELEMENTSOF(values));
        return values[i];
}
#define EVENT_VALUE_COUNT 4

/* Written out, here and in event_digest(): both run for every event, on either path. */
uint64_t event_bytes(const struct event *event) {
        assert(event);

        return (uint64_t) value_bytes(&event->key) + value_bytes(&event->type) + value_bytes(&event->at) +
               value_bytes(&event->payload);
}

/* Type, length and, for numbers, the value: everything but the data of TEXT and BLOB. */
static inline uint8_t *put_value_head(uint8_t *p, const struct event_value *value) {
        uint32_t length = htole32(value_bytes(value));
        uint64_t number;

        *p++ = (uint8_t) value->type;
        memcpy(p, &length, sizeof length);
        p += sizeof length;
        if (value->type == VALUE_INTEGER || value->type == VALUE_FLOAT) {
                memcpy(&number, value->type == VALUE_INTEGER ? (const void *) &value->integer : &value->real,
                       sizeof number);
                number = htole64(number);
                memcpy(p, &number, sizeof number);
                p += sizeof number;
        }
        return p;
}

static inline uint8_t *put_value(uint8_t *p, const struct event_value *value) {
        p = put_value_head(p, value);
        if (!value_is_data(value) || value->bytes == 0)
                return p;
        memcpy(p, value->data, value->bytes);
        return p + value->bytes;
}

static uint64_t digest_in_parts(const struct event *event) {
        uint64_t position = htole64(event->position);
        XXH3_state_t state;

        XXH3_INITSTATE(&state);
        (void) XXH3_64bits_reset(&state);
        (void) XXH3_64bits_update(&state, &position, sizeof position);
        for (unsigned i = 0; i < EVENT_VALUE_COUNT; i++) {
                const struct event_value *value = event_value_at(event, i);
                uint8_t head[1 + 4 + 8];

                (void) XXH3_64bits_update(&state, head, (size_t) (put_value_head(head, value) - head));
                if (value_is_data(value) && value->bytes > 0)
                        (void) XXH3_64bits_update(&state, value->data, value->bytes);
        }
        return XXH3_64bits_digest(&state);
}

uint64_t event_digest(const struct event *event) {
        uint8_t buffer[DIGEST_INLINE_BYTES + DIGEST_FRAME_BYTES], *p = buffer;
        uint64_t position;

        assert(event);

        if (event_bytes(event) > DIGEST_INLINE_BYTES)
                return digest_in_parts(event);
        position = htole64(event->position);
        memcpy(p, &position, sizeof position);
        p += sizeof position;
        p = put_value(p, &event->key);
        p = put_value(p, &event->type);
        p = put_value(p, &event->at);
        p = put_value(p, &event->payload);
        return digest_in_one(buffer, (size_t) (p - buffer));
}

/* S8: a dying worker's memory is torn down before its locks on files go, and huge pages make that
 * four times as fast. Where the kernel has none to give, ordinary pages do. */
static uint8_t *arena_new(size_t bytes) {
        void *arena = NULL;

        if (bytes < HUGE_PAGE_BYTES)
                return malloc(MAX_OF(bytes, (size_t) 1));
        if (posix_memalign(&arena, HUGE_PAGE_BYTES, bytes) != 0)
                return NULL;
        (void) madvise(arena, bytes, MADV_HUGEPAGE);
        return arena;
}

int event_batch_init(struct event_batch *batch, size_t event_capacity, size_t arena_bytes) {
        _cleanup_free_ struct event *events = NULL;
        uint8_t *arena;

        assert(batch);
        assert(event_capacity > 0);

        events = calloc(event_capacity, sizeof *events);
        if (!events)
                return -ENOMEM;
        arena = arena_new(arena_bytes);
        if (!arena)
                return -ENOMEM;
        *batch = (struct event_batch){
                .events = TAKE(events),
                .event_capacity = event_capacity,
                .arena = arena,
                .arena_capacity_bytes = arena_bytes,
                .arena_usual_bytes = arena_bytes,
        };
        return 0;
}

void event_batch_clear(struct event_batch *batch) {
        assert(batch);

        /* The arena that one large event needed is given back; without memory for the usual one, the
         * large one stays, and the next clear tries again. */
        if (batch->arena_capacity_bytes > batch->arena_usual_bytes) {
                uint8_t *arena = arena_new(batch->arena_usual_bytes);

                if (arena) {
                        free(batch->arena);
                        batch->arena = arena;
                        batch->arena_capacity_bytes = batch->arena_usual_bytes;
                }
        }
        batch->event_count = 0;
        batch->arena_used_bytes = 0;
        batch->payload_bytes = 0;
}

void event_batch_done(struct event_batch *batch) {
        if (!batch)
                return;
        free(batch->events);
        free(batch->arena);
        *batch = (struct event_batch){ 0 };
}

/* Room for so many bytes in an empty batch: what one large event needs (it is moved alone). */
static int arena_grow(struct event_batch *batch, size_t bytes) {
        uint8_t *arena;

        assert(batch->event_count == 0);

        arena = arena_new(bytes);
        if (!arena)
                return -ENOMEM;
        free(batch->arena);
        batch->arena = arena;
        batch->arena_capacity_bytes = bytes;
        return 0;
}

static void value_copy(struct event_batch *batch, struct event_value *value) {
        uint8_t *p = batch->arena + batch->arena_used_bytes;

        if (!value_is_data(value))
                return;
        if (value->bytes > 0)
                memcpy(p, value->data, value->bytes);
        value->data = p;
        batch->arena_used_bytes += value->bytes;
}

int event_batch_add(struct event_batch *batch, const struct event *event) {
        size_t bytes = 0;
        struct event *copy;
        int r;

        assert(batch && batch->events);
        assert(event);

        if (batch->event_count >= batch->event_capacity)
                return -E2BIG;
        for (unsigned i = 0; i < EVENT_VALUE_COUNT; i++)
                if (value_is_data(event_value_at(event, i)))
                        bytes += event_value_at(event, i)->bytes;
        if (bytes > batch->arena_capacity_bytes - batch->arena_used_bytes) {
                if (batch->event_count > 0)
                        return -E2BIG;
                r = arena_grow(batch, bytes);
                if (r < 0)
                        return r;
        }

        copy = &batch->events[batch->event_count];
        *copy = *event;
        value_copy(batch, &copy->key);
        value_copy(batch, &copy->type);
        value_copy(batch, &copy->at);
        value_copy(batch, &copy->payload);
        batch->event_count++;
        batch->payload_bytes += event_bytes(event);
        return 0;
}
