/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: a private sd-bus server at RUNTIME/control, no bus daemon. Names and errors are
 * here for its clients (the command line, busctl --address=unix:path=RUNTIME/control). */
#pragma once

#include <stdint.h>

#include "base/failure.h"

#define CONTROL_SOCKET_NAME "control"
#define NOTIFY_SOCKET_NAME "notify"
#define CONTROL_BUS_NAME "org.baton" /* and what begins with it and a dot: of instances */
#define CONTROL_PATH "/org/baton/manager"
#define CONTROL_INTERFACE "org.baton.Manager1"

/*   Ping()                          → (u pid, s version)
 *   Scale(s destination, u workers) → ()      until the next start or a reload that changes `workers`
 *   Adopt(s session)                → (t request); done when the status' adopt_done ≥ request (M4)
 *   Reload()                        → ()      atomic: an error changes nothing
 *   Upgrade()                       → ()      it becomes the installed binary, and replaces its workers one by one
 *   UpgradeState()                  → (b under way, u workers to replace, s version) */
#define CONTROL_METHOD_PING "Ping"
#define CONTROL_METHOD_SCALE "Scale"
#define CONTROL_METHOD_ADOPT "Adopt"
#define CONTROL_METHOD_RELOAD "Reload"
#define CONTROL_METHOD_UPGRADE "Upgrade"
#define CONTROL_METHOD_UPGRADE_STATE "UpgradeState"

/* Each carries a whole sentence as its message. */
#define CONTROL_ERROR_UNKNOWN_DESTINATION "org.baton.Error.UnknownDestination"
#define CONTROL_ERROR_UNKNOWN_SESSION "org.baton.Error.UnknownSession"
#define CONTROL_ERROR_OUT_OF_RANGE "org.baton.Error.OutOfRange"
#define CONTROL_ERROR_CONFIGURATION "org.baton.Error.Configuration"
#define CONTROL_ERROR_UPGRADE "org.baton.Error.UpgradeRefused"
#define CONTROL_ERROR_BUSY "org.baton.Error.Busy"
#define CONTROL_ERROR_RIGHT "org.baton.Error.AccessDenied"

#define CONTROL_CONNECTION_COUNT_MAX 16
/* Of one user, and of all who may only look or work: others, and who may do all, find room. */
#define CONTROL_CONNECTION_USER_MAX 6
#define CONTROL_CONNECTION_LESSER_MAX 12
#define CONTROL_IDLE_USEC (60ULL * 1000 * 1000)

struct manager;
/* Binds, listens and serves; the caller holds supervisor.lock, so a socket that is there is stale. */
int control_start(struct manager *manager, struct failure *ret_failure);
/* Closes every connection and removes the socket. */
void control_stop(struct manager *manager);
/* Before an exec: sends what is answered and not sent yet, bounded, and lets a socket that systemd handed over pass. */
void control_pass(struct manager *manager);
