/* SPDX-License-Identifier: Apache-2.0 */
/* The private bus and the socket of hints: who may, what is answered, how many, and what a flood does. */
#include <systemd/sd-bus.h>

#include "supervisor/rights.h"
#include "tests/unit/notices.h"

TestSuite(supervisor_control, .init = place_make, .fini = place_remove);

static sd_bus *client(void) {
        char address[700];
        sd_bus *bus = NULL;

        (void) snprintf(address, sizeof address, "unix:path=%s/" CONTROL_SOCKET_NAME, place.runtime);
        cr_assert_geq(sd_bus_new(&bus), 0);
        cr_assert_geq(sd_bus_set_address(bus, address), 0);
        cr_assert_geq(sd_bus_start(bus), 0);
        return bus;
}

struct answer {
        bool came;
        char error[128], text[FAILURE_TEXT_BYTES];
        uint32_t pid;
        uint64_t request;
};

static int on_answer(sd_bus_message *message, void *context, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(message);
        struct answer *answer = context;

        (void) ret_error;
        answer->came = true;
        if (error) {
                (void) snprintf(answer->error, sizeof answer->error, "%s", error->name);
                (void) snprintf(answer->text, sizeof answer->text, "%s", error->message);
        } else if (sd_bus_message_has_signature(message, "us")) {
                (void) sd_bus_message_read(message, "u", &answer->pid);
        } else if (sd_bus_message_has_signature(message, "t")) {
                (void) sd_bus_message_read(message, "t", &answer->request);
        }
        return 0;
}

/* One call and its answer; both ends turn in this process. */
static struct answer __attribute__((sentinel(0)))
call(struct manager *manager, sd_bus *bus, const char *method, const char *types, ...) {
        sd_bus_message *message = NULL;
        struct answer answer = { 0 };
        va_list arguments;

        cr_assert_geq(sd_bus_message_new_method_call(bus, &message, NULL, CONTROL_PATH, CONTROL_INTERFACE,
                                                     method),
                      0);
        va_start(arguments, types);
        cr_assert_geq(sd_bus_message_appendv(message, types, arguments), 0);
        va_end(arguments);
        cr_assert_geq(sd_bus_call_async(bus, NULL, message, on_answer, &answer, PATIENCE_USEC), 0);
        sd_bus_message_unref(message);
        until(manager, ({
                      while (sd_bus_process(bus, NULL) > 0)
                              ;
                      answer.came;
              }));
        return answer;
}

Test(supervisor_control, the_four_methods) {
        struct manager *manager;
        struct answer answer;
        sd_bus *bus;

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        bus = client();
        answer = call(manager, bus, CONTROL_METHOD_PING, "", NULL);
        cr_assert_eq(answer.pid, (uint32_t) getpid());
        answer = call(manager, bus, CONTROL_METHOD_SCALE, "su", "events", 2U, NULL);
        cr_assert_str_empty(answer.error, "%s", answer.text);
        until(manager, is_balanced(manager, 2, 2));
        answer = call(manager, bus, CONTROL_METHOD_ADOPT, "s", "s1", NULL);
        cr_assert_eq(answer.request, 1);
        config_simple("", 1, 3);
        answer = call(manager, bus, CONTROL_METHOD_RELOAD, "", NULL);
        cr_assert_str_empty(answer.error, "%s", answer.text);
        until(manager, is_balanced(manager, 3, 2));
        sd_bus_flush_close_unref(bus);
        supervisor_stop(manager);
}

Test(supervisor_control, each_refusal_has_a_name_and_a_sentence) {
        struct manager *manager;
        struct answer answer;
        sd_bus *bus;

        config_simple("", 0, 2);
        manager = supervisor_start();
        bus = client();
        answer = call(manager, bus, CONTROL_METHOD_SCALE, "su", "evnts", 2U, NULL);
        cr_assert_str_eq(answer.error, CONTROL_ERROR_UNKNOWN_DESTINATION);
        cr_assert(strstr(answer.text, "the nearest is events"), "%s", answer.text);
        answer = call(manager, bus, CONTROL_METHOD_SCALE, "su", "events", 4000000000U, NULL);
        cr_assert_str_eq(answer.error, CONTROL_ERROR_OUT_OF_RANGE);
        answer = call(manager, bus, CONTROL_METHOD_ADOPT, "s", "nobody", NULL);
        cr_assert_str_eq(answer.error, CONTROL_ERROR_UNKNOWN_SESSION);
        config_put("[sorce x]\n");
        answer = call(manager, bus, CONTROL_METHOD_RELOAD, "", NULL);
        cr_assert_str_eq(answer.error, CONTROL_ERROR_CONFIGURATION);
        cr_assert(strstr(answer.text, "baton.conf:1:") && strstr(answer.text, "[source]"), "%s", answer.text);
        answer = call(manager, bus, "Destroy", "", NULL);
        cr_assert_str_eq(answer.error, SD_BUS_ERROR_UNKNOWN_METHOD);
        sd_bus_flush_close_unref(bus);
        supervisor_stop(manager);
}

