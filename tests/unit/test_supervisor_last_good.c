/* SPDX-License-Identifier: Apache-2.0 */
/* U6: a supervisor that finds its configuration refused goes on with the last good one, while workers live. */
#include "tests/unit/test_supervisor_support.h"
#include "tests/unit/text_put.h"

TestSuite(supervisor_last_good, .init = place_make, .fini = place_remove, .timeout = 120);

#define BAD "[baton]\nsessions = 64\nmax-workers = 8\n[destination events]\nwokers = 2\n"
#define WHERE "baton.conf:5: [destination events] has no key \"wokers\""

static struct segment *seen;

/* One that was killed; its `workers` workers own `sources` sessions. */
static void killed_with(unsigned workers, unsigned sources) {
        pid_t first;

        first = supervisor_fork_owned("", workers, sources, &seen);
        if (workers == 2)
                wait_spread(seen, sources);
        supervisor_kill(first);
}

static const char *refused_in_segment(void) {
        static char text[LAYOUT_REASON_BYTES];

        cr_assert_eq(header_refused_read(seen, text), 0);
        return text;
}

static void end(struct manager *manager) {
        supervisor_stop(manager);
        segment_close(seen);
}

static bool is_there(const char *name) {
        char path[600];

        (void) snprintf(path, sizeof path, "%s/%s", place.runtime, name);
        return access(path, F_OK) == 0;
}

/* It does not start, says what config_load() says, and has given no configuration to anybody. */
static void fails_as_ever(const char *why) {
        struct manager *manager = NULL;
        struct config *config = NULL;
        struct failure failure = { 0 }, wanted = { 0 };

        cr_assert_lt(config_load(config_path, &config, &wanted), 0);
        cr_assert_eq(manager_new(&place, config_path, &manager, &failure), 0);
        cr_assert_lt(manager_start(manager, &failure), 0, "it started: %s", why);
        cr_assert_str_eq(failure.text, wanted.text, "%s", why);
        cr_assert_null(manager->config, "main() tells it as configuration-refused: %s", why);
        manager_free(manager);
}

static void good_put(const char *text) {
        text_put(place.runtime, "config.good", text);
}

/* ---- it goes on ----------------------------------------------------------------------------------------- */
Test(supervisor_last_good, U6_a_bad_configuration_stops_nothing_that_runs) {
        uint64_t owners[4], ref;
        struct manager *manager;

        killed_with(2, 4);
        for (uint32_t i = 0; i < 4; i++)
                owners[i] = atomic_load(&segment_slot(seen, i)->owner_ref);
        config_put(BAD);
        log_listen();
        manager = supervisor_start();
        cr_assert_eq(log_said(WHERE), 1);
        cr_assert_eq(log_said("the configuration is refused, and the last good one goes on: "), 1);
        until(manager, manager->ready_told && is_balanced(manager, 4, 2));
        for (uint32_t i = 0; i < 4; i++)
                cr_assert_eq(atomic_load(&segment_slot(seen, i)->owner_ref), owners[i],
                             "slot %u changed hands", i);
        cr_assert_not_null(strstr(refused_in_segment(), WHERE), "%s", refused_in_segment());
        cr_assert_not_null(strstr(manager->status_told, "baton.conf:5: "), "%s", manager->status_told);

        /* Whoever dies is replaced, and his sessions are balanced. */
        ref = owners[0];
        cr_assert_eq(kill((pid_t) atomic_load(&segment_worker(seen, worker_ref_index(ref))->pid), SIGKILL),
                     0);
        until(manager, !watch_find_ref(manager, ref) && is_balanced(manager, 4, 2));
        end(manager);
}

/* What was good stands alone: the credential that is bad now is no part of it. */
Test(supervisor_last_good, U6_a_bad_credential_stops_nothing_that_runs) {
        struct manager *manager;
        char path[600];

        killed_with(1, 2);
        (void) snprintf(path, sizeof path, "%s/credentials", place.state);
        cr_assert_eq(mkdir(path, 0700), 0);
        (void) setenv("CREDENTIALS_DIRECTORY", path, 1);
        text_put(path, "baton_x.conf", "[sorce x]\n");
        log_listen();
        manager = supervisor_start();
        cr_assert_eq(log_said("the last good one goes on: "), 1);
        cr_assert_eq(log_said("/credentials/baton_x.conf:1: unknown section"), 1);
        until(manager, is_balanced(manager, 2, 1));
        end(manager);
}

/* Everybody may read STATUS= (`systemctl status`), and not the configuration: it says where, and not what stands there. */
Test(supervisor_last_good, U6_the_status_of_the_unit_shows_nothing_of_what_is_refused) {
        struct manager *manager;

        killed_with(1, 2);
        config_put("[baton]\n[source s]\nurl = sqlite:/srv/private/%zz.db\nto = events\n");
        manager = supervisor_start();
        until(manager, manager->status_told[0] && is_balanced(manager, 2, 1));
        cr_assert_not_null(strstr(refused_in_segment(), "/srv/private/"), "group baton sees it");
        cr_assert_not_null(strstr(manager->status_told, "/baton.conf:3: `baton status`"), "%s",
                           manager->status_told);
        cr_assert_null(strstr(manager->status_told, "private"), "%s", manager->status_told);
        end(manager);
}

