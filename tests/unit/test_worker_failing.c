/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's life, from its start to its hand-over and its successor's, in which one call fails: each in turn, of
 * memory, files and SQLite (M6–M8). Whatever failed, the sessions say why they wait or stop, go on when they are tried again
 * or adopted, and in the end each event is at the destination once and in order. */
#include "tests/unit/failing_calls.h"
#include "tests/unit/worker_fixture.h"

#define EVENTS 12
#define ROUNDS_MOST 60u
#define SAMPLE_FEW 8u /* of the runs of each test, in `make check` */

struct variant {
        const char *scheme, *destination, *query;
        bool fused;
        unsigned turn; /* samples of two variants are not the same calls */
};

static const struct variant fused_variant = { "sqlite", "d.db", "", true, 0 };
static const struct variant row_variant = { "sqlite", "d.db", "?clean-up=delete", false, 1 };
static const struct variant file_variant = { "file", "out/", "?clean-up=mark", false, 2 };

/* ---- one life ---------------------------------------------------------------------------------------- */

/* Runs it with the failing call armed. */
#define armed(statement)            \
        do {                        \
                calls_armed(true);  \
                statement;          \
                calls_armed(false); \
        } while (0)

static int enter(struct failure *failure) {
        struct directories directories;
        int r;

        (void) snprintf(directories.state, sizeof directories.state, "%s", path_of("state"));
        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s", path_of("run"));
        armed(r = worker_open(&worker, &directories, 0, failure));
        if (r >= 0)
                armed(r = life_enter(worker.segment, 0, &worker.ref, failure));
        if (r < 0) {
                worker_done(&worker);
                return r;
        }
        fault_note_clear(&worker);
        armed(latch_restore(&worker));
        return 0;
}

/* As a process does that could not start and is started again. */
static void enter_in_the_end(void) {
        struct failure failure = { 0 };

        if (enter(&failure) < 0) {
                cr_assert_gt(strlen(failure.text), 20, "%s failed: it says \"%s\"", calls.failed,
                             failure.text);
                must(enter(failure));
        }
}

static void turn(void) {
        unsigned passes = 0;

        for (; worker.ready_first && passes < PASSES_MOST; passes++)
                armed(pass_run(&worker));
        cr_assert_lt(passes, PASSES_MOST, "%s failed: the mover spins", calls.failed);
}

static void take(uint32_t slot_index) {
        slot_assign(segment, slot_index, worker.ref, 0);
        armed(look_at_slot(&worker, slot_index));
        calls_armed(false);
        if (!worker.by_slot[slot_index]) /* the control thread's sweep finds it */
                look_at_slot(&worker, slot_index);
        cr_assert_not_null(worker.by_slot[slot_index], "%s failed", calls.failed);
}

static bool is_quiet(struct session *session) {
        if (session->is_ready || session->status.phase == SESSION_WAITING ||
            session->status.phase == SESSION_STOPPED || session->retry.at_usec != 0)
                return false;
        return session->claimed && session->verified && !session->held;
}

/* Whoever waits or stopped says why; then its time has come, or an operator adopts it. */
static void help(struct session *session) {
        struct session_status status = status_of(session->slot_index);

        if (status.phase == SESSION_WAITING || status.phase == SESSION_STOPPED)
                cr_assert_gt(strlen(status.reason), 20, "%s failed: phase %d, \"%s\"", calls.failed,
                             status.phase, status.reason);
        worker.destination_retry.at_usec = 0;
        if (status.phase == SESSION_STOPPED) {
                cr_assert_not_null(calls.failed, "stopped, and nothing failed: %s", status.reason);
                adopt(session->slot_index);
        }
        retry_now(session);
}

static void until_quiet(void) {
        unsigned rounds = 0;

        for (bool is_done = false; !is_done && rounds < ROUNDS_MOST; rounds++) {
                turn();
                is_done = true;
                for (uint32_t i = 0; i < 2; i++) {
                        if (!worker.by_slot[i]) {
                                look_at_slot(&worker, i);
                                cr_assert_not_null(worker.by_slot[i], "%s failed: session %u is lost",
                                                   calls.failed, i);
                                is_done = false;
                        } else if (!is_quiet(worker.by_slot[i])) {
                                help(worker.by_slot[i]);
                                is_done = false;
                        }
                }
        }
        cr_assert_lt(rounds, ROUNDS_MOST, "%s failed: the sessions never settle: %s; %s", calls.failed,
                     status_of(0).reason, status_of(1).reason);
}

static void configure(const struct variant *variant) {
        struct layout_config a = config_of("a", "a.db", ""), b = config_of("b", "b.db", variant->query);

        a.sibling_slot = 0;
        b.sibling_slot = 1;
        cr_assert_eq(slot_configure(segment, 0, 0, &a), 0);
        cr_assert_eq(slot_configure(segment, 1, 0, &b), 0);
}

