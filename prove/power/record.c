/* SPDX-License-Identifier: Apache-2.0 */
/* Plays a variant under the tracer with the recorder, and holds the tape against the directory: if all of it
 * survives, it must be what stands there, to the byte. Must not touch: anything but the world of the play. */
#include "prove/power/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "prove/power/account.h"
#include "prove/power/recorder.h"

struct recording {
        struct world *world;
        const struct variant *variant;
        void (*play)(struct world *world, const struct variant *variant);
        struct recorder *recorder;
        char root[PATH_MAX];
        bool is_accounted_for; /* if all of the tape survives, it is what stands in the directory */
};

static int play(void *argument) {
        const struct recording *recording = argument;

        /* Companions of a worker that was killed come to us, to be reaped. */
        (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
        recording->play(recording->world, recording->variant);
        return 0;
}

static enum trace_verdict on_call(struct tracer *tracer, struct trace_call *call, void *context) {
        (void) tracer;
        return recorder_call(((const struct recording *) context)->recorder, call);
}

static void on_process(struct tracer *tracer, const struct trace_process *process, void *context) {
        (void) tracer;
        recorder_process(((const struct recording *) context)->recorder, process);
}

/* ---- the recording ----------------------------------------------------------------------------- */
/* The driver stands still at a mark, and nothing else of the world runs at the last one. */
static void on_mark(struct tracer *tracer, uint64_t mark, void *context) {
        struct recording *recording = context;
        struct recorder *recorder = recording->recorder;

        (void) tracer;
        if (mark == STEP_BEGIN)
                recorder_start(recorder);
        else if (mark != STEP_END)
                recorder_mark(recorder, scenario_step_name(mark));
        else {
                recorder_stop(recorder);
                recording->is_accounted_for = account_holds(recorder_tape(recorder), recording->root);
        }
}

/* The recorder missed something, or took it for something else: never chance. */
static void tell_unaccounted(struct recording *recording) {
        fprintf(stderr,
                "power: the tape does not account for what stands in %s; it is kept there (power.tape)\n",
                recording->root);
        recording->world->keeps_files = true;
        (void) tape_store(recorder_tape(recording->recorder), AT_FDCWD,
                          world_path(recording->world, "power.tape"));
}

static int run_traced(struct recording *recording) {
        const struct tracer_options options = {
                .on_call = on_call,
                .on_process = on_process,
                .on_mark = on_mark,
                .context = recording,
                .roles = TRACE_BIT(TRACE_COMMAND) | TRACE_BIT(TRACE_APPLICATION) |
                         TRACE_BIT(TRACE_SUPERVISOR) | TRACE_BIT(TRACE_MOVER) | TRACE_BIT(TRACE_TAKEOVER) |
                         TRACE_BIT(TRACE_CONTROL),
        };
        const char *error;
        int status, r;

        r = tracer_run(&options, play, recording, &status);
        error = recorder_error(recording->recorder);
        if (r < 0)
                fprintf(stderr, "power: the tracer failed: %s\n", strerror(-r));
        else if (error)
                fprintf(stderr, "power: the recording cannot be used: %s\n", error);
        else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fprintf(stderr, "power: the scenario itself failed (its own words stand above)\n");
        else if (!recording->is_accounted_for)
                tell_unaccounted(recording);
        else
                return 0;
        return -1;
}

static void recording_begin(struct recording *recording, struct world *world, const char *directory) {
        if (directory)
                (void) setenv("TMPDIR", directory, 1);
        world_begin(world);
        recording->world = world;
        if (!realpath(world->directory, recording->root))
                world_fail(world, "%s: %s", world->directory, strerror(errno));
        recorder_new(recording->root, &recording->recorder);
        tape_base(recorder_tape(recording->recorder),
                  &(struct tape_op){ .kind = TAPE_MARK, .name = recording->variant->name });
}

/* Hands the tape over where all went well. */
static void recording_end(struct recording *recording, bool is_good, struct tape *ret_tape) {
        if (is_good) {
                *ret_tape = *recorder_tape(recording->recorder);
                tape_begin(recorder_tape(recording->recorder));
        }
        recorder_free(recording->recorder);
        world_end(recording->world);
}

int record_variant(const struct variant *variant, const char *directory, struct tape *ret_tape) {
        struct recording recording = { .variant = variant, .play = scenario_play };
        struct world world;
        int r;

        recording_begin(&recording, &world, directory);
        scenario_prepare(&world, variant);
        r = run_traced(&recording);
        recording_end(&recording, r == 0, ret_tape);
        return r;
}

/* ---- of a recovery ----------------------------------------------------------------------------- */
static const char *find_identity(const struct tape *tape, const char *path) {
        const char *found = NULL;
        struct disk disk;

        disk_begin(&disk, tape, BLIND_NOT);
        for (size_t i = 0; i < tape->count && !found; i++)
                if (tape->ops[i].kind == TAPE_IDENTITY &&
                    strcmp(disk_path(&disk, tape->ops[i].file), path) == 0)
                        found = tape->ops[i].name;
        disk_done(&disk);
        return found;
}

/* What the files of the first recording were is what they are taken for, here and in what comes of this tape. */
static void carry_identities(const struct tape *first, struct tape *tape) {
        struct disk disk;

        disk_begin(&disk, tape, BLIND_NOT);
        for (size_t i = 0; i < tape->count; i++) {
                struct tape_op op = tape->ops[i];
                const char *words = op.kind == TAPE_IDENTITY ? find_identity(first, disk_path(&disk, op.file))
                                                             : NULL;

                if (words) {
                        op.name = words;
                        tape_fill(tape, i, &op);
                }
        }
        disk_done(&disk);
}

int record_recovery(const struct replay *replay, const char *directory, struct tape *ret_tape) {
        struct recording recording = { .variant = replay->variant, .play = replay_play };
        struct world world;
        int r;

        recording_begin(&recording, &world, directory);
        replay_build(&world, replay);
        r = run_traced(&recording);
        if (r == 0)
                carry_identities(replay->tape, recorder_tape(recording.recorder));
        recording_end(&recording, r == 0, ret_tape);
        return r;
}
