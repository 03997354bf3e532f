/* SPDX-License-Identifier: Apache-2.0 */
/* The takeover thread: blocked on the lives of the pool and on this worker's doorbell, at SCHED_FIFO
 * where that is granted (S7). It looks, gives slots, and hands those that are ours to the mover.
 * Must not touch: files, databases, the allocator. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/clock.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/takeover.h"
#include "worker/worker.h"

#define TAKEOVER_PRIORITY 10

static bool raise_priority(void) {
        const struct sched_param parameter = { .sched_priority = TAKEOVER_PRIORITY };

        return pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameter) == 0;
}

static void hand_to_mover(void *context, uint32_t slot_index) {
        struct worker *worker = context;

        if (slot_index < worker->segment->slot_count)
                handoff_put(&worker->handoff, slot_index);
}

/* Orders of the supervisor that come with a ring. */
static void read_orders(struct worker *worker) {
        if (atomic_load(&worker->segment->header->stopping))
                worker_drain(worker, DRAIN_STOP);
        else if (atomic_load(&worker_record(worker)->drain_ref) == worker->ref)
                worker_drain(worker, DRAIN_LEAVE);
}

static void handle(struct worker *worker, int news) {
        struct takeover_result result = { 0 };

        if (news & LIFE_NEWS_DEATH)
                (void) takeover_run(worker->segment, worker->pool_index, worker->ref, &result);
        /* -ENOTRECOVERABLE condemned the segment: the mover sees it at its next look. */
        (void) inbox_drain(worker->segment, worker->ref, hand_to_mover, worker);
        read_orders(worker);
        worker_wake_mover(worker);
        if (news & (LIFE_NEWS_DEATH | LIFE_NEWS_MEMBERS | LIFE_NEWS_DOORBELL))
                worker_wake_control(worker);
        if (result.dead_count > 0)
                worker_notify_supervisor(worker);
}

void *takeover_thread_main(void *argument) {
        struct worker *worker = argument;
        struct life_watch watch = { 0 };
        bool is_fifo;

        (void) pthread_setname_np(pthread_self(), "takeover");
        is_fifo = raise_priority();
        while (sem_wait(&worker->entered) < 0)
                ; /* a signal */
        if (!atomic_load(&worker->leaving))
                atomic_store(&worker_record(worker)->takeover_is_fifo, is_fifo);
        while (!atomic_load(&worker->leaving)) {
                int news = life_wait(worker->segment, worker->ref, &watch, USEC_INFINITY);

                if (news < 0) /* the kernel refuses to wait: pidfds and the sweep carry on (S7) */
                        news = futex_wait_shared(&worker_record(worker)->doorbell, watch.doorbell,
                                                 clock_usec() + 100 * USEC_PER_MSEC) == 0
                                       ? LIFE_NEWS_DOORBELL
                                       : 0;
                if (news > 0)
                        handle(worker, news);
        }
        return NULL;
}
