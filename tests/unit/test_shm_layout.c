/* SPDX-License-Identifier: Apache-2.0 */
/* Which layouts a program works in, and which not (L1 to L4): in an ordinary build, and in that of the next layout
 * (test_shm_layout_next), where the elements of the layout before are smaller. */
#include <fcntl.h>

#include "tests/unit/test_shm_support.h"

#define WORKERS 5u
#define SLOTS 700u /* two rows of inbox lines */

struct sizes {
        uint32_t number, pool, worker, slot, config, status;
};
static const struct sizes now = { LAYOUT_NUMBER,
                                  sizeof(struct layout_pool),
                                  sizeof(struct layout_worker),
                                  sizeof(struct layout_slot),
                                  sizeof(struct layout_config),
                                  sizeof(struct layout_status) };
static const struct sizes before = { LAYOUT_BEFORE };

static struct place {
        char path[256], file[300];
        struct layout_header header; /* as segment_create() makes it */
        uint64_t bytes;
} place;

static void place_make(void) {
        struct segment_geometry geometry = { WORKERS, SLOTS };
        struct segment *segment;
        struct failure failure = {};
        struct stat status;

        test_directory(place.path, sizeof(place.path));
        (void) snprintf(place.file, sizeof(place.file), "%s/" SEGMENT_FILE_NAME, place.path);
        cr_assert_eq(segment_create(place.path, &geometry, test_instance, EPOCH_BASE, &segment, &failure), 0);
        memcpy(&place.header, segment->header, sizeof(place.header));
        segment_close(segment);
        cr_assert_eq(stat(place.file, &status), 0);
        place.bytes = (uint64_t) status.st_size;
}

static void place_remove(void) {
        (void) unlink(place.file);
        cr_assert_eq(rmdir(place.path), 0);
}

TestSuite(shm_layout, .init = place_make, .fini = place_remove);

/* The header that a program of that layout writes. */
static struct layout_header header_of(const struct sizes *sizes) {
        struct layout_header header;

        memcpy(&header, &place.header, sizeof(header));
        header.layout_number = sizes->number;
        header.pool_bytes = sizes->pool;
        header.worker_bytes = sizes->worker;
        header.slot_bytes = sizes->slot;
        header.config_bytes = sizes->config;
        header.status_bytes = sizes->status;
        header.worker_offset = header.pool_offset + (uint64_t) header.pool_count * sizes->pool;
        header.slot_offset = header.worker_offset + (uint64_t) WORKERS * sizes->worker;
        header.config_offset = header.slot_offset + (uint64_t) SLOTS * sizes->slot;
        header.status_offset = header.config_offset + (uint64_t) SLOTS * sizes->config;
        header.inbox_offset = header.status_offset + (uint64_t) SLOTS * sizes->status;
        header.segment_bytes = header.inbox_offset + WORKERS * header.inbox_words * 8ULL;
        return header;
}

static void put(const struct layout_header *header, uint64_t bytes) {
        int fd = open(place.file, O_WRONLY | O_CLOEXEC);

        cr_assert_geq(fd, 0);
        cr_assert_eq(pwrite(fd, header, sizeof(*header), 0), (ssize_t) sizeof(*header));
        cr_assert_eq(ftruncate(fd, (off_t) bytes), 0);
        (void) close(fd);
}

static void expect_refused(const struct layout_header *header, int wanted, const char *sentence) {
        struct segment *segment = (void *) 1;
        struct failure failure = {};
        char text[sizeof(failure.text)];

        put(header, place.bytes);
        cr_expect_eq(segment_open(place.path, true, &segment, &failure), wanted, "%s", failure.text);
        cr_expect_eq(segment, (void *) 1, "output untouched on failure");
        (void) snprintf(text, sizeof(text), "%s %s", place.file, sentence);
        cr_expect_str_eq(failure.text, text);
}

