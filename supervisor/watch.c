/* SPDX-License-Identifier: Apache-2.0 */
/* Worker processes: who joined, who is to leave or is killed. Their end is ended.c.
 *
 * The pidfd is the supervisor's proof of death (S3).
 * Must not touch: slots (the survivors' takeover gives them away, S7), life words. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "supervisor/manager.h"

#define SURVIVES_USEC (1 * USEC_PER_SEC) /* S3: a victim that outlives SIGKILL this long is reported */

/* ---- the table -------------------------------------------------------------------------------------- */
struct process *watch_find_ref(struct manager *manager, uint64_t ref) {
        uint32_t index = worker_ref_index(ref);
        struct process *process;

        if (ref == 0 || index >= LAYOUT_WORKER_COUNT_MAX)
                return NULL;
        process = manager->process_of_entry[index];
        return process && process->ref == ref ? process : NULL;
}

static struct process *find_pid(struct manager *manager, pid_t pid) {
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid == pid)
                        return &manager->processes[i];
        return NULL;
}

uint32_t watch_count(const struct manager *manager, uint32_t pool_index, bool with_leaving) {
        uint32_t count = 0;

        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                const struct process *process = &manager->processes[i];

                if (process->pid > 0 && (pool_index == LAYOUT_NONE || process->pool_index == pool_index))
                        count += with_leaving || !process->leaving;
        }
        return count;
}

/* May it have sessions? Entered, of this very generation alive, and not asked to leave. */
bool watch_is_eligible(const struct manager *manager, const struct process *process) {
        return process->pid > 0 && process->ref != 0 && !process->leaving && process->kill_usec == 0 &&
               life_is_live(manager->segment, process->ref);
}

void watch_forget(struct process *process) {
        assert(process->pid > 0);

        process->source = sd_event_source_disable_unref(process->source);
        process->kill_source = sd_event_source_disable_unref(process->kill_source);
        fd_close(&process->pid_fd);
        if (watch_find_ref(process->manager, process->ref) == process)
                process->manager->process_of_entry[worker_ref_index(process->ref)] = NULL;
        process->pid = 0;
}

struct process *watch_add(struct manager *manager, pid_t pid, uint64_t start_ticks, int pid_fd, bool is_child,
                          uint32_t pool_index) {
        struct process *process = find_pid(manager, 0);
        int r;

        assert(pid > 0);
        assert(pid_fd >= 0);
        assert(pool_index < LAYOUT_POOL_COUNT_MAX);

        if (!process)
                return NULL;
        *process = (struct process){
                .manager = manager,
                .pid = pid,
                .start_ticks = start_ticks,
                .pid_fd = pid_fd,
                .is_child = is_child,
                .pool_index = pool_index,
                .started_usec = clock_usec(),
        };
        process->answered_usec = process->started_usec;
        if (is_child)
                r = sd_event_add_child_pidfd(manager->event, &process->source, pid_fd, WEXITED,
                                             ended_on_child, process);
        else
                r = sd_event_add_io(manager->event, &process->source, pid_fd, EPOLLIN, ended_on_adopted,
                                    process);
        if (r < 0) {
                process->pid = 0; /* the descriptor stays the caller's */
                return NULL;
        }
        return process;
}

/* ---- the end of one --------------------------------------------------------------------------------- */
const char *watch_name(uint64_t ref, pid_t pid, char *buffer, size_t bytes) {
        if (ref != 0)
                (void) snprintf(buffer, bytes, "worker %u (pid %d)", worker_ref_index(ref), pid);
        else
                (void) snprintf(buffer, bytes, "worker process %d", pid);
        return buffer;
}

/* Whoever is init of its namespace inherits the processes that workers leave behind (each a keeper), and after an
 * upgrade there may be children that nobody knows any more; they stay zombies until somebody asks. What is a worker of
 * ours is the event loop's, and ends the round. */
void watch_reap_orphans(struct manager *manager) {
        for (;;) {
                siginfo_t info = { 0 };

                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0 ||
                    find_pid(manager, info.si_pid))
                        return;
                if (waitid(P_PID, (id_t) info.si_pid, &info, WEXITED | WNOHANG) < 0)
                        return;
        }
}

/* Whoever traces a worker (a debugger, strace) is told of its end first, and until then it is a zombie that we
 * may not reap. The event loop asks once, when the pidfd says so, and never again: here it is made to. */
