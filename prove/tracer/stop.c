/* SPDX-License-Identifier: Apache-2.0 */
/* A thread has stopped: why, and how it goes on.
 *
 * Signals are passed on as they came, and a process that was stopped by one stays stopped (PTRACE_LISTEN).
 * PTRACE_O_TRACEEXIT is not asked for: a stop there would come before the kernel walks the robust list, and
 * hold up the very death that the others are to hear of. */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "prove/tracer/internal.h"

bool thread_is_watched(const struct tracer *tracer, const struct thread *thread) {
        return !tracer->is_released && thread->role != TRACE_DRIVER &&
               (tracer->options.roles & TRACE_BIT(thread->role)) != 0;
}

/* It stands in a call that was refused or changed: what the program is to see of it is put there at the exit
 * (T7), whoever has stopped watching meanwhile. */
static bool thread_owes_exit(const struct thread *thread) {
        return thread->has_entry && (thread->is_refused || thread->is_changed);
}

/* A failure means that it was killed where it stood: waitpid() tells. */
void thread_resume(struct tracer *tracer, struct thread *thread, int signal_number) {
        const bool is_free = tracer->is_released && thread->role != TRACE_DRIVER && !thread_owes_exit(thread);
        unsigned long data = (unsigned long) signal_number;

        if (is_free || thread->pid == tracer->doomed_pid) {
                if (ptrace(PTRACE_DETACH, thread->tid, NULL, data) == 0)
                        thread_remove(tracer, thread);
                return;
        }
        if (tracer->is_released && thread->role == TRACE_DRIVER && !tracer->driver_is_loose) {
                /* What it starts from now on is none of our business. */
                (void) ptrace(PTRACE_SETOPTIONS, thread->tid, NULL, (unsigned long) PTRACE_O_EXITKILL);
                tracer->driver_is_loose = true;
        }
        thread->is_armed = thread_is_watched(tracer, thread) || thread_owes_exit(thread);
        thread->is_due = false;
        (void) ptrace(thread->is_armed ? PTRACE_SYSCALL : PTRACE_CONT, thread->tid, NULL, data);
}

static bool stops_a_process(int signal_number) {
        return signal_number == SIGSTOP || signal_number == SIGTSTP || signal_number == SIGTTIN ||
               signal_number == SIGTTOU;
}

static void mark_handle(struct tracer *tracer, struct thread *thread) {
        siginfo_t info;

        if (ptrace(PTRACE_GETSIGINFO, thread->tid, NULL, &info) < 0)
                return;
        if (info.si_code != SI_QUEUE) {
                thread_resume(tracer, thread, SIGURG);
                return;
        }
        tracer->driver_is_held = true; /* tracer_run() lets it go on when all are armed */
        if (tracer->options.on_mark)
                tracer->options.on_mark(tracer, (uint64_t) (uintptr_t) info.si_value.sival_ptr,
                                        tracer->options.context);
}

/* What the parent made is known before the parent goes on, in whatever order we are told. */
static void child_handle(struct tracer *tracer, struct thread *thread) {
        unsigned long tid = 0;
        pid_t parent = thread->tid;

        if (ptrace(PTRACE_GETEVENTMSG, parent, NULL, &tid) == 0 && tid > 0)
                (void) thread_add(tracer, (pid_t) tid);
        thread = thread_find(tracer, parent);
        if (thread)
                thread_resume(tracer, thread, 0);
}

/* All other threads of the process are gone, and the one that executed has the number of the process. */
static void execute_handle(struct tracer *tracer, struct thread *thread) {
        const pid_t pid = thread->pid;

        for (size_t i = tracer->thread_count; i-- > 0;)
                if (tracer->threads[i].pid == pid && tracer->threads[i].tid != pid)
                        thread_remove(tracer, &tracer->threads[i]);
        thread = thread_find(tracer, pid);
        if (!thread)
                return;
        thread_execute(tracer, thread);
        thread_resume(tracer, thread, 0);
}

void stop_handle(struct tracer *tracer, struct thread *thread, int status) {
        const int signal_number = WSTOPSIG(status), event = (int) ((unsigned) status >> 16);

        const bool stays = !tracer->is_released && thread->pid != tracer->doomed_pid;

        if (event == PTRACE_EVENT_STOP && stops_a_process(signal_number) && stays) {
                thread->is_due = false;
                (void) ptrace(PTRACE_LISTEN, thread->tid, NULL, NULL);
        } else if (event == PTRACE_EVENT_EXEC)
                execute_handle(tracer, thread);
        else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE)
                child_handle(tracer, thread);
        else if (event != 0)
                thread_resume(tracer, thread, 0);
        else if (signal_number == (SIGTRAP | 0x80))
                call_handle(tracer, thread);
        else if (signal_number == SIGURG && thread->role == TRACE_DRIVER)
                mark_handle(tracer, thread);
        else
                thread_resume(tracer, thread, signal_number);
}