/* ---- L1: two layouts ---------------------------------------------------------------------------------------- */
static void expect_works(const struct sizes *sizes) {
        struct layout_header header = header_of(sizes);
        struct segment *segment = NULL;
        struct failure failure = {};
        const char *base;

        put(&header, header.segment_bytes);
        cr_assert_eq(segment_open(place.path, true, &segment, &failure), 0, "%s", failure.text);
        base = (const char *) segment->header;
        cr_expect_eq(segment->layout_number, sizes->number);
        cr_expect_eq(segment->bytes, header.segment_bytes);
        cr_expect_eq((const char *) segment_pool(segment, 63) - base,
                     (ptrdiff_t) (header.pool_offset + 63ULL * sizes->pool));
        cr_expect_eq((const char *) segment_worker(segment, WORKERS - 1) - base,
                     (ptrdiff_t) (header.slot_offset - sizes->worker), "the last ends where slots begin");
        cr_expect_eq((const char *) segment_slot(segment, SLOTS - 1) - base,
                     (ptrdiff_t) (header.config_offset - sizes->slot));
        cr_expect_eq((const char *) segment_config(segment, SLOTS - 1) - base,
                     (ptrdiff_t) (header.status_offset - sizes->config));
        cr_expect_eq((const char *) segment_status(segment, SLOTS - 1) - base,
                     (ptrdiff_t) (header.inbox_offset - sizes->status));
        segment_close(segment);
        put(&header, header.segment_bytes - 1);
        cr_expect_eq(segment_open(place.path, true, &segment, &failure), -EBADMSG);
        cr_expect_not_null(strstr(failure.text, "it is truncated"), "%s", failure.text);
}

Test(shm_layout, L1_its_own_layout_and_the_one_before) {
        struct layout_header made = header_of(&now);

        cr_assert_eq(now.number, before.number + 1);
        cr_assert_arr_eq(&made, &place.header, offsetof(struct layout_header, instance),
                         "what is made is of the newest");
        expect_works(&now);
        expect_works(&before);
}

Test(shm_layout, L1_no_other_layout) {
        static const uint32_t numbers[] = { 0,  LAYOUT_NUMBER - 2, LAYOUT_NUMBER + 1, LAYOUT_NUMBER + 2,
                                            77, UINT32_MAX };

        for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
                struct layout_header header = header_of(&now);
                char sentence[256];

                header.layout_number = numbers[i];
                (void) snprintf(
                        sentence, sizeof(sentence),
                        "cannot be used: it is of layout %u, and this program works with %u and %u. Use "
                        "the programs of the version that made it, or stop Baton and start it with this "
                        "one: it drains, and makes a new segment.",
                        numbers[i], LAYOUT_NUMBER, LAYOUT_NUMBER - 1);
                expect_refused(&header, -EPROTONOSUPPORT, sentence);
        }
}

/* ---- L1, P1: sizes are those of the number, not what the file says --------------------------------------------- */
static void expect_lies(const struct layout_header *header) {
        expect_refused(header, -EBADMSG,
                       "cannot be used: its sizes are not those of its layout. Start batond: it makes a new "
                       "one once no worker is left.");
}

static void expect_sizes_refused(const struct sizes *sizes) {
        static const size_t fields[] = {
                offsetof(struct layout_header, header_bytes), offsetof(struct layout_header, pool_bytes),
                offsetof(struct layout_header, worker_bytes), offsetof(struct layout_header, slot_bytes),
                offsetof(struct layout_header, config_bytes), offsetof(struct layout_header, status_bytes)
        };
        static const int32_t changes[] = { -64, -1, 1, 64, INT32_MIN };

        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                for (size_t c = 0; c < ELEMENTSOF(changes); c++) {
                        struct layout_header header = header_of(sizes);
                        uint32_t *field = (uint32_t *) (void *) ((char *) &header + fields[i]);

                        *field += (uint32_t) changes[c];
                        expect_lies(&header);
                }
}

Test(shm_layout, P1_sizes_of_another_layout_are_refused) {
        struct layout_header header;

        expect_sizes_refused(&now);
        expect_sizes_refused(&before);
        header = header_of(&now);
        header.mutex_bytes = 48;
        expect_refused(
                &header, -EPROTONOSUPPORT,
                "cannot be used: its mutexes are those of another C library. Start batond: it makes a new "
                "one once no worker is left.");
}

/* Each number with the sizes and offsets of the other. */
Test(shm_layout, P1_a_number_that_lies_is_refused) {
        struct sizes lies = before;
        struct layout_header header;

        if (memcmp(&now.pool, &before.pool, sizeof(now) - sizeof(now.number)) == 0)
                cr_skip_test("in this build the layout before has the same sizes");
        lies.number = now.number;
        header = header_of(&lies);
        expect_lies(&header);
        lies = now;
        lies.number = before.number;
        header = header_of(&lies);
        expect_lies(&header);
}

