/* SPDX-License-Identifier: Apache-2.0 */
/* A world inside a Criterion test: a failure of the harness is a failure of the test, and the world's end
 * (the suite's .fini) runs after it too. */
#pragma once

#include <criterion/criterion.h>

#include "prove/world/world.h"

static inline void test_failed(const char *message) {
        cr_assert_fail("%s", message);
}

static inline void test_begin(struct world *world) {
        world_failed = test_failed;
        world_begin(world);
}

static inline void test_end(struct world *world) {
        world_end(world);
}
