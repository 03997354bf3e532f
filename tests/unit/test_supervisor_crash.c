/* SPDX-License-Identifier: Apache-2.0 */
/* Every numbered crash point of supervisor/ (README, supervisor.K1–K8): the supervisor dies there, and the
 * next one ends with every session owned and balanced, by as many workers as are wanted. */
#include <stdlib.h>

/* The sources themselves, so that the points exist in an ordinary build, too. */
#undef BATON_CRASH_POINTS
#define BATON_CRASH_POINTS 1
#include "base/crash.c"
#include "supervisor/adopt.c"
#include "supervisor/assign.c"
#include "supervisor/last_good.c"
#include "supervisor/pools.c"
#include "supervisor/spawn.c"

#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_crash, .init = place_make, .fini = place_remove);

static void dies(pid_t pid, const char *point) {
        int status;

        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s was not passed: status %#x", point,
                  status);
}

/* A first supervisor dies at the point; the second finds what it left. */
static void starts_again_after(const char *point) {
        struct manager *manager;

        config_simple("", 2, 6);
        dies(supervisor_fork(point), point);
        manager = supervisor_start();
        /* Whom the first one forked joins as well, sooner or later, and then one is too many. */
        until(manager, is_balanced(manager, 6, 2) && workers_running() == 2);
        supervisor_stop(manager);
}

Test(supervisor_crash, K1_a_worker_that_nobody_noted_is_found_and_counted) {
        starts_again_after("supervisor.K1");
}

Test(supervisor_crash, K1_the_second_worker_not_noted) {
        starts_again_after("supervisor.K1:2");
}

Test(supervisor_crash, K2_a_number_is_spent_and_no_segment_has_it) {
        struct manager *manager;

        config_simple("", 1, 1);
        dies(supervisor_fork("supervisor.K2"), "supervisor.K2");
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        cr_assert_eq(manager->segment->header->epoch_base, 2ULL << 32, "numbers only rise (V8)");
        supervisor_stop(manager);
}

Test(supervisor_crash, K3_some_pools_have_new_settings) {
        starts_again_after("supervisor.K3");
}

Test(supervisor_crash, K4_some_slots_have_their_session) {
        starts_again_after("supervisor.K4:3");
}

Test(supervisor_crash, K5_some_slots_are_assigned_anew) {
        starts_again_after("supervisor.K5:2");
}

Test(supervisor_crash, K6_a_whole_empty_segment_is_adopted) {
        struct manager *manager;

        config_simple("", 1, 1);
        dies(supervisor_fork("supervisor.K6"), "supervisor.K6");
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        cr_assert_eq(manager->segment->header->epoch_base, 1ULL << 32, "the one that was made");
        supervisor_stop(manager);
}

Test(supervisor_crash, K7_the_last_good_configuration_stands_and_is_not_applied) {
        starts_again_after("supervisor.K7");
}

/* A reload dies in the middle of its words, with workers at work; the next supervisor reads the same file. */
static void reload_dies_at(const char *point, bool goes_bad) {
        struct manager *manager;
        pid_t pid;

        config_simple("", 2, 4);
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                manager = supervisor_start();
                until(manager, is_balanced(manager, 4, 2));
                config_put(
                        "[baton]\nsessions = 64\nmax-workers = 8\n[destination archive]\nurl = sqlite:/d/a.db\n"
                        "[destination events]\nurl = sqlite:/d/events.db\nworkers = 1\n"
                        "[source s1]\nurl = sqlite:/s/1.db?table=t\nto = events\n"
                        "[source s3]\nurl = sqlite:/s/3.db\nto = events, archive\n"
                        "[source s5]\nurl = sqlite:/s/5.db\nto = archive\n");
                (void) setenv("BATON_CRASH", point, 1);
                (void) reload(manager, NULL);
                _exit(0);
        }
        dies(pid, point);
        if (goes_bad) /* U6: then from what it had kept */
                config_put("[destination events]\n");
        manager = supervisor_start();
        cr_assert_eq(manager->config_refused[0] != '\0', goes_bad);
        until(manager,
              slot_called(manager, "s3/archive") != LAYOUT_NONE && slot_called(manager, "s0") == LAYOUT_NONE);
        until(manager, manager->owned_count == 4 && manager->unready_count == 0);
        for (uint32_t i = 0; i < 64; i++) {
                struct session_config config;

                if (atomic_load(&segment_slot(manager->segment, i)->state) == SLOT_FREE)
                        continue;
                cr_assert_eq(session_config_read(manager->segment, i, &config), 0, "slot %u is whole", i);
        }
        cr_assert_neq(slot_called(manager, "s1"), LAYOUT_NONE);
        cr_assert_neq(slot_called(manager, "s3/events"), LAYOUT_NONE);
        cr_assert_neq(slot_called(manager, "s5"), LAYOUT_NONE);
        supervisor_stop(manager);
}

