/* SPDX-License-Identifier: Apache-2.0 */
/* Points, and which of them are one. Along a lane, entry and exit of a quiet call are (quiet.c), and so are an
 * exit and the next entry between which shared memory did not change (memory.c). A row of such neighbours is
 * tried once, at its first point. */
#include <string.h>

#include "base/macro.h"
#include "prove/crash/trials.h"

void counts_merge(struct run_data *most, const struct run_data *run) {
        for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
                if (run->call_counts[lane] <= most->call_counts[lane])
                        continue;
                most->call_counts[lane] = run->call_counts[lane];
                memcpy(most->calls[lane], run->calls[lane],
                       run->call_counts[lane] * sizeof(run->calls[lane][0]));
        }
}

static void trials_add(struct trials *trials, const struct point *point) {
        if (trials->try_count == trials->try_capacity) {
                trials->try_capacity = trials->try_capacity ? trials->try_capacity * 2 : 1024;
                trials->tries = reallocarray(trials->tries, trials->try_capacity, sizeof(trials->tries[0]));
                assert(trials->tries);
        }
        trials->tries[trials->try_count++] = *point;
}

static void trials_lane(struct trials *trials, unsigned lane, const struct counted_call *calls,
                        uint32_t count) {
        uint32_t by_number[NUMBERS_MAX] = { 0 };

        trials->calls[lane] = count;
        for (uint32_t i = 0; i < count; i++) {
                const struct counted_call *call = &calls[i];
                struct point point = { .lane = lane, .phase = trials->phase, .number = call->number };

                point.call = ++by_number[call->number % NUMBERS_MAX];
                trials->points[lane]++;
                if (i == 0 || !calls[i - 1].has_returned || !call->is_same)
                        trials_add(trials, &point);
                if (!call->has_returned)
                        continue;
                point.at_exit = true;
                trials->points[lane]++;
                if (!call->is_quiet)
                        trials_add(trials, &point);
        }
}

void trials_make(struct trials *trials, const struct variant *variant, enum crash_phase phase,
                 const struct run_data *counts) {
        *trials = (struct trials){ .variant = variant, .phase = phase };
        for (unsigned lane = 0; lane < LANE_COUNT; lane++)
                trials_lane(trials, lane, counts->calls[lane], counts->call_counts[lane]);
}

static bool is_first_or_last(const struct counted_call *calls, uint32_t count, uint32_t i) {
        bool has_before = false, has_after = false;

        for (uint32_t k = 0; k < count; k++) {
                bool is_alike = k != i && calls[k].number == calls[i].number &&
                                calls[k].place == calls[i].place;

                has_before |= is_alike && k < i;
                has_after |= is_alike && k > i;
        }
        return !has_before || !has_after;
}

static void errors_lane(struct trials *trials, unsigned lane, const struct counted_call *calls,
                        uint32_t count) {
        uint32_t by_number[NUMBERS_MAX] = { 0 };

        trials->calls[lane] = count;
        for (uint32_t i = 0; i < count; i++) {
                struct point point = { .lane = lane, .phase = trials->phase, .number = calls[i].number };

                point.call = ++by_number[calls[i].number % NUMBERS_MAX];
                for (unsigned fault = 1; fault < FAULT_COUNT; fault++) {
                        if (calls[i].is_unlock || !fault_fits((enum fault) fault, calls[i].number))
                                continue;
                        trials->points[lane]++;
                        point.fault = (enum fault) fault;
                        if (is_first_or_last(calls, count, i))
                                trials_add(trials, &point);
                }
        }
}

void trials_make_errors(struct trials *trials, const struct variant *variant, enum crash_phase phase,
                        const struct run_data *counts) {
        *trials = (struct trials){ .variant = variant, .phase = phase };
        for (unsigned lane = 0; lane < LANE_COUNT; lane++)
                errors_lane(trials, lane, counts->calls[lane], counts->call_counts[lane]);
}

void trials_done(struct trials *trials) {
        free(trials->tries);
        *trials = (struct trials){ 0 };
}
