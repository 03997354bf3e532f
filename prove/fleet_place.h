/* SPDX-License-Identifier: Apache-2.0 */
/* Where the runs of a fleet live: a directory for each, and one on tmpfs for its segment. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "prove/world/world.h"

struct fleet_root {
        char directory[WORLD_PATH_BYTES / 2], runtime[WORLD_PATH_BYTES / 2];
};

struct fleet_place {
        char directory[WORLD_PATH_BYTES], runtime[WORLD_PATH_BYTES], output[WORLD_PATH_BYTES + 16];
};

/* base NULL: $TMPDIR, else /tmp. 0 or -errno. */
int fleet_root_make(struct fleet_root *root, const char *base);
/* Directories that are not empty (of failures) stay. */
void fleet_root_clear(const struct fleet_root *root);
int fleet_place_make(const struct fleet_root *root, size_t index, struct fleet_place *ret_place);
/* Kept: the segment is copied beside the rest; the memory is given back in any case. */
void fleet_place_clear(const struct fleet_place *place, bool is_kept);
