/* SPDX-License-Identifier: Apache-2.0 */
/* How long from a kill until another owns the sessions, and until its first durable commit (DESIGN.md 10).
 *
 * First with stub workers (the product's shm/, a real SQLite transaction, ballast), so that victims of
 * every size can be killed some hundred times, each beside a bare robust-mutex wake of the same run; then
 * with the product's own workers. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/world/outbox.h"
#include "shm/slot.h"
#include "tests/bench/lib/figures.h"
#include "tests/bench/lib/stub.h"

/* ---- stubs -------------------------------------------------------------------------------------- */
static void kill_stubs(const char *what, unsigned ballast_mib, uint32_t sessions, int signal_number,
                       size_t count, bool with_floor) {
        struct series spans = {}, floor = {};
        struct stub_pool pool;
        struct stub owner, heir;

        stub_pool_begin(&pool, sessions, ballast_mib);
        owner = stub_start(&pool);
        for (size_t i = 0; i < count; i++) {
                heir = stub_start(&pool);
                stub_assign(&pool, owner, heir);
                series_add(&spans, stub_kill(&pool, owner, heir, signal_number) / 1000);
                if (with_floor)
                        series_add(&floor, bare_wake(ballast_mib, signal_number) / 1000);
                owner = heir;
        }
        kill_and_wait(owner.pid, SIGKILL);
        stub_pool_end(&pool);
        row_spans(what, &spans, with_floor ? &floor : NULL);
        series_done(&spans);
        series_done(&floor);
}

static void stubs(bool busy) {
        static const unsigned sizes[] = { 2, 16, 64 };
        static const int signals[] = { SIGKILL, SIGSEGV };
        size_t count = bench_count(300, 5);
        char what[80];

        table_spans(busy ? "killed in a transaction -> heir owns, both cores busy"
                         : "killed in a transaction -> heir owns, idle machine",
                    "ms", "bare wake");
        if (busy)
                burn_begin();
        for (size_t s = 0; s < ELEMENTSOF(signals); s++)
                for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                        (void) snprintf(what, sizeof(what), "%s, victim of %u MiB",
                                        signals[s] == SIGKILL ? "SIGKILL" : "SIGSEGV", sizes[i]);
                        kill_stubs(what, sizes[i], 1, signals[s], count, true);
                }
        burn_end();
}

static void many_sessions(void) {
        size_t count = bench_count(100, 5);

        table_spans("killed -> the last of its sessions owned, idle machine", "ms", NULL);
        kill_stubs("1 session", 2, 1, SIGKILL, count, false);
        kill_stubs("100 sessions", 2, 100, SIGKILL, count, false);
        kill_stubs("1,000 sessions", 2, 1000, SIGKILL, count, false);
}

/* ---- the product's workers ---------------------------------------------------------------------- */
struct real {
        struct world world;
        uint32_t slot;
};

static uint64_t owned_since(struct real *real, uint64_t epoch, uint64_t *ret_epoch) {
        struct slot_view view;

        for (uint64_t since = wait_begin();;) {
                if (slot_read(real->world.segment, real->slot, &view) == 0 && view.epoch > epoch &&
                    view.state == SLOT_OWNED) {
                        *ret_epoch = view.epoch;
                        return view.owned_since_usec;
                }
                wait_step(&real->world, since, "owned by the heir", __FILE__, __LINE__);
        }
}

/* The first commit of the owner at that epoch. */
static uint64_t first_commit(struct real *real, uint64_t epoch) {
        struct session_status status;

        for (uint64_t since = wait_begin();;) {
                if (session_status_read(real->world.segment, real->slot, &status) == 0 &&
                    status.epoch >= epoch && status.commit_last_usec != 0)
                        return status.commit_last_usec;
                if (clock_usec() - since > WAIT_SECONDS * USEC_PER_SEC)
                        world_fail(&real->world, "no commit by the heir");
                (void) usleep(20);
        }
}

