/* SPDX-License-Identifier: Apache-2.0 */
/* STATE and RUNTIME: STATE_DIRECTORY / RUNTIME_DIRECTORY (as systemd sets them; the first of a
 * colon-separated list), else the option, else /var/lib/baton and /run/baton. An option given on the
 * command line wins over all. */
#pragma once

#include <stdbool.h>

#include "base/failure.h"

struct directories {
        char state[512], runtime[512];
};
/* state_option, runtime_option: NULL if not given. Makes nothing. -ENAMETOOLONG. */
int directories_resolve(const char *state_option, const char *runtime_option,
                        struct directories *ret_directories, struct failure *ret_failure);
/* Would directories_prepare() make or accept the state directory? Makes nothing. */
int directories_check_state(const struct directories *directories, struct failure *ret_failure);
/* Makes both (0750) if missing; -EACCES and others with a sentence. *ret_runtime_is_tmpfs may be NULL. */
int directories_prepare(const struct directories *directories, bool *ret_runtime_is_tmpfs,
                        struct failure *ret_failure);
