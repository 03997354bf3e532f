/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration by systemd's credentials: it reaches the supervisor, and nobody else. */
#include <signal.h>
#include <string.h>

#include "tests/systemd/guest/guest.h"

#define CREDENTIALS "/etc/baton/baton.credentials"
#define USED "/run/credentials/baton.service"
#define DROP_IN "/etc/systemd/system/baton.service.d/credentials.conf"

/* A source of that name, as a drop-in's text with "\n" in it, and its outbox with ten events. */
static void outbox_of(struct guest *guest, const char *name) {
        world_outbox(&guest->world, name);
        shell(guest, "chown baton:baton " SHOP "/%s.db && chmod 660 " SHOP "/%s.db", name, name);
        outbox_fill(&guest->world, name, 10);
}

#define SOURCE(name) "[source " name "]\\nurl = sqlite:" SHOP "/" name ".db?table=outbox\\nto = events\\n"

/* What the manual says to do when credentials have changed: the supervisor alone is replaced. */
static void supervisor_renew(struct guest *guest) {
        pid_t before = main_pid(guest);

        shell(guest, "systemctl kill --signal=KILL --kill-who=main baton");
        (void) wait_replaced(guest, before);
}

static void expect_private(struct guest *guest) {
        shell(guest, "runuser -u baton -- grep -q ledger " USED "/baton_ledger.conf");
        expect_refused(guest, "looker", "cat " USED "/baton_ledger.conf", "denied");
        expect_refused(guest, "looker", "cat " CREDENTIALS "/ledger.conf", "denied");
        expect_refused(guest, "stranger", "cat " CREDENTIALS "/ledger.conf", "denied");
        shell(guest, "! grep -q ledger.db /proc/%d/environ && grep -q CREDENTIALS_DIRECTORY /proc/%d/environ",
              main_pid(guest), main_pid(guest));
        shell(guest,
              "for pid in $(pgrep baton-worker); do ! grep -q CREDENTIALS /proc/$pid/environ || exit 1; done");
}

static void expect_doctor(struct guest *guest, const char *command, const char *words) {
        (void) shell_code(guest, "%s", command);
        if (!strstr(guest->world.output, words))
                world_fail(&guest->world, "%s does not say \"%s\":\n%s", command, words, guest->world.output);
}

/* systemd passes over a link in the directory, and doctor says so; its mode of 0777 harms nobody. */
static void expect_link_is_passed_over(struct guest *guest) {
        shell(guest, "umask 077; printf '" SOURCE("linked") "' >/etc/baton/linked && "
                                                            "ln -s ../linked " CREDENTIALS "/linked.conf");
        expect_doctor(guest, "baton doctor",
                      "bad  credentials            " CREDENTIALS
                      "/linked.conf is a symbolic link, and systemd passes over it");
        supervisor_renew(guest);
        shell(guest, "test -e " USED "/baton_ledger.conf && test ! -e " USED "/baton_linked.conf");
        shell(guest, "rm " CREDENTIALS "/linked.conf /etc/baton/linked");
}

/* What the directory itself links to is read. */
static void expect_directory_link_is_followed(struct guest *guest) {
        shell(guest, "mv " CREDENTIALS " /etc/elsewhere && ln -s ../elsewhere " CREDENTIALS);
        supervisor_renew(guest);
        shell(guest, "test -e " USED "/baton_ledger.conf");
        expect_doctor(guest, "env CREDENTIALS_DIRECTORY=" USED " baton doctor",
                      "ok   credentials            1 drop-ins");
        shell(guest, "rm " CREDENTIALS " && mv /etc/elsewhere " CREDENTIALS);
}

static void loaded(struct guest *guest) {
        users_make(guest);
        outbox_of(guest, "ledger");
        shell(guest, "umask 077; printf '" SOURCE("ledger") "' >" CREDENTIALS "/ledger.conf");
        expect_doctor(guest, "baton doctor", "ok   credentials            the service has none");
        supervisor_renew(guest);
        wait_rows(guest, "ledger", 10);
        expect_private(guest);
        expect_doctor(guest, "baton doctor",
                      "?    credentials            the service reads 1 drop-ins of " USED);
        expect_doctor(guest, "env CREDENTIALS_DIRECTORY=" USED " baton doctor",
                      "ok   credentials            1 drop-ins");
        shell(guest,
              "env CREDENTIALS_DIRECTORY=" USED " baton check | grep -q '^session ledger: .*exactly-once'");
        shell(guest, "systemctl reload baton && baton upgrade && systemctl reload baton && "
                     "baton status --json | grep -q '\"ledger\"'");
        expect_link_is_passed_over(guest);
        expect_directory_link_is_followed(guest);
        shell(guest, "chmod 644 " CREDENTIALS "/ledger.conf");
        expect_doctor(guest, "baton doctor",
                      "bad  credentials            " CREDENTIALS "/ledger.conf may be read");
}

/* A password has no place in a URL, and is told to nobody: not even by who refuses it. */
static void expect_no_password(struct guest *guest) {
        shell(guest,
              "umask 077; mkdir -p /run/bad && printf '[source x]\\nurl = postgresql://app:hunter2@db/x\\n"
              "to = events\\n' >/run/bad/x.conf");
        if (shell_code(guest, "env CREDENTIALS_DIRECTORY=/run/bad baton check") == 0 ||
            !strstr(guest->world.output, "/run/bad/x.conf:2:") || strstr(guest->world.output, "hunter2"))
                world_fail(&guest->world, "a password: %s", guest->world.output);
}

static void set_and_encrypted(struct guest *guest) {
        outbox_of(guest, "plain");
        outbox_of(guest, "sealed");
        shell(guest,
              "printf '%%s\\n' '[Service]' 'SetCredential=plain.conf:" SOURCE(
                      "plain") "' "
                               "'LoadCredentialEncrypted=sealed.conf:/etc/baton/sealed.cred' >" DROP_IN);
        shell(guest,
              "printf '" SOURCE(
                      "sealed") "' | "
                                "systemd-creds encrypt --with-key=host --name=sealed.conf - /etc/baton/sealed.cred");
        shell(guest, "! grep -q sealed.db /etc/baton/sealed.cred && systemctl daemon-reload");
        supervisor_renew(guest);
        wait_rows(guest, "plain", 10);
        wait_rows(guest, "sealed", 10);
        expect_no_password(guest);
        shell(guest, "rm " DROP_IN " " CREDENTIALS "/ledger.conf && systemctl daemon-reload");
        supervisor_renew(guest);
        WAIT_UNTIL(&guest->world,
                   shell_code(guest, "baton status --json | grep -qE 'ledger|plain|sealed'") != 0);
}

const struct step steps_credentials[] = {
        { "credentials", loaded },
        { "credentials, set and encrypted", set_and_encrypted },
        { NULL, NULL },
};
