/* SPDX-License-Identifier: Apache-2.0 */
/* The id of a state directory (M1): STATE/instance, 32 hex digits. Read here, never made. */
#pragma once

#include "base/failure.h"
#include "include/baton/event.h"

/* 0; -ENOENT where Baton has not run with this state directory; -EBADMSG; others with a sentence. */
int instance_read(const char *state_directory, uint8_t ret_instance[INSTANCE_BYTES],
                  struct failure *ret_failure);
