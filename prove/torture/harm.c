/* SPDX-License-Identifier: Apache-2.0 */
/* The table of harms, and the engine that does what the schedule says. What is due and not possible just now is
 * tried again for a moment, then given up, with the reason in the log; others do not wait for it. */
#include <stdarg.h>
#include <string.h>

#include "prove/torture/torture.h"

#define PATIENCE_USEC (500 * USEC_PER_MSEC)

/* Begun by turning the storm into a calm, in which the schedule stands still. */
static enum harm_result begin_calm(struct torture *torture, const struct action *action) {
        (void) action;
        torture->is_storm = false;
        calm_begin(torture);
        return HARM_DONE;
}

const struct harm_kind harm_kinds[HARM_COUNT] = {
        [HARM_KILL] = { .name = "kill", .per_minute = 30, .is_death = true, .begin = harm_kill },
        [HARM_SEGV] = { .name = "segv", .per_minute = 8, .is_death = true, .begin = harm_kill },
        [HARM_PAIR] = { .name = "pair", .per_minute = 12, .is_death = true, .begin = harm_pair },
        [HARM_POOL] = { .name = "pool", .per_minute = 3, .is_death = true, .begin = harm_pool },
        [HARM_STOP] = { .name = "stop",
                        .per_minute = 8,
                        .span_msec_min = 20,
                        .span_msec_max = 7000,
                        .begin = harm_stop,
                        .end = harm_stop_end },
        [HARM_SUPERVISOR_KILL] = { .name = "supervisor-kill",
                                   .per_minute = 5,
                                   .is_death = true,
                                   .begin = harm_supervisor_kill },
        [HARM_SUPERVISOR_STOP] = { .name = "supervisor-stop",
                                   .per_minute = 4,
                                   .span_msec_min = 50,
                                   .span_msec_max = 6000,
                                   .begin = harm_supervisor_stop,
                                   .end = harm_supervisor_stop_end },
        [HARM_TOGETHER] = { .name = "together", .per_minute = 3, .is_death = true, .begin = harm_together },
        [HARM_EVERYTHING] = { .name = "everything",
                              .per_minute = 1,
                              .is_death = true,
                              .begin = harm_everything },
        [HARM_RESTART] = { .name = "restart", .per_minute = 1, .begin = harm_restart },
        [HARM_SCALE] = { .name = "scale", .per_minute = 8, .begin = harm_scale },
        [HARM_RELOAD] = { .name = "reload", .per_minute = 8, .begin = harm_reload },
        [HARM_DISK_FULL] = { .name = "disk-full",
                             .per_minute = 3,
                             .span_msec_min = 500,
                             .span_msec_max = 4000,
                             .available = harm_disk_full_available,
                             .begin = harm_disk_full,
                             .end = harm_disk_full_end },
        [HARM_DISK_FAILS] = { .name = "disk-fails",
                              .per_minute = 8,
                              .span_msec_min = 20,
                              .span_msec_max = 1500,
                              .begin = harm_disk_fails,
                              .end = harm_disk_fails_end },
        [HARM_VANISH] = { .name = "vanish",
                          .per_minute = 6,
                          .span_msec_min = 100,
                          .span_msec_max = 3000,
                          .begin = harm_vanish,
                          .end = harm_vanish_end },
        [HARM_CLOCK] = { .name = "clock", .per_minute = 6, .begin = harm_clock },
        [HARM_SATURATION] = { .name = "saturation",
                              .per_minute = 3,
                              .span_msec_min = 1000,
                              .span_msec_max = 5000,
                              .begin = harm_saturation,
                              .end = harm_saturation_end },
        [HARM_MEMORY] = { .name = "out-of-memory",
                          .per_minute = 4,
                          .span_msec_min = 1500,
                          .span_msec_max = 1500,
                          .available = harm_memory_available,
                          .begin = harm_memory,
                          .end = harm_memory_end },
        [HARM_CALM] = { .name = "calm", .per_minute = 6, .begin = begin_calm },
};

void harm_survey(struct torture *torture) {
        for (enum harm harm = 0; harm < HARM_COUNT; harm++) {
                struct harm_run *run = &torture->harms[harm];

                if (!harm_kinds[harm].available)
                        continue;
                run->is_missing = !harm_kinds[harm].available(torture, run->reason, sizeof(run->reason));
                if (run->is_missing)
                        torture_log(torture, "%s is not done here: %s", harm_kinds[harm].name, run->reason);
        }
}

/* ---- one harm ------------------------------------------------------------------------------------ */
static void harm_finish(struct torture *torture, enum harm harm) {
        struct harm_run *run = &torture->harms[harm];

        run->is_active = false;
        run->last_usec = clock_usec();
        torture_log(torture, "end    %s", harm_kinds[harm].name);
        harm_kinds[harm].end(torture, &run->action);
}

static void harm_try(struct torture *torture, enum harm harm) {
        const struct harm_kind *kind = &harm_kinds[harm];
        struct harm_run *run = &torture->harms[harm];
        enum harm_result result;

        torture->said[0] = '\0';
        torture->concerned = (1U << TARGET_COUNT) - 1;
        result = kind->begin(torture, &run->action);
        if (result == HARM_NOT_YET && torture->storm_usec < run->until_usec)
                return;
        run->is_pending = false;
        if (result != HARM_DONE) {
                torture_log(torture, "not    %s: %s", kind->name,
                            torture->said[0] ? torture->said : "nobody is there, or M6 forbids it");
                return;
        }
        run->count++;
        run->target_bits = torture->concerned;
        run->last_usec = clock_usec();
        torture_log(torture, "begin  %s %s", kind->name, torture->said);
        run->is_active = kind->end != NULL;
        run->until_usec = torture->storm_usec + run->action.span_usec;
}

static void harm_due(struct torture *torture, const struct action *action) {
        struct harm_run *run = &torture->harms[action->harm];

        if (run->is_missing)
                return;
        if (run->is_active || run->is_pending) {
                torture_log(torture, "not    %s: the last one still lasts", harm_kinds[action->harm].name);
                return;
        }
        run->action = *action;
        run->is_pending = true;
        run->until_usec = torture->storm_usec + PATIENCE_USEC;
}

/* ---- all of them ----------------------------------------------------------------------------------- */
void harm_turn(struct torture *torture) {
        while (torture->schedule_next < torture->schedule.count &&
               torture->schedule.actions[torture->schedule_next].due_usec <= torture->storm_usec)
                harm_due(torture, &torture->schedule.actions[torture->schedule_next++]);
        for (enum harm harm = 0; harm < HARM_COUNT && torture->is_storm; harm++) {
                struct harm_run *run = &torture->harms[harm];

                if (run->is_active && torture->storm_usec >= run->until_usec)
                        harm_finish(torture, harm);
                if (run->is_pending)
                        harm_try(torture, harm);
        }
        if (torture->harms[HARM_DISK_FULL].is_active)
                harm_disk_full_turn(torture);
}

void harm_end_all(struct torture *torture) {
        for (enum harm harm = 0; harm < HARM_COUNT; harm++) {
                if (torture->harms[harm].is_active)
                        harm_finish(torture, harm);
                torture->harms[harm].is_pending = false;
        }
}
