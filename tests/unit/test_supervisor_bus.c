/* SPDX-License-Identifier: Apache-2.0 */
/* The name on the system bus, with a dbus-daemon of the test's own and the policy that is installed: who may ask (R3),
 * and a bus that is absent, refuses, ends or hangs (V12). */
#include <grp.h>
#include <pwd.h>
#include <systemd/sd-bus.h>

#include "supervisor/bus_name.h"
#include "supervisor/rights.h"
#include "tests/unit/test_supervisor_support.h"
#include "tests/unit/text_put.h"

#define NAME "org.baton.Test"
#define POLICY "packaging/dbus/org.baton.conf"
#define FOREIGN_ID 65534
#define LOOK_ID 64001
#define WORK_ID 64002

/* The groups of the rights, which this machine need not have: found before libc's. */
struct group *getgrnam(const char *name) {
        static struct group group;
        static char copy[64];

        (void) snprintf(copy, sizeof copy, "%s", name);
        group = (struct group){ .gr_name = copy,
                                .gr_gid = strcmp(name, RIGHTS_GROUP_LOOK) == 0 ? LOOK_ID : WORK_ID };
        return strcmp(name, RIGHTS_GROUP_LOOK) == 0 || strcmp(name, RIGHTS_GROUP_WORK) == 0 ? &group : NULL;
}

/* ---- the bus ------------------------------------------------------------------------------------------- */
static char bus_directory[300];
static pid_t bus_pid;

/* The installed policy, with this user in the place of baton; or none. What else a system bus forbids is forbidden. */
static void bus_configure(bool with_policy) {
        const char *user = getpwuid(geteuid())->pw_name;
        char text[4096], policy[4096], *at;
        FILE *file = fopen(POLICY, "re");
        size_t bytes;

        cr_assert_not_null(file, "tests run in the tree: " POLICY);
        bytes = fread(policy, 1, sizeof policy - 1, file);
        policy[bytes] = '\0';
        (void) fclose(file);
        at = strstr(policy, "user=\"baton\"");
        cr_assert_not_null(at);
        (void) snprintf(text, sizeof text, "%.*suser=\"%s\"%s", (int) (at - policy), policy, user,
                        at + strlen("user=\"baton\""));
        text_put(bus_directory, "org.baton.conf", with_policy ? text : "<busconfig/>");
        (void) snprintf(text, sizeof text,
                        "<busconfig><type>system</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>"
                        "<policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/>"
                        "<deny send_type=\"method_call\"/><allow send_type=\"signal\"/>"
                        "<allow send_requested_reply=\"true\" send_type=\"method_return\"/>"
                        "<allow send_requested_reply=\"true\" send_type=\"error\"/>"
                        "<allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/>"
                        "<allow receive_type=\"error\"/><allow receive_type=\"signal\"/>"
                        "<allow send_destination=\"org.freedesktop.DBus\" "
                        "send_interface=\"org.freedesktop.DBus\"/></policy>"
                        "<include>%s/org.baton.conf</include></busconfig>",
                        bus_directory, bus_directory);
        text_put(bus_directory, "bus.conf", text);
}

static void bus_start(void) {
        char option[400], socket_path[400];

        (void) snprintf(option, sizeof option, "--config-file=%s/bus.conf", bus_directory);
        (void) snprintf(socket_path, sizeof socket_path, "%s/bus", bus_directory);
        (void) unlink(socket_path);
        bus_pid = fork();
        cr_assert_geq(bus_pid, 0);
        if (bus_pid == 0) {
                sigset_t none;

                (void) sigemptyset(&none);
                (void) sigprocmask(SIG_SETMASK, &none, NULL);
                (void) execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile", "--nosyslog",
                              NULL);
                _exit(127);
        }
        for (unsigned i = 0; i < 3000 && access(socket_path, F_OK) < 0; i++) {
                cr_assert_eq(waitpid(bus_pid, NULL, WNOHANG), 0,
                             "dbus-daemon ended: packaging/install-deps.sh test installs it");
                (void) usleep(10000);
        }
}

