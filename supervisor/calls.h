/* SPDX-License-Identifier: Apache-2.0 */
/* The object /org/baton/manager, its methods and the right that each needs (control.h names them). */
#pragma once

#include <systemd/sd-bus.h>

#include "supervisor/rights.h"

struct manager;

/* Of a transport: how a call is answered, at once or later, once it is known who asks. The first member of what the
 * transport knows of a caller or of all of them. */
struct asked {
        int (*answer)(struct asked *asked, sd_bus_message *message, sd_bus_error *ret_error);
};

/* Shows the object on a bus; `asked` lives as long as the bus does. */
int calls_add(sd_bus *bus, struct asked *asked);
/* Answers a call of that peer, or refuses it. As a handler of sd-bus returns: < 0 with *ret_error set is a refusal. */
int calls_run(struct manager *manager, const struct peer *peer, sd_bus_message *message,
              sd_bus_error *ret_error);
