/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: SIGTERM and SIGINT drain (M10); a fault leaves its number in the worker's record before the
 * process dies of it, so that the successor knows that the event in hand may be the culprit (M6). A fault
 * that somebody else sent kills too, but leaves nothing: it says no more of the event than SIGKILL does.
 * Handlers touch atomics of the segment and an eventfd, nothing else. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "worker/worker.h"

static struct worker *the_worker; /* set once, before the handlers are installed */
static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };

static void on_drain(int signal_number) {
        int saved_errno = errno;

        (void) signal_number;
        worker_drain(the_worker, DRAIN_LEAVE);
        errno = saved_errno;
}

/* The kernel's own codes are above 0, and nobody can send those to another process. raise() and abort()
 * are SI_TKILL from ourselves. Of codes that carry no sender (timers and the like) nobody knows. */
bool signal_is_own_fault(const siginfo_t *info) {
        if (info->si_code > 0)
                return true;
        if (info->si_code != SI_TKILL && info->si_code != SI_USER && info->si_code != SI_QUEUE)
                return false;
        return info->si_pid == getpid();
}

/* SA_RESETHAND: the signal, raised again or caused again on return, then kills with its own number. */
static void on_fault(int signal_number, siginfo_t *info, void *context) {
        (void) context;
        if (signal_is_own_fault(info))
                atomic_store(&worker_record(the_worker)->fault_signal, (uint32_t) signal_number);
        (void) raise(signal_number);
}

int signals_install(struct worker *worker) {
        static char stack[16384]; /* a fault may be the stack's own */
        const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
        struct sigaction drain = { .sa_handler = on_drain, .sa_flags = SA_RESTART };
        struct sigaction fault = { .sa_sigaction = on_fault,
                                   .sa_flags = (int) SA_RESETHAND | SA_ONSTACK | SA_NODEFER | SA_SIGINFO };

        assert(worker);
        the_worker = worker;
        if (sigaltstack(&alternate, NULL) < 0)
                return -errno;
        if (sigaction(SIGTERM, &drain, NULL) < 0 || sigaction(SIGINT, &drain, NULL) < 0)
                return -errno;
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGHUP, SIG_IGN) == SIG_ERR)
                return -errno;
        for (size_t i = 0; i < ELEMENTSOF(fault_signals); i++)
                if (sigaction(fault_signals[i], &fault, NULL) < 0)
                        return -errno;
        return 0;
}
