/* SPDX-License-Identifier: Apache-2.0 */
/* Pings every mover and kills the worker that does not answer, or sits on a shared lock, for
 * stall-timeout (S3): a live owner loses a slot only by its end, and this is how an end is brought about.
 * Must not touch: any mutex (S5); the words beside one say who holds it and since when. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "shm/doorbell.h"
#include "shm/lock.h"
#include "supervisor/manager.h"

#define PINGS_A_STALL 4
/* S3 and a slow disk: so long a mover may wait for one, at least six stall-timeouts. */
#define DISK_LEAST_USEC (60 * USEC_PER_SEC)

static const char *const phase_names[PHASE_COUNT] = {
        [PHASE_STARTING] = "starting",     [PHASE_IDLE] = "idle",
        [PHASE_READING] = "reading",       [PHASE_WRITING] = "writing",
        [PHASE_COMMITTING] = "committing", [PHASE_WAITING] = "waiting",
        [PHASE_DRAINING] = "draining",
};

static uint64_t interval_usec(const struct manager *manager) {
        return manager->config->stall_timeout_usec / PINGS_A_STALL;
}

uint64_t ping_patience_usec(const struct manager *manager) {
        return MAX_OF(6 * manager->config->stall_timeout_usec, DISK_LEAST_USEC);
}

/* ---- a mover that waits for a disk ------------------------------------------------------------------ */
/* SIGKILL ends no uninterruptible wait: it acts when the disk has answered, and then the mover would answer
 * too. All that the kill brings about is that the heir begins the same slow sync anew, to be killed in it
 * like the one before, and nothing is moved. So whoever was seen in state D within the last stall-timeout
 * is given a minute and more; after that it is killed all the same, for some such waits can be ended. */
static bool waits_for_disk(struct process *process, uint64_t since_usec, uint64_t now_usec) {
        uint64_t stall_usec = process->manager->config->stall_timeout_usec;
        struct log_fields fields = { .destination = process->manager->pools[process->pool_index].name,
                                     .worker_ref = process->ref,
                                     .pid = process->pid };
        char state = '?', span[32];

        if (process_state(process->pid, &state) >= 0 && state == 'D')
                process->disk_usec = now_usec;
        if (process->disk_usec == 0 || now_usec - process->disk_usec >= stall_usec ||
            now_usec - since_usec >= ping_patience_usec(process->manager))
                return false;
        if (now_usec - since_usec >= stall_usec &&
            (process->disk_told_usec == 0 || now_usec - process->disk_told_usec >= DISK_LEAST_USEC)) {
                process->disk_told_usec = now_usec;
                clock_format_span(now_usec - since_usec, span, sizeof span);
                log_line(MESSAGE_WORKER_WAITS_FOR_DISK, LOG_WARNING, &fields,
                         "destination %s: worker %u (pid %d) has waited for a disk or a file server for %s; "
                         "killing it would not make that faster, so it is waited for",
                         fields.destination, worker_ref_index(process->ref), process->pid, span);
        }
        return true;
}

/* ---- answers ---------------------------------------------------------------------------------------- */
static void stalled(struct process *process, const struct layout_worker *worker, uint64_t silent_usec) {
        uint32_t phase = atomic_load_explicit(&worker->phase, memory_order_relaxed);
        char span[32], reason[128];

        clock_format_span(silent_usec, span, sizeof span);
        (void) snprintf(reason, sizeof reason, "has not answered for %s (last seen %s)", span,
                        phase < PHASE_COUNT ? phase_names[phase] : "in an unknown phase");
        watch_kill(process, MESSAGE_WORKER_HUNG, reason);
}

/* A process that has not entered yet owns nothing, but keeps a place: it is given six stall-timeouts,
 * at least a minute (it may wait for the pool's mutex, whose holder is watched too). */
static void check_entering(struct process *process, uint64_t now_usec) {
        uint64_t most_usec = MAX_OF(6 * process->manager->config->stall_timeout_usec, 60 * USEC_PER_SEC);

        if (now_usec - process->started_usec > most_usec)
                watch_kill(process, MESSAGE_WORKER_OVERDUE, "has not joined since it was started");
}

static void ping_process(struct process *process, uint64_t now_usec) {
        struct manager *manager = process->manager;
        struct layout_worker *worker;
        uint64_t ping, pong;

        if (process->ref == 0) {
                check_entering(process, now_usec);
                return;
        }
        worker = segment_worker(manager->segment, worker_ref_index(process->ref));
        /* Acquire: pairs with the mover's release. */
        pong = atomic_load_explicit(&worker->pong, memory_order_acquire);
        ping = atomic_load_explicit(&worker->ping, memory_order_relaxed);
        if (pong != process->pong_seen || pong == ping)
                process->answered_usec = now_usec;
        process->pong_seen = pong;
        if (pong != ping && !waits_for_disk(process, process->answered_usec, now_usec) &&
            now_usec - process->answered_usec >= manager->config->stall_timeout_usec) {
                stalled(process, worker, now_usec - process->answered_usec);
                return;
        }
        atomic_store_explicit(&worker->ping_usec, now_usec, memory_order_relaxed);
        atomic_store_explicit(&worker->ping, ping + 1,
                              memory_order_release); /* pairs with the mover's acquire */
        doorbell_ring(manager->segment, process->ref);
}

/* ---- shared locks ----------------------------------------------------------------------------------- */
#define LOCK_NAME_BYTES (sizeof("the membership lock of destination ") + LAYOUT_NAME_BYTES)

