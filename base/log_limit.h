/* SPDX-License-Identifier: Apache-2.0 */
/* Which log lines are told and which are held back and counted. For log.c alone.
 *
 * The subject of a line is its session; where it names none, its destination; else the program. Of one subject and
 * kind a burst (message.h) is told in a window of 30 s, counted from its first line; what comes above is held back,
 * and told as a count, with the last of it, when the window ends or by the next line. So every line is told or
 * counted, whatever its kind; the count is lost only if the process dies with it.
 *
 * Of lines about one who asked (peer_uid) three are told in a window, so that one stranger leaves room for others within
 * the burst; there may be more strangers than it has lines.
 *
 * Bounded, in static memory: 2048 pairs of subject and kind in a window (beyond, the oldest is forgotten and has its
 * burst anew), and 32 of which lines are held back (beyond, they are counted for their kind alone).
 * Thread-safe: one mutex, taken in no other order with anything, since nothing is called under it. A child of fork() may
 * log if its parent had one thread; it counts for itself from then on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/message.h"

#define LIMIT_WINDOW_USEC (30 * USEC_PER_SEC)
#define LIMIT_PEER_BURST 3
#define LIMIT_CROWD_USEC USEC_PER_SEC /* of a crowded kind, over all subjects, */
#define LIMIT_CROWD_BURST 8           /* so many lines are told in so long */

/* Lines of one subject and kind that were held back. Texts are copies. */
struct log_held {
        uint64_t key; /* 0: this place is free */
        uint64_t since_usec, last_usec;
        enum message_kind kind;
        int priority;   /* the gravest of them */
        uint32_t count; /* 0 < count; of these the last is told below, unless sentence is empty */
        char session[128], destination[64], reason[384], sentence[512];
        struct log_fields fields; /* of the last; its pointers are set by log_limit_next() */
};

/* A line that is to be told; all is the caller's. */
struct log_said {
        enum message_kind kind;
        int priority;
        const struct log_fields *fields; /* may be NULL */
        const char *sentence;
};

/* True: tell it, and with it that *ret_held_count lines like it were held back before (mostly 0). False: it is held
 * back. is_crowded: the limit over all subjects counts too. */
bool log_limit_admits(const struct log_said *said, bool is_crowded, uint64_t now_usec,
                      uint32_t *ret_held_count);

/* Takes out one count that is due (all: also one whose window has not ended). False: there is none. */
bool log_limit_next(bool all, uint64_t now_usec, struct log_held *ret_held);

/* True while something is held back. One load. */
bool log_limit_is_pending(void);
