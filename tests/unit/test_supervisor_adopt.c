/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor is killed and the next one adopts (P1, S11; V1, V3, V4, V8, V9). */
#include <systemd/sd-bus.h>

#include "supervisor/waits.h"
#include "tests/unit/notices.h"

TestSuite(supervisor_adopt, .init = place_make, .fini = place_remove);

Test(supervisor_adopt, P1_workers_and_sessions_go_on_and_are_adopted) {
        uint64_t owners[6], epochs[6], number;
        struct segment *segment;
        struct manager *manager;
        pid_t first;

        first = supervisor_fork_owned("", 2, 6, &segment);
        wait_spread(segment, 6);
        supervisor_kill(first);
        number = segment->header->epoch_base >> 32;
        cr_assert_eq(number, 1);
        for (uint32_t i = 0; i < 6; i++) {
                owners[i] = atomic_load(&segment_slot(segment, i)->owner_ref);
                epochs[i] = atomic_load(&segment_slot(segment, i)->epoch);
        }

        manager = supervisor_start();
        cr_assert_eq(manager->state, MANAGER_SERVING);
        cr_assert_eq(watch_count(manager, LAYOUT_NONE, true), 2, "both are known at once");
        until(manager, is_balanced(manager, 6, 2));
        cr_assert_eq(atomic_load(&segment->header->supervisor_pid), (uint32_t) getpid(), "the same segment");
        for (uint32_t i = 0; i < 6; i++) {
                cr_assert_eq(atomic_load(&segment_slot(segment, i)->owner_ref), owners[i],
                             "slot %u changed hands", i);
                cr_assert_eq(atomic_load(&segment_slot(segment, i)->epoch), epochs[i]);
        }
        cr_assert_not(some_member(manager)->is_child);

        /* An adopted worker's death is seen, too, and replaced by a child. */
        cr_assert_eq(kill(some_member(manager)->pid, SIGKILL), 0);
        until(manager, members(manager) == 1);
        until(manager, is_balanced(manager, 6, 2));
        segment_close(segment);
        supervisor_stop(manager);
}

Test(supervisor_adopt, P1_the_configuration_that_changed_meanwhile_is_applied) {
        struct segment *segment;
        struct manager *manager;
        pid_t first;

        first = supervisor_fork_owned("", 1, 3, &segment);
        supervisor_kill(first);
        config_put(
                "[baton]\nsessions = 64\nmax-workers = 8\n[destination events]\nurl = sqlite:/d/events.db\n"
                "[source s1]\nurl = sqlite:/s/1.db\nto = events\n[source new]\nurl = sqlite:/s/n.db\nto = events\n");
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_neq(slot_called(manager, "new"), LAYOUT_NONE);
        cr_assert_neq(slot_called(manager, "s1"), LAYOUT_NONE);
        cr_assert_eq(slot_called(manager, "s0"), LAYOUT_NONE);
        segment_close(segment);
        supervisor_stop(manager);
}

/* Of the supervisor in another process. */
static void ask_to_scale(uint32_t workers) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus *bus = NULL;
        char address[600];

        (void) snprintf(address, sizeof address, "unix:path=%s/" CONTROL_SOCKET_NAME, place.runtime);
        cr_assert_geq(sd_bus_new(&bus), 0);
        cr_assert_geq(sd_bus_set_address(bus, address), 0);
        cr_assert_geq(sd_bus_start(bus), 0);
        cr_assert_geq(sd_bus_call_method(bus, NULL, CONTROL_PATH, CONTROL_INTERFACE, CONTROL_METHOD_SCALE,
                                         &error, NULL, "su", "events", workers),
                      0, "%s", error.message);
        sd_bus_flush_close_unref(bus);
}

static void wait_nobody_runs(void) {
        for (uint64_t end_usec = clock_usec() + PATIENCE_USEC; workers_running() > 0;) {
                cr_assert(clock_usec() < end_usec);
                (void) usleep(10000);
        }
}

static uint32_t workers_wanted_in(const struct segment *segment) {
        struct pool_settings settings = {};

        cr_assert_eq(pool_settings_read(segment, 0, &settings), 0);
        return settings.workers_wanted;
}

