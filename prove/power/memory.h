/* SPDX-License-Identifier: Apache-2.0 */
/* The proof's own memory: a machine that has none of it left proves nothing, so nobody goes on without.
 * Must not touch: anything of the product's. */
#pragma once

#include <stdlib.h>

static inline void *must_have(void *memory) {
        if (!memory)
                abort();
        return memory;
}
