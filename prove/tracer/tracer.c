/* SPDX-License-Identifier: Apache-2.0 */
/* The tracer's loop: one event after the other, each handled to its end.
 *
 * We die here: anywhere. PTRACE_O_EXITKILL ends whatever is still traced, the driver by PR_SET_PDEATHSIG. */
#include "prove/tracer/tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/tracer/internal.h"

#define OPTIONS                                                                                \
        (PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | \
         PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)

/* ---- the driver -------------------------------------------------------------------------------- */
_noreturn_ static void driver_main(int gate, int (*driver)(void *argument), void *argument) {
        char byte;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (read(gate, &byte, 1) != 1)
                _exit(126); /* the tracer is gone, or could not attach */
        (void) close(gate);
        exit(driver(argument));
}

static int driver_start(struct tracer *tracer, int (*driver)(void *argument), void *argument) {
        int gate[2], r;
        struct thread *thread;

        if (pipe2(gate, O_CLOEXEC) < 0)
                return -errno;
        (void) fflush(NULL);
        tracer->driver = fork();
        if (tracer->driver == 0) {
                (void) close(gate[1]);
                driver_main(gate[0], driver, argument);
        }
        r = tracer->driver < 0 ? -errno : 0;
        if (r >= 0 && ptrace(PTRACE_SEIZE, tracer->driver, NULL, (unsigned long) OPTIONS) < 0)
                r = -errno;
        thread = r >= 0 ? thread_add(tracer, tracer->driver) : NULL;
        if (r >= 0 && (!thread || write(gate[1], "!", 1) != 1))
                r = -ECHILD;
        (void) close(gate[0]);
        (void) close(gate[1]);
        if (r < 0 && tracer->driver > 0) {
                tracer_kill(tracer->driver);
                (void) waitpid(tracer->driver, NULL, 0);
        }
        return r;
}

void tracer_mark(uint64_t mark) {
        const union sigval value = { .sival_ptr = (void *) (uintptr_t) mark };

        (void) sigqueue(getpid(), SIGURG, value);
}

/* ---- what callbacks ask for -------------------------------------------------------------------- */
void tracer_watch(struct tracer *tracer, unsigned roles) {
        tracer->options.roles = roles;
        for (size_t i = 0; i < tracer->thread_count; i++) {
                struct thread *thread = &tracer->threads[i];

                if (thread_is_watched(tracer, thread) && !thread->is_armed)
                        thread->is_due = ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) == 0;
        }
}

void tracer_release(struct tracer *tracer) {
        tracer->is_released = true;
        for (size_t i = 0; i < tracer->thread_count; i++) {
                tracer->threads[i].is_due = false;
                if (tracer->threads[i].role != TRACE_DRIVER)
                        (void) ptrace(PTRACE_INTERRUPT, tracer->threads[i].tid, NULL, NULL);
        }
}

ssize_t tracer_read(pid_t pid, uint64_t address, void *ret_data, size_t bytes) {
        const struct iovec here = { .iov_base = ret_data, .iov_len = bytes },
                           there = { .iov_base = (void *) (uintptr_t) address, .iov_len = bytes };
        ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);

        return n < 0 ? -errno : n;
}

int tracer_path(pid_t pid, int fd, char *ret_path, size_t path_bytes) {
        char link[64];
        ssize_t bytes;

        assert(path_bytes > 0);
        (void) snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int) pid, fd);
        bytes = readlink(link, ret_path, path_bytes - 1);
        if (bytes < 0)
                return -errno;
        ret_path[bytes] = '\0';
        return 0;
}

/* ---- the loop ---------------------------------------------------------------------------------- */
static void thread_ended(struct tracer *tracer, const struct thread *thread, int status) {
        process_tell(tracer, thread, TRACE_ENDED, status);
        if (thread->role == TRACE_DRIVER) {
                tracer->driver_has_ended = true;
                tracer->driver_status = status;
        }
        thread_remove(tracer, thread);
        /* Nothing may outlive the scenario. */
        for (size_t i = 0; tracer->driver_has_ended && i < tracer->thread_count; i++)
                tracer_kill(tracer->threads[i].pid);
}

static bool all_are_armed(const struct tracer *tracer) {
        for (size_t i = 0; i < tracer->thread_count; i++)
                if (tracer->threads[i].is_due)
                        return false;
        return true;
}

static void driver_go_on(struct tracer *tracer) {
        struct thread *thread = thread_find(tracer, tracer->driver);

        if (!thread || !all_are_armed(tracer))
                return;
        tracer->driver_is_held = false;
        thread_resume(tracer, thread, 0);
}

static void event_handle(struct tracer *tracer, pid_t tid, int status) {
        struct thread *thread = thread_find(tracer, tid);

        if (!WIFSTOPPED(status)) {
                if (thread)
                        thread_ended(tracer, thread, status);
                return; /* else an orphan that nobody traced */
        }
        if (!thread)
                thread = thread_add(tracer, tid);
        if (thread && tracer->driver_has_ended)
                tracer_kill(thread->pid);
        else if (thread)
                stop_handle(tracer, thread, status);
        else if (tracer->error < 0)
                (void) kill(tid, SIGKILL); /* more than we can hold: tracer_run() says so */
}

int tracer_run(const struct tracer_options *options, int (*driver)(void *argument), void *argument,
               int *ret_status) {
        _cleanup_free_ struct tracer *tracer = calloc(1, sizeof(*tracer));
        int r;

        assert(options && driver && ret_status);
        if (!tracer)
                return -ENOMEM;
        tracer->options = *options;
        r = driver_start(tracer, driver, argument);
        if (r < 0)
                return r;
        while (tracer->thread_count > 0) {
                int status;
                pid_t tid = waitpid(-1, &status, __WALL);

                if (tid < 0 && errno == EINTR)
                        continue;
                if (tid < 0)
                        break;
                event_handle(tracer, tid, status);
                held_ask(tracer);
                doom_step(tracer); /* last: nothing more may happen that would bring us here again */
                if (tracer->driver_is_held)
                        driver_go_on(tracer);
                if (tracer->error < 0 && !tracer->driver_has_ended)
                        tracer_kill(tracer->driver);
        }
        *ret_status = tracer->driver_status;
        return tracer->error;
}
