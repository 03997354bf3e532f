/* SPDX-License-Identifier: Apache-2.0 */
/* P5, V10: journald tells a session's life, journalctl -x explains every line, and no payload stands anywhere. The
 * session is one of its own, which an administrator harms on purpose. Must not touch: the shop's sessions and
 * their destination. */
#include <stdio.h>
#include <string.h>

#include "tests/systemd/guest/guest.h"

#define TALES SHOP "/tales.db"
#define TOLD "/var/lib/baton/tales.db"
#define PAYLOAD "PaYlOaD-of-a-tale"
#define JOURNAL "journalctl -q --no-pager -u baton "

/* By the standard input: journald notes command lines. */
static void tell_sqlite(struct guest *guest, const char *file, const char *sql) {
        shell(guest, "echo \"%s\" | runuser -u baton -- sqlite3 -cmd '.timeout 5000' %s", sql, file);
}

static void tale_insert(struct guest *guest, unsigned number) {
        char sql[160];

        (void) snprintf(sql, sizeof(sql),
                        "INSERT INTO outbox (key, type, payload) VALUES ('k', 't', '" PAYLOAD "-%u');",
                        number);
        tell_sqlite(guest, TALES, sql);
}

/* -readonly: we are root, and would make the file that the service is about to make. */
static void wait_tales(struct guest *guest, unsigned count) {
        shell_until(guest,
                    "test \"$(sqlite3 -readonly " TOLD
                    " \"SELECT count(*) FROM baton_events WHERE session = 'tales'\")\" = %u",
                    count);
}

static void wait_told(struct guest *guest, const char *match) {
        shell_until(guest, JOURNAL "BATON_SESSION=tales %s | grep -q .", match);
}

/* Assigned, moved, its owner killed. */
static void tale_begins(struct guest *guest) {
        shell(guest, "runuser -u baton -- baton outbox create " TALES
                     " && printf '[source tales]\\nurl = sqlite:" TALES "?table=outbox\\nto = tales\\n"
                     "[destination tales]\\nurl = sqlite:" TOLD "\\nworkers = 2\\n' "
                     ">/etc/baton/baton.conf.d/tales.conf && systemctl reload baton");
        tale_insert(guest, 1);
        wait_tales(guest, 1);
        wait_told(guest, "BATON_KIND=session-owned");
        WAIT_UNTIL(&guest->world, live_workers(&guest->world, "tales", NULL, 0) == 2);
        kill_process(session_owner(&guest->world, "tales"), SIGKILL);
        wait_told(guest, "BATON_KIND=session-taken-over");
}

/* An event that the destination rejects: parked, by a reason that quotes it not. */
static void tale_is_parked(struct guest *guest) {
        tell_sqlite(guest, TOLD,
                    "CREATE TRIGGER strict BEFORE INSERT ON baton_events WHEN NEW.payload = '" PAYLOAD "-2' "
                    "BEGIN SELECT RAISE(ABORT, 'not this one'); END;");
        tale_insert(guest, 2);
        wait_told(guest, "BATON_KIND=event-parked BATON_POSITION=2");
        tell_sqlite(guest, TOLD, "DROP TRIGGER strict;");
}

/* The source is away, then another file stands there: stopped until an operator accepts it. */
static void tale_stops(struct guest *guest) {
        shell(guest, "sqlite3 " TALES " \".backup '" SHOP "/other.db'\" && mv " TALES " " SHOP "/away.db");
        wait_told(guest, "BATON_KIND=session-waits");
        shell(guest,
              "rm -f " TALES "-* && chown baton:baton " SHOP "/other.db && mv " SHOP "/other.db " TALES);
        wait_told(guest, "BATON_KIND=session-stopped");
        shell_until(guest, "systemctl show -P StatusText baton | grep -q 'stopped 1'");
        shell(guest, "baton adopt tales");
        wait_told(guest, "BATON_KIND=session-adopted");
        tale_insert(guest, 3);
        wait_tales(guest, 2);
        shell(guest, "rm /etc/baton/baton.conf.d/tales.conf && systemctl reload baton");
        wait_told(guest, "BATON_KIND=session-left");
}

