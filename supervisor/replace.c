/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that are replaced, one at a time: one more than wanted is started, and once it has joined and holds its
 * share, one of those that are to go is asked to leave. No session pauses for longer than a hand-over. Two reasons:
 *
 *   U5  an upgrade: it runs another binary than a new worker would (upgrade.c)
 *   P7  it confined itself before a directory of its pool was there, and says so (renewal_ref). Whoever is as old as
 *       it is replaced with it, because any may be the heir of what it cannot open.
 *
 * A worker's word is input (P1): that it asks costs a replacement, and how often that is obeyed is bounded here. What
 * one life knows the next recomputes (V1): whoever still needs it asks again.
 * Must not touch: slots; workers but by asking them to leave. */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"
#include "supervisor/manager.h"

/* Between two renewals of a pool; doubled each time that the next follows soon. */
#define RENEWAL_FIRST_USEC (1 * USEC_PER_SEC)
#define RENEWAL_MOST_USEC (60 * USEC_PER_SEC)

/* ---- who is to go ---------------------------------------------------------------------------------------- */
/* Runs another file than the one that a new worker would run. Unknown: no. */
static bool runs_another(const struct manager *manager, pid_t pid) {
        char link[64];
        struct stat runs, stands;

        (void) snprintf(link, sizeof(link), "/proc/%d/exe", pid);
        if (stat(link, &runs) < 0 || stat(manager->worker_path, &stands) < 0)
                return false;
        return runs.st_dev != stands.st_dev || runs.st_ino != stands.st_ino;
}

static bool asks_for_renewal(const struct manager *manager, const struct process *process) {
        return process->pid > 0 && process->ref != 0 && !process->leaving &&
               atomic_load_explicit(
                       &segment_worker(manager->segment, worker_ref_index(process->ref))->renewal_ref,
                       memory_order_relaxed) == process->ref;
}

static void renewal_begin(struct process *process, uint64_t now_usec) {
        struct manager *manager = process->manager;
        struct pool *pool = &manager->pools[process->pool_index];

        if (process->started_usec <= pool->renewal_usec)
                return; /* under way */
        if (now_usec < pool->renewal_usec + pool->renewal_delay_usec) {
                manager->pending = true;
                return;
        }
        pool->renewal_delay_usec = now_usec < pool->renewal_usec + 2 * pool->renewal_delay_usec
                                           ? MIN_OF(2 * pool->renewal_delay_usec, RENEWAL_MOST_USEC)
                                           : RENEWAL_FIRST_USEC;
        pool->renewal_usec = now_usec;
        log_line(
                MESSAGE_WORKERS_RENEWED, LOG_NOTICE,
                &(struct log_fields){
                        .destination = pool->name, .worker_ref = process->ref, .pid = process->pid },
                "destination %s: worker %u (pid %d) confined itself (Landlock) before a directory was there that it "
                "needs now; the workers of this destination are replaced, one at a time",
                pool->name, worker_ref_index(process->ref), process->pid);
}

static void upgrade_count(struct manager *manager, uint32_t outdated) {
        if (!manager->upgrading)
                return;
        manager->stale_count = outdated;
        if (outdated > 0)
                return;
        manager->upgrading = false;
        log_line(MESSAGE_UPGRADED, LOG_NOTICE, NULL, "upgraded: every worker runs what is installed (%s)",
                 BATON_VERSION);
}

void replace_look(struct manager *manager) {
        uint64_t now_usec = clock_usec();
        uint32_t outdated = 0;

        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (asks_for_renewal(manager, &manager->processes[i]))
                        renewal_begin(&manager->processes[i], now_usec);
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];
                bool is_outdated = process->pid > 0 && manager->upgrading &&
                                   runs_another(manager, process->pid);

                process->stale = process->pid > 0 &&
                                 (is_outdated ||
                                  process->started_usec <= manager->pools[process->pool_index].renewal_usec);
                manager->pending |= process->stale;
                outdated += is_outdated;
        }
        upgrade_count(manager, outdated);
}

/* ---- how many there are meanwhile ---------------------------------------------------------------------------- */
/* Nobody comes or goes. */
static bool is_settled(const struct manager *manager, uint32_t pool_index) {
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                const struct process *process = &manager->processes[i];

                if (process->pid > 0 && process->pool_index == pool_index &&
                    (process->ref == 0 || process->leaving))
                        return false;
        }
        return true;
}

static bool has_stale(const struct manager *manager, uint32_t pool_index) {
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                const struct process *process = &manager->processes[i];

                if (process->pid > 0 && process->pool_index == pool_index && process->stale &&
                    !process->leaving)
                        return true;
        }
        return false;
}

uint32_t replace_target(const struct manager *manager, uint32_t pool_index, uint32_t target, uint32_t have) {
        if (target == 0 || !has_stale(manager, pool_index))
                return target;
        if (have > target)
                return is_settled(manager, pool_index) ? target : have;
        if (watch_count(manager, LAYOUT_NONE, true) < manager->segment->worker_count)
                return target + 1;
        return is_settled(manager, pool_index) ? target - 1 : target;
}