/* A new supervisor has no grudge: it replaces the dead at once, and names heirs. */
static void refill(struct real *real) {
        struct slot_view view;

        world_kill_batond(&real->world);
        world_start(&real->world);
        WAIT_UNTIL(&real->world,
                   live_workers(&real->world, "d", NULL, 0) == 2 && all_owned_by_live(&real->world));
        WAIT_UNTIL(&real->world, slot_read(real->world.segment, real->slot, &view) == 0 &&
                                         view.heir_ref != 0 && view.heir_ref != view.owner_ref &&
                                         view.owner_ref == view.assigned_ref);
        (void) usleep(20000); /* the heir warms up (S8) */
}

static void real_begin(struct real *real) {
        world_begin(&real->world);
        world_outbox(&real->world, "a");
        world_outbox(&real->world, "b");
        outbox_fill(&real->world, "a", 100);
        world_config(&real->world,
                     "[baton]\nadopt-timeout = 1h\n[destination d]\nurl = sqlite:%D/d.db\nworkers = 2\n"
                     "[source a]\nurl = sqlite:%D/a.db\nto = d\n[source b]\nurl = sqlite:%D/b.db\nto = d\n");
        world_start(&real->world);
        wait_all_moved(&real->world);
        real->slot = session_slot(&real->world, "a");
}

static void real_kills(int signal_number, bool in_transaction) {
        struct series owned = {}, committed = {};
        struct writer_options options = {
                .source = "a", .events = 100000000, .per_second = 1500, .transaction_events = 1
        };
        size_t count = bench_count(300, 4);
        struct real real = {};
        pid_t writer = 0;
        char what[80];

        real_begin(&real);
        if (in_transaction)
                writer = writer_start(&real.world, &options);
        for (size_t i = 0; i < count; i++) {
                uint64_t epoch, new_epoch, killed_usec;
                pid_t owner;

                refill(&real);
                owner = session_owner(&real.world, "a");
                epoch = session_epoch(&real.world, "a");
                for (uint64_t since = clock_usec(); in_transaction && clock_usec() - since < USEC_PER_SEC;)
                        if (worker_in_transaction(&real.world, owner))
                                break;
                killed_usec = clock_usec();
                kill_process(owner, signal_number);
                if (in_transaction)
                        series_add(&committed,
                                   ((double) first_commit(&real, epoch + 1) - (double) killed_usec) / 1000);
                series_add(&owned,
                           ((double) owned_since(&real, epoch, &new_epoch) - (double) killed_usec) / 1000);
        }
        if (writer > 0)
                kill_and_wait(writer, SIGKILL);
        (void) snprintf(what, sizeof(what), "%s %s -> owned",
                        signal_number == SIGKILL ? "SIGKILL" : "SIGSEGV",
                        in_transaction ? "in a transaction" : "at rest");
        row_spans(what, &owned, NULL);
        if (in_transaction) {
                (void) snprintf(what, sizeof(what), "%s in a transaction -> first durable commit",
                                signal_number == SIGKILL ? "SIGKILL" : "SIGSEGV");
                row_spans(what, &committed, NULL);
        }
        world_end(&real.world);
        series_done(&owned);
        series_done(&committed);
}

/* BENCH_ONLY=stubs, sessions or workers: one part of it. */
static bool is_chosen(const char *part) {
        const char *only = getenv("BENCH_ONLY");

        return !only || strcmp(only, part) == 0;
}

static void workers(void) {
        table_spans("baton-worker killed, SQLite to SQLite, idle machine (writer at 1,500 events/s, FULL)",
                    "ms", NULL);
        real_kills(SIGKILL, false);
        real_kills(SIGKILL, true);
        real_kills(SIGSEGV, true);
        burn_begin();
        table_spans("the same with both cores busy", "ms", NULL);
        real_kills(SIGKILL, false);
        real_kills(SIGKILL, true);
        burn_end();
}

int main(void) {
        (void) signal(SIGCHLD, SIG_DFL);
        if (is_chosen("stubs")) {
                stubs(false);
                stubs(true);
        }
        if (is_chosen("sessions"))
                many_sessions();
        if (is_chosen("workers"))
                workers();
        return 0;
}