Test(supervisor_adopt, V9_scaled_to_nobody_it_stays_so_over_the_death_of_the_supervisor) {
        struct segment *segment;
        struct manager *manager;
        pid_t first;

        first = supervisor_fork_owned("", 1, 4, &segment);
        ask_to_scale(0);
        wait_nobody_runs();
        supervisor_kill(first);
        manager = supervisor_start();
        turn_for(manager, 300 * USEC_PER_MSEC);
        cr_assert_eq(workers_wanted_in(segment), 0);
        cr_assert_eq(workers_running(), 0, "who paused it has not said that it may go on");
        supervisor_stop(manager);

        /* A stop ends it: the configuration says what is wanted. */
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 1));
        segment_close(segment);
        supervisor_stop(manager);
}

Test(supervisor_adopt, V9_the_configuration_that_changed_meanwhile_says_how_many) {
        struct segment *segment;
        struct manager *manager;
        pid_t first;

        config_simple("", 0, 4);
        first = supervisor_fork(NULL);
        segment = segment_seen();
        for (uint64_t end_usec = clock_usec() + PATIENCE_USEC;
             atomic_load(&segment->header->supervisor_pid) != (uint32_t) first;) {
                cr_assert(clock_usec() < end_usec);
                (void) usleep(10000);
        }
        supervisor_kill(first);
        config_simple("", 1, 4); /* it was not scaled: the configuration said 0 */
        first = supervisor_fork(NULL);
        wait_owned(segment, 4, 1);
        supervisor_kill(first);
        config_simple("", 2, 4);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        cr_assert_eq(workers_wanted_in(segment), 2);
        segment_close(segment);
        supervisor_stop(manager);
}

Test(supervisor_adopt, V9_scaled_workers_outlive_the_supervisor) {
        struct pool_settings settings;
        struct segment *segment;
        struct manager *manager;
        pid_t first;

        first = supervisor_fork_owned("", 1, 4, &segment);
        ask_to_scale(2);
        wait_owned(segment, 4, 2);
        supervisor_kill(first);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        cr_assert_eq(pool_settings_read(segment, 0, &settings), 0);
        cr_assert_eq(settings.workers_wanted, 2);
        segment_close(segment);
        supervisor_stop(manager);
}

Test(supervisor_adopt, S11_a_second_supervisor_is_refused_with_the_pid_of_the_first) {
        struct manager *first, *second = NULL;
        struct failure failure = { 0 };
        char pid[32], path[600];

        config_simple("", 0, 1);
        first = supervisor_start();
        cr_assert_eq(manager_new(&place, config_path, &second, &failure), 0);
        cr_assert_eq(manager_start(second, &failure), -EBUSY);
        (void) snprintf(pid, sizeof pid, "(pid %d)", getpid());
        cr_assert(strstr(failure.text, pid), "%s", failure.text);
        manager_free(second);
        (void) snprintf(path, sizeof path, "%s/" CONTROL_SOCKET_NAME, place.runtime);
        cr_assert_eq(access(path, F_OK), 0, "the first one's socket stands");
        supervisor_stop(first);
}

Test(supervisor_adopt, S11_another_state_directory_in_the_same_runtime_directory_is_refused) {
        struct directories other = place;
        struct manager *first, *second = NULL;
        struct failure failure = { 0 };

        config_simple("", 0, 1);
        first = supervisor_start();
        (void) strcat(other.state, "2");
        cr_assert_eq(manager_new(&other, config_path, &second, &failure), 0);
        cr_assert_eq(manager_start(second, &failure), -EBUSY);
        cr_assert(strstr(failure.text, "runtime directory") && strstr(failure.text, "--runtime"), "%s",
                  failure.text);
        manager_free(second);
        supervisor_stop(first);
}

