/* SPDX-License-Identifier: Apache-2.0 */
/* What Baton costs when it does nothing, how fast it starts, and what a dead supervisor costs: start to
 * first event moved, memory of each process, processor time at idle with 1,000 sessions, takeover of 1,000
 * sessions of a real worker, and the gap in commits around the supervisor's death (DESIGN.md 10, P1). */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/process.h"
#include "prove/world/outbox.h"
#include "shm/slot.h"
#include "tests/bench/lib/figures.h"

/* ---- start-up ----------------------------------------------------------------------------------- */
static double spawn_floor(struct world *world) {
        uint64_t began_usec = clock_usec();

        (void) world_run(world, "baton-worker", "--help", NULL);
        return (double) (clock_usec() - began_usec) / 1000;
}

static void start_up(void) {
        struct series spans = {}, again = {}, floor = {};
        size_t runs = bench_count(50, 3);

        for (size_t i = 0; i < runs; i++) {
                struct world world;
                uint64_t began_usec;

                world_begin(&world);
                world_outbox(&world, "a");
                outbox_fill(&world, "a", 1);
                world_config_standard(&world, 1, NULL);
                for (unsigned round = 0; round < 2; round++) {
                        uint64_t last = outbox_last(&world, "a");

                        began_usec = clock_usec();
                        world.batond = world_start_unwaited(&world, world.config);
                        while (session_position(&world, "a") < last) {
                                if (clock_usec() - began_usec > WAIT_SECONDS * USEC_PER_SEC)
                                        world_fail(&world, "the first event does not arrive");
                                (void) usleep(100);
                        }
                        series_add(round ? &again : &spans, (double) (clock_usec() - began_usec) / 1000);
                        if (world_stop(&world) != 0)
                                world_fail(&world, "batond did not end well");
                        outbox_fill(&world, "a", 1);
                }
                series_add(&floor, spawn_floor(&world));
                world_end(&world);
        }
        table_spans("batond started -> first event durable", "ms", "fork+exec");
        row_spans("new state directory, new destination", &spans, &floor);
        row_spans("state and destination are there", &again, &floor);
        series_done(&spans);
        series_done(&again);
        series_done(&floor);
}

/* ---- memory and idle ---------------------------------------------------------------------------- */
static void print_memory(const char *what, pid_t pid) {
        uint64_t resident, private;

        if (process_memory(pid, &resident, &private) < 0)
                return;
        printf("  %-52s resident %7.1f MiB   private %7.1f MiB\n", what, (double) resident / 1048576,
               (double) private / 1048576);
}

/* Of all threads, from the scheduler's own account: utime and stime of /proc/PID/stat count whole ticks, and
 * a process that wakes at a tick is charged far too much or nothing. */
static double processor_seconds(pid_t pid) {
        unsigned long long running, sum = 0;
        char path[320];
        struct dirent *entry;
        FILE *file;
        DIR *tasks;

        (void) snprintf(path, sizeof(path), "/proc/%d/task", pid);
        tasks = opendir(path);
        if (!tasks)
                return 0;
        while ((entry = readdir(tasks))) {
                (void) snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, entry->d_name);
                file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
                if (!file)
                        continue;
                if (fscanf(file, "%llu", &running) == 1)
                        sum += running;
                (void) fclose(file);
        }
        (void) closedir(tasks);
        return (double) sum / 1e9;
}

static void many_begin(struct world *world, unsigned sessions, unsigned workers) {
        FILE *config;

        world_begin(world);
        world_outbox(world, "template");
        outbox_fill(world, "template", 20);
        database_run(world, world_path(world, "template.db"), "PRAGMA wal_checkpoint(TRUNCATE)");
        config = fopen(world->config, "we");
        if (!config)
                world_fail(world, "cannot write %s", world->config);
        fprintf(config, "[baton]\nadopt-timeout = 1h\n[destination d]\nurl = sqlite:%s/d.db\nworkers = %u\n",
                world->directory, workers);
        for (unsigned i = 0; i < sessions; i++) {
                char command[128];

                (void) snprintf(command, sizeof(command), "cp template.db s%u.db", i);
                world_shell(world, command);
                fprintf(config, "[source s%u]\nurl = sqlite:%s/s%u.db\nto = d\n", i, world->directory, i);
        }
        (void) fclose(config);
        world->outbox_count = 0;
        world_start(world);
}

static bool all_moved(struct world *world, unsigned sessions, uint64_t last) {
        struct session_status status;
        unsigned moved = 0;

        if (!world_segment(world))
                return false;
        for (uint32_t i = 0; i < sessions; i++)
                moved += session_status_read(world->segment, i, &status) == 0 && status.position >= last &&
                         status.position != UINT64_MAX;
        return moved == sessions;
}

