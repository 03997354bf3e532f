/* SPDX-License-Identifier: Apache-2.0 */
/* The longest time in which nothing was committed. The stamps are the owners' own, so it does not matter how often
 * they are looked at, as long as it is more often than they change. Must not touch: the segment (read-only). */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/systemd/guest/guest.h"

struct gaps {
        volatile bool stops;
        uint64_t last_usec, longest_usec;
};

static struct gaps *gaps;
static pid_t watcher;

static void look_at(struct guest *guest) {
        uint64_t last_usec = 0;

        for (size_t i = 0; i < guest->world.outbox_count; i++) {
                struct session_status status;

                if (session_status(&guest->world, guest->world.outboxes[i].name, &status))
                        last_usec = MAX_OF(last_usec, status.commit_last_usec);
        }
        if (last_usec <= gaps->last_usec)
                return;
        if (gaps->last_usec != 0)
                gaps->longest_usec = MAX_OF(gaps->longest_usec, last_usec - gaps->last_usec);
        gaps->last_usec = last_usec;
}

void gaps_begin(struct guest *guest) {
        const struct timespec pause = { .tv_nsec = 200000 };

        gaps = mmap(NULL, sizeof(*gaps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (gaps == MAP_FAILED)
                world_fail(&guest->world, "mmap: %m");
        watcher = fork();
        if (watcher < 0)
                world_fail(&guest->world, "fork: %m");
        if (watcher > 0)
                return;
        while (!gaps->stops && getppid() != 1) {
                look_at(guest);
                (void) nanosleep(&pause, NULL);
        }
        /* The gap that is open now counts, too. */
        gaps->longest_usec = MAX_OF(gaps->longest_usec, clock_usec() - gaps->last_usec);
        _exit(0);
}

uint64_t gaps_end(struct guest *guest) {
        uint64_t longest_usec;

        gaps->stops = true;
        if (wait_exit(watcher) != 0)
                world_fail(&guest->world, "the watcher of commits failed");
        longest_usec = gaps->longest_usec;
        (void) munmap(gaps, sizeof(*gaps));
        return longest_usec;
}
