/* SPDX-License-Identifier: Apache-2.0 */
/* See world.h. The segment is made once, by the product; for each input its bytes are put back. */
#include "tests/fuzz/lib/world.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/life_word.h"
#include "shm/lock.h"
#include "shm/pool.h"
#include "shm/slot.h"
#include "shm/takeover.h"
#include "shm/turn.h"
#include "shm/words.h"
#include "tests/fuzz/lib/held_locks.h"

/* Before now, on any machine: what waits until a time of this clock does not wait. */
#define CLOCK_BEGIN_USEC (5 * USEC_PER_SEC)
#define STALL_USEC USEC_PER_SEC
#define PING_USEC (STALL_USEC / 4)
/* A slice of a wait, as shm/lock.c has it; and what no wait may last: a process that was started and has not
 * joined is ended after a minute (supervisor/README.md). */
#define SLICE_USEC (100 * USEC_PER_MSEC)
#define WAIT_MOST_USEC (90 * USEC_PER_SEC)

#define CONFIG                                                                                                 \
        "[baton]\nsessions = 12\nmax-workers = 6\nstall-timeout = 1s\n"                                        \
        "[destination a]\nurl = sqlite:/nowhere/a.db\nworkers = 3\n"                                           \
        "[destination b]\nurl = file:/nowhere/b\nworkers = 1\n"                                                \
        "[source s0]\nurl = sqlite:/nowhere/s0.db\nto = a\n[source s1]\nurl = sqlite:/nowhere/s1.db\nto = a\n" \
        "[source s2]\nurl = sqlite:/nowhere/s2.db\nto = a\n[source s3]\nurl = sqlite:/nowhere/s3.db\nto = a\n" \
        "[source s4]\nurl = sqlite:/nowhere/s4.db\nto = a\n[source s5]\nurl = sqlite:/nowhere/s5.db\nto = b\n" \
        "[source two]\nurl = sqlite:/nowhere/two.db?clean-up=delete\nto = a, b\n"

struct world world;

/* ---- who acts ------------------------------------------------------------------------------------------- */
void world_act_as_worker(void) {
        fake_own_pid = fakes[0].pid;
}

void world_act_as_supervisor(void) {
        fake_own_pid = 0;
}

/* ---- spawning: a process that has not entered yet ---------------------------------------------------------- */
int __wrap_spawn_worker(struct manager *manager, uint32_t pool_index);
int __wrap_spawn_worker(struct manager *manager, uint32_t pool_index) {
        struct fake *fake = fake_begin_any();
        int fd = -1;

        if (!fake)
                return -EAGAIN;
        fuzz_must(process_open(fake->pid, fake->start_ticks, &fd) == 0, "a fake has no pidfd");
        if (!watch_add(manager, fake->pid, fake->start_ticks, fd, false, pool_index)) {
                (void) close(fd);
                return -ENOMEM;
        }
        return 0;
}

