/* SPDX-License-Identifier: Apache-2.0 */
/* What is held back, and that all of it is counted. */

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/log_limit.h"

#define START_USEC (1000 * USEC_PER_SEC)
#define BURST 10u
/* A kind with that burst, and one that is crowded. */
#define KIND MESSAGE_SESSION_STOPPED
#define CROWDED MESSAGE_SESSION_OWNED

static uint32_t told_with; /* held_count of the last line that was admitted */

static bool say(enum message_kind kind, const char *session, const char *sentence, uint64_t now_usec) {
        const struct log_fields fields = { .session = session };
        const struct log_said said = { kind, LOG_WARNING, &fields, sentence };

        return log_limit_admits(&said, message_of(kind)->is_crowded, now_usec, &told_with);
}

static uint32_t say_times(uint32_t times, enum message_kind kind, const char *session, uint64_t now_usec) {
        uint32_t admitted = 0;

        for (uint32_t i = 0; i < times; i++)
                admitted += say(kind, session, "a line", now_usec);
        return admitted;
}

Test(log_limit, a_burst_is_told_and_the_rest_is_held_back) {
        struct log_held held;

        cr_assert_eq(message_of(KIND)->burst, BURST);
        cr_assert_eq(say_times(BURST + 5, KIND, "orders", START_USEC), BURST);
        cr_assert(log_limit_is_pending());
        cr_assert_not(log_limit_next(false, START_USEC + LIMIT_WINDOW_USEC - 1, &held), "its window goes on");
        cr_assert(log_limit_next(false, START_USEC + LIMIT_WINDOW_USEC, &held));
        cr_assert_eq(held.kind, KIND);
        cr_assert_eq(held.count, 5);
        cr_assert_str_eq(held.fields.session, "orders");
        cr_assert_not(log_limit_is_pending());
        cr_assert_not(log_limit_next(true, START_USEC + LIMIT_WINDOW_USEC, &held), "told once");
}

Test(log_limit, the_next_line_tells_the_count_of_the_window_before) {
        cr_assert_eq(say_times(BURST + 7, KIND, "orders", START_USEC), BURST);
        cr_assert(say(KIND, "orders", "again", START_USEC + LIMIT_WINDOW_USEC));
        cr_assert_eq(told_with, 7);
        cr_assert_not(log_limit_is_pending());
        cr_assert(say(KIND, "orders", "again", START_USEC + LIMIT_WINDOW_USEC));
        cr_assert_eq(told_with, 0);
        cr_assert_eq(say_times(BURST, KIND, "orders", START_USEC + LIMIT_WINDOW_USEC), BURST - 2,
                     "the window has begun with them");
}

Test(log_limit, the_last_is_kept_and_the_gravest_priority) {
        const struct log_fields fields = { .session = "orders", .destination = "events", .reason = "full" };
        struct log_fields last = fields;
        struct log_held held;

        (void) say_times(BURST, KIND, "orders", START_USEC);
        cr_assert_not(log_limit_admits(&(struct log_said){ KIND, LOG_ERR, &fields, "the first" }, false,
                                       START_USEC + 1, &told_with));
        last.position = 42;
        last.destination = NULL;
        cr_assert_not(log_limit_admits(&(struct log_said){ KIND, LOG_INFO, &last, "the last" }, false,
                                       START_USEC + 2, &told_with));
        cr_assert(log_limit_next(true, START_USEC + 3, &held), "all: before its window has ended");
        cr_assert_eq(held.priority, LOG_ERR);
        cr_assert_eq(held.count, 2);
        cr_assert_eq(held.last_usec, START_USEC + 2);
        cr_assert_str_eq(held.sentence, "the last");
        cr_assert_str_eq(held.fields.reason, "full");
        cr_assert_eq(held.fields.position, 42);
        cr_assert_null(held.fields.destination);
}

Test(log_limit, subjects_and_kinds_have_a_burst_each) {
        const struct log_fields fields = { .destination = "orders" };
        const struct log_said of_destination = { KIND, LOG_ERR, &fields, "a line" };
        const struct log_said of_nobody = { KIND, LOG_ERR, NULL, "a line" };

        cr_assert_eq(say_times(BURST + 1, KIND, "orders", START_USEC), BURST);
        cr_assert_eq(say_times(BURST + 1, KIND, "payments", START_USEC), BURST);
        cr_assert_eq(say_times(BURST + 1, MESSAGE_EVENT_PARKED, "orders", START_USEC), BURST);
        cr_assert(log_limit_admits(&of_destination, false, START_USEC, &told_with), "it is no session");
        cr_assert(log_limit_admits(&of_nobody, false, START_USEC, &told_with));
}

