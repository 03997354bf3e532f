/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that are traced, and what each of them is.
 *
 * A process is known by its program: at its birth it has its parent's (so a child of batond is the worker to
 * be, and a child of a worker its keeper), after an exec its own. A worker makes its takeover thread first
 * and its control thread second; no call of theirs comes before we know, as the worker stands still at each
 * clone until we have seen the thread. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/tracer/internal.h"

static const char *const role_names[] = {
        [TRACE_DRIVER] = "driver",         [TRACE_COMMAND] = "command", [TRACE_APPLICATION] = "application",
        [TRACE_SUPERVISOR] = "supervisor", [TRACE_MOVER] = "mover",     [TRACE_TAKEOVER] = "takeover",
        [TRACE_CONTROL] = "control",       [TRACE_MEMORY] = "memory",
};
static_assert(ELEMENTSOF(role_names) == TRACE_ROLE_COUNT, "a role has no name");

const char *trace_role_name(enum trace_role role) {
        return (unsigned) role < TRACE_ROLE_COUNT ? role_names[role] : "unknown";
}

enum trace_role trace_role_find(const char *name) {
        for (unsigned i = 0; i < TRACE_ROLE_COUNT; i++)
                if (strcmp(role_names[i], name) == 0)
                        return (enum trace_role) i;
        return TRACE_ROLE_COUNT;
}

/* ---- what /proc says --------------------------------------------------------------------------- */
/* False: it is gone, or let go of again before we were told of its birth. */
static bool process_and_parent(pid_t tid, pid_t *ret_pid, pid_t *ret_parent) {
        char path[64], text[1024];
        _cleanup_fd_ int fd = -1;
        const char *group, *parent, *tracer;
        ssize_t bytes;

        (void) snprintf(path, sizeof(path), "/proc/%d/status", (int) tid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        bytes = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
        if (bytes <= 0)
                return false;
        text[bytes] = '\0';
        group = strstr(text, "\nTgid:");
        parent = strstr(text, "\nPPid:");
        tracer = strstr(text, "\nTracerPid:");
        if (!group || !parent || !tracer ||
            strtol(tracer + strlen("\nTracerPid:"), NULL, 10) != (long) getpid())
                return false;
        *ret_pid = (pid_t) strtol(group + strlen("\nTgid:"), NULL, 10);
        *ret_parent = (pid_t) strtol(parent + strlen("\nPPid:"), NULL, 10);
        return true;
}

/* The last part of its name; "": nobody can say (it is dead, or the kernel's). */
static void program_of(pid_t pid, char *ret_name, size_t name_bytes) {
        char path[64], target[PATH_MAX];
        const char *name;
        ssize_t bytes;

        (void) snprintf(path, sizeof(path), "/proc/%d/exe", (int) pid);
        bytes = readlink(path, target, sizeof(target) - 1);
        target[bytes > 0 ? bytes : 0] = '\0';
        name = strrchr(target, '/');
        (void) snprintf(ret_name, name_bytes, "%.*s", (int) name_bytes - 1, name ? name + 1 : target);
}

/* ---- the table --------------------------------------------------------------------------------- */
struct thread *thread_find(struct tracer *tracer, pid_t tid) {
        for (size_t i = tracer->thread_count; i-- > 0;)
                if (tracer->threads[i].tid == tid)
                        return &tracer->threads[i];
        return NULL;
}

struct thread *thread_first(struct tracer *tracer, pid_t pid) {
        return thread_find(tracer, pid);
}

void thread_remove(struct tracer *tracer, const struct thread *thread) {
        size_t i = (size_t) (thread - tracer->threads);

        assert(i < tracer->thread_count);
        tracer->threads[i] = tracer->threads[--tracer->thread_count];
}

void process_tell(struct tracer *tracer, const struct thread *thread, int what, int status) {
        const struct trace_process process = { .pid = thread->pid,
                                               .role = thread->role,
                                               .process = thread->process,
                                               .what = what,
                                               .status = status };

        if (tracer->options.on_process && thread->tid == thread->pid && thread->role != TRACE_DRIVER)
                tracer->options.on_process(tracer, &process, tracer->options.context);
}

static void thread_born(struct tracer *tracer, struct thread *thread) {
        static const enum trace_role in_order[] = { TRACE_TAKEOVER, TRACE_CONTROL };
        struct thread *first = thread_first(tracer, thread->pid);

        thread->role = TRACE_COMMAND;
        if (!first)
                return;
        thread->process = first->process;
        thread->role = first->role;
        if (first->role == TRACE_MOVER)
                thread->role = first->threads_born < ELEMENTSOF(in_order) ? in_order[first->threads_born]
                                                                          : TRACE_COMMAND;
        first->threads_born++;
}

static void process_born(struct tracer *tracer, struct thread *thread, pid_t parent) {
        const struct thread *above = thread_first(tracer, parent);
        char program[NAME_MAX + 1];

        program_of(thread->pid, program, sizeof(program));
        thread->role = above && above->role == TRACE_DRIVER ? TRACE_APPLICATION : TRACE_COMMAND;
        if (strcmp(program, "batond") == 0) {
                thread->role = TRACE_MOVER;
                thread->process = ++tracer->workers;
        } else if (strcmp(program, "baton-worker") == 0) {
                thread->role = TRACE_MEMORY;
                thread->process = above ? above->process : 0;
        }
}

struct thread *thread_add(struct tracer *tracer, pid_t tid) {
        struct thread *thread = thread_find(tracer, tid);
        pid_t pid, parent;

        if (thread)
                return thread;
        if (!process_and_parent(tid, &pid, &parent))
                return NULL;
        if (tracer->thread_count == THREADS_MAX) {
                tracer->error = -ENOBUFS;
                return NULL;
        }
        thread = &tracer->threads[tracer->thread_count++];
        *thread = (struct thread){ .tid = tid, .pid = pid };
        if (pid != tid)
                thread_born(tracer, thread);
        else if (pid == tracer->driver)
                thread->role = TRACE_DRIVER;
        else
                process_born(tracer, thread, parent);
        process_tell(tracer, thread, TRACE_BORN, 0);
        return thread;
}

void thread_execute(struct tracer *tracer, struct thread *thread) {
        char program[NAME_MAX + 1];

        program_of(thread->pid, program, sizeof(program));
        thread->threads_born = 0;
        if (strcmp(program, "batond") == 0) {
                thread->role = TRACE_SUPERVISOR;
                thread->process = ++tracer->supervisors;
        } else if (strcmp(program, "baton-worker") == 0) {
                thread->process = thread->role == TRACE_MOVER ? thread->process : ++tracer->workers;
                thread->role = TRACE_MOVER;
        } else {
                thread->role = TRACE_COMMAND;
                thread->process = 0;
        }
        process_tell(tracer, thread, TRACE_EXECUTED, 0);
}
