/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses what of the pending operations a cut leaves: first the extremes, then by seed.
 *
 * Files are chosen for one by one, in the manners that disks have: nothing of it, all, up to a point, from a
 * point on, each operation by a coin, torn ones among them; and sometimes one file against all others,
 * because that is how a destination gets ahead of its source. Must not touch: real files. */
#include "prove/power/cut.h"

#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "prove/power/memory.h"
#include "prove/tracer/tracer.h"

uint64_t cut_random(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
        const uint64_t words[] = { a, b, c, d };
        uint64_t x = 0;

        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                x += words[i] + 0x9e3779b97f4a7c15ULL;
                x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
                x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
                x ^= x >> 31;
        }
        return x;
}

/* Draws one after the other. */
struct dice {
        uint64_t moment, number, seed, drawn;
};

static uint64_t roll(struct dice *dice, uint64_t sides) {
        return cut_random(dice->seed, dice->moment, dice->number, ++dice->drawn) % sides;
}

/* ---- all or nothing ---------------------------------------------------------------------------- */
static void file_fill(const struct disk_file *file, struct cut_file *choice, enum cut_keep keep) {
        memset(choice->keep, keep, file->pending.count);
        choice->sizes_kept = keep == CUT_LOST ? 0 : file->pending.count;
}

static void names_fill(const struct disk *disk, struct cut *cut, bool keep) {
        for (size_t i = 0; i < disk->names.count; i++)
                cut->names[i] = keep;
}

static void all_fill(const struct disk *disk, struct cut *cut, enum cut_keep keep) {
        for (size_t i = 0; i < cut->file_count; i++)
                file_fill(&disk->files[cut->files[i].file], &cut->files[i], keep);
        names_fill(disk, cut, keep != CUT_LOST);
}

/* ---- one operation ----------------------------------------------------------------------------- */
struct place {
        struct cut_file *choice; /* NULL: a name */
        const struct disk_file *file;
        size_t index;
        uint64_t begun;
};

static bool is_open(const struct disk_pending *pending) {
        return !pending->is_durable;
}

static void place_offer(struct place *place, const struct place *offered, bool wants_last, bool *found) {
        if (!*found || (wants_last ? offered->begun > place->begun : offered->begun < place->begun)) {
                *place = *offered;
                *found = true;
        }
}

/* The first or last operation that may be there or not; of writes of more than a sector alone, if so wished. */
static bool find_place(const struct disk *disk, const struct cut *cut, bool wants_last, bool wants_large,
                       struct place *ret_place) {
        bool found = false;

        for (size_t i = 0; i < cut->file_count; i++) {
                const struct disk_file *file = &disk->files[cut->files[i].file];

                for (size_t k = 0; k < file->pending.count; k++) {
                        const struct tape_op *op = file->pending.items[k].op;

                        if (is_open(&file->pending.items[k]) &&
                            (!wants_large || (op->kind == TAPE_WRITE && op->bytes > SECTOR_BYTES)))
                                place_offer(ret_place, &(struct place){ &cut->files[i], file, k, op->begun },
                                            wants_last, &found);
                }
        }
        for (size_t k = 0; k < disk->names.count && !wants_large; k++)
                if (is_open(&disk->names.items[k]))
                        place_offer(ret_place,
                                    &(struct place){ .index = k, .begun = disk->names.items[k].op->begun },
                                    wants_last, &found);
        return found;
}

/* A size that is lost takes the later ones with it (F4); names go each by itself then. */
static void place_lose(struct cut *cut, const struct place *place) {
        if (!place->choice) {
                cut->is_strict = true;
                cut->names[place->index] = false;
                return;
        }
        place->choice->keep[place->index] = CUT_LOST;
        if (place->index + 1 == place->file->pending.count)
                place->choice->sizes_kept = place->index;
}

