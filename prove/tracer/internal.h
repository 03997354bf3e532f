/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the tracer know of each other. */
#pragma once

#include "base/macro.h"
#include "prove/tracer/tracer.h"

#define THREADS_MAX 1024

struct thread {
        pid_t tid, pid;
        enum trace_role role;
        unsigned process;
        unsigned threads_born; /* of a process, kept with its first thread */
        bool is_armed;         /* it stops at calls */
        bool is_due;           /* it was interrupted to be armed, and has not stopped yet */
        bool has_entry;        /* `call` is the one that it is in */
        bool is_refused, is_changed;
        bool is_held; /* at an entry: TRACE_HOLD */
        struct trace_call call;
        int64_t refused_result;
        uint64_t arguments[6]; /* as the program gave them, where they were changed */
};

struct tracer {
        struct tracer_options options;
        struct thread threads[THREADS_MAX];
        size_t thread_count;
        pid_t driver;
        int driver_status;
        bool driver_has_ended, driver_is_held, is_released, driver_is_loose;
        pid_t doomed_pid, doomed_tid;  /* it is killed once none of its other threads is traced any more; 0 */
        unsigned supervisors, workers; /* born so far */
        int error;
};

/* role.c */
struct thread *thread_find(struct tracer *tracer, pid_t tid);
struct thread *thread_first(struct tracer *tracer, pid_t pid); /* of the process */
/* Finds out what it is. NULL: it is gone already. */
struct thread *thread_add(struct tracer *tracer, pid_t tid);
void thread_remove(struct tracer *tracer, const struct thread *thread);
void thread_execute(struct tracer *tracer, struct thread *thread);
void process_tell(struct tracer *tracer, const struct thread *thread, int what, int status);

/* stop.c */
bool thread_is_watched(const struct tracer *tracer, const struct thread *thread);
void thread_resume(struct tracer *tracer, struct thread *thread, int signal_number);
void stop_handle(struct tracer *tracer, struct thread *thread, int status);

/* call.c */
void call_handle(struct tracer *tracer, struct thread *thread);
void held_ask(struct tracer *tracer); /* after each event */

/* doom.c */
void doom(struct tracer *tracer, const struct thread *thread);
void doom_step(struct tracer *tracer); /* after each event */

/* registers.c: 0 or -errno (-ESRCH: it was killed meanwhile). */
int registers_refuse(pid_t tid);
int registers_arguments(pid_t tid, const uint64_t arguments[6]);
int registers_result(pid_t tid, int64_t result);