Test(supervisor_last_good, U6_a_missing_one_is_bad) {
        struct manager *manager;

        killed_with(1, 2);
        cr_assert_eq(unlink(config_path), 0);
        log_listen();
        manager = supervisor_start();
        cr_assert_eq(log_said("the last good one goes on: cannot read the configuration "), 1);
        until(manager, is_balanced(manager, 2, 1));
        end(manager);
}

Test(supervisor_last_good, U6_scale_works_and_outlives_the_next_death) {
        const char *error = NULL;
        struct failure failure = { 0 };
        struct manager *manager;
        pid_t second;

        killed_with(1, 2);
        config_put(BAD);
        second = supervisor_fork(NULL);
        while (atomic_load(&seen->header->supervisor_pid) != (uint32_t) second)
                (void) usleep(2000);
        supervisor_kill(second);
        manager = supervisor_start(); /* the second in a row */
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_eq(operator_scale(manager, "events", 2, &error, &failure), 0, "%s", failure.text);
        until(manager, is_balanced(manager, 2, 2));
        manager_free(manager);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 2));
        cr_assert_eq(manager->pools[0].wanted, 2, "V9");
        end(manager);
}

Test(supervisor_last_good, U6_reload_refuses_the_bad_one_and_takes_the_mended_one) {
        struct failure failure = { 0 };
        struct manager *manager;
        uint64_t generation;

        killed_with(1, 2);
        config_put(BAD);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        generation = atomic_load(&seen->header->config_generation);
        cr_assert_lt(reload(manager, &failure), 0);
        cr_assert_not_null(strstr(failure.text, "nothing was reloaded: "), "%s", failure.text);
        cr_assert_not_null(strstr(failure.text, WHERE), "%s", failure.text);

        config_put("[baton]\n\nsesions = 1\n"); /* another fault: it is the one that is told now */
        cr_assert_lt(reload(manager, &failure), 0);
        cr_assert_not_null(strstr(refused_in_segment(), "baton.conf:3: "), "%s", refused_in_segment());
        cr_assert_eq(atomic_load(&seen->header->config_generation), generation);

        config_simple("", 1, 3);
        cr_assert_eq(reload(manager, &failure), 0, "%s", failure.text);
        until(manager, is_balanced(manager, 3, 1));
        cr_assert_str_empty(refused_in_segment());
        turn_for(manager, USEC_PER_SEC + 200 * USEC_PER_MSEC); /* STATUS= once a second */
        look(manager);
        cr_assert_null(strstr(manager->status_told, "refused"), "%s", manager->status_told);

        /* From here on a refused reload says nothing of the start. */
        config_put(BAD);
        cr_assert_lt(reload(manager, &failure), 0);
        cr_assert_str_empty(refused_in_segment());
        end(manager);
}

/* What a reload took over is what goes on, not what the supervisor was started with. */
Test(supervisor_last_good, U6_the_last_one_is_that_of_the_last_reload) {
        struct manager *manager;
        struct failure failure = { 0 };

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        config_simple("stall-timeout = 7s\n", 1, 5);
        cr_assert_eq(reload(manager, &failure), 0, "%s", failure.text);
        until(manager, is_balanced(manager, 5, 1));
        seen = segment_seen();
        manager_free(manager); /* as if killed: it tells nobody */
        config_put(BAD);
        manager = supervisor_start();
        cr_assert_eq(manager->config->session_count, 5);
        cr_assert_eq(manager->config->stall_timeout_usec, 7 * USEC_PER_SEC);
        until(manager, is_balanced(manager, 5, 1));
        end(manager);
}

Test(supervisor_last_good, U6_nobody_else_reads_it_and_a_stop_removes_it) {
        char path[600];
        struct manager *manager;
        struct stat status;

        config_simple("", 1, 1);
        (void) umask(0);
        manager = supervisor_start();
        (void) snprintf(path, sizeof path, "%s/config.good", place.runtime);
        cr_assert_eq(stat(path, &status), 0);
        cr_assert_eq(status.st_mode & 07777, 0600);
        supervisor_stop(manager);
        cr_assert_neq(stat(path, &status), 0);
}

/* U5: what is refused at the next start is refused for an upgrade, too, in the same words. */
Test(supervisor_last_good, U5_U6_an_upgrade_waits_until_it_is_mended) {
        struct manager *manager;
        struct failure failure = { 0 };

        killed_with(1, 1);
        config_put(BAD);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        cr_assert_lt(upgrade_probe(&place, config_path, &failure), 0);
        cr_assert_not_null(strstr(failure.text, WHERE), "%s", failure.text);
        config_simple("", 1, 1);
        cr_assert_eq(upgrade_probe(&place, config_path, &failure), 0, "%s", failure.text);
        end(manager);
}

