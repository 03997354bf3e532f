/* SPDX-License-Identifier: Apache-2.0 */
/* A worker in the test's own process, turned by hand: a real segment, real outboxes, a real destination, no
 * thread beside the mover's and no clock. What a source or a destination does wrong is one function of its
 * operations replaced. Must not touch: a mover's decisions; it calls what mover.c calls. */
#pragma once

#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <urcu/urcu-memb.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/life.h"
#include "shm/slot.h"
#include "tests/unit/sqlite_fixture.h"
#include "worker/session.h"

/* More passes than that over a handful of sessions and events are no work any more. */
#define PASSES_MOST 20u

static struct worker worker;
static struct segment *segment; /* the supervisor's mapping of it */
static bool fixture_fused = true;
static const char *fixture_scheme = "sqlite", *fixture_destination = "d.db";

UNUSED static void settings_write(void) {
        struct pool_settings settings = { .state = POOL_ACTIVE,
                                          .workers_wanted = 1,
                                          .batch_rows = 1000,
                                          .batch_bytes = 1 << 20,
                                          .batch_usec = 60 * USEC_PER_SEC,
                                          .parked_limit = 100,
                                          .fused = fixture_fused,
                                          .name = "events" };

        (void) snprintf(settings.url, sizeof settings.url, "%s:%s", fixture_scheme,
                        path_of(fixture_destination));
        pool_settings_write(segment, 0, &settings);
}

UNUSED static void worker_enter(void) {
        struct directories directories;

        (void) snprintf(directories.state, sizeof directories.state, "%s", path_of("state"));
        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s", path_of("run"));
        must(worker_open(&worker, &directories, 0, failure));
        must(life_enter(worker.segment, 0, &worker.ref, failure));
        fault_note_clear(&worker);
}

/* As in main.c: whatever it still has goes to nobody. */
UNUSED static void worker_leave(void) {
        while (worker.sessions)
                session_hand_over(worker.sessions, 0);
        target_close(&worker);
        journal_close(TAKE(worker.journal));
        life_leave(worker.segment, worker.ref);
        worker_done(&worker);
}

UNUSED static void worker_setup(void) {
        const struct segment_geometry geometry = { 4, 8 };

        fixture_setup();
        log_init("test");
        log_level(LOG_EMERG);
        cr_assert_eq(mkdir(path_of("state"), 0750), 0);
        cr_assert_eq(mkdir(path_of("run"), 0750), 0);
        must(segment_create(path_of("run"), &geometry, fixture_instance, 1ULL << 32, &segment, failure));
        settings_write();
        urcu_memb_register_thread();
        worker_enter();
}

UNUSED static void worker_teardown(void) {
        char command[300];

        worker_leave();
        urcu_memb_unregister_thread();
        segment_close(TAKE(segment));
        (void) snprintf(command, sizeof command, "rm -rf '%s'", fixture_directory);
        cr_assert_eq(system(command), 0);
}

/* Shell commands in the test's directory: what an operator does to files. */
UNUSED static void shell(const char *commands) {
        char *command;

        cr_assert(asprintf(&command, "cd '%s' && %s", fixture_directory, commands) > 0);
        cr_assert_eq(system(command), 0, "%s", command);
        free(command);
}

UNUSED static struct layout_config config_of(const char *name, const char *file, const char *query) {
        struct layout_config config = { 0 };

        (void) snprintf(config.session, sizeof config.session, "%s", name);
        (void) snprintf(config.source, sizeof config.source, "%s", name);
        (void) snprintf(config.url, sizeof config.url, "sqlite:%s%s", path_of(file), query);
        return config;
}

/* The slot is meant for this worker, which takes it. */
UNUSED static struct session *session_take(uint32_t slot_index) {
        slot_assign(segment, slot_index, worker.ref, 0);
        look_at_slot(&worker, slot_index);
        cr_assert_not_null(worker.by_slot[slot_index]);
        return worker.by_slot[slot_index];
}

UNUSED static struct session *session_begin_on(uint32_t slot_index, const char *name, const char *file,
                                               const char *query) {
        struct layout_config config = config_of(name, file, query);

        config.sibling_slot = slot_index;
        cr_assert_eq(slot_configure(segment, slot_index, 0, &config), 0);
        return session_take(slot_index);
}

/* Turns the mover until nothing is ready; what waits for a time goes on waiting. */
UNUSED static void settle(void) {
        for (unsigned passes = 0; worker.ready_first; passes++) {
                cr_assert_lt(passes, PASSES_MOST, "the mover spins");
                pass_run(&worker);
        }
}

/* What inotify has to tell, told; true if it made the session ready. */
UNUSED static bool hears(struct session *session) {
        wake_read(&worker.wake, worker.sessions, news_from_source, NULL);
        return session->is_ready;
}

UNUSED static void sweep(uint64_t now_usec) {
        worker.sweep_at_usec = 0;
        news_sweep(&worker, now_usec);
}

/* Its retry is due. */
UNUSED static void retry_now(struct session *session) {
        session->retry.at_usec = 0;
        session_set_ready(session);
}

UNUSED static void adopt(uint32_t slot_index) {
        atomic_fetch_add(&segment_slot(segment, slot_index)->adopt_request, 1);
        look_at_slot(&worker, slot_index);
}

/* As the others see it. */
UNUSED static struct session_status status_of(uint32_t slot_index) {
        struct session_status status;

        cr_assert_eq(session_status_read(segment, slot_index, &status), 0);
        return status;
}

#define expect_phase(slot_index, wanted)                                                      \
        do {                                                                                  \
                struct session_status _status = status_of(slot_index);                        \
                cr_assert_eq(_status.phase, wanted, "phase %u: %s", (unsigned) _status.phase, \
                             _status.reason);                                                 \
        } while (0)

/* Events of a session at the destination, read by a connection of its own. */
UNUSED static int64_t moved(const char *name) {
        sqlite3 *db = app_open("d.db");
        int64_t count = app_number(db, "SELECT count(*) FROM baton_events WHERE session = '%s'", name);

        cr_assert_eq(sqlite3_close(db), SQLITE_OK);
        return count;
}
