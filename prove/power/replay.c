/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the state in a world, starts Baton on it, lets the application go on, and asks the judge.
 *
 * In one half of the states Baton comes first: it must move what the sources still hold, and no more may
 * stand at the destination. In the other the application comes first, and takes the numbers of what was
 * lost for other events: whatever Baton had moved too early is then in their place (M11).
 * Must not touch: anything but the world. */
#include "prove/power/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/tracer/tracer.h"
#include "prove/world/outbox.h"

#define SHM_BYTES 32768
#define COPIES "copies"
#define PLAY_SALT 1000000 /* as no state has */

/* ---- the state as files ------------------------------------------------------------------------ */
static void write_file(struct world *world, const char *path, const void *data, uint64_t bytes, mode_t mode) {
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd < 0 || fd_pwrite_all(fd, data, bytes, 0) < 0 || fchmod(fd, mode) < 0)
                world_fail(world, "cannot write %s: %s", path, strerror(errno));
}

static void place_entry(struct world *world, const struct cut_entry *entry) {
        const char *path = world_path(world, entry->path);

        if (!entry->is_directory)
                write_file(world, path, entry->content, entry->size, (mode_t) entry->mode);
        else if (mkdir(path, (mode_t) entry->mode) < 0 && errno != EEXIST)
                world_fail(world, "cannot make %s: %s", path, strerror(errno));
}

static bool ends_with(const char *text, const char *end) {
        size_t bytes = strlen(text), end_bytes = strlen(end);

        return bytes >= end_bytes && strcmp(text + bytes - end_bytes, end) == 0;
}

/* What is in a -shm after a cut was never meant for a disk: SQLite makes it anew. */
static void place_stale_shm(struct world *world, const struct cut *cut, const char *database) {
        uint64_t words[SHM_BYTES / sizeof(uint64_t)];
        char path[WORLD_PATH_BYTES];

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                words[i] = cut_random(cut->seed, cut->moment, cut->number, i);
        (void) snprintf(path, sizeof(path), "%.400s-shm", world_path(world, database));
        write_file(world, path, words, sizeof(words), 0644);
}

static void note_identities(struct world *world, const struct tape *tape, const struct cut_image *image) {
        for (size_t i = 0; i < tape->count; i++)
                for (size_t k = 0; tape->ops[i].kind == TAPE_IDENTITY && k < image->count; k++)
                        if (image->entries[k].file == tape->ops[i].file)
                                world_identity(world, world_path(world, image->entries[k].path),
                                               tape->ops[i].name);
}

static void place_image(struct world *world, const struct replay *replay, const struct cut *cut,
                        const struct cut_image *image) {
        for (size_t i = 0; i < image->count; i++)
                place_entry(world, &image->entries[i]);
        for (size_t i = 0; cut->has_stale_shm && i < image->count; i++)
                if (ends_with(image->entries[i].path, ".db"))
                        place_stale_shm(world, cut, image->entries[i].path);
        note_identities(world, replay->tape, image);
}

static void describe(struct world *world, const struct disk *disk, const struct cut *cut) {
        FILE *file = fopen(world_path(world, "state.log"), "we");

        if (!file)
                world_fail(world, "cannot describe the state");
        cut_describe(disk, cut, file);
        (void) fclose(file);
}

void replay_build(struct world *world, const struct replay *replay) {
        struct disk disk;
        struct cut cut;
        struct cut_image image;

        scenario_know(world, replay->variant);
        disk_begin(&disk, replay->tape, replay->blindness);
        disk_advance(&disk, replay->moment);
        cut_choose(&disk, replay->number, replay->seed, &cut);
        describe(world, &disk, &cut);
        cut_build(&disk, &cut, &image);
        place_image(world, replay, &cut, &image);
        scenario_configure(world, replay->variant);
        cut_image_done(&image);
        cut_done(&cut);
        disk_done(&disk);
}

/* ---- what the sources still hold --------------------------------------------------------------- */
/* In a copy: to look is to recover, and Baton shall find the state as the cut left it. */
static uint64_t surviving_last(struct world *world, size_t index) {
        const struct world_outbox *outbox = &world->outboxes[index];
        char file[WORLD_PATH_BYTES];

        (void) snprintf(file, sizeof(file), "%.400s/%.60s.db", world_path(world, COPIES), outbox->name);
        return (uint64_t) database_number(world, file,
                                          outbox->has_ledger ? "SELECT coalesce(max(seq), 0) FROM ledger"
                                                             : "SELECT coalesce(max(seq), 0) FROM outbox");
}

/* M11, before Baton could mend or refuse anything: what stands at the destination, stands at the sources. Of a
 * file this holds up to the journal's record alone, so it is judged after recovery. */
