/* SPDX-License-Identifier: Apache-2.0 */
/* The process as a whole: enters the pool, and the small things that all threads use. A worker reads
 * no configuration file (P4): the segment tells it everything, and is input (P1).
 * Must not touch: sources, destinations (the mover does). */
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "shm/life.h"
#include "shm/workers_lock.h"

#define RETRY_FIRST_USEC (50 * USEC_PER_MSEC)
#define RETRY_LAST_USEC (5 * USEC_PER_SEC)
#define LOCK_WAIT_USEC (10 * USEC_PER_SEC)

void retry_again(struct retry *retry, uint64_t now_usec) {
        assert(retry);
        retry->delay_usec = retry->delay_usec == 0
                                    ? RETRY_FIRST_USEC
                                    : MIN_OF(retry->delay_usec * 2, (uint64_t) RETRY_LAST_USEC);
        retry->at_usec = now_usec + retry->delay_usec;
}

void retry_clear(struct retry *retry) {
        *retry = (struct retry){ 0 };
}

static int settings_load(struct worker *worker, struct failure *ret_failure) {
        int r;

        r = pool_settings_read(worker->segment, worker->pool_index, &worker->settings);
        if (r < 0)
                return failure_set(
                        ret_failure, r, FAILURE_STOP,
                        "pool %u of the segment cannot be read (%s); a supervisor starts workers with "
                        "the right --pool",
                        worker->pool_index, strerror(-r));
        if (worker->settings.state != POOL_ACTIVE)
                return failure_set(ret_failure, -ESTALE, FAILURE_STOP,
                                   "pool %u is not in use; the supervisor withdrew destination \"%s\"",
                                   worker->pool_index, worker->settings.name);
        r = url_parse(worker->settings.url, &worker->url, ret_failure);
        if (r < 0)
                return r;
        r = option_check(destination_schemes, &worker->url, &worker->scheme, ret_failure);
        if (r < 0)
                return r;
        worker->destination_ops = destination_ops_find(worker->scheme->name);
        assert(worker->destination_ops); /* every scheme of our table has its operations */
        return 0;
}

/* The first batch after a takeover is not to pay for the first touch of its memory (S8). */
#define TOUCH_BYTES (1024u * 1024u)
#define TOUCH_STEP_BYTES 4096u

static void batch_touch(struct event_batch *batch) {
        const size_t event_bytes = batch->event_capacity * sizeof(batch->events[0]);

        for (size_t at = 0; at < MIN_OF(batch->arena_capacity_bytes, (size_t) TOUCH_BYTES);
             at += TOUCH_STEP_BYTES)
                ((volatile uint8_t *) batch->arena)[at] = 0;
        for (size_t at = 0; at < MIN_OF(event_bytes, (size_t) TOUCH_BYTES); at += TOUCH_STEP_BYTES)
                ((volatile uint8_t *) batch->events)[at] = 0;
}

static int memory_open(struct worker *worker, struct failure *ret_failure) {
        int r;

        worker->by_slot = calloc(worker->segment->slot_count, sizeof(worker->by_slot[0]));
        if (!worker->by_slot)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE,
                                   "no memory for the table of sessions");
        r = handoff_init(&worker->handoff, worker->segment->slot_count);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "no memory for the hand-off queue");
        r = event_batch_init(&worker->batch, worker->settings.batch_rows, worker->settings.batch_bytes);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                   "no memory for a batch of %u rows and %llu bytes; lower batch-bytes",
                                   worker->settings.batch_rows,
                                   (unsigned long long) worker->settings.batch_bytes);
        batch_touch(&worker->batch);
        return 0;
}

static int descriptors_open(struct worker *worker, struct failure *ret_failure) {
        int r;

        worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        worker->control_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        worker->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (worker->wake_fd < 0 || worker->control_fd < 0 || worker->notify_fd < 0)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE,
                                   "cannot make an eventfd or socket: %s; raise the limit of open files",
                                   strerror(errno));
        r = wake_init(&worker->wake);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                   "cannot make an inotify instance: %s; raise fs.inotify.max_user_instances",
                                   strerror(-r));
        return 0;
}

