/* SPDX-License-Identifier: Apache-2.0 */
/* Deaths of workers, alone and together, and workers that stand still.
 *
 * M6: three deaths on one event, by whatever signal, stop its session as they must. So nobody is killed where that
 * would be the third: a stop is then always a finding. What counts is what the segment says, and those that are
 * signalled or stopped already and are not gone yet.
 * Must not touch: a process that is no worker of ours. */
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/torture/torture.h"
#include "shm/slot.h"

#define DEATHS_MAX 2u
#define BUSY_LATEST_USEC (100 * USEC_PER_MSEC) /* before its time is over */
#define JOINER_EVERY 6 /* every so many kills hit one that has not joined yet, if there is one */

/* ---- whom ------------------------------------------------------------------------------------------ */
static bool session_allows(struct torture *torture, const struct session_run *session, unsigned deaths) {
        struct world *world = &torture->world;
        unsigned counted;

        counted = session_deaths(world, session->name);
        if (counted == UINT_MAX) /* nobody knows, or it has left */
                return !torture->origins[session->origin].is_wanted;
        return counted + victim_is_doomed(torture, session_owner(world, session->name)) + deaths <=
               DEATHS_MAX;
}

bool harm_allows(struct torture *torture, size_t target, unsigned deaths) {
        if (!world_segment(&torture->world))
                return false;
        for (size_t i = 0; i < torture->session_count; i++)
                if ((target == TARGET_COUNT || torture->sessions[i].target == target) &&
                    !session_allows(torture, &torture->sessions[i], deaths))
                        return false;
        return true;
}

struct candidates {
        pid_t pids[TARGET_COUNT * WORLD_WORKER_MAX];
        size_t targets[TARGET_COUNT * WORLD_WORKER_MAX], count;
};

/* Live ones of all pools, but for those that are dying or stand still. */
static void collect_workers(struct torture *torture, struct candidates *candidates) {
        pid_t some[WORLD_WORKER_MAX];

        candidates->count = 0;
        for (size_t t = 0; t < TARGET_COUNT; t++) {
                uint32_t live = MIN_OF(live_workers(&torture->world, targets[t].name, some, WORLD_WORKER_MAX),
                                       (uint32_t) WORLD_WORKER_MAX);

                for (uint32_t i = 0; i < live; i++)
                        if (!victim_is_doomed(torture, some[i])) {
                                candidates->pids[candidates->count] = some[i];
                                candidates->targets[candidates->count++] = t;
                        }
        }
}

pid_t harm_choose_worker(struct torture *torture, uint64_t pick, size_t *ret_target) {
        struct candidates candidates;

        collect_workers(torture, &candidates);
        if (candidates.count == 0)
                return 0;
        *ret_target = candidates.targets[pick % candidates.count];
        return candidates.pids[pick % candidates.count];
}

/* 0: none is in a transaction just now. */
static pid_t choose_busy_worker(struct torture *torture, uint64_t pick, size_t *ret_target) {
        struct candidates candidates;

        collect_workers(torture, &candidates);
        for (size_t i = 0; i < candidates.count; i++) {
                size_t at = (pick + i) % candidates.count;

                if (!worker_in_transaction(&torture->world, candidates.pids[at]))
                        continue;
                *ret_target = candidates.targets[at];
                return candidates.pids[at];
        }
        return 0;
}

static bool is_live_worker(struct torture *torture, pid_t pid) {
        pid_t some[WORLD_WORKER_MAX];

        for (size_t t = 0; t < TARGET_COUNT; t++) {
                uint32_t live = live_workers(&torture->world, targets[t].name, some, WORLD_WORKER_MAX);

                for (uint32_t i = 0; i < MIN_OF(live, (uint32_t) WORLD_WORKER_MAX); i++)
                        if (some[i] == pid)
                                return true;
        }
        return false;
}

/* One that was started and has not joined. It owns nothing. */
static pid_t choose_joiner(struct torture *torture, uint64_t pick) {
        pid_t pids[512], joiners[64];
        size_t count = world_processes(&torture->world, pids, ELEMENTSOF(pids)), found = 0;

        for (size_t i = 0; i < count && found < ELEMENTSOF(joiners); i++)
                if (pids[i] != torture->world.batond && !victim_is_doomed(torture, pids[i]) &&
                    !is_live_worker(torture, pids[i]))
                        joiners[found++] = pids[i];
        return found > 0 ? joiners[pick % found] : 0;
}

