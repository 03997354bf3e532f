/* SPDX-License-Identifier: Apache-2.0 */
/* The process: what its three threads share, and what belongs to the mover alone.
 *
 *   mover     main thread. Everything but the fields named below is its own. Holds the life mutex.
 *   takeover  reads segment, ref; writes hand-offs and the mover's eventfd (takeover_thread.c).
 *   control   reads segment, ref; writes roster, hand-offs, draining (control_thread.c).
 * Must not be touched from a signal handler, but `draining` and `wake_fd` (signals.c). */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/directories.h"
#include "base/failure.h"
#include "include/baton/destination.h"
#include "include/baton/journal.h"
#include "include/baton/source.h"
#include "shm/segment.h"
#include "shm/words.h"
#include "worker/confine_files.h"
#include "worker/handoff.h"
#include "worker/roster.h"
#include "worker/wake.h"
#include "worker/warm.h"

struct session; /* worker/session.h */

/* Growing delay for something that cannot be reached (M6, M8): 50 ms, doubled, up to 5 s. */
struct retry {
        uint64_t delay_usec, at_usec; /* at 0: no wait */
};
void retry_again(struct retry *retry, uint64_t now_usec);
void retry_clear(struct retry *retry);

struct worker {
        /* Set before the threads start, constant after. */
        struct segment *segment;
        uint64_t ref;
        uint32_t pool_index;
        struct directories directories;
        uint8_t instance[INSTANCE_BYTES];
        int workers_lock_fd;
        int wake_fd;    /* eventfd: takeover, control and signals wake the mover */
        int control_fd; /* eventfd: takeover and mover wake the control thread */
        int notify_fd;  /* unbound datagram socket */

        /* Between threads. */
        _Atomic(struct roster *) roster; /* RCU; control publishes, mover reads */
        struct handoff handoff;          /* wait-free queue: slots that the mover is to look at */
        _Atomic uint32_t draining;       /* enum drain; any thread or signal raises it */
        _Atomic uint32_t leaving;        /* 1: threads end */
        pthread_t takeover_thread, control_thread;
        sem_t entered; /* posted once `ref` is known, or is not to be; the takeover thread waits for it */

        /* The mover alone. */
        struct pool_settings settings;
        struct url url;
        const struct scheme *scheme;
        const struct destination_ops *destination_ops;
        struct destination *destination; /* NULL: not open, destination_retry says when */
        struct retry destination_retry;
        struct failure destination_failure; /* why it is not usable; kind NONE: it is */
        struct journal *journal;
        struct journal_table *journal_table;
        struct event_batch batch;
        struct wake wake;
        struct warm warm;
        struct session **by_slot; /* slot_count pointers; NULL: not ours */
        struct session *sessions; /* list of all */
        size_t session_count, open_source_count, fused_count;
        size_t closed_source_count;               /* since memory was given back */
        struct session *ready_first, *ready_last; /* queue of those that may have events */
        uint64_t sweep_at_usec;                   /* next safety poll */
        bool turn_held, in_transaction;
        bool journal_is_deaf; /* said already */
        struct confined_files files;
};

enum drain {
        DRAIN_NO = 0,
        DRAIN_LEAVE = 1, /* scale down, SIGTERM to this process, no supervisor: hand all over, leave */
        DRAIN_STOP = 2,  /* everything stops: release to nobody, leave */
};

/* worker.c */
int worker_open(struct worker *worker, const struct directories *directories, uint32_t pool_index,
                struct failure *ret_failure);
void worker_done(struct worker *worker);
static inline struct layout_worker *worker_record(const struct worker *worker) {
        return segment_worker(worker->segment, worker_ref_index(worker->ref));
}
/* Raises the drain level and wakes mover and control. Async-signal-safe. */
void worker_drain(struct worker *worker, enum drain level);
void worker_wake_mover(struct worker *worker);
void worker_wake_control(struct worker *worker);
/* A hint to the supervisor: look at the segment. Never blocks, never fails (RUNTIME/notify). */
void worker_notify_supervisor(struct worker *worker);
/* Answers the supervisor's ping (S3). Mover only. True if the worker is to drain: long waits end. */
bool worker_pulse(void *context);
void worker_phase(struct worker *worker, enum worker_phase phase);
/* Adds to a counter that the mover alone writes; readers need no lock (S10). */
static inline void worker_count(_Atomic uint64_t *counter, uint64_t more) {
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                              memory_order_relaxed);
}

/* takeover_thread.c, control_thread.c: both take a struct worker *. */
void *takeover_thread_main(void *argument);
void *control_thread_main(void *argument);

/* confine.c: P6, after all threads run. */
int confine(struct failure *ret_failure);
void confine_resources(bool cores); /* RLIMIT_CORE, RLIMIT_NOFILE, nice */

/* signals.c: SIGTERM drains; faults leave their number in the worker's record (M6), then kill. */
int signals_install(struct worker *worker);
/* Raised by the kernel or by this process, not sent by another. Async-signal-safe. */
bool signal_is_own_fault(const siginfo_t *info);

/* mover.c: until drained. 0, or -ESTALE if the segment is condemned. */
int mover_run(struct worker *worker);
