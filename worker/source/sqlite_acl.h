/* SPDX-License-Identifier: Apache-2.0 */
/* Access control lists, as far as M12 has to know them. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Whether the directory's default entries let `user` read and write what anybody makes there with a mode that lets
 * the group do so (its bits are then the mask: acl(5)). False where there are none, or none can be read. Thread-safe. */
bool acl_default_lets(const char *directory, uid_t user);
