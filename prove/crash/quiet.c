/* SPDX-License-Identifier: Apache-2.0 */
/* Calls after which nothing is different for anyone but the process itself: not on disk, not in memory that
 * others share, not in another process. Killed at the entry of such a call or at its exit, a process leaves
 * the same world behind, so one of the two is tried.
 *
 * What the kernel undoes at a death anyway (descriptors, locks, mappings, watches, timers) is quiet, too:
 * between the two places nothing else of this thread happens. That holds for flock() and for offsets, which
 * belong to the open file, because nobody shares one: descriptors are closed over an exec, and the keeper
 * closes what it inherits before it does anything else. Not quiet: a wait that was ended by somebody's
 * wake, which a dead one has taken from the others (S7). Whatever is not listed is not quiet. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/macro.h"
#include "prove/crash/crash.h"

static const uint16_t quiet_calls[] = {
        /* what is read */
        SYS_read,
        SYS_pread64,
        SYS_readv,
        SYS_recvmsg,
        SYS_recvfrom,
        SYS_getdents64,
        SYS_readlinkat,
        SYS_newfstatat,
        SYS_fstat,
        SYS_statx,
        SYS_faccessat,
        SYS_faccessat2,
        SYS_statfs,
        SYS_fstatfs,
        SYS_getcwd,
        SYS_uname,
        SYS_sysinfo,
        SYS_getrandom,
        SYS_getxattr,
        SYS_lseek,
        /* who I am */
        SYS_getpid,
        SYS_gettid,
        SYS_getppid,
        SYS_getuid,
        SYS_geteuid,
        SYS_getgid,
        SYS_getegid,
        SYS_getpgid,
        SYS_getsid,
        SYS_getrusage,
        SYS_times,
        SYS_clock_gettime,
        SYS_clock_getres,
        SYS_gettimeofday,
        SYS_getsockopt,
        SYS_getsockname,
        SYS_getpeername,
        SYS_getpriority,
        SYS_sched_getparam,
        SYS_sched_getscheduler,
        SYS_sched_getattr,
        SYS_sched_getaffinity,
        SYS_getcpu,
        /* my memory and my threads */
        SYS_brk,
        SYS_mmap,
        SYS_munmap,
        SYS_mremap,
        SYS_mprotect,
        SYS_madvise,
        SYS_mlock,
        SYS_set_tid_address,
        SYS_set_robust_list,
        SYS_rseq,
        SYS_membarrier,
        SYS_sched_yield,
        /* my settings */
        SYS_prctl,
        SYS_prlimit64,
        SYS_setpriority,
        SYS_sched_setscheduler,
        SYS_sched_setattr,
        SYS_seccomp,
        SYS_landlock_create_ruleset,
        SYS_landlock_add_rule,
        SYS_landlock_restrict_self,
        SYS_rt_sigaction,
        SYS_rt_sigprocmask,
        SYS_sigaltstack,
        SYS_rt_sigreturn,
        SYS_umask,
        SYS_chdir,
        SYS_setpgid,
        SYS_setsockopt,
        /* my descriptors and locks */
        SYS_close,
        SYS_close_range,
        SYS_dup,
        SYS_dup3,
        SYS_fcntl,
        SYS_flock,
        SYS_socket,
        SYS_pipe2,
        SYS_eventfd2,
        SYS_epoll_create1,
        SYS_epoll_ctl,
        SYS_inotify_init1,
        SYS_inotify_add_watch,
        SYS_inotify_rm_watch,
        SYS_timerfd_create,
        SYS_timerfd_settime,
        SYS_signalfd4,
        SYS_pidfd_open,
        SYS_ioctl,
        SYS_fadvise64,
        /* waits that take nothing from anybody */
        SYS_ppoll,
        SYS_epoll_pwait,
        SYS_nanosleep,
        SYS_clock_nanosleep,
#if defined(__x86_64__)
        SYS_arch_prctl,
        SYS_open,
        SYS_stat,
        SYS_lstat,
        SYS_access,
        SYS_readlink,
        SYS_poll,
        SYS_epoll_wait,
        SYS_dup2,
        SYS_getpgrp,
#endif
};

static bool open_is_quiet(uint64_t flags) {
        return (flags & (O_CREAT | O_TRUNC)) == 0;
}

bool call_is_quiet(const struct trace_call *call) {
        switch (call->number) {
        case SYS_openat:
                return open_is_quiet(call->arguments[2]);
#if defined(__x86_64__)
        case SYS_open:
                return open_is_quiet(call->arguments[1]);
#endif
        case SYS_futex:
        case SYS_futex_waitv:
        case SYS_restart_syscall: /* a wait of either that a signal, or we, broke into */
                return call->result == -ETIMEDOUT || call->result == -EAGAIN || call->result == -EINTR;
        case SYS_wait4:
                return call->result <= 0;
        case SYS_waitid: /* 0, too, where somebody was reaped */
                return call->result < 0 || (call->arguments[3] & WNOWAIT) != 0;
        default:
                break;
        }
        for (size_t i = 0; i < ELEMENTSOF(quiet_calls); i++)
                if (quiet_calls[i] == call->number)
                        return true;
        return false;
}
