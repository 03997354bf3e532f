/* SPDX-License-Identifier: Apache-2.0 */
/* Counts lines of each subject and kind, and keeps what was held back until it is told.
 * Must not touch: memory of its own (no allocation); any file; the clock (the caller says what time it is). */

#include "base/log_limit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define SET_COUNT 256 /* a subject and kind has its place in one of these, */
#define SET_WAYS 8    /* beside so many others */
#define HELD_COUNT 32
#define PEER_COUNT 16 /* beyond, the oldest is forgotten; the burst of the kind bounds them all */

struct tally {
        uint64_t key; /* of subject and kind; 0: free */
        uint64_t since_usec;
        uint32_t told;
};

/* Of one kind over all subjects. */
struct crowd {
        uint64_t since_usec, last_usec;
        uint32_t told, untold;
        int priority;
};

/* All below is guarded by `lock`, but for pending_count, which is also read without it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tally tallies[SET_COUNT][SET_WAYS];
static struct tally peers[PEER_COUNT]; /* of kind and peer_uid */
static struct log_held helds[HELD_COUNT];
static struct crowd crowds[MESSAGE_COUNT];
static _Atomic uint32_t pending_count; /* places of helds, and kinds with an untold crowd */

static void pending_change(int by) {
        atomic_fetch_add_explicit(&pending_count, (uint32_t) by, memory_order_relaxed);
}

/* Threads read the clock before they come to the lock, so that a later one may be the first here. */
static uint64_t span_usec(uint64_t since_usec, uint64_t now_usec) {
        return now_usec > since_usec ? now_usec - since_usec : 0;
}

/* FNV-1a. Two pairs that meet in all 64 bits would share their burst, and that is all. */
static uint64_t key_of(enum message_kind kind, const struct log_fields *fields) {
        const char *session = fields ? fields->session : NULL,
                   *destination = fields ? fields->destination : NULL;
        uint64_t key = 14695981039346656037ULL ^ ((uint64_t) kind << 1 | (session != NULL));

        key *= 1099511628211ULL;
        for (const char *p = session ? session : destination ? destination : ""; *p; p++)
                key = (key ^ (uint8_t) *p) * 1099511628211ULL;
        return key != 0 ? key : 1;
}

/* Its own place, or the one that is free or was begun first. */
static struct tally *tally_of(uint64_t key, uint64_t now_usec) {
        struct tally *set = tallies[(key ^ key >> 32) % SET_COUNT], *oldest = set;

        for (size_t i = 0; i < SET_WAYS; i++) {
                if (set[i].key == key)
                        return &set[i];
                if (set[i].since_usec < oldest->since_usec)
                        oldest = &set[i];
        }
        *oldest = (struct tally){ .key = key, .since_usec = now_usec };
        return oldest;
}

static struct log_held *held_of(uint64_t key) {
        for (size_t i = 0; i < HELD_COUNT; i++)
                if (helds[i].key == key)
                        return &helds[i];
        return NULL;
}

static void text_keep(char *field, size_t bytes, const char *text) {
        (void) snprintf(field, bytes, "%s", text ? text : "");
}

static void held_add(struct log_held *held, const struct log_said *said, uint64_t now_usec) {
        held->priority = held->count++ == 0 ? said->priority : MIN_OF(held->priority, said->priority);
        held->last_usec = now_usec;
        held->fields = said->fields ? *said->fields : (struct log_fields){ 0 };
        text_keep(held->session, sizeof held->session, held->fields.session);
        text_keep(held->destination, sizeof held->destination, held->fields.destination);
        text_keep(held->reason, sizeof held->reason, held->fields.reason);
        text_keep(held->sentence, sizeof held->sentence, said->sentence);
}

static void crowd_add(const struct log_said *said, uint64_t now_usec) {
        struct crowd *crowd = &crowds[said->kind];

        if (crowd->untold == 0)
                pending_change(1);
        crowd->priority = crowd->untold++ == 0 ? said->priority : MIN_OF(crowd->priority, said->priority);
        crowd->last_usec = now_usec;
}

static bool crowd_admits(enum message_kind kind, uint64_t now_usec) {
        struct crowd *crowd = &crowds[kind];

        if (span_usec(crowd->since_usec, now_usec) >= LIMIT_CROWD_USEC) {
                crowd->since_usec = now_usec;
                crowd->told = 0;
        }
        if (crowd->told >= LIMIT_CROWD_BURST)
                return false;
        crowd->told++;
        return true;
}

