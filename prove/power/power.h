/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommand `power` of baton-prove: the power is cut after each recorded write. */
#pragma once

int power_run(int argc, char **argv);