/* No word of a header ever moves (L2), so that much is known of any segment. */
Test(supervisor_adopt, S11_L2_also_where_its_segment_has_another_layout) {
        struct directories other = place;
        struct manager *first, *second = NULL;
        struct failure failure = { 0 };

        config_simple("", 0, 1);
        first = supervisor_start();
        first->segment->header->layout_number = 77;
        (void) strcat(other.state, "2");
        cr_assert_eq(manager_new(&other, config_path, &second, &failure), 0);
        cr_assert_eq(manager_start(second, &failure), -EBUSY);
        cr_assert(strstr(failure.text, "runtime directory") && strstr(failure.text, "--runtime"), "%s",
                  failure.text);
        manager_free(second);
        supervisor_stop(first);
}

Test(supervisor_adopt, M1_the_instance_is_made_once) {
        uint8_t instance[LAYOUT_INSTANCE_BYTES];
        struct failure failure = { 0 };
        struct manager *manager;
        char path[600];
        FILE *file;

        config_simple("", 0, 1);
        manager = supervisor_start();
        memcpy(instance, manager->instance, sizeof instance);
        supervisor_stop(manager);
        manager = supervisor_start();
        cr_assert_arr_eq(instance, manager->instance, sizeof instance);
        supervisor_stop(manager);

        (void) snprintf(path, sizeof path, "%s/instance", place.state);
        file = fopen(path, "we");
        cr_assert_not_null(file);
        (void) fputs("not an instance\n", file);
        (void) fclose(file);
        manager = NULL;
        cr_assert_eq(manager_new(&place, config_path, &manager, &failure), 0);
        cr_assert_eq(manager_start(manager, &failure), -EBADMSG);
        cr_assert(strstr(failure.text, "32 hexadecimal digits"), "%s", failure.text);
        manager_free(manager);
}

Test(supervisor_adopt, S11_V8_a_segment_that_cannot_be_used_is_replaced_above_all_its_epochs) {
        struct manager *manager;
        char path[600];
        FILE *file;

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_eq(manager->segment->header->epoch_base, 1ULL << 32);
        supervisor_stop(manager);

        (void) snprintf(path, sizeof path, "%s/segment", place.runtime);
        file = fopen(path, "r+e");
        cr_assert_not_null(file);
        (void) fputs("another magic", file);
        (void) fclose(file);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_eq(manager->segment->header->epoch_base, 2ULL << 32);
        cr_assert_gt(atomic_load(&segment_slot(manager->segment, 0)->epoch), 2ULL << 32);
        supervisor_stop(manager);
}

Test(supervisor_adopt, S11_V8_a_number_that_is_none_stops_the_start) {
        struct failure failure = { 0 };
        struct manager *manager = NULL;
        char path[600];
        FILE *file;

        config_simple("", 1, 2);
        (void) mkdir(place.state, 0750);
        (void) snprintf(path, sizeof path, "%s/segment.number", place.state);
        file = fopen(path, "we");
        cr_assert_not_null(file);
        (void) fputs("many\n", file);
        (void) fclose(file);
        cr_assert_eq(manager_new(&place, config_path, &manager, &failure), 0);
        cr_assert_eq(manager_start(manager, &failure), -EBADMSG);
        cr_assert(strstr(failure.text, "segment.number"), "%s", failure.text);
        manager_free(manager);
}

Test(supervisor_adopt, S11_a_larger_segment_waits_for_the_workers_of_the_smaller_one) {
        struct segment *segment;
        struct manager *manager;
        pid_t first, worker;

        first = supervisor_fork_owned("adopt-timeout = 1s\n", 1, 2, &segment);
        supervisor_kill(first);
        worker = (pid_t) atomic_load(&segment_worker(segment, 0)->pid);
        config_put("[baton]\nadopt-timeout = 1s\nsessions = 128\nmax-workers = 8\n"
                   "[destination events]\nurl = sqlite:/d/events.db\n"
                   "[source s0]\nurl = sqlite:/s/0.db\nto = events\n");
        manager = supervisor_start();
        cr_assert_eq(manager->state, MANAGER_WAITING, "a worker lives in the small one");
        cr_assert_eq(kill(worker, 0), 0);
        /* This worker does not leave by itself: it is asked to end after adopt-timeout. */
        until(manager, manager->state == MANAGER_SERVING);
        cr_assert_eq(manager->segment->slot_count, 128);
        cr_assert_eq(manager->segment->header->epoch_base, 2ULL << 32);
        until(manager, is_balanced(manager, 1, 1));
        segment_close(segment);
        supervisor_stop(manager);
}