static void hold_back(const struct tally *tally, const struct log_said *said, uint64_t now_usec) {
        struct log_held *held = held_of(tally->key);

        if (!held) {
                held = held_of(0);
                if (!held) {
                        crowd_add(said, now_usec);
                        return;
                }
                pending_change(1);
                *held = (struct log_held){ .key = tally->key,
                                           .kind = said->kind,
                                           .since_usec = tally->since_usec };
        }
        held_add(held, said, now_usec);
}

/* The window of a tally begins anew; what was held back in the one before is told by the line that begins it. */
static uint32_t window_renew(struct tally *tally, uint64_t now_usec) {
        struct log_held *held = held_of(tally->key);

        tally->since_usec = now_usec;
        tally->told = 0;
        if (!held)
                return 0;
        held->key = 0;
        pending_change(-1);
        return held->count;
}

/* One who asked has had all that is told of one; else it is counted. */
static bool peer_is_done(enum message_kind kind, uint32_t peer_uid, uint64_t now_usec) {
        uint64_t key = (uint64_t) kind << 32 | peer_uid;
        struct tally *peer = &peers[0];

        if (peer_uid == 0)
                return false;
        for (size_t i = 0; i < PEER_COUNT; i++) {
                if (peers[i].key == key) {
                        peer = &peers[i];
                        break;
                }
                if (peers[i].since_usec < peer->since_usec)
                        peer = &peers[i];
        }
        if (peer->key != key || span_usec(peer->since_usec, now_usec) >= LIMIT_WINDOW_USEC)
                *peer = (struct tally){ .key = key, .since_usec = now_usec };
        if (peer->told >= LIMIT_PEER_BURST)
                return true;
        peer->told++;
        return false;
}

bool log_limit_admits(const struct log_said *said, bool is_crowded, uint64_t now_usec,
                      uint32_t *ret_held_count) {
        const struct message *message = message_of(said->kind);
        uint32_t held_count = 0;
        struct tally *tally;
        bool admits = true;

        assert(message->burst > 0);

        (void) pthread_mutex_lock(&lock);
        tally = tally_of(key_of(said->kind, said->fields), now_usec);
        if (span_usec(tally->since_usec, now_usec) >= LIMIT_WINDOW_USEC)
                held_count = window_renew(tally, now_usec);
        if (tally->told >= message->burst ||
            peer_is_done(said->kind, said->fields ? said->fields->peer_uid : 0, now_usec)) {
                hold_back(tally, said, now_usec);
                admits = false;
        } else if (is_crowded && held_count == 0 && !crowd_admits(said->kind, now_usec)) {
                crowd_add(said, now_usec);
                admits = false;
        } else
                tally->told++;
        (void) pthread_mutex_unlock(&lock);
        if (admits)
                *ret_held_count = held_count;
        return admits;
}

/* ---- telling ------------------------------------------------------------------------------------- */
static bool take_held(bool all, uint64_t now_usec, struct log_held *ret_held) {
        for (size_t i = 0; i < HELD_COUNT; i++) {
                struct log_held *held = &helds[i];

                if (held->key == 0 || (!all && span_usec(held->since_usec, now_usec) < LIMIT_WINDOW_USEC))
                        continue;
                *ret_held = *held;
                held->key = 0;
                return true;
        }
        return false;
}

static bool take_crowd(bool all, uint64_t now_usec, struct log_held *ret_held) {
        for (enum message_kind kind = 0; kind < MESSAGE_COUNT; kind++) {
                struct crowd *crowd = &crowds[kind];

                if (crowd->untold == 0 || (!all && span_usec(crowd->since_usec, now_usec) < LIMIT_CROWD_USEC))
                        continue;
                *ret_held = (struct log_held){ .kind = kind,
                                               .priority = crowd->priority,
                                               .count = crowd->untold,
                                               .last_usec = crowd->last_usec };
                crowd->untold = crowd->told = 0;
                crowd->since_usec = now_usec; /* a second to the next count of this kind */
                return true;
        }
        return false;
}

bool log_limit_next(bool all, uint64_t now_usec, struct log_held *ret_held) {
        struct log_fields *fields = &ret_held->fields;
        bool found;

        (void) pthread_mutex_lock(&lock);
        found = take_held(all, now_usec, ret_held) || take_crowd(all, now_usec, ret_held);
        if (found)
                pending_change(-1);
        (void) pthread_mutex_unlock(&lock);
        if (!found)
                return false;
        fields->session = ret_held->session[0] ? ret_held->session : NULL;
        fields->destination = ret_held->destination[0] ? ret_held->destination : NULL;
        fields->reason = ret_held->reason[0] ? ret_held->reason : NULL;
        return true;
}

bool log_limit_is_pending(void) {
        return atomic_load_explicit(&pending_count, memory_order_relaxed) > 0;
}