static void idle(unsigned sessions) {
        struct world world;
        uint64_t began_usec;
        pid_t pids[2] = {};
        double used[3], span, began[3];

        many_begin(&world, sessions, 2);
        WAIT_UNTIL(&world, all_moved(&world, sessions, 20));
        WAIT_UNTIL(&world, live_workers(&world, "d", pids, 2) == 2);
        printf("\nat rest, %u sessions, 2 workers\n", sessions);
        print_memory("batond", world.batond);
        print_memory("baton-worker", pids[0]);
        print_memory("baton-worker", pids[1]);
        (void) usleep(bench_is_quick() ? 1000000 : 3000000);

        began_usec = clock_usec();
        for (unsigned i = 0; i < 3; i++)
                began[i] = processor_seconds(i ? pids[i - 1] : world.batond);
        (void) usleep(bench_is_quick() ? 2000000 : 60000000);
        span = (double) (clock_usec() - began_usec) / 1e6;
        for (unsigned i = 0; i < 3; i++)
                used[i] = processor_seconds(i ? pids[i - 1] : world.batond) - began[i];
        printf("  processor time over %.0f s: batond %.3f %%, workers %.3f %% and %.3f %%, together %.3f %% of a core\n",
               span, used[0] / span * 100, used[1] / span * 100, used[2] / span * 100,
               (used[0] + used[1] + used[2]) / span * 100);
        world_end(&world);
}

/* ---- a worker with many sessions dies ----------------------------------------------------------- */
static bool owned_by_one(struct world *world, unsigned sessions, uint64_t *ret_last_usec) {
        uint64_t ref = 0;
        struct slot_view view;

        *ret_last_usec = 0;
        for (uint32_t i = 0; i < sessions; i++) {
                if (slot_read(world->segment, i, &view) < 0 || view.state != SLOT_OWNED ||
                    (ref != 0 && view.owner_ref != ref))
                        return false;
                ref = view.owner_ref;
                *ret_last_usec = MAX_OF(*ret_last_usec, view.owned_since_usec);
        }
        return true;
}

static void takeover_of_many(unsigned sessions) {
        struct series spans = {};
        struct world world;
        uint64_t killed_usec, last_usec;
        pid_t pids[4];

        many_begin(&world, sessions, 2);
        WAIT_UNTIL(&world, all_moved(&world, sessions, 20));
        for (size_t i = 0; i < bench_count(20, 2); i++) {
                WAIT_UNTIL(&world, live_workers(&world, "d", pids, 4) == 2);
                (void) usleep(300000);
                world_kill_batond(&world); /* so that nobody balances meanwhile */
                killed_usec = clock_usec();
                kill_process(pids[i % 2], SIGKILL);
                WAIT_UNTIL(&world, owned_by_one(&world, sessions, &last_usec));
                series_add(&spans, ((double) last_usec - (double) killed_usec) / 1000);
                world_start(&world);
        }
        table_spans("baton-worker with half of all sessions killed -> the last one owned", "ms", NULL);
        char what[64];
        (void) snprintf(what, sizeof(what), "%u sessions", sessions);
        row_spans(what, &spans, NULL);
        world_end(&world);
        series_done(&spans);
}

/* ---- the supervisor's death --------------------------------------------------------------------- */
/* The longest pause between two commits seen while `span_usec` pass. */
static double longest_gap(struct world *world, uint32_t slot, uint64_t span_usec) {
        uint64_t until = clock_usec() + span_usec, seen = 0, gap = 0;
        struct session_status status;

        while (clock_usec() < until) {
                if (session_status_read(world->segment, slot, &status) == 0 &&
                    status.commit_last_usec > seen) {
                        if (seen)
                                gap = MAX_OF(gap, status.commit_last_usec - seen);
                        seen = status.commit_last_usec;
                }
                (void) usleep(50);
        }
        return (double) gap / 1000;
}

static void supervisor_gap(void) {
        struct writer_options options = {
                .source = "a", .events = 100000000, .per_second = 2000, .transaction_events = 2
        };
        struct series without = {}, with = {};
        struct world world;
        uint32_t slot;
        pid_t writer;

        world_begin(&world);
        world_outbox(&world, "a");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        writer = writer_start(&world, &options);
        WAIT_UNTIL(&world, session_position(&world, "a") > 100);
        slot = session_slot(&world, "a");
        for (size_t i = 0; i < bench_count(50, 3); i++) {
                series_add(&without, longest_gap(&world, slot, 300000));
                kill_process(world.batond, SIGKILL);
                series_add(&with, longest_gap(&world, slot, 150000));
                world_kill_batond(&world);
                world.batond = world_start_unwaited(&world, world.config);
                series_add(&with, longest_gap(&world, slot, 150000));
        }
        table_spans("longest pause between two commits, writer at 2,000 events/s", "ms", "alive");
        row_spans("supervisor killed, then started again", &with, &without);
        kill_and_wait(writer, SIGKILL);
        world_end(&world);
        series_done(&with);
        series_done(&without);
}

int main(void) {
        start_up();
        idle(2);
        idle((unsigned) bench_count(1000, 20));
        takeover_of_many((unsigned) bench_count(1000, 20));
        supervisor_gap();
        return 0;
}
