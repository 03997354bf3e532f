/* SPDX-License-Identifier: Apache-2.0 */
/* Recovers from all states of an agenda, and tells of those that did not hold.
 *
 * Recovery runs on tmpfs where there is one: what it syncs is not at stake any more.
 * Must not touch: anything but the worlds of its recoveries, and the tape's file where one fails. */
#include "prove/power/round.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/fleet.h"
#include "prove/power/replay.h"

#define TAPE_NAME "power.tape"
#define RECOVERY_SECONDS 120

static void recover(size_t index, struct world *world, void *data, void *context) {
        const struct round *round = context;
        const struct agenda_state *state = &round->agenda.states[index];
        const struct replay replay = {
                .tape = round->tape,
                .variant = round->variant->after ? round->variant->after : round->variant,
                .blindness = round->how.blindness,
                .moment = state->moment,
                .number = state->number,
                .seed = round->how.seed,
        };

        (void) data;
        replay_run(world, &replay);
}

void round_keep_tape(const struct tape *tape, const char *file) {
        int r = tape_store(tape, AT_FDCWD, file);

        if (r < 0)
                fprintf(stderr, "power: cannot write %s: %s\n", file, strerror(-r));
}

static void tell_kept(const struct round *round, const struct agenda_state *state, const char *directory) {
        enum disk_blindness blindness = round->how.blindness;
        char file[WORLD_PATH_BYTES + 32];

        (void) snprintf(file, sizeof(file), "%s/" TAPE_NAME, directory);
        round_keep_tape(round->tape, file);
        printf("    kept: %s (state.log: what was lost; power.tape: the recording)\n", directory);
        printf("    again: make power TAPE=%s POINT=%" PRIu64 ":%" PRIu64 " SEED=%" PRIu64 "%s%s\n", file,
               state->moment, state->number, round->how.seed, blindness == BLIND_NOT ? "" : " BLIND=",
               blindness == BLIND_NOT ? "" : disk_blindness_name(blindness));
}

static bool recovered(size_t index, const struct fleet_result *result, const void *data, void *context) {
        struct round *round = context;
        const struct agenda_state *state = &round->agenda.states[index];

        (void) data;
        if (result->outcome == FLEET_HELD)
                return true;
        round->totals->failures++;
        printf("  FAILED: %s, point %" PRIu64 ", state %" PRIu64 "%s: %s\n", round->variant->name,
               state->moment, state->number, result->outcome == FLEET_HUNG ? " (hung)" : "", result->message);
        if (result->directory[0])
                tell_kept(round, state, result->directory);
        (void) fflush(stdout);
        return round->failures_max == 0 || round->totals->failures < round->failures_max;
}

static void tell_agenda(const struct round *round) {
        const struct agenda *agenda = &round->agenda;

        printf("%s (%s): %zu operations recorded in %.1f s: %zu of data, %zu of names, %zu syncs\n",
               round->variant->name, round->variant->what, agenda->op_count,
               (double) round->span_usec / USEC_PER_SEC, agenda->data_count, agenda->name_count,
               agenda->sync_count);
        printf("  %zu points of %zu%s, %" PRIu64 " states, %zu of them different\n",
               agenda->tried_point_count, agenda->point_count,
               agenda->tried_point_count < agenda->point_count ? ", evenly spread" : "", agenda->state_count,
               agenda->count);
        (void) fflush(stdout);
}

static int recover_all(struct round *round) {
        const struct fleet_options options = {
                .directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : round->directory,
                .limit_seconds = RECOVERY_SECONDS,
                .context = round,
                .run = recover,
                .done = recovered,
        };
        unsigned before = round->totals->failures;
        uint64_t began_usec = clock_usec();
        int r;

        r = fleet_run(&options, round->agenda.count);
        if (r == -EINTR)
                return 130;
        if (r < 0) {
                fprintf(stderr, "power: %s\n", strerror(-r));
                return 1;
        }
        if (round->totals->failures == before)
                printf("  all %zu held, in %.0f s\n", round->agenda.count,
                       (double) (clock_usec() - began_usec) / USEC_PER_SEC);
        (void) fflush(stdout);
        return round->totals->failures > before;
}

int round_run(struct round *round) {
        int code;

        agenda_make(round->tape, &round->how, &round->agenda);
        tell_agenda(round);
        round->totals->points += round->agenda.tried_point_count;
        round->totals->states += round->agenda.state_count;
        round->totals->different += round->agenda.count;
        code = round->agenda.count > 0 ? recover_all(round) : 2;
        if (code == 2)
                fprintf(stderr, "power: the tape has no such point\n");
        agenda_done(&round->agenda);
        return code;
}
