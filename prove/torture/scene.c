/* SPDX-License-Identifier: Apache-2.0 */
/* The tables, and the configuration that says the same to Baton.
 *
 * Each destination has one writer that never pauses, so that a gap in its commits is somebody's doing. Together
 * they write a few hundred events a second: enough that a kill finds a transaction, little enough that the
 * judge reads all of it several times a second. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "prove/torture/torture.h"

#define BIT(index) (1U << (index))

/* Somebody's trigger refuses these (scene_poison()), so they must be parked, and nothing else. */
#define POISONED "type = '" WRITER_POISON "'"

const struct target targets[TARGET_COUNT] = {
        [TARGET_FUSED] = { .name = "fused",
                           .scheme = "sqlite",
                           .place = "fused.db",
                           .query = "",
                           .lines = "fused = yes\n",
                           .workers = 3,
                           .parked = POISONED },
        [TARGET_ROWS] = { .name = "rows",
                          .scheme = "sqlite",
                          .place = "small/rows.db",
                          .query = "",
                          .lines = "fused = no\n",
                          .workers = 2,
                          .is_small = true,
                          .parked = POISONED },
        [TARGET_FILES] = { .name = "files",
                           .scheme = "file",
                           .place = "files",
                           .query = "?rotate-size=256K&rotate-time=20s",
                           .lines = "",
                           .workers = 2,
                           .parked = "0" },
        [TARGET_LINES] = { .name = "lines",
                           .scheme = "file",
                           .place = "small/lines",
                           .query = "?rotate-size=128K",
                           .lines = "",
                           .workers = 2,
                           .is_small = true,
                           .parked = "0" },
};

const struct origin origins[ORIGIN_COUNT] = {
        [ORIGIN_STEADY] = { .name = "steady",
                            .query = "",
                            .target_bits = BIT(TARGET_FUSED),
                            .per_second = 150,
                            .writer = { .transaction_events = 3 } },
        [ORIGIN_ERASED] = { .name = "erased",
                            .query = "?clean-up=delete",
                            .target_bits = BIT(TARGET_FUSED) | BIT(TARGET_ROWS),
                            .per_second = 120,
                            .writer = { .normal = true, .rolls_back = true, .pauses_msec = 1500 } },
        [ORIGIN_MARKED] = { .name = "marked",
                            .query = "?clean-up=mark",
                            .target_bits = BIT(TARGET_ROWS),
                            .per_second = 120,
                            .writer = { .transaction_events = 3, .poisons = true } },
        [ORIGIN_SHARED] = { .name = "shared",
                            .query = "",
                            .target_bits = BIT(TARGET_FUSED) | BIT(TARGET_FILES),
                            .per_second = 120,
                            .writer = { .normal = true, .transaction_events = 3, .leaves_gaps = true } },
        [ORIGIN_MIXED] = { .name = "mixed",
                           .query = "",
                           .target_bits = BIT(TARGET_FILES),
                           .per_second = 25,
                           .writer = { .mixes_classes = true, .rolls_back = true } },
        [ORIGIN_BURNED] = { .name = "burned",
                            .query = "?clean-up=delete",
                            .target_bits = BIT(TARGET_FILES) | BIT(TARGET_LINES),
                            .per_second = 120,
                            .writer = { .lingers_msec = 1500, .transaction_events = 60 } },
        [ORIGIN_NOTED] = { .name = "noted",
                           .query = "?clean-up=mark",
                           .target_bits = BIT(TARGET_LINES),
                           .per_second = 120,
                           .writer = { .normal = true, .transaction_events = 3 } },
        [ORIGIN_GUEST] = { .name = "guest",
                           .query = "",
                           .target_bits = BIT(TARGET_FUSED),
                           .is_guest = true,
                           .per_second = 80,
                           .writer = { .poisons = true, .lingers_msec = 600, .rolls_back = true } },
        [ORIGIN_VISITOR] = { .name = "visitor",
                             .query = "?clean-up=delete",
                             .target_bits = BIT(TARGET_LINES),
                             .is_guest = true,
                             .per_second = 80,
                             .writer = { .normal = true, .pauses_msec = 1000, .leaves_gaps = true } },
};

/* ---- the configuration ------------------------------------------------------------------------- */
static void write_target(FILE *text, const struct torture *torture, size_t index) {
        const struct target *target = &targets[index];
        const struct target_run *run = &torture->targets[index];

        (void) fprintf(text,
                       "\n[destination %s]\nurl = %s:%%D/%s%s\nworkers = %u\nbatch-rows = %u\n"
                       "batch-time = %ums\nparked-limit = 1000000000\n%s",
                       target->name, target->scheme, target->place, target->query, target->workers,
                       run->batch_rows, run->batch_msec, target->lines);
}

