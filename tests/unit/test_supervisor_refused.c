/* SPDX-License-Identifier: Apache-2.0 */
/* R1, R2: who asks for what it has no right to is told so, and journald who it was; nobody can flood it. */
#include <grp.h>
#include <pwd.h>
#include <systemd/sd-bus.h>

#include "supervisor/rights.h"
#include "tests/unit/test_supervisor_support.h"

#define LOOKER_GROUP 64242 /* on this host's behalf: group baton */
#define LOOKER 65534
#define STRANGER 65533
#define OTHER 65532

TestSuite(supervisor_refused, .init = place_make, .fini = place_remove, .timeout = 60);

/* In the place of the C library's: the host need not have the groups. */
struct group *getgrnam(const char *name) {
        static char looker[] = RIGHTS_GROUP_LOOK;
        static struct group group = { .gr_name = looker, .gr_gid = LOOKER_GROUP };

        return strcmp(name, RIGHTS_GROUP_LOOK) == 0 ? &group : NULL;
}

/* Nor does the supervisor ask for a user: a database of users may be a server that does not answer. */
static unsigned users_asked;

struct passwd *getpwuid(uid_t uid) {
        (void) uid;
        users_asked++;
        return NULL;
}

/* As another user, from the runtime directory, so that the ways to it need not be open. */
static int become(uid_t uid, gid_t gid) {
        return chdir(place.runtime) < 0 || setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0 ? -1
                                                                                                        : 0;
}

/* The methods, one after another: 0 if each is refused with the right's own error. */
static int ask(const char *const *methods) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus *bus = NULL;

        if (sd_bus_new(&bus) < 0 || sd_bus_set_address(bus, "unix:path=" CONTROL_SOCKET_NAME) < 0 ||
            sd_bus_start(bus) < 0)
                return 3;
        for (; *methods; methods++) {
                bool is_scale = strcmp(*methods, CONTROL_METHOD_SCALE) == 0;
                int r = is_scale ? sd_bus_call_method(bus, NULL, CONTROL_PATH, CONTROL_INTERFACE, *methods,
                                                      &error, NULL, "su", "events", 2U)
                                 : sd_bus_call_method(bus, NULL, CONTROL_PATH, CONTROL_INTERFACE, *methods,
                                                      &error, NULL, "");

                if (r >= 0 || !sd_bus_error_has_name(&error, CONTROL_ERROR_RIGHT))
                        return 4;
                sd_bus_error_free(&error);
        }
        return 0;
}

/* So many connections, held for long; how many were not closed at once. */
static int hold(unsigned wanted) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET_NAME };
        int fds[CONTROL_CONNECTION_COUNT_MAX], held = 0;
        char byte;

        for (unsigned i = 0; i < wanted; i++) {
                fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (connect(fds[i], (struct sockaddr *) &address, sizeof address) < 0)
                        return 100;
        }
        (void) usleep(500000);
        for (unsigned i = 0; i < wanted; i++)
                held += recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0;
        return held;
}

static int knock(unsigned times) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET_NAME };
        char byte;

        for (; times > 0; times--) {
                int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

                if (connect(fd, (struct sockaddr *) &address, sizeof address) < 0 ||
                    recv(fd, &byte, 1, 0) > 0)
                        return 5;
                (void) close(fd);
        }
        return 0;
}

/* A process of that user asks (methods), or only comes to the door so often; its pid. */
static pid_t visitor(struct manager *manager, uid_t uid, gid_t gid, const char *const *methods,
                     unsigned times) {
        struct errand errand;

        if (errand_begin(&errand)) {
                (void) alarm(PATIENCE_USEC / USEC_PER_SEC / 2);
                errand_end(&errand, become(uid, gid) < 0 ? 2 : methods ? ask(methods) : knock(times));
        }
        cr_assert_eq(errand_code(manager, &errand), 0);
        return errand.pid;
}

static struct manager *started(void) {
        struct manager *manager;

        if (geteuid() != 0)
                cr_skip("needs root, to be other users");
        config_simple("", 0, 1);
        manager = supervisor_start();
        cr_assert_eq(chmod(place.runtime, 0711), 0);
        return manager;
}

static unsigned said(const char *format, ...) _printf_(1, 2);
static unsigned said(const char *format, ...) {
        char words[128];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(words, sizeof words, format, arguments);
        va_end(arguments);
        return log_said(words);
}

