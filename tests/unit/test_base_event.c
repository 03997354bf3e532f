/* SPDX-License-Identifier: Apache-2.0 */
/* Events: a digest that is the same everywhere and for ever (M4), and batches that keep what they hold. */

#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/macro.h"
#include "include/baton/event.h"

static struct event_value text_value(const char *text) {
        return (struct event_value){ .type = VALUE_TEXT, .bytes = (uint32_t) strlen(text), .data = text };
}

static struct event example(void) {
        return (struct event){
                .position = 42,
                .key = text_value("customer-7"),
                .type = text_value("order.paid"),
                .at = { .type = VALUE_INTEGER, .integer = 1795456931 },
                .payload = text_value("{\"sum\": 12.5}"),
        };
}

/* The header's description, carried out literally. */
static size_t write_value(uint8_t *p, const struct event_value *value) {
        uint32_t bytes = value->type == VALUE_NULL                                    ? 0
                         : value->type == VALUE_INTEGER || value->type == VALUE_FLOAT ? 8
                                                                                      : value->bytes;

        p[0] = (uint8_t) value->type;
        for (int i = 0; i < 4; i++)
                p[1 + i] = (uint8_t) (bytes >> 8 * i);
        if (value->type == VALUE_INTEGER || value->type == VALUE_FLOAT) {
                uint64_t number;

                memcpy(&number, &value->integer, 8);
                for (int i = 0; i < 8; i++)
                        p[5 + i] = (uint8_t) (number >> 8 * i);
        } else if (bytes > 0)
                memcpy(p + 5, value->data, bytes);
        return 5 + bytes;
}

static uint64_t described_digest(const struct event *event) {
        uint8_t *buffer = malloc(8 + 4 * 13 + event_bytes(event)), *p = buffer;
        uint64_t digest;

        for (int i = 0; i < 8; i++)
                *p++ = (uint8_t) (event->position >> 8 * i);
        p += write_value(p, &event->key);
        p += write_value(p, &event->type);
        p += write_value(p, &event->at);
        p += write_value(p, &event->payload);
        digest = XXH3_64bits(buffer, (size_t) (p - buffer));
        free(buffer);
        return digest;
}

/* Checkpoints on disk rest on this number: it may never change. (The bytes were laid out by another
 * program and hashed by the shared library.) */
Test(event, digest_is_for_ever_M4) {
        struct event event = example();

        cr_assert_eq(event_digest(&event), 0x7858482fd3e03d69ULL);
}

Test(event, digest_is_as_described) {
        struct event event = example();
        char *large = malloc(100000);

        cr_assert_eq(event_digest(&event), described_digest(&event));
        event.key = (struct event_value){ .type = VALUE_NULL };
        event.type = (struct event_value){ .type = VALUE_FLOAT, .real = -0.5 };
        event.at = (struct event_value){ .type = VALUE_INTEGER, .integer = INT64_MIN };
        cr_assert_eq(event_digest(&event), described_digest(&event));

        /* Around the length where it goes from one piece to several. */
        for (size_t i = 0; i < 100000; i++)
                large[i] = (char) (i * 7);
        for (uint32_t bytes = 950; bytes < 1100; bytes++) {
                event.payload = (struct event_value){ .type = VALUE_BLOB, .bytes = bytes, .data = large };
                cr_assert_eq(event_digest(&event), described_digest(&event), "%u bytes", bytes);
        }
        event.payload.bytes = 100000;
        event.key = event.payload;
        cr_assert_eq(event_digest(&event), described_digest(&event));
        event.key = (struct event_value){ .type = VALUE_TEXT, .bytes = 0, .data = NULL };
        cr_assert_eq(event_digest(&event), described_digest(&event));
        free(large);
}

/* What SQLite tells apart, the digest tells apart. */
Test(event, digest_sees_each_difference) {
        struct event events[12];
        uint64_t digests[ELEMENTSOF(events)];

        for (size_t i = 0; i < ELEMENTSOF(events); i++)
                events[i] = example();
        events[1].position = 43;
        events[2].key = text_value("customer-8");
        events[3].key = text_value("customer-7o");
        events[3].type = text_value("rder.paid"); /* the same bytes, another border */
        events[4].payload.type = VALUE_BLOB;
        events[5].at = (struct event_value){ .type = VALUE_FLOAT, .real = 1795456931 };
        events[6].at = (struct event_value){ .type = VALUE_NULL };
        events[7].at = text_value("");
        events[8].at = text_value("1795456931");
        events[9].key = events[0].type, events[9].type = events[0].key;
        events[10].at = (struct event_value){ .type = VALUE_FLOAT, .real = 0.0 };
        events[11].at = (struct event_value){ .type = VALUE_FLOAT, .real = -0.0 };
        for (size_t i = 0; i < ELEMENTSOF(events); i++) {
                digests[i] = event_digest(&events[i]);
                for (size_t k = 0; k < i; k++)
                        cr_assert_neq(digests[i], digests[k], "%zu and %zu", i, k);
        }
}

