/* SPDX-License-Identifier: Apache-2.0 */
/* Sequenced records: whole or not at all, bounded retries, a writer that died at an odd number (S10, M14). */
#include "shm/sequence.h"
#include "tests/unit/test_shm_support.h"

static struct session_status status_of(uint64_t n) {
        struct session_status status = {
                .phase = SESSION_MOVING,
                .path = 2,
                .epoch = n,
                .position = n,
                .event_count = n,
                .digest_sum = n,
                .parked_count = n,
                .lag_events = n,
                .lag_bytes = n,
                .oldest_realtime_usec = n,
                .waiting_since_usec = n,
                .commit_last_usec = n,
                .retry_at_usec = n,
                .adopt_done = n,
        };

        memset(status.reason, 'a' + (int) (n % 26), sizeof status.reason - 1);
        return status;
}

static bool status_is_whole(const struct session_status *status) {
        struct session_status want = status_of(status->epoch);

        return memcmp(&want, status, sizeof want) == 0;
}

Test(shm_words, round_trips) {
        struct segment *segment = test_segment(4, 16);
        struct pool_settings settings = {
                .state = POOL_LEAVING,
                .workers_wanted = 3,
                .batch_rows = 10000,
                .batch_bytes = 4 << 20,
                .batch_usec = 50000,
                .parked_limit = 1000,
                .cores = true,
                .name = "events",
                .url = "sqlite:/var/lib/baton/events.db",
        };
        struct pool_settings settings_read;
        struct session_status status, status_in = status_of(7);
        struct session_config config;
        uint32_t sequence;

        pool_settings_write(segment, 1, &settings);
        cr_assert_eq(pool_settings_read(segment, 1, &settings_read), 0);
        sequence = settings_read.sequence;
        settings_read.sequence = 0;
        cr_assert_eq(settings_read.state, POOL_LEAVING);
        cr_assert_eq(settings_read.batch_usec, 50000);
        cr_assert(settings_read.cores && !settings_read.fused);
        cr_assert_str_eq(settings_read.url, settings.url);
        cr_assert_str_eq(settings_read.name, settings.name);
        pool_settings_write(segment, 1, &settings);
        cr_assert_eq(pool_settings_read(segment, 1, &settings_read), 0);
        cr_assert_eq(settings_read.sequence, sequence + 2, "a reload shows in the sequence");

        session_status_write(segment, 3, &status_in);
        cr_assert_eq(session_status_read(segment, 3, &status), 0);
        cr_assert(status_is_whole(&status));

        sessions_configure(segment, 1, 3, 1);
        cr_assert_eq(session_config_read(segment, 3, &config), 0);
        cr_assert_str_eq(config.session, "session-3");
        cr_assert_str_eq(config.source, "source-3");
        cr_assert_eq(config.pool_index, 1);
        cr_assert_eq(config.sibling_slot, 3);
        cr_assert_eq(config.slot_index, 3);
}

Test(shm_words, p1_bad_words_are_refused) {
        struct segment *segment = test_segment(4, 16);
        struct pool_settings settings = { .workers_wanted = 4711 };
        struct session_status status = { .epoch = 4711 }, good = status_of(1);
        struct session_config config = { .slot_index = 4711 };

        cr_assert_eq(pool_settings_read(segment, LAYOUT_POOL_COUNT_MAX, &settings), -ERANGE);
        cr_assert_eq(session_config_read(segment, 16, &config), -ERANGE);
        cr_assert_eq(session_status_read(segment, 16, &status), -ERANGE);

        memset(segment_pool(segment, 0)->name, 'x', LAYOUT_NAME_BYTES);
        cr_assert_eq(pool_settings_read(segment, 0, &settings), -EBADMSG);
        segment_pool(segment, 0)->name[0] = '\0';
        memset(segment_pool(segment, 0)->url, 'x', LAYOUT_URL_BYTES);
        cr_assert_eq(pool_settings_read(segment, 0, &settings), -EBADMSG);
        segment_pool(segment, 0)->url[9] = '\0';
        atomic_store(&segment_pool(segment, 0)->state, POOL_LEAVING + 1);
        cr_assert_eq(pool_settings_read(segment, 0, &settings), -EBADMSG);
        cr_assert_eq(settings.workers_wanted, 4711, "output untouched on failure");

        sessions_configure(segment, 0, 0, 1);
        memset(segment_config(segment, 0)->url, 'x', LAYOUT_URL_BYTES);
        cr_assert_eq(session_config_read(segment, 0, &config), -EBADMSG);
        segment_config(segment, 0)->url[0] = '\0';
        segment_config(segment, 0)->sibling_slot = 16;
        cr_assert_eq(session_config_read(segment, 0, &config), -EBADMSG);
        cr_assert_eq(config.slot_index, 4711);

        session_status_write(segment, 0, &good);
        segment_status(segment, 0)->phase = SESSION_PHASE_COUNT;
        cr_assert_eq(session_status_read(segment, 0, &status), -EBADMSG);
        segment_status(segment, 0)->phase = 0;
        memset(segment_status(segment, 0)->reason, 'x', LAYOUT_REASON_BYTES);
        cr_assert_eq(session_status_read(segment, 0, &status), -EBADMSG);
        cr_assert_eq(status.epoch, 4711);
}

