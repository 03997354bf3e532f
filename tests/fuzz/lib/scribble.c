/* SPDX-License-Identifier: Apache-2.0 */
/* See scribble.h. */
#include "tests/fuzz/lib/scribble.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>

#include "shm/life_word.h"
#include "tests/fuzz/lib/world.h"

#define RAW_BYTES_MAX 64

enum region {
        REGION_WORKER,
        REGION_SLOT,
        REGION_STATUS,
        REGION_POOL,
        REGION_INBOX,
        REGION_CONFIG,
        REGION_HEADER
};

struct field {
        enum region region;
        uint32_t offset, bytes;
        bool is_supervisors;
};

#define FIELD_OF(region, type, name, supervisors) \
        { region, offsetof(struct type, name), sizeof(((struct type *) NULL)->name), supervisors }
#define WORKER(name) FIELD_OF(REGION_WORKER, layout_worker, name, false)
#define SLOT(name) FIELD_OF(REGION_SLOT, layout_slot, name, false)
#define STATUS(name) FIELD_OF(REGION_STATUS, layout_status, name, false)
#define POOL(name) FIELD_OF(REGION_POOL, layout_pool, name, false)
#define KIND(region, type, mutex)                                                                \
        {                                                                                        \
                region, offsetof(struct type, mutex) + offsetof(pthread_mutex_t, __data.__kind), \
                        sizeof(int), false                                                       \
        }
#define OWNER(region, type, mutex)                                                                \
        {                                                                                         \
                region, offsetof(struct type, mutex) + offsetof(pthread_mutex_t, __data.__owner), \
                        sizeof(int), false                                                        \
        }
#define WORD(region, type, mutex) \
        { region, offsetof(struct type, mutex), sizeof(uint32_t), false }

/* clang-format off */
static const struct field fields[] = {
        WORD(REGION_WORKER, layout_worker, life_mutex), KIND(REGION_WORKER, layout_worker, life_mutex),
        OWNER(REGION_WORKER, layout_worker, life_mutex), WORKER(life), WORKER(pid), WORKER(pool_index),
        WORKER(start_ticks), WORKER(entered_usec), WORKER(takeover_is_fifo), WORKER(nice), WORKER(doorbell),
        WORKER(pong), WORKER(pong_usec), WORKER(transaction_since_usec), WORKER(commit_count), WORKER(event_count),
        WORKER(phase), WORKER(note_slot), WORKER(note_is_exact), WORKER(note_position), WORKER(fault_signal),
        WORD(REGION_SLOT, layout_slot, mutex), KIND(REGION_SLOT, layout_slot, mutex),
        OWNER(REGION_SLOT, layout_slot, mutex), SLOT(owner_ref), SLOT(epoch), SLOT(state), SLOT(orphan_attempts),
        SLOT(owned_since_usec), SLOT(previous_ref), SLOT(take_count), SLOT(taken_by), SLOT(quarantined),
        SLOT(death_note), SLOT(death_signal), SLOT(death_position),
        STATUS(sequence), STATUS(phase), STATUS(failure_kind), STATUS(path), STATUS(epoch), STATUS(position),
        STATUS(event_count), STATUS(parked_count), STATUS(lag_events), STATUS(lag_bytes),
        STATUS(oldest_realtime_usec), STATUS(waiting_since_usec), STATUS(commit_last_usec), STATUS(retry_at_usec),
        STATUS(adopt_done), STATUS(reason), STATUS(durable_position), STATUS(durable_check), STATUS(fault_position),
        STATUS(fault_deaths), STATUS(unknown_deaths), STATUS(source_sync_failed), STATUS(suspect_until),
        STATUS(suspect),
        WORD(REGION_POOL, layout_pool, mutex), KIND(REGION_POOL, layout_pool, mutex),
        OWNER(REGION_POOL, layout_pool, mutex), POOL(mutex_holder_ref), POOL(mutex_since_usec),
        WORD(REGION_POOL, layout_pool, turn), KIND(REGION_POOL, layout_pool, turn),
        OWNER(REGION_POOL, layout_pool, turn), POOL(turn_holder_ref), POOL(turn_since_usec), POOL(turn_waiters),
        POOL(turn_served), POOL(member_version), POOL(takeover_count), POOL(takeover_slots),
        POOL(takeover_last_usec), POOL(takeover_last_span_usec), POOL(takeover_last_ref), POOL(takeover_by_ref),
        POOL(hints_owed), POOL(latched),
        { REGION_INBOX, 0, 8, false },
        FIELD_OF(REGION_HEADER, layout_header, condemned, false),
        /* the supervisor's own */
        FIELD_OF(REGION_WORKER, layout_worker, ping, true), FIELD_OF(REGION_WORKER, layout_worker, ping_usec, true),
        FIELD_OF(REGION_WORKER, layout_worker, drain_ref, true),
        FIELD_OF(REGION_SLOT, layout_slot, wanted, true), FIELD_OF(REGION_SLOT, layout_slot, pool_index, true),
        FIELD_OF(REGION_SLOT, layout_slot, assigned_ref, true), FIELD_OF(REGION_SLOT, layout_slot, heir_ref, true),
        FIELD_OF(REGION_SLOT, layout_slot, adopt_request, true),
        FIELD_OF(REGION_POOL, layout_pool, sequence, true), FIELD_OF(REGION_POOL, layout_pool, state, true),
        FIELD_OF(REGION_POOL, layout_pool, workers_wanted, true), FIELD_OF(REGION_POOL, layout_pool, name, true),
        FIELD_OF(REGION_POOL, layout_pool, url, true),
        FIELD_OF(REGION_CONFIG, layout_config, sequence, true),
        FIELD_OF(REGION_CONFIG, layout_config, sibling_slot, true),
        FIELD_OF(REGION_CONFIG, layout_config, session, true), FIELD_OF(REGION_CONFIG, layout_config, source, true),
        FIELD_OF(REGION_CONFIG, layout_config, url, true),
        FIELD_OF(REGION_HEADER, layout_header, slot_used, true),
        FIELD_OF(REGION_HEADER, layout_header, supervisor_pid, true),
        FIELD_OF(REGION_HEADER, layout_header, supervisor_beat_usec, true),
        FIELD_OF(REGION_HEADER, layout_header, stall_timeout_usec, true),
        FIELD_OF(REGION_HEADER, layout_header, stopping, true),
        FIELD_OF(REGION_HEADER, layout_header, pool_count, true),
        FIELD_OF(REGION_HEADER, layout_header, worker_count, true),
        FIELD_OF(REGION_HEADER, layout_header, slot_count, true),
        FIELD_OF(REGION_HEADER, layout_header, slot_offset, true),
        /* since then: inputs name a field by its place here, so a new one goes to the end */
        FIELD_OF(REGION_WORKER, layout_worker, watched_ref, true),
        FIELD_OF(REGION_HEADER, layout_header, refused_sequence, true),
        FIELD_OF(REGION_HEADER, layout_header, refused, true),
};
/* clang-format on */

