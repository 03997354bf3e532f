/* SPDX-License-Identifier: Apache-2.0 */
/* What is played, once undisturbed to be counted and then once for each point. Every step waits for what the
 * segment says, never for a time, so a run is short and its calls are nearly the same each time.
 *
 * Somebody is killed once, at any of its calls. The scenario goes on as an operator would: a supervisor that
 * is gone is started again, a command that failed is repeated. In the end everything must be moved, nothing
 * parked, nobody stopped, and all leave in order. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/crash/crash.h"
#include "prove/crash/outcomes.h"
#include "prove/world/outbox.h"

#define DESTINATION "d"
#define TRIES_MAX 50
#define WORKER_THREADS 3u /* mover, takeover, control */

const struct variant crash_variants[] = {
        { "fused", "sqlite", "d.db", "sqlite:%D/d.db", "", false },
        { "row", "sqlite", "d.db", "sqlite:%D/d.db", "fused = no\n", true },
        { "file", "file", "out", "file:%D/out?rotate-size=2K", "", false },
};
const size_t crash_variant_count = ELEMENTSOF(crash_variants);

const struct variant *crash_variant_find(const char *name) {
        for (size_t i = 0; i < crash_variant_count; i++)
                if (strcmp(crash_variants[i].name, name) == 0)
                        return &crash_variants[i];
        return NULL;
}

/* ---- seeing to the hit ------------------------------------------------------------------------- */
/* False: it cannot be judged now (a journal waits for somebody who may roll it back). */
static bool check(struct play *play, const char *mode) {
        char destination[WORLD_PATH_BYTES * 2];
        int r;

        (void) snprintf(destination, sizeof(destination), "%s:%s/%s", play->variant->scheme,
                        play->world->directory, play->variant->destination);
        r = check_code(play->world, destination, mode);
        if (r == 1)
                world_fail(play->world, "the checker says (%s):\n%.1000s", mode, play->world->output);
        return r == 0;
}

static bool destination_stands(const struct play *play) {
        return access(world_path(play->world, play->variant->destination), F_OK) == 0;
}

static void supervisor_start(struct play *play);

/* Who ends of a fault says so by its code: not by a signal, and not as if it had been told to leave. */
static void look_at_ends(struct play *play) {
        const struct run_data *data = play->data;

        if (data->died_of != 0)
                world_fail(play->world, "%s of %s: a process of Baton ended by signal %d",
                           fault_name(play->fault), call_name(data->hit_number), data->died_of);
        if (data->has_left)
                world_fail(play->world,
                           "%s of %s: a process of Baton left with code 0, and nobody had told it to",
                           fault_name(play->fault), call_name(data->hit_number));
}

/* M7: the failures are counted in the segment, which outlives who counted them. */
static bool was_latched(struct world *world) {
        const struct segment *segment = world_segment(world);

        for (uint32_t i = 0; segment && i < segment->pool_count; i++)
                if (atomic_load(&segment_pool(segment, i)->sync_failures) != 0)
                        return true;
        return false;
}

/* Some faults may stop a session, with the right reason; then the operator accepts it, as the reason says. A kill
 * never does, not even for a moment. */
static void accept_stops(struct play *play) {
        play->data->was_latched |= was_latched(play->world);
        for (size_t i = 0; i < play->world->outbox_count; i++) {
                const char *name = play->world->outboxes[i].name;
                struct session_status status;

                if (!session_status(play->world, name, &status))
                        continue;
                play->data->has_waited |= status.phase == SESSION_WAITING;
                if (status.phase != SESSION_STOPPED)
                        continue;
                if (!play->data->is_fault)
                        world_fail(play->world, "session %s stopped, and nothing was made to fail: \"%s\"",
                                   name, status.reason);
                if (!stop_is_right(play->fault, play->data->hit_number, play->data->hit_object, name,
                                   status.reason))
                        world_fail(play->world, "%s of %s on %s is not why session %s may stop: \"%s\"",
                                   fault_name(play->fault), call_name(play->data->hit_number),
                                   play->data->hit_object, name, status.reason);
                play->data->was_stopped = true;
                (void) snprintf(play->data->reason, sizeof(play->data->reason), "%s", status.reason);
                (void) baton(play->world, "adopt", name);
        }
}

