/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that are none: what base/process.h, kill(), getpid() and the clock say in a target that is linked with
 * FUZZ_WRAPS (Makefile). So a target can let workers be born, hold locks and die, all in one thread and the same
 * each time. Numbers that no process can have (above the kernel's most) tell them from real ones. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_COUNT_MAX 12
#define FAKE_PID_FIRST 5000000
#define FAKE_STRANGER_PID 4999999 /* lives for ever, and is no worker */

struct fake {
        pid_t pid; /* of its only thread too */
        uint64_t start_ticks;
        int end_fd; /* readable once it is gone: its pidfd */
        bool is_used, is_gone, is_at_disk;
        bool has_workers_lock; /* shared, until it is gone (S11) */
        unsigned term_count;   /* SIGTERMs that it got */
        pid_t thread_id;       /* pid, but for the one that is this thread */
};
extern struct fake fakes[FAKE_COUNT_MAX];

/* Number `index` lives, from now on. */
struct fake *fake_begin(unsigned index);
/* One that is not used yet, or NULL. */
struct fake *fake_begin_any(void);
struct fake *fake_find(pid_t pid);
struct fake *fake_find_thread(pid_t thread_id);
void fake_end(struct fake *fake);
void fakes_forget(void); /* all */

/* Called where a supervisor sends SIGKILL to one of them; it ends it. */
extern void (*fake_on_kill)(struct fake *fake);
/* Called where somebody asks whether the holder of a lock is there: it has waited for a slice of time. */
extern void (*fake_on_wait)(pid_t thread_id);

/* ---- who asks, and when ------------------------------------------------------------------------------ */
extern pid_t fake_own_pid;       /* what getpid() answers; 0: the truth */
extern uint64_t fake_clock_usec; /* what the clock says, one more each time it is asked */
