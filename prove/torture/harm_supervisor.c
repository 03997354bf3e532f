/* SPDX-License-Identifier: Apache-2.0 */
/* Deaths and silences of the supervisor, alone, with a worker, in the midst of what an operator asked for; and
 * orderly restarts. Whoever starts it again is supervise.c. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "prove/torture/torture.h"

static bool is_there(const struct torture *torture) {
        return torture->world.batond > 0 && !torture->supervisor.is_doomed;
}

enum harm_result harm_supervisor_kill(struct torture *torture, const struct action *action) {
        int signal_number = action->picks[0] % 3 == 0 ? SIGSEGV : SIGKILL;
        bool in_a_reload = action->picks[2] % 3 == 0;

        if (!is_there(torture) || torture->supervisor.is_stopped)
                return HARM_NOT_YET;
        if (in_a_reload) {
                struct action reload = { .picks = { action->picks[3], action->picks[2] / 3,
                                                    action->picks[1] } };

                in_a_reload = harm_reload(torture, &reload) == HARM_DONE;
                (void) usleep((useconds_t) (action->picks[3] % 15000));
        }
        supervise_strike(torture, signal_number, action->picks[1]);
        (void) snprintf(torture->said, sizeof(torture->said), "SIG%s%s", sigabbrev_np(signal_number),
                        in_a_reload ? ", in a reload" : "");
        return HARM_DONE;
}

enum harm_result harm_supervisor_stop(struct torture *torture, const struct action *action) {
        (void) action;
        if (!is_there(torture))
                return HARM_NOT_YET;
        kill_process(torture->world.batond, SIGSTOP);
        torture->supervisor.is_stopped = true;
        return HARM_DONE;
}

void harm_supervisor_stop_end(struct torture *torture, const struct action *action) {
        (void) action;
        if (!torture->supervisor.is_stopped || torture->world.batond <= 0)
                return; /* killed meanwhile */
        kill_process(torture->world.batond, SIGCONT);
        torture->supervisor.is_stopped = false;
        torture->supervisor.disturbed_usec = clock_usec();
        torture->counts.supervisors_resumed++;
}

/* The supervisor and a worker, one before the other or the other before the one. */
enum harm_result harm_together(struct torture *torture, const struct action *action) {
        size_t target = 0;
        pid_t pid = harm_choose_worker(torture, action->picks[0], &target);

        if (!is_there(torture) || pid == 0 || !harm_allows(torture, target, 1))
                return HARM_NOT_YET;
        if (action->picks[2] % 2 == 0)
                harm_strike(torture, pid, SIGKILL);
        supervise_strike(torture, SIGKILL, action->picks[1]);
        if (action->picks[2] % 2 != 0)
                harm_strike(torture, pid, SIGKILL);
        (void) snprintf(torture->said, sizeof(torture->said), "the supervisor and worker %d of %s", (int) pid,
                        targets[target].name);
        return HARM_DONE;
}

enum harm_result harm_restart(struct torture *torture, const struct action *action) {
        (void) action;
        if (!is_there(torture) || torture->supervisor.is_stopped || !supervise_is_up(torture))
                return HARM_NOT_YET;
        kill_process(torture->world.batond, SIGTERM);
        torture->supervisor.is_leaving = true;
        torture->supervisor.leave_until_usec = clock_usec() + CALM_MOST_USEC;
        torture->supervisor.disturbed_usec = clock_usec();
        return HARM_DONE;
}