static void choose_extreme(const struct disk *disk, enum cut_extreme extreme, struct cut *cut) {
        struct place place;

        all_fill(disk, cut, extreme <= CUT_NO_NAMES ? CUT_LOST : CUT_KEPT);
        cut->is_strict = extreme == CUT_NO_NAMES;
        switch (extreme) {
        case CUT_LAST_LOST:
        case CUT_FIRST_LOST:
                if (find_place(disk, cut, extreme == CUT_LAST_LOST, false, &place))
                        place_lose(cut, &place);
                break;
        case CUT_LAST_TORN:
                if (find_place(disk, cut, true, true, &place))
                        place.choice->keep[place.index] = CUT_TORN;
                break;
        case CUT_SIZE_FIRST:
                for (size_t i = 0; i < cut->file_count; i++)
                        memset(cut->files[i].keep, CUT_LOST, disk->files[cut->files[i].file].pending.count);
                break;
        case CUT_DATA_FIRST:
                for (size_t i = 0; i < cut->file_count; i++)
                        cut->files[i].sizes_kept = 0;
                names_fill(disk, cut, false);
                break;
        default:
                break;
        }
}

/* ---- by seed ----------------------------------------------------------------------------------- */
static void choose_sizes(struct dice *dice, size_t count, struct cut_file *choice) {
        choice->sizes_kept = roll(dice, 2) ? count : roll(dice, count + 1);
}

static void choose_file(struct dice *dice, const struct disk_file *file, struct cut_file *choice) {
        size_t count = file->pending.count, edge = roll(dice, count + 1);
        uint64_t manner = roll(dice, 6), odds = 1 + roll(dice, 9);

        if (manner < 2) {
                file_fill(file, choice, manner == 0 ? CUT_LOST : CUT_KEPT);
                return;
        }
        for (size_t k = 0; k < count; k++) {
                bool keep = manner == 2 ? k < edge : manner == 3 ? k >= edge : roll(dice, 10) < odds;

                choice->keep[k] = keep ? CUT_KEPT : CUT_LOST;
                if (manner == 5 && keep && roll(dice, 2))
                        choice->keep[k] = CUT_TORN;
        }
        if (manner == 2 && roll(dice, 2)) {
                choice->sizes_kept = edge;
                if (edge > 0 && roll(dice, 2))
                        choice->keep[edge - 1] = CUT_TORN;
        } else
                choose_sizes(dice, count, choice);
}

static void choose_names(struct dice *dice, const struct disk *disk, struct cut *cut) {
        size_t count = disk->names.count, edge = roll(dice, 3) ? roll(dice, count + 1) : count;

        cut->is_strict = roll(dice, 3) == 0;
        for (size_t i = 0; i < count; i++)
                cut->names[i] = cut->is_strict ? roll(dice, 2) == 0 : i < edge;
}

static void choose_one_against_all(struct dice *dice, const struct disk *disk, struct cut *cut) {
        struct cut_file *one = &cut->files[roll(dice, cut->file_count)];
        bool is_lost = roll(dice, 2) == 0;

        all_fill(disk, cut, is_lost ? CUT_KEPT : CUT_LOST);
        file_fill(&disk->files[one->file], one, is_lost ? CUT_LOST : CUT_KEPT);
}

static void choose_by_seed(struct dice *dice, const struct disk *disk, struct cut *cut) {
        if (cut->file_count > 0 && roll(dice, 4) == 0) {
                choose_one_against_all(dice, disk, cut);
                return;
        }
        for (size_t i = 0; i < cut->file_count; i++)
                choose_file(dice, &disk->files[cut->files[i].file], &cut->files[i]);
        choose_names(dice, disk, cut);
}

/* ---- the whole --------------------------------------------------------------------------------- */
static void cut_begin(const struct disk *disk, struct cut *cut) {
        uint32_t file_count = disk->tape->file_count;

        cut->names = must_have(calloc(disk->names.count + 1, 1));
        cut->files = must_have(calloc(file_count, sizeof(*cut->files)));
        for (uint32_t i = 0; i < file_count; i++)
                if (disk->files[i].pending.count > 0)
                        cut->files[cut->file_count++] = (struct cut_file){
                                .file = i,
                                .keep = must_have(calloc(disk->files[i].pending.count, 1)),
                        };
}

