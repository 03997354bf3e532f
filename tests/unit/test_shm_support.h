/* SPDX-License-Identifier: Apache-2.0 */
/* A segment to test on, and workers that are real processes: entered, idle or watching, killed for real.
 * The test itself never enters: a child would inherit what its thread holds. */
#pragma once

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macro.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/lock.h"
#include "shm/slot.h"
#include "shm/takeover.h"
#include "shm/words.h"

#define EPOCH_BASE (7ULL << 32)
/* Only so that a failing test ends; nothing is measured. */
#define PATIENCE_USEC (20 * USEC_PER_SEC)

static const uint8_t test_instance[LAYOUT_INSTANCE_BYTES] = { 1, 2, 3 };

static inline void test_directory(char *ret_path, size_t path_bytes) {
        const char *base = getenv("TMPDIR");

        (void) snprintf(ret_path, path_bytes, "%s/baton-shm.XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(ret_path));
}

static inline void pool_activate(struct segment *segment, uint32_t pool_index) {
        struct pool_settings settings = { .state = POOL_ACTIVE, .workers_wanted = 2, .name = "events" };

        pool_settings_write(segment, pool_index, &settings);
}

/* Each lives as long as its test; remembered here, so that a leak checker knows them. */
#define TEST_SEGMENTS_MAX 64
static struct segment
        *volatile test_segments[TEST_SEGMENTS_MAX]; /* or the compiler forgets what nobody reads */
static unsigned test_segment_count;

/* A segment whose file is gone already: the mapping is enough for the test and its children. */
static inline struct segment *test_segment(uint32_t worker_count, uint32_t slot_count) {
        struct segment_geometry geometry = { worker_count, slot_count };
        struct segment *segment = NULL;
        struct failure failure = { 0 };
        char path[256], file[300];

        test_directory(path, sizeof path);
        cr_assert_eq(segment_create(path, &geometry, test_instance, EPOCH_BASE, &segment, &failure), 0, "%s",
                     failure.text);
        (void) snprintf(file, sizeof file, "%s/%s", path, SEGMENT_FILE_NAME);
        cr_assert_eq(unlink(file), 0);
        cr_assert_eq(rmdir(path), 0);
        pool_activate(segment, 0);
        cr_assert_lt(test_segment_count, TEST_SEGMENTS_MAX);
        test_segments[test_segment_count++] = segment;
        return segment;
}

static inline void sessions_configure(struct segment *segment, uint32_t pool_index, uint32_t first,
                                      uint32_t count) {
        for (uint32_t i = first; i < first + count; i++) {
                struct layout_config config = { .sibling_slot = i };

                (void) snprintf(config.session, sizeof config.session, "session-%u", i);
                (void) snprintf(config.source, sizeof config.source, "source-%u", i);
                cr_assert_eq(slot_configure(segment, i, pool_index, &config), 0);
        }
}

static inline struct slot_view slot_view_of(const struct segment *segment, uint32_t slot_index) {
        struct slot_view view = { 0 };

        cr_assert_eq(slot_read(segment, slot_index, &view), 0);
        return view;
}

static inline enum life life_state_of(const struct segment *segment, uint64_t ref) {
        return segment_worker(segment, worker_ref_index(ref))->life & 0xff;
}

/* ---- processes ------------------------------------------------------------------------------- */

struct peer {
        pid_t pid;
        uint64_t ref;
};

/* A child that runs fn(segment, argument) and exits with its result. */
static inline pid_t child_run(struct segment *segment, int (*fn)(struct segment *segment, void *argument),
                              void *argument) {
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                _exit(fn(segment, argument));
        }
        return pid;
}

static inline int child_status(pid_t pid) {
        int status = -1;

        cr_assert_eq(waitpid(pid, &status, 0), pid);
        return status;
}

static inline void child_succeeds(pid_t pid, const char *what) {
        int status = child_status(pid);

        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status %#x", what, status);
}

static inline void child_was_killed(pid_t pid, const char *what) {
        int status = child_status(pid);

        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status %#x", what, status);
}

/* What a worker's takeover thread does, for ever. */
static inline void watch_for_ever(struct segment *segment, uint32_t pool_index, uint64_t ref) {
        struct life_watch watch = { 0 };

        for (;;)
                if ((life_wait(segment, ref, &watch, USEC_INFINITY) & LIFE_NEWS_DEATH) != 0)
                        (void) takeover_run(segment, pool_index, ref, NULL);
}

/* A worker; its ref comes back through a pipe. Idle ones see nothing. */
static inline struct peer peer_start(struct segment *segment, uint32_t pool_index, bool is_watching) {
        struct peer peer = { 0 };
        int fds[2];

        cr_assert_eq(pipe(fds), 0);
        peer.pid = fork();
        cr_assert_geq(peer.pid, 0);
        if (peer.pid == 0) {
                struct failure failure;
                uint64_t ref = 0;

                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (life_enter(segment, pool_index, &ref, &failure) < 0 ||
                    write(fds[1], &ref, sizeof ref) != sizeof ref)
                        _exit(1);
                if (is_watching)
                        watch_for_ever(segment, pool_index, ref);
                for (;;)
                        (void) pause();
        }
        (void) close(fds[1]);
        cr_assert_eq(read(fds[0], &peer.ref, sizeof peer.ref), (ssize_t) sizeof peer.ref);
        (void) close(fds[0]);
        return peer;
}

static inline void peer_kill(struct peer peer) {
        cr_assert_eq(kill(peer.pid, SIGKILL), 0);
        child_was_killed(peer.pid, "a killed worker");
}

static inline void test_pause(void) {
        const struct timespec pause_time = { .tv_nsec = 500000 };

        (void) nanosleep(&pause_time, NULL);
}

/* ---- what must hold after the last look (S7) -------------------------------------------------- */

/* Every wanted slot is owned by a live worker, or nobody lives and it is an orphan; no dead entry is left. */
static inline bool is_converged(const struct segment *segment) {
        bool is_anyone_live = false;

        for (uint32_t i = 0; i < segment->worker_count; i++) {
                uint64_t life = segment_worker(segment, i)->life;

                if ((life & 0xff) == LIFE_DEAD || (life & 0xff) == LIFE_LEFT ||
                    (life & 0xff) == LIFE_ENTERING)
                        return false;
                if ((life & 0xff) == LIFE_LIVE && !life_is_live(segment, worker_ref(i, life >> 8)))
                        return false;
                is_anyone_live = is_anyone_live || (life & 0xff) == LIFE_LIVE;
        }
        for (uint32_t i = 0; i < segment->slot_count; i++) {
                struct slot_view view;

                if (slot_read(segment, i, &view) < 0)
                        return false;
                if (view.state == SLOT_FREE || view.quarantined)
                        continue;
                if (view.owner_ref != 0 && !life_is_live(segment, view.owner_ref))
                        return false;
                if (view.wanted && is_anyone_live && view.owner_ref == 0)
                        return false;
        }
        return true;
}

static inline void assert_converges(const struct segment *segment, const char *what) {
        uint64_t deadline_usec = clock_usec() + PATIENCE_USEC;
        bool done;

        while (!(done = is_converged(segment)) && clock_usec() < deadline_usec)
                test_pause();
        cr_assert(done, "%s: not every slot has a live owner, or an entry is not complete", what);
}

static inline uint32_t slots_owned_by(const struct segment *segment, uint64_t ref) {
        uint32_t count = 0;

        for (uint32_t i = 0; i < segment->slot_count; i++)
                count += segment_slot(segment, i)->owner_ref == ref;
        return count;
}