/* ---- L2: what stands somewhere stays there ---------------------------------------------------------------------- */
struct field {
        const char *name;
        size_t offset, bytes, is_offset, is_bytes;
};
#define FIELD(element, field, at, size)                                                  \
        {                                                                                \
#element "." #field, at, size, offsetof(struct layout_##element, field), \
                        sizeof(((struct layout_##element *) NULL)->field)                \
        }

/* Layout 1 on x86-64 as it was released; a later layout appends here what it has besides. A line is never changed. */
/* clang-format off */
static const struct field fields[] = {
        FIELD(header, magic, 0, 8),
        FIELD(header, layout_number, 8, 4),
        FIELD(header, header_bytes, 12, 4),
        FIELD(header, pool_bytes, 16, 4),
        FIELD(header, worker_bytes, 20, 4),
        FIELD(header, slot_bytes, 24, 4),
        FIELD(header, config_bytes, 28, 4),
        FIELD(header, status_bytes, 32, 4),
        FIELD(header, mutex_bytes, 36, 4),
        FIELD(header, pool_count, 40, 4),
        FIELD(header, worker_count, 44, 4),
        FIELD(header, slot_count, 48, 4),
        FIELD(header, inbox_words, 52, 4),
        FIELD(header, pool_offset, 56, 8),
        FIELD(header, worker_offset, 64, 8),
        FIELD(header, slot_offset, 72, 8),
        FIELD(header, config_offset, 80, 8),
        FIELD(header, status_offset, 88, 8),
        FIELD(header, inbox_offset, 96, 8),
        FIELD(header, segment_bytes, 104, 8),
        FIELD(header, instance, 112, 16),
        FIELD(header, boot_id, 128, 16),
        FIELD(header, epoch_base, 144, 8),
        FIELD(header, created_realtime_usec, 152, 8),
        FIELD(header, supervisor_pid, 192, 4),
        FIELD(header, slot_used, 196, 4),
        FIELD(header, supervisor_start_ticks, 200, 8),
        FIELD(header, supervisor_beat_usec, 208, 8),
        FIELD(header, config_generation, 216, 8),
        FIELD(header, stall_timeout_usec, 224, 8),
        FIELD(header, adopt_timeout_usec, 232, 8),
        FIELD(header, stopping, 240, 4),
        FIELD(header, condemned, 256, 4),
        FIELD(pool, mutex, 0, 40),
        FIELD(pool, mutex_holder_ref, 40, 8),
        FIELD(pool, mutex_since_usec, 48, 8),
        FIELD(pool, turn, 64, 40),
        FIELD(pool, turn_holder_ref, 104, 8),
        FIELD(pool, turn_since_usec, 112, 8),
        FIELD(pool, turn_waiters, 128, 4),
        FIELD(pool, turn_served, 132, 4),
        FIELD(pool, member_version, 192, 4),
        FIELD(pool, takeover_count, 256, 8),
        FIELD(pool, takeover_slots, 264, 8),
        FIELD(pool, takeover_last_usec, 272, 8),
        FIELD(pool, takeover_last_span_usec, 280, 8),
        FIELD(pool, takeover_last_ref, 288, 8),
        FIELD(pool, takeover_by_ref, 296, 8),
        FIELD(pool, hints_owed, 304, 4),
        FIELD(pool, latched, 320, 4),
        FIELD(pool, sync_failures, 324, 4),
        FIELD(pool, sequence, 384, 4),
        FIELD(pool, state, 388, 4),
        FIELD(pool, workers_wanted, 392, 4),
        FIELD(pool, batch_rows, 396, 4),
        FIELD(pool, batch_bytes, 400, 8),
        FIELD(pool, batch_usec, 408, 8),
        FIELD(pool, parked_limit, 416, 8),
        FIELD(pool, cores, 424, 4),
        FIELD(pool, fused, 428, 4),
        FIELD(pool, name, 432, 64),
        FIELD(pool, url, 496, 1024),
        FIELD(worker, life_mutex, 0, 40),
        FIELD(worker, life, 40, 8),
        FIELD(worker, pid, 64, 4),
        FIELD(worker, pool_index, 68, 4),
        FIELD(worker, start_ticks, 72, 8),
        FIELD(worker, entered_usec, 80, 8),
        FIELD(worker, takeover_is_fifo, 88, 4),
        FIELD(worker, nice, 92, 4),
        FIELD(worker, ping, 128, 8),
        FIELD(worker, ping_usec, 136, 8),
        FIELD(worker, drain_ref, 144, 8),
        FIELD(worker, doorbell, 192, 4),
        FIELD(worker, pong, 256, 8),
        FIELD(worker, pong_usec, 264, 8),
        FIELD(worker, transaction_since_usec, 272, 8),
        FIELD(worker, commit_count, 280, 8),
        FIELD(worker, event_count, 288, 8),
        FIELD(worker, sync_count, 296, 8),
        FIELD(worker, phase, 304, 4),
        FIELD(worker, note_slot, 320, 4),
        FIELD(worker, note_is_exact, 324, 4),
        FIELD(worker, note_position, 328, 8),
        FIELD(worker, fault_signal, 336, 4),
        FIELD(slot, mutex, 0, 40),
        FIELD(slot, owner_ref, 40, 8),
        FIELD(slot, epoch, 48, 8),
        FIELD(slot, state, 56, 4),
        FIELD(slot, orphan_attempts, 60, 4),
        FIELD(slot, owned_since_usec, 64, 8),
        FIELD(slot, previous_ref, 72, 8),
        FIELD(slot, take_count, 80, 8),
        FIELD(slot, taken_by, 88, 4),
        FIELD(slot, quarantined, 92, 4),
        FIELD(slot, death_note, 96, 4),
        FIELD(slot, death_signal, 100, 4),
        FIELD(slot, death_position, 104, 8),
        FIELD(slot, wanted, 128, 4),
        FIELD(slot, pool_index, 132, 4),
        FIELD(slot, assigned_ref, 136, 8),
        FIELD(slot, heir_ref, 144, 8),
        FIELD(slot, adopt_request, 152, 8),
        FIELD(config, sequence, 0, 4),
        FIELD(config, sibling_slot, 4, 4),
        FIELD(config, session, 8, 128),
        FIELD(config, source, 136, 64),
        FIELD(config, url, 200, 1024),
        FIELD(status, sequence, 0, 4),
        FIELD(status, phase, 4, 4),
        FIELD(status, failure_kind, 8, 4),
        FIELD(status, path, 12, 4),
        FIELD(status, epoch, 16, 8),
        FIELD(status, position, 24, 8),
        FIELD(status, event_count, 32, 8),
        FIELD(status, digest_sum, 40, 8),
        FIELD(status, parked_count, 48, 8),
        FIELD(status, lag_events, 56, 8),
        FIELD(status, lag_bytes, 64, 8),
        FIELD(status, oldest_realtime_usec, 72, 8),
        FIELD(status, waiting_since_usec, 80, 8),
        FIELD(status, commit_last_usec, 88, 8),
        FIELD(status, retry_at_usec, 96, 8),
        FIELD(status, adopt_done, 104, 8),
        FIELD(status, reason, 112, 384),
        FIELD(status, durable_position, 512, 8),
        FIELD(status, durable_check, 520, 8),
        FIELD(status, fault_position, 576, 8),
        FIELD(status, fault_deaths, 584, 4),
        FIELD(status, unknown_deaths, 588, 4),
        FIELD(status, source_sync_failed, 592, 4),
        FIELD(status, suspect_until, 600, 8),
        FIELD(status, suspect, 608, 4),
        /* 2 */
        FIELD(header, refused_sequence, 320, 4),
        FIELD(header, refused, 324, 384),
        FIELD(worker, watched_ref, 152, 8),
        FIELD(worker, confinement, 308, 4),
        FIELD(worker, renewal_ref, 312, 8),
};
/* clang-format on */

Test(shm_layout, L2_no_word_moves) {
        if (sizeof(pthread_mutex_t) != 40)
                cr_skip_test("the offsets are those of a C library with mutexes of 40 bytes");
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                cr_expect_eq(fields[i].is_offset, fields[i].offset, "%s has moved", fields[i].name);
                cr_expect_eq(fields[i].is_bytes, fields[i].bytes, "%s has another size", fields[i].name);
        }
}

/* ---- L4: what the layout before has not ------------------------------------------------------------------------- */
Test(shm_layout, L4_an_appended_word_is_used_only_where_it_is) {
        struct layout_header header = header_of(&before);
        struct segment *segment = NULL;
        struct layout_worker *worker;
        struct layout_slot *slot;

        put(&header, header.segment_bytes);
        cr_assert_eq(segment_open(place.path, true, &segment, NULL), 0);
        worker = segment_worker(segment, 0);
        slot = segment_slot(segment, 0);
        cr_expect(segment_has(segment->workers, worker, fault_signal));
        cr_expect(segment_has(segment->slots, slot, adopt_request));
#ifdef LAYOUT_NEXT
        cr_expect_not(segment_has(segment->workers, worker, next_word));
        cr_expect_not(segment_has(segment->slots, slot, next_word));
        segment_close(segment);
        header = header_of(&now);
        put(&header, header.segment_bytes);
        cr_assert_eq(segment_open(place.path, true, &segment, NULL), 0);
        worker = segment_worker(segment, 0);
        slot = segment_slot(segment, 0);
        cr_expect(segment_has(segment->workers, worker, next_word));
        cr_expect(segment_has(segment->slots, slot, next_word));
#endif
        segment_close(segment);
}