Test(supervisor_crash, K3_in_a_reload) {
        reload_dies_at("supervisor.K3", false);
}

Test(supervisor_crash, K4_in_a_reload) {
        reload_dies_at("supervisor.K4:2", false);
}

Test(supervisor_crash, K7_in_a_reload) {
        reload_dies_at("supervisor.K7", false);
}

Test(supervisor_crash, K3_K4_K7_in_a_reload_and_the_file_goes_bad_U6) {
        static const char *const points[] = { "supervisor.K3", "supervisor.K4:2", "supervisor.K7" };

        for (size_t i = 0; i < ELEMENTSOF(points); i++)
                reload_dies_at(points[i], true);
}

/* ---- V9: how many workers, of the configuration or of `baton scale` ----------------------------------------- */
#define WORKERS_CONFIG                                                \
        "[baton]\nsessions = 64\nmax-workers = 8\n"                   \
        "[destination archive]\nurl = sqlite:/d/a.db\nworkers = 1\n"  \
        "[destination events]\nurl = sqlite:/d/%s.db\nworkers = %u\n" \
        "[source s0]\nurl = sqlite:/s/0.db\nto = events\n[source s1]\nurl = sqlite:/s/1.db\nto = events, archive\n"

static void workers_config(const char *address, unsigned workers) {
        char text[1024];

        (void) snprintf(text, sizeof text, WORKERS_CONFIG, address, workers);
        config_put(text);
}

static uint32_t workers_wanted_of(const struct manager *manager, const char *name) {
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                if (manager->pools[i].used && strcmp(manager->pools[i].name, name) == 0)
                        return manager->pools[i].wanted;
        return LAYOUT_NONE;
}

/* Both destinations are scaled to 2; then a reload changes the number of one, and dies. */
static void reload_of_workers_dies_at(const char *point, const char *address) {
        struct manager *manager;
        pid_t pid;

        workers_config("events", 1);
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                const char *error;

                manager = supervisor_start();
                until(manager, manager->owned_count == 3);
                (void) operator_scale(manager, "events", 2, &error, NULL);
                (void) operator_scale(manager, "archive", 2, &error, NULL);
                until(manager, members(manager) == 4);
                worker_does("stays", true);
                workers_config(address, 3);
                (void) setenv("BATON_CRASH", point, 1);
                (void) reload(manager, NULL);
                turn_for(manager, 300 * USEC_PER_MSEC);
                (void) kill(getpid(), SIGKILL);
        }
        dies(pid, point);
        manager = supervisor_start();
        cr_expect_eq(workers_wanted_of(manager, "events"), 3, "%s: the configuration says so now, not %u",
                     point, workers_wanted_of(manager, "events"));
        cr_expect_eq(workers_wanted_of(manager, "archive"), 2, "%s: nothing says otherwise", point);
        worker_does("stays", false);
        until(manager, members(manager) == 5 && manager->owned_count == 3);
        supervisor_stop(manager);
}

Test(supervisor_crash, K3_K4_K7_K8_V9_a_changed_number_of_workers_holds_wherever_the_reload_dies) {
        static const char *const points[] = { "supervisor.K7", "supervisor.K3",   "supervisor.K3:2",
                                              "supervisor.K4", "supervisor.K4:3", "supervisor.K8" };

        for (size_t i = 0; i < ELEMENTSOF(points); i++)
                reload_of_workers_dies_at(points[i], "events");
}

/* V7: its new address is not written while workers of the one before live; its number is. */
Test(supervisor_crash, V7_V9_so_it_does_where_the_address_changed_too) {
        static const char *const points[] = { "supervisor.K7", "supervisor.K3:2", "supervisor.K8",
                                              "while they leave" };

        for (size_t i = 0; i < ELEMENTSOF(points); i++)
                reload_of_workers_dies_at(points[i], "moved");
}
