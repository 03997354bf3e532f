/* SPDX-License-Identifier: Apache-2.0 */
/* The roster: every session of the pool as the supervisor wrote it, so that a takeover finds it ready (S8).
 * The control thread builds it and publishes it by RCU; the mover looks sessions up in it. A pool may have
 * tens of thousands of sessions, so the roster keeps texts alone; what the mover runs, it gets parsed, as an
 * entry of its own. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/url.h"
#include "include/baton/source.h"
#include "shm/words.h"

struct roster_entry {
        struct session_config config; /* as read, with the sequence it was read at */
        struct url url;
        const struct scheme *scheme; /* NULL: the configuration is refused, see failure */
        const struct source_ops *ops;
        struct failure failure;
};

struct roster; /* opaque; published by RCU */

/* Control thread. Builds a new roster of the pool, reusing what did not change, publishes it in *roster and
 * frees the rest of the old one after a grace period. What is half-written stays as it was. -ENOMEM: the old one stays. */
int roster_publish(_Atomic(struct roster *) *roster, const struct segment *segment, uint32_t pool_index);
/* Mover (a registered RCU reader). A parsed copy, or NULL if the roster has no such slot or there is no
 * memory. Caller frees with roster_entry_free(). */
struct roster_entry *roster_get(_Atomic(struct roster *) *roster, uint32_t slot_index);
/* Reads and parses one session at once; for a slot that came before the roster did. -EAGAIN, -EBADMSG: it is
 * being written, or damaged; -ENOMEM. Caller frees with roster_entry_free(). */
int roster_read(const struct segment *segment, uint32_t slot_index, struct roster_entry **ret_entry);
/* True if nothing newer than `sequence` was ever whole: the record stands as it was read, or its writer is at
 * the next one, or died in it. Then what was read goes on holding (P1). */
bool roster_is_latest(const struct segment *segment, uint32_t slot_index, uint32_t sequence);
void roster_entry_free(struct roster_entry *entry); /* NULL is accepted */
void roster_free(_Atomic(struct roster *) *roster); /* no reader may be left */
