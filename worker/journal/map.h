/* SPDX-License-Identifier: Apache-2.0 */
/* Session name → what one journal file says of it: a hash of up to 65,536 sessions and more.
 * The writer keeps one (its next snapshot), a reader one for each file. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "worker/journal/format.h"

struct journal_known {
        struct journal_record record; /* the latest; record.checkpoint.session is the key */
        uint64_t offset;              /* where it stands; 0: none (only damage names this session) */
        bool forgotten;               /* writer: may leave the snapshot once it is superseded (J7) */
        bool has_proven;              /* the latest record that its writer has surely synced (J8) … */
        uint64_t proven_epoch, proven_position; /* … was this one */
};

struct journal_map {
        struct journal_known *entries; /* freed by journal_map_done(); dense, in order of arrival */
        uint32_t entry_count, entry_capacity;
        uint32_t *places;     /* index into entries + 1; 0 = empty. Freed with the map */
        uint32_t place_count; /* a power of two, more than entry_count */
};

/* NULL if the name is not there. The pointer holds until the next journal_map_add(). */
struct journal_known *journal_map_find(const struct journal_map *map, const char *session);
/* The entry of that name, made if missing (everything but the name zero). -ENOMEM. */
int journal_map_add(struct journal_map *map, const char *session, struct journal_known **ret_known);
void journal_map_done(struct journal_map *map); /* frees and zeroes; a zeroed map is empty */
