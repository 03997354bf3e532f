/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked of the supervisor, and by whom: the object that RUNTIME/control (control.c) and the system bus
 * (bus_name.c) show alike. Must not touch: state of the supervisor but through operator.c, reload.c and upgrade.c. */
#include "supervisor/calls.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "supervisor/control.h"
#include "supervisor/manager.h"

/* ---- methods ------------------------------------------------------------------------------------------ */
static int refused(sd_bus_error *ret_error, int r, const char *name, const struct failure *failure) {
        (void) sd_bus_error_set(ret_error, name, failure->text);
        return r;
}

static int call_ping(struct manager *manager, sd_bus_message *message, sd_bus_error *ret_error) {
        (void) manager;
        (void) ret_error;
        return sd_bus_reply_method_return(message, "us", (uint32_t) getpid(), BATON_VERSION);
}

static int call_scale(struct manager *manager, sd_bus_message *message, sd_bus_error *ret_error) {
        const char *destination, *error = NULL;
        struct failure failure = {};
        uint32_t workers;
        int r;

        r = sd_bus_message_read(message, "su", &destination, &workers);
        if (r < 0)
                return r;
        r = operator_scale(manager, destination, workers, &error, &failure);
        if (r < 0)
                return refused(ret_error, r, error, &failure);
        return sd_bus_reply_method_return(message, NULL);
}

static int call_adopt(struct manager *manager, sd_bus_message *message, sd_bus_error *ret_error) {
        const char *session, *error = NULL;
        struct failure failure = {};
        uint64_t request = 0;
        int r;

        r = sd_bus_message_read(message, "s", &session);
        if (r < 0)
                return r;
        r = operator_adopt(manager, session, &request, &error, &failure);
        if (r < 0)
                return refused(ret_error, r, error, &failure);
        return sd_bus_reply_method_return(message, "t", request);
}

static int call_reload(struct manager *manager, sd_bus_message *message, sd_bus_error *ret_error) {
        struct failure failure = {};
        int r;

        r = reload(manager, &failure);
        if (r < 0)
                return refused(ret_error, r, r == -EBUSY ? CONTROL_ERROR_BUSY : CONTROL_ERROR_CONFIGURATION,
                               &failure);
        return sd_bus_reply_method_return(message, NULL);
}

static int call_upgrade(struct manager *manager, sd_bus_message *message, sd_bus_error *ret_error) {
        struct failure failure = {};
        int r;

        r = upgrade_begin(manager, &failure);
        if (r < 0)
                return refused(ret_error, r, r == -EBUSY ? CONTROL_ERROR_BUSY : CONTROL_ERROR_UPGRADE,
                               &failure);
        return sd_bus_reply_method_return(message, NULL);
}

static int call_upgrade_state(struct manager *manager, sd_bus_message *message, sd_bus_error *ret_error) {
        (void) ret_error;
        return sd_bus_reply_method_return(message, "bus", manager->upgrading, manager->stale_count,
                                          BATON_VERSION);
}

/* R2: the right that each call needs. What is not in this table cannot be called. */
static const struct call {
        const char *name;
        enum right right;
        int (*run)(struct manager *manager, sd_bus_message *message, sd_bus_error *ret_error);
} calls[] = {
        { CONTROL_METHOD_PING, RIGHT_LOOK, call_ping },
        { CONTROL_METHOD_SCALE, RIGHT_WORK, call_scale },
        { CONTROL_METHOD_RELOAD, RIGHT_WORK, call_reload },
        { CONTROL_METHOD_UPGRADE, RIGHT_WORK, call_upgrade },
        { CONTROL_METHOD_UPGRADE_STATE, RIGHT_LOOK, call_upgrade_state },
        { CONTROL_METHOD_ADOPT, RIGHT_MOVE, call_adopt },
};

int calls_run(struct manager *manager, const struct peer *peer, sd_bus_message *message,
              sd_bus_error *ret_error) {
        const char *name = sd_bus_message_get_member(message);
        struct failure failure = {};
        int r;

        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                if (strcmp(calls[i].name, name) != 0)
                        continue;
                r = rights_check(peer, calls[i].right, name, &failure);
                if (r < 0) {
                        log_line(MESSAGE_CONTROL_REFUSED, LOG_WARNING,
                                 &(struct log_fields){ .pid = peer->pid, .peer_uid = peer->uid },
                                 "pid %d of user %u may not ask for %s: refused", peer->pid, peer->uid, name);
                        return refused(ret_error, r, CONTROL_ERROR_RIGHT, &failure);
                }
                return calls[i].run(manager, message, ret_error);
        }
        return -EBADR; /* the interface has a method that the table lacks: sd-bus says that it is unknown */
}

/* ---- the object --------------------------------------------------------------------------------------- */
static int on_call(sd_bus_message *message, void *context, sd_bus_error *ret_error) {
        struct asked *asked = context;

        return asked->answer(asked, message, ret_error);
}

/* Nobody's right is asked for a property: it says no more than `baton --version` says to everybody. */
static int property_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *context, sd_bus_error *ret_error) {
        (void) bus;
        (void) path;
        (void) interface;
        (void) property;
        (void) context;
        (void) ret_error;
        return sd_bus_message_append(reply, "s", BATON_VERSION);
}

/* UNPRIVILEGED: else sd-bus asks the bus who a caller is, and waits for the answer; at RUNTIME/control there is none to
 * ask. */
static const sd_bus_vtable control_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Version", "s", property_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_METHOD_WITH_ARGS(CONTROL_METHOD_PING, SD_BUS_NO_ARGS, SD_BUS_RESULT("u", pid, "s", version),
                                on_call, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(CONTROL_METHOD_SCALE, SD_BUS_ARGS("s", destination, "u", workers),
                                SD_BUS_NO_RESULT, on_call, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(CONTROL_METHOD_ADOPT, SD_BUS_ARGS("s", session), SD_BUS_RESULT("t", request),
                                on_call, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(CONTROL_METHOD_RELOAD, SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, on_call,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(CONTROL_METHOD_UPGRADE, SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, on_call,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(CONTROL_METHOD_UPGRADE_STATE, SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("b", under_way, "u", workers, "s", version), on_call,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int calls_add(sd_bus *bus, struct asked *asked) {
        assert(bus && asked && asked->answer);

        return sd_bus_add_object_vtable(bus, NULL, CONTROL_PATH, CONTROL_INTERFACE, control_vtable, asked);
}