int worker_open(struct worker *worker, const struct directories *directories, uint32_t pool_index,
                struct failure *ret_failure) {
        int r;

        assert(worker);
        *worker = (struct worker){ .directories = *directories,
                                   .pool_index = pool_index,
                                   .workers_lock_fd = -1,
                                   .wake_fd = -1,
                                   .control_fd = -1,
                                   .notify_fd = -1,
                                   .wake.inotify_fd = -1 };

        /* S11: the lock first, then the segment by its path, so that what we map cannot be replaced. */
        r = workers_lock_shared(directories->state, LOCK_WAIT_USEC, &worker->workers_lock_fd, ret_failure);
        if (r < 0)
                return r;
        r = segment_open(directories->runtime, true, &worker->segment, ret_failure);
        if (r < 0)
                return r;
        if (pool_index >= worker->segment->pool_count)
                return failure_set(ret_failure, -ERANGE, FAILURE_STOP,
                                   "the segment has no pool %u (it has %u)", pool_index,
                                   worker->segment->pool_count);
        memcpy(worker->instance, worker->segment->header->instance, sizeof(worker->instance));
        r = settings_load(worker, ret_failure);
        if (r < 0)
                return r;
        r = descriptors_open(worker, ret_failure);
        if (r < 0)
                return r;
        return memory_open(worker, ret_failure);
}

void worker_done(struct worker *worker) {
        confine_files_done(worker);
        journal_table_free(worker->journal_table);
        event_batch_done(&worker->batch);
        handoff_done(&worker->handoff);
        free(TAKE(worker->by_slot));
        wake_done(&worker->wake);
        fd_close(&worker->wake_fd);
        fd_close(&worker->control_fd);
        fd_close(&worker->notify_fd);
        segment_close(TAKE(worker->segment));
        fd_close(&worker->workers_lock_fd); /* last: S11 */
}

/* Adds one to an eventfd. EAGAIN: it is full, so whoever reads it wakes anyway. */
static void eventfd_ring(int fd) {
        const uint64_t one = 1;

        (void) !write(fd, &one, sizeof(one));
}

void worker_wake_mover(struct worker *worker) {
        eventfd_ring(worker->wake_fd);
}

void worker_wake_control(struct worker *worker) {
        eventfd_ring(worker->control_fd);
}

void worker_drain(struct worker *worker, enum drain level) {
        uint32_t now = atomic_load(&worker->draining);

        while (now < level)
                if (atomic_compare_exchange_weak(&worker->draining, &now, level))
                        break;
        worker_wake_mover(worker);
}

void worker_notify_supervisor(struct worker *worker) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int n;

        n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", worker->directories.runtime);
        if (n < 0 || (size_t) n >= sizeof(address.sun_path))
                return; /* the supervisor refused this directory already; its timer sees the change */
        (void) sendto(worker->notify_fd, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *) &address,
                      sizeof(address));
}

bool worker_pulse(void *context) {
        struct worker *worker = context;
        struct layout_worker *record = worker_record(worker);
        uint64_t ping = atomic_load_explicit(&record->ping, memory_order_relaxed);

        if (ping != atomic_load_explicit(&record->pong, memory_order_relaxed)) {
                atomic_store_explicit(&record->pong_usec, clock_usec(), memory_order_relaxed);
                atomic_store_explicit(&record->pong, ping, memory_order_release);
        }
        return atomic_load_explicit(&worker->draining, memory_order_relaxed) != DRAIN_NO;
}

void worker_phase(struct worker *worker, enum worker_phase phase) {
        atomic_store_explicit(&worker_record(worker)->phase, phase, memory_order_relaxed);
}