/* It was good when the new binary was asked, and is not when it starts: the segment says that we were here. */
Test(supervisor_last_good, U5_U6_a_configuration_that_goes_bad_in_an_upgrade_stops_nothing) {
        struct manager *manager;

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        seen = segment_seen();
        cr_assert_eq(atomic_load(&seen->header->supervisor_pid), (uint32_t) getpid());
        manager_free(manager); /* the exec: same pid, same children */
        config_put(BAD);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_not_null(strstr(refused_in_segment(), WHERE));
        end(manager);
}

/* ---- it does not ----------------------------------------------------------------------------------------- */
Test(supervisor_last_good, U6_a_fresh_start_fails_as_ever) {
        config_put(BAD);
        fails_as_ever("nothing was there");
        cr_assert_neq(access(place.state, F_OK), 0, "and nothing was made");
        cr_assert_neq(access(place.runtime, F_OK), 0);
}

Test(supervisor_last_good, U6_a_start_after_a_stop_fails_as_ever) {
        struct manager *manager;

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        supervisor_stop(manager);
        config_put(BAD);
        fails_as_ever("it was stopped in order");
}

Test(supervisor_last_good, U6_without_a_living_worker_it_fails_as_ever) {
        killed_with(1, 2);
        cr_assert_eq(kill((pid_t) atomic_load(&segment_worker(seen, 0)->pid), SIGKILL), 0);
        while (!life_is_proven_dead(seen, worker_ref(0, 1)))
                (void) usleep(2000);
        config_put(BAD);
        fails_as_ever("nobody lives");
        cr_assert(is_there("config.good"), "and nothing is removed");
        segment_close(seen);
}

Test(supervisor_last_good, U6_a_stop_that_was_under_way_is_none_to_go_on_from) {
        killed_with(1, 2);
        worker_does("stays", true);
        atomic_store(&seen->header->stopping, 1);
        config_put(BAD);
        fails_as_ever("it was told to stop");
        segment_close(seen);
}

Test(supervisor_last_good, U6_what_another_supervisor_runs_is_its_own) {
        pid_t first;

        first = supervisor_fork_owned("", 1, 1, &seen);
        config_put(BAD);
        fails_as_ever("another supervisor lives");
        cr_assert(is_there(CONTROL_SOCKET_NAME), "whose sockets stand");
        supervisor_kill(first);
        segment_close(seen);
}

Test(supervisor_last_good, U6_without_the_last_good_one_it_fails_as_ever) {
        char path[600];

        killed_with(1, 1);
        config_put(BAD);
        good_put("[baton]\nsessions = many\n");
        fails_as_ever("it cannot be read");
        good_put("");
        (void) snprintf(path, sizeof path, "%s/config.good", place.runtime);
        cr_assert_eq(unlink(path), 0);
        fails_as_ever("it is gone");
        segment_close(seen);
}

/* It does not fit the segment: nothing is made anew with it, and nobody who lives is ended for it. */
Test(supervisor_last_good, U6_it_makes_no_new_segment) {
        uint64_t ref;

        killed_with(1, 1);
        ref = atomic_load(&segment_slot(seen, 0)->owner_ref);
        config_put(BAD);
        good_put("[baton]\nsessions = 4000\n[destination events]\nurl = sqlite:/d/events.db\n"
                 "[source s0]\nurl = sqlite:/s/0.db\nto = events\n");
        fails_as_ever("it needs a larger segment");
        cr_assert(life_is_live(seen, ref));
        cr_assert_eq(atomic_load(&segment_slot(seen, 0)->owner_ref), ref);
        segment_close(seen);
}

/* ---- it cannot be kept ------------------------------------------------------------------------------------- */
Test(supervisor_last_good, U6_one_that_cannot_be_written_leaves_none_of_before) {
        struct manager *manager;
        struct failure failure = { 0 };
        char path[600];

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        cr_assert(is_there("config.good"));
        /* The temporary file's place is taken. */
        (void) snprintf(path, sizeof path, "%s/.config.good.%d.tmp", place.runtime, (int) gettid());
        cr_assert_eq(mkdir(path, 0700), 0);
        log_listen();
        config_simple("", 1, 2);
        cr_assert_eq(reload(manager, &failure), 0, "the reload is good all the same: %s", failure.text);
        cr_assert_eq(log_said("cannot write "), 1);
        cr_assert_not(is_there("config.good"), "it would set the sessions back");
        until(manager, is_balanced(manager, 2, 1));
        cr_assert(is_there("config.applied"), "this one could be: it is what runs");
        supervisor_stop(manager);
        cr_assert_not(is_there("config.applied"), "nothing outlasts a stop");
}
