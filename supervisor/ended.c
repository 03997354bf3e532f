/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a worker: how it ended, when the next one may start, and the line that tells it.
 *
 * Of a child wait() says how. Of an adopted one, which a supervisor before us started, the kernel says it to whoever
 * has its pidfd (process_how_ended()), but only once its parent has reaped it: systemd at once, another init when it
 * comes to it. The end is proven before that (S3), so what is to be done is done at once, and only the line waits.
 * What nobody says is unknown, never a guess. Must not touch: slots, life words. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "shm/life_word.h"
#include "supervisor/manager.h"

#define LIFE_SHORT_USEC (10 * USEC_PER_SEC) /* who dies younger lets the delay grow */
#define LIFE_LONG_USEC (60 * USEC_PER_SEC)  /* who dies older resets it */
#define DELAY_FIRST_USEC (100 * USEC_PER_MSEC)
#define DELAY_MOST_USEC (30 * USEC_PER_SEC)
#define REAPED_MOST_USEC (5 * USEC_PER_SEC) /* an init that has not reaped by then does not */
#define REAPED_LAST_MSEC 20                 /* before we go ourselves */

/* ---- how ---------------------------------------------------------------------------------------------- */
/* A signal by its name: "SIGKILL". */
static const char *signal_name(int number, char *buffer, size_t bytes) {
        const char *name = sigabbrev_np(number);

        (void) snprintf(buffer, bytes, name ? "SIG%s" : "signal %.0s%d", name ? name : "", number);
        return buffer;
}

/* own_fault is a worker's word, and believed where the kernel says the same. */
void ended_reason(const struct process_end *end, uint32_t own_fault, char *reason, size_t bytes) {
        char name[24];

        if (end->kind == PROCESS_END_EXIT)
                (void) snprintf(reason, bytes, "exit code %d", end->number);
        else if (end->kind == PROCESS_END_SIGNAL)
                (void) snprintf(reason, bytes, "%s%s%s", signal_name(end->number, name, sizeof name),
                                own_fault == (uint32_t) end->number ? ", its own fault" : "",
                                end->wrote_core ? ", and wrote a core" : "");
        else
                (void) snprintf(reason, bytes, "unknown");
}

/* What is said: a whole predicate. */
static void how_put(const struct process_end *end, uint32_t own_fault, char *how, size_t bytes) {
        char reason[96], name[24];

        ended_reason(end, own_fault, reason, sizeof reason);
        if (end->kind == PROCESS_END_EXIT)
                (void) snprintf(how, bytes, "%s (%s)",
                                end->number == 0    ? "has left"
                                : end->number == 75 ? "has left to start anew"
                                                    : "could not go on",
                                reason);
        else if (end->kind == PROCESS_END_SIGNAL)
                (void) snprintf(how, bytes, "was killed by %s", reason);
        else
                (void) snprintf(how, bytes, "has ended, how is unknown (adopted, not our child)%s%s",
                                own_fault != 0 ? "; it reported " : "",
                                own_fault != 0 ? signal_name((int) own_fault, name, sizeof name) : "");
}

/* What its own fault handler left in its entry: bounded, and nothing where the entry is another's by now. */
static uint32_t own_fault_of(const struct segment *segment, uint64_t ref) {
        const struct layout_worker *worker;
        uint32_t number;

        if (!segment || ref == 0 || worker_ref_index(ref) >= segment->worker_count)
                return 0;
        worker = segment_worker(segment, worker_ref_index(ref));
        number = atomic_load_explicit(&worker->fault_signal, memory_order_relaxed);
        return life_word_generation(atomic_load_explicit(&worker->life, memory_order_acquire)) ==
                                       worker_ref_generation(ref) &&
                               number < 64
                       ? number
                       : 0;
}

/* ---- when the next one may start ---------------------------------------------------------------------- */
static void delay_grow(struct pool *pool, uint64_t lived_usec, uint64_t now_usec) {
        if (lived_usec >= LIFE_LONG_USEC)
                pool->restart_delay_usec = 0;
        else if (lived_usec < LIFE_SHORT_USEC && pool->restart_waits)
                pool->restart_delay_usec = MIN_OF(MAX_OF(2 * pool->restart_delay_usec, DELAY_FIRST_USEC),
                                                  DELAY_MOST_USEC);
        /* The first short life is replaced at once; the mark makes the next one wait. */
        pool->restart_waits = lived_usec < LIFE_SHORT_USEC || pool->restart_delay_usec > 0;
        pool->restart_usec = now_usec + (lived_usec < LIFE_SHORT_USEC ? pool->restart_delay_usec : 0);
}

/* ---- the line ----------------------------------------------------------------------------------------- */
static void ending_tell(const struct ending *ending, const struct process_end *end) {
        struct manager *manager = ending->manager;
        /* Asked to leave, and gone: that is all that is known of an unknown end, and no reason to warn. */
        bool is_orderly = ending->is_expected && (end->kind == PROCESS_END_UNKNOWN ||
                                                  (end->kind == PROCESS_END_EXIT && end->number == 0));
        char name[48], how[192], reason[96], wait[80] = "", span[32];
        struct log_fields fields = { .destination = ending->destination,
                                     .worker_ref = ending->ref,
                                     .pid = ending->pid,
                                     .reason = reason };

        if (ending->wait_usec > 0) {
                clock_format_span(ending->wait_usec, span, sizeof span);
                (void) snprintf(wait, sizeof wait, "; the next one starts in %s", span);
        }
        ended_reason(end, ending->own_fault, reason, sizeof reason);
        how_put(end, ending->own_fault, how, sizeof how);
        log_line(is_orderly              ? MESSAGE_WORKER_LEFT
                 : ending->wait_usec > 0 ? MESSAGE_WORKER_DIES_OFTEN
                                         : MESSAGE_WORKER_ENDED,
                 is_orderly ? LOG_INFO : LOG_WARNING, &fields, "destination %s: %s %s%s", ending->destination,
                 watch_name(ending->ref, ending->pid, name, sizeof name), how, wait);
        unseen_told(manager, ending->ref);
}

