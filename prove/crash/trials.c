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

/* ---- errors ------------------------------------------------------------------------------------ */
#define PLACES_MAX 8192u

struct places {
        size_t count;
        struct place {
                enum trace_role role;
                enum crash_phase phase;
                uint16_t number;
                uint32_t place;
        } list[PLACES_MAX];
};

struct places *places_new(void) {
        struct places *places = calloc(1, sizeof(*places));

        assert(places);
        return places;
}

static bool places_have(const struct places *places, const struct place *place) {
        for (size_t i = 0; i < places->count; i++)
                if (places->list[i].place == place->place && places->list[i].number == place->number &&
                    places->list[i].role == place->role && places->list[i].phase == place->phase)
                        return true;
        return false;
}

/* False: it was there. */
static bool places_enter(struct places *places, const struct place *place) {
        if (places_have(places, place))
                return false;
        assert(places->count < PLACES_MAX);
        places->list[places->count++] = *place;
        return true;
}

/* What passes by itself is one class to Baton (base/failure.c), whatever its name: the last of them stands for all.
 * A disk that is broken, one that is full, and half of what was asked for are each one of their own. */
static bool fault_stands_for_class(enum fault fault, uint16_t number) {
        if (!fault_passes(fault))
                return true;
        for (unsigned other = fault + 1; other < FAULT_COUNT; other++)
                if (fault_passes((enum fault) other) && fault_fits((enum fault) other, number))
                        return false;
        return true;
}

enum depth { TRY_NOTHING, TRY_CLASSES, TRY_ALL };

static void errors_call(struct trials *trials, struct point point, enum depth depth) {
        for (unsigned i = FAULT_KILL + 1; i < FAULT_COUNT; i++) {
                point.fault = (enum fault) i;
                if (!fault_fits(point.fault, point.number))
                        continue;
                trials->points[point.lane]++;
                if (depth == TRY_ALL ||
                    (depth == TRY_CLASSES && fault_stands_for_class(point.fault, point.number)))
                        trials_add(trials, &point);
        }
}

static bool is_alike(const struct counted_call *a, const struct counted_call *b) {
        return a->number == b->number && a->place == b->place;
}

/* The lanes of a role are one row, by birth. */
static bool has_later(const struct run_data *counts, unsigned lane, uint32_t index) {
        for (unsigned at = lane; at < LANE_COUNT && lane_role(at) == lane_role(lane); at++)
                for (uint32_t i = at == lane ? index + 1 : 0; i < counts->call_counts[at]; i++)
                        if (is_alike(&counts->calls[at][i], &counts->calls[lane][index]) &&
                            !counts->calls[at][i].is_spared)
                                return true;
        return false;
}

static uint32_t ordinal_at_place(const struct counted_call *calls, uint32_t index) {
        uint32_t ordinal = 1;

        for (uint32_t i = 0; i < index; i++)
                ordinal += is_alike(&calls[i], &calls[index]);
        return ordinal;
}

static void errors_lane(struct trials *trials, unsigned lane, const struct run_data *counts,
                        const struct places *before, struct places *now) {
        const struct counted_call *calls = counts->calls[lane];

        trials->calls[lane] = counts->call_counts[lane];
        for (uint32_t i = 0; i < counts->call_counts[lane]; i++) {
                const struct place place = { lane_role(lane), trials->phase, calls[i].number,
                                             calls[i].place };
                const bool is_known = places_have(before, &place);
                enum depth depth = TRY_NOTHING;

                if (calls[i].is_spared)
                        continue;
                if (places_enter(now, &place))
                        depth = !is_known ? TRY_ALL : place.role == TRACE_MOVER ? TRY_CLASSES : TRY_NOTHING;
                else if (!is_known && !has_later(counts, lane, i))
                        depth = TRY_CLASSES;
                errors_call(trials,
                            (struct point){ .lane = lane,
                                            .phase = trials->phase,
                                            .number = calls[i].number,
                                            .place = calls[i].place,
                                            .call = ordinal_at_place(calls, i) },
                            depth);
        }
}

void trials_make_errors(struct trials *trials, const struct variant *variant, enum crash_phase phase,
                        const struct run_data *counts, struct places *places) {
        struct places *now = places_new();

        *trials = (struct trials){ .variant = variant, .phase = phase };
        for (unsigned lane = 0; lane < LANE_COUNT; lane++)
                errors_lane(trials, lane, counts, places, now);
        for (size_t i = 0; i < now->count; i++)
                (void) places_enter(places, &now->list[i]);
        free(now);
}

void trials_done(struct trials *trials) {
        free(trials->tries);
        *trials = (struct trials){ 0 };
}
