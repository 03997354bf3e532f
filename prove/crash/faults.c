/* SPDX-License-Identifier: Apache-2.0 */
/* Which call may fail, and how. What is not here is left out because the kernel does not fail it so (a read of
 * a socket with ENOSPC), or because a failure of it is the death of the program by the C library's own hand.
 *
 * An interrupted or short call is the kernel's right at any time; EIO and ENOSPC are a disk's; EMFILE and
 * ENOMEM a host's; ENOLCK a file system's. A failed sync is M7: what it was to make durable may be lost.
 *
 * An unlock is let alone: no local file system fails one, and SQLite, which makes nearly all of them, looks at
 * no result of it. Where one was lost all the same the lock stays with its process. On a source, applications
 * then wait until the worker closes it; at a destination the mover opens it again (pass.c). */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/macro.h"
#include "prove/crash/crash.h"

#define BIT(fault) (1u << (fault))
#define DISK (BIT(FAULT_EIO) | BIT(FAULT_ENOSPC))

static const struct {
        const char *name;
        int error;
} faults[FAULT_COUNT] = {
        [FAULT_KILL] = { "kill", 0 },          [FAULT_SHORT] = { "short", 0 },
        [FAULT_EIO] = { "EIO", EIO },          [FAULT_ENOSPC] = { "ENOSPC", ENOSPC },
        [FAULT_EINTR] = { "EINTR", EINTR },    [FAULT_ENOMEM] = { "ENOMEM", ENOMEM },
        [FAULT_EMFILE] = { "EMFILE", EMFILE }, [FAULT_EAGAIN] = { "EAGAIN", EAGAIN },
        [FAULT_ENOLCK] = { "ENOLCK", ENOLCK },
};

static const struct {
        uint16_t number;
        unsigned faults;
} calls[] = {
        /* a disk that is broken, full, slow, or interrupted */
        { SYS_pwrite64, DISK | BIT(FAULT_EINTR) | BIT(FAULT_SHORT) },
        { SYS_write, DISK | BIT(FAULT_EINTR) | BIT(FAULT_SHORT) },
        { SYS_pread64, BIT(FAULT_EIO) | BIT(FAULT_EINTR) | BIT(FAULT_SHORT) },
        { SYS_read, BIT(FAULT_EIO) | BIT(FAULT_EINTR) },
        { SYS_fsync, DISK },
        { SYS_fdatasync, DISK },
        { SYS_ftruncate, DISK | BIT(FAULT_EINTR) },
        { SYS_fallocate, DISK | BIT(FAULT_EINTR) },
        { SYS_renameat, DISK },
        { SYS_renameat2, DISK },
        { SYS_unlinkat, BIT(FAULT_EIO) },
        { SYS_mkdirat, DISK },
        { SYS_statx, BIT(FAULT_EIO) | BIT(FAULT_ENOMEM) },
        { SYS_newfstatat, BIT(FAULT_EIO) | BIT(FAULT_ENOMEM) },
        { SYS_getdents64, BIT(FAULT_EIO) },
        { SYS_fcntl, BIT(FAULT_EINTR) | BIT(FAULT_ENOLCK) },
        { SYS_flock, BIT(FAULT_EINTR) | BIT(FAULT_ENOLCK) },
        /* a host at its limits */
        { SYS_openat, BIT(FAULT_EMFILE) | BIT(FAULT_ENOMEM) | BIT(FAULT_EIO) | BIT(FAULT_EINTR) },
        { SYS_socket, BIT(FAULT_EMFILE) | BIT(FAULT_ENOMEM) },
        { SYS_eventfd2, BIT(FAULT_EMFILE) | BIT(FAULT_ENOMEM) },
        { SYS_pipe2, BIT(FAULT_EMFILE) },
        { SYS_epoll_create1, BIT(FAULT_EMFILE) | BIT(FAULT_ENOMEM) },
        { SYS_timerfd_create, BIT(FAULT_EMFILE) | BIT(FAULT_ENOMEM) },
        { SYS_signalfd4, BIT(FAULT_EMFILE) | BIT(FAULT_ENOMEM) },
        { SYS_pidfd_open, BIT(FAULT_EMFILE) | BIT(FAULT_ENOMEM) },
        { SYS_inotify_init1, BIT(FAULT_EMFILE) | BIT(FAULT_ENOMEM) },
        { SYS_inotify_add_watch, BIT(FAULT_ENOSPC) | BIT(FAULT_ENOMEM) },
        { SYS_mmap, BIT(FAULT_ENOMEM) },
        { SYS_clone, BIT(FAULT_EAGAIN) | BIT(FAULT_ENOMEM) },
        { SYS_clone3, BIT(FAULT_EAGAIN) | BIT(FAULT_ENOMEM) },
        { SYS_execve, BIT(FAULT_ENOMEM) | BIT(FAULT_EIO) },
        { SYS_sendto, BIT(FAULT_EAGAIN) | BIT(FAULT_ENOMEM) },
        { SYS_sendmsg, BIT(FAULT_EAGAIN) | BIT(FAULT_ENOMEM) },
        /* waits that a signal ends */
        { SYS_ppoll, BIT(FAULT_EINTR) },
        { SYS_futex, BIT(FAULT_EINTR) },
        { SYS_futex_waitv, BIT(FAULT_EINTR) },
#if defined(__x86_64__)
        { SYS_rename, DISK },
        { SYS_unlink, BIT(FAULT_EIO) },
        { SYS_mkdir, DISK },
        { SYS_poll, BIT(FAULT_EINTR) },
        { SYS_epoll_wait, BIT(FAULT_EINTR) },
#endif
};

const char *fault_name(enum fault fault) {
        assert((unsigned) fault < FAULT_COUNT);
        return faults[fault].name;
}

int fault_error(enum fault fault) {
        assert((unsigned) fault < FAULT_COUNT);
        return faults[fault].error;
}

enum fault fault_find(const char *name) {
        for (unsigned i = 1; i < FAULT_COUNT; i++)
                if (strcmp(faults[i].name, name) == 0)
                        return (enum fault) i;
        return FAULT_KILL;
}

bool fault_fits(enum fault fault, uint64_t number) {
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                if (calls[i].number == number)
                        return (calls[i].faults & BIT(fault)) != 0;
        return false;
}

bool fault_passes(enum fault fault) {
        return fault == FAULT_EINTR || fault == FAULT_ENOMEM || fault == FAULT_EMFILE ||
               fault == FAULT_EAGAIN || fault == FAULT_ENOLCK;
}

static bool is_unlock(const struct trace_call *call) {
        struct flock lock;

        if (call->number != SYS_fcntl || (call->arguments[1] != F_SETLK && call->arguments[1] != F_SETLKW &&
                                          call->arguments[1] != F_OFD_SETLK))
                return false;
        return tracer_read(call->pid, call->arguments[2], &lock, sizeof(lock)) == (ssize_t) sizeof(lock) &&
               lock.l_type == F_UNLCK;
}

/* Waking and giving back a mutex are not interrupted; glibc aborts where they fail all the same. */
static bool is_wake(const struct trace_call *call) {
        const uint64_t command = call->arguments[1] & (uint64_t) FUTEX_CMD_MASK;

        return call->number == SYS_futex && command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET;
}

bool call_is_spared(const struct trace_call *call) {
        return is_unlock(call) || is_wake(call);
}
