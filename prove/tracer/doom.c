/* SPDX-License-Identifier: Apache-2.0 */
/* A kill that looks to everybody as if nobody had traced.
 *
 * A traced process that dies is the tracer's to reap first. Meanwhile its pidfd is readable, and its parent
 * finds nothing to reap (the parent that asks just then and never again is no fiction). So all other threads
 * are let go of; then the one that stands at the call is, with the signal as a parting gift: the kernel
 * delivers it before the thread goes on, so at an entry the call never happens. */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>

#include "prove/tracer/internal.h"

void doom(struct tracer *tracer, const struct thread *thread) {
        const struct thread *first = thread_first(tracer, thread->pid);

        if (tracer->doomed_pid) { /* one at a time: this one dies traced */
                tracer_kill(thread->pid);
                return;
        }
        if (first)
                process_tell(tracer, first, TRACE_ENDED, SIGKILL);
        tracer->doomed_pid = thread->pid;
        tracer->doomed_tid = thread->tid;
        for (size_t i = 0; i < tracer->thread_count; i++)
                if (tracer->threads[i].pid == thread->pid && tracer->threads[i].tid != thread->tid)
                        (void) ptrace(PTRACE_INTERRUPT, tracer->threads[i].tid, NULL, NULL);
}

void doom_step(struct tracer *tracer) {
        struct thread *thread;

        if (!tracer->doomed_pid)
                return;
        for (size_t i = 0; i < tracer->thread_count; i++)
                if (tracer->threads[i].pid == tracer->doomed_pid &&
                    tracer->threads[i].tid != tracer->doomed_tid)
                        return;
        thread = thread_find(tracer, tracer->doomed_tid);
        /* ESRCH: somebody else has killed it meanwhile, and waitpid() tells. */
        if (thread && ptrace(PTRACE_DETACH, thread->tid, NULL, (unsigned long) SIGKILL) == 0)
                thread_remove(tracer, thread);
        tracer->doomed_pid = tracer->doomed_tid = 0;
}
