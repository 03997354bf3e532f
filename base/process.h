/* SPDX-License-Identifier: Apache-2.0 */
/* Who a process is (S6: pid + start time, never a pid alone), and proof that it is gone.
 * Must not touch: shared memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Start time of the process in clock ticks since boot (field 22 of /proc/PID/stat).
 * 0 and *ret_start_ticks; -ESRCH if there is no such process; other -errno. */
int process_start_ticks(pid_t pid, uint64_t *ret_start_ticks);

/* Opens a pidfd for exactly this process (pid and start time, checked after the pidfd is open, so
 * that a reused pid is never taken). 0 and *ret_fd (caller closes, O_CLOEXEC); -ESRCH if it is gone;
 * -EACCES if there is one and /proc does not show whether it is this one. */
int process_open(pid_t pid, uint64_t start_ticks, int *ret_fd);

/* The same for who waits for its end alone: where /proc does not show it, the pidfd is of whoever has the pid now.
 * Its end proves that of the process that is meant: that is this one, or it ended before this one could have its pid.
 * That it lives proves nothing. */
int process_open_to_wait(pid_t pid, uint64_t start_ticks, int *ret_fd);

/* True if the pidfd's process has ended (pidfd readable): proof of death (S3). Never blocks. */
bool process_has_ended(int pid_fd);

/* How a process ended. Unknown is a way of its own, and never taken for another. */
enum process_end_kind { PROCESS_END_UNKNOWN = 0, PROCESS_END_EXIT, PROCESS_END_SIGNAL };
struct process_end {
        enum process_end_kind kind;
        int number;      /* exit code, or signal */
        bool wrote_core; /* a core of one of its other threads may go without saying (Linux 6.18) */
};

/* From the word that wait() gives. */
struct process_end process_end_of_wait(int wait_status);

/* What the kernel says of the end of a process that need not be a child of ours (Linux 6.15): once its parent has
 * reaped it, to who opened the pidfd before that; the descriptor then has POLLHUP. 0 and *ret_end; -EAGAIN: it
 * lives, or nobody has reaped it yet; -EOPNOTSUPP: this kernel, or whoever confines us, does not tell. */
int process_how_ended(int pid_fd, struct process_end *ret_end);

/* The scheduler's letter for the process' first thread (field 3 of /proc/PID/stat): 'R', 'S', 'D' …
 * 0 and *ret_state; -ESRCH; other -errno. */
int process_state(pid_t pid, char *ret_state);

/* Who started it, or adopted it since (field 4 of /proc/PID/stat). 0 and *ret_parent; -ESRCH; other -errno. */
int process_parent(pid_t pid, pid_t *ret_parent);

/* True unless the kernel says that no thread of this process has the number. */
bool process_has_thread(pid_t pid, pid_t thread_id);

/* pidfd_send_signal(). 0, -ESRCH, -EPERM. */
int process_signal(int pid_fd, int signal_number);

/* Resident and private memory of a process in bytes (/proc/PID/smaps_rollup). 0 or -errno. */
int process_memory(pid_t pid, uint64_t *ret_resident_bytes, uint64_t *ret_private_bytes);
