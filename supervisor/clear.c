/* SPDX-License-Identifier: Apache-2.0 */
/* `batond --clear`: ends the workers that a supervisor left behind, and waits until they are gone. The unit runs it as
 * ExecStopPost, after every end of batond: where that was no stop, workers are to go on and nothing is done (U1, U2).
 *
 * Every worker finishes its batch and leaves (M10), as at an orderly stop; who holds workers.lock after that is killed
 * through a pidfd. It needs no configuration: that may be what is wrong. Must not touch: slots; any process that does
 * not hold workers.lock or is not a live entry of the segment.
 *
 * We die here: workers leave all the same, each once it was told, and by adopt-timeout at the latest. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "shm/doorbell.h"
#include "shm/life_word.h"
#include "shm/segment.h"
#include "shm/workers_lock.h"
#include "supervisor/manager.h"

#define CLEAR_LOOK_USEC (5 * USEC_PER_MSEC)
#define CLEAR_TERM_USEC (2 * USEC_PER_SEC)  /* then also by SIGTERM, for who sees no segment */
#define CLEAR_KILL_USEC (60 * USEC_PER_SEC) /* within TimeoutStopSec= of the unit */

/* U2: of systemd's words for how it ended, a stop in order, and one that had to be forced (TimeoutStartSec= is
 * infinity, so no start can time out). */
bool clear_is_wanted(const char *service_result) {
        return !service_result || strcmp(service_result, "success") == 0 ||
               strcmp(service_result, "timeout") == 0;
}

/* Tells every live worker to leave; nobody is to take over what it gives up. */
static void drain_all(const struct directories *directories) {
        _cleanup_segment_ struct segment *segment = NULL;

        if (segment_open(directories->runtime, true, &segment, NULL) < 0)
                return; /* none, or one of another layout: by signal, then */
        atomic_store_explicit(&segment->header->stopping, 1, memory_order_release);
        for (uint32_t i = 0; i < segment->worker_count; i++) {
                struct layout_worker *worker = segment_worker(segment, i);
                uint64_t life = atomic_load_explicit(&worker->life, memory_order_acquire);
                uint64_t ref = life_word_ref(i, life);

                if (life_word_state(life) != LIFE_LIVE)
                        continue;
                atomic_store_explicit(&worker->drain_ref, ref, memory_order_release);
                doorbell_ring(segment, ref);
        }
}

static void holder_signal(const struct directories *directories, pid_t pid, int signal_number) {
        if (workers_holder_signal(directories->state, pid, signal_number) >= 0 && signal_number == SIGKILL)
                log_line(MESSAGE_WORKERS_CLEARED, LOG_WARNING, &(struct log_fields){ .pid = pid },
                         "worker pid %d has not left within %d s: it is killed", pid,
                         (int) (CLEAR_KILL_USEC / USEC_PER_SEC));
}

/* 0 once nobody holds workers.lock. */
static int wait_until_gone(const struct directories *directories, struct failure *ret_failure) {
        const struct timespec pause = { .tv_nsec = CLEAR_LOOK_USEC * NSEC_PER_USEC };
        uint64_t since_usec = clock_usec(), signalled_usec = since_usec;

        for (;;) {
                _cleanup_fd_ int lock_fd = -1;
                uint64_t now_usec = clock_usec();
                int holder = 0, r;

                r = workers_lock_exclusive(directories->state, &lock_fd, &holder, ret_failure);
                if (r != -EBUSY)
                        return r;
                drain_all(directories); /* again: one may just have entered */
                if (now_usec - signalled_usec >= CLEAR_TERM_USEC) {
                        signalled_usec = now_usec;
                        holder_signal(directories, holder,
                                      now_usec - since_usec >= CLEAR_KILL_USEC ? SIGKILL : SIGTERM);
                }
                (void) nanosleep(&pause, NULL);
        }
}

int clear_run(const struct directories *directories, struct failure *ret_failure) {
        _cleanup_fd_ int lock_fd = -1, workers_fd = -1;
        uint64_t since_usec = clock_usec();
        char span[32], name[WORKERS_HOLDER_BYTES];
        int holder = 0, r;

        r = supervisor_lock_take(directories->state, &lock_fd, ret_failure);
        if (r < 0)
                return r;
        r = workers_lock_exclusive(directories->state, &workers_fd, &holder, ret_failure);
        if (r != -EBUSY)
                return r; /* 0, nobody is left: the rule */
        log_line(MESSAGE_WORKERS_CLEARED, LOG_NOTICE, &(struct log_fields){ .pid = holder },
                 "workers are left (%s): they finish their batch and leave",
                 workers_lock_holder_name(holder, name));
        r = wait_until_gone(directories, ret_failure);
        if (r < 0)
                return r;
        clock_format_span(clock_usec() - since_usec, span, sizeof span);
        log_line(MESSAGE_WORKERS_CLEARED, LOG_NOTICE, NULL, "all workers have left, after %s", span);
        return 0;
}