static void bus_kill(void) {
        if (bus_pid > 0) {
                (void) kill(bus_pid, SIGKILL);
                (void) waitpid(bus_pid, NULL, 0);
        }
        bus_pid = 0;
}

static void bus_make(void) {
        char address[400];

        place_make();
        (void) snprintf(bus_directory, sizeof bus_directory, "%.*s",
                        (int) (strrchr(place.state, '/') - place.state), place.state);
        cr_assert_eq(chmod(bus_directory, 0711), 0);
        (void) snprintf(address, sizeof address, "unix:path=%s/bus", bus_directory);
        (void) setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
        bus_configure(true);
}

static void bus_remove(void) {
        bus_kill();
        place_remove();
}

TestSuite(supervisor_bus, .init = bus_make, .fini = bus_remove);

/* ---- who asks ------------------------------------------------------------------------------------------- */
struct answer {
        char text[1024]; /* "ok", or the error's name and sentence */
};

/* One call of a process of its own: of this user (group 0), or of another one with that group. */
static void ask(const char *name, gid_t group, const char *method, const char *destination, char *ret,
                size_t bytes) {
        const char *interface = strcmp(method, "Introspect") == 0 ? "org.freedesktop.DBus.Introspectable"
                                                                  : CONTROL_INTERFACE;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        const char *text = "";
        sd_bus *bus = NULL;
        int r;

        if (group != 0 && (setgroups(1, &group) < 0 || setgid(FOREIGN_ID) < 0 || setuid(FOREIGN_ID) < 0))
                _exit(3);
        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_call_method(bus, name, CONTROL_PATH, interface, method, &error, &reply,
                                       destination ? "su" : "", destination, 1U);
        if (r >= 0 && sd_bus_message_has_signature(reply, "s"))
                (void) sd_bus_message_read(reply, "s", &text);
        (void) snprintf(ret, bytes, "%s", r >= 0 ? "ok" : error.name ? error.name : strerror(-r));
        (void) snprintf(ret + strlen(ret), bytes - strlen(ret), " %s", r >= 0 ? text : error.message);
}

static struct answer asks(struct manager *manager, const char *name, gid_t group, const char *method,
                          const char *destination) {
        struct answer answer = { "" };
        struct errand errand;

        if (errand_begin(&errand)) {
                static char text[16384];

                ask(name, group, method, destination, text, sizeof text);
                _exit(write(errand.fd, text, MIN_OF(strlen(text), sizeof answer.text - 2)) < 0);
        }
        cr_assert_gt(errand_words(manager, &errand, answer.text, sizeof answer.text - 1), 0);
        return answer;
}

static void expect_answer(struct answer answer, const char *words) {
        cr_expect(strstr(answer.text, words), "not \"%s\": %s", words, answer.text);
}

static struct manager *start_named(const char *name) {
        char line[300];

        log_listen();
        (void) snprintf(line, sizeof line, "bus-name = %s\n", name);
        config_simple(line, 1, 2);
        return supervisor_start();
}

Test(supervisor_bus, its_name_is_there_and_answers) {
        struct manager *manager;

        bus_start();
        manager = start_named(NAME);
        until(manager, log_said(NAME " is on the system bus") == 1);
        until(manager, is_balanced(manager, 2, 1));
        expect_answer(asks(manager, NAME, 0, CONTROL_METHOD_PING, NULL), "ok");
        expect_answer(asks(manager, NAME, 0, CONTROL_METHOD_SCALE, "events"), "ok");
        expect_answer(asks(manager, NAME, 0, CONTROL_METHOD_SCALE, "evnts"), "the nearest is events");
        expect_answer(asks(manager, NAME, 0, "Destroy", NULL), SD_BUS_ERROR_UNKNOWN_METHOD);
        expect_answer(asks(manager, NAME, 0, "Introspect", NULL), "ok <!DOCTYPE");
        expect_answer(asks(manager, "org.baton", 0, CONTROL_METHOD_PING, NULL), "ServiceUnknown");
        supervisor_stop(manager);
        cr_expect_eq(log_said("system bus"), 1, "an end is no trouble");
}

