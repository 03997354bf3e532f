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
/* The listening socket that systemd hands over under this name (sd_listen_fds(3)), with a link to it at
 * DIRECTORY/name, where clients look. 0 and *ret_fd; -ENOENT: none was handed over; other -errno and a sentence. */
int socket_inherit(const char *directory, const char *name, int *ret_fd, struct failure *ret_failure);