struct shared_lock {
        const char *name;
        const pthread_mutex_t *mutex;
        const _Atomic uint64_t *holder_ref, *since_usec; /* words of its holder (S3): input */
};

/* The record beside a lock may name anybody; only who really has it is killed for it. */
static void check_holder(struct manager *manager, const struct shared_lock *lock, uint64_t now_usec) {
        uint64_t holder = atomic_load_explicit(lock->holder_ref, memory_order_acquire);
        uint64_t since = atomic_load_explicit(lock->since_usec, memory_order_relaxed);
        struct process *process;
        char span[32], reason[LOCK_NAME_BYTES + 64];

        if (holder == 0 || since == 0 || since > now_usec ||
            now_usec - since <= manager->config->stall_timeout_usec)
                return;
        /* Read again: it may have changed hands between the two loads. */
        if (holder != atomic_load_explicit(lock->holder_ref, memory_order_acquire) ||
            since != atomic_load_explicit(lock->since_usec, memory_order_relaxed))
                return;
        process = watch_find_ref(manager, holder);
        if (!process || !process_has_thread(process->pid, (pid_t) lock_holder(lock->mutex)))
                return; /* dead: the kernel has said so in the lock, or check_lost() finds it */
        if (waits_for_disk(process, since, now_usec))
                return;
        clock_format_span(now_usec - since, span, sizeof span);
        (void) snprintf(reason, sizeof reason, "has held %s for %s", lock->name, span);
        watch_kill(process, MESSAGE_WORKER_LOCK_HELD, reason);
}

/* A thread of none of our workers: one that is gone, or the word was overwritten (P1). Nobody will let go. */
static bool is_lost(const struct manager *manager, const pthread_mutex_t *mutex) {
        pid_t thread_id = (pid_t) lock_holder(mutex);

        if (lock_holder_is_lost(mutex))
                return true;
        if (thread_id == 0)
                return false;
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0 && process_has_thread(manager->processes[i].pid, thread_id))
                        return false;
        return true;
}

/* S11: held by a thread that no longer exists and never said so, or that is no worker's. Twice in a row, a
 * stall-timeout apart, because a thread that just ended is between the two for a moment, and so is a worker
 * that a supervisor before us started and that has not entered yet. */
static void check_lost(struct manager *manager, const struct shared_lock *lock, uint64_t *lost_usec,
                       uint64_t now_usec) {
        char reason[LOCK_NAME_BYTES + 64];

        if (!is_lost(manager, lock->mutex)) {
                *lost_usec = 0;
                return;
        }
        if (*lost_usec == 0)
                *lost_usec = now_usec;
        if (now_usec - *lost_usec < manager->config->stall_timeout_usec)
                return;
        *lost_usec = 0;
        (void) snprintf(reason, sizeof reason, "%s is held by no worker that lives", lock->name);
        renew_segment(manager, reason);
}

static void check_locks(struct manager *manager, uint32_t pool_index, uint64_t now_usec) {
        struct layout_pool *shared = segment_pool(manager->segment, pool_index);
        struct pool *pool = &manager->pools[pool_index];
        char turn_name[LOCK_NAME_BYTES], mutex_name[LOCK_NAME_BYTES];
        const struct shared_lock turn = { turn_name, &shared->turn, &shared->turn_holder_ref,
                                          &shared->turn_since_usec };
        const struct shared_lock mutex = { mutex_name, &shared->mutex, &shared->mutex_holder_ref,
                                           &shared->mutex_since_usec };

        (void) snprintf(turn_name, sizeof turn_name, "the turn at destination %s", pool->name);
        (void) snprintf(mutex_name, sizeof mutex_name, "the membership lock of destination %s", pool->name);
        check_holder(manager, &turn, now_usec);
        check_holder(manager, &mutex, now_usec);
        check_lost(manager, &turn, &pool->turn_lost_usec, now_usec);
        check_lost(manager, &mutex, &pool->mutex_lost_usec, now_usec);
}

/* ---- the beat --------------------------------------------------------------------------------------- */
void ping_tick(struct manager *manager, uint64_t now_usec) {
        bool late = manager->ping_usec != 0 && now_usec - manager->ping_usec > 2 * interval_usec(manager);

        manager->ping_usec = now_usec;
        (void) log_tick(); /* also while there is no segment to look at */
        watch_reap_orphans(manager);
        if (!manager->segment || manager->state == MANAGER_WAITING)
                return;
        adopt_beat(manager);
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];

                if (process->pid == 0 || process->kill_usec != 0)
                        continue;
                if (late) /* we were stopped ourselves, perhaps they too: count from now */
                        process->answered_usec = now_usec;
                ping_process(process, now_usec);
        }
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX && manager->state != MANAGER_WAITING; i++)
                if (manager->pools[i].used && !late)
                        check_locks(manager, i, now_usec);
}

static int on_time(sd_event_source *source, uint64_t usec, void *context) {
        struct manager *manager = context;
        int r;

        (void) usec;
        ping_tick(manager, clock_usec());
        r = sd_event_source_set_time_relative(source, interval_usec(manager));
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int ping_start(struct manager *manager) {
        return sd_event_add_time_relative(manager->event, &manager->ping_source, CLOCK_MONOTONIC,
                                          interval_usec(manager), interval_usec(manager) / 10, on_time,
                                          manager);
}

void ping_interval_changed(struct manager *manager) {
        int r;

        r = sd_event_source_set_time_relative(manager->ping_source, interval_usec(manager));
        if (r < 0)
                log_line(MESSAGE_SUPERVISOR_TROUBLE, LOG_ERR, NULL, "the ping timer cannot be set: %s",
                         strerror(-r));
}