void watch_ask_again(struct manager *manager) {
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                struct process *process = &manager->processes[i];

                if (process->pid == 0 || !process->is_child || !process_has_ended(process->pid_fd))
                        continue;
                manager->pending = true;
                (void) sd_event_source_set_enabled(process->source, SD_EVENT_OFF);
                (void) sd_event_source_set_enabled(process->source, SD_EVENT_ONESHOT);
        }
}

/* ---- asking one to leave, or ending it --------------------------------------------------------------- */
void watch_drain(struct process *process) {
        struct segment *segment = process->manager->segment;

        assert(process->leaving);
        if (process->drain_told)
                return;
        process->drain_told = true;
        if (process->ref == 0) {
                (void) process_signal(process->pid_fd, SIGTERM); /* it owns nothing yet */
                return;
        }
        atomic_store_explicit(&segment_worker(segment, worker_ref_index(process->ref))->drain_ref,
                              process->ref, memory_order_release); /* pairs with the mover's acquire */
        doorbell_ring(segment, process->ref);
}

static int on_survival(sd_event_source *source, uint64_t usec, void *context) {
        struct process *process = context;
        struct log_fields fields = { .destination = process->manager->pools[process->pool_index].name,
                                     .worker_ref = process->ref,
                                     .pid = process->pid };
        char name[48];

        (void) source;
        (void) usec;
        log_line(
                MESSAGE_WORKER_SURVIVES_KILL, LOG_ERR, &fields,
                "destination %s: %s survives SIGKILL (uninterruptible wait): the kernel waits for a disk or a "
                "file server; its sessions stay with it until it is gone, because only its end is a proof",
                fields.destination, watch_name(process->ref, process->pid, name, sizeof name));
        return 0;
}

/* S3: only through the pidfd, so never another process that got its pid. */
void watch_kill(struct process *process, enum message_kind kind, const char *reason) {
        struct manager *manager = process->manager;
        struct log_fields fields = { .destination = manager->pools[process->pool_index].name,
                                     .worker_ref = process->ref,
                                     .pid = process->pid,
                                     .reason = reason };
        char name[48];
        int r;

        if (process->kill_usec != 0)
                return;
        r = process_signal(process->pid_fd, SIGKILL);
        process->kill_usec = clock_usec();
        log_line(kind, LOG_ERR, &fields, "destination %s: %s %s; %s", fields.destination,
                 watch_name(process->ref, process->pid, name, sizeof name), reason,
                 r < 0 ? "it could not be killed" : "it is killed");
        r = sd_event_add_time_relative(manager->event, &process->kill_source, CLOCK_MONOTONIC, SURVIVES_USEC,
                                       0, on_survival, process);
        if (r < 0)
                log_line(MESSAGE_SUPERVISOR_TROUBLE, LOG_WARNING, NULL,
                         "no timer for the end of process %d: %s", process->pid, strerror(-r));
}

/* ---- entries of the segment -------------------------------------------------------------------------- */
/* Is this process the worker program? A record that a worker wrote may name anyone, and whom we adopt we
 * may have to kill (P1). The file may have been replaced since by a newer one. */
static bool is_worker_program(const struct manager *manager, pid_t pid) {
        const char *wanted = strrchr(manager->worker_path, '/'), *found;
        char link[64], path[4096];
        ssize_t bytes;
        size_t length;

        (void) snprintf(link, sizeof link, "/proc/%d/exe", pid);
        bytes = readlink(link, path, sizeof path - 1);
        if (bytes <= 0)
                return false;
        path[bytes] = '\0';
        found = strrchr(path, '/');
        wanted = wanted ? wanted : manager->worker_path;
        length = strlen(wanted);
        return found && strncmp(found, wanted, length) == 0 &&
               (found[length] == '\0' || strcmp(found + length, " (deleted)") == 0);
}

static void refuse_entry(struct manager *manager, uint32_t index, uint64_t life, const char *why) {
        if (manager->bad_worker_told[index] == life)
                return;
        manager->bad_worker_told[index] = life;
        log_line(MESSAGE_SEGMENT_DAMAGED, LOG_ERR, NULL,
                 "worker entry %u of the segment is not believed: %s; it gets no sessions", index, why);
}

/* An entry that is LIVE and that no process of ours belongs to: a supervisor before us started it, or died
 * between fork and bookkeeping (supervisor.K1). */
