/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets what on join, leave, death, scale and stop (S3, S5, S9; V5, V6), on a real segment with worker
 * processes that own slots but move nothing. */
#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_assign, .init = place_make, .fini = place_remove);

static void assigned_words(const struct manager *manager, uint64_t ret_words[64]) {
        for (uint32_t i = 0; i < 64; i++)
                ret_words[i] = atomic_load(&segment_slot(manager->segment, i)->assigned_ref);
}

static int scale(struct manager *manager, const char *name, uint32_t workers, struct failure *ret_failure) {
        const char *error = NULL;

        return operator_scale(manager, name, workers, &error, ret_failure);
}

Test(supervisor_assign, S9_one_worker_has_all_and_no_heir) {
        struct manager *manager;

        config_simple("", 1, 5);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 5, 1));
        cr_assert_eq(atomic_load(&segment_slot(manager->segment, 0)->heir_ref), 0);
        supervisor_stop(manager);
}

Test(supervisor_assign, S9_joins_and_leaves_move_no_more_than_they_must) {
        uint64_t before[64], after[64];
        struct manager *manager;
        uint32_t moved = 0;

        config_simple("", 2, 12);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 12, 2));
        assigned_words(manager, before);
        cr_assert_eq(scale(manager, "events", 3, NULL), 0);
        until(manager, is_balanced(manager, 12, 3));
        assigned_words(manager, after);
        for (uint32_t i = 0; i < 12; i++)
                moved += before[i] != after[i];
        cr_assert_eq(moved, 4, "a third of twelve, and not one more: %u", moved);

        cr_assert_eq(scale(manager, "events", 1, NULL), 0);
        until(manager, is_balanced(manager, 12, 1));
        supervisor_stop(manager);
}

Test(supervisor_assign, S9_looking_again_moves_nothing) {
        uint64_t before[64], after[64];
        struct manager *manager;

        config_simple("", 3, 11);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 11, 3));
        assigned_words(manager, before);
        for (unsigned i = 0; i < 5; i++) {
                assign_run(manager, 0);
                look(manager);
        }
        assigned_words(manager, after);
        cr_assert_arr_eq(before, after, sizeof before);
        supervisor_stop(manager);
}

Test(supervisor_assign, V5_sessions_are_assigned_away_before_a_worker_is_told_to_leave) {
        struct manager *manager;
        struct process *leaver = NULL;

        config_simple("", 2, 4);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        cr_assert_eq(scale(manager, "events", 1, NULL), 0); /* looks at once */
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0 && manager->processes[i].leaving)
                        leaver = &manager->processes[i];
        cr_assert_not_null(leaver);
        cr_assert(leaver->drain_told);
        cr_assert_eq(atomic_load(&segment_worker(manager->segment, worker_ref_index(leaver->ref))->drain_ref),
                     leaver->ref);
        for (uint32_t i = 0; i < 4; i++) {
                cr_assert_neq(atomic_load(&segment_slot(manager->segment, i)->assigned_ref), leaver->ref);
                cr_assert_neq(atomic_load(&segment_slot(manager->segment, i)->assigned_ref), 0);
        }
        until(manager, is_balanced(manager, 4, 1));
        supervisor_stop(manager);
}

Test(supervisor_assign, S7_after_a_death_all_is_owned_and_a_replacement_comes) {
        struct manager *manager;
        pid_t dead;

        config_simple("", 2, 6);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 6, 2));
        dead = some_member(manager)->pid;
        cr_assert_eq(kill(dead, SIGKILL), 0);
        until(manager, is_balanced(manager, 6, 2) && some_member(manager)->pid != dead);
        supervisor_stop(manager);
}

Test(supervisor_assign, S7_the_death_of_all_workers) {
        struct manager *manager;
        pid_t dead[2] = { 0 };
        unsigned count = 0;

        config_simple("", 2, 6);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 6, 2));
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0)
                        dead[count++] = manager->processes[i].pid;
        cr_assert_eq(count, 2);
        cr_assert_eq(kill(dead[0], SIGKILL), 0);
        cr_assert_eq(kill(dead[1], SIGKILL), 0);
        until(manager, is_balanced(manager, 6, 2) && some_member(manager)->pid != dead[0] &&
                               some_member(manager)->pid != dead[1]);
        supervisor_stop(manager);
}

