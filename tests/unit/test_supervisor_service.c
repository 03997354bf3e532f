/* SPDX-License-Identifier: Apache-2.0 */
/* U2 to U5: what the supervisor does for the unit that it runs under, each case turned by hand. */
#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_service, .init = place_make, .fini = place_remove, .timeout = 120);

/* ---- U2: a stop, or a crash ----------------------------------------------------------------------------- */
Test(supervisor_service, U2_only_a_stop_ends_workers) {
        static const char *const crashes[] = { "signal",    "core-dump",       "exit-code",
                                               "watchdog",  "oom-kill",        "protocol",
                                               "resources", "start-limit-hit", "" };

        cr_expect(clear_is_wanted("success"), "a stop in order");
        cr_expect(clear_is_wanted("timeout"), "one that had to be forced");
        cr_expect(clear_is_wanted(NULL), "a person asks");
        for (size_t i = 0; i < ELEMENTSOF(crashes); i++)
                cr_expect_not(clear_is_wanted(crashes[i]), "%s", crashes[i]);
}

Test(supervisor_service, U2_what_a_dead_supervisor_left_is_ended) {
        struct directories directories = { .state = "" };
        struct manager *manager;
        struct failure failure = {};

        config_simple("", 2, 2);
        manager = supervisor_start();
        until(manager, watch_count(manager, LAYOUT_NONE, false) == 2 && manager->owned_count == 2);
        directories = manager->directories;
        cr_assert_eq(clear_run(&directories, &failure), -EBUSY, "a supervisor lives, whose they are");
        cr_assert_not_null(strstr(failure.text, "another supervisor"), "%s", failure.text);
        manager_free(manager); /* its workers go on, as after a crash */
        cr_assert_eq(clear_run(&directories, &failure), 0, "%s", failure.text);
        cr_assert_eq(clear_run(&directories, &failure), 0, "nobody is left");
}

Test(supervisor_service, U2_who_holds_no_lock_is_not_signalled) {
        config_simple("", 0, 1);
        cr_assert_eq(workers_holder_signal(place.state, getpid(), SIGKILL), -ESRCH);
        cr_assert_eq(workers_holder_signal(place.state, 0, SIGKILL), -ESRCH);
        cr_assert_eq(workers_holder_signal(place.state, 1, SIGKILL), -ESRCH);
}

/* ---- U3: quick ends -------------------------------------------------------------------------------------- */
Test(supervisor_service, U3_quick_ends_in_a_row_are_counted) {
        const uint64_t now_usec = 100 * USEC_PER_SEC;

        cr_expect_eq(starts_count("0 99500000\n", now_usec), 1);
        cr_expect_eq(starts_count("7 99500000\n", now_usec), 8);
        cr_expect_eq(starts_count("7 98000000\n", now_usec), 0, "it had lived");
        cr_expect_eq(starts_count("7 100000001\n", now_usec), 0, "of another boot");
        cr_expect_eq(starts_count("", now_usec), 0);
        cr_expect_eq(starts_count("7", now_usec), 0, "half a file");
        cr_expect_eq(starts_count("4294967295 99500000\n", now_usec), UINT32_MAX);
}

/* Workers wait adopt-timeout for us, 30 s where nobody says otherwise. */
Test(supervisor_service, U3_the_delay_grows_and_stays_below_the_workers_patience) {
        cr_expect_eq(starts_delay_usec(0), 0);
        cr_expect_eq(starts_delay_usec(2), 0, "twice is bad luck");
        cr_expect_eq(starts_delay_usec(3), 100 * USEC_PER_MSEC);
        cr_expect_eq(starts_delay_usec(4), 200 * USEC_PER_MSEC);
        for (uint32_t count = 0; count < 100; count++)
                cr_expect_leq(starts_delay_usec(count), starts_delay_usec(count + 1));
        cr_expect_eq(starts_delay_usec(UINT32_MAX), 10 * USEC_PER_SEC);
}

/* ---- U4: the watchdog -------------------------------------------------------------------------------------- */
Test(supervisor_service, U4_a_loop_that_does_not_look_is_not_fed) {
        struct manager *manager;
        uint64_t looked_usec;

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, manager->owned_count == 1);
        looked_usec = manager->look_usec;
        cr_expect(watchdog_may_be_fed(manager, looked_usec + LOOK_IDLE_USEC));
        cr_expect_not(watchdog_may_be_fed(manager, looked_usec + 4 * LOOK_IDLE_USEC));
        manager->state = MANAGER_WAITING;
        cr_expect(watchdog_may_be_fed(manager, looked_usec + 4 * LOOK_IDLE_USEC),
                  "there is nothing to look at");
        manager->state = MANAGER_SERVING;
        supervisor_stop(manager);
}

