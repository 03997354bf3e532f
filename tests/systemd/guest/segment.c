/* SPDX-License-Identifier: Apache-2.0 */
/* A segment of another layout, as an upgrade or a downgrade of the machine may leave it: workers that live in it drain
 * and leave, a new one is made, and it is said. Must not touch: the segment, but for that number. */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/systemd/guest/guest.h"

#define OTHER_NUMBER 999U

/* Nobody but a supervisor reads it, and there is none. */
static void renumber(struct guest *guest) {
        const uint32_t number = OTHER_NUMBER;
        _cleanup_fd_ int fd = open("/run/baton/" SEGMENT_FILE_NAME, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || pwrite(fd, &number, sizeof(number), offsetof(struct layout_header, layout_number)) !=
                              (ssize_t) sizeof(number))
                world_fail(&guest->world, "the segment: %m");
}

static void of_another_layout(struct guest *guest) {
        struct world *world = &guest->world;
        pid_t pid = main_pid(guest), workers[2];

        if (live_workers(world, "events", workers, 2) != 2)
                world_fail(world, "there are not two workers");
        drop_in(guest, "baton", "RestartSec=2");
        shop_write(guest, "orders", 2000);
        shop_write(guest, "payments", 2000);
        (void) sleep(1);
        kill_process(pid, SIGKILL);
        WAIT_UNTIL(world, unit_is(guest, "baton", "activating", "auto-restart"));
        renumber(guest);
        gaps_begin(guest);
        pid = wait_replaced(guest, pid);
        WAIT_UNTIL(world, live_workers(world, "events", NULL, 0) == 2 && all_owned_by_live(world));
        for (size_t i = 0; i < 2; i++)
                if (process_is_alive(workers[i]))
                        world_fail(world, "a worker of the segment before lives");
        pauses_print("another layout, adopt-timeout 3 s", gaps_end(guest));
        shell(guest,
              "journalctl -q -u baton _PID=%d BATON_KIND=segment-refused | grep -q 'it is of layout 999'",
              (int) pid);
        shell(guest, "journalctl -q -u baton _PID=%d BATON_KIND=segment-made | grep .", (int) pid);
        drop_in_end(guest, "baton");
        shop_check(guest);
}

const struct step steps_segment[] = {
        { "a segment of another layout", of_another_layout },
        { NULL, NULL },
};
