/* SPDX-License-Identifier: Apache-2.0 */
/* All processes of one kernel session (setsid()): what a job started, wherever it was adopted since. A child
 * stays in it over fork, exec, setpgid and the death of its parents; nothing of Baton calls setsid().
 * Must not touch: a process of another session. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

size_t tree_list(pid_t session, pid_t *ret_pids, size_t count);
/* Until nothing of it is left, zombies aside. False: something outlives SIGKILL by five seconds. */
bool tree_kill(pid_t session);
/* Of each thread: name, state, where it waits in the kernel, the call it is in. What may not be read is left
 * out (stacks are for root). */
void tree_dump(pid_t session, FILE *out);