/* What goes to and fro by the second is told less often than what an operator counts. */
Test(log_limit, the_burst_is_the_kinds) {
        cr_assert_lt(say_times(100, MESSAGE_SESSION_WAITS, "orders", START_USEC), BURST);
        cr_assert_eq(say_times(256, MESSAGE_WORKER_ENDED, "orders", START_USEC), 256,
                     "as many workers as may be");
}

Test(log_limit, of_a_crowd_eight_a_second_are_told) {
        struct log_held held;
        char session[32];
        uint32_t admitted = 0;

        for (int i = 0; i < 100; i++) {
                (void) snprintf(session, sizeof session, "s%d", i);
                admitted += say(CROWDED, session, "a line", START_USEC);
        }
        cr_assert_eq(admitted, LIMIT_CROWD_BURST);
        cr_assert_not(log_limit_next(false, START_USEC + LIMIT_CROWD_USEC - 1, &held));
        cr_assert(log_limit_next(false, START_USEC + LIMIT_CROWD_USEC, &held));
        cr_assert_eq(held.count, 100 - LIMIT_CROWD_BURST);
        cr_assert_null(held.fields.session);
        cr_assert_eq(held.sentence[0], '\0');
        cr_assert(say(CROWDED, "s99", "a line", START_USEC + LIMIT_CROWD_USEC));
}

Test(log_limit, where_a_crowd_is_no_matter_all_are_told) {
        const struct log_fields fields = { .session = "orders" };
        const struct log_said said = { CROWDED, LOG_INFO, &fields, "a line" };
        uint32_t admitted = 0;

        for (int i = 0; i < 100; i++)
                admitted += log_limit_admits(&said, false, START_USEC, &told_with);
        cr_assert_eq(admitted, message_of(CROWDED)->burst);
}

/* A thread that read the clock earlier may come later. */
Test(log_limit, a_clock_a_little_behind_begins_no_window) {
        cr_assert_eq(say_times(BURST, KIND, "orders", START_USEC), BURST);
        cr_assert_not(say(KIND, "orders", "a line", START_USEC - 1));
}

static uint64_t drain(bool all, uint64_t now_usec) {
        struct log_held held;
        uint64_t count = 0;

        while (log_limit_next(all, now_usec, &held)) {
                cr_assert_gt(held.count, 0);
                count += held.count;
        }
        return count;
}

/* Far more sessions than there is room for, in no order, over many windows: told or counted, each. */
Test(log_limit, no_line_is_lost) {
        uint64_t now_usec = START_USEC, told = 0, said = 0;
        uint32_t seed = 1;
        char session[32];

        for (int i = 0; i < 200000; i++) {
                seed = seed * 1103515245 + 12345;
                (void) snprintf(session, sizeof session, "s%u", seed >> 16 & (i & 1 ? 0x3fff : 0x3f));
                now_usec += seed >> 24 & 0xff ? 1000 : USEC_PER_SEC;
                said++;
                if (say(seed >> 8 & 1 ? KIND : MESSAGE_SESSION_WAITS, session, "a line", now_usec))
                        told += 1 + told_with;
                if (i % 1000 == 0)
                        told += drain(false, now_usec);
        }
        cr_assert_lt(told, said);
        told += drain(true, now_usec);
        cr_assert_eq(told, said);
        cr_assert_not(log_limit_is_pending());
}

#define THREAD_COUNT 4
#define LINE_COUNT 5000

static void *say_many(void *argument) {
        uint64_t *ret_told = argument;
        char session[32];

        for (int i = 0; i < LINE_COUNT; i++) {
                const struct log_fields fields = { .session = session };
                const struct log_said said = { KIND, LOG_WARNING, &fields, "a line" };
                struct log_held held;
                uint32_t held_count = 0;
                uint64_t now_usec = START_USEC + (uint64_t) i * USEC_PER_SEC / 10;

                (void) snprintf(session, sizeof session, "s%d", i % 7);
                if (log_limit_admits(&said, false, now_usec, &held_count))
                        *ret_told += 1 + held_count;
                if (log_limit_next(false, now_usec, &held))
                        *ret_told += held.count;
        }
        return NULL;
}

Test(log_limit, threads_lose_no_line) {
        pthread_t threads[THREAD_COUNT];
        uint64_t told[THREAD_COUNT] = { 0 }, sum = 0;

        for (int i = 0; i < THREAD_COUNT; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, say_many, &told[i]), 0);
        for (int i = 0; i < THREAD_COUNT; i++) {
                cr_assert_eq(pthread_join(threads[i], NULL), 0);
                sum += told[i];
        }
        cr_assert_eq(sum + drain(true, START_USEC), THREAD_COUNT * LINE_COUNT);
}