/* The whole table, by the groups that the bus saw. */
Test(supervisor_bus, R3_each_asks_by_the_rights_of_its_groups) {
        struct manager *manager;

        if (geteuid() != 0)
                cr_skip("needs root, to be another user");
        bus_start();
        manager = start_named(NAME);
        until(manager, is_balanced(manager, 2, 1) && log_said("is on the system bus") == 1);
        expect_answer(asks(manager, NAME, LOOK_ID, CONTROL_METHOD_PING, NULL), "ok");
        expect_answer(asks(manager, NAME, LOOK_ID, CONTROL_METHOD_SCALE, "events"),
                      CONTROL_ERROR_RIGHT " Scale needs group baton-operators (you are nobody)");
        expect_answer(asks(manager, NAME, WORK_ID, CONTROL_METHOD_SCALE, "events"), "ok");
        expect_answer(asks(manager, NAME, WORK_ID, CONTROL_METHOD_RELOAD, NULL), "ok");
        expect_answer(asks(manager, NAME, FOREIGN_ID, CONTROL_METHOD_PING, NULL),
                      CONTROL_ERROR_RIGHT " Ping needs group baton (you are nobody)");
        expect_answer(asks(manager, NAME, FOREIGN_ID, CONTROL_METHOD_RELOAD, NULL), CONTROL_ERROR_RIGHT);
        cr_expect_eq(log_said("of user 65534 may not ask for Reload: refused"), 1);
        expect_answer(asks(manager, NAME, FOREIGN_ID, "Introspect", NULL), "ok <!DOCTYPE");
        supervisor_stop(manager);
}

/* ---- what a bus says of a caller ------------------------------------------------------------------------- */
static int rights_of(const char *types, struct peer *peer, ...) {
        sd_bus_message *message = NULL;
        sd_bus *bus = NULL;
        va_list arguments;
        int r;

        cr_assert_geq(sd_bus_open_system(&bus), 0);
        cr_assert_geq(sd_bus_message_new_signal(bus, &message, "/", "a.b", "C"), 0);
        va_start(arguments, peer);
        cr_assert_geq(sd_bus_message_appendv(message, types, arguments), 0);
        va_end(arguments);
        cr_assert_geq(sd_bus_message_seal(message, 1, 0), 0);
        r = rights_of_bus(message, peer);
        sd_bus_message_unref(message);
        sd_bus_close_unref(bus);
        return r;
}

Test(supervisor_bus, R3_what_the_bus_does_not_say_is_no_right) {
        struct peer peer = { .pid = 7 };

        bus_start();
        cr_expect_eq(rights_of("a{sv}", &peer, 3, "ProcessID", "u", 5U, "UnixGroupIDs", "au", 2, 9U,
                               (unsigned) WORK_ID, "UnixUserID", "u", (unsigned) FOREIGN_ID),
                     0);
        cr_expect_eq(peer.right, RIGHT_WORK);
        cr_expect_eq(peer.pid, 5);
        cr_expect_eq(peer.uid, FOREIGN_ID);
        cr_expect_eq(rights_of("a{sv}", &peer, 2, "UnixGroupIDs", "au", 0, "UnixUserID", "u",
                               (unsigned) FOREIGN_ID),
                     0);
        cr_expect_eq(peer.right, RIGHT_NONE);
        cr_expect_eq(rights_of("a{sv}", &peer, 2, "LinuxSecurityLabel", "ay", 1, 0, "UnixUserID", "u",
                               (unsigned) geteuid()),
                     0, "its own user needs no group");
        cr_expect_eq(peer.right, RIGHT_MOVE);
        peer.pid = 7;
        cr_expect_eq(rights_of("a{sv}", &peer, 1, "UnixUserID", "u", (unsigned) FOREIGN_ID), -ENODATA);
        cr_expect_eq(rights_of("a{sv}", &peer, 1, "UnixGroupIDs", "au", 1, (unsigned) WORK_ID), -ENODATA);
        cr_expect_lt(rights_of("a{sv}", &peer, 1, "UnixUserID", "s", "0"), 0);
        cr_expect_lt(rights_of("s", &peer, "0"), 0);
        cr_expect_eq(peer.pid, 7, "untouched");
}