void harm_strike(struct torture *torture, pid_t pid, int signal_number) {
        victim_note(torture, pid);
        victim_doom(torture, pid);
        kill_process(pid, signal_number);
        if (signal_number == SIGSEGV)
                torture->counts.workers_segv++;
        else
                torture->counts.workers_killed++;
}

static void say_victim(struct torture *torture, const char *what, pid_t pid, size_t target) {
        bool is_busy = worker_in_transaction(&torture->world, pid);

        torture->concerned = 1U << target;
        (void) snprintf(torture->said, sizeof(torture->said), "%s worker %d of %s%s", what, (int) pid,
                        targets[target].name, is_busy ? ", in a transaction" : "");
}

/* ---- one, two, all ----------------------------------------------------------------------------------- */
static enum harm_result kill_joiner(struct torture *torture, uint64_t pick) {
        pid_t pid = choose_joiner(torture, pick);

        if (pid == 0)
                return HARM_NOT;
        harm_strike(torture, pid, SIGKILL);
        torture->counts.workers_killed_joining++;
        (void) snprintf(torture->said, sizeof(torture->said), "SIGKILL worker %d before it joined",
                        (int) pid);
        return HARM_DONE;
}

/* Half of the deaths hit a transaction; where none comes in time, whoever is there. */
static pid_t choose_victim(struct torture *torture, const struct action *action, size_t *ret_target) {
        uint64_t until_usec = torture->harms[action->harm].until_usec;

        if (action->picks[2] % 2 == 0 && torture->storm_usec + BUSY_LATEST_USEC < until_usec)
                return choose_busy_worker(torture, action->picks[0], ret_target);
        return harm_choose_worker(torture, action->picks[0], ret_target);
}

enum harm_result harm_kill(struct torture *torture, const struct action *action) {
        int signal_number = action->harm == HARM_SEGV ? SIGSEGV : SIGKILL;
        size_t target = 0;
        pid_t pid;

        if (action->picks[1] % JOINER_EVERY == 0 && kill_joiner(torture, action->picks[0]) == HARM_DONE)
                return HARM_DONE;
        pid = choose_victim(torture, action, &target);
        if (pid == 0 || !harm_allows(torture, target, 1))
                return HARM_NOT_YET;
        say_victim(torture, signal_number == SIGSEGV ? "SIGSEGV" : "SIGKILL", pid, target);
        harm_strike(torture, pid, signal_number);
        return HARM_DONE;
}

/* The process that a slot names as its heir; 0: none that lives. */
static pid_t heir_of(struct torture *torture, const char *session) {
        struct world *world = &torture->world;
        uint32_t slot = session_slot(world, session), index;
        struct slot_view view;
        pid_t pid;

        if (slot == LAYOUT_NONE || slot_read(world->segment, slot, &view) < 0)
                return 0;
        index = worker_ref_index(view.heir_ref);
        if (view.heir_ref == 0 || index >= world->segment->worker_count)
                return 0;
        pid = (pid_t) segment_worker(world->segment, index)->pid;
        return is_live_worker(torture, pid) ? pid : 0;
}

/* A third within 150 µs, in the look itself; a third within 1 ms, in the first claim; the others behind it. */
static uint64_t draw_distance_usec(const struct action *action) {
        static const uint64_t most_usec[] = { 150, 1000, 5000 };

        return action->picks[1] % most_usec[action->picks[2] % ELEMENTSOF(most_usec)];
}

/* An owner, and then whoever is just taking its session over. */
enum harm_result harm_pair(struct torture *torture, const struct action *action) {
        const struct session_run *session = &torture->sessions[action->picks[0] % torture->session_count];
        int second = action->picks[3] % 3 == 0 ? SIGSEGV : SIGKILL;
        uint64_t distance_usec = draw_distance_usec(action), since_usec;
        pid_t owner, heir;

