/* SPDX-License-Identifier: Apache-2.0 */
/* S11: one segment at a time. STATE/workers.lock: shared flock by every worker for life (its own open),
 * exclusive by whoever makes a new segment. */
#pragma once

#include <stddef.h>

#include "base/failure.h"

/* For a worker: waits up to wait_usec for a maker of a segment. *ret_fd: keep open until the end. */
int workers_lock_shared(const char *state_directory, uint64_t wait_usec, int *ret_fd,
                        struct failure *ret_failure);
/* For the supervisor: -EBUSY at once if a worker lives; *ret_holder_pid (may be NULL) one of them or 0. */
int workers_lock_exclusive(const char *state_directory, int *ret_fd, int *ret_holder_pid,
                           struct failure *ret_failure);

#define WORKERS_HOLDER_BYTES 48
/* A holder in a sentence: "worker pid 12"; of 0, that its pid is not known. It is the buffer. */
const char *workers_lock_holder_name(int holder_pid, char ret_name[WORKERS_HOLDER_BYTES]);
