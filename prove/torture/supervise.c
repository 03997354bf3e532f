/* SPDX-License-Identifier: Apache-2.0 */
/* Starts batond again when it has ended, as systemd would, after a moment, sometimes only after its workers have
 * given it up (adopt-timeout). How it ended must be our doing: of itself it never ends.
 * Must not touch: workers. */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>

#include "prove/torture/torture.h"

#define LATE_EVERY 5 /* restarts: so often it comes after adopt-timeout */

bool supervise_is_up(const struct torture *torture) {
        struct segment *segment = world_segment((struct world *) &torture->world);

        return torture->world.batond > 0 && !torture->supervisor.is_doomed &&
               !torture->supervisor.is_stopped && !torture->supervisor.is_leaving && segment &&
               (pid_t) segment->header->supervisor_pid == torture->world.batond;
}

static uint64_t draw_delay_usec(uint64_t pick) {
        uint64_t soon_usec = pick / LATE_EVERY % 800 * USEC_PER_MSEC;

        return pick % LATE_EVERY == 0 ? ADOPT_MSEC * USEC_PER_MSEC + 2 * soon_usec : soon_usec;
}

void supervise_strike(struct torture *torture, int signal_number, uint64_t pick) {
        struct supervisor_run *supervisor = &torture->supervisor;

        assert(torture->world.batond > 0);

        supervisor->is_doomed = true;
        supervisor->delay_usec = draw_delay_usec(pick);
        victim_note(torture, torture->world.batond);
        kill_process(torture->world.batond, signal_number);
        if (supervisor->is_stopped && signal_number != SIGKILL)
                kill_process(torture->world.batond, SIGCONT);
        if (signal_number == SIGSEGV)
                torture->counts.supervisors_segv++;
        else
                torture->counts.supervisors_killed++;
}

void supervise_ended(struct torture *torture, int status) {
        struct supervisor_run *supervisor = &torture->supervisor;
        bool expected = supervisor->is_doomed || (supervisor->is_leaving && status == 0);

        if (!expected && WIFSIGNALED(status))
                torture_fail(torture, "batond died of SIG%s, which nobody sent it",
                             sigabbrev_np(WTERMSIG(status)));
        if (!expected && !supervisor->disk_failed)
                torture_fail(torture, "batond ended with exit code %d, and nobody told it to",
                             WEXITSTATUS(status));
        if (!expected)
                torture_log(torture, "batond gave up (exit code %d): the disk of its state failed",
                            WEXITSTATUS(status));
        if (supervisor->is_leaving && status == 0)
                torture->counts.supervisors_restarted++;
        torture->world.batond = 0;
        *supervisor = (struct supervisor_run){
                .restart_usec = clock_usec() + supervisor->delay_usec,
                .disturbed_usec = clock_usec(),
        };
}

void supervise_turn(struct torture *torture) {
        struct supervisor_run *supervisor = &torture->supervisor;
        uint64_t now_usec = clock_usec();

        if (torture->harms[HARM_DISK_FAILS].is_active)
                supervisor->disk_failed = true;
        if (supervisor->is_leaving && !supervisor->is_doomed && now_usec > supervisor->leave_until_usec)
                torture_fail(torture, "batond was told to stop and has not within %d s",
                             (int) (CALM_MOST_USEC / USEC_PER_SEC));
        if (!supervise_is_up(torture))
                supervisor->disturbed_usec = now_usec;
        if (torture->world.batond != 0 || now_usec < supervisor->restart_usec)
                return;
        torture->world.batond = world_start_unwaited(&torture->world, torture->world.config);
        torture_log(torture, "batond is started: %d", (int) torture->world.batond);
}
