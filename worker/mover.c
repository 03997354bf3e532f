/* SPDX-License-Identifier: Apache-2.0 */
/* The mover's loop: what others hand to it, what is ready, what is due; else it sleeps until a source,
 * a thread or the clock wakes it. It makes every durable effect of this process (S1).
 * Must not touch: other workers' records. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "shm/life.h"
#include "shm/slot.h"
#include "worker/session.h"

#define GIVE_BACK_SOURCES 64u

static void take_handoffs(struct worker *worker) {
        uint32_t slot_index;

        while (handoff_take(&worker->handoff, &slot_index) == 0) {
                (void) worker_pulse(worker); /* W6: a look may close a session, or wait for a slot */
                look_at_slot(worker, slot_index);
        }
}

/* Where a slot goes when we leave: whom the supervisor chose, else the heir, else nobody. */
static uint64_t successor_of(const struct worker *worker, uint32_t slot_index) {
        struct slot_view view;

        if (atomic_load(&worker->draining) == DRAIN_STOP || slot_read(worker->segment, slot_index, &view) < 0)
                return 0;
        if (view.assigned_ref != worker->ref &&
            life_may_be_given(worker->segment, view.assigned_ref, worker->pool_index))
                return view.assigned_ref;
        if (view.heir_ref != worker->ref &&
            life_may_be_given(worker->segment, view.heir_ref, worker->pool_index))
                return view.heir_ref;
        return 0;
}

/* M10. Slots that were given to us and not begun yet are given back as well. */
static void drain_all(struct worker *worker) {
        uint32_t used = MIN_OF(atomic_load(&worker->segment->header->slot_used), worker->segment->slot_count);

        worker_phase(worker, PHASE_DRAINING);
        while (worker->sessions) {
                (void) worker_pulse(worker); /* W6 */
                session_hand_over(worker->sessions, successor_of(worker, worker->sessions->slot_index));
        }
        for (uint32_t i = 0; i < used; i++) {
                struct slot_view view;

                (void) worker_pulse(worker);
                if (slot_read(worker->segment, i, &view) == 0 && view.owner_ref == worker->ref)
                        (void) slot_release(worker->segment, i, worker->ref, view.epoch,
                                            successor_of(worker, i));
        }
}

/* A reload wrote new settings: limits at once, another URL through a new handle. */
static void settings_renew(struct worker *worker) {
        struct pool_settings settings;
        char url[sizeof(settings.url)];

        if (atomic_load(&segment_pool(worker->segment, worker->pool_index)->sequence) ==
            worker->settings.sequence)
                return;
        if (pool_settings_read(worker->segment, worker->pool_index, &settings) < 0)
                return; /* being written: the supervisor rings when it is whole */
        memcpy(url, worker->settings.url, sizeof(url));
        if (settings.state != POOL_ACTIVE || strcmp(url, settings.url) != 0) {
                worker_drain(worker, DRAIN_LEAVE); /* another destination is another process (P3) */
                return;
        }
        if (settings.batch_rows != worker->settings.batch_rows ||
            settings.batch_bytes != worker->settings.batch_bytes) {
                struct event_batch batch = { 0 };

                if (event_batch_init(&batch, settings.batch_rows, settings.batch_bytes) < 0)
                        return;
                event_batch_done(&worker->batch);
                worker->batch = batch;
        }
        worker->settings = settings;
        for (struct session *session = worker->sessions; session; session = session->next)
                if (session->status.phase != SESSION_STOPPED)
                        session_set_ready(session);
}

static void eventfd_clear(int fd) {
        uint64_t count;

        (void) !read(fd, &count, sizeof(count));
}

static void sleep_until(struct worker *worker, uint64_t deadline_usec) {
        struct pollfd polls[] = { { .fd = worker->wake_fd, .events = POLLIN },
                                  { .fd = worker->wake.inotify_fd, .events = POLLIN } };
        uint64_t now_usec = clock_usec(), wait_usec = deadline_usec > now_usec ? deadline_usec - now_usec : 0;
        struct timespec timeout = { .tv_sec = (time_t) (wait_usec / USEC_PER_SEC),
                                    .tv_nsec = (long) (wait_usec % USEC_PER_SEC * NSEC_PER_USEC) };

        worker_phase(worker, PHASE_IDLE);
        if (ppoll(polls, ELEMENTSOF(polls), &timeout, NULL) <= 0)
                return;
        if (polls[0].revents)
                eventfd_clear(worker->wake_fd);
        worker->warm.is_due = worker->warm.is_due || polls[0].revents;
}

/* S8: what many sources held for a while goes back to the system, once there is time. */
static void memory_give_back(struct worker *worker) {
        if (worker->closed_source_count < GIVE_BACK_SOURCES)
                return;
        worker->closed_source_count = 0;
        (void) malloc_trim(0);
}

int mover_run(struct worker *worker) {
        assert(worker->ref != 0);

        latch_restore(worker);
        for (;;) {
                uint64_t deadline_usec, now_usec;

                take_handoffs(worker);
                (void) worker_pulse(worker);
                (void) log_tick();
                /* S11; or someone holds us for dead: then nothing here is ours any more. */
                if (atomic_load(&worker->segment->header->condemned) ||
                    !life_is_live(worker->segment, worker->ref))
                        return -ESTALE;
                settings_renew(worker);
                if (atomic_load(&worker->draining) != DRAIN_NO) {
                        drain_all(worker);
                        return 0;
                }
                wake_read(&worker->wake, worker->sessions, news_from_source, NULL);
                now_usec = clock_usec();
                news_sweep(worker, now_usec);
                deadline_usec = news_deadline(worker, now_usec);
                if (worker->ready_first) {
                        pass_run(worker);
                        continue;
                }
                deadline_usec = MIN_OF(deadline_usec, clean_deadline(worker, now_usec));
                warm_renew(worker, now_usec);
                memory_give_back(worker);
                if (worker->warm.is_due)
                        deadline_usec = MIN_OF(deadline_usec, worker->warm.renew_at_usec);
                sleep_until(worker, deadline_usec);
        }
}
