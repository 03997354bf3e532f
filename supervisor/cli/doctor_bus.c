/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the name on the system bus that the configuration asks for is the supervisor's. Must not touch: anything; it
 * asks the bus, each question for a few seconds at most. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "supervisor/cli/bus.h"
#include "supervisor/cli/doctor.h"
#include "supervisor/config.h"

#define WHAT "bus name"
#define PATIENCE_USEC (5 * USEC_PER_SEC)

/* 0 and the owner's pid; -ENXIO: nobody has it. */
static int owner_of(sd_bus *bus, const char *name, uint32_t *ret_pid, struct failure *ret_failure) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                               "GetConnectionUnixProcessID", &error, &reply, "s", name);
        if (r >= 0)
                r = sd_bus_message_read(reply, "u", ret_pid);
        else
                failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "%.200s",
                            error.message ? error.message : strerror(-r));
        if (sd_bus_error_has_name(&error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                r = -ENXIO;
        sd_bus_error_free(&error);
        sd_bus_message_unref(reply);
        return r < 0 ? r : 0;
}

static void look_owner(struct doctor *doctor, const char *name, sd_bus *bus) {
        struct failure failure = {};
        uint32_t pid = 0;
        int r;

        r = owner_of(bus, name, &pid, &failure);
        if (r == -ENXIO)
                doctor_bad(
                        doctor, WHAT,
                        "`journalctl -u baton BATON_KIND=bus-name-missing` says why; its policy is org.baton.conf in "
                        "/usr/share/dbus-1/system.d",
                        "nobody is %s on the system bus", name);
        else if (r < 0)
                doctor_unknown(doctor, WHAT, "`systemctl status dbus`",
                               "the system bus does not say who is %s: %s", name, failure.text);
        else if ((int) pid != doctor->view.supervisor_pid)
                doctor_bad(doctor, WHAT, "give each instance a name of its own: bus-name = org.baton.NAME",
                           "%s is pid %u, not the supervisor (pid %d)", name, pid,
                           doctor->view.supervisor_pid);
        else
                doctor_ok(doctor, WHAT, "%s is the supervisor", name);
}

void doctor_look_bus(struct doctor *doctor) {
        const char *name = doctor->config ? doctor->config->bus_name : NULL;
        _cleanup_bus_ sd_bus *bus = NULL;
        int r;

        if (!doctor->config)
                return;
        if (!name) {
                doctor_ok(doctor, WHAT, "none is asked for (bus-name in [baton])");
                return;
        }
        if (doctor_supervisor_pid(doctor) == 0) {
                doctor_nothing_runs(doctor, WHAT, "no supervisor runs that could have the name");
                return;
        }
        r = bus_connect_system(PATIENCE_USEC, &bus);
        if (r < 0)
                doctor_bad(doctor, WHAT, "start it: `systemctl start dbus`; events are moved without it",
                           "bus-name = %s, and the system bus cannot be reached: %s", name, strerror(-r));
        else
                look_owner(doctor, name, bus);
}