static void write_events(sqlite3 *a, sqlite3 *b) {
        app_fill(a, EVENTS / 3);
        app_fill(b, EVENTS / 3);
        app_run(a, "UPDATE outbox SET payload = seq WHERE seq > (SELECT max(seq) - 4 FROM outbox)");
        app_run(b, "UPDATE outbox SET payload = seq WHERE seq > (SELECT max(seq) - 4 FROM outbox)");
        for (uint32_t i = 0; i < 2; i++)
                if (worker.by_slot[i])
                        session_set_ready(worker.by_slot[i]);
}

static void leave(void) {
        while (worker.sessions)
                armed(session_hand_over(worker.sessions, 0));
        armed(target_close(&worker));
        armed(journal_close(TAKE(worker.journal)));
        life_leave(worker.segment, worker.ref);
        worker_done(&worker);
}

/* Two owners, three thirds of the events. */
static void live(const struct variant *variant, sqlite3 *a, sqlite3 *b) {
        configure(variant);
        enter_in_the_end();
        take(0);
        take(1);
        write_events(a, b);
        turn();
        write_events(a, b);
        worker.sweep_at_usec = 0;
        armed(news_sweep(&worker, clock_usec()));
        until_quiet();
        leave();
        enter_in_the_end();
        take(0);
        take(1);
        write_events(a, b);
        until_quiet();
        armed((void) clean_deadline(&worker, clock_usec()));
}

/* ---- what must hold after it -------------------------------------------------------------------------- */

static void expect_in_database(const char *session) {
        sqlite3 *db = app_open("d.db");

        cr_assert_eq(app_number(db,
                                "SELECT count(*) = %d AND min(position) = 1 AND max(position) = %d AND "
                                "sum(payload = position) = %d FROM baton_events WHERE session = '%s'",
                                EVENTS, EVENTS, EVENTS, session),
                     1, "%s failed: session %s is not whole", calls.failed, session);
        cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

/* Lines 1 … EVENTS, each once and in this order. */
static void expect_in_files(const char *session) {
        char command[700];

        (void) snprintf(command, sizeof command,
                        "cat '%s'/%s.0*.jsonl | sed 's/.*\"position\":\\([0-9]*\\).*/\\1/' | "
                        "cmp -s - '%s'",
                        path_of("out"), session, path_of("numbers"));
        cr_assert_eq(system(command), 0, "%s failed: session %s is not whole", calls.failed, session);
}

/* One life; returns how many calls it made. */
static unsigned run(const struct variant *variant, enum calls_how how, unsigned at) {
        const struct segment_geometry geometry = { 4, 2 };
        sqlite3 *a, *b;

        fixture_setup();
        fixture_fused = variant->fused;
        fixture_scheme = variant->scheme;
        fixture_destination = variant->destination;
        shell("mkdir state run out && seq 12 > numbers");
        must(segment_create(path_of("run"), &geometry, fixture_instance, 1ULL << 32, &segment, failure));
        settings_write();
        a = app_outbox("a.db");
        b = app_outbox("b.db");
        app_run(a, "PRAGMA synchronous = OFF");
        app_run(b, "PRAGMA synchronous = OFF");
        calls_begin(how, at);
        live(variant, a, b);
        for (const char *const *name = (const char *const[]){ "a", "b", NULL }; *name; name++)
                (strcmp(variant->scheme, "file") == 0 ? expect_in_files : expect_in_database)(*name);
        worker_leave();
        segment_close(TAKE(segment));
        cr_assert_eq(sqlite3_close(a), SQLITE_OK);
        cr_assert_eq(sqlite3_close(b), SQLITE_OK);
        shell("rm -rf \"$PWD\"");
        return calls.seen;
}

static void sweep_of(const struct variant *variant, enum calls_how how) {
        unsigned count, step;

        if (access("/dev/shm", W_OK) == 0) /* nothing here asks for a disk */
                (void) setenv("TMPDIR", "/dev/shm", 1);
        log_init("test");
        log_level(LOG_EMERG);
        urcu_memb_register_thread();
        count = run(variant, how, 0);
        cr_assert_gt(count, 100);
        step = calls_step(count, SAMPLE_FEW);
        for (unsigned at = 1 + variant->turn % step; at <= count; at += step)
                (void) run(variant, how, at);
        urcu_memb_unregister_thread();
}

Test(worker_failing, M6_fused_whatever_is_broken) {
        sweep_of(&fused_variant, CALLS_BROKEN);
}

Test(worker_failing, M8_fused_whatever_is_short) {
        sweep_of(&fused_variant, CALLS_SHORT);
}

Test(worker_failing, M6_row_by_row_whatever_is_broken) {
        sweep_of(&row_variant, CALLS_BROKEN);
}

Test(worker_failing, M8_row_by_row_whatever_is_short) {
        sweep_of(&row_variant, CALLS_SHORT);
}

Test(worker_failing, M7_to_files_whatever_is_broken) {
        sweep_of(&file_variant, CALLS_BROKEN);
}

Test(worker_failing, M8_to_files_whatever_is_short) {
        sweep_of(&file_variant, CALLS_SHORT);
}
