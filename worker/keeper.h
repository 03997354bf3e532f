/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the memory of this worker a moment longer than the worker (S8): see keeper.c. */
#pragma once

#include <sys/types.h>

/* Starts the keeper; *ret_pid (may be NULL) is its process. Before the first thread, before any database is
 * open, before confine(), once. Negative errno: the worker runs without, and its successor waits longer for
 * its locks. */
int keeper_start(pid_t *ret_pid);