static void write_origin(FILE *text, const struct origin *origin) {
        const char *comma = "";

        (void) fprintf(text, "\n[source %s]\nurl = sqlite:%%D/%s/%s.db%s\nto = ", origin->name, origin->name,
                       origin->name, origin->query);
        for (size_t i = 0; i < TARGET_COUNT; i++)
                if (origin->target_bits & BIT(i)) {
                        (void) fprintf(text, "%s%s", comma, targets[i].name);
                        comma = ", ";
                }
        (void) fputc('\n', text);
}

void scene_configure(struct torture *torture) {
        char *text = NULL;
        size_t bytes = 0;
        FILE *stream = open_memstream(&text, &bytes);

        assert(stream);
        (void) fprintf(stream, "[baton]\nstall-timeout = %ums\nadopt-timeout = %ums\n", STALL_MSEC,
                       ADOPT_MSEC);
        for (size_t i = 0; i < TARGET_COUNT; i++)
                write_target(stream, torture, i);
        for (size_t i = 0; i < ORIGIN_COUNT; i++)
                if (torture->origins[i].is_wanted)
                        write_origin(stream, &origins[i]);
        assert(fclose(stream) == 0);
        world_config(&torture->world, text);
        free(text);
}

/* ---- what must be there before ------------------------------------------------------------------- */
static void make_outbox(struct torture *torture, size_t index) {
        const struct origin *origin = &origins[index];
        struct world *world = &torture->world;
        char file[160];

        (void) mkdir(world_path(world, origin->name), 0750);
        (void) snprintf(file, sizeof(file), "%s/%s", origin->name, origin->name);
        if (strstr(origin->query, "delete"))
                world_outbox_cleaned(world, file);
        else
                world_outbox(world, file);
        /* Writers know it by its name. */
        (void) snprintf(world->outboxes[index].name, sizeof(world->outboxes[index].name), "%s", origin->name);
        if (world->outboxes[index].has_ledger) /* before the judge looks for it */
                database_run(world, world->outboxes[index].file,
                             "CREATE TABLE ledger(seq INTEGER PRIMARY KEY, key, type, at, payload)");
        if (strstr(origin->query, "mark"))
                database_run(world, world->outboxes[index].file, "ALTER TABLE outbox ADD COLUMN moved_at");
}

static void name_sessions(struct torture *torture) {
        for (size_t o = 0; o < ORIGIN_COUNT; o++)
                for (size_t t = 0; t < TARGET_COUNT; t++) {
                        struct session_run *session = &torture->sessions[torture->session_count];
                        bool is_only = origins[o].target_bits == BIT(t);

                        if (!(origins[o].target_bits & BIT(t)))
                                continue;
                        *session = (struct session_run){ .origin = o, .target = t };
                        (void) snprintf(session->name, sizeof(session->name), "%s%s%s", origins[o].name,
                                        is_only ? "" : "/", is_only ? "" : targets[t].name);
                        torture->session_count++;
                }
}

void scene_make(struct torture *torture) {
        for (size_t i = 0; i < TARGET_COUNT; i++) {
                torture->targets[i].batch_rows = BATCH_ROWS;
                torture->targets[i].batch_msec = BATCH_MSEC;
                if (strcmp(targets[i].scheme, "file") == 0)
                        (void) mkdir(world_path(&torture->world, targets[i].place), 0750);
        }
        for (size_t i = 0; i < ORIGIN_COUNT; i++) {
                torture->origins[i].is_wanted = true;
                make_outbox(torture, i);
        }
        name_sessions(torture);
        scene_configure(torture);
}

/* After Baton has made its tables. */
void scene_poison(struct torture *torture) {
        for (size_t i = 0; i < TARGET_COUNT; i++)
                if (strcmp(targets[i].scheme, "sqlite") == 0)
                        database_run(&torture->world, world_path(&torture->world, targets[i].place),
                                     "CREATE TRIGGER somebodys BEFORE INSERT ON baton_events"
                                     " WHEN NEW." POISONED " BEGIN SELECT RAISE(ABORT, 'refused'); END");
}

/* ---- writers --------------------------------------------------------------------------------------- */
void scene_write(struct torture *torture) {
        /* What is written in all is bounded, so that the judge keeps up in a long run too. */
        unsigned slower = MAX_OF(torture->seconds / 60, 1U);

        for (size_t i = 0; i < ORIGIN_COUNT; i++) {
                struct writer_options options = origins[i].writer;

                options.source = origins[i].name;
                options.events = UINT64_MAX;
                options.per_second = MAX_OF(origins[i].per_second / slower, 10U);
                options.stops = &torture->shared->writers_stop;
                torture->origins[i].writer = writer_start(&torture->world, &options);
        }
}

/* Where it is now, for the judge and for us. */
const char *scene_file(const struct torture *torture, size_t origin) {
        char name[160];

        (void) snprintf(name, sizeof(name), "%s%s/%s.db", torture->origins[origin].is_away ? "away-" : "",
                        origins[origin].name, origins[origin].name);
        return world_path(&torture->world, name);
}
