/* SPDX-License-Identifier: Apache-2.0 */
/* What a session is doing, in the words of the manual: one function from facts to one word and a reason.
 * The same words everywhere: status, its JSON, its exit code. Pure; reads nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/slot.h"
#include "shm/words.h"

enum session_state {
        STATE_MOVING = 0,
        STATE_IDLE,
        STATE_STARTING,
        STATE_WAITING,
        STATE_PAUSED,
        STATE_STALLED,
        STATE_STOPPED,
        STATE_COUNT
};

struct state_facts {
        const struct slot_view *slot;          /* NULL: the slot's words are out of range */
        const struct session_status *status;   /* NULL: could not be read */
        bool owner_is_live;                    /* its life word says so and its process exists */
        int owner_pid;                         /* 0: unknown */
        uint64_t owner_silent_usec;            /* a ping has been unanswered for so long; 0: none has */
        uint32_t workers_wanted, workers_live; /* of the pool */
        uint64_t now_usec, stall_timeout_usec;
};

struct state {
        enum session_state word;
        char why[LAYOUT_REASON_BYTES + 128]; /* "" where the word says all */
};

void state_of_session(const struct state_facts *facts, struct state *ret_state);
const char *state_name(enum session_state word);
/* True for what an operator must look at: exit code 4. */
bool state_needs_attention(enum session_state word);
