/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule of the torture: of the seed alone, one stream for each harm. */
#include <criterion/criterion.h>
#include <string.h>

#include "prove/torture/torture.h"

static struct schedule make(uint64_t seed, unsigned seconds) {
        struct schedule schedule;

        schedule_make(seed, seconds, &schedule);
        return schedule;
}

Test(torture_schedule, is_a_function_of_the_seed) {
        struct schedule first = make(7, 60), again = make(7, 60), other = make(8, 60);

        cr_assert_eq(first.count, again.count);
        cr_assert_arr_eq(first.actions, again.actions, first.count * sizeof(first.actions[0]));
        cr_assert(first.count != other.count ||
                  memcmp(first.actions, other.actions, first.count * sizeof(first.actions[0])) != 0);
        schedule_done(&first);
        schedule_done(&again);
        schedule_done(&other);
}

Test(torture_schedule, of_a_longer_run_begins_like_that_of_a_shorter_one) {
        struct schedule brief = make(7, 20), longer = make(7, 200);

        cr_assert_gt(longer.count, brief.count);
        cr_assert_arr_eq(brief.actions, longer.actions, brief.count * sizeof(brief.actions[0]));
        schedule_done(&brief);
        schedule_done(&longer);
}

Test(torture_schedule, does_every_harm_about_as_often_as_the_table_says) {
        unsigned counts[HARM_COUNT] = { 0 };
        struct schedule schedule = make(7, 3600);

        for (size_t i = 0; i < schedule.count; i++) {
                const struct action *action = &schedule.actions[i];
                const struct harm_kind *kind = &harm_kinds[action->harm];

                counts[action->harm]++;
                cr_assert(i == 0 || schedule.actions[i - 1].due_usec <= action->due_usec);
                cr_assert(action->span_usec >= kind->span_msec_min * USEC_PER_MSEC &&
                          action->span_usec <= kind->span_msec_max * USEC_PER_MSEC);
        }
        for (enum harm harm = 0; harm < HARM_COUNT; harm++) {
                const struct harm_kind *kind = &harm_kinds[harm];
                /* A harm that lasts begins its pause when it is over. */
                double busy_msec = (kind->span_msec_min + kind->span_msec_max) / 2.0;
                double expected = 3600e3 / (60e3 / kind->per_minute + busy_msec);

                cr_assert(counts[harm] > 0.8 * expected && counts[harm] < 1.2 * expected,
                          "%s: %u, expected %.0f", kind->name, counts[harm], expected);
        }
        schedule_done(&schedule);
}

/* What one actor does never depends on how often another has drawn. */
Test(torture_schedule, streams_are_independent) {
        struct dice kill = dice_split(7, "kill", 0), stop = dice_split(7, "stop", 0),
                    again = dice_split(7, "kill", 0);

        cr_assert_neq(dice_next(&kill), dice_next(&stop));
        for (unsigned i = 0; i < 10; i++)
                (void) dice_next(&stop);
        (void) dice_next(&again);
        cr_assert_eq(dice_next(&kill), dice_next(&again));
}

Test(torture_schedule, a_number_between_two_is_between_them) {
        struct dice dice = dice_split(7, "between", 0);
        bool least = false, most = false;

        for (unsigned i = 0; i < 1000; i++) {
                uint64_t number = dice_between(&dice, 3, 9);

                cr_assert(number >= 3 && number <= 9);
                least = least || number == 3;
                most = most || number == 9;
        }
        cr_assert(least && most, "both ends are drawn");
}