/* It hangs, so it does not end where it is asked to: it is killed, and nobody waits for it without end (P1). */
Test(supervisor_adopt, S11_who_hangs_in_a_segment_that_cannot_be_used_is_killed) {
        struct segment *segment;
        struct manager *manager;
        uint64_t start_ticks;
        pid_t first, worker;

        first = supervisor_fork_owned("adopt-timeout = 1s\n", 1, 2, &segment);
        worker = (pid_t) atomic_load(&segment_worker(segment, 0)->pid);
        start_ticks = atomic_load(&segment_worker(segment, 0)->start_ticks);
        supervisor_kill(first);
        cr_assert_eq(kill(worker, SIGSTOP),
                     0); /* after: the kernel sends SIGHUP to who is stopped and orphaned */
        segment->header->worker_count = 0;
        manager = supervisor_start();
        cr_assert_eq(manager->state, MANAGER_WAITING);
        until(manager, manager->state == MANAGER_SERVING && is_balanced(manager, 2, 1));
        cr_assert_neq(some_member(manager)->pid, worker);
        cr_assert_not(adopt_process_lives(worker, start_ticks), "it is gone before a new one is made");
        segment_close(segment);
        supervisor_stop(manager);
}

static pid_t waiting_pid(char *ret_text, size_t text_bytes) {
        pid_t pid = 0;

        return waits_read(place.runtime, &pid, ret_text, text_bytes) < 0 ? 0 : pid;
}

/* systemd, the log and `baton status` hear for whom it waits and why; READY=1 comes when it serves. */
Test(supervisor_adopt, L5_a_segment_of_another_layout_is_waited_out_and_said) {
        struct segment *segment;
        struct manager *manager;
        struct notices notices;
        char wanted[1024], text[1024];
        pid_t first, worker;

        first = supervisor_fork_owned("adopt-timeout = 1s\n", 1, 2, &segment);
        supervisor_kill(first);
        worker = (pid_t) atomic_load(&segment_worker(segment, 0)->pid);
        segment->header->layout_number = LAYOUT_NUMBER + 1;
        notices_open(&notices);
        manager = supervisor_start();
        cr_assert_eq(manager->state, MANAGER_WAITING);
        until(manager, (notices_read(&notices), notices.status[0] != '\0'));
        (void) snprintf(wanted, sizeof wanted,
                        "a new segment has to wait until worker pid %d has left the one before (%s/segment "
                        "cannot be used: it is of layout %u, and this program works with %u and %u); after ",
                        worker, place.runtime, LAYOUT_NUMBER + 1, LAYOUT_NUMBER, LAYOUT_NUMBER - 1);
        cr_expect_eq(strncmp(notices.status + strlen("STATUS="), wanted, strlen(wanted)), 0, "%s",
                     notices.status);
        cr_expect_eq(waiting_pid(text, sizeof text), getpid());
        cr_expect_eq(strncmp(text, wanted, strlen(wanted)), 0, "%s", text);
        cr_expect_eq(notices.ready, 0);
        until(manager, manager->state == MANAGER_SERVING && is_balanced(manager, 2, 1));
        cr_expect_eq(manager->segment->layout_number, LAYOUT_NUMBER);
        cr_expect_eq(manager->segment->header->epoch_base, 2ULL << 32, "above all that were (S11)");
        until(manager, (notices_read(&notices), notices.ready == 1 && strstr(notices.status, "workers 1")));
        cr_expect_eq(waiting_pid(text, sizeof text), 0, "it waits no longer");
        segment_close(segment);
        supervisor_stop(manager);
        (void) close(notices.fd);
}

