/* SPDX-License-Identifier: Apache-2.0 */
/* From facts to one word and a reason. The order of the questions is the meaning: whether the slot can
 * be believed, whether someone owns it, whether that one lives, whether it has said anything yet, and
 * only then what it says. Must not touch: anything; it is pure. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "supervisor/cli/format.h"
#include "supervisor/cli/state.h"

static const char *const state_names[STATE_COUNT] = {
        [STATE_MOVING] = "moving",   [STATE_IDLE] = "idle",     [STATE_STARTING] = "starting",
        [STATE_WAITING] = "waiting", [STATE_PAUSED] = "paused", [STATE_STALLED] = "stalled",
        [STATE_STOPPED] = "stopped",
};

const char *state_name(enum session_state word) {
        assert(word < STATE_COUNT);
        return state_names[word];
}

bool state_needs_attention(enum session_state word) {
        return word == STATE_STALLED || word == STATE_STOPPED;
}

static void set(struct state *state, enum session_state word, const char *format, ...) _printf_(3, 4);
static void set(struct state *state, enum session_state word, const char *format, ...) {
        va_list arguments;

        state->word = word;
        va_start(arguments, format);
        (void) vsnprintf(state->why, sizeof(state->why), format, arguments);
        va_end(arguments);
}

static void without_owner(const struct state_facts *facts, struct state *ret) {
        if (!facts->slot->wanted)
                set(ret, STATE_WAITING, "withdrawn from the configuration; it is being put away");
        else if (facts->workers_wanted == 0)
                set(ret, STATE_PAUSED, "its destination is scaled to 0 workers; `baton scale` starts some");
        else if (facts->workers_live == 0)
                set(ret, STATE_WAITING, "no worker of its destination is running");
        else
                set(ret, STATE_WAITING, "no worker has taken it yet");
}

/* Pid 0: no entry is that worker's; it was given up since, or taken after they were read. */
static void without_its_owner(const struct state_facts *facts, struct state *ret) {
        if (facts->owner_pid > 0)
                set(ret, STATE_WAITING, "its worker, pid %d, is gone and nobody has taken it over yet",
                    facts->owner_pid);
        else
                set(ret, STATE_WAITING,
                    "its worker is not known: it is gone and nobody has taken it over yet, or it has only just joined");
}

/* The owner cannot be asked, so what its status says is old. */
static void with_silent_owner(const struct state_facts *facts, struct state *ret) {
        char span[FORMAT_BYTES];

        set(ret, STATE_STALLED, "its worker, pid %d, has not answered for %s", facts->owner_pid,
            format_span(facts->owner_silent_usec, span));
}

/* Events wait and nothing was committed for stall-timeout: since when, or 0. */
static uint64_t stalled_since(const struct state_facts *facts) {
        const struct session_status *status = facts->status;
        uint64_t since = MAX_OF(status->waiting_since_usec, status->commit_last_usec);

        if (status->waiting_since_usec == 0 || since > facts->now_usec)
                return 0;
        return facts->now_usec - since >= facts->stall_timeout_usec ? since : 0;
}

/* The owner lives and has written its status: what it says. */
static void as_it_says(const struct state_facts *facts, struct state *ret) {
        const struct session_status *status = facts->status;
        uint64_t since = stalled_since(facts);
        char reason[LAYOUT_REASON_BYTES], span[FORMAT_BYTES];

        format_foreign(status->reason, sizeof(status->reason), reason, sizeof(reason));
        if (status->phase == SESSION_STOPPED)
                set(ret, STATE_STOPPED, "%s", reason[0] ? reason : "its worker gave no reason");
        else if (since != 0)
                set(ret, STATE_STALLED, "events wait, and nothing was committed for %s%s%s",
                    format_span(facts->now_usec - since, span), reason[0] ? ": " : "", reason);
        else if (status->phase == SESSION_WAITING)
                set(ret, STATE_WAITING, "%s", reason[0] ? reason : "its worker gave no reason");
        else if (status->phase == SESSION_MOVING)
                set(ret, STATE_MOVING, "%s", "");
        else if (status->phase == SESSION_IDLE)
                set(ret, STATE_IDLE, "%s", "");
        else
                set(ret, STATE_STARTING, "%s", reason);
}

void state_of_session(const struct state_facts *facts, struct state *ret_state) {
        assert(facts && ret_state);

        if (!facts->slot)
                set(ret_state, STATE_STOPPED,
                    "its slot holds words that mean nothing; `baton reload` reports "
                    "it, and a restart of all of Baton makes a new segment");
        else if (facts->slot->quarantined)
                set(ret_state, STATE_STOPPED,
                    "its slot is quarantined: three workers died on it; `baton adopt` "
                    "gives the session a new one");
        else if (facts->slot->state != SLOT_OWNED)
                without_owner(facts, ret_state);
        else if (!facts->owner_is_live)
                without_its_owner(facts, ret_state);
        else if (facts->owner_silent_usec >= facts->stall_timeout_usec && facts->owner_silent_usec > 0)
                with_silent_owner(facts, ret_state);
        else if (!facts->status)
                set(ret_state, STATE_STARTING, "its status is being written");
        else if (facts->status->epoch != facts->slot->epoch)
                set(ret_state, STATE_STARTING, "its worker has just got it");
        else
                as_it_says(facts, ret_state);
}
