/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask for what (R1, R2), and an outbox of another user, granted as `baton check --unit` says. */
#include <stdio.h>
#include <string.h>

#include "tests/systemd/guest/guest.h"

void expect_refused(struct guest *guest, const char *user, const char *command, const char *words) {
        if (shell_code(guest, "runuser -u %s -- %s", user, command) == 0)
                world_fail(&guest->world, "%s may: %s", user, command);
        if (!strstr(guest->world.output, words))
                world_fail(&guest->world, "%s, %s: it does not say \"%s\": %s", user, command, words,
                           guest->world.output);
}

void users_make(struct guest *guest) {
        shell(guest, "id oper >/dev/null 2>&1 || { useradd stranger && useradd -G baton looker && "
                     "useradd -G baton,baton-operators oper; }");
}

static void groups(struct guest *guest) {
        users_make(guest);
        shell(guest, "runuser -u looker -- baton status");
        shell(guest, "runuser -u looker -- busctl --address=unix:path=/run/baton/control call org.baton "
                     "/org/baton/manager org.baton.Manager1 Ping");
        expect_refused(guest, "looker", "baton scale events 1",
                       "Scale needs group baton-operators (you are looker)");
        expect_refused(guest, "looker", "baton reload", "Reload needs group baton-operators");
        shell(guest, "runuser -u oper -- baton scale events 1 && runuser -u oper -- baton scale events 2");
        shell(guest, "runuser -u oper -- baton reload && runuser -u oper -- baton upgrade");
        expect_refused(guest, "oper", "baton adopt orders </dev/null", "");
        expect_refused(guest, "oper",
                       "busctl --address=unix:path=/run/baton/control call org.baton /org/baton/manager "
                       "org.baton.Manager1 Adopt s orders",
                       "Adopt changes what is moved: only root");
        shell(guest, "for user in root baton; do runuser -u $user -- baton adopt orders 2>&1 | "
                     "grep -q 'orders is not stopped' || exit 1; done"); /* both may ask */
        expect_refused(guest, "looker", "baton upgrade", "Upgrade needs group baton-operators");
        expect_refused(guest, "stranger", "baton scale events 1", "group baton");
        expect_refused(guest, "stranger", "baton status", "");
        shell(guest,
              "busctl --address=unix:path=/run/baton/control introspect org.baton /org/baton/manager | grep -q Scale");
        WAIT_UNTIL(&guest->world, all_owned_by_live(&guest->world));
}

void wait_rows(struct guest *guest, const char *user, unsigned rows) {
        shell_until(guest,
                    "test \"$(sqlite3 -readonly " DESTINATION
                    " \"SELECT count(*) FROM baton_events WHERE session = '%s'\")\" = %u",
                    user, rows);
}

static void sell(struct guest *guest, const char *user, const char *directory, const char *before) {
        shell(guest,
              "runuser -u %s -- sqlite3 %s/sales.db \"%s INSERT INTO outbox(type, payload) VALUES ('sold', 'a')\"",
              user, directory, before);
}

/* A directory and a database that nobody else may open: the drop-in and the commands are run as printed. */
static void grant_outbox(struct guest *guest, const char *user, const char *directory) {
        struct world *world = &guest->world;
        char line[64], file[256];

        shell(guest,
              "useradd -m %s && install -d -o %s -m 700 %s && "
              "runuser -u %s -- sh -c 'umask 077; baton outbox create %s/sales.db'",
              user, user, directory, user, directory);
        shell(guest,
              "printf '[source %s]\\nurl = sqlite:%s/sales.db?table=outbox\\nto = events\\n' "
              ">/etc/baton/baton.conf.d/sales.conf",
              user, directory);
        (void) snprintf(line, sizeof(line), "bad  source %s", user);
        if (shell_code(guest, "baton doctor") == 0 || !strstr(world->output, line))
                world_fail(world, "doctor does not see that the service may not open it: %s", world->output);
        shell(guest, "baton check --unit >/baton-test/grants && sh -eux /baton-test/grants");
        shell(guest, "systemctl restart baton");
        sell(guest, user, directory, "PRAGMA journal_mode=WAL;");
        wait_rows(guest, user, 1);
        /* And the application goes on: it can open whatever the service has made there. */
        sell(guest, user, directory, "");
        wait_rows(guest, user, 2);
        shell(guest, "baton check --unit");
        (void) snprintf(file, sizeof(file), "setfacl -m u:baton:rw %s/sales.db", directory);
        if (strstr(world->output, file))
                world_fail(world, "what is granted is asked for again: %s", world->output);
        shell(guest, "rm /etc/baton/baton.conf.d/sales.conf && systemctl reload baton");
}

static void outbox_of_another_user(struct guest *guest) {
        grant_outbox(guest, "seller", "/opt/market");
}

/* Which ProtectHome= hides. */
static void outbox_in_a_home(struct guest *guest) {
        grant_outbox(guest, "clerk", "/home/clerk/desk");
}

const struct step steps_rights[] = {
        { "groups", groups },
        { "an outbox of another user", outbox_of_another_user },
        { "an outbox in a home", outbox_in_a_home },
        { NULL, NULL },
};