/* ---- a bus that is not well ------------------------------------------------------------------------------- */
/* How long the control socket takes to answer. */
static uint64_t ping_usec(struct manager *manager) {
        uint64_t since_usec = clock_usec();
        char address[700];
        sd_bus *bus = NULL;
        int r = 0;

        (void) snprintf(address, sizeof address, "unix:path=%s/" CONTROL_SOCKET_NAME, place.runtime);
        cr_assert_geq(sd_bus_new(&bus), 0);
        cr_assert_geq(sd_bus_set_address(bus, address), 0);
        cr_assert_geq(sd_bus_start(bus), 0);
        until(manager, ({
                      while ((r = sd_bus_process(bus, NULL)) > 0)
                              ;
                      r<0 || sd_bus_is_ready(bus)> 0;
              }));
        cr_assert_geq(r, 0);
        sd_bus_close_unref(bus);
        return clock_usec() - since_usec;
}

Test(supervisor_bus, V12_a_bus_that_ends_is_found_again) {
        struct manager *manager;

        manager = start_named(NAME);
        until(manager, log_said("is not on the system bus: the bus cannot be reached: No such file") == 1);
        until(manager, is_balanced(manager, 2, 1));
        bus_start();
        until(manager, log_said(NAME " is on the system bus") == 1);
        for (unsigned i = 2; i <= 3; i++) {
                bus_kill();
                until(manager, log_said("is not on the system bus") == i);
                turn_for(manager, 500 * USEC_PER_MSEC); /* told once, tried often */
                cr_assert_eq(log_said("is not on the system bus"), i);
                bus_start();
                until(manager, log_said(NAME " is on the system bus") == i);
                expect_answer(asks(manager, NAME, 0, CONTROL_METHOD_PING, NULL), "ok");
        }
        supervisor_stop(manager);
}

Test(supervisor_bus, V12_a_bus_that_hangs_is_waited_for_by_nobody) {
        struct manager *manager;
        struct errand errand;

        bus_start();
        cr_assert_eq(kill(bus_pid, SIGSTOP), 0);
        manager = start_named(NAME); /* it connects to a bus that says nothing */
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_lt(ping_usec(manager), USEC_PER_SEC);
        until(manager, log_said("or the bus does not answer") == 1);
        cr_assert_eq(kill(bus_pid, SIGCONT), 0);
        until(manager, log_said(NAME " is on the system bus") == 1);
        /* And one that stops while it is asked who a caller is: only the caller waits. */
        if (errand_begin(&errand)) {
                char text[512];

                ask(NAME, 0, CONTROL_METHOD_PING, NULL, text, sizeof text);
                errand_end(&errand, strncmp(text, "ok", 2) != 0);
        }
        cr_assert_eq(kill(bus_pid, SIGSTOP), 0);
        for (unsigned i = 0; i < 20; i++)
                cr_assert_lt(ping_usec(manager), USEC_PER_SEC);
        cr_assert_eq(reload(manager, NULL), 0);
        cr_assert_eq(kill(bus_pid, SIGCONT), 0);
        (void) errand_code(manager, &errand); /* well, or too late for its bus */
        cr_assert_eq(kill(bus_pid, SIGSTOP), 0);
        supervisor_stop(manager); /* nor is it at the end */
}

Test(supervisor_bus, V12_a_policy_that_forbids_it_is_named_once) {
        struct manager *manager;

        bus_configure(false);
        bus_start();
        manager = start_named(NAME);
        until(manager,
              log_said("is not on the system bus: its policy lets this user not have it (org.baton.conf") ==
                      1);
        turn_for(manager, USEC_PER_SEC);
        cr_assert_eq(log_said("system bus"), 1);
        bus_configure(true);
        cr_assert_eq(kill(bus_pid, SIGHUP), 0);
        until(manager, log_said(NAME " is on the system bus") == 1);
        supervisor_stop(manager);
}

