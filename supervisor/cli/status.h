/* SPDX-License-Identifier: Apache-2.0 */
/* What `status` prints of one reading, for people and for programs. Both say the same; unknown is the
 * word "unknown" in one and null in the other, never zero. */
#pragma once

#include <stdio.h>

#include "supervisor/cli/command.h"
#include "supervisor/cli/view.h"

void status_print_text(const struct view *view, FILE *out);
/* 0, or -ENOMEM. Field names are stable: they are listed in README.md. */
int status_print_json(const struct view *view, FILE *out);

const char *status_supervisor_name(enum supervisor_state state);
const char *status_phase_name(enum worker_phase phase);

/* Opens the segment for reading. 0, or an exit code after a message that says what to do. */
int status_open_segment(const struct invocation *invocation, const char *runtime_directory,
                        struct segment **ret_segment);
