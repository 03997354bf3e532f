/* SPDX-License-Identifier: Apache-2.0 */
/* The application: two outboxes in /srv/shop that the service's user may open, and writers. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/systemd/guest/guest.h"

static volatile bool *writers_stop;

static void share_writers_stop(struct world *world) {
        writers_stop = mmap(NULL, sizeof(*writers_stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                            -1, 0);
        if (writers_stop == MAP_FAILED)
                world_fail(world, "mmap: %m");
}

void shop_know(struct guest *guest, const char *source) {
        struct world_outbox *outbox = &guest->world.outboxes[guest->world.outbox_count++];

        (void) snprintf(outbox->name, sizeof(outbox->name), "%s", source);
        (void) snprintf(outbox->file, sizeof(outbox->file), SHOP "/%s.db", source);
        share_writers_stop(&guest->world);
}

/* Commands of the world find the service's directories where everybody does. */
void shop_open(struct guest *guest) {
        struct world *world = &guest->world;

        shell(guest, "install -d -o baton -g baton -m 2770 " SHOP);
        world_outbox(world, "orders");
        world_outbox(world, "payments");
        shell(guest, "chown baton:baton " SHOP "/*.db && chmod 660 " SHOP "/*.db");
        share_writers_stop(world);
}

/* New ones, so that no stamp of an earlier writer is taken for one of this. */
static struct writer_commits *commits_new(struct guest *guest, const char *source) {
        struct world *world = &guest->world;
        size_t i = 0;

        while (i < world->outbox_count && strcmp(world->outboxes[i].name, source) != 0)
                i++;
        if (i == world->outbox_count)
                world_fail(world, "the test knows no outbox %s", source);
        if (guest->commits[i])
                (void) munmap(guest->commits[i], sizeof(*guest->commits[i]));
        guest->commits[i] = mmap(NULL, sizeof(*guest->commits[i]), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (guest->commits[i] == MAP_FAILED)
                world_fail(world, "mmap: %m");
        return guest->commits[i];
}

void shop_write(struct guest *guest, const char *source, unsigned per_second) {
        *writers_stop = false;
        guest->writers[guest->writer_count++] = writer_start(&guest->world,
                                                             &(struct writer_options){
                                                                     .source = source,
                                                                     .events = UINT64_MAX,
                                                                     .per_second = per_second,
                                                                     .normal = true,
                                                                     .transaction_events = 5,
                                                                     .stops = writers_stop,
                                                                     .commits = commits_new(guest, source) });
}

void shop_pause(struct guest *guest) {
        *writers_stop = true;
        while (guest->writer_count > 0)
                writer_wait(&guest->world, guest->writers[--guest->writer_count]);
}

void shop_check(struct guest *guest) {
        shop_pause(guest);
        wait_all_moved(&guest->world);
        check_destination(&guest->world, "sqlite:" DESTINATION, "--final");
}
