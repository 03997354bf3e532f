/* SPDX-License-Identifier: Apache-2.0 */
/* A thread stands at the entry or at the exit of a call: ask, and do as the verdict says.
 *
 * Must not touch: a thread that another thread's death has just killed. What fails with ESRCH here is told
 * by waitpid() later. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>

#include "prove/tracer/internal.h"

static void note_error(struct tracer *tracer, int r) {
        if (r < 0 && r != -ESRCH && tracer->error == 0)
                tracer->error = r;
}

static enum trace_verdict ask(struct tracer *tracer, struct thread *thread) {
        if (!tracer->options.on_call || !thread_is_watched(tracer, thread) ||
            thread->pid == tracer->doomed_pid)
                return TRACE_GO;
        return tracer->options.on_call(tracer, &thread->call, tracer->options.context);
}

/* True: it stays where it is, to be killed or held. */
static bool entry_ask(struct tracer *tracer, struct thread *thread) {
        thread->is_held = false;
        switch (ask(tracer, thread)) {
        case TRACE_GO:
                break;
        case TRACE_KILL:
                doom(tracer, thread);
                return true;
        case TRACE_CHANGE:
                thread->is_changed = true;
                note_error(tracer, registers_arguments(thread->tid, thread->call.arguments));
                break;
        case TRACE_REFUSE:
                thread->is_refused = true;
                thread->refused_result = thread->call.result;
                note_error(tracer, registers_refuse(thread->tid));
                break;
        case TRACE_HOLD:
                thread->is_held = true;
                thread->is_due = false;
                return true;
        }
        return false;
}

static bool entry_handle(struct tracer *tracer, struct thread *thread,
                         const struct __ptrace_syscall_info *info) {
        thread->call = (struct trace_call){ .pid = thread->pid,
                                            .tid = thread->tid,
                                            .role = thread->role,
                                            .process = thread->process,
                                            .is_entry = true,
                                            .number = info->entry.nr,
                                            .instruction_pointer = info->instruction_pointer,
                                            .stack_pointer = info->stack_pointer };
        memcpy(thread->call.arguments, info->entry.args, sizeof(thread->call.arguments));
        memcpy(thread->arguments, info->entry.args, sizeof(thread->arguments));
        thread->has_entry = true;
        thread->is_refused = thread->is_changed = false;
        return entry_ask(tracer, thread);
}

/* Whom nobody watches any more, or whose process is to be killed, is let go as well: ask() says so. A resumed thread may
 * be removed, so the list is gone through from its end. */
void held_ask(struct tracer *tracer) {
        for (size_t i = tracer->thread_count; i-- > 0;) {
                struct thread *thread = i < tracer->thread_count ? &tracer->threads[i] : NULL;

                if (thread && thread->is_held && !entry_ask(tracer, thread))
                        thread_resume(tracer, thread, 0);
        }
}

/* A program relies on it that a call leaves its argument registers as they were. */
static bool exit_handle(struct tracer *tracer, struct thread *thread,
                        const struct __ptrace_syscall_info *info) {
        enum trace_verdict verdict;

        if (!thread->has_entry)
                return false; /* it was in this call when we came */
        thread->has_entry = false;
        thread->call.is_entry = false;
        thread->call.result = thread->is_refused ? thread->refused_result : info->exit.rval;
        thread->call.instruction_pointer = info->instruction_pointer;
        thread->call.stack_pointer = info->stack_pointer;
        if (thread->is_changed)
                note_error(tracer, registers_arguments(thread->tid, thread->arguments));
        verdict = ask(tracer, thread);
        if (verdict == TRACE_KILL) {
                doom(tracer, thread);
                return true;
        }
        if (verdict == TRACE_CHANGE || thread->is_refused)
                note_error(tracer, registers_result(thread->tid, thread->call.result));
        return false;
}

void call_handle(struct tracer *tracer, struct thread *thread) {
        struct __ptrace_syscall_info info = { 0 };
        bool stays = false;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread->tid, sizeof(info), &info) <= 0)
                return; /* killed meanwhile */
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
                stays = entry_handle(tracer, thread, &info);
        else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
                stays = exit_handle(tracer, thread, &info);
        if (!stays)
                thread_resume(tracer, thread, 0);
}

void tracer_kill(pid_t pid) {
        (void) kill(pid, SIGKILL);
}
