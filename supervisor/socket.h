/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's sockets in the runtime directory, never open to more than `mode` says. The caller holds
 * supervisor.lock, so one of that name that is there belongs to a dead supervisor. */
#pragma once

#include <sys/types.h>

#include "base/failure.h"

/* type: SOCK_STREAM (listening when it returns) or SOCK_DGRAM; non-blocking, close-on-exec. */
int socket_make(const char *directory, const char *name, int type, mode_t mode, int *ret_fd,
                struct failure *ret_failure);
void socket_remove(const char *directory, const char *name);
