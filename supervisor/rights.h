/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask the supervisor for what, by the kernel's word of who is at the other end of a socket.
 *
 * R1 A peer has the rights of its user and groups at the moment at which it connected (SO_PEERCRED, SO_PEERGROUPS): what
 *    it says of itself is never asked.
 * R2 One table says which right each call needs (calls.c); a refusal says which is missing, and how to get it.
 * R3 On the system bus the same table holds, for the user and the groups that the bus saw when the caller connected
 *    (GetConnectionCredentials). What the bus does not say is not looked for elsewhere: /proc may by then tell of another
 *    process, and the user database of groups that this one never had, after a wait. */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "base/failure.h"

/* Each includes those before it. */
enum right {
        RIGHT_NONE,
        RIGHT_LOOK, /* asks, changes nothing: group baton */
        RIGHT_WORK, /* changes who does the work, and not what is moved: group baton-operators */
        RIGHT_MOVE, /* changes what is moved: root and the service's own user */
};

#define RIGHTS_GROUP_LOOK "baton"
#define RIGHTS_GROUP_WORK "baton-operators"

struct peer {
        pid_t pid;
        uid_t uid;
        enum right right;
};

/* Of a connected Unix socket: the process that connected, as it was then. The groups are looked up once, at the
 * first call. 0, or -errno of the kernel's. Not thread-safe. */
int rights_of_socket(int fd, struct peer *ret_peer);

/* Of an answer of GetConnectionCredentials, which is read to its end. -ENODATA: the bus does not say enough of who it
 * is. Not thread-safe. */
int rights_of_bus(sd_bus_message *credentials, struct peer *ret_peer);

/* 0, or -EACCES and a sentence that says what is missing and how to get it. `what` is the call's name. */
int rights_check(const struct peer *peer, enum right wanted, const char *what, struct failure *ret_failure);
