/* SPDX-License-Identifier: Apache-2.0 */
/* The client's end of the control socket (supervisor/control.h): a private sd-bus connection, no bus
 * daemon. Every wait is bounded, so that a hung supervisor hangs nobody. */
#pragma once

#include <stdint.h>
#include <systemd/sd-bus.h>

#include "supervisor/cli/command.h"

void bus_close(sd_bus **bus);
#define _cleanup_bus_ _cleanup_(bus_close)

/* Connects to RUNTIME/control within timeout_usec. 0; -ECONNREFUSED where nobody listens, -EACCES,
 * -ETIMEDOUT, with a sentence. */
int bus_connect(const char *runtime_directory, uint64_t timeout_usec, sd_bus **ret_bus,
                struct failure *ret_failure);
/* To the system bus, where Baton may have a name; timeout_usec is the call's own from then on, too. -errno. */
int bus_connect_system(uint64_t timeout_usec, sd_bus **ret_bus);
/* Calls a method of org.baton.Manager1; `types` and arguments as for sd_bus_call_method(). The failure's
 * sentence is the supervisor's own. *ret_reply may be NULL. */
int bus_call(sd_bus *bus, const char *method, struct failure *ret_failure, sd_bus_message **ret_reply,
             const char *types, ...);

/* The two together for a command, with its exit code: connects, or says why not. */
int bus_connect_for(const struct invocation *invocation, const char *runtime_directory, sd_bus **ret_bus);
/* A whole command that is one method without arguments, in the runtime directory of the invocation. An exit code;
 * *ret_directories as they were found. */
int bus_ask(const struct invocation *invocation, const char *method, struct directories *ret_directories);
