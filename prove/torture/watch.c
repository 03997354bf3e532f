/* SPDX-License-Identifier: Apache-2.0 */
/* What the segment and the logs say while it goes on: sessions that stop for no reason of ours, gaps in commits,
 * takeovers, deaths that nobody caused.
 * Must not touch: anything; it reads. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/failure.h"
#include "base/io.h"
#include "prove/torture/torture.h"

/* What is done at once has its effect a moment later. */
#define AFTERMATH_USEC (2 * USEC_PER_SEC)

/* ---- sessions ---------------------------------------------------------------------------------------- */
/* We are the operator of this run: what we broke ourselves is adopted (operator.c). */
static bool is_our_doing(const struct torture *torture, const struct session_run *session,
                         const struct session_status *status) {
        if (status->failure_kind == FAILURE_SYNC && torture->origins[session->origin].sync_failed)
                return true;
        return status->failure_kind == FAILURE_STOP && torture->targets[session->target].write_failed &&
               strstr(status->reason, "baton adopt") != NULL;
}

/* Harms that concern the destination and lasted, or were done, since then. */
static uint32_t harms_since(const struct torture *torture, size_t target, uint64_t since_usec) {
        uint32_t harms = 0;

        for (enum harm harm = 0; harm < HARM_COUNT; harm++) {
                const struct harm_run *run = &torture->harms[harm];

                if ((run->target_bits & 1U << target) && (run->is_active || run->last_usec >= since_usec))
                        harms |= 1U << harm;
        }
        return harms;
}

static bool are_deaths(uint32_t harms) {
        for (enum harm harm = 0; harm < HARM_COUNT; harm++)
                if ((harms & 1U << harm) && !harm_kinds[harm].is_death)
                        return false;
        return true;
}

/* By the owners' own clocks, so it does not matter how often we look. */
static void watch_commit(struct torture *torture, size_t target_index, uint64_t commit_usec) {
        struct target_run *target = &torture->targets[target_index];
        uint64_t since_usec = target->commit_usec;
        struct gap gap;

        if (commit_usec <= since_usec)
                return;
        target->commit_usec = commit_usec;
        if (since_usec == 0)
                return;
        gap.usec = commit_usec - since_usec;
        gap.harms = harms_since(torture, target_index, since_usec - MIN_OF(since_usec, AFTERMATH_USEC));
        if (gap.usec > target->longest.usec)
                target->longest = gap;
        if (are_deaths(gap.harms) && gap.usec > target->longest_of_deaths.usec)
                target->longest_of_deaths = gap;
}

static void watch_session(struct torture *torture, const struct session_run *session) {
        struct session_status status;

        if (!session_status(&torture->world, session->name, &status))
                return;
        if (status.phase == SESSION_STOPPED && !is_our_doing(torture, session, &status))
                torture_fail(torture, "session %s has stopped at position %" PRIu64 ": %s", session->name,
                             status.position, status.reason);
        watch_commit(torture, session->target, status.commit_last_usec);
}

/* A new segment counts from 0 again. */
static void watch_takeovers(struct torture *torture) {
        if (!world_segment(&torture->world))
                return;
        for (size_t i = 0; i < TARGET_COUNT; i++) {
                struct target_run *target = &torture->targets[i];
                uint64_t now = takeover_count(&torture->world, targets[i].name);

                if (torture->world.segment_inode != torture->segment_seen || now < target->takeovers_seen)
                        target->takeovers_seen = 0;
                target->takeovers += now - target->takeovers_seen;
                target->takeovers_seen = now;
        }
        torture->segment_seen = torture->world.segment_inode;
}

/* ---- logs ------------------------------------------------------------------------------------------- */
static pid_t pid_in(const char *line) {
        const char *at = strstr(line, "(pid ");

        if (at)
                return (pid_t) strtol(at + 5, NULL, 10);
        at = strstr(line, "worker process ");
        return at ? (pid_t) strtol(at + 15, NULL, 10) : 0;
}

static void watch_line(struct torture *torture, const char *line) {
        static const char *const faults[] = { "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGSYS" };
        pid_t pid = pid_in(line);

        if (strstr(line, "Assertion") || strstr(line, "runtime error:") ||
            strstr(line, "ERROR: AddressSanitizer"))
                torture_fail(torture, "a process says: %s", line);
        if (strstr(line, "; it is killed")) {
                torture->counts.workers_killed_stalled++;
                torture_log(torture, "batond says: %s", line);
        }
        for (size_t i = 0; i < ELEMENTSOF(faults); i++)
                if (strstr(line, "was killed by ") && strstr(line, faults[i]) && !victim_is(torture, pid))
                        torture_fail(torture, "worker %d died of %s, which nobody sent it: %s", (int) pid,
                                     faults[i], line);
}

/* The whole lines that have come since the last time; false: none. */
static bool watch_log(struct torture *torture, unsigned number) {
        char name[64], text[65536], *end, *line = text;
        _cleanup_fd_ int fd = -1;
        ssize_t bytes;

        (void) snprintf(name, sizeof(name), "batond-%u.log", number);
        fd = open(world_path(&torture->world, name), O_RDONLY | O_CLOEXEC);
        bytes = fd >= 0 ? pread(fd, text, sizeof(text) - 1, (off_t) torture->log_offsets[number]) : -1;
        text[bytes > 0 ? bytes : 0] = '\0';
        for (; (end = strchr(line, '\n')); line = end + 1) {
                *end = '\0';
                watch_line(torture, line);
        }
        torture->log_offsets[number] += (uint64_t) (line - text);
        return line > text;
}

/* All of them: workers go on writing to the log of the supervisor that started them. */
void watch_logs(struct torture *torture) {
        unsigned count = torture->world.batond_starts;
        uint64_t *more = realloc(torture->log_offsets, (count + 1) * sizeof(*more));

        assert(more);
        torture->log_offsets = more;
        for (; torture->log_count < count; torture->log_count++)
                more[torture->log_count] = 0;
        for (unsigned i = 0; i < count; i++)
                while (watch_log(torture, i))
                        ;
}

void watch_turn(struct torture *torture) {
        watch_takeovers(torture);
        for (size_t i = 0; i < torture->session_count; i++)
                watch_session(torture, &torture->sessions[i]);
}