/* S10: the writer died between the two stores of the sequence: readers say so, the next writer goes on. */
Test(shm_words, s10_a_writer_that_died_at_an_odd_number) {
        struct segment *segment = test_segment(4, 16);
        struct session_status status, one = status_of(1), two = status_of(2);

        session_status_write(segment, 0, &one);
        (void) atomic_fetch_add(&segment_status(segment, 0)->sequence, 1);
        segment_status(segment, 0)->position = 99; /* as far as it came */
        cr_assert_eq(session_status_read(segment, 0, &status), -EAGAIN);
        session_status_write(segment, 0, &two);
        cr_assert_eq(session_status_read(segment, 0, &status), 0);
        cr_assert_eq(status.epoch, 2);
        cr_assert(status_is_whole(&status));
        cr_assert_eq(atomic_load(&segment_status(segment, 0)->sequence) % 2, 0);
}

static int write_for_ever(struct segment *segment, void *argument) {
        (void) argument;
        for (uint64_t n = 1; n != 0; n++) {
                struct session_status status = status_of(n);

                session_status_write(segment, 0, &status);
                session_durable_set(segment, 0, n);
                (void) atomic_fetch_add(&segment_pool(segment, 63)->turn_served, 1);
        }
        return 1;
}

/* S10: while it is written, and when its writer is killed anywhere, a copy is whole or refused. */
Test(shm_words, s10_no_torn_copy_is_ever_returned) {
        struct segment *segment = test_segment(4, 16);
        unsigned whole = 0;

        for (unsigned round = 0; round < 60; round++) {
                uint32_t before = atomic_load(&segment_pool(segment, 63)->turn_served);
                pid_t pid = child_run(segment, write_for_ever, NULL);
                uint64_t position;

                while (atomic_load(&segment_pool(segment, 63)->turn_served) - before < 50)
                        ;
                for (unsigned i = 0; i < 3000; i++) {
                        struct session_status status;

                        if (session_status_read(segment, 0, &status) == 0) {
                                cr_assert(status_is_whole(&status), "torn at %lu",
                                          (unsigned long) status.epoch);
                                whole++;
                        }
                        if (session_durable_get(segment, 0, &position) == 0)
                                cr_assert_gt(position, 0);
                }
                cr_assert_eq(kill(pid, SIGKILL), 0);
                (void) child_status(pid);
        }
        cr_assert_gt(whole, 0);
}

Test(shm_words, m14_durable_positions) {
        struct segment *segment = test_segment(4, 16);
        uint64_t position = 4711;

        cr_assert_eq(session_durable_get(segment, 0, &position), -EAGAIN, "unset holds the clean-up");
        cr_assert_eq(session_durable_get(segment, 16, &position), -ERANGE);
        session_durable_set(segment, 0, 0);
        cr_assert_eq(session_durable_get(segment, 0, &position), 0);
        cr_assert_eq(position, 0, "set to nothing yet");
        session_durable_set(segment, 0, 12);
        atomic_store(&segment_status(segment, 0)->durable_position, 13); /* died between the two stores */
        position = 4711;
        cr_assert_eq(session_durable_get(segment, 0, &position), -EAGAIN);
        cr_assert_eq(position, 4711);
}
