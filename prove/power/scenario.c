/* SPDX-License-Identifier: Apache-2.0 */
/* The recorded scenario: start, load, an owner killed in a transaction, hand-overs, load again, a clean end.
 *
 * `orders` is written at synchronous=NORMAL and kept: the source that a cut takes most from. `payments` is
 * written at FULL and cleaned, with a ledger in the same file. Transactions and batches are small, so that
 * there are many syncs; checkpoints are frequent, so that the sources' database files change too. In rollback
 * mode `payments` is written slowly: each transaction makes the end of the one before it durable (the sync of
 * the directory, when its own -journal is new), so Baton must have moved that one by then, or nobody sees
 * whether it had synced the directory itself. For the same reason `fused` writes the second part of `orders` slowly: its
 * checkpoints sync what was committed before, and a mover that comes after them syncs nothing that a cut could take.
 * Must not touch: the tape. */
#include "prove/power/scenario.h"

#include <stdio.h>
#include <string.h>

#include "prove/tracer/tracer.h"
#include "prove/world/outbox.h"

#define LEDGER "CREATE TABLE IF NOT EXISTS ledger(seq INTEGER PRIMARY KEY, key, type, at, payload)"
#define GO_ON_EVENTS 6

/* lint: table */
const struct variant variants[] = {
        { .name = "fused",
          .what = "SQLite to SQLite, one statement a batch",
          .destination = "url = sqlite:%D/d.db\nfused = yes\nbatch-rows = 4\n",
          .events = 24,
          .transaction_events = 3,
          .orders_per_second = 60,
          .points_percent = 100 },
        { .name = "rows",
          .what = "SQLite to SQLite, row by row",
          .destination = "url = sqlite:%D/d.db\nfused = no\nbatch-rows = 4\n",
          .events = 24,
          .transaction_events = 3,
          .points_percent = 100 },
        { .name = "rollback",
          .what = "a source in rollback journal mode",
          .destination = "url = sqlite:%D/d.db\nbatch-rows = 4\n",
          .has_rollback_source = true,
          .events = 24,
          .transaction_events = 3,
          .payments_per_second = 60,
          .points_percent = 100 },
        { .name = "file",
          .what = "SQLite to JSON lines, rotated by size",
          .destination = "url = file:%D/out?rotate-size=4K\nbatch-rows = 4\n",
          .is_file = true,
          .events = 24,
          .transaction_events = 3,
          .points_percent = 100 },
        { .name = "journal",
          .what = "the same, until the journal is rotated",
          .destination = "url = file:%D/out?rotate-size=32K\nbatch-rows = 1\n",
          .is_file = true,
          .events = 560,
          .transaction_events = 12,
          .points_percent = 30 },
        { .name = "checkpoint",
          .what = "SQLite to SQLite, until the destination's -wal is checkpointed",
          .destination = "url = sqlite:%D/d.db\nbatch-rows = 8\n",
          .events = 400,
          .payload_bytes = 4000,
          .transaction_events = 16,
          .points_percent = 30 },
        { .name = "twice",
          .what = "cut while it recovers: SQLite to SQLite",
          .after = &variants[0],
          .points_percent = 25 },
        { .name = "twice-file",
          .what = "cut while it recovers: SQLite to JSON lines",
          .after = &variants[3],
          .points_percent = 25 },
};
const size_t variant_count = ELEMENTSOF(variants);

const struct variant *variant_find(const char *name) {
        for (size_t i = 0; i < variant_count; i++)
                if (strcmp(variants[i].name, name) == 0)
                        return &variants[i];
        return NULL;
}

/* ---- the installation -------------------------------------------------------------------------- */
static void know_outbox(struct world *world, const char *name, bool has_ledger) {
        struct world_outbox *outbox = &world->outboxes[world->outbox_count++];
        char file[80];

        *outbox = (struct world_outbox){ .has_ledger = has_ledger };
        (void) snprintf(outbox->name, sizeof(outbox->name), "%s", name);
        (void) snprintf(file, sizeof(file), "%.60s.db", name);
        (void) snprintf(outbox->file, sizeof(outbox->file), "%.500s", world_path(world, file));
}

void scenario_know(struct world *world, const struct variant *variant) {
        (void) variant;
        know_outbox(world, "orders", false);
        know_outbox(world, "payments", true);
}

