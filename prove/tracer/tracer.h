/* SPDX-License-Identifier: Apache-2.0 */
/* Follows a driver and every process that comes of it by ptrace, and reports their system calls.
 *
 * tracer_run() forks the driver, which plays a scenario as any test does; whatever it starts is traced from
 * its first instruction. Each call of a thread whose role is watched is reported at its entry and at its
 * exit, and the verdict may kill the process there, refuse the call or change it. The driver speaks to its
 * tracer by tracer_mark(). The calling process should do nothing else: it waits for all of its children.
 *
 * Must not touch: a process that the driver did not start. Knows nothing of events; its roles are Baton's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum trace_role {
        TRACE_DRIVER,      /* the scenario itself: never reported */
        TRACE_COMMAND,     /* baton, baton-checker and any other program */
        TRACE_APPLICATION, /* a child of the driver that executed nothing: writers */
        TRACE_SUPERVISOR,  /* batond */
        TRACE_MOVER,       /* the first thread of a worker, from batond's fork on */
        TRACE_TAKEOVER,
        TRACE_CONTROL,
        TRACE_MEMORY, /* baton-memory, the keeper */
        TRACE_ROLE_COUNT,
};
#define TRACE_BIT(role) (1u << (role))
const char *trace_role_name(enum trace_role role);
enum trace_role trace_role_find(const char *name); /* TRACE_ROLE_COUNT: there is none of this name */

struct trace_call {
        pid_t pid, tid;
        enum trace_role role;
        unsigned process; /* 1 …: which batond, or which worker, in the order of their birth; else 0 */
        bool is_entry;
        uint64_t number; /* SYS_… */
        uint64_t arguments[6];
        int64_t result; /* at the exit alone: what the program sees, -errno where it failed */
        uint64_t instruction_pointer, stack_pointer;
};

enum trace_verdict {
        TRACE_GO,
        TRACE_KILL, /* SIGKILL; at the entry the call never happens, at the exit it has and nothing after it */
        TRACE_CHANGE, /* entry: call->arguments are what the kernel gets; exit: call->result what is seen */
        TRACE_REFUSE, /* entry alone: the call does not happen and call->result is what the program sees */
        TRACE_HOLD, /* entry alone: not yet. The thread stays where it is, and is asked about again after each event */
};

struct tracer;

/* A process that is watched was born, executed a program, or ended (status as of waitpid()). */
struct trace_process {
        pid_t pid;
        enum trace_role role;
        unsigned process;
        enum { TRACE_BORN, TRACE_EXECUTED, TRACE_ENDED } what;
        int status;
};

/* Called in the tracer. Each may be NULL. */
struct tracer_options {
        enum trace_verdict (*on_call)(struct tracer *tracer, struct trace_call *call, void *context);
        void (*on_process)(struct tracer *tracer, const struct trace_process *process, void *context);
        /* The driver stands still meanwhile. */
        void (*on_mark)(struct tracer *tracer, uint64_t mark, void *context);
        void *context;
        unsigned roles; /* TRACE_BIT() of those whose calls are reported from the start */
};

/* Runs driver(argument) in a child, and returns when nothing of what it started is left (what is still
 * traced when the driver ends is killed). *ret_status: the driver's, as of waitpid(). 0 or -errno. */
int tracer_run(const struct tracer_options *options, int (*driver)(void *argument), void *argument,
               int *ret_status);

/* In the driver: on_mark(mark) runs in the tracer, and every thread whose role is watched from now on is
 * known to stop at its next call. Without a tracer: nothing. */
void tracer_mark(uint64_t mark);

/* In a callback. Roles that are no longer watched cost one more stop of each thread, and none after it.
 * Released: each process is let go of for good, at its next stop; the driver alone stays. */
void tracer_watch(struct tracer *tracer, unsigned roles);
void tracer_release(struct tracer *tracer);
void tracer_kill(pid_t pid); /* the whole process */

/* False: on this processor calls cannot be refused or changed, and such a verdict ends the tracer. */
bool tracer_can_change(void);

/* Memory of a process that is traced. The bytes that could be read, or -errno. */
ssize_t tracer_read(pid_t pid, uint64_t address, void *ret_data, size_t bytes);
/* What a descriptor leads to. 0 or -errno. */
int tracer_path(pid_t pid, int fd, char *ret_path, size_t path_bytes);