Test(supervisor_refused, R2_pid_user_and_call_are_told) {
        static const char *const methods[] = { CONTROL_METHOD_SCALE, CONTROL_METHOD_RELOAD, NULL };
        struct manager *manager = started();
        pid_t pid;

        log_listen();
        pid = visitor(manager, LOOKER, LOOKER_GROUP, methods, 0);
        cr_assert_eq(said("pid %d of user %d may not ask for Scale: refused", pid, LOOKER), 1);
        cr_assert_eq(said("pid %d of user %d may not ask for Reload: refused", pid, LOOKER), 1);
        cr_assert_eq(said("[pid=%d peer_uid=%d]", pid, LOOKER), 2);
        supervisor_stop(manager);
}

Test(supervisor_refused, R1_R2_one_of_them_cannot_flood_the_log_or_hide_another) {
        static const char *const methods[] = { CONTROL_METHOD_SCALE,   CONTROL_METHOD_RELOAD,
                                               CONTROL_METHOD_SCALE,   CONTROL_METHOD_SCALE,
                                               CONTROL_METHOD_SCALE,   CONTROL_METHOD_RELOAD,
                                               CONTROL_METHOD_UPGRADE, NULL };
        struct manager *manager = started();
        pid_t pid;

        log_listen();
        (void) visitor(manager, STRANGER, STRANGER, NULL, 500);
        cr_assert_eq(said("of user %d may not control Baton: refused", STRANGER), 3);
        pid = visitor(manager, LOOKER, LOOKER_GROUP, methods, 0);
        cr_assert_eq(said("pid %d of user %d may not ask for ", pid, LOOKER), 3,
                     "another is not hidden by it");
        (void) visitor(manager, OTHER, OTHER, NULL, 1);
        cr_assert_eq(said("of user %d may not control Baton: refused", OTHER), 1);
        log_finish();
        cr_assert_eq(log_said("… and 501 more of this kind"), 1, "497 and 4: none is lost");
        supervisor_stop(manager);
}

/* As many users as one may have (a range of subordinate ones): the burst of the kind bounds them all. */
Test(supervisor_refused, R1_many_of_them_cannot_either) {
        struct manager *manager = started();

        log_listen();
        for (uid_t uid = 100000; uid < 100040; uid++)
                (void) visitor(manager, uid, uid, NULL, 5);
        cr_assert_eq(log_said("may not control Baton: refused"), 10);
        log_finish();
        cr_assert_eq(log_said("… and 190 more of this kind"), 1);
        supervisor_stop(manager);
}

Test(supervisor_refused, R2_V12_a_refusal_waits_for_no_database_of_users) {
        struct peer peer = { .pid = 1, .uid = 0, .right = RIGHT_NONE };
        struct failure failure = { 0 };

        cr_assert_eq(rights_check(&peer, RIGHT_WORK, "Scale", &failure), -EACCES);
        cr_assert_not_null(strstr(failure.text, "(you are root): `adduser root baton-operators`"), "%s",
                           failure.text);
        peer.uid = 4294000001u; /* in no file */
        cr_assert_eq(rights_check(&peer, RIGHT_WORK, "Scale", &failure), -EACCES);
        cr_assert_not_null(strstr(failure.text, "(you are user 4294000001)"), "%s", failure.text);
        cr_assert_eq(rights_check(&peer, RIGHT_MOVE, "Adopt", &failure), -EACCES);
        cr_assert_eq(users_asked, 0);
}

/* Who may only look does not take every place from who may do more. */
Test(supervisor_refused, R1_lookers_leave_room_for_the_others) {
        struct manager *manager = started();
        struct errand lookers[3], root;

        for (unsigned i = 0; i < ELEMENTSOF(lookers); i++)
                if (errand_begin(&lookers[i])) {
                        (void) alarm(PATIENCE_USEC / USEC_PER_SEC / 2);
                        errand_end(&lookers[i], become(LOOKER - (uid_t) i, LOOKER_GROUP) < 0
                                                        ? 101
                                                        : hold(CONTROL_CONNECTION_COUNT_MAX / 2));
                }
        turn_for(manager, 300 * USEC_PER_MSEC);
        if (errand_begin(&root))
                errand_end(&root, chdir(place.runtime) < 0 ? 101 : hold(1));
        cr_assert_eq(errand_code(manager, &root), 1, "its one is held");
        for (unsigned i = 0; i < ELEMENTSOF(lookers); i++) {
                int held = errand_code(manager, &lookers[i]);

                cr_assert(held >= 0 && held <= CONTROL_CONNECTION_USER_MAX, "%d", held);
        }
        supervisor_stop(manager);
}
