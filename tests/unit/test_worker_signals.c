/* SPDX-License-Identifier: Apache-2.0 */
/* M6: only a fault of its own leaves its number behind. The faults happen in a child with the worker's own
 * handlers; what they leave is read from memory that both share, as a successor reads it. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/worker.h"

static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };

static struct layout_worker *record; /* shared with the child */

static void setup(void) {
        record = mmap(NULL, sizeof(*record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(record, MAP_FAILED);
}

TestSuite(signals, .init = setup);

static void queue(pid_t pid, int signal_number, int code) {
        siginfo_t info = { .si_signo = signal_number, .si_code = code };

        info.si_pid = getpid();
        (void) syscall(SYS_rt_sigqueueinfo, pid, signal_number, &info);
}

enum how { BY_RAISE, BY_KILL, BY_QUEUE, BY_KERNEL, BY_FILTER, BY_ABORT, BY_TIMER, BY_NOBODY };

static void cause(enum how how, int signal_number) {
        switch (how) {
        case BY_RAISE:
                (void) raise(signal_number);
                break;
        case BY_KILL:
                (void) kill(getpid(), signal_number);
                break;
        case BY_QUEUE:
                queue(getpid(), signal_number, SI_QUEUE);
                break;
        case BY_TIMER: /* carries no sender: its number stands where a pid would */
                queue(getpid(), signal_number, SI_TIMER);
                break;
        case BY_KERNEL:
                *(volatile char *) mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
                break;
        case BY_FILTER: /* P6 */
                if (confine(NULL) < 0)
                        _exit(98);
                (void) syscall(SYS_fork);
                break;
        case BY_ABORT:
                abort();
        case BY_NOBODY:
                break;
        }
}

/* The child installs the handlers, tells that it did, does `how` to itself, and waits to be hurt. */
static pid_t victim(enum how how, int signal_number) {
        struct segment segment = { .workers = { (char *) record, sizeof(*record) } };
        struct worker worker = { .segment = &segment, .ref = worker_ref(0, 1), .wake_fd = -1 };
        int ready[2];
        char byte = 0;
        pid_t pid;

        atomic_store(&record->fault_signal, 0);
        cr_assert_eq(pipe(ready), 0);
        pid = fork();
        if (pid == 0) {
                if (signals_install(&worker) < 0)
                        _exit(99);
                (void) !write(ready[1], "!", 1);
                cause(how, signal_number);
                for (;;)
                        (void) pause();
        }
        cr_assert_gt(pid, 0);
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        (void) close(ready[0]);
        (void) close(ready[1]);
        return pid;
}

/* It dies of the signal in every case; the number that is left is another matter. */
static int left_by(pid_t pid, int signal_number) {
        int status = 0;

        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == signal_number, "signal %d: status %#x",
                  signal_number, (unsigned) status);
        return (int) atomic_load(&record->fault_signal);
}

Test(signals, M6_its_own_fault_leaves_its_number) {
        cr_expect_eq(left_by(victim(BY_KERNEL, SIGSEGV), SIGSEGV), SIGSEGV, "a page that is not there");
        cr_expect_eq(left_by(victim(BY_ABORT, SIGABRT), SIGABRT), SIGABRT, "abort()");
        cr_expect_eq(left_by(victim(BY_FILTER, SIGSYS), SIGSYS), SIGSYS, "a call that P6 forbids");
        for (size_t i = 0; i < ELEMENTSOF(fault_signals); i++)
                for (enum how how = BY_RAISE; how <= BY_QUEUE; how++)
                        cr_expect_eq(left_by(victim(how, fault_signals[i]), fault_signals[i]),
                                     fault_signals[i], "signal %d, sent by itself (%d)", fault_signals[i],
                                     how);
}

Test(signals, M6_a_fault_that_another_sent_leaves_nothing) {
        for (size_t i = 0; i < ELEMENTSOF(fault_signals); i++) {
                pid_t pid = victim(BY_NOBODY, 0);

                cr_assert_eq(kill(pid, fault_signals[i]), 0);
                cr_expect_eq(left_by(pid, fault_signals[i]), 0, "kill, signal %d", fault_signals[i]);

                pid = victim(BY_NOBODY, 0);
                cr_assert_eq(syscall(SYS_tgkill, pid, pid, fault_signals[i]), 0);
                cr_expect_eq(left_by(pid, fault_signals[i]), 0, "tgkill, signal %d", fault_signals[i]);

                pid = victim(BY_NOBODY, 0);
                queue(pid, fault_signals[i], SI_QUEUE);
                cr_expect_eq(left_by(pid, fault_signals[i]), 0, "sigqueue, signal %d", fault_signals[i]);
        }
}

Test(signals, M6_a_signal_without_a_sender_leaves_nothing) {
        cr_expect_eq(left_by(victim(BY_TIMER, SIGSEGV), SIGSEGV), 0);
}
