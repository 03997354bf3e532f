/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that ended while no supervisor watched: each is told once, by the next supervisor.
 *
 * Who was there stands in the segment: a supervisor notes in each entry the worker that it has seen join
 * (watched_ref), and takes the note away when it has told that one's end. We die between the two: it is told twice,
 * rather than never. Such an end is nobody's quick death: the pool's delay does not know of it, and whoever is
 * missing is started at once, like at any start. Must not touch: slots and life words, which it only reads. */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "shm/life.h"
#include "shm/life_word.h"
#include "shm/slot.h"
#include "supervisor/manager.h"

static _Atomic uint64_t *note_of(struct manager *manager, uint64_t ref) {
        if (!manager->segment || ref == 0 || worker_ref_index(ref) >= manager->segment->worker_count)
                return NULL;
        return &segment_worker(manager->segment, worker_ref_index(ref))->watched_ref;
}

void unseen_watched(struct manager *manager, uint64_t ref) {
        _Atomic uint64_t *note = note_of(manager, ref);

        if (note)
                atomic_store_explicit(note, ref, memory_order_relaxed);
}

void unseen_told(struct manager *manager, uint64_t ref) {
        _Atomic uint64_t *note = note_of(manager, ref);

        if (note && atomic_load_explicit(note, memory_order_relaxed) == ref)
                atomic_store_explicit(note, 0, memory_order_relaxed);
}

/* Sessions that were its: with another by now, and with nobody. */
struct estate {
        uint32_t taken, waiting;
};

/* What it had handed over while there was a supervisor is not its any more. */
static bool is_inherited(const struct manager *manager, const struct slot_view *view, bool was_asked) {
        return view->owned_since_usec > manager->told_until_usec &&
               (was_asked || view->taken_by != TAKE_HANDOVER);
}

static struct estate estate_of(const struct manager *manager, uint64_t ref, bool was_asked) {
        struct estate estate = { 0 };
        struct slot_view view;

        for (uint32_t i = 0; i < segment_slot_used(manager->segment); i++) {
                if (slot_read(manager->segment, i, &view) < 0 || view.quarantined)
                        continue;
                if (view.owner_ref == ref || (view.owner_ref == 0 && view.previous_ref == ref))
                        estate.waiting++;
                else if (view.previous_ref == ref && is_inherited(manager, &view, was_asked))
                        estate.taken++;
        }
        return estate;
}

/* A zombie's number is still its own: a child of ours (after an upgrade) is asked for and reaped, of another's the
 * kernel may tell. */
static struct process_end how_ended(const struct layout_worker *entry) {
        struct process_end end = { .kind = PROCESS_END_UNKNOWN };
        _cleanup_fd_ int pid_fd = -1;
        siginfo_t info = { 0 };

        if (process_open((pid_t) atomic_load_explicit(&entry->pid, memory_order_relaxed),
                         atomic_load_explicit(&entry->start_ticks, memory_order_relaxed), &pid_fd) < 0)
                return end;
        if (waitid(P_PIDFD, (id_t) pid_fd, &info, WEXITED | WNOHANG) >= 0 && info.si_pid != 0)
                end = (struct process_end){ .kind = info.si_code == CLD_EXITED ? PROCESS_END_EXIT
                                                                               : PROCESS_END_SIGNAL,
                                            .number = info.si_status,
                                            .wrote_core = info.si_code == CLD_DUMPED };
        else
                (void) process_how_ended(pid_fd, &end);
        return end;
}

static void tell(struct manager *manager, uint32_t index, uint64_t ref, bool is_record_its) {
        const struct layout_worker *entry = segment_worker(manager->segment, index);
        uint32_t pool = is_record_its ? atomic_load_explicit(&entry->pool_index, memory_order_relaxed)
                                      : LAYOUT_NONE;
        bool was_asked = atomic_load_explicit(&entry->drain_ref, memory_order_relaxed) == ref;
        bool has_pool = pool < manager->segment->pool_count && manager->pools[pool].used;
        struct process_end end = { .kind = PROCESS_END_UNKNOWN };
        struct estate estate = estate_of(manager, ref, was_asked);
        char name[48], reason[96];
        struct log_fields fields = { .worker_ref = ref, .reason = reason };

        if (has_pool)
                fields.destination = manager->pools[pool].name;
        if (is_record_its) {
                end = how_ended(entry);
                fields.pid = (int32_t) atomic_load_explicit(&entry->pid, memory_order_relaxed);
                (void) watch_name(ref, fields.pid, name, sizeof name);
        } else
                (void) snprintf(name, sizeof name, "worker %u", index);
        ended_reason(&end, 0, reason, sizeof reason);
        log_line(MESSAGE_WORKER_ENDED_UNSEEN, was_asked ? LOG_INFO : LOG_WARNING, &fields,
                 "%s%s%s%s, generation %llu, ended while no supervisor watched%s; how: %s; of its sessions "
                 "others have %u, %u wait for a worker",
                 has_pool ? "destination " : "", has_pool ? fields.destination : "", has_pool ? ": " : "",
                 name, (unsigned long long) worker_ref_generation(ref),
                 was_asked ? ", as it had been asked to" : "", reason, estate.taken, estate.waiting);
}

void unseen_tell(struct manager *manager) {
        struct segment *segment = manager->segment;

        for (uint32_t i = 0; i < segment->worker_count; i++) {
                struct layout_worker *entry = segment_worker(segment, i);
                uint64_t ref = atomic_load_explicit(&entry->watched_ref, memory_order_relaxed);
                uint64_t life = atomic_load_explicit(&entry->life, memory_order_acquire);

                if (ref == 0)
                        continue;
                if (worker_ref_index(ref) == i) { /* else somebody wrote over it (P1) */
                        if (life_is_live(segment, ref) && !life_is_proven_dead(segment, ref))
                                continue;
                        tell(manager, i, ref, life_word_generation(life) == worker_ref_generation(ref));
                }
                atomic_store_explicit(&entry->watched_ref, 0, memory_order_relaxed);
        }
}