/* Once after the hit: it is dead, and what stands at this moment is a prefix. */
static void attend(struct play *play) {
        struct world *world = play->world;

        if (play->data->is_hit && !play->data->is_attended) {
                const char source[2] = { object_source(play->data->hit_object) };

                play->data->was_hit_owner = source[0] && session_owner(world, source) == play->data->hit_pid;
                WAIT_UNTIL(world, play->data->is_fault || !process_is_alive(play->data->hit_pid));
                play->data->is_attended = !destination_stands(play) || check(play, "--live");
        }
        if (play->data->is_fault)
                look_at_ends(play);
        accept_stops(play);
        if (world->batond > 0 && !process_is_alive(world->batond)) {
                int r = wait_exit(world->batond);

                world->batond = 0;
                if (!play->data->is_hit_supervisor)
                        world_fail(world, "batond ended by itself (%d)", r);
                play->data->may_leave =
                        true; /* one that the last had just started is one too many for the next */
                supervisor_start(play);
        }
}

#define UNTIL(play, condition)                                                            \
        do {                                                                              \
                uint64_t _since = wait_begin();                                           \
                while (attend(play), !(condition))                                        \
                        wait_step((play)->world, _since, #condition, __FILE__, __LINE__); \
        } while (0)

static bool supervisor_stands(struct world *world) {
        return world_segment(world) && (pid_t) world->segment->header->supervisor_pid == world->batond;
}

static void supervisor_start(struct play *play) {
        play->world->batond = world_start_unwaited(play->world, play->world->config);
        UNTIL(play, supervisor_stands(play->world));
}

/* ---- steps ------------------------------------------------------------------------------------- */
static void configure(struct play *play, unsigned workers, bool is_reloaded) {
        char text[2048];

        (void) snprintf(text, sizeof(text),
                        "[baton]\nsessions = 4\nmax-workers = 8\nadopt-timeout = 5s\n\n"
                        "[destination " DESTINATION "]\nurl = %s\nworkers = %u\nbatch-rows = %u\n%s\n"
                        "[source a]\nurl = sqlite:%%D/a.db\nto = " DESTINATION "\n\n"
                        "[source b]\nurl = sqlite:%%D/b.db?clean-up=delete\nto = " DESTINATION "\n\n%s",
                        play->variant->destination_url, workers, is_reloaded ? 6 : 8,
                        play->variant->destination_lines,
                        is_reloaded ? "[source c]\nurl = sqlite:%D/c.db\nto = " DESTINATION "\n" : "");
        world_config(play->world, text);
}

/* A command that the supervisor's death cut off is given again. */
static void command(struct play *play, char **argv) {
        for (unsigned i = 0; i < TRIES_MAX; i++) {
                attend(play);
                if (world_run_list(play->world, argv) == 0)
                        return;
                (void) usleep(2000);
        }
        world_fail(play->world, "baton %s: %s", argv[1], play->world->output);
}

static void scale(struct play *play, const char *workers) {
        char *argv[] = { "baton", "scale", DESTINATION, (char *) workers, NULL };

        command(play, argv);
}

static void reload(struct play *play) {
        char *argv[] = { "baton", "reload", NULL };

        configure(play, 1, true);
        play->world->outbox_count = 3;
        command(play, argv);
}

/* Of both sources, in several transactions, as applications write. */
static void write_events(struct play *play, unsigned events) {
        struct writer_options options = { .events = events, .transaction_events = 3 };
        pid_t writers[2];

        for (unsigned i = 0; i < 2; i++) {
                options.source = play->world->outboxes[i].name;
                writers[i] = writer_start(play->world, &options);
        }
        for (unsigned i = 0; i < 2; i++)
                writer_wait(play->world, writers[i]);
}

static void until_all_moved(struct play *play) {
        for (size_t i = 0; i < play->world->outbox_count; i++) {
                const char *name = play->world->outboxes[i].name;
                uint64_t last = outbox_last(play->world, name);

                UNTIL(play, session_position(play->world, name) >= last);
        }
}

static void until_settled(struct play *play, unsigned workers) {
        UNTIL(play, pool_is_settled(play->world, DESTINATION, workers, NULL));
}

static bool nobody_is_left(struct world *world) {
        pid_t pid;

        world_reap();
        return world_processes(world, &pid, 1) == 0;
}

/* Nothing stands in the way of anyone. */
static void all_is_well(struct play *play) {
        for (size_t i = 0; i < play->world->outbox_count; i++) {
                const char *name = play->world->outboxes[i].name;
                struct session_status status;

                if (!session_status(play->world, name, &status))
                        world_fail(play->world, "session %s is not to be found", name);
                if (status.phase == SESSION_STOPPED)
                        world_fail(play->world, "session %s is stopped: %s", name, status.reason);
                if (status.parked_count != 0)
                        world_fail(play->world, "session %s has parked %llu events", name,
                                   (unsigned long long) status.parked_count);
        }
}

/* All of it is moved, and its last row is the anchor, which stays (M4). */
static bool is_cleaned(struct world *world) {
        return database_number(world, world_path(world, "b.db"), "SELECT count(*) FROM outbox") == 1;
}

/* A thread that ended alone would be missed by nobody before its worker is needed. */
static bool workers_are_whole(struct world *world) {
        pid_t workers[WORLD_WORKER_MAX];
        uint32_t count = live_workers(world, DESTINATION, workers, WORLD_WORKER_MAX);

        for (uint32_t i = 0; i < count; i++) {
                char path[64];
                struct stat status;

                (void) snprintf(path, sizeof(path), "/proc/%d/task", (int) workers[i]);
                /* A directory has two links, and one for each directory in it. */
                if (stat(path, &status) < 0 || status.st_nlink != 2 + WORKER_THREADS)
                        return false;
        }
        return count > 0;
}

/* The end of every run, no longer disturbed (a point that was not reached is not looked for here). */
static void finish(struct play *play) {
        const char *wrong;
        int r;

        if (play->world->batond == 0)
                supervisor_start(play);
        until_all_moved(play);
        UNTIL(play, all_owned_by_live(play->world));
        UNTIL(play, is_cleaned(play->world));
        UNTIL(play, workers_are_whole(play->world));
        all_is_well(play);
        wrong = sync_went_wrong(play->variant, play->fault, play->data);
        if (wrong)
                world_fail(play->world, "%s of %s: %s", fault_name(play->fault), play->data->hit_object,
                           wrong);
        r = world_stop(play->world);
        if (r != 0)
                world_fail(play->world, "the orderly end gave exit code %d", r);
        if (!check(play, "--final"))
                world_fail(play->world, "the checker could not judge: %.1000s", play->world->output);
}

/* ---- phases ------------------------------------------------------------------------------------ */
/* SIGTERM in the midst of work; whoever dies now, all end. */
static void shut_down(struct play *play) {
        struct world *world = play->world;
        int r;

        attend(play);
        kill_process(world->batond, SIGTERM);
        r = wait_exit(world->batond);
        world->batond = 0;
        if (r != 0 && !(play->data->is_hit_supervisor && (play->data->is_fault || r == 128 + SIGKILL)))
                world_fail(world, "batond was stopped and ended with %d", r);
        WAIT_UNTIL(world, nobody_is_left(world));
}

static void play_life(struct play *play) {
        configure(play, 1, false);
        tracer_mark(MARK_BEGIN);
        supervisor_start(play);
        UNTIL(play, all_owned_by_live(play->world));
        scale(play, "2");
        until_settled(play, 2);
        write_events(play, 6);
        reload(play);
        until_settled(play, 2);
        until_all_moved(play);
        play->data->may_leave = true;
        scale(play, "1");
        until_settled(play, 1);
        write_events(play, 6);
        shut_down(play);
        attend(play);
        tracer_mark(MARK_END);
}

static void begin_with_two(struct play *play) {
        configure(play, 2, false);
        supervisor_start(play);
        until_settled(play, 2);
}

static void play_takeover(struct play *play) {
        struct world *world = play->world;

        begin_with_two(play);
        until_all_moved(play);
        play->data->victim = session_owner(world, "a");
        tracer_mark(MARK_ARM);
        write_events(play, 12);
        WAIT_UNTIL(world, play->data->has_begun);
        WAIT_UNTIL(world, !process_is_alive(play->data->victim));
        until_settled(play, 2);
        write_events(play, 6); /* for the replacement, too, in every run */
        until_all_moved(play);
        tracer_mark(MARK_END);
}

static void play_recovery(struct play *play) {
        struct world *world = play->world;
        pid_t pid;

        configure(play, 2, false);
        tracer_mark(MARK_ARM);
        world->batond = world_start_unwaited(world, world->config);
        WAIT_UNTIL(world, play->data->has_begun);
        while (world_processes(world, &pid, 1) > 0)
                kill_and_wait(pid, SIGKILL);
        (void) wait_exit(world->batond);
        world->batond = 0;
        world_reap();
        if (play->variant->is_rebooted)
                world_empty_runtime(world);
        tracer_mark(MARK_BEGIN);
        supervisor_start(play);
        until_settled(play, 2);
        write_events(play, 6);
        until_all_moved(play);
        tracer_mark(MARK_END);
}

void crash_play(struct play *play) {
        static void (*const phases[CRASH_PHASES])(struct play * play) = {
                [CRASH_LIFE] = play_life, [CRASH_TAKEOVER] = play_takeover, [CRASH_RECOVERY] = play_recovery
        };

        crash_outboxes_copy(play->prepared, play->world);
        if (strcmp(play->variant->scheme, "file") == 0)
                world_shell(play->world, "mkdir out");
        phases[play->phase](play);
        finish(play);
}