void cut_choose(const struct disk *disk, uint64_t number, uint64_t seed, struct cut *ret_cut) {
        struct dice dice = { .moment = disk->moment, .number = number, .seed = seed };
        struct cut cut = { .moment = disk->moment, .number = number, .seed = seed };

        cut_begin(disk, &cut);
        for (size_t i = 0; i < cut.file_count; i++) {
                cut.files[i].torn_unit = roll(&dice, 2) ? SECTOR_BYTES : PAGE_BYTES;
                cut.files[i].torn_seed = roll(&dice, UINT64_MAX);
        }
        cut.has_stale_shm = roll(&dice, 2) == 0;
        if (number < CUT_EXTREME_COUNT)
                choose_extreme(disk, (enum cut_extreme) number, &cut);
        else
                choose_by_seed(&dice, disk, &cut);
        *ret_cut = cut;
}

void cut_done(struct cut *cut) {
        for (size_t i = 0; i < cut->file_count; i++)
                free(cut->files[i].keep);
        free(cut->files);
        free(cut->names);
        *cut = (struct cut){ 0 };
}

size_t cut_open_count(const struct disk *disk) {
        size_t count = 0;

        for (uint32_t i = 0; i < disk->tape->file_count; i++)
                for (size_t k = 0; k < disk->files[i].pending.count; k++)
                        count += is_open(&disk->files[i].pending.items[k]);
        for (size_t k = 0; k < disk->names.count; k++)
                count += is_open(&disk->names.items[k]);
        return count;
}

/* ---- in words ---------------------------------------------------------------------------------- */
static const char *fate(bool is_durable, uint8_t keep) {
        static const char *const words[] = { [CUT_LOST] = "lost", [CUT_KEPT] = "kept", [CUT_TORN] = "torn" };

        return is_durable ? "durable" : words[keep];
}

static void describe_file(const struct disk *disk, const struct cut_file *choice, FILE *out) {
        const struct disk_file *file = &disk->files[choice->file];

        fprintf(out, "  %s: durable %llu bytes, %zu operations pending, sizes of the first %zu kept",
                disk_path(disk, choice->file), (unsigned long long) file->size, file->pending.count,
                choice->sizes_kept);
        fprintf(out, memchr(choice->keep, CUT_TORN, file->pending.count) ? ", torn in units of %u\n" : "\n",
                choice->torn_unit);
        for (size_t k = 0; k < file->pending.count; k++) {
                const struct disk_pending *pending = &file->pending.items[k];
                const struct tape_op *op = pending->op;

                fprintf(out, "    %-7s %6llu %s at %llu, %llu bytes, by %s %d%s\n",
                        fate(pending->is_durable, choice->keep[k]), (unsigned long long) op->begun,
                        tape_kind_name(op->kind), (unsigned long long) op->offset,
                        (unsigned long long) op->bytes, trace_role_name((enum trace_role) op->role),
                        (int) op->pid, op->ended > disk->moment ? ", had not returned" : "");
        }
}

void cut_describe(const struct disk *disk, const struct cut *cut, FILE *file) {
        fprintf(file, "cut at moment %llu, state %llu, seed %llu; stale -shm: %s\n",
                (unsigned long long) cut->moment, (unsigned long long) cut->number,
                (unsigned long long) cut->seed, cut->has_stale_shm ? "yes" : "no");
        for (size_t i = 0; i < cut->file_count; i++)
                describe_file(disk, &cut->files[i], file);
        if (disk->names.count > 0)
                fprintf(file, "  names, %s:\n", cut->is_strict ? "each by itself" : "in order");
        for (size_t k = 0; k < disk->names.count; k++) {
                const struct disk_pending *pending = &disk->names.items[k];
                const struct tape_op *op = pending->op;
                bool is_durable = cut->is_strict ? pending->is_durable : pending->is_durable_in_order;

                fprintf(file, "    %-7s %6llu %s %s%s%s (%s), by %s %d\n", fate(is_durable, cut->names[k]),
                        (unsigned long long) op->begun, tape_kind_name(op->kind), op->name,
                        op->to_name[0] ? " → " : "", op->to_name, disk_path(disk, op->file),
                        trace_role_name((enum trace_role) op->role), (int) op->pid);
        }
}