static void judge_survivors(struct world *world) {
        char destination[WORLD_PATH_BYTES * 2];
        struct world_outbox outboxes[WORLD_OUTBOX_MAX];

        memcpy(outboxes, world->outboxes, sizeof(outboxes));
        for (size_t i = 0; i < world->outbox_count; i++)
                (void) snprintf(world->outboxes[i].file, sizeof(world->outboxes[i].file), "%.400s/%.60s.db",
                                world_path(world, COPIES), outboxes[i].name);
        (void) snprintf(destination, sizeof(destination), "sqlite:%s/d.db", world_path(world, COPIES));
        /* The judge reads only, and a destination that was being made may have a hot journal. */
        if (access(destination + strlen("sqlite:"), F_OK) == 0)
                database_run(world, destination + strlen("sqlite:"), "SELECT count(*) FROM sqlite_schema");
        check_destination(world, destination, "--live");
        memcpy(world->outboxes, outboxes, sizeof(outboxes));
}

static void look_at_survivors(struct world *world, const struct variant *variant, uint64_t *ret_lasts) {
        world_shell(world, "mkdir " COPIES " && for f in *.db *.db-wal *.db-journal; do"
                           " [ ! -f \"$f\" ] || cp \"$f\" " COPIES "/ || exit 1; done");
        for (size_t i = 0; i < world->outbox_count; i++)
                ret_lasts[i] = surviving_last(world, i);
        if (!variant->is_file)
                judge_survivors(world);
        world_shell(world, "rm -rf " COPIES);
}

/* ---- recovery ---------------------------------------------------------------------------------- */
/* Also where nothing is to be moved: before its owner has claimed it, the destination may be half made. */
static bool has_arrived(struct world *world, const char *session, uint64_t last) {
        struct session_status status;

        if (session_is(world, session, SESSION_STOPPED))
                world_fail(world, "session %s stopped: %s", session, session_reason(world, session));
        return session_status(world, session, &status) &&
               (status.phase == SESSION_IDLE || status.phase == SESSION_MOVING) &&
               status.position != UINT64_MAX && status.position >= last;
}

static void wait_arrived(struct world *world, const uint64_t *lasts) {
        for (size_t i = 0; i < world->outbox_count; i++)
                WAIT_UNTIL(world, has_arrived(world, world->outboxes[i].name, lasts[i]));
}

static void wait_present(struct world *world) {
        uint64_t lasts[WORLD_OUTBOX_MAX];

        for (size_t i = 0; i < world->outbox_count; i++)
                lasts[i] = outbox_last(world, world->outboxes[i].name);
        wait_arrived(world, lasts);
}

/* A hot journal is its application's to roll back (M12). */
static void application_opens(struct world *world) {
        for (size_t i = 0; i < world->outbox_count; i++)
                (void) outbox_last(world, world->outboxes[i].name);
}

static void start_and_wait(struct world *world, const struct variant *variant, const uint64_t *lasts) {
        world_start(world);
        if (variant->has_rollback_source)
                application_opens(world);
        wait_arrived(world, lasts);
}

static void baton_comes_first(struct world *world, const struct replay *replay) {
        uint64_t lasts[WORLD_OUTBOX_MAX];

        look_at_survivors(world, replay->variant, lasts);
        start_and_wait(world, replay->variant, lasts);
        check_destination(world, scenario_destination(world, replay->variant), "--final");
        scenario_go_on(world, replay->variant, (unsigned) replay->number + 1);
}

static void application_comes_first(struct world *world, const struct replay *replay) {
        scenario_go_on(world, replay->variant, (unsigned) replay->number + 1);
        world_start(world);
}

/* The checker lists what was parked, and finds it in order if there is a reason: here there is none. */
static void expect_nothing_parked(struct world *world) {
        for (const char *at = world->output; (at = strstr(at, ", parked ")) != NULL; at++)
                if (strtoul(at + strlen(", parked "), NULL, 10) != 0)
                        world_fail(world, "events were parked:\n%s", world->output);
}

static void expect_clean_journals(struct world *world) {
        if (baton(world, "journal", "check", world_path(world, "state/journal")) != 0)
                world_fail(world, "baton journal check:\n%s", world->output);
}

void replay_run(struct world *world, const struct replay *replay) {
        int r;

        replay_build(world, replay);
        if (cut_random(replay->seed, replay->moment, replay->number, 77) & 1)
                application_comes_first(world, replay);
        else
                baton_comes_first(world, replay);
        wait_present(world);
        r = world_stop(world);
        if (r != 0)
                world_fail(world, "batond ended with %d", r);
        check_destination(world, scenario_destination(world, replay->variant), "--final");
        expect_nothing_parked(world);
        expect_clean_journals(world);
}

void replay_play(struct world *world, const struct variant *variant) {
        uint64_t lasts[WORLD_OUTBOX_MAX];

        look_at_survivors(world, variant, lasts);
        tracer_mark(STEP_BEGIN);
        tracer_mark(STEP_RECOVER);
        start_and_wait(world, variant, lasts);
        tracer_mark(STEP_GO_ON);
        scenario_go_on(world, variant, PLAY_SALT);
        wait_present(world);
        tracer_mark(STEP_STOP);
        if (world_stop(world) != 0)
                world_fail(world, "batond did not end well");
        tracer_mark(STEP_END);
        check_destination(world, scenario_destination(world, variant), "--final");
}