/* Where record `index` of the region begins, and how long it is. */
static uint8_t *record_at(enum region region, uint32_t index, size_t *ret_bytes) {
        struct segment *segment = world.segment;

        switch (region) {
        case REGION_WORKER:
                *ret_bytes = segment->workers.stride;
                return (uint8_t *) segment_worker(segment, index % segment->worker_count);
        case REGION_SLOT:
                *ret_bytes = segment->slots.stride;
                return (uint8_t *) segment_slot(segment, index % segment->slot_count);
        case REGION_STATUS:
                *ret_bytes = segment->statuses.stride;
                return (uint8_t *) segment_status(segment, index % segment->slot_count);
        case REGION_POOL: /* two are in use; a third is free */
                *ret_bytes = segment->pools.stride;
                return (uint8_t *) segment_pool(segment, index % 3);
        case REGION_INBOX:
                *ret_bytes = sizeof(uint64_t);
                return (uint8_t *) (segment->inboxes +
                                    index % (segment->worker_count * segment->inbox_words));
        case REGION_CONFIG:
                *ret_bytes = segment->configs.stride;
                return (uint8_t *) segment_config(segment, index % segment->slot_count);
        default:
                *ret_bytes = sizeof(struct layout_header);
                return (uint8_t *) segment->header;
        }
}

/* All but the mutex that this thread holds for life. */
static void overwrite(uint8_t *at, const uint8_t *bytes, size_t count) {
        const struct layout_worker *self = segment_worker(world.segment, worker_ref_index(world.self_ref));
        const uint8_t *life = world.self_ref != 0 ? (const uint8_t *) &self->life_mutex : NULL;

        for (size_t i = 0; i < count; i++)
                if (!life || at + i < life || at + i >= life + sizeof(pthread_mutex_t))
                        at[i] = bytes[i];
}

static pid_t take_thread(struct input *input) {
        uint8_t which = input_u8(input);

        return which % 8 == 7 ? FAKE_STRANGER_PID : fakes[which % FAKE_COUNT_MAX].thread_id;
}

/* A number that means something to somebody. */
static uint64_t take_value(struct input *input) {
        uint32_t index;
        uint64_t life;

        switch (input_u8(input) % 9) {
        case 0:
                return input_u64(input);
        case 1:
                return input_u8(input);
        case 2:
                return UINT64_MAX - input_u8(input);
        case 3: /* a worker of now */
                index = input_u8(input) % WORLD_WORKERS;
                return worker_ref(index, life_word_generation(
                                                 atomic_load(&segment_worker(world.segment, index)->life)));
        case 4: /* a worker of some time */
                index = input_u8(input);
                return worker_ref(index, input_u8(input));
        case 5:
                life = input_u8(input);
                return life_word(life / 8, life % 8);
        case 6:
                return (uint64_t) take_thread(input) | (input_u8(input) % 4 == 1 ? FUTEX_OWNER_DIED : 0);
        case 7:
                return fake_clock_usec - input_u32(input);
        default:
                return 1ULL << (input_u8(input) % 64);
        }
}

void scribble_field(struct input *input) {
        const struct field *field = &fields[input_u8(input) % ELEMENTSOF(fields)];
        uint8_t bytes[LAYOUT_URL_BYTES], *record;
        size_t record_bytes, count = field->bytes;
        const uint8_t *text;
        uint64_t value;

        record = record_at(field->region, input_u8(input), &record_bytes);
        if (count <= sizeof(value)) {
                value = take_value(input);
                memcpy(bytes, &value, count);
        } else {
                count = MIN_OF(input_bytes(input, input_u8(input), &text), count);
                if (count > 0)
                        memcpy(bytes, text, count);
        }
        world.is_trusted = world.is_trusted && !field->is_supervisors;
        overwrite(record + field->offset, bytes, count);
}

void scribble_bytes(struct input *input) {
        enum region region = (enum region)(input_u8(input) % (REGION_HEADER + 1));
        size_t record_bytes, at, count;
        const uint8_t *bytes;
        uint8_t *record;

        record = record_at(region, input_u8(input), &record_bytes);
        at = input_u16(input) % record_bytes;
        count = input_bytes(input, MIN_OF((size_t) input_u8(input) % RAW_BYTES_MAX, record_bytes - at),
                            &bytes);
        world.is_trusted = false; /* among them may be a word of the supervisor */
        overwrite(record + at, bytes, count);
}
