/* SPDX-License-Identifier: Apache-2.0 */
/* The name on the system bus, under the unit and the policy that are installed (R3, V12). */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/systemd/guest/guest.h"

#define CALL "busctl call org.baton /org/baton/manager org.baton.Manager1 "

/* The name belongs to the main process of the service. */
static bool is_owned(struct guest *guest) {
        char wanted[32];

        (void) snprintf(wanted, sizeof(wanted), "u %d\n", main_pid(guest));
        return shell_code(guest,
                          "busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus "
                          "GetConnectionUnixProcessID s org.baton") == 0 &&
               strcmp(guest->world.output, wanted) == 0;
}

static void expect_rights(struct guest *guest) {
        shell(guest, "runuser -u looker -- " CALL "Ping");
        expect_refused(guest, "looker", CALL "Scale su events 1",
                       "Scale needs group baton-operators (you are looker)");
        shell(guest,
              "runuser -u oper -- " CALL "Scale su events 1 && runuser -u oper -- " CALL "Scale su events 2");
        expect_refused(guest, "oper", CALL "Adopt s orders", "Adopt changes what is moved: only root");
        expect_refused(guest, "stranger", CALL "Ping", "Ping needs group baton (you are stranger)");
        expect_refused(guest, "stranger", CALL "Reload", "Reload needs group baton-operators");
        shell(guest,
              "runuser -u stranger -- busctl introspect org.baton /org/baton/manager | grep -q UpgradeState");
        WAIT_UNTIL(&guest->world, all_owned_by_live(&guest->world));
}

static void name_on_the_bus(struct guest *guest) {
        struct world *world = &guest->world;

        users_make(guest);
        if (is_owned(guest))
                world_fail(world, "it has a name that nobody asked for");
        shell(guest, "printf '[baton]\\nbus-name = org.baton\\n' >/etc/baton/baton.conf.d/bus.conf && "
                     "systemctl reload baton");
        WAIT_UNTIL(world, is_owned(guest));
        expect_rights(guest);
        (void) shell_code(guest, "baton doctor");
        if (!strstr(world->output, "ok   bus name"))
                world_fail(world, "doctor does not say that the name is there:\n%s", world->output);
        /* The bus ends and begins again: the socket is systemd's, who comes first starts it. */
        shell(guest, "systemctl kill --signal=KILL dbus.service");
        WAIT_UNTIL(world, is_owned(guest));
        kill_process(main_pid(guest), SIGKILL);
        WAIT_UNTIL(world, is_owned(guest));
        /* Asked for an upgrade on the bus: answered, and then it becomes the installed program, with the name again. */
        shell(guest, "runuser -u oper -- " CALL "Upgrade");
        shell(guest, "until " CALL "UpgradeState | grep -q 'bus false 0'; do sleep 0.1; done");
        WAIT_UNTIL(world, is_owned(guest));
        shell(guest, "rm /etc/baton/baton.conf.d/bus.conf && systemctl reload baton");
        WAIT_UNTIL(world, !is_owned(guest));
}

const struct step steps_bus[] = {
        { "the name on the bus", name_on_the_bus },
        { NULL, NULL },
};
