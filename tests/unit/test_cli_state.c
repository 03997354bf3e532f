/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor/cli/state.c: each row of its README's table of states, and what wins over what. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "supervisor/cli/state.h"

#define NOW (1000 * USEC_PER_SEC)
#define STALL (10 * USEC_PER_SEC)

static struct slot_view slot;
static struct session_status status;

/* A healthy idle session; each test changes what it is about. */
static struct state_facts healthy(void) {
        slot = (struct slot_view){ .state = SLOT_OWNED, .owner_ref = 1 << 16, .epoch = 5, .wanted = true };
        status = (struct session_status){ .phase = SESSION_IDLE, .epoch = 5 };
        return (struct state_facts){ .slot = &slot,
                                     .status = &status,
                                     .owner_is_live = true,
                                     .owner_pid = 77,
                                     .workers_wanted = 1,
                                     .workers_live = 1,
                                     .now_usec = NOW,
                                     .stall_timeout_usec = STALL };
}

static const char *word_of(const struct state_facts *facts, const char **ret_why) {
        static struct state state;

        state_of_session(facts, &state);
        if (ret_why)
                *ret_why = state.why;
        return state_name(state.word);
}

Test(cli_state, what_the_owner_says) {
        static const struct {
                enum session_phase phase;
                const char *word;
        } rows[] = {
                { SESSION_IDLE, "idle" },         { SESSION_MOVING, "moving" },
                { SESSION_WAITING, "waiting" },   { SESSION_STOPPED, "stopped" },
                { SESSION_STARTING, "starting" },
        };
        struct state_facts facts = healthy();

        static_assert(ELEMENTSOF(rows) == SESSION_PHASE_COUNT, "a row for each phase");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                status.phase = rows[i].phase;
                cr_assert_str_eq(word_of(&facts, NULL), rows[i].word);
        }
}

Test(cli_state, reasons_are_told_and_harmless) {
        struct state_facts facts = healthy();
        const char *why;

        status.phase = SESSION_STOPPED;
        strcpy(status.reason, "disk \033[31mgone");
        cr_assert_str_eq(word_of(&facts, &why), "stopped");
        cr_assert_str_eq(why, "disk ?[31mgone");
        status.reason[0] = '\0';
        (void) word_of(&facts, &why);
        cr_assert_neq(why[0], '\0', "stopped always has a reason");
}

Test(cli_state, stalled_is_waiting_events_and_no_commit_for_stall_timeout) {
        struct state_facts facts = healthy();

        status.phase = SESSION_MOVING;
        status.waiting_since_usec = NOW - STALL;
        cr_assert_str_eq(word_of(&facts, NULL), "stalled");
        status.waiting_since_usec = NOW - STALL + 1;
        cr_assert_str_eq(word_of(&facts, NULL), "moving");
        status.waiting_since_usec = NOW - 5 * STALL;
        status.commit_last_usec = NOW - 1;
        cr_assert_str_eq(word_of(&facts, NULL), "moving", "it commits");
        status.waiting_since_usec = 0;
        status.commit_last_usec = NOW - 100 * STALL;
        cr_assert_str_eq(word_of(&facts, NULL), "moving", "nothing waits: idle is not stalled");
        status.phase = SESSION_WAITING;
        status.waiting_since_usec = NOW - STALL;
        status.commit_last_usec = 0;
        cr_assert_str_eq(word_of(&facts, NULL), "stalled", "a retry that lasts is a stall");
        status.waiting_since_usec = NOW + STALL;
        cr_assert_str_eq(word_of(&facts, NULL), "waiting", "a time in the future proves nothing");
}

Test(cli_state, a_silent_or_dead_owner_is_not_believed) {
        struct state_facts facts = healthy();
        const char *why;

        facts.owner_silent_usec = STALL - 1;
        cr_assert_str_eq(word_of(&facts, NULL), "idle");
        facts.owner_silent_usec = STALL;
        cr_assert_str_eq(word_of(&facts, &why), "stalled");
        cr_assert_not_null(strstr(why, "77"));
        facts.owner_is_live = false;
        cr_assert_str_eq(word_of(&facts, NULL), "waiting");
}

Test(cli_state, a_status_of_another_epoch_is_old) {
        struct state_facts facts = healthy();

        status.phase = SESSION_STOPPED;
        status.epoch = 4;
        cr_assert_str_eq(word_of(&facts, NULL), "starting");
        facts.status = NULL;
        cr_assert_str_eq(word_of(&facts, NULL), "starting");
}

Test(cli_state, without_an_owner) {
        struct state_facts facts = healthy();

        slot.state = SLOT_ORPHAN;
        cr_assert_str_eq(word_of(&facts, NULL), "waiting");
        facts.workers_live = 0;
        cr_assert_str_eq(word_of(&facts, NULL), "waiting");
        facts.workers_wanted = 0;
        cr_assert_str_eq(word_of(&facts, NULL), "paused");
        slot.wanted = false;
        cr_assert_str_eq(word_of(&facts, NULL), "waiting");
}

Test(cli_state, quarantined_and_unreadable_slots_need_someone_s4) {
        struct state_facts facts = healthy();

        slot.quarantined = true;
        cr_assert_str_eq(word_of(&facts, NULL), "stopped");
        facts.slot = NULL;
        cr_assert_str_eq(word_of(&facts, NULL), "stopped");
}

Test(cli_state, attention_is_stopped_and_stalled_alone) {
        for (unsigned word = 0; word < STATE_COUNT; word++)
                cr_assert_eq(state_needs_attention(word), word == STATE_STOPPED || word == STATE_STALLED);
}

Test(cli_state, an_owner_that_nobody_names_is_not_pid_0_c4) {
        struct state_facts facts = healthy();
        const char *why;

        facts.owner_is_live = false;
        cr_assert_str_eq(word_of(&facts, &why), "waiting");
        cr_expect_str_eq(why, "its worker, pid 77, is gone and nobody has taken it over yet");
        facts.owner_pid = 0;
        cr_assert_str_eq(word_of(&facts, &why), "waiting");
        cr_expect(strstr(why, "its worker is not known"), "%s", why);
}
