/* SPDX-License-Identifier: Apache-2.0 */
/* Events a second, SQLite to SQLite and SQLite to file, beside what SQLite alone does with the same rows
 * in the same run (DESIGN.md 10).
 *
 * Each run: workers are up and idle, then stopped (SIGSTOP); the outbox is filled; the clock starts at
 * SIGCONT and ends when the last event is durable. The peer then moves the same rows. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/world/outbox.h"
#include "tests/bench/lib/engine.h"
#include "tests/bench/lib/figures.h"

#define ROWS_PER_TRANSACTION 10000

struct setup {
        const char *what;
        unsigned sessions, workers, destinations;
        bool fused, to_file;
};

static const char names[] = "abcdefgh";
static uint64_t event_count;

static void begin(struct world *world, const struct setup *setup) {
        char text[4096];
        size_t used;

        world_begin(world);
        used = (size_t) snprintf(text, sizeof(text), "[baton]\nadopt-timeout = 1h\nstall-timeout = 1h\n");
        for (unsigned d = 0; d < setup->destinations; d++) {
                char lines[256];

                (void) snprintf(lines, sizeof(lines), "mkdir -p out%u", d);
                world_shell(world, lines);
                used += (size_t)
                        snprintf(text + used, sizeof(text) - used,
                                 "[destination d%u]\nurl = %s:%%D/%s%u%s\nworkers = %u\nfused = %s\n", d,
                                 setup->to_file ? "file" : "sqlite", setup->to_file ? "out" : "d", d,
                                 setup->to_file ? "" : ".db", setup->workers, setup->fused ? "yes" : "no");
        }
        for (unsigned s = 0; s < setup->sessions; s++) {
                char name[2] = { names[s], '\0' };

                world_outbox(world, name);
                outbox_fill(world, name, 10);
                used += (size_t) snprintf(text + used, sizeof(text) - used,
                                          "[source %s]\nurl = sqlite:%%D/%s.db\nto = d%u\n", name, name,
                                          s % setup->destinations);
        }
        world_config(world, text);
        world_start(world);
        wait_all_moved(world);
}

static void signal_workers(struct world *world, const struct setup *setup, int signal_number) {
        char destination[16];
        pid_t pids[16];

        for (unsigned d = 0; d < setup->destinations; d++) {
                (void) snprintf(destination, sizeof(destination), "d%u", d);
                WAIT_UNTIL(world, live_workers(world, destination, pids, ELEMENTSOF(pids)) == setup->workers);
                for (unsigned w = 0; w < setup->workers; w++)
                        kill_process(pids[w], signal_number);
        }
}

/* 256 bytes an event: key, type and at are about 50 of them. */
static void fill(struct world *world, const struct setup *setup, unsigned session) {
        char name[2] = { names[session], '\0' };
        struct writer_options options = { .source = name,
                                          .events = event_count / setup->sessions,
                                          .normal = true,
                                          .transaction_events = 50000,
                                          .payload_bytes = 206 };

        outbox_fill_options(world, &options);
}

static double run_baton(struct world *world, const struct setup *setup) {
        uint64_t began_usec, last[8];
        double seconds;

        begin(world, setup);
        signal_workers(world, setup, SIGSTOP);
        for (unsigned s = 0; s < setup->sessions; s++) {
                char name[2] = { names[s], '\0' };

                fill(world, setup, s);
                last[s] = outbox_last(world, name);
        }
        sync();
        began_usec = clock_usec();
        signal_workers(world, setup, SIGCONT);
        for (unsigned s = 0; s < setup->sessions; s++) {
                char name[2] = { names[s], '\0' };

                while (session_position(world, name) < last[s]) {
                        if (clock_usec() - began_usec > 300 * USEC_PER_SEC)
                                world_fail(world, "not moved in 300 s");
                        (void) usleep(500);
                }
        }
        seconds = (double) (clock_usec() - began_usec) / 1e6;
        if (world_stop(world) != 0)
                world_fail(world, "batond did not end well");
        return seconds;
}

/* The same rows, by SQLite alone: one job for each destination, whose sources share its transactions. */
static double run_engine(struct world *world, const struct setup *setup, bool prepared) {
        static char schema[4096], sources[8][WORLD_PATH_BYTES * 2], destinations[8][WORLD_PATH_BYTES * 2];
        struct engine_job jobs[8] = {};

        (void) snprintf(
                schema, sizeof(schema), "%s",
                database_text(
                        world, world_path(world, "d0.db"),
                        "SELECT group_concat(sql, ';') FROM sqlite_schema WHERE tbl_name = 'baton_events'"
                        " AND sql IS NOT NULL"));
        for (unsigned d = 0; d < setup->destinations; d++) {
                (void) snprintf(destinations[d], sizeof(destinations[0]), "%s/peer%u.db", world->directory,
                                d);
                jobs[d] = (struct engine_job){ .destination = destinations[d],
                                               .schema = schema,
                                               .rows_per_transaction = ROWS_PER_TRANSACTION,
                                               .prepared = prepared };
        }
        for (unsigned s = 0; s < setup->sessions; s++) {
                struct engine_job *job = &jobs[s % setup->destinations];

                (void) snprintf(sources[s], sizeof(sources[0]), "%s/%c.db", world->directory, names[s]);
                job->sources[job->source_count++] = sources[s];
        }
        double seconds = engine_run(jobs, setup->destinations);

        if (seconds < 0)
                world_fail(world, "the peer failed");
        return seconds;
}

static void measure(const struct setup *setup) {
        struct series ours = {}, peer = {};
        size_t runs = bench_count(5, 2);

        for (size_t i = 0; i < runs; i++) {
                struct world world;
                double seconds = run_baton(&world, setup);

                series_add(&ours, (double) event_count / seconds);
                if (!setup->to_file)
                        series_add(&peer, (double) event_count / run_engine(&world, setup, !setup->fused));
                world_end(&world);
        }
        row_rates(setup->what, &ours, setup->to_file ? NULL : &peer);
        series_done(&ours);
        series_done(&peer);
}

int main(void) {
        static const struct setup setups[] = {
                { "fused: 1 session, 1 worker", 1, 1, 1, true, false },
                { "fused: 2 sessions, 1 worker", 2, 1, 1, true, false },
                { "fused: 2 sessions, 2 workers", 2, 2, 1, true, false },
                { "fused: 2 sessions, 2 destinations", 2, 1, 2, true, false },
                { "row path: 1 session, 1 worker", 1, 1, 1, false, false },
                { "row path: 2 sessions, 1 worker", 2, 1, 1, false, false },
                { "row path: 2 sessions, 2 workers", 2, 2, 1, false, false },
                { "row path: 2 sessions, 2 destinations", 2, 1, 2, false, false },
                { "SQLite to file: 1 session, 1 worker", 1, 1, 1, false, true },
                { "SQLite to file: 2 sessions, 2 workers", 2, 2, 1, false, true },
        };

        event_count = bench_count(800000, 20000);
        table_rates("moved, 256-byte events, 10,000 a transaction", "events/s",
                    "peer: INSERT ... SELECT (fused), prepared loop (row path)");
        for (size_t i = 0; i < ELEMENTSOF(setups); i++)
                measure(&setups[i]);
        return 0;
}