/* In this build both have the same sizes, so the number alone makes it one of before. */
Test(supervisor_adopt, L1_the_layout_before_is_adopted_while_a_worker_lives_and_no_longer) {
        struct segment *segment;
        struct manager *manager;
        pid_t first;

        first = supervisor_fork_owned("", 1, 2, &segment);
        supervisor_kill(first);
        segment->header->layout_number = LAYOUT_NUMBER - 1;
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        cr_expect_eq(manager->segment->layout_number, LAYOUT_NUMBER - 1);
        cr_expect_eq(manager->segment->header->epoch_base, 1ULL << 32, "the same");
        supervisor_stop(manager);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        cr_expect_eq(manager->segment->layout_number, LAYOUT_NUMBER);
        cr_expect_eq(manager->segment->header->epoch_base, 2ULL << 32);
        segment_close(segment);
        supervisor_stop(manager);
}

/* A new one would not know that it is scaled to 0: an upgrade to a new layout would let it move. */
Test(supervisor_adopt, L1_V9_nor_is_one_replaced_that_somebody_paused) {
        struct segment *segment;
        struct manager *manager;
        pid_t first;

        first = supervisor_fork_owned("", 1, 2, &segment);
        ask_to_scale(0);
        wait_nobody_runs();
        supervisor_kill(first);
        segment->header->layout_number = LAYOUT_NUMBER - 1;
        manager = supervisor_start();
        turn_for(manager, 300 * USEC_PER_MSEC);
        cr_expect_eq(workers_running(), 0);
        cr_expect_eq(manager->segment->layout_number, LAYOUT_NUMBER - 1);
        supervisor_stop(manager);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        cr_expect_eq(manager->segment->layout_number, LAYOUT_NUMBER);
        segment_close(segment);
        supervisor_stop(manager);
}

Test(supervisor_adopt, L5_who_is_gone_waits_for_nothing) {
        char text[64];
        pid_t pid;

        config_simple("", 1, 2);
        (void) mkdir(place.runtime, 0750);
        cr_assert_eq(waits_read(place.runtime, &pid, text, sizeof text), -ENOENT);
        pid = fork();
        if (pid == 0) {
                waits_tell(place.runtime, "for a train");
                _exit(0);
        }
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        cr_assert_eq(waits_read(place.runtime, &pid, text, sizeof text), -ENOENT,
                     "its word stands, and is not believed");
        waits_tell(place.runtime, "for a train");
        cr_assert_eq(waits_read(place.runtime, &pid, text, sizeof text), 0);
        cr_assert_eq(pid, getpid());
        cr_assert_str_eq(text, "for a train");
        waits_end(place.runtime);
        cr_assert_eq(waits_read(place.runtime, &pid, text, sizeof text), -ENOENT);
}

Test(supervisor_adopt, S11_a_condemned_segment_is_left_by_all_and_a_new_one_made) {
        struct manager *manager;
        pid_t before;

        config_simple("", 2, 4);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        before = some_member(manager)->pid;
        atomic_store(&manager->segment->header->condemned, 1);
        until(manager, manager->state == MANAGER_WAITING);
        until(manager, manager->state == MANAGER_SERVING && is_balanced(manager, 4, 2));
        cr_assert_eq(manager->segment->header->epoch_base, 2ULL << 32);
        cr_assert_eq(atomic_load(&manager->segment->header->condemned), 0);
        cr_assert_neq(some_member(manager)->pid, before);
        supervisor_stop(manager);
}

Test(supervisor_adopt, V9_S11_what_scale_set_stays_where_the_segment_is_condemned) {
        struct manager *manager;
        struct segment *segment;
        const char *error = NULL;

        config_simple("", 1, 3);
        manager = supervisor_start();
        segment = segment_seen();
        until(manager, is_balanced(manager, 3, 1));
        cr_assert_eq(operator_scale(manager, "events", 0, &error, NULL), 0);
        until(manager, workers_running() == 0);
        atomic_store(&segment->header->condemned, 1);
        segment_close(segment);
        until(manager, manager->segment->header->epoch_base == 2ULL << 32);
        turn_for(manager, 300 * USEC_PER_MSEC);
        cr_expect_eq(workers_running(), 0);
        cr_expect_eq(workers_wanted_in(manager->segment), 0);
        supervisor_stop(manager);
}