static void ending_done(struct ending *ending) {
        ending->source = sd_event_source_disable_unref(ending->source);
        ending->timer = sd_event_source_disable_unref(ending->timer);
        fd_close(&ending->pid_fd);
        ending->manager = NULL;
}

/* Asks once more; what nobody says now is unknown. */
static void ending_finish(struct ending *ending) {
        struct process_end end = { .kind = PROCESS_END_UNKNOWN };

        (void) process_how_ended(ending->pid_fd, &end);
        ending_tell(ending, &end);
        ending_done(ending);
}

static int on_reaped(sd_event_source *source, int fd, uint32_t events, void *context) {
        (void) source;
        (void) fd;
        (void) events;
        ending_finish(context);
        return 0;
}

static int on_never_reaped(sd_event_source *source, uint64_t usec, void *context) {
        (void) source;
        (void) usec;
        ending_finish(context);
        return 0;
}

/* The line waits until the kernel knows. Where it cannot wait it is told now; *pid_fd is taken where it waits. */
static void ending_wait(const struct ending *ending, int *pid_fd) {
        struct manager *manager = ending->manager;
        struct ending *place = NULL;
        int r;

        for (size_t i = 0; i < ENDING_COUNT_MAX && !place; i++)
                if (!manager->endings[i].manager)
                        place = &manager->endings[i];
        if (place) {
                *place = *ending;
                /* No event is asked for: POLLHUP always comes, and only when it was reaped. */
                r = sd_event_add_io(manager->event, &place->source, *pid_fd, 0, on_reaped, place);
                if (r >= 0)
                        r = sd_event_add_time_relative(manager->event, &place->timer, CLOCK_MONOTONIC,
                                                       REAPED_MOST_USEC, 0, on_never_reaped, place);
                place->pid_fd = TAKE_FD(*pid_fd);
                if (r < 0)
                        ending_finish(place);
                return;
        }
        ending_tell(ending, &(struct process_end){ .kind = PROCESS_END_UNKNOWN });
}

void ended_finish(struct manager *manager) {
        uint64_t until_usec = clock_usec() + REAPED_LAST_MSEC * USEC_PER_MSEC;

        for (size_t i = 0; i < ENDING_COUNT_MAX; i++) {
                struct pollfd poller = { .fd = manager->endings[i].pid_fd };
                uint64_t now_usec = clock_usec();

                if (!manager->endings[i].manager)
                        continue;
                if (now_usec < until_usec)
                        (void) poll(&poller, 1, (int) ((until_usec - now_usec) / USEC_PER_MSEC) + 1);
                ending_finish(&manager->endings[i]);
        }
}

/* ---- the end ------------------------------------------------------------------------------------------ */
/* end: NULL, its line waits. What is to be done does not. */
static void ended(struct process *process, const struct process_end *end) {
        struct manager *manager = process->manager;
        struct pool *pool = &manager->pools[process->pool_index];
        uint64_t now_usec = clock_usec();
        struct ending ending = { .manager = manager,
                                 .pid_fd = -1,
                                 .pid = process->pid,
                                 .ref = process->ref,
                                 .is_expected = process->leaving || manager->state != MANAGER_SERVING,
                                 .own_fault = own_fault_of(manager->segment, process->ref) };

        (void) snprintf(ending.destination, sizeof ending.destination, "%s", pool->name);
        if (!ending.is_expected) {
                delay_grow(pool, now_usec - process->started_usec, now_usec);
                ending.wait_usec = pool->restart_usec > now_usec ? pool->restart_usec - now_usec : 0;
        }
        if (end)
                ending_tell(&ending, end);
        process->source = sd_event_source_disable_unref(process->source); /* before its descriptor goes on */
        if (!end)
                ending_wait(&ending, &process->pid_fd);
        pool->assign_needed = true;
        watch_forget(process);
        if (manager->state == MANAGER_STOPPING)
                shutdown_check(manager);
        else if (manager->segment)
                look(manager);
}

int ended_on_child(sd_event_source *source, const siginfo_t *info, void *context) {
        struct process_end end = { .kind = info->si_code == CLD_EXITED ? PROCESS_END_EXIT
                                                                       : PROCESS_END_SIGNAL,
                                   .number = info->si_status,
                                   .wrote_core = info->si_code == CLD_DUMPED };

        (void) source;
        ended(context, &end);
        return 0;
}

int ended_on_adopted(sd_event_source *source, int fd, uint32_t events, void *context) {
        struct process_end end = { .kind = PROCESS_END_UNKNOWN };
        int r;

        (void) source;
        (void) events;
        r = process_how_ended(fd, &end);
        ended(context, r == -EAGAIN ? NULL : &end);
        return 0;
}