/* R2 decides who may ask, and says so; hints are workers' alone. */
Test(supervisor_control, everybody_reaches_the_one_socket_and_its_owner_the_other) {
        struct manager *manager;
        struct stat status;
        char path[600];

        config_simple("", 0, 1);
        (void) umask(0077);
        manager = supervisor_start();
        (void) snprintf(path, sizeof path, "%s/" CONTROL_SOCKET_NAME, place.runtime);
        cr_assert_eq(stat(path, &status), 0);
        cr_assert_eq(status.st_mode & 07777, 0666);
        (void) snprintf(path, sizeof path, "%s/" NOTIFY_SOCKET_NAME, place.runtime);
        cr_assert_eq(stat(path, &status), 0);
        cr_assert_eq(status.st_mode & 07777, 0600);
        supervisor_stop(manager);
}

static int raw_connect(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        (void) snprintf(address.sun_path, sizeof address.sun_path, "%.90s/" CONTROL_SOCKET_NAME,
                        place.runtime);
        cr_assert(fd >= 0);
        cr_assert_eq(connect(fd, (struct sockaddr *) &address, sizeof address), 0, "%m");
        return fd;
}

/* ---- who may ------------------------------------------------------------------------------------------- */
#define FOREIGN_ID 65534

/* From the runtime directory, so that the ways to it need not be open: 0 and closed by the other end,
 * or 1 connected and kept. */
static int connect_as_foreigner(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET_NAME };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char byte;

        if (chdir(place.runtime) < 0 || setgid(FOREIGN_ID) < 0 || setuid(FOREIGN_ID) < 0)
                return 3;
        if (connect(fd, (struct sockaddr *) &address, sizeof address) < 0)
                return 4;
        return recv(fd, &byte, 1, 0) <= 0 ? 0 : 1;
}

static int foreigner(struct manager *manager) {
        struct errand errand;

        if (errand_begin(&errand)) {
                (void) alarm(PATIENCE_USEC / USEC_PER_SEC / 2); /* kept open: it waits in vain */
                errand_end(&errand, connect_as_foreigner());
        }
        return errand_code(manager, &errand);
}

Test(supervisor_control, R1_another_user_is_refused_by_the_kernels_word) {
        struct manager *manager;
        struct answer answer;
        sd_bus *bus;

        if (geteuid() != 0)
                cr_skip("needs root, to be another user");
        config_simple("", 0, 1);
        manager = supervisor_start();
        log_listen();
        cr_assert_eq(chmod(place.runtime, 0711), 0);
        cr_assert_eq(foreigner(manager), 0);
        cr_assert_eq(log_said("of user 65534 may not control Baton: refused"), 1);
        bus = client();
        answer = call(manager, bus, CONTROL_METHOD_PING, "", NULL);
        cr_assert_eq(answer.pid, (uint32_t) getpid(), "and its own user is served");
        sd_bus_flush_close_unref(bus);
        supervisor_stop(manager);
}

