/* SPDX-License-Identifier: Apache-2.0 */
/* A point is the moment at which an operation had returned, or a sync was entered. Where there are more than
 * may be tried, each of the four sorts (names, data, syncs entered, syncs returned) has an equal share, evenly
 * spread, and what one of them has too few for goes to the next.
 *
 * Two states that are the same directory are one: it would be recovered from in the same way. Between two
 * syncs most of the extremes are the same again and again, so this saves most of the work.
 * Must not touch: files. */
#include "prove/power/agenda.h"

#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "prove/power/cut.h"
#include "prove/power/memory.h"

/* In this order: the first are the fewest. */
enum sort { SORT_NAMES, SORT_SYNC_ENTERED, SORT_SYNC_RETURNED, SORT_DATA, SORT_COUNT };

struct point {
        uint64_t moment;
        enum sort sort;
        bool is_chosen;
};

struct seen {
        uint64_t *hashes; /* open addressing; 0: free */
        size_t count, capacity;
};

/* ---- states that were seen --------------------------------------------------------------------- */
static bool seen_put(uint64_t *hashes, size_t capacity, uint64_t hash) {
        size_t at = hash % capacity;

        while (hashes[at] != 0 && hashes[at] != hash)
                at = (at + 1) % capacity;
        if (hashes[at] == hash)
                return false;
        hashes[at] = hash;
        return true;
}

/* True: it is a new one. */
static bool seen_add(struct seen *seen, uint64_t hash) {
        bool is_new;

        if (2 * (seen->count + 1) > seen->capacity) {
                size_t capacity = MAX_OF(2 * seen->capacity, (size_t) 4096);
                uint64_t *hashes = must_have(calloc(capacity, sizeof(*hashes)));

                for (size_t i = 0; i < seen->capacity; i++)
                        if (seen->hashes[i] != 0)
                                (void) seen_put(hashes, capacity, seen->hashes[i]);
                free(seen->hashes);
                seen->hashes = hashes;
                seen->capacity = capacity;
        }
        is_new = seen_put(seen->hashes, seen->capacity, hash ? hash : 1);
        seen->count += is_new;
        return is_new;
}

/* ---- points ------------------------------------------------------------------------------------ */
static int compare_points(const void *a, const void *b) {
        const struct point *x = a, *y = b;

        return (x->moment > y->moment) - (x->moment < y->moment);
}

static void add_points(const struct tape_op *op, struct agenda *agenda, struct point *points) {
        enum sort sort = tape_is_data(op->kind)        ? SORT_DATA
                         : tape_is_directory(op->kind) ? SORT_NAMES
                                                       : SORT_SYNC_RETURNED;

        if (sort == SORT_SYNC_RETURNED)
                points[agenda->point_count++] = (struct point){ op->begun, SORT_SYNC_ENTERED, false };
        if (op->ended != TAPE_NEVER)
                points[agenda->point_count++] = (struct point){ op->ended, sort, false };
}

static struct point *list_points(const struct tape *tape, struct agenda *agenda) {
        struct point *points = must_have(calloc(2 * tape->count + 1, sizeof(*points)));

        for (size_t i = 0; i < tape->count; i++) {
                const struct tape_op *op = &tape->ops[i];
                bool is_data = tape_is_data(op->kind), is_name = tape_is_directory(op->kind);

                if (op->is_base || (!is_data && !is_name && !tape_is_sync(op->kind)))
                        continue;
                agenda->op_count++;
                agenda->data_count += is_data;
                agenda->name_count += is_name;
                agenda->sync_count += tape_is_sync(op->kind);
                add_points(op, agenda, points);
        }
        qsort(points, agenda->point_count, sizeof(*points), compare_points);
        return points;
}

/* `wanted` of the points of one sort, evenly. Returns how many were chosen. */
static size_t spread(struct point *points, size_t count, enum sort sort, size_t wanted) {
        size_t all = 0, seen = 0, chosen = 0;

        for (size_t i = 0; i < count; i++)
                all += points[i].sort == sort;
        wanted = MIN_OF(wanted, all);
        for (size_t i = 0; i < count; i++) {
                if (points[i].sort != sort)
                        continue;
                seen++;
                /* The one with which the share of those chosen would fall behind. */
                if (chosen * all < seen * wanted) {
                        points[i].is_chosen = true;
                        chosen++;
                }
        }
        return chosen;
}

static void choose_points(struct point *points, size_t count, const struct agenda_options *options) {
        size_t left = options->points ? MIN_OF(options->points, count) : count;
        bool wants_all = left == count;

        for (unsigned sort = 0; sort < SORT_COUNT; sort++)
                left -= spread(points, count, (enum sort) sort,
                               wants_all ? count : (left + SORT_COUNT - sort - 1) / (SORT_COUNT - sort));
        for (size_t i = 0; options->only_moment != UINT64_MAX && i < count; i++)
                points[i].is_chosen = points[i].moment == options->only_moment;
}

/* ---- states ------------------------------------------------------------------------------------ */
static void agenda_add(struct agenda *agenda, uint64_t moment, uint64_t number) {
        if (agenda->count == agenda->capacity) {
                agenda->capacity = MAX_OF(2 * agenda->capacity, (size_t) 1024);
                agenda->states = must_have(
                        reallocarray(agenda->states, agenda->capacity, sizeof(*agenda->states)));
        }
        agenda->states[agenda->count++] = (struct agenda_state){ moment, number };
}

static void try_state(struct agenda *agenda, const struct disk *disk, const struct agenda_options *options,
                      uint64_t number, struct seen *seen) {
        struct cut cut;
        struct cut_image image;

        cut_choose(disk, number, options->seed, &cut);
        cut_build(disk, &cut, &image);
        agenda->state_count++;
        if (seen_add(seen, cut_image_hash(&image)))
                agenda_add(agenda, disk->moment, number);
        cut_image_done(&image);
        cut_done(&cut);
}

static void try_point(struct agenda *agenda, const struct disk *disk, const struct agenda_options *options,
                      struct seen *seen) {
        /* With nothing open there is one state. */
        uint64_t states = cut_open_count(disk) == 0 ? 1 : options->states;

        agenda->tried_point_count++;
        if (options->only_state != UINT64_MAX)
                try_state(agenda, disk, options, options->only_state, seen);
        else
                for (uint64_t number = 0; number < states; number++)
                        try_state(agenda, disk, options, number, seen);
}

void agenda_make(const struct tape *tape, const struct agenda_options *options, struct agenda *ret_agenda) {
        struct agenda agenda = { 0 };
        struct seen seen = { 0 };
        struct point *points = list_points(tape, &agenda);
        struct disk disk;

        choose_points(points, agenda.point_count, options);
        disk_begin(&disk, tape, options->blindness);
        for (size_t i = 0; i < agenda.point_count; i++) {
                if (!points[i].is_chosen)
                        continue;
                disk_advance(&disk, points[i].moment);
                try_point(&agenda, &disk, options, &seen);
        }
        disk_done(&disk);
        free(points);
        free(seen.hashes);
        *ret_agenda = agenda;
}

void agenda_done(struct agenda *agenda) {
        free(agenda->states);
        *agenda = (struct agenda){ 0 };
}