/* A supervisor of three sessions with so many workers by `baton scale`, which was killed; its segment. */
static struct segment *killed_when_scaled(uint32_t scaled) {
        struct segment *segment;
        pid_t first;

        first = supervisor_fork_owned("", 1, 3, &segment);
        ask_to_scale(scaled);
        for (uint64_t end_usec = clock_usec() + PATIENCE_USEC; workers_running() != scaled;) {
                cr_assert(clock_usec() < end_usec);
                (void) usleep(10000);
        }
        supervisor_kill(first);
        return segment;
}

/* It dies while the workers of the condemned one leave. */
static struct manager *successor_in_a_condemned_one(uint32_t scaled, unsigned workers_then) {
        struct segment *segment = killed_when_scaled(scaled);
        struct manager *manager;

        atomic_store(&segment->header->condemned, 1);
        segment_close(segment);
        config_simple("", workers_then, 3);
        manager = supervisor_start();
        until(manager, manager->state == MANAGER_SERVING);
        cr_assert_eq(manager->segment->header->epoch_base, 2ULL << 32);
        return manager;
}

Test(supervisor_adopt, V9_S11_what_scale_set_stays_where_the_supervisor_of_the_condemned_one_died) {
        struct manager *manager = successor_in_a_condemned_one(0, 1);

        turn_for(manager, 300 * USEC_PER_MSEC);
        cr_expect_eq(workers_running(), 0, "who paused it has not said that it may go on");
        cr_expect_eq(workers_wanted_in(manager->segment), 0);
        supervisor_stop(manager);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 3, 1));
        supervisor_stop(manager);
}

Test(supervisor_adopt, V9_S11_as_many_as_scale_set_start_in_the_new_one) {
        struct manager *manager = successor_in_a_condemned_one(2, 1);

        until(manager, is_balanced(manager, 3, 2));
        cr_expect_eq(workers_wanted_in(manager->segment), 2);
        supervisor_stop(manager);
}

Test(supervisor_adopt, V9_S11_and_what_the_configuration_changed_meanwhile_wins) {
        struct manager *manager = successor_in_a_condemned_one(2, 3);

        until(manager, is_balanced(manager, 3, 3));
        supervisor_stop(manager);
}

/* Nor is a pause over because the configuration asks for a larger segment now. */
static void expect_scale_in_a_larger_one(uint32_t scaled) {
        struct manager *manager;

        segment_close(killed_when_scaled(scaled));
        config_put("[baton]\nsessions = 128\nmax-workers = 8\n"
                   "[destination events]\nurl = sqlite:/d/events.db\nworkers = 1\n"
                   "[source s0]\nurl = sqlite:/s/0.db\nto = events\n");
        log_listen();
        manager = supervisor_start();
        until(manager, manager->state == MANAGER_SERVING);
        cr_assert_eq(manager->segment->slot_count, 128);
        cr_expect_eq(log_said("as it was before; the configuration says 1"), 1);
        cr_expect_eq(workers_wanted_in(manager->segment), scaled);
        supervisor_stop(manager);
}

Test(supervisor_adopt, V9_S11_what_scale_set_stays_in_a_larger_segment) {
        expect_scale_in_a_larger_one(0);
        expect_scale_in_a_larger_one(2);
}

Test(supervisor_adopt, a_stop_while_waiting_ends_at_once_and_leaves_the_workers_alone) {
        struct failure failure = { 0 };
        struct segment *segment;
        struct manager *manager;
        pid_t first, worker;

        first = supervisor_fork_owned("", 1, 2, &segment);
        supervisor_kill(first);
        worker = (pid_t) atomic_load(&segment_worker(segment, 0)->pid);
        segment->header->layout_number = 77;
        segment_close(segment);
        manager = supervisor_start();
        cr_assert_eq(manager->state, MANAGER_WAITING);
        shutdown_begin(manager);
        cr_assert_eq(manager_run(manager, &failure), 0);
        manager_free(manager);
        cr_assert_eq(kill(worker, 0), 0);
}
