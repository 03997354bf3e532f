/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread: what may take its time. Neighbours' pidfds (the second proof of death, S7), the
 * supervisor's life (P1), the roster, and the safety sweep that finds what a lost hint would hide (S12). A confined
 * worker (P7) may not trace the others, so a /proc that shows only who may be traced (hidepid, ProtectProc=) shows
 * none of them: what is waited for is an end, and for that their pid is enough.
 * Must not touch: files of sources and destinations. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include <urcu/urcu-memb.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/slot.h"
#include "shm/takeover.h"
#include "worker/worker.h"

#define NEIGHBOUR_COUNT 2
#define SWEEP_USEC (10 * USEC_PER_SEC)
#define ORPHANED_POLL_USEC (1 * USEC_PER_SEC)

struct control {
        struct worker *worker;
        uint64_t neighbours[NEIGHBOUR_COUNT];
        int neighbour_fds[NEIGHBOUR_COUNT];
        uint32_t supervisor_pid;
        uint64_t supervisor_start_ticks;
        int supervisor_fd;             /* -1: there is none, or it could not be opened yet */
        uint64_t supervisor_gone_usec; /* 0: there is one */
        uint64_t sweep_at_usec;
};

static void look(struct control *control) {
        struct worker *worker = control->worker;
        struct takeover_result result = { 0 };

        (void) takeover_run(worker->segment, worker->pool_index, worker->ref, &result);
        if (result.slots_to_self > 0)
                doorbell_ring(worker->segment, worker->ref); /* the takeover thread drains the inbox */
        if (result.dead_count > 0)
                worker_notify_supervisor(worker);
}

/* Opens pidfds of the next neighbours in the ring; one that is gone already is news. */
static void neighbours_renew(struct control *control) {
        struct worker *worker = control->worker;
        uint64_t refs[NEIGHBOUR_COUNT] = { 0 };
        bool gone = false;

        (void) life_neighbours(worker->segment, worker->ref, refs, NEIGHBOUR_COUNT);
        for (size_t i = 0; i < NEIGHBOUR_COUNT; i++) {
                const struct layout_worker *record;

                if (refs[i] == control->neighbours[i] && control->neighbour_fds[i] >= 0)
                        continue;
                fd_close(&control->neighbour_fds[i]);
                control->neighbours[i] = refs[i];
                if (refs[i] == 0)
                        continue;
                record = segment_worker(worker->segment, worker_ref_index(refs[i]));
                gone = process_open_to_wait((pid_t) atomic_load(&record->pid),
                                            atomic_load(&record->start_ticks),
                                            &control->neighbour_fds[i]) == -ESRCH ||
                       gone;
        }
        if (gone)
                look(control);
}

/* False where its end is proven, or there was none. A pidfd that is not to be had now (no descriptor left,
 * /proc hidden) proves nothing (S3): it is asked for again at the next look. */
static bool supervisor_lives(struct control *control) {
        const struct layout_header *header = control->worker->segment->header;
        uint32_t pid = atomic_load(&header->supervisor_pid);
        uint64_t start_ticks = atomic_load(&header->supervisor_start_ticks);

        if (pid != control->supervisor_pid || start_ticks != control->supervisor_start_ticks) {
                fd_close(&control->supervisor_fd);
                control->supervisor_pid = pid;
                control->supervisor_start_ticks = start_ticks;
        }
        if (control->supervisor_fd < 0) {
                int r = process_open_to_wait((pid_t) pid, start_ticks, &control->supervisor_fd);

                if (r < 0)
                        return r != -ESRCH;
        }
        if (!process_has_ended(control->supervisor_fd))
                return true;
        fd_close(&control->supervisor_fd);
        return false;
}

/* P1: workers without a supervisor go on for adopt-timeout, then drain and leave. */
static void supervisor_renew(struct control *control, uint64_t now_usec) {
        const struct layout_header *header = control->worker->segment->header;

        if (supervisor_lives(control)) {
                control->supervisor_gone_usec = 0;
                return;
        }
        if (control->supervisor_gone_usec == 0)
                control->supervisor_gone_usec = now_usec;
        if (now_usec - control->supervisor_gone_usec >= atomic_load(&header->adopt_timeout_usec))
                worker_drain(control->worker, DRAIN_LEAVE);
}

/* True if the mover should look at the slot: ours, or an orphan that is meant for us. */
static bool slot_concerns(const struct slot_view *view, uint64_t self_ref) {
        if (view->owner_ref == self_ref) /* quarantined too: its owner is the one to give it up (S4) */
                return true;
        if (view->quarantined)
                return false;
        return view->state == SLOT_ORPHAN && view->wanted &&
               (view->assigned_ref == self_ref || view->heir_ref == self_ref);
}

static void slots_sweep(struct control *control) {
        struct worker *worker = control->worker;
        uint32_t used = MIN_OF(atomic_load(&worker->segment->header->slot_used), worker->segment->slot_count);

        for (uint32_t i = 0; i < used; i++) {
                struct slot_view view;

                if (slot_read(worker->segment, i, &view) < 0 || view.pool_index != worker->pool_index)
                        continue;
                if (slot_concerns(&view, worker->ref))
                        handoff_put(&worker->handoff, i);
        }
        worker_wake_mover(worker);
}

static void eventfd_clear(int fd) {
        uint64_t count;

        (void) !read(fd, &count, sizeof(count));
}

static void wait_for_news(struct control *control, uint64_t now_usec) {
        struct pollfd polls[2 + NEIGHBOUR_COUNT] = { { .fd = control->worker->control_fd, .events = POLLIN },
                                                     { .fd = control->supervisor_fd, .events = POLLIN } };
        uint64_t wait_usec = control->sweep_at_usec > now_usec ? control->sweep_at_usec - now_usec : 0;
        int n;

        if (control->supervisor_fd < 0)
                wait_usec = MIN_OF(wait_usec, (uint64_t) ORPHANED_POLL_USEC);
        for (size_t i = 0; i < NEIGHBOUR_COUNT; i++)
                polls[2 + i] = (struct pollfd){ .fd = control->neighbour_fds[i], .events = POLLIN };
        n = poll(polls, ELEMENTSOF(polls), (int) (wait_usec / USEC_PER_MSEC + 1));
        if (n <= 0)
                return;
        if (polls[0].revents)
                eventfd_clear(control->worker->control_fd);
        for (size_t i = 0; i < NEIGHBOUR_COUNT; i++)
                if (polls[2 + i].revents) {
                        fd_close(&control->neighbour_fds[i]);
                        control->neighbours[i] = 0;
                        look(control);
                }
}

void *control_thread_main(void *argument) {
        struct control control = { .worker = argument, .neighbour_fds = { -1, -1 }, .supervisor_fd = -1 };
        struct worker *worker = argument;

        (void) pthread_setname_np(pthread_self(), "control");
        while (!atomic_load(&worker->leaving)) {
                uint64_t now_usec = clock_usec();

                (void) roster_publish(&worker->roster, worker->segment, worker->pool_index);
                neighbours_renew(&control);
                supervisor_renew(&control, now_usec);
                if (now_usec >= control.sweep_at_usec) {
                        control.sweep_at_usec = now_usec + SWEEP_USEC;
                        slots_sweep(&control);
                }
                wait_for_news(&control, now_usec);
        }
        for (size_t i = 0; i < NEIGHBOUR_COUNT; i++)
                fd_close(&control.neighbour_fds[i]);
        fd_close(&control.supervisor_fd);
        return NULL;
}
