/* SPDX-License-Identifier: Apache-2.0 */
/* A name on the system bus, for who asks there: off unless `bus-name` of the configuration names one.
 *
 * V12 Nothing waits for the bus. It may be absent, refuse, end or hang: every step is asynchronous, what fails is told once
 *     and tried again after a growing wait (0.1 s to 30 s), and the control socket is served all the while. */
#pragma once

#include "base/failure.h"

struct manager;
/* Begins with the next turn of the loop. -ENOMEM. */
int bus_name_start(struct manager *manager, struct failure *ret_failure);
void bus_name_stop(struct manager *manager);
/* The configuration is another one; an answer that is under way on the bus is sent first. Nothing where it was not begun. */
void bus_name_apply(struct manager *manager);
/* Before an exec: sends what is answered and not sent yet, as far as the bus takes it at once. */
void bus_name_pass(struct manager *manager);
