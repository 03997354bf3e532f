/* SPDX-License-Identifier: Apache-2.0 */
/* Children that ended, and whom we have killed. This is the one place that waits for just any child, so nobody's
 * exit status is taken away. Workers of a dead supervisor come to us as orphans (subreaper): whoever of them dies
 * of a fault that we did not send is a finding. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "prove/torture/torture.h"

#define EXIT_AGAIN 75 /* a worker that leaves to start anew */

void victim_note(struct torture *torture, pid_t pid) {
        torture->victims.pids[torture->victims.count++ % VICTIM_MAX] = pid;
}

bool victim_is(const struct torture *torture, pid_t pid) {
        for (size_t i = 0; i < MIN_OF(torture->victims.count, (uint64_t) VICTIM_MAX); i++)
                if (torture->victims.pids[i] == pid)
                        return true;
        return false;
}

void victim_doom(struct torture *torture, pid_t pid) {
        struct victims *victims = &torture->victims;

        if (!victim_is_doomed(torture, pid) && victims->doomed_count < DOOMED_MAX)
                victims->doomed[victims->doomed_count++] = pid;
}

void victim_spare(struct torture *torture, pid_t pid) {
        struct victims *victims = &torture->victims;

        for (size_t i = 0; i < victims->doomed_count; i++)
                if (victims->doomed[i] == pid)
                        victims->doomed[i--] = victims->doomed[--victims->doomed_count];
}

bool victim_is_doomed(const struct torture *torture, pid_t pid) {
        for (size_t i = 0; i < torture->victims.doomed_count; i++)
                if (torture->victims.doomed[i] == pid)
                        return true;
        return false;
}

static void orphan_ended(struct torture *torture, pid_t pid, int status) {
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL && !victim_is(torture, pid))
                torture_fail(torture, "process %d died of SIG%s, which nobody sent it", (int) pid,
                             sigabbrev_np(WTERMSIG(status)));
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != EXIT_AGAIN)
                torture_log(torture, "orphan %d left with %d", (int) pid, WEXITSTATUS(status));
}

static bool known_ended(struct torture *torture, pid_t pid, int status) {
        if (pid == torture->world.batond) {
                supervise_ended(torture, status);
                return true;
        }
        for (size_t i = 0; i < JOB_COUNT; i++)
                if (torture->jobs[i].pid == pid) {
                        operator_ended(torture, i, status);
                        return true;
                }
        for (size_t i = 0; i < TARGET_COUNT; i++)
                if (torture->targets[i].judge.pid == pid) {
                        judge_ended(torture, i, status);
                        return true;
                }
        for (size_t i = 0; i < ORIGIN_COUNT; i++)
                if (torture->origins[i].writer == pid) {
                        torture->origins[i].writer = 0;
                        if (status != 0)
                                torture_fail(torture, "the writer of %s failed (status %d)", origins[i].name,
                                             status);
                        return true;
                }
        for (size_t i = 0; i < torture->spinner_count; i++)
                if (torture->spinners[i] == pid)
                        return true;
        return false;
}

void children_turn(struct torture *torture) {
        struct victims *victims = &torture->victims;
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (!known_ended(torture, pid, status))
                        orphan_ended(torture, pid, status);
        for (size_t i = 0; i < victims->doomed_count; i++)
                if (!process_is_alive(victims->doomed[i]))
                        victims->doomed[i--] = victims->doomed[--victims->doomed_count];
}