Test(supervisor_assign, a_pool_of_no_workers_stays_orphaned) {
        struct manager *manager;

        config_simple("", 0, 3);
        manager = supervisor_start();
        turn_for(manager, 200 * USEC_PER_MSEC);
        cr_assert_eq(watch_count(manager, LAYOUT_NONE, true), 0);
        for (uint32_t i = 0; i < 3; i++)
                cr_assert_eq(atomic_load(&segment_slot(manager->segment, i)->state), SLOT_ORPHAN);
        cr_assert(manager->ready_told, "0 workers is a stated reason");
        cr_assert_eq(scale(manager, "events", 2, NULL), 0);
        until(manager, is_balanced(manager, 3, 2));
        cr_assert_eq(scale(manager, "events", 0, NULL), 0);
        until(manager, watch_count(manager, LAYOUT_NONE, true) == 0);
        supervisor_stop(manager);
}

Test(supervisor_assign, scale_is_bounded_and_says_why) {
        struct failure failure = { 0 };
        struct manager *manager;

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        cr_assert_eq(scale(manager, "events", 9, &failure), -ERANGE);
        cr_assert(strstr(failure.text, "max-workers = 8"), "%s", failure.text);
        cr_assert_eq(scale(manager, "evnts", 2, &failure), -ENOENT);
        cr_assert(strstr(failure.text, "the nearest is events"), "%s", failure.text);
        turn_for(manager, 100 * USEC_PER_MSEC);
        cr_assert(is_balanced(manager, 1, 1), "nothing changed");
        supervisor_stop(manager);
}

Test(supervisor_assign, V6_workers_that_keep_dying_are_started_ever_more_slowly) {
        struct manager *manager;

        worker_does("dies", true);
        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, manager->pools[0].restart_delay_usec >= 400 * USEC_PER_MSEC);
        cr_assert(manager->pools[0].restart_usec > clock_usec() || watch_count(manager, 0, true) == 1);
        worker_does("dies", false);
        until(manager, is_balanced(manager, 1, 1));
        supervisor_stop(manager);
}

Test(supervisor_assign, M10_stop_lets_all_leave_and_a_second_signal_does_no_harm) {
        struct failure failure = { 0 };
        struct manager *manager;
        char path[600];

        config_simple("", 3, 7);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 7, 3));
        shutdown_begin(manager);
        cr_assert_eq(atomic_load(&manager->segment->header->stopping), 1);
        shutdown_begin(manager);
        cr_assert_eq(manager_run(manager, &failure), 0);
        for (uint32_t i = 0; i < 7; i++)
                cr_assert_eq(atomic_load(&segment_slot(manager->segment, i)->state), SLOT_ORPHAN);
        cr_assert_eq(atomic_load(&manager->segment->header->supervisor_pid), 0);
        manager_free(manager);
        (void) snprintf(path, sizeof path, "%s/" CONTROL_SOCKET_NAME, place.runtime);
        cr_assert_lt(access(path, F_OK), 0, "the control socket is removed");
        (void) snprintf(path, sizeof path, "%s/" NOTIFY_SOCKET_NAME, place.runtime);
        cr_assert_lt(access(path, F_OK), 0, "the notify socket is removed");
}

Test(supervisor_assign, S4_a_quarantined_session_gets_a_new_slot_only_from_an_operator) {
        struct manager *manager;
        const char *error = NULL;
        uint64_t request = 0;
        uint32_t old, new;

        config_simple("", 0, 2);
        manager = supervisor_start();
        old = slot_called(manager, "s1");
        cr_assert_neq(old, LAYOUT_NONE);
        atomic_store(&segment_slot(manager->segment, old)->quarantined, 1);
        cr_assert_eq(scale(manager, "events", 1, NULL), 0);
        until(manager, members(manager) == 1 && owned_by(manager, some_member(manager)->ref) == 1);
        turn_for(manager, 200 * USEC_PER_MSEC);
        cr_assert_eq(slot_called(manager, "s1"), old, "left alone");

        cr_assert_eq(operator_adopt(manager, "s1", &request, &error, NULL), 0);
        cr_assert_eq(request, 1);
        new = slot_called(manager, "s1");
        cr_assert_neq(new, old);
        until(manager, owned_by(manager, some_member(manager)->ref) == 2);
        cr_assert_eq(atomic_load(&segment_slot(manager->segment, new)->adopt_request), 1);
        supervisor_stop(manager);
}

