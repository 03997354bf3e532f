/* SPDX-License-Identifier: Apache-2.0 */
/* One event on an idle system: from the writer's COMMIT returning until a reader of the destination sees
 * it, and until the segment says it is durable. The floor is the least that must happen in between: one
 * sync of the source's WAL where the writer has not made one, and one durable commit at the destination. */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/world/outbox.h"
#include "tests/bench/lib/figures.h"

struct probe {
        struct world world;
        uint32_t slot;
        sqlite3 *source, *destination, *floor;
        sqlite3_stmt *insert, *visible, *floor_insert;
};

static sqlite3 *open_database(struct probe *probe, const char *name, const char *pragma) {
        sqlite3 *database = NULL;

        if (sqlite3_open(world_path(&probe->world, name), &database) != SQLITE_OK ||
            sqlite3_exec(database, pragma, NULL, NULL, NULL) != SQLITE_OK)
                world_fail(&probe->world, "%s: %s", name, sqlite3_errmsg(database));
        (void) sqlite3_busy_timeout(database, 10000);
        return database;
}

static sqlite3_stmt *prepare(struct probe *probe, sqlite3 *database, const char *sql) {
        sqlite3_stmt *statement = NULL;

        if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK)
                world_fail(&probe->world, "%s: %s", sql, sqlite3_errmsg(database));
        return statement;
}

static void probe_begin(struct probe *probe, bool normal) {
        world_begin(&probe->world);
        world_outbox(&probe->world, "a");
        outbox_fill(&probe->world, "a", 10);
        world_config_standard(&probe->world, 1, NULL);
        world_start(&probe->world);
        wait_all_moved(&probe->world);
        probe->slot = session_slot(&probe->world, "a");
        probe->source = open_database(probe, "a.db",
                                      normal ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL");
        probe->destination = open_database(probe, "d.db", "PRAGMA query_only = 1");
        probe->floor = open_database(probe, "floor.db",
                                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                     "CREATE TABLE t(p INTEGER PRIMARY KEY, payload)");
        probe->insert = prepare(probe, probe->source,
                                "INSERT INTO outbox(key, type, at, payload) VALUES ('k', 't',"
                                " '2026-01-01T00:00:00Z', hex(zeroblob(100))) RETURNING seq");
        probe->visible = prepare(probe, probe->destination,
                                 "SELECT 1 FROM baton_events WHERE session = 'a' AND position = ?");
        probe->floor_insert = prepare(probe, probe->floor,
                                      "INSERT INTO t(payload) VALUES (hex(zeroblob(100)))");
}

static void probe_end(struct probe *probe) {
        (void) sqlite3_finalize(probe->insert);
        (void) sqlite3_finalize(probe->visible);
        (void) sqlite3_finalize(probe->floor_insert);
        (void) sqlite3_close(probe->source);
        (void) sqlite3_close(probe->destination);
        (void) sqlite3_close(probe->floor);
        world_end(&probe->world);
}

static int64_t write_one(struct probe *probe) {
        int64_t seq = 0;

        if (sqlite3_step(probe->insert) == SQLITE_ROW)
                seq = sqlite3_column_int64(probe->insert, 0);
        while (sqlite3_step(probe->insert) == SQLITE_ROW)
                ;
        (void) sqlite3_reset(probe->insert);
        return seq;
}

static bool is_visible(struct probe *probe, int64_t seq) {
        bool found;

        (void) sqlite3_bind_int64(probe->visible, 1, seq);
        found = sqlite3_step(probe->visible) == SQLITE_ROW;
        (void) sqlite3_reset(probe->visible);
        return found;
}

static void measure(bool normal) {
        struct series visible = {}, floor = {}, after_quiet = {}, writer = {};
        struct probe probe = {};
        char what[80];

        probe_begin(&probe, normal);
        for (size_t i = 0; i < bench_count(500, 20); i++) {
                uint64_t committed_usec, since;
                int64_t seq;

                /* Idle for a while, as long as a mover looks again by itself and longer (M9). */
                (void) usleep(i % 10 == 0 ? 1100000 : (useconds_t) (5000 + rand() % 30000));
                since = clock_usec();
                seq = write_one(&probe);
                committed_usec = clock_usec();
                series_add(&writer, (double) (committed_usec - since) / 1000);
                since = committed_usec;
                while (!is_visible(&probe, seq)) {
                        if (clock_usec() - since > WAIT_SECONDS * USEC_PER_SEC)
                                world_fail(&probe.world, "event %lld does not arrive", (long long) seq);
                        (void) usleep(20);
                }
                series_add(i % 10 == 0 ? &after_quiet : &visible,
                           (double) (clock_usec() - committed_usec) / 1000);
                since = clock_usec();
                (void) sqlite3_step(probe.floor_insert);
                (void) sqlite3_reset(probe.floor_insert);
                series_add(&floor, (double) (clock_usec() - since) / 1000);
        }
        (void) snprintf(what, sizeof(what), "writer at %s", normal ? "NORMAL" : "FULL");
        row_spans(what, &visible, &floor);
        (void) snprintf(what, sizeof(what), "writer at %s, after a quiet second", normal ? "NORMAL" : "FULL");
        row_spans(what, &after_quiet, &floor);
        (void) snprintf(what, sizeof(what), "  the writer's own commit at %s", normal ? "NORMAL" : "FULL");
        row_spans(what, &writer, &floor);
        probe_end(&probe);
        series_done(&visible);
        series_done(&floor);
        series_done(&after_quiet);
        series_done(&writer);
}

int main(void) {
        table_spans("event committed -> queryable at the destination, idle system", "ms", "a commit");
        measure(false);
        measure(true);
        return 0;
}
