/* SPDX-License-Identifier: Apache-2.0 */
/* P6: what this process can no longer do, once its threads run: make processes, execute programs,
 * io_uring, aio. So S1 holds by force: nothing but the mover's own system calls has effects.
 * Must not be called before the last thread is started. */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/priority.h"
#include "base/sanitize.h"
#include "worker/worker.h"

#define WORKER_NICE (-10)
#define WORKER_SLICE_USEC 200u

static const int forbidden_calls[] = {
        SCMP_SYS(fork),
        SCMP_SYS(vfork),
        SCMP_SYS(execve),
        SCMP_SYS(execveat),
        SCMP_SYS(io_uring_setup),
        SCMP_SYS(io_uring_enter),
        SCMP_SYS(io_uring_register),
        SCMP_SYS(io_setup),
        SCMP_SYS(io_submit),
        SCMP_SYS(process_vm_writev),
#if !SANITIZE_ADDRESS
        SCMP_SYS(ptrace),
#endif
};

/* Flags without one of these make a process. A thread of ours is none; and in a sanitized build the leak detector
 * stops and reads this process, at its end, from a helper of the same memory, by ptrace. */
#if SANITIZE_ADDRESS
#define CLONE_FLAGS_ALLOWED ((unsigned) CLONE_THREAD | (unsigned) CLONE_UNTRACED)
#else
#define CLONE_FLAGS_ALLOWED ((unsigned) CLONE_THREAD)
#endif

/* Trapped: the call is refused all the same, and signals.c leaves a note that the fault is the worker's own
 * before SIGSYS kills it (M6). A kill by the filter itself would run no handler. */
static int rules_add(scmp_filter_ctx context) {
        int r;

        for (size_t i = 0; i < ELEMENTSOF(forbidden_calls); i++) {
                r = seccomp_rule_add(context, SCMP_ACT_TRAP, forbidden_calls[i], 0);
                if (r < 0)
                        return r;
        }
        r = seccomp_rule_add(context, SCMP_ACT_TRAP, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_FLAGS_ALLOWED, 0));
        if (r < 0)
                return r;
        /* clone3's flags cannot be read by a filter, so libc is sent back to clone(). */
        return seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

int confine(struct failure *ret_failure) {
        scmp_filter_ctx context;
        int r;

        context = seccomp_init(SCMP_ACT_ALLOW);
        if (!context)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP,
                                   "no memory for the system-call filter");
        r = seccomp_attr_set(context, SCMP_FLTATR_CTL_TSYNC, 1);
        if (r >= 0)
                r = rules_add(context);
        if (r >= 0)
                r = seccomp_load(context);
        seccomp_release(context);
        if (r < 0)
                return failure_set(
                        ret_failure, r, FAILURE_STOP,
                        "the kernel refuses the system-call filter (P6): %s; it needs CONFIG_SECCOMP_FILTER",
                        strerror(-r));
        return 0;
}

void confine_resources(bool cores) {
        struct rlimit limit;

        /* ● A core delays the proof of death: 2.8 ms at 2 MiB, 70 ms at 64 MiB. */
        if (!cores) {
                limit = (struct rlimit){ 1, 1 }; /* not 0: a core_pattern that is a pipe ignores 0, never 1 */
                (void) setrlimit(RLIMIT_CORE, &limit);
        }
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max; /* three descriptors for each open source */
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }
        (void) prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* short sleeps at a lock stay short */
        /* Where the unit grants it (S7); `baton status` says when not. The slice needs no grant. */
        (void) priority_set(WORKER_NICE, WORKER_SLICE_USEC);
}
