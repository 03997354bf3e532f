/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator would type, each command in a process of its own, one of a sort at a time. A command that the
 * supervisor cannot answer because we have just killed or stopped it may fail; none may hang, and none may die.
 *
 * `baton adopt` is typed only for what we have done ourselves: a sync of a source that failed (M7), a write to a
 * file that failed (M6). Whatever else stops a session is a finding (watch.c).
 * Must not touch: anything but through `baton`. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/torture/torture.h"
#include "shm/words.h"

#define COMMAND_MOST_USEC (100 * USEC_PER_SEC) /* `adopt` waits 30 s; the machine may be busy */
#define STATUS_EVERY_USEC (700 * USEC_PER_MSEC)
#define ADOPT_EVERY_USEC (300 * USEC_PER_MSEC)
#define EXIT_NOT_UNDERSTOOD 2
#define EXIT_NOBODY_THERE 3
#define EXIT_UNWELL 4

static const char *const job_names[JOB_COUNT] = {
        [JOB_SCALE] = "scale", [JOB_RELOAD] = "reload", [JOB_ADOPT] = "adopt", [JOB_STATUS] = "status"
};

bool operator_ask(struct torture *torture, enum operator_job which, size_t number, char **argv) {
        struct job_run *job = &torture->jobs[which];

        if (job->pid > 0)
                return false;
        job->output_fd = memfd_create(job_names[which], MFD_CLOEXEC);
        job->pid = job->output_fd >= 0 ? world_spawn(&torture->world, job->output_fd, argv) : -1;
        if (job->pid < 0)
                torture_fail(torture, "cannot run a command");
        job->begun_usec = clock_usec();
        job->number = number;
        job->has_ended = false;
        return true;
}

bool operator_ask_scale(struct torture *torture, size_t target, unsigned workers) {
        char number[16];
        char *argv[] = { "baton", "scale", (char *) targets[target].name, number, NULL };

        (void) snprintf(number, sizeof(number), "%u", workers);
        if (!operator_ask(torture, JOB_SCALE, target, argv))
                return false;
        torture->targets[target].is_scaled = workers != targets[target].workers;
        return true;
}

bool operator_ask_reload(struct torture *torture) {
        char *argv[] = { "baton", "reload", NULL };

        return operator_ask(torture, JOB_RELOAD, 0, argv);
}

/* May it have failed because the supervisor was dead, or stood still, at some time since it was begun? */
static bool is_excused(const struct torture *torture, const struct job_run *job) {
        return torture->supervisor.disturbed_usec + USEC_PER_SEC >= job->begun_usec;
}

static bool is_well(const struct torture *torture, enum operator_job which, int code) {
        const struct job_run *job = &torture->jobs[which];

        if (code == 0)
                return true;
        if (code >= 128 || code == EXIT_NOT_UNDERSTOOD)
                return false;
        if (which == JOB_STATUS)
                return code == EXIT_UNWELL || code == EXIT_NOBODY_THERE;
        if (which == JOB_ADOPT)
                return true; /* what it is for may have passed, or come again */
        return is_excused(torture, job);
}

void operator_ended(struct torture *torture, enum operator_job which, int status) {
        struct job_run *job = &torture->jobs[which];
        _cleanup_fd_ int fd = TAKE_FD(job->output_fd);
        char text[1500];
        ssize_t bytes;

        job->pid = 0;
        job->has_ended = true;
        job->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        job->count++;
        bytes = pread(fd, text, sizeof(text) - 1, 0);
        text[bytes > 0 ? bytes : 0] = '\0';
        if (which != JOB_STATUS)
                torture_log(torture, "baton %s ended with %d: %s", job_names[which], job->exit_code, text);
        if (!is_well(torture, which, job->exit_code))
                torture_fail(torture, "baton %s ended with %d:\n%s", job_names[which], job->exit_code, text);
        if (which == JOB_ADOPT && job->exit_code == 0)
                torture->counts.adoptions++;
}

/* ---- what is typed by itself ----------------------------------------------------------------------- */
static bool is_stopped(struct torture *torture, const struct session_run *session) {
        return torture->origins[session->origin].is_wanted &&
               session_is(&torture->world, session->name, SESSION_STOPPED);
}

static void adopt_next(struct torture *torture) {
        struct job_run *job = &torture->jobs[JOB_ADOPT];

        /* While the disk still fails it would stop again at once. */
        if (job->pid > 0 || clock_usec() < job->next_usec || torture->harms[HARM_DISK_FAILS].is_active)
                return;
        for (size_t i = 1; i <= torture->session_count; i++) {
                size_t number = (job->number + i) % torture->session_count;
                char *argv[] = { "baton", "adopt", torture->sessions[number].name, NULL };

                if (is_stopped(torture, &torture->sessions[number])) {
                        (void) operator_ask(torture, JOB_ADOPT, number, argv);
                        job->next_usec = clock_usec() + ADOPT_EVERY_USEC;
                        return;
                }
        }
}

void operator_turn(struct torture *torture) {
        struct job_run *status = &torture->jobs[JOB_STATUS];
        char *argv[] = { "baton", "status", "--json", NULL };
        uint64_t now_usec = clock_usec();

        if (status->pid == 0 && now_usec >= status->next_usec) {
                status->next_usec = now_usec + STATUS_EVERY_USEC;
                (void) operator_ask(torture, JOB_STATUS, 0, argv);
        }
        adopt_next(torture);
        for (size_t i = 0; i < JOB_COUNT; i++)
                if (torture->jobs[i].pid > 0 &&
                    clock_usec() - torture->jobs[i].begun_usec > COMMAND_MOST_USEC)
                        torture_fail(torture, "baton %s has not ended within %d s", job_names[i],
                                     (int) (COMMAND_MOST_USEC / USEC_PER_SEC));
}
