/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's life as the others see it: entering, being watched, leaving (S1, S6, S7).
 *
 * The kernel's robust-futex ABI is the mechanism: the life mutex's word holds the mover's TID, and at
 * its death the kernel sets FUTEX_OWNER_DIED before it tears the memory down, and wakes a waiter of
 * the word if FUTEX_WAITERS is set. A watcher therefore waits on the *word* (futex_waitv over the
 * lives of its pool, its own doorbell and the membership word at once) and never has to take the
 * mutex, so a watcher that dies holds nothing. Where the kernel lacks futex_waitv (before 5.16) the
 * next neighbour alone is waited for, with a 50 ms bound. */
#pragma once

#include "shm/segment.h"

/* Joins the pool: waits for the pool mutex, runs the takeover if a death stands there (S7), takes a
 * free entry with a new generation, locks its life mutex *in this thread* (which must be the mover:
 * S1), publishes LIVE, rings the others. -ENOSPC: no free entry; -ESTALE: the segment is condemned or
 * the pool is not active. *ret_ref identifies the worker for good. */
int life_enter(struct segment *segment, uint32_t pool_index, uint64_t *ret_ref, struct failure *ret_failure);

/* Orderly: LEFT, then the mutex is released and the entry freed. The caller has released its slots; one
 * that a look gave it meanwhile is given on. Asserts that none is left. In this thread: life_enter()'s. */
void life_leave(struct segment *segment, uint64_t ref);

/* True while this very worker (generation) is ENTERING or LIVE and not proven dead. A word only. */
bool life_is_live(const struct segment *segment, uint64_t ref);
/* True while it is LIVE in this pool and does not drain: slots may be given to it (H9). Words only. */
bool life_may_be_given(const struct segment *segment, uint64_t ref, uint32_t pool_index);
/* Proof by the robust word (FUTEX_OWNER_DIED) or by the process being gone (pid and start time).
 * Never by a time-out (S3). */
bool life_is_proven_dead(const struct segment *segment, uint64_t ref);
/* What this very worker says of its confinement (P7). UNSAID: it has said nothing (yet), or its word is none of these, or
 * its entry is another's by now; and in a segment of layout 1, where the word may be a predecessor's (L3). */
enum worker_confinement life_confinement(const struct segment *segment, uint64_t ref);

enum life_news { LIFE_NEWS_DEATH = 1 << 0, LIFE_NEWS_MEMBERS = 1 << 1, LIFE_NEWS_DOORBELL = 1 << 2 };
struct life_watch { /* what the last call saw; zero it first */
        uint32_t member_version, doorbell;
        uint32_t echo_count; /* life.c: how often to look again by itself after a death */
};
/* The takeover thread's wait: until a peer dies, membership changes or this worker's doorbell rings.
 * A condemned segment is told once, as a change of membership; no deaths after it.
 * Returns a mask of enum life_news (spurious wakes are filtered), or -errno. Sets FUTEX_WAITERS in the
 * peers' life words. deadline_usec bounds it (0 returned). */
int life_wait(struct segment *segment, uint64_t self_ref, struct life_watch *watch, uint64_t deadline_usec);
/* Up to `count` next live neighbours in ring order, for pidfds. Returns how many. */
uint32_t life_neighbours(const struct segment *segment, uint64_t self_ref, uint64_t *ret_refs,
                         uint32_t count);
