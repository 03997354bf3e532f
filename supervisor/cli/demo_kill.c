/* SPDX-License-Identifier: Apache-2.0 */
/* The kill: waits for the moment when the victim says that it is inside a transaction, sends SIGKILL,
 * and then watches the segment, finely, for two facts that others write there: when each of its sessions
 * had a new owner (owned_since_usec), and when that one first committed (commit_last_usec).
 * Must not touch: a word of the segment; any process but the victim. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "shm/slot.h"
#include "shm/words.h"
#include "supervisor/cli/demo.h"

#define MOMENT_TIMEOUT_USEC (5 * USEC_PER_SEC)
#define TAKEOVER_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define LOOK_USEC 10
#define INTO_USEC 200 /* a few hundred rows are then written and not committed */

struct prey {
        const struct layout_worker *raw;
        uint64_t ref;
        int pid_fd;
        uint32_t slots[DEMO_SESSION_COUNT]; /* that it owned */
        unsigned slot_count;
        uint64_t kill_usec;
};

static void slots_of(const struct segment *segment, uint64_t ref, struct prey *prey) {
        struct slot_view slot;

        prey->slot_count = 0;
        for (uint32_t i = 0; i < segment->slot_count && prey->slot_count < DEMO_SESSION_COUNT; i++) {
                if (i >= atomic_load(&segment->header->slot_used))
                        break;
                if (slot_read(segment, i, &slot) == 0 && slot.state == SLOT_OWNED && slot.owner_ref == ref)
                        prey->slots[prey->slot_count++] = i;
        }
}

/* While it writes rows, and has done so for a moment; if that is never seen in time, in any part of a
 * transaction. */
static bool is_the_moment(const struct prey *prey, uint64_t waited_usec) {
        uint64_t since_usec = atomic_load(&prey->raw->transaction_since_usec);

        if (since_usec == 0)
                return waited_usec > MOMENT_TIMEOUT_USEC;
        return (atomic_load(&prey->raw->phase) == PHASE_WRITING && clock_usec() >= since_usec + INTO_USEC) ||
               waited_usec > MOMENT_TIMEOUT_USEC / 2;
}

static void strike(struct demo *demo, struct prey *prey, struct demo_kill *kill) {
        uint64_t begin_usec = clock_usec(), since_usec;

        while (!is_the_moment(prey, clock_usec() - begin_usec) && !demo_is_interrupted())
                demo_sleep(LOOK_USEC);
        since_usec = atomic_load(&prey->raw->transaction_since_usec);
        slots_of(demo->segment, prey->ref, prey);
        prey->kill_usec = clock_usec();
        (void) process_signal(prey->pid_fd, SIGKILL);
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++)
                kill->before.sessions[i].written = MAX_OF((uint64_t) atomic_load(&demo->shared->written[i]),
                                                          kill->before.sessions[i].position);
        /* The same transaction before and after: it was open when the signal came. */
        kill->was_in_transaction = since_usec != 0 &&
                                   atomic_load(&prey->raw->transaction_since_usec) == since_usec;
        kill->transaction_usec = since_usec != 0 && since_usec < prey->kill_usec
                                         ? prey->kill_usec - since_usec
                                         : 0;
}

/* True once this slot has a new owner and that one has committed; keeps the latest of each. */
static bool slot_is_through(const struct segment *segment, const struct prey *prey, uint32_t slot_index,
                            bool *committed, struct demo_kill *kill) {
        struct session_status status;
        struct slot_view slot;

        if (*committed)
                return true;
        if (slot_read(segment, slot_index, &slot) < 0 || slot.state != SLOT_OWNED ||
            slot.owner_ref == prey->ref || slot.owned_since_usec < prey->kill_usec)
                return false;
        kill->owned_usec = MAX_OF(kill->owned_usec, slot.owned_since_usec - prey->kill_usec);
        if (session_status_read(segment, slot_index, &status) < 0 || status.epoch != slot.epoch ||
            status.commit_last_usec < slot.owned_since_usec)
                return false;
        kill->committed_usec = MAX_OF(kill->committed_usec, status.commit_last_usec - prey->kill_usec);
        *committed = true;
        return true;
}

/* Waits for both facts of every slot. The first frame in which all are owned again is kept: the
 * supervisor's replacement may change it within milliseconds. */
static int watch(struct demo *demo, const struct prey *prey, struct demo_kill *kill) {
        bool committed[DEMO_SESSION_COUNT] = {}, has_frame = false, all;
        uint64_t deadline_usec = prey->kill_usec + TAKEOVER_TIMEOUT_USEC;

        do {
                all = true;
                for (unsigned i = 0; i < prey->slot_count; i++)
                        all &= slot_is_through(demo->segment, prey, prey->slots[i], &committed[i], kill);
                if (!has_frame && kill->owned_usec > 0) {
                        demo_look(demo, &kill->after);
                        has_frame = demo_one_owner(&kill->after);
                }
                if (all && has_frame)
                        return 0;
                if (demo_is_interrupted())
                        return -EINTR;
                demo_sleep(LOOK_USEC);
        } while (clock_usec() < deadline_usec);
        return -ETIMEDOUT;
}

int demo_kill_in_transaction(struct demo *demo, unsigned victim, struct demo_kill *ret_kill,
                             struct failure *ret_failure) {
        const struct demo_worker *worker = &demo->workers[victim - 1];
        struct demo_kill kill = { .victim = victim, .victim_pid = worker->pid };
        _cleanup_fd_ int pid_fd = -1;
        struct prey prey = { .ref = worker->ref };
        int r;

        assert(victim > 0 && victim <= demo->worker_count);

        prey.raw = segment_worker(demo->segment, worker_ref_index(worker->ref));
        r = process_open(worker->pid, atomic_load(&prey.raw->start_ticks), &pid_fd);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "worker %u (pid %d) is gone before its time",
                                   victim, worker->pid);
        prey.pid_fd = pid_fd;
        (void) prctl(PR_SET_TIMERSLACK, 1);
        demo_look(demo, &kill.before);
        strike(demo, &prey, &kill);
        r = demo_is_interrupted() ? -EINTR : watch(demo, &prey, &kill);
        (void) prctl(PR_SET_TIMERSLACK, 0);
        if (r == -EINTR)
                return r;
        if (r < 0)
                return failure_set(
                        ret_failure, r, FAILURE_STOP,
                        "10 s after worker %u was killed its sessions are not owned and moving again",
                        victim);
        kill.before.killed = victim;
        kill.before.usec = prey.kill_usec - demo->start_usec;
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++)
                if (kill.before.sessions[i].owner == victim)
                        kill.before.sessions[i].rate = -1;
        kill.heir = kill.after.sessions[0].owner;
        *ret_kill = kill;
        return 0;
}
