/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule: what is done when, and to whom, drawn before anything begins, each harm from a stream of its own.
 * Must not touch: a clock, or anything that a run does. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "prove/torture/torture.h"

/* Of the mean: no two beginnings of one harm are nearer or farther. */
#define GAP_LEAST_PERCENT 40
#define GAP_MOST_PERCENT 160

static void add(struct schedule *schedule, const struct action *action) {
        struct action *more = realloc(schedule->actions, (schedule->count + 1) * sizeof(*more));

        if (!more)
                abort();
        schedule->actions = more;
        schedule->actions[schedule->count++] = *action;
}

static uint64_t draw_span_usec(struct dice *dice, const struct harm_kind *kind) {
        return dice_between(dice, kind->span_msec_min, kind->span_msec_max) * USEC_PER_MSEC;
}

static void schedule_harm(struct schedule *schedule, uint64_t seed, enum harm harm, uint64_t until_usec) {
        const struct harm_kind *kind = &harm_kinds[harm];
        struct dice dice = dice_split(seed, kind->name, 0);
        uint64_t mean_usec = 60 * USEC_PER_SEC / kind->per_minute;
        uint64_t at_usec = dice_below(&dice, mean_usec);

        while (at_usec < until_usec) {
                struct action action = { .due_usec = at_usec, .harm = harm };

                action.span_usec = draw_span_usec(&dice, kind);
                for (size_t i = 0; i < ELEMENTSOF(action.picks); i++)
                        action.picks[i] = dice_next(&dice) >> 1;
                add(schedule, &action);
                at_usec += action.span_usec +
                           mean_usec * dice_between(&dice, GAP_LEAST_PERCENT, GAP_MOST_PERCENT) / 100;
        }
}

static int compare(const void *a, const void *b) {
        const struct action *first = a, *second = b;

        if (first->due_usec != second->due_usec)
                return first->due_usec < second->due_usec ? -1 : 1;
        return (int) first->harm - (int) second->harm;
}

void schedule_make(uint64_t seed, unsigned seconds, struct schedule *ret_schedule) {
        *ret_schedule = (struct schedule){ 0 };
        for (enum harm harm = 0; harm < HARM_COUNT; harm++)
                schedule_harm(ret_schedule, seed, harm, seconds * USEC_PER_SEC);
        if (ret_schedule->count > 0)
                qsort(ret_schedule->actions, ret_schedule->count, sizeof(ret_schedule->actions[0]), compare);
}

void schedule_print(const struct schedule *schedule, FILE *file) {
        for (size_t i = 0; i < schedule->count; i++) {
                const struct action *action = &schedule->actions[i];

                (void) fprintf(file,
                               "plan %9.3f s  %-16s for %6.3f s  picks %" PRIx64 " %" PRIx64 " %" PRIx64
                               " %" PRIx64 "\n",
                               (double) action->due_usec / 1e6, harm_kinds[action->harm].name,
                               (double) action->span_usec / 1e6, action->picks[0], action->picks[1],
                               action->picks[2], action->picks[3]);
        }
}

void schedule_done(struct schedule *schedule) {
        free(schedule->actions);
        *schedule = (struct schedule){ 0 };
}
