/* SPDX-License-Identifier: Apache-2.0 */
/* A stopped thread's registers: a call refused, its arguments or its result changed.
 *
 * x86-64 alone. On other processors the kernel wants other things done (aarch64: NT_ARM_SYSTEM_CALL), which
 * nobody could try here; there tracer_can_change() says no, and everything else works. */
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "prove/tracer/internal.h"

#if defined(__x86_64__)

bool tracer_can_change(void) {
        return true;
}

static int registers_get(pid_t tid, struct user_regs_struct *ret_registers) {
        return ptrace(PTRACE_GETREGS, tid, NULL, ret_registers) < 0 ? -errno : 0;
}

static int registers_set(pid_t tid, struct user_regs_struct *registers) {
        return ptrace(PTRACE_SETREGS, tid, NULL, registers) < 0 ? -errno : 0;
}

/* No call has the number -1. The kernel answers -ENOSYS, which the exit replaces. */
int registers_refuse(pid_t tid) {
        struct user_regs_struct registers;
        int r;

        r = registers_get(tid, &registers);
        if (r < 0)
                return r;
        registers.orig_rax = UINT64_MAX;
        return registers_set(tid, &registers);
}

int registers_arguments(pid_t tid, const uint64_t arguments[6]) {
        struct user_regs_struct registers;
        int r;

        r = registers_get(tid, &registers);
        if (r < 0)
                return r;
        registers.rdi = arguments[0];
        registers.rsi = arguments[1];
        registers.rdx = arguments[2];
        registers.r10 = arguments[3];
        registers.r8 = arguments[4];
        registers.r9 = arguments[5];
        return registers_set(tid, &registers);
}

int registers_result(pid_t tid, int64_t result) {
        struct user_regs_struct registers;
        int r;

        r = registers_get(tid, &registers);
        if (r < 0)
                return r;
        registers.rax = (uint64_t) result;
        return registers_set(tid, &registers);
}

#else

bool tracer_can_change(void) {
        return false;
}

int registers_refuse(pid_t tid) {
        (void) tid;
        return -EOPNOTSUPP;
}

int registers_arguments(pid_t tid, const uint64_t arguments[6]) {
        (void) tid, (void) arguments;
        return -EOPNOTSUPP;
}

int registers_result(pid_t tid, int64_t result) {
        (void) tid, (void) result;
        return -EOPNOTSUPP;
}

#endif
