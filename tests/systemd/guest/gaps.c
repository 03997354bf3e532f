/* SPDX-License-Identifier: Apache-2.0 */
/* The longest time in which nothing was committed, and the longest batch beside it. The stamps are the owners' own, so
 * it does not matter how often they are looked at, as long as it is more often than they change: this process is
 * SCHED_FIFO for that, where it may be. Must not touch: the segment (read-only). */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/systemd/guest/guest.h"

#define LOOK_NSEC 200000

struct gaps {
        volatile bool stops;
        struct pauses pauses;
        uint64_t last_usec[WORLD_OUTBOX_MAX], last_of_all_usec;
        uint64_t position[WORLD_OUTBOX_MAX], owner_ref[WORLD_OUTBOX_MAX], take_count[WORLD_OUTBOX_MAX];
        unsigned stamps[WORLD_OUTBOX_MAX];
        uint64_t batch_since_usec[LAYOUT_WORKER_COUNT_MAX];
};

static struct gaps *gaps;
static pid_t watcher;

static void take_gap(uint64_t *longest_usec, uint64_t last_usec, uint64_t now_usec) {
        if (last_usec != 0 && now_usec > last_usec)
                *longest_usec = MAX_OF(*longest_usec, now_usec - last_usec);
}

/* The oldest of the events that this commit brought has waited longest; the writer's own pauses are not in that. */
static void take_wait(const struct writer_commits *commits, size_t i, const struct session_status *status) {
        uint64_t first = gaps->position[i] + 1;

        if (commits && gaps->position[i] != 0 && status->position >= first)
                take_gap(&gaps->pauses.wait_usec, commits->at_usec[first % WRITER_COMMITS_MAX],
                         status->commit_last_usec);
        gaps->position[i] = status->position;
}

/* How the owner came by the session is said before he is its owner (slot_apply()), so it is read after. Of two changes
 * between two looks the first is told by nothing, and not judged. */
static void look_at_owner(struct guest *guest, size_t i, uint32_t slot_index) {
        const struct layout_slot *slot = segment_slot(guest->world.segment, slot_index);
        uint64_t owner_ref = atomic_load_explicit(&slot->owner_ref, memory_order_acquire);
        uint64_t count = atomic_load(&slot->take_count), before = gaps->take_count[i];
        uint32_t how = atomic_load(&slot->taken_by);

        if (owner_ref == 0 || owner_ref == gaps->owner_ref[i])
                return;
        gaps->owner_ref[i] = owner_ref;
        gaps->take_count[i] = count;
        if (before == 0)
                return;
        if (count - before > 1)
                gaps->pauses.unseen += (unsigned) (count - before);
        else if (how == TAKE_HANDOVER)
                gaps->pauses.handovers++;
        else
                gaps->pauses.given_up++;
}

static void look_at_sessions(struct guest *guest) {
        for (size_t i = 0; i < guest->world.outbox_count; i++) {
                uint32_t slot_index = session_slot(&guest->world, guest->world.outboxes[i].name);
                struct session_status status;

                if (slot_index == LAYOUT_NONE)
                        continue;
                look_at_owner(guest, i, slot_index);
                if (session_status_read(guest->world.segment, slot_index, &status) < 0 ||
                    status.commit_last_usec <= gaps->last_usec[i])
                        continue;
                take_gap(&gaps->pauses.session_usec, gaps->last_usec[i], status.commit_last_usec);
                take_gap(&gaps->pauses.all_usec, gaps->last_of_all_usec, status.commit_last_usec);
                take_wait(guest->commits[i], i, &status);
                gaps->last_usec[i] = status.commit_last_usec;
                gaps->last_of_all_usec = MAX_OF(gaps->last_of_all_usec, status.commit_last_usec);
                gaps->stamps[i]++;
        }
}

/* From the words of the workers, which say since when they are in a transaction: as long as it was last seen, so at most
 * a look too short. */
static void look_at_batches(struct guest *guest) {
        struct segment *segment = world_segment(&guest->world);

        for (uint32_t i = 0; segment && i < segment->worker_count; i++) {
                uint64_t since_usec = segment_worker(segment, i)->transaction_since_usec;

                if (since_usec != 0 && since_usec == gaps->batch_since_usec[i] &&
                    (segment_worker(segment, i)->life & 0xff) == LIFE_LIVE)
                        take_gap(&gaps->pauses.batch_usec, since_usec, clock_usec());
                gaps->batch_since_usec[i] = since_usec;
        }
}

void gaps_begin(struct guest *guest) {
        const struct sched_param parameter = { .sched_priority = 1 };
        const struct timespec pause = { .tv_nsec = LOOK_NSEC };

        gaps = mmap(NULL, sizeof(*gaps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (gaps == MAP_FAILED)
                world_fail(&guest->world, "mmap: %m");
        watcher = fork();
        if (watcher < 0)
                world_fail(&guest->world, "fork: %m");
        if (watcher > 0)
                return;
        (void) sched_setscheduler(0, SCHED_FIFO, &parameter);
        while (!gaps->stops && getppid() != 1) {
                look_at_sessions(guest);
                look_at_batches(guest);
                (void) nanosleep(&pause, NULL);
        }
        /* The gap that is open now counts, too. A session that has not moved all the while has none. */
        take_gap(&gaps->pauses.all_usec, gaps->last_of_all_usec, clock_usec());
        for (size_t i = 0; i < guest->world.outbox_count; i++)
                if (gaps->stamps[i] > 1)
                        take_gap(&gaps->pauses.session_usec, gaps->last_usec[i], clock_usec());
        _exit(0);
}

struct pauses gaps_end(struct guest *guest) {
        struct pauses pauses;

        gaps->stops = true;
        if (wait_exit(watcher) != 0)
                world_fail(&guest->world, "the watcher of commits failed");
        if (gaps->last_of_all_usec == 0)
                world_fail(&guest->world, "nothing was committed while gaps were looked for");
        pauses = gaps->pauses;
        (void) munmap(gaps, sizeof(*gaps));
        return pauses;
}

void pauses_add(struct pauses *pauses, struct pauses more) {
        pauses->all_usec = MAX_OF(pauses->all_usec, more.all_usec);
        pauses->session_usec = MAX_OF(pauses->session_usec, more.session_usec);
        pauses->wait_usec = MAX_OF(pauses->wait_usec, more.wait_usec);
        pauses->batch_usec = MAX_OF(pauses->batch_usec, more.batch_usec);
        pauses->handovers += more.handovers;
        pauses->given_up += more.given_up;
        pauses->unseen += more.unseen;
}

void pauses_print(const char *what, struct pauses pauses) {
        printf("  longest gap in commits, %s: %.1f ms (of one session %.1f ms; an event waited %.1f ms; longest "
               "batch %.1f ms)\n",
               what, (double) pauses.all_usec / 1e3, (double) pauses.session_usec / 1e3,
               (double) pauses.wait_usec / 1e3, (double) pauses.batch_usec / 1e3);
}

void owners_print(struct pauses pauses) {
        printf("  changes of owner: %u by a hand-over, %u otherwise, %u unseen\n", pauses.handovers,
               pauses.given_up, pauses.unseen);
}