static struct process *adopt_entry(struct manager *manager, uint32_t index, uint64_t life, uint32_t pid,
                                   uint64_t start_ticks, uint32_t pool_index) {
        struct process *process;
        uint64_t entered_usec;
        bool is_child;
        pid_t parent;
        int pid_fd = -1, r;

        r = process_open((pid_t) pid, start_ticks, &pid_fd);
        if (r < 0)
                return NULL; /* it is dead; the next to look in its pool completes the entry (S7) */
        if (process_has_ended(pid_fd)) { /* a zombie still has its number */
                fd_close(&pid_fd);
                return NULL;
        }
        if ((pid_t) pid == getpid() || !is_worker_program(manager, (pid_t) pid)) {
                refuse_entry(manager, index, life, "the process it names is no worker");
                fd_close(&pid_fd);
                return NULL;
        }
        /* Of an upgraded supervisor they still are children: the exec changes no parent. */
        is_child = process_parent((pid_t) pid, &parent) >= 0 && parent == getpid();
        process = watch_add(manager, (pid_t) pid, start_ticks, pid_fd, is_child, pool_index);
        if (!process) {
                fd_close(&pid_fd);
                return NULL;
        }
        /* How long it has lived by its own word, which is bounded and costs no more than a delay. */
        entered_usec = atomic_load_explicit(&segment_worker(manager->segment, index)->entered_usec,
                                            memory_order_relaxed);
        if (entered_usec != 0)
                process->started_usec = MIN_OF(process->started_usec, entered_usec);
        log_line(MESSAGE_WORKER_ADOPTED, LOG_NOTICE,
                 &(struct log_fields){ .destination = manager->pools[pool_index].name,
                                       .worker_ref = worker_ref(index, life >> 8),
                                       .pid = (int) pid },
                 "destination %s: adopted worker %u (pid %u)", manager->pools[pool_index].name, index, pid);
        return process;
}

static void member_seen(struct manager *manager, uint32_t index, uint64_t life) {
        struct layout_worker *worker = segment_worker(manager->segment, index);
        uint64_t ref = worker_ref(index, life >> 8);
        uint32_t pid = atomic_load_explicit(&worker->pid, memory_order_relaxed);
        uint64_t start_ticks = atomic_load_explicit(&worker->start_ticks, memory_order_relaxed);
        uint32_t pool_index = atomic_load_explicit(&worker->pool_index, memory_order_relaxed);
        struct process *process;

        if (pid == 0 || pid > INT32_MAX || pool_index >= manager->segment->pool_count ||
            !manager->pools[pool_index].used) {
                refuse_entry(manager, index, life, "its process or destination is out of range");
                return;
        }
        process = find_pid(manager, (pid_t) pid);
        if (process && process->start_ticks != start_ticks)
                return; /* one of the two is dead and not reaped yet */
        if (!process)
                process = adopt_entry(manager, index, life, pid, start_ticks, pool_index);
        if (!process)
                return;
        process->ref = ref;
        manager->process_of_entry[index] = process;
        unseen_watched(manager, ref);
        process->pool_index = pool_index;
        process->pong_seen = atomic_load_explicit(&worker->pong, memory_order_relaxed);
        process->answered_usec = clock_usec();
        /* A supervisor before us may have sent it away. */
        process->leaving |= atomic_load_explicit(&worker->drain_ref, memory_order_relaxed) == ref;
        manager->pools[pool_index].assign_needed = true;
        if (process->is_child)
                log_line(MESSAGE_WORKER_JOINED, LOG_INFO,
                         &(struct log_fields){ .destination = manager->pools[pool_index].name,
                                               .worker_ref = ref,
                                               .pid = (int) pid },
                         "destination %s: worker %u (pid %u) has joined", manager->pools[pool_index].name,
                         index, pid);
}

void watch_members(struct manager *manager) {
        struct segment *segment = manager->segment;

        for (uint32_t i = 0; i < segment->worker_count; i++) {
                /* Acquire: pairs with the release that made it LIVE; pid and the rest are written. */
                uint64_t life = atomic_load_explicit(&segment_worker(segment, i)->life, memory_order_acquire);

                if ((life & 0xff) != LIFE_LIVE || life >> 8 == 0 || life >> 8 >= 1ULL << 48)
                        continue;
                if (!watch_find_ref(manager, worker_ref(i, life >> 8)))
                        member_seen(manager, i, life);
        }
}