        owner = session_owner(&torture->world, session->name);
        heir = heir_of(torture, session->name);
        if (owner == 0 || heir == 0 || owner == heir || victim_is_doomed(torture, owner) ||
            victim_is_doomed(torture, heir) || !harm_allows(torture, session->target, 2))
                return HARM_NOT_YET;
        harm_strike(torture, owner, SIGKILL);
        since_usec = clock_usec();
        while (clock_usec() - since_usec < distance_usec)
                ;
        harm_strike(torture, heir, second);
        torture->concerned = 1U << session->target;
        (void) snprintf(torture->said, sizeof(torture->said),
                        "owner %d of %s, and %llu us later its heir %d (SIG%s)", (int) owner, session->name,
                        (unsigned long long) distance_usec, (int) heir, sigabbrev_np(second));
        return HARM_DONE;
}

/* All of one pool at once: stopped first, so that none takes over what another leaves. */
enum harm_result harm_pool(struct torture *torture, const struct action *action) {
        size_t target = action->picks[0] % TARGET_COUNT;
        pid_t pids[WORLD_WORKER_MAX];
        uint32_t count = MIN_OF(live_workers(&torture->world, targets[target].name, pids, WORLD_WORKER_MAX),
                                (uint32_t) WORLD_WORKER_MAX);

        if (count == 0 || !harm_allows(torture, target, 1))
                return HARM_NOT_YET;
        for (uint32_t i = 0; i < count; i++)
                kill_process(pids[i], SIGSTOP);
        for (uint32_t i = 0; i < count; i++)
                harm_strike(torture, pids[i], SIGKILL);
        torture->concerned = 1U << target;
        (void) snprintf(torture->said, sizeof(torture->said), "all %u workers of %s", count,
                        targets[target].name);
        return HARM_DONE;
}

/* ---- one that stands still ------------------------------------------------------------------------- */
enum harm_result harm_stop(struct torture *torture, const struct action *action) {
        size_t target = 0;
        pid_t pid = harm_choose_worker(torture, action->picks[0], &target);

        if (pid == 0 || !harm_allows(torture, target, 1))
                return HARM_NOT_YET;
        say_victim(torture, "SIGSTOP", pid, target);
        victim_doom(torture, pid); /* the supervisor may kill it for its silence */
        victim_note(torture, pid);
        torture->stopped_worker = pid;
        torture->stopped_fd = pidfd_open(pid, 0);
        if (torture->stopped_fd >= 0)
                (void) pidfd_send_signal(torture->stopped_fd, SIGSTOP, NULL, 0);
        return HARM_DONE;
}

void harm_stop_end(struct torture *torture, const struct action *action) {
        _cleanup_fd_ int fd = TAKE_FD(torture->stopped_fd); /* its number may be another's by now */
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

        (void) action;
        if (fd < 0 || poll(&poll_fd, 1, 0) != 0)
                return; /* it was killed meanwhile */
        (void) pidfd_send_signal(fd, SIGCONT, NULL, 0);
        victim_spare(torture, torture->stopped_worker);
        torture->counts.workers_resumed++;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */
/* The whole installation at once; every other time its runtime directory goes too, as in a reboot. */
enum harm_result harm_everything(struct torture *torture, const struct action *action) {
        struct world *world = &torture->world;
        bool is_reboot = action->picks[0] % 2 == 0;
        pid_t pids[512];
        size_t count;

        if (world->batond == 0 || torture->supervisor.is_leaving || !harm_allows(torture, TARGET_COUNT, 1))
                return HARM_NOT_YET;
        kill_process(world->batond, SIGSTOP); /* it starts no more */
        count = world_processes(world, pids, ELEMENTSOF(pids));
        for (size_t i = 0; i < count; i++)
                kill_process(pids[i], SIGSTOP);
        for (size_t i = 0; i < count; i++)
                if (pids[i] != world->batond)
                        harm_strike(torture, pids[i], SIGKILL);
        supervise_strike(torture, SIGKILL, action->picks[1]);
        if (is_reboot) {
                while (world_processes(world, pids, ELEMENTSOF(pids)) > 0)
                        (void) usleep(1000);
                world_shell(world, "rm -rf \"$RUNTIME_DIRECTORY\"/*");
                torture->counts.reboots++;
        }
        (void) snprintf(torture->said, sizeof(torture->said), "%zu processes%s", count,
                        is_reboot ? ", and the runtime directory is emptied" : "");
        return HARM_DONE;
}
