/* SPDX-License-Identifier: Apache-2.0 */
/* Real processes that die at a numbered crash point (base/crash.h), under load, with takeovers and
 * clean-up going on; then a new start without it, and the checker. Every K of every README once, on
 * both kinds of destination. Needs binaries built with CRASH=1: BATON_CRASH_BIN names their directory. */
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "shm/slot.h"
#include "tests/integration/lib/outbox.h"
#include "tests/integration/lib/test.h"

#define HIT_USEC (1500 * USEC_PER_MSEC)

struct place {
        char area[16], scheme[8];
        unsigned last;
};

static struct world world;

static void begin(void) {
        const char *bin = getenv("BATON_CRASH_BIN");

        if (!bin)
                return; /* the test says that it is skipped */
        (void) setenv("BATON_BIN", bin, 1);
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

static void set_up(const char *scheme) {
        char text[1024];
        bool to_file = strcmp(scheme, "file") == 0;

        world.outbox_count = 0;
        world_shell(&world, "rm -rf state out d.db* a.db* b.db* batond*.log && mkdir state out");
        world_outbox_cleaned(&world, "a");
        world_outbox_cleaned(&world, "b");
        (void) snprintf(
                text, sizeof(text),
                "[baton]\nadopt-timeout = 5s\nstall-timeout = 2s\n[destination d]\nurl = %s:%%D/%s\n"
                "workers = 2\nbatch-rows = 100\n[source a]\nurl = sqlite:%%D/a.db?clean-up=delete\nto = d\n"
                "[source b]\nurl = sqlite:%%D/b.db?clean-up=delete\nto = d\n",
                to_file ? "file" : "sqlite", to_file ? "out?rotate-size=16K" : "d.db");
        world_config(&world, text);
}

static bool somebody_died(void) {
        char path[WORLD_PATH_BYTES * 2], text[16384];
        _cleanup_fd_ int fd = -1;
        ssize_t bytes;

        if (!process_is_alive(world.batond))
                return true;
        (void) snprintf(path, sizeof(path), "%s/batond-%u.log", world.directory, world.batond_starts - 1);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        bytes = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
        text[bytes > 0 ? bytes : 0] = '\0';
        return strstr(text, "SIGKILL") != NULL;
}

/* Under load, until the point is hit, or for so long that it will not be: it is not on this path. */
static bool run_into(const char *point) {
        struct writer_options options = { .events = 1000, .rolls_back = true };
        uint64_t began_usec = clock_usec();
        pid_t writers[2], victim = 0;
        bool hit = false;

        (void) setenv("BATON_CRASH", point, 1);
        world.batond = world_start_unwaited(&world, world.config);
        (void) unsetenv("BATON_CRASH");
        for (unsigned i = 0; i < 2; i++) {
                options.source = i ? "b" : "a";
                writers[i] = writer_start(&world, &options);
        }
        while (!hit && clock_usec() - began_usec < HIT_USEC) {
                (void) usleep(2000);
                hit = somebody_died();
                /* Half way: a hand-over, so that its points can be reached. A drain kills nobody. */
                if (!hit && victim == 0 && clock_usec() - began_usec > HIT_USEC / 2 &&
                    (victim = session_owner(&world, "a")) != 0)
                        kill_process(victim, SIGTERM);
        }
        if (!hit && (victim = session_owner(&world, "a")) != 0)
                kill_process(victim, SIGKILL); /* and a takeover */
        writer_wait(&world, writers[0]);
        writer_wait(&world, writers[1]);
        return hit;
}

/* Three workers that die on one slot quarantine it (S4): its session gets a new one from the operator. */
static void adopt_quarantined(void) {
        struct slot_view view;
        bool any = false;

        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 2);
        for (uint32_t i = 0; i < world.segment->header->slot_used; i++)
                any |= slot_read(world.segment, i, &view) == 0 && view.quarantined;
        for (size_t i = 0; any && i < world.outbox_count; i++)
                if (session_slot(&world, world.outboxes[i].name) == LAYOUT_NONE)
                        cr_expect_eq(baton(&world, "adopt", world.outboxes[i].name), 0, "%s", world.output);
}

static void recover(const char *scheme) {
        char destination[WORLD_PATH_BYTES * 2];

        world_kill_batond(&world);
        (void) snprintf(destination, sizeof(destination), "%s:%s", scheme,
                        world_path(&world, strcmp(scheme, "file") == 0 ? "out" : "d.db"));
        check_destination(&world, destination, "--live");
        /* Workers that still carry the point would die of it again and again: they go too. */
        for (pid_t pid; world_processes(&world, &pid, 1) > 0;)
                kill_and_wait(pid, SIGKILL);
        world_reap();
        world_start(&world);
        adopt_quarantined();
        wait_all_moved(&world);
        cr_expect_eq(world_stop(&world), 0);
        check_destination(&world, destination, "--final");
}

ParameterizedTestParameters(crash, point) {
        static struct place places[] = {
                { "worker", "sqlite", 6 },   { "worker", "file", 6 }, { "sqlite", "sqlite", 3 },
                { "source", "sqlite", 2 },   { "file", "file", 13 },  { "journal", "file", 12 },
                { "journal", "sqlite", 12 }, { "shm", "sqlite", 26 }, { "supervisor", "sqlite", 6 },
                { "base", "sqlite", 2 },
        };

        return cr_make_param_array(struct place, places, ELEMENTSOF(places));
}

ParameterizedTest(struct place *place, crash, point, .init = begin, .fini = end, .timeout = 300) {
        char point[32];
        unsigned hits = 0;

        if (!getenv("BATON_CRASH_BIN"))
                cr_skip("BATON_CRASH_BIN is not set: make CRASH=1, then name its bin directory");
        for (unsigned k = 1; k <= place->last; k++) {
                (void) snprintf(point, sizeof(point), "%s.K%u", place->area, k);
                set_up(place->scheme);
                if (run_into(point))
                        hits++;
                else
                        fprintf(stderr, "%s (%s): not reached\n", point, place->scheme);
                recover(place->scheme);
        }
        cr_expect_gt(hits, 0, "no point of %s was reached", place->area);
        fprintf(stderr, "%s (%s): %u of %u points reached\n", place->area, place->scheme, hits, place->last);
}