Test(supervisor_service, U4_a_worker_that_nobody_decides_about_is_not_overlooked) {
        struct manager *manager;
        struct process *process = NULL;
        uint64_t late_usec;

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, manager->owned_count == 1);
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0)
                        process = &manager->processes[i];
        cr_assert_not_null(process);
        late_usec = process->answered_usec + 3 * manager->config->stall_timeout_usec + 10 * USEC_PER_SEC;
        manager->look_usec = late_usec;
        cr_expect_not(watchdog_may_be_fed(manager, late_usec), "it has neither answered nor been killed");
        process->kill_usec = late_usec;
        cr_expect(watchdog_may_be_fed(manager, late_usec), "it was killed");
        process->kill_usec = 0;
        process->disk_usec = late_usec;
        cr_expect(watchdog_may_be_fed(manager, late_usec), "its disk is waited for");
        process->disk_usec = 0;
        supervisor_stop(manager);
}

/* ---- P7: a worker asks to be replaced ------------------------------------------------------------------------- */
static struct process *only_process(struct manager *manager) {
        struct process *found = NULL;

        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0 && !manager->processes[i].leaving)
                        found = &manager->processes[i];
        cr_assert_not_null(found);
        return found;
}

static void ask_for_renewal(struct manager *manager, const struct process *process, uint64_t word) {
        atomic_store(&segment_worker(manager->segment, worker_ref_index(process->ref))->renewal_ref, word);
        look(manager);
}

/* The word is a worker's (P1): another's ref, or one that has gone, says nothing; and one that asks at once again, as
 * no worker of ours would, does not make the supervisor spin. */
Test(supervisor_service, P7_who_asks_is_replaced_and_not_again_at_once) {
        struct manager *manager;
        pid_t first, second;
        uint64_t asked_usec;

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, manager->owned_count == 1);
        first = only_process(manager)->pid;
        ask_for_renewal(manager, only_process(manager), only_process(manager)->ref + (1 << 16));
        ask_for_renewal(manager, only_process(manager), UINT64_MAX);
        cr_expect_eq(watch_count(manager, LAYOUT_NONE, true), 1, "words that say nothing");

        asked_usec = clock_usec();
        ask_for_renewal(manager, only_process(manager), only_process(manager)->ref);
        cr_expect_eq(watch_count(manager, LAYOUT_NONE, true), 2, "one more, and nobody has left");
        until(manager, watch_count(manager, LAYOUT_NONE, true) == 1 && only_process(manager)->ref != 0 &&
                               only_process(manager)->pid != first && manager->owned_count == 1);
        second = only_process(manager)->pid;

        ask_for_renewal(manager, only_process(manager), only_process(manager)->ref);
        cr_assert_lt(clock_usec(), asked_usec + USEC_PER_SEC, "the case is about one that follows soon");
        cr_expect_eq(watch_count(manager, LAYOUT_NONE, true), 1, "not yet");
        until(manager, watch_count(manager, LAYOUT_NONE, true) == 1 && only_process(manager)->ref != 0 &&
                               only_process(manager)->pid != second);
        cr_expect_geq(clock_usec(), asked_usec + USEC_PER_SEC);
        cr_expect_eq(manager->pools[only_process(manager)->pool_index].renewal_delay_usec, 2 * USEC_PER_SEC,
                     "and the next waits longer");
        supervisor_stop(manager);
}

/* ---- U5: the upgrade ---------------------------------------------------------------------------------------- */
/* Of a stop and an upgrade the stop wins: the next binary would not know of it. (If it did not, this process would
 * become another here.) */
Test(supervisor_service, U5_who_was_told_to_stop_becomes_nobody_else) {
        struct manager *manager;
        struct failure failure = {};

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, manager->owned_count == 1);
        (void) snprintf(manager->own_path, sizeof manager->own_path,
                        "/bin/true"); /* would go on from anywhere */
        cr_assert_eq(upgrade_begin(manager, &failure), 0, "%s", failure.text);
        (void) snprintf(manager->own_path, sizeof manager->own_path,
                        "/bin/false"); /* the end of this test, then */
        shutdown_begin(manager);
        until(manager, !manager->upgrading);
        cr_assert_eq(manager->state, MANAGER_STOPPING);
        supervisor_stop(manager);
}

Test(supervisor_service, U5_a_binary_that_refuses_changes_nothing_and_is_quoted) {
        struct manager *manager;
        struct failure failure = {};

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, manager->owned_count == 1);
        (void) snprintf(manager->own_path, sizeof manager->own_path, "/bin/false");
        cr_assert_eq(upgrade_begin(manager, &failure), -ECANCELED);
        cr_assert_not_null(strstr(failure.text, "it does not say why"), "%s", failure.text);
        (void) snprintf(manager->own_path, sizeof manager->own_path, "/nonexistent");
        cr_assert_eq(upgrade_begin(manager, &failure), -ECANCELED);
        cr_assert_not_null(strstr(failure.text, "No such file"), "%s", failure.text);
        cr_assert_not(manager->upgrading);
        supervisor_stop(manager);
}
