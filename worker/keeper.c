/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: a process that shares this worker's memory, has no descriptor, and does nothing but end when
 * the worker has ended.
 *
 * A dying process gives up its memory first and its files after it, and SQLite's locks with the files. ● To
 * tear 9 MiB down took 1.3 ms here, traced: so long an heir that has known of the death for 1.2 ms
 * waits for the dead one's lock. The last user of a memory pays for its end. That is the keeper then, at the
 * lowest priority, while the worker's files, its locks and its pidfd are free at once, whatever its size.
 *
 * What must hold:
 *   - It closes every descriptor that it inherits but the pipe, or a lock (workers.lock: S11) would outlive
 *     the worker.
 *   - It runs on the mover's thread-local storage: no C library in it, not even errno. Signals stay blocked.
 *   - It can read and exit, and nothing else: it shares memory with what confine() confines later (P6). A filter
 *     of its own, because "strict" is refused to who has a filter already (a unit's, a container's).
 * We die here: at any point of keeper_start() the kernel kills the keeper with its parent, or the keeper sees
 * that the parent has changed. Killed alone, it is missed by nobody: the worker pays for its end itself. */
#include "worker/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macro.h"
#include "base/sanitize.h"

#define KEEPER_NICE 19
#define STACK_BYTES 16384u

struct keeper {
        pid_t worker_pid;
        int read_fd; /* end of file: the worker's files are closed */
};

#if defined(__x86_64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define THIS_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCHITECTURE, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
static const struct sock_fprog program = { .len = ELEMENTSOF(filter), .filter = filter };

/* The C library's wrapper would write errno, which is the mover's. */
static inline __attribute__((always_inline)) long call(long number, long a, long b, long c) {
        long result;

#if defined(__x86_64__)
        register long r10 __asm__("r10") = 0;
        register long r8 __asm__("r8") = 0;

        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                         : "rcx", "r11", "memory");
#elif defined(__aarch64__)
        register long x8 __asm__("x8") = number;
        register long x0 __asm__("x0") = a;
        register long x1 __asm__("x1") = b;
        register long x2 __asm__("x2") = c;
        register long x3 __asm__("x3") = 0;
        register long x4 __asm__("x4") = 0;

        __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
        result = x0;
#else
        (void) number, (void) a, (void) b, (void) c;
        result = -ENOSYS; /* keeper_start() does not come here */
#endif
        return result;
}

__attribute__((no_sanitize("address", "undefined", "thread"))) static int keeper_main(void *argument) {
        const struct keeper *keeper = argument;
        long fd = keeper->read_fd;
        char byte;

        (void) call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
        if (call(SYS_getppid, 0, 0, 0) != keeper->worker_pid)
                (void) call(SYS_exit, 0, 0, 0);
        /* Refused (a container's filter): what it cannot give up it must not hold at nice 19. */
        if ((fd > 0 && call(SYS_close_range, 0, fd - 1, 0) < 0) ||
            call(SYS_close_range, fd + 1, (long) UINT32_MAX, 0) < 0)
                (void) call(SYS_exit, 0, 0, 0);
        (void) call(SYS_setpriority, PRIO_PROCESS, 0, KEEPER_NICE);
        (void) call(SYS_prctl, PR_SET_NAME, (long) "baton-memory", 0);
        if (call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0) < 0 ||
            call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long) &program) < 0)
                (void) call(SYS_exit, 0, 0, 0);
        (void) call(SYS_read, fd, (long) &byte, 1);
        (void) call(SYS_exit, 0, 0, 0);
        return 0;
}

/* ThreadSanitizer's own clone() takes the child for one with a memory of its own, and lets go of its locks
 * twice. This is the C library's, by its other name. */
#if SANITIZE_THREAD
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...); /* NOLINT */
#define clone __clone
#endif

static int keeper_clone(struct keeper *keeper, pid_t *ret_pid) {
        static _Alignas(16) uint8_t stack[STACK_BYTES];
        sigset_t all, before;
        pid_t pid;
        int r;

        (void) sigfillset(&all);
        r = -pthread_sigmask(SIG_SETMASK, &all, &before);
        if (r < 0)
                return r;
        pid = clone(keeper_main, stack + sizeof(stack), CLONE_VM, keeper);
        r = pid < 0 ? -errno : 0;
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r >= 0 && ret_pid)
                *ret_pid = pid;
        return r;
}

int keeper_start(pid_t *ret_pid) {
        static struct keeper keeper; /* static: the keeper reads it after we have returned */
        int fds[2], r;

#if !defined(__x86_64__) && !defined(__aarch64__)
        return -EOPNOTSUPP;
#endif
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        keeper = (struct keeper){ .worker_pid = getpid(), .read_fd = fds[0] };
        r = keeper_clone(&keeper, ret_pid);
        fd_close(&fds[0]);
        if (r < 0)
                fd_close(&fds[1]);
        return r; /* the other end stays open until the worker's files are closed */
}