Test(supervisor_assign, adopt_counts_and_an_unknown_session_names_the_nearest) {
        struct failure failure = { 0 };
        struct session_status status;
        const char *error = NULL;
        struct manager *manager;
        uint64_t request = 0;
        uint32_t slot;

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        slot = slot_called(manager, "s1");
        cr_assert_eq(operator_adopt(manager, "s1", &request, &error, NULL), 0);
        cr_assert_eq(operator_adopt(manager, "s1", &request, &error, NULL), 0);
        cr_assert_eq(request, 2);
        until(manager, session_status_read(manager->segment, slot, &status) == 0 && status.adopt_done == 2);
        cr_assert_eq(operator_adopt(manager, "s9", &request, &error, &failure), -ENOENT);
        cr_assert_str_eq(error, CONTROL_ERROR_UNKNOWN_SESSION);
        cr_assert(strstr(failure.text, "\"s9\"") && strstr(failure.text, "nearest is s"), "%s", failure.text);
        supervisor_stop(manager);
}

/* Found by tests/fuzz: a slot that says FREE was looked at by nobody any more, neither by a takeover nor by the
 * supervisor, and `status` did not show it: the session stood still without a word. */
Test(supervisor_assign, P1_a_slot_that_a_worker_calls_free_is_put_back) {
        struct manager *manager;
        uint32_t slot;

        config_simple("", 1, 3);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 3, 1));
        log_listen();
        slot = slot_called(manager, "s2");
        atomic_store(&segment_slot(manager->segment, slot)->owner_ref, 0);
        atomic_store(&segment_slot(manager->segment, slot)->state, SLOT_FREE);
        until(manager, is_balanced(manager, 3, 1));
        cr_assert_eq(slot_called(manager, "s2"), slot);
        cr_assert_eq(log_said("session s2 (slot"), 1, "once, that it was put back");

        /* Withdrawn, it needs nothing more. */
        config_simple("", 1, 2);
        cr_assert_eq(reload(manager, NULL), 0);
        atomic_store(&segment_slot(manager->segment, slot)->owner_ref, 0);
        atomic_store(&segment_slot(manager->segment, slot)->state, SLOT_FREE);
        until(manager, !manager->slots[slot].used);
        supervisor_stop(manager);
}

/* The next supervisor meets it before anyone has put it back: no second slot for a session that has an owner. */
Test(supervisor_assign, P1_a_slot_with_an_owner_is_not_free) {
        struct manager *manager;
        struct plan plan = { 0 };
        struct failure failure = { 0 };
        uint32_t slot;

        config_simple("", 1, 3);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 3, 1));
        slot = slot_called(manager, "s2");
        atomic_store(&segment_slot(manager->segment, slot)->state, SLOT_FREE);
        cr_assert_eq(plan_make(manager->segment, manager->config, &plan, &failure), 0, "%s", failure.text);
        cr_assert_eq(plan.slot_of_session[2], slot);
        plan_done(&plan);
        until(manager, is_balanced(manager, 3, 1));
        supervisor_stop(manager);
}

Test(supervisor_assign, P1_a_record_out_of_bounds_is_told_once_and_left_alone) {
        struct manager *manager;
        struct process *member;
        uint32_t slot;

        config_simple("", 1, 3);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 3, 1));
        member = some_member(manager);
        slot = slot_called(manager, "s2");
        atomic_store(&segment_slot(manager->segment, slot)->state, 77);
        memset(segment_status(manager->segment, 0)->reason, 'x', LAYOUT_REASON_BYTES);
        segment_status(manager->segment, 1)->phase = 99;
        atomic_fetch_add(&segment_status(manager->segment, 1)->sequence, 2);
        memset(segment_config(manager->segment, slot)->session, 'x',
               sizeof segment_config(manager->segment, slot)->session);
        /* An entry that names this test as a worker, and one far outside. */
        atomic_store(&segment_worker(manager->segment, 6)->pid, (uint32_t) getpid());
        cr_assert_eq(process_start_ticks(getpid(), &(uint64_t){ 0 }), 0);
        atomic_store(&segment_worker(manager->segment, 6)->pool_index, 4000);
        atomic_store(&segment_worker(manager->segment, 6)->life, 9 << 8 | LIFE_LIVE);
        for (unsigned i = 0; i < 5; i++)
                look(manager);
        cr_assert(manager->slots[slot].bad_told);
        cr_assert_eq(manager->bad_worker_told[6], 9 << 8 | LIFE_LIVE);
        cr_assert_eq(watch_count(manager, LAYOUT_NONE, true), 1);
        cr_assert_eq(member->kill_usec, 0);
        atomic_store(&segment_worker(manager->segment, 6)->life, 9 << 8 | LIFE_FREE);
        supervisor_stop(manager);
}