Test(supervisor_bus, V12_a_name_that_another_process_has_is_waited_for) {
        struct manager *manager;
        sd_bus *other = NULL;

        bus_start();
        cr_assert_geq(sd_bus_open_system(&other), 0);
        cr_assert_geq(sd_bus_request_name(other, NAME, 0), 0);
        manager = start_named(NAME);
        until(manager, log_said("is not on the system bus: another process has it") == 1);
        sd_bus_flush_close_unref(other);
        until(manager, log_said(NAME " is on the system bus") == 1);
        expect_answer(asks(manager, NAME, 0, CONTROL_METHOD_PING, NULL), "ok");
        supervisor_stop(manager);
}

static int flood(void) {
        uint64_t end_usec = clock_usec() + USEC_PER_SEC;
        sd_bus *bus = NULL;
        int r = 0;

        if (sd_bus_open_system(&bus) < 0)
                return 1;
        while (clock_usec() < end_usec) {
                for (unsigned i = 0; i < 100 && r >= 0; i++)
                        r = sd_bus_call_method_async(bus, NULL, NAME, CONTROL_PATH, CONTROL_INTERFACE,
                                                     CONTROL_METHOD_PING, NULL, NULL, "");
                while ((r = sd_bus_process(bus, NULL)) > 0)
                        ;
                if (r < 0)
                        return 2;
        }
        return 0;
}

/* Who asks without end costs the supervisor's time, bounded; nobody else waits for it. */
Test(supervisor_bus, V12_a_flood_of_calls_takes_nothing_from_others) {
        uint64_t looks = 0, last = 0;
        struct manager *manager;
        struct errand errand;
        uint8_t codes[2];
        size_t length = 0;

        bus_start();
        manager = start_named(NAME);
        until(manager, is_balanced(manager, 2, 1) && log_said("is on the system bus") == 1);
        if (errand_begin(&errand))
                errand_end(&errand, flood());
        while (!errand_has_ended(&errand, codes, sizeof codes, &length)) {
                cr_assert_lt(ping_usec(manager), USEC_PER_SEC);
                fake_hint(place.runtime);
                looks += manager->look_usec != last;
                last = manager->look_usec;
        }
        cr_expect(length == 1 && codes[0] == 0);
        cr_expect_geq(looks, 5, "%llu", (unsigned long long) looks);
        expect_answer(asks(manager, NAME, 0, CONTROL_METHOD_PING, NULL), "ok");
        supervisor_stop(manager);
}

/* Asked for on the bus itself, whose answer is not lost with the name. */
Test(supervisor_bus, a_reload_gives_another_name_or_none) {
        struct manager *manager;

        bus_start();
        manager = start_named("no");
        turn_for(manager, 200 * USEC_PER_MSEC);
        config_simple("bus-name = org.baton\n", 1, 2);
        cr_assert_eq(reload(manager, NULL), 0);
        until(manager, log_said("org.baton is on the system bus") == 1);
        config_simple("bus-name = " NAME "\n", 1, 2);
        expect_answer(asks(manager, "org.baton", 0, CONTROL_METHOD_RELOAD, NULL), "ok");
        until(manager, log_said(NAME " is on the system bus") == 1);
        expect_answer(asks(manager, "org.baton", 0, CONTROL_METHOD_PING, NULL), "ServiceUnknown");
        config_simple("", 1, 2);
        expect_answer(asks(manager, NAME, 0, CONTROL_METHOD_RELOAD, NULL), "ok");
        turn_for(manager, 200 * USEC_PER_MSEC);
        expect_answer(asks(manager, NAME, 0, CONTROL_METHOD_PING, NULL), "ServiceUnknown");
        cr_expect_eq(log_said("is not on the system bus"), 0);
        supervisor_stop(manager);
}
