/* SPDX-License-Identifier: Apache-2.0 */
/* U5: an upgrade without a gap, and one that is refused. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/systemd/guest/guest.h"

static void install_anew(struct guest *guest) {
        shell(guest, "for f in batond baton-worker; do cp /baton-test/lib/$f /baton-test/lib/$f.new && "
                     "mv /baton-test/lib/$f.new /baton-test/lib/$f; done");
}

/* U5, by its cause, which no load of this machine can change: nobody dies, and a session is never without an owner that
 * lives. How long each hand-over takes is printed. */
static void expect_handed_over(struct guest *guest, struct pauses pauses, uint64_t takeovers) {
        owners_print(pauses);
        if (pauses.given_up > 0 || takeover_count(&guest->world, "events") != takeovers)
                world_fail(&guest->world, "a session was without an owner in an upgrade");
        if (pauses.handovers + pauses.unseen < guest->world.outbox_count)
                world_fail(&guest->world, "%u changes of owner, of %zu sessions",
                           pauses.handovers + pauses.unseen, guest->world.outbox_count);
}

static void upgraded(struct guest *guest) {
        struct world *world = &guest->world;
        pid_t pid = main_pid(guest), workers[2];
        struct pauses pauses;
        uint64_t takeovers;

        if (live_workers(world, "events", workers, 2) != 2)
                world_fail(world, "there are not two workers");
        install_anew(guest);
        shop_write(guest, "orders", 2000);
        shop_write(guest, "payments", 2000);
        (void) sleep(1);
        takeovers = takeover_count(world, "events");
        gaps_begin(guest);
        shell(guest, "baton upgrade");
        printf("  %s", world->output);
        pauses = gaps_end(guest);
        pauses_print("an upgrade", pauses);
        expect_handed_over(guest, pauses, takeovers);
        if (main_pid(guest) != pid || !unit_is(guest, "baton", "active", "running"))
                world_fail(world, "the supervisor is not the same process");
        for (size_t i = 0; i < 2; i++)
                if (process_is_alive(workers[i]))
                        world_fail(world, "a worker of the version before lives");
        if (live_workers(world, "events", NULL, 0) != 2)
                world_fail(world, "there are not two workers");
        shop_check(guest);
        shell(guest, "ps -o stat= --ppid %d | grep -c Z || true", (int) pid);
        if (strcmp(world->output, "0\n") != 0)
                world_fail(world, "the upgraded supervisor has zombies: %s", world->output);
}

static void refused(struct guest *guest) {
        struct world *world = &guest->world;
        pid_t pid = main_pid(guest);

        shell(guest, "echo '[sauce x]' >/etc/baton/baton.conf.d/bad.conf");
        if (shell_code(guest, "baton upgrade") == 0 || !strstr(world->output, "sauce"))
                world_fail(world, "an upgrade with a bad configuration is not refused for it: %s",
                           world->output);
        shell(guest, "rm /etc/baton/baton.conf.d/bad.conf");
        shell(guest,
              "cp -p /baton-test/lib/batond /baton-test/lib/away && rm /baton-test/lib/batond && printf '#!/bin/sh\\necho another layout >&2\\nexit 1\\n' "
              ">/baton-test/lib/batond && chmod +x /baton-test/lib/batond");
        if (shell_code(guest, "baton upgrade") == 0 || !strstr(world->output, "another layout"))
                world_fail(world, "a binary that refuses is not told of: %s", world->output);
        shell(guest, "mv /baton-test/lib/away /baton-test/lib/batond");
        if (main_pid(guest) != pid)
                world_fail(world, "it was replaced all the same");
        outbox_fill(world, "orders", 10);
        shop_check(guest);
}

/* Who asks while nobody is there is answered by who comes; also over an upgrade. */
static void socket_activated(struct guest *guest) {
        struct world *world = &guest->world;

        shell(guest, "systemctl stop baton && systemctl start baton.socket && systemctl start baton");
        shell(guest, "test -L /run/baton/control && baton reload");
        install_anew(guest);
        shell(guest, "baton upgrade && baton reload");
        kill_process(main_pid(guest), SIGKILL);
        shell(guest, "baton reload");
        shell(guest,
              "systemctl stop baton.socket && systemctl restart baton && test -S /run/baton/control && "
              "test ! -L /run/baton/control");
        WAIT_UNTIL(world, all_owned_by_live(world));
        outbox_fill(world, "orders", 10);
        shop_check(guest);
}

const struct step steps_upgrade[] = {
        { "a socket of systemd's", socket_activated },
        { "upgrade", upgraded },
        { "an upgrade that is refused", refused },
        { NULL, NULL },
};