Test(event, bytes_are_those_that_are_stored) {
        struct event event = example();

        cr_assert_eq(event_bytes(&event), 10 + 10 + 8 + 13);
        event.key.type = VALUE_NULL;
        cr_assert_eq(event_bytes(&event), 10 + 8 + 13);
}

static struct event sized(uint64_t position, const char *data, uint32_t bytes) {
        struct event event = { .position = position };

        event.payload = (struct event_value){ .type = VALUE_BLOB, .bytes = bytes, .data = data };
        return event;
}

Test(event, batch_copies_deeply_and_keeps_pointers) {
        struct event event = example();
        char text[] = "customer-7";
        struct event_batch batch;
        const void *first;

        cr_assert_eq(event_batch_init(&batch, 100, 4096), 0);
        event.key.data = text;
        cr_assert_eq(event_batch_add(&batch, &event), 0);
        memset(text, 'z', sizeof text);
        first = batch.events[0].key.data;
        for (uint64_t i = 1; i < 100; i++) {
                event.position = 42 + i;
                cr_assert_eq(event_batch_add(&batch, &event), 0);
        }
        cr_assert_eq(batch.event_count, 100);
        cr_assert_eq(batch.payload_bytes, 100 * 41);
        cr_assert_eq(batch.events[0].key.data, first);
        cr_assert_arr_eq(first, "customer-7", 10);
        cr_assert_arr_eq(batch.events[99].key.data, "zzzzzzzzzz", 10);
        cr_assert_eq(batch.events[99].position, 141);
        cr_assert_eq(batch.events[99].at.integer, 1795456931);

        cr_assert_eq(event_batch_add(&batch, &event), -E2BIG, "the count is full");
        cr_assert_eq(batch.event_count, 100);
        event_batch_clear(&batch);
        cr_assert_eq(batch.event_count, 0);
        cr_assert_eq(batch.payload_bytes, 0);
        cr_assert_eq(event_batch_add(&batch, &event), 0);
        event_batch_done(&batch);
        event_batch_done(&batch);
        event_batch_done(NULL);
}

Test(event, a_full_arena_leaves_the_event_for_the_next_batch) {
        struct event_batch batch;
        char data[64] = { 0 };
        struct event event = sized(1, data, 40);

        cr_assert_eq(event_batch_init(&batch, 10, 80), 0);
        cr_assert_eq(event_batch_add(&batch, &event), 0);
        cr_assert_eq(event_batch_add(&batch, &event), 0, "exactly full");
        event.payload.bytes = 1;
        cr_assert_eq(event_batch_add(&batch, &event), -E2BIG);
        cr_assert_eq(batch.event_count, 2);
        cr_assert_eq(batch.payload_bytes, 80);
        event = sized(2, NULL, 0);
        cr_assert_eq(event_batch_add(&batch, &event), 0, "an event without bytes needs none");
        event_batch_done(&batch);
}

Test(event, an_event_larger_than_the_arena_comes_alone_and_its_memory_goes) {
        const uint32_t bytes = 5U << 20;
        char *data = malloc(bytes);
        struct event_batch batch;
        struct event small = sized(1, "x", 1), large;

        memset(data, 'L', bytes);
        large = sized(2, data, bytes);
        cr_assert_eq(event_batch_init(&batch, 10, 4096), 0);
        cr_assert_eq(event_batch_add(&batch, &small), 0);
        cr_assert_eq(event_batch_add(&batch, &large), -E2BIG, "not behind another");
        event_batch_clear(&batch);
        cr_assert_eq(event_batch_add(&batch, &large), 0);
        cr_assert_eq(memcmp(batch.events[0].payload.data, data, bytes), 0);
        cr_assert_eq(event_batch_add(&batch, &small), -E2BIG, "nothing behind it");
        cr_assert_eq(batch.arena_capacity_bytes, bytes);
        event_batch_clear(&batch);
        cr_assert_eq(batch.arena_capacity_bytes, 4096);
        cr_assert_eq(event_batch_add(&batch, &small), 0);
        event_batch_done(&batch);
        free(data);
}

/* S8: an arena of two megabytes and more begins where a huge page can lie. */
Test(event, a_large_arena_is_fit_for_huge_pages_S8) {
        struct event_batch batch;

        cr_assert_eq(event_batch_init(&batch, 10000, (size_t) 4 << 20), 0);
        cr_assert_eq((uintptr_t) batch.arena % ((size_t) 2 << 20), 0);
        event_batch_done(&batch);
}

Test(event, no_memory_is_an_error_not_a_crash) {
        struct event_batch batch;

        cr_assert_eq(event_batch_init(&batch, 10, SIZE_MAX / 2), -ENOMEM);
        cr_assert_eq(event_batch_init(&batch, SIZE_MAX / 4, 10), -ENOMEM);
}
