/* SPDX-License-Identifier: Apache-2.0 */
/* A calm: all harm ends, everything is set as it was, and then whatever the sources hold must be moved within a
 * bound, with nobody stopped. It is where a hang, and a session that waits for nothing, is found. Writers and
 * judges go on.
 * Must not touch: anything but by what an operator would do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "prove/torture/torture.h"
#include "shm/words.h"

static const char *const step_names[] = {
        [CALM_NONE] = "over",
        [CALM_SUPERVISOR] = "no supervisor has taken the segment",
        [CALM_RELOAD] = "the configuration is not read anew",
        [CALM_SCALE] = "the number of workers cannot be set",
        [CALM_COUNT] = "the sources cannot be counted",
        [CALM_MOVED] = "not everything is moved",
};

void calm_begin(struct torture *torture) {
        struct calm_run *calm = &torture->calm;

        harm_end_all(torture);
        for (size_t i = 0; i < TARGET_COUNT; i++) {
                torture->targets[i].batch_rows = BATCH_ROWS;
                torture->targets[i].batch_msec = BATCH_MSEC;
        }
        for (size_t i = 0; i < ORIGIN_COUNT; i++)
                torture->origins[i].is_wanted = true;
        scene_configure(torture);
        torture->supervisor.restart_usec = MIN_OF(torture->supervisor.restart_usec, clock_usec());
        *calm = (struct calm_run){ .step = CALM_SUPERVISOR,
                                   .begun_usec = clock_usec(),
                                   .count = calm->count };
        watch_logs(torture);
}

/* Asked again until it was done: the supervisor may have been replaced meanwhile. */
static bool is_asked_and_done(struct torture *torture, enum operator_job which) {
        struct calm_run *calm = &torture->calm;
        struct job_run *job = &torture->jobs[which];

        if (calm->is_asked && job->has_ended) {
                calm->is_asked = false;
                return job->exit_code == 0;
        }
        if (!calm->is_asked)
                calm->is_asked = which == JOB_RELOAD ? operator_ask_reload(torture)
                                                     : operator_ask_scale(torture, calm->target,
                                                                          targets[calm->target].workers);
        return false;
}

static void count_sources(struct torture *torture) {
        for (size_t i = 0; i < ORIGIN_COUNT; i++)
                torture->origins[i].last = outbox_last(&torture->world, origins[i].name);
}

/* What one that has not moved is waiting for, in its own words. */
static bool has_moved(struct torture *torture, const struct session_run *session, char *ret_why,
                      size_t bytes) {
        struct world *world = &torture->world;
        uint64_t last = torture->origins[session->origin].last;
        struct session_status status;

        if (!session_status(world, session->name, &status)) {
                (void) snprintf(ret_why, bytes, "session %s has no slot", session->name);
                return false;
        }
        if (status.phase != SESSION_STOPPED && status.position != UINT64_MAX && status.position >= last)
                return true;
        (void) snprintf(ret_why, bytes,
                        "session %s stands at %" PRIu64 " of %" PRIu64 ", phase %d, owner %d: %s",
                        session->name, status.position, last, (int) status.phase,
                        (int) session_owner(world, session->name), status.reason);
        return false;
}

static bool have_all_moved(struct torture *torture, char *ret_why, size_t bytes) {
        for (size_t i = 0; i < torture->session_count; i++)
                if (!has_moved(torture, &torture->sessions[i], ret_why, bytes))
                        return false;
        return true;
}

/* What we broke is mended, so from here on it excuses nobody. */
static void calm_end(struct torture *torture) {
        struct calm_run *calm = &torture->calm;

        for (size_t i = 0; i < ORIGIN_COUNT; i++)
                torture->origins[i].sync_failed = false;
        for (size_t i = 0; i < TARGET_COUNT; i++)
                torture->targets[i].write_failed = false;
        torture_log(torture, "calm: everything was moved after %.3f s",
                    (double) (clock_usec() - calm->begun_usec) / 1e6);
        calm->step = CALM_NONE;
        calm->count++;
        torture->is_storm = true;
}

void calm_turn(struct torture *torture) {
        struct calm_run *calm = &torture->calm;
        char why[512] = "";
        bool done = false;

        switch (calm->step) {
        case CALM_NONE:
                return;
        case CALM_SUPERVISOR:
                done = supervise_is_up(torture);
                break;
        case CALM_RELOAD:
                done = is_asked_and_done(torture, JOB_RELOAD);
                break;
        case CALM_SCALE:
                if (is_asked_and_done(torture, JOB_SCALE))
                        calm->target++;
                done = calm->target == TARGET_COUNT;
                break;
        case CALM_COUNT:
                count_sources(torture);
                done = true;
                break;
        case CALM_MOVED:
                done = have_all_moved(torture, why, sizeof(why));
                break;
        }
        if (done && calm->step == CALM_MOVED)
                calm_end(torture);
        else if (done)
                calm->step++;
        else if (clock_usec() - calm->begun_usec > CALM_MOST_USEC)
                torture_fail(torture, "%d s after all harm has ended %s: %s",
                             (int) (CALM_MOST_USEC / USEC_PER_SEC), step_names[calm->step], why);
}
