/* SPDX-License-Identifier: Apache-2.0 */
/* The roster: every session of the pool with its configuration parsed and checked, so that a takeover
 * finds it ready (S8). The control thread builds it and publishes it by RCU; the mover looks sessions up
 * in it and keeps a counted reference to the entries that it runs. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/url.h"
#include "include/baton/source.h"
#include "shm/words.h"

struct roster_entry {
        _Atomic uint32_t references;
        struct session_config config; /* as read, with the sequence it was read at */
        struct url url;
        const struct scheme *scheme; /* NULL: the configuration is refused, see failure */
        const struct source_ops *ops;
        struct failure failure;
};

struct roster; /* opaque; published by RCU */

/* Control thread. Builds a new roster of the pool, reusing entries that did not change, publishes it in
 * *roster and frees the old one after a grace period. -ENOMEM: the old one stays. */
int roster_publish(struct roster **roster, const struct segment *segment, uint32_t pool_index);
/* Mover (a registered RCU reader). A counted reference, or NULL if the roster has no such slot. */
struct roster_entry *roster_get(struct roster **roster, uint32_t slot_index);
/* Reads and parses one entry at once; for a slot that came before the roster did. Caller unrefs. */
int roster_read(const struct segment *segment, uint32_t slot_index, struct roster_entry **ret_entry);
void roster_unref(struct roster_entry *entry); /* NULL is accepted */
void roster_free(struct roster **roster);      /* no reader may be left */
