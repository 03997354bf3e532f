/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask for what (R1, R2), and an outbox of another user, granted as `baton check --unit` says. */
#include <stdio.h>
#include <string.h>

#include "tests/systemd/guest/guest.h"

static void expect_refused(struct guest *guest, const char *user, const char *command, const char *words) {
        if (shell_code(guest, "runuser -u %s -- %s", user, command) == 0)
                world_fail(&guest->world, "%s may: %s", user, command);
        if (!strstr(guest->world.output, words))
                world_fail(&guest->world, "%s, %s: it does not say \"%s\": %s", user, command, words,
                           guest->world.output);
}

static void groups(struct guest *guest) {
        shell(guest, "useradd stranger && useradd -G baton looker && useradd -G baton,baton-operators oper");
        shell(guest, "runuser -u looker -- baton status");
        shell(guest, "runuser -u looker -- busctl --address=unix:path=/run/baton/control call org.baton "
                     "/org/baton/manager org.baton.Manager1 Ping");
        expect_refused(guest, "looker", "baton scale events 1",
                       "Scale needs group baton-operators (you are looker)");
        expect_refused(guest, "looker", "baton reload", "Reload needs group baton-operators");
        shell(guest, "runuser -u oper -- baton scale events 1 && runuser -u oper -- baton scale events 2");
        shell(guest, "runuser -u oper -- baton reload");
        expect_refused(guest, "oper", "baton adopt orders </dev/null", "");
        expect_refused(guest, "oper",
                       "busctl --address=unix:path=/run/baton/control call org.baton /org/baton/manager "
                       "org.baton.Manager1 Adopt s orders",
                       "Adopt changes what is moved: only root");
        expect_refused(guest, "stranger", "baton scale events 1", "group baton");
        expect_refused(guest, "stranger", "baton status", "");
        shell(guest,
              "busctl --address=unix:path=/run/baton/control introspect org.baton /org/baton/manager | grep -q Scale");
        WAIT_UNTIL(&guest->world, all_owned_by_live(&guest->world));
}

/* A directory and a database that nobody else may open: the drop-in and the commands are run as printed. */
static void outbox_of_another_user(struct guest *guest) {
        struct world *world = &guest->world;

        shell(guest, "useradd seller && install -d -o seller -m 700 /opt/market && "
                     "runuser -u seller -- sh -c 'umask 077; baton outbox create /opt/market/sales.db'");
        shell(guest,
              "printf '[source sales]\\nurl = sqlite:/opt/market/sales.db?table=outbox\\nto = events\\n' "
              ">/etc/baton/baton.conf.d/sales.conf");
        if (shell_code(guest, "baton doctor") == 0 || !strstr(world->output, "bad  source sales"))
                world_fail(world, "doctor does not see that the service may not open it: %s", world->output);
        shell(guest, "baton check --unit >/baton-test/grants && sh -eux /baton-test/grants");
        shell(guest, "systemctl restart baton");
        shell(guest,
              "runuser -u seller -- sqlite3 /opt/market/sales.db "
              "\"PRAGMA journal_mode=WAL; INSERT INTO outbox(type, payload) VALUES ('sold', 'a'), ('sold', 'b')\"");
        shell(guest,
              "for i in $(seq 100); do test \"$(sqlite3 " DESTINATION
              " \"SELECT count(*) FROM baton_events WHERE session = 'sales'\")\" = 2 && exit; sleep 0.1; done; exit 1");
        /* And the application goes on: it can open whatever the service has made there. */
        shell(guest, "runuser -u seller -- sqlite3 /opt/market/sales.db "
                     "\"INSERT INTO outbox(type, payload) VALUES ('sold', 'c')\"");
        shell(guest, "baton check --unit | grep setfacl | grep market || true");
        if (strstr(world->output, " /opt/market/sales.db"))
                world_fail(world, "what is granted is asked for again: %s", world->output);
        shell(guest, "rm /etc/baton/baton.conf.d/sales.conf && systemctl reload baton");
}

const struct step steps_rights[] = {
        { "groups", groups },
        { "an outbox of another user", outbox_of_another_user },
        { NULL, NULL },
};