/* ---- death --------------------------------------------------------------------------------------------------- */
static void word_tells(pthread_mutex_t *mutex, pid_t thread_id) {
        uint32_t value = atomic_load(lock_word(mutex));

        if ((value & FUTEX_TID_MASK) == (uint32_t) thread_id)
                atomic_store(lock_word(mutex), (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
}

/* What the kernel does for the robust list of a thread: here for every lock word with its number. */
static void kernel_tells(pid_t thread_id) {
        const struct segment *segment = world.segment;

        for (uint32_t i = 0; i < segment->worker_count; i++)
                word_tells(&segment_worker(segment, i)->life_mutex, thread_id);
        for (uint32_t i = 0; i < segment->pool_count; i++) {
                word_tells(&segment_pool(segment, i)->mutex, thread_id);
                word_tells(&segment_pool(segment, i)->turn, thread_id);
        }
        for (uint32_t i = 0; i < segment->slot_count; i++)
                word_tells(&segment_slot(segment, i)->mutex, thread_id);
}

void world_kill(struct fake *fake, bool kernel_says) {
        bool is_self = fake == &fakes[0];

        if (fake->is_gone)
                return;
        if (is_self) /* this thread lives on, and holds nothing any more */
                held_die();
        else if (kernel_says)
                kernel_tells(fake->thread_id);
        fake_end(fake);
        if (is_self)
                world.self_ref = 0;
}

static void on_kill(struct fake *fake) {
        world_kill(fake, true);
}

/* ---- a wait for a lock ---------------------------------------------------------------------------------------- */
/* S3: nobody waits for ever. Who holds a lock and does not let go, or who waits and answers no ping, is killed by
 * the supervisor; a lock that no worker holds is given up with its segment (S11). */
static uint64_t wait_since_usec, wait_beat_usec;

static void on_wait(pid_t thread_id) {
        static bool is_beating;

        (void) thread_id;
        if (is_beating || !world.self_waits || fake_own_pid == 0)
                return;
        fake_clock_usec += SLICE_USEC;
        fuzz_must(fake_clock_usec - wait_since_usec < WAIT_MOST_USEC, "a wait that nobody ends");
        if (fake_clock_usec - wait_beat_usec < PING_USEC)
                return;
        wait_beat_usec = fake_clock_usec;
        is_beating = true;
        world_act_as_supervisor();
        world_beat(0);
        world_act_as_worker();
        is_beating = false;
        if (fakes[0].is_gone)
                siglongjmp(world.self_killed, 1); /* killed in the wait */
}

void world_self(void (*act)(void *context), void *context) {
        if (world.self_ref == 0)
                return;
        wait_since_usec = wait_beat_usec = fake_clock_usec;
        world_act_as_worker();
        world.self_waits = true;
        if (sigsetjmp(world.self_killed, 0) == 0)
                act(context);
        world.self_waits = false;
        world_act_as_supervisor();
}

/* ---- the supervisor --------------------------------------------------------------------------------------------- */
void world_begin_supervisor(void) {
        struct failure failure = { 0 };
        int r;

        world_act_as_supervisor();
        r = manager_new(&world.directories, place_file("baton.conf"), &world.manager, &failure);
        if (r >= 0)
                r = config_load(place_file("baton.conf"), &world.manager->config, &failure);
        if (r >= 0) {
                (void) snprintf(world.manager->worker_path, sizeof(world.manager->worker_path),
                                "/nowhere/baton-worker");
                world.manager->config_path = "/nowhere/baton.conf"; /* a reload finds none */
                r = adopt_instance(world.manager, &failure);
        }
        if (r >= 0)
                r = ping_start(world.manager);
        if (r >= 0)
                r = adopt_segment(world.manager, &failure);
        fuzz_must(r >= 0, "%s", failure.text);
}

void world_end_supervisor(void) {
        manager_free(TAKE(world.manager));
}

/* Its own timers were set by another clock: the one for a look would be due each time, and the one that waits for
 * workers to leave a lost segment, never. */
void world_turn(void) {
        struct manager *manager = world.manager;

        if (manager->wait_source)
                (void) sd_event_source_set_time(manager->wait_source, 0);
        do
                (void) sd_event_source_set_enabled(manager->look_source, SD_EVENT_OFF);
        while (sd_event_run(manager->event, 0) > 0);
}

void world_beat(uint64_t usec) {
        fake_clock_usec += usec;
        world_turn();
        ping_tick(world.manager, fake_clock_usec);
        look(world.manager);
}

/* ---- once: the segment when all is well -------------------------------------------------------------------------- */
/* As life_enter() leaves it, for a worker that is no thread. */
static void member_enter(uint32_t index, uint32_t pool_index) {
        struct layout_worker *worker = segment_worker(world.segment, index);
        const struct fake *fake = &fakes[index];

        atomic_store(lock_word(&worker->life_mutex), (uint32_t) fake->thread_id);
        atomic_store(&worker->pid, (uint32_t) fake->pid);
        atomic_store(&worker->start_ticks, fake->start_ticks);
        atomic_store(&worker->pool_index, pool_index);
        atomic_store(&worker->note_slot, LAYOUT_NONE);
        atomic_store(&worker->phase, PHASE_IDLE);
        atomic_store(&worker->life, life_word(1, LIFE_LIVE));
}

static void members_begin(void) {
        for (unsigned i = 0; i < WORLD_MEMBERS; i++)
                (void) fake_begin(i);
        fakes[0].thread_id = gettid();
}

/* As each does before it enters; a segment is there by then. */
static void members_take_workers_lock(void) {
        for (unsigned i = 0; i < WORLD_MEMBERS; i++)
                fakes[i].has_workers_lock = true;
}

static void takeovers_run(void) {
        world_act_as_worker();
        for (uint32_t pool = 0; pool < 2; pool++)
                fuzz_must(takeover_run(world.segment, pool, 0, NULL) >= 0, "no takeover");
        world_act_as_supervisor();
}

/* Every session has an owner, and each owner has said something. */
static void sessions_begin(void) {
        for (uint32_t i = 0; i < WORLD_SESSIONS; i++) {
                struct session_status status = { .phase = SESSION_IDLE, .position = 7, .event_count = 7 };
                struct slot_view view;

                fuzz_must(slot_read(world.segment, i, &view) == 0 && view.state == SLOT_OWNED, "slot %u", i);
                status.epoch = view.epoch;
                session_status_write(world.segment, i, &status);
                session_durable_set(world.segment, i, 7);
        }
}

static void world_make(void) {
        struct failure failure = { 0 };

        log_level(getenv("FUZZ_LOG") ? LOG_DEBUG : LOG_EMERG);
        (void) snprintf(world.directories.state, sizeof(world.directories.state), "%s", place_file("state"));
        (void) snprintf(world.directories.runtime, sizeof(world.directories.runtime), "%s",
                        place_file("run"));
        (void) mkdir(world.directories.state, 0750);
        (void) mkdir(world.directories.runtime, 0750);
        place_write("baton.conf", CONFIG, strlen(CONFIG));
        fake_clock_usec = CLOCK_BEGIN_USEC;
        fake_on_kill = on_kill;
        fake_on_wait = on_wait;

        members_begin();
        world_begin_supervisor();
        fuzz_must(segment_open(world.directories.runtime, true, &world.segment, &failure) == 0, "%s",
                  failure.text);
        members_take_workers_lock();
        memcpy(&world.free_life, &segment_worker(world.segment, 0)->life_mutex, sizeof(world.free_life));
        world_act_as_worker();
        fuzz_must(life_enter(world.segment, 0, &world.self_ref, &failure) == 0, "%s", failure.text);
        for (uint32_t i = 1; i < WORLD_MEMBERS; i++)
                member_enter(i, i == 3);
        world_act_as_supervisor();
        for (unsigned beats = 0; beats < 4; beats++) {
                world_beat(STALL_USEC / 8);
                takeovers_run();
                for (uint32_t i = 0; i < WORLD_MEMBERS; i++)
                        atomic_store(&segment_worker(world.segment, i)->pong,
                                     atomic_load(&segment_worker(world.segment, i)->ping));
        }
        sessions_begin();
        world_end_supervisor();
        world.image = malloc(world.segment->bytes);
        fuzz_must(world.image, "no memory");
        memcpy(world.image, world.segment->header, world.segment->bytes);
        fuzz_must(link(place_file("run/segment"), place_file("run/kept")) == 0, "%m");
        fakes_forget();
}

/* ---- for each input ------------------------------------------------------------------------------------------------ */
bool world_is_given_up(void) {
        struct stat kept, found;

        fuzz_must(stat(place_file("run/kept"), &kept) == 0, "%m");
        return stat(place_file("run/segment"), &found) < 0 || found.st_ino != kept.st_ino;
}

static void file_restore(void) {
        if (!world_is_given_up())
                return;
        (void) unlink(place_file("run/segment"));
        fuzz_must(link(place_file("run/kept"), place_file("run/segment")) == 0, "%m");
}

/* The image says that this thread holds entry 0: so it must be. */
static void image_restore(void) {
        pthread_mutex_t *life = &segment_worker(world.segment, 0)->life_mutex;

        held_forget();
        memcpy(world.segment->header, world.image, world.segment->bytes);
        memcpy(life, &world.free_life, sizeof(pthread_mutex_t));
        fuzz_must(lock_try(life, LOCK_LIFE) == 0, "the life of worker 0");
}

/* Whom this thread owes a turn is a word of its own (shm/turn.c): after a turn that nobody waited for, nobody. */
static void turn_restore(void) {
        fuzz_must(turn_take(world.segment, 0, worker_ref(0, 1), NULL, NULL) == 0, "the turn");
        turn_give(world.segment, 0, worker_ref(0, 1));
}

void world_begin(void) {
        if (!world.image)
                world_make();
        fake_clock_usec = CLOCK_BEGIN_USEC + 5 * USEC_PER_SEC;
        file_restore();
        image_restore();
        turn_restore();
        world.self_ref = worker_ref(0, 1);
        world.is_trusted = true;
        members_begin();
        members_take_workers_lock();
        world_begin_supervisor();
        fuzz_must(world.manager->state == MANAGER_SERVING, "a segment that is well was not adopted");
}

void world_end(void) {
        world.self_waits = false;
        world_act_as_supervisor();
        world_end_supervisor();
        fakes_forget();
}