/* ---- how many ------------------------------------------------------------------------------------------ */
static bool is_closed(int fd) {
        char byte;

        return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

Test(supervisor_control, connections_are_bounded_and_come_free_again) {
        int fds[CONTROL_CONNECTION_COUNT_MAX + 1];
        struct manager *manager;
        struct answer answer;
        sd_bus *bus;

        config_simple("", 0, 1);
        manager = supervisor_start();
        for (unsigned i = 0; i < ELEMENTSOF(fds); i++) {
                fds[i] = raw_connect();
                turn_for(manager, 5 * USEC_PER_MSEC);
        }
        until(manager, is_closed(fds[CONTROL_CONNECTION_COUNT_MAX]));
        cr_assert_not(is_closed(fds[0]));
        /* Garbage ends one connection and nothing else. */
        cr_assert_gt(send(fds[1], "\0GET / HTTP/1.1\r\n\r\n", 19, MSG_NOSIGNAL), 0);
        until(manager, is_closed(fds[1]) || recv(fds[1], (char[64]){ 0 }, 64, MSG_DONTWAIT) > 0);
        for (unsigned i = 0; i < ELEMENTSOF(fds); i++)
                (void) shutdown(fds[i], SHUT_WR);
        for (unsigned i = 0; i < ELEMENTSOF(fds); i++) {
                until(manager, is_closed(fds[i]));
                (void) close(fds[i]);
        }
        bus = client();
        answer = call(manager, bus, CONTROL_METHOD_PING, "", NULL);
        cr_assert_eq(answer.pid, (uint32_t) getpid());
        sd_bus_flush_close_unref(bus);
        supervisor_stop(manager);
}

Test(supervisor_control, a_stale_socket_gives_way_and_a_file_that_is_none_does_not) {
        struct failure failure = { 0 };
        struct manager *manager = NULL;
        char path[600];
        int fd;

        config_simple("", 0, 1);
        supervisor_kill(supervisor_fork("none"));
        manager = supervisor_start(); /* whatever the killed one left */
        supervisor_stop(manager);
        (void) snprintf(path, sizeof path, "%s/" CONTROL_SOCKET_NAME, place.runtime);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
        cr_assert(fd >= 0);
        (void) close(fd);
        manager = NULL;
        cr_assert_eq(manager_new(&place, config_path, &manager, &failure), 0);
        cr_assert_lt(manager_start(manager, &failure), 0);
        cr_assert(strstr(failure.text, path), "%s", failure.text);
        manager_free(manager);
        cr_assert_eq(access(path, F_OK), 0, "it is left alone");
}

Test(supervisor_control, S12_a_flood_of_hints_costs_a_look_in_20_ms) {
        struct manager *manager;
        uint64_t begin_usec, looks = 0, last = 0;

        config_simple("", 0, 1);
        manager = supervisor_start();
        begin_usec = clock_usec();
        while (clock_usec() - begin_usec < 500 * USEC_PER_MSEC) {
                fake_hint(place.runtime);
                cr_assert(sd_event_run(manager->event, 0) >= 0);
                looks += manager->look_usec != last;
                last = manager->look_usec;
        }
        cr_assert_leq(looks, 500 * USEC_PER_MSEC / LOOK_LEAST_USEC + 2);
        cr_assert_gt(looks, 0, "and they are heard");
        supervisor_stop(manager);
}

/* ---- systemd ------------------------------------------------------------------------------------------- */
Test(supervisor_control, systemd_is_told_ready_status_and_stopping) {
        struct notices notices;
        struct manager *manager;

        notices_open(&notices);
        config_simple("", 1, 2);
        worker_does("stops", true); /* a stated reason is as good as an owner at work */
        manager = supervisor_start();
        notices_read(&notices);
        cr_assert_eq(notices.ready, 0, "nobody owns anything yet");
        until(manager, (notices_read(&notices), strstr(notices.status, "stopped 2") != NULL));
        cr_assert_str_eq(notices.status, "STATUS=sessions 2: idle 0, moving 0, waiting 0, stopped 2, without "
                                         "owner 0; workers 1");
        cr_assert_eq(notices.ready, 1, "once");
        worker_does("stops", false);
        until(manager, (notices_read(&notices), strstr(notices.status, "idle 2") != NULL));
        cr_assert_eq(notices.watchdog, 0, "nobody asked for it");
        supervisor_stop(manager);
        notices_read(&notices);
        cr_assert_eq(notices.ready, 1);
        cr_assert_eq(notices.stopping, 1);
        (void) close(notices.fd);
}

Test(supervisor_control, systemds_watchdog_is_fed) {
        struct notices notices;
        struct manager *manager;
        char pid[16];

        notices_open(&notices);
        (void) snprintf(pid, sizeof pid, "%d", getpid());
        (void) setenv("WATCHDOG_PID", pid, 1);
        (void) setenv("WATCHDOG_USEC", "400000", 1);
        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, (notices_read(&notices), notices.watchdog >= 3)); /* the first comes with the start */
        supervisor_stop(manager);
        (void) close(notices.fd);
}

/* ---- R2: a right that is missing is named ------------------------------------------------------------------ */
Test(supervisor_control, R2_each_right_includes_those_before_it) {
        struct failure failure;

        for (enum right has = RIGHT_LOOK; has <= RIGHT_MOVE; has++)
                for (enum right wanted = RIGHT_LOOK; wanted <= RIGHT_MOVE; wanted++) {
                        struct peer peer = { .uid = 1, .right = has };

                        cr_expect_eq(rights_check(&peer, wanted, "Scale", &failure),
                                     has >= wanted ? 0 : -EACCES);
                }
}

Test(supervisor_control, R2_a_refusal_says_what_is_missing_and_how_to_get_it) {
        struct peer looker = { .uid = 1, .right = RIGHT_LOOK }, nobody = { .uid = 1, .right = RIGHT_NONE };
        struct failure failure;

        cr_assert_eq(rights_check(&looker, RIGHT_WORK, "Scale", &failure), -EACCES);
        cr_assert_not_null(strstr(failure.text, "Scale needs group baton-operators"), "%s", failure.text);
        cr_assert_not_null(strstr(failure.text, "adduser daemon baton-operators"), "%s", failure.text);
        cr_assert_eq(rights_check(&looker, RIGHT_MOVE, "Adopt", &failure), -EACCES);
        cr_assert_not_null(strstr(failure.text, "only root and the user that Baton runs as"), "%s",
                           failure.text);
        cr_assert_eq(rights_check(&nobody, RIGHT_LOOK, "Ping", &failure), -EACCES);
        cr_assert_not_null(strstr(failure.text, "Ping needs group baton "), "%s", failure.text);
}