static void expect_life(struct guest *guest) {
        static const char *const life[] = { "session-owned", "session-taken-over", "event-parked",
                                            "session-waits", "session-stopped",    "session-adopted",
                                            "session-left" };
        const char *at;

        shell(guest, JOURNAL
              "-o json BATON_SESSION=tales | sed -n 's/.*\"BATON_KIND\":\"\\([a-z-]*\\)\".*/<\\1>/p'");
        at = guest->world.output;
        for (size_t i = 0; i < ELEMENTSOF(life); i++) {
                at = strstr(at, life[i]);
                if (!at)
                        world_fail(&guest->world,
                                   "the life of tales is told without \"%s\" in its place:\n%s", life[i],
                                   guest->world.output);
        }
}

static void expect_fields(struct guest *guest) {
        static const char *const fields[] = {
                "session-owned:BATON_WORKER:[0-9]+",
                "session-taken-over:BATON_TAKEOVER_USEC:[0-9]+",
                "session-taken-over:BATON_EPOCH:[0-9]+",
                "session-stopped:BATON_REASON:[^\"]+replaced",
                "event-parked:BATON_REASON:[^\"]*not this one",
                "event-parked:BATON_POSITION:2",
                "session-adopted:MESSAGE_ID:[0-9a-f]+",
        };

        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                char kind[64], field[64], value[64];

                if (sscanf(fields[i], "%63[^:]:%63[^:]:%63s", kind, field, value) < 3)
                        world_fail(&guest->world, "%s: the test's own mistake", fields[i]);
                shell(guest, JOURNAL "-o json BATON_SESSION=tales BATON_KIND=%s | grep -qE '\"%s\":\"%s'",
                      kind, field, strchr(strchr(fields[i], ':') + 1, ':') + 1);
        }
}

static void lives_and_fields(struct guest *guest) {
        pid_t pid = main_pid(guest);

        tale_begins(guest);
        tale_is_parked(guest);
        tale_stops(guest);
        expect_life(guest);
        expect_fields(guest);
        if (main_pid(guest) != pid)
                world_fail(&guest->world, "it needed another supervisor");
}

#define SAID "LC_ALL=C journalctl -q --no-pager SYSLOG_IDENTIFIER=batond + SYSLOG_IDENTIFIER=baton-worker "

/* Of all that Baton said since the boot. */
static void catalogue(struct guest *guest) {
        shell(guest, SAID "-o json >/baton-test/said && " SAID "-x -o short >/baton-test/explained && "
                          "test $(wc -l </baton-test/said) -gt 30");
        shell(guest, "! grep -v '\"MESSAGE_ID\":\"[0-9a-f]\\{32\\}\"' /baton-test/said");
        shell(guest,
              "sed 's/.*\"MESSAGE_ID\":\"\\([0-9a-f]*\\)\".*/\\1/' /baton-test/said | sort -u >/baton-test/ids && "
              "journalctl --list-catalog | cut -d' ' -f1 | sort -u >/baton-test/known && "
              "test $(wc -l </baton-test/ids) -gt 10 && ! comm -23 /baton-test/ids /baton-test/known | grep .");
        shell(guest,
              "said=$(wc -l </baton-test/said); explained=$(grep -c '^-- What to do: ' /baton-test/explained); "
              "echo of $said lines $explained are explained; test $said = $explained");
        shell(guest, "wc -l </baton-test/ids");
        guest->world.output[strcspn(guest->world.output, "\n")] = '\0';
        printf("  kinds of message in the journal, each explained: %s\n", guest->world.output);
}

/* All of the journal, in all its fields. */
static void no_payload(struct guest *guest) {
        shell(guest,
              "journalctl -q --no-pager -o export >/baton-test/journal && grep -aq BATON_SESSION=tales "
              "/baton-test/journal");
        if (shell_code(guest, "grep -a '" PAYLOAD "' /baton-test/journal") != 1)
                world_fail(&guest->world, "a payload stands in the journal: %s", guest->world.output);
}

const struct step steps_journald[] = {
        { "journald: a session's life", lives_and_fields },
        { "journald: the catalogue", catalogue },
        { "journald: no payload", no_payload },
        { NULL, NULL },
};
