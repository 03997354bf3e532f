/* SPDX-License-Identifier: Apache-2.0 */
/* The orderly end (M10): who leaves is waited for, who does not is killed after 90 s. */
#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_stop, .init = place_make, .fini = place_remove, .timeout = 60);

static void stop_to_the_end(struct manager *manager) {
        struct failure failure = { 0 };

        cr_assert_eq(manager_run(manager, &failure), 0, "%s", failure.text);
        cr_assert_eq(watch_count(manager, LAYOUT_NONE, true), 0);
        cr_assert_eq(log_said("stopped: all workers have left"), 1);
        manager_free(manager);
}

Test(supervisor_stop, M10_workers_leave_and_nobody_is_killed) {
        struct manager *manager;

        config_simple("", 2, 4);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        log_listen();
        shutdown_begin(manager);
        stop_to_the_end(manager);
        cr_assert_eq(log_said("has left (exit code 0)"), 2);
        cr_assert_eq(log_said("killed"), 0);
}

Test(supervisor_stop, M10_who_has_not_left_after_90_s_is_killed) {
        struct manager *manager;

        config_simple("", 2, 4);
        worker_does("stays", true);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        log_listen();
        shutdown_begin(manager);
        cr_assert_eq(set_for_usec(manager, manager->shutdown_source), 90 * USEC_PER_SEC);
        turn_for(manager, 100 * USEC_PER_MSEC);
        cr_assert_eq(watch_count(manager, LAYOUT_NONE, true), 2, "they are waited for");
        cr_assert_eq(log_said("killed"), 0);
        elapse(manager->shutdown_source);
        stop_to_the_end(manager);
        cr_assert_eq(log_said("has not left within 90 s"), 2);
        cr_assert_eq(log_said("was killed by SIGKILL"), 2);
}

/* The signal that comes twice, from an impatient person or from systemd, changes nothing. */
Test(supervisor_stop, M10_a_second_signal_changes_nothing) {
        struct manager *manager;
        uint64_t since_usec;

        config_simple("", 1, 1);
        worker_does("stays", true);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        log_listen();
        shutdown_begin(manager);
        since_usec = manager->shutdown_usec;
        (void) kill(getpid(), SIGTERM); /* to the loop's own signalfd */
        turn_for(manager, 50 * USEC_PER_MSEC);
        cr_assert_eq(manager->shutdown_usec, since_usec);
        cr_assert_eq(log_said("stopping:"), 1);
        worker_does("stays", false);
        stop_to_the_end(manager);
        cr_assert_eq(log_said("has left (exit code 0)"), 1);
}