void scenario_configure(struct world *world, const struct variant *variant) {
        char text[2048];

        (void) snprintf(text, sizeof(text),
                        "[baton]\nadopt-timeout = 5s\n\n[destination d]\nworkers = 2\n%s\n"
                        "[source orders]\nurl = sqlite:%%D/orders.db\nto = d\n\n"
                        "[source payments]\nurl = sqlite:%%D/payments.db?clean-up=delete\nto = d\n",
                        variant->destination);
        world_config(world, text);
}

void scenario_prepare(struct world *world, const struct variant *variant) {
        world_outbox(world, "orders");
        world_outbox_cleaned(world, "payments");
        database_run(world, world_path(world, "payments.db"), LEDGER);
        if (variant->has_rollback_source)
                database_run(world, world_path(world, "payments.db"), "PRAGMA journal_mode = DELETE");
        if (variant->is_file)
                world_shell(world, "mkdir out");
        scenario_configure(world, variant);
        world_shell(world, "sync -f .");
}

const char *scenario_destination(const struct world *world, const struct variant *variant) {
        static char text[WORLD_PATH_BYTES * 2];

        (void) snprintf(text, sizeof(text), "%s:%s/%s", variant->is_file ? "file" : "sqlite",
                        world->directory, variant->is_file ? "out" : "d.db");
        return text;
}

/* ---- the application --------------------------------------------------------------------------- */
static struct writer_options options_of(const struct variant *variant, const char *source) {
        bool is_orders = strcmp(source, "orders") == 0;

        return (struct writer_options){
                .source = source,
                .events = variant->events,
                .transaction_events = variant->transaction_events,
                .payload_bytes = variant->payload_bytes,
                .normal = is_orders,
                .rollback_journal = !is_orders && variant->has_rollback_source,
                .checkpoint_pages = is_orders ? 12 : 25,
                .per_second = is_orders ? 0 : variant->payments_per_second,
                .rolls_back = true,
        };
}

void scenario_go_on(struct world *world, const struct variant *variant, unsigned salt) {
        for (size_t i = 0; i < world->outbox_count; i++) {
                struct writer_options options = options_of(variant, world->outboxes[i].name);

                options.events = GO_ON_EVENTS;
                options.salt = salt;
                outbox_fill_options(world, &options);
        }
}

static void write_and_move(struct world *world, const struct variant *variant, bool kills) {
        pid_t writers[2], victim;

        for (size_t i = 0; i < 2; i++) {
                struct writer_options options = options_of(variant, world->outboxes[i].name);

                if (!kills && i == 0)
                        options.per_second = variant->orders_per_second;
                writers[i] = writer_start(world, &options);
        }
        if (kills) {
                WAIT_UNTIL(world, (victim = any_in_transaction(world)) != 0);
                kill_and_wait(victim, SIGKILL);
        }
        for (size_t i = 0; i < 2; i++)
                writer_wait(world, writers[i]);
        wait_all_moved(world);
}

/* ---- the play ---------------------------------------------------------------------------------- */
static const char *const step_names[] = {
        [STEP_START] = "start",
        [STEP_LOAD_AND_KILL] = "load, and an owner killed in a transaction",
        [STEP_ONE_WORKER] = "one worker",
        [STEP_TWO_WORKERS] = "two workers again",
        [STEP_LOAD] = "load",
        [STEP_RECOVER] = "recover",
        [STEP_GO_ON] = "the application goes on",
        [STEP_STOP] = "stop",
};

const char *scenario_step_name(uint64_t mark) {
        return mark < ELEMENTSOF(step_names) && step_names[mark] ? step_names[mark] : "?";
}

static void scale(struct world *world, const char *workers) {
        if (baton(world, "scale", "d", workers) != 0)
                world_fail(world, "baton scale: %s", world->output);
}

void scenario_play(struct world *world, const struct variant *variant) {
        tracer_mark(STEP_BEGIN);
        tracer_mark(STEP_START);
        world_start(world);
        tracer_mark(STEP_LOAD_AND_KILL);
        write_and_move(world, variant, true);
        tracer_mark(STEP_ONE_WORKER);
        wait_settled(world, "d", 2, NULL);
        scale(world, "1");
        wait_settled(world, "d", 1, NULL);
        tracer_mark(STEP_TWO_WORKERS);
        scale(world, "2");
        wait_settled(world, "d", 2, NULL);
        tracer_mark(STEP_LOAD);
        write_and_move(world, variant, false);
        tracer_mark(STEP_STOP);
        if (world_stop(world) != 0)
                world_fail(world, "batond did not end well");
        tracer_mark(STEP_END);
        check_destination(world, scenario_destination(world, variant), "--final");
}
