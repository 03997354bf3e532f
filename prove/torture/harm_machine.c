/* SPDX-License-Identifier: Apache-2.0 */
/* The machine around them: a wall clock that jumps, processors that others use. */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "prove/torture/torture.h"

#define HOURS_MOST 72

/* It stays where it has jumped to, until it jumps again. */
enum harm_result harm_clock(struct torture *torture, const struct action *action) {
        int64_t ahead_sec = (int64_t) (action->picks[0] % (2 * HOURS_MOST * 3600)) - HOURS_MOST * 3600LL;

        world_clock_set(&torture->world, ahead_sec);
        (void) snprintf(torture->said, sizeof(torture->said), "to %+.1f h of the true time",
                        (double) ahead_sec / 3600);
        return HARM_DONE;
}

_noreturn_ static void spin(void) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (volatile uint64_t turns = 0;; turns++)
                ;
}

enum harm_result harm_saturation(struct torture *torture, const struct action *action) {
        size_t processors = (size_t) MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1L);

        (void) action;
        torture->spinner_count = 0;
        while (torture->spinner_count < MIN_OF(2 * processors, (size_t) SPINNER_MAX)) {
                pid_t pid = fork();

                if (pid == 0)
                        spin();
                if (pid < 0)
                        break;
                torture->spinners[torture->spinner_count++] = pid;
        }
        (void) snprintf(torture->said, sizeof(torture->said), "by %zu processes on %zu processors",
                        torture->spinner_count, processors);
        return HARM_DONE;
}

void harm_saturation_end(struct torture *torture, const struct action *action) {
        (void) action;
        for (size_t i = 0; i < torture->spinner_count; i++)
                kill_and_wait(torture->spinners[i], SIGKILL);
        torture->spinner_count = 0;
}
