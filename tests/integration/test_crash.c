/* SPDX-License-Identifier: Apache-2.0 */
/* Real processes that die at a numbered crash point (base/crash.h), under load, with takeovers and
 * clean-up going on; then a new start without it, and the checker. Every K of every README once, on
 * both kinds of destination. What a point needs besides load is its scenario; with one it must be reached.
 * Needs binaries built with CRASH=1: BATON_CRASH_BIN names their directory. */
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "prove/world/outbox.h"
#include "shm/slot.h"
#include "tests/integration/test.h"

#define HIT_USEC (1500 * USEC_PER_MSEC)

struct place {
        char area[16], scheme[8];
        unsigned last;
};

enum scenario {
        SCENARIO_LOAD,     /* a hand-over half way, a takeover at the end: whatever that reaches */
        SCENARIO_TAKEOVER, /* an owner is killed: who looks at its death dies too */
        SCENARIO_JOIN,     /* a source is added while its worker lives, which takes the orphan */
        SCENARIO_LARGE,    /* events that fill the -wal of the destination */
        SCENARIO_TORN,     /* an owner died before with lines in the file, the last of them torn */
        SCENARIO_FULL,     /* the destination's file system fills up, so that lines are taken back */
};

static const struct {
        char point[16];
        enum scenario scenario;
} scenarios[] = {
        { "shm.K10", SCENARIO_TAKEOVER }, { "shm.K14", SCENARIO_TAKEOVER }, { "shm.K15", SCENARIO_TAKEOVER },
        { "shm.K22", SCENARIO_JOIN },     { "shm.K23", SCENARIO_JOIN },     { "sqlite.K3", SCENARIO_LARGE },
        { "file.K7", SCENARIO_TORN },     { "file.K8", SCENARIO_TORN },     { "file.K9", SCENARIO_TORN },
        { "file.K4", SCENARIO_FULL },
};

static struct world world;
static bool is_small; /* out/ is a file system of its own */

static void begin(void) {
        const char *bin = getenv("BATON_CRASH_BIN");

        if (!bin)
                return; /* the test says that it is skipped */
        (void) setenv("BATON_BIN", bin, 1);
        test_begin(&world);
}

static void small_end(void) {
        if (is_small)
                (void) umount2(world_path(&world, "out"), MNT_DETACH);
        is_small = false;
}

static void end(void) {
        small_end();
        test_end(&world);
}

/* Without root there is no file system to fill. */
static bool small_begin(void) {
        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
            mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", world_path(&world, "out"), "tmpfs", 0, "size=64k,mode=0700") < 0)
                return false;
        is_small = true;
        return true;
}

static void small_grow(void) {
        if (is_small)
                cr_assert_eq(mount("tmpfs", world_path(&world, "out"), "tmpfs", MS_REMOUNT, "size=64m"), 0);
}

static void write_config(const char *scheme, size_t sources) {
        static const char *const names[] = { "a", "b", "c" };
        bool to_file = strcmp(scheme, "file") == 0;
        char text[1024];
        int used;

        assert(sources <= ELEMENTSOF(names));
        used = snprintf(text, sizeof(text),
                        "[baton]\nadopt-timeout = 5s\nstall-timeout = 2s\n"
                        "[destination d]\nurl = %s:%%D/%s\nworkers = 2\nbatch-rows = 100\n",
                        to_file ? "file" : "sqlite", to_file ? "out?rotate-size=16K" : "d.db");
        for (size_t i = 0; i < sources; i++)
                used += snprintf(text + used, sizeof(text) - (size_t) used,
                                 "[source %s]\nurl = sqlite:%%D/%s.db?clean-up=delete\nto = d\n", names[i],
                                 names[i]);
        world_config(&world, text);
}

static void set_up(const char *scheme) {
        small_end();
        world.outbox_count = 0;
        world_shell(&world, "rm -rf state out d.db* a.db* b.db* c.db* batond*.log && mkdir state out");
        world_outbox_cleaned(&world, "a");
        world_outbox_cleaned(&world, "b");
        write_config(scheme, 2);
}

/* Who was killed, as the supervisor's log tells it; it itself counts for all. */
static unsigned deaths(void) {
        char path[WORLD_PATH_BYTES * 2], text[65536];
        _cleanup_fd_ int fd = -1;
        unsigned count = 0;
        ssize_t bytes;

        if (!process_is_alive(world.batond))
                return UINT_MAX;
        (void) snprintf(path, sizeof(path), "%s/batond-%u.log", world.directory, world.batond_starts - 1);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        bytes = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
        text[bytes > 0 ? bytes : 0] = '\0';
        for (const char *at = text; (at = strstr(at, "was killed by SIGKILL")); at++)
                count++;
        return count;
}

static void start_with(const char *point) {
        (void) setenv("BATON_CRASH", point, 1);
        world.batond = world_start_unwaited(&world, world.config);
        (void) unsetenv("BATON_CRASH");
}

/* Whoever still carries a point would die of it again and again. */
static void kill_all(void) {
        if (world.batond > 0)
                world_kill_batond(&world);
        for (pid_t pid; world_processes(&world, &pid, 1) > 0;)
                kill_and_wait(pid, SIGKILL);
        world_reap();
}

static void writers_start(pid_t writers[2], unsigned payload_bytes) {
        struct writer_options options = { .events = 1000,
                                          .rolls_back = true,
                                          .payload_bytes = payload_bytes };

        for (unsigned i = 0; i < 2; i++) {
                options.source = i ? "b" : "a";
                writers[i] = writer_start(&world, &options);
        }
}

static void writers_wait(const pid_t writers[2]) {
        writer_wait(&world, writers[0]);
        writer_wait(&world, writers[1]);
}

/* Under load, until the point is hit, or for so long that it will not be: it is not on this path. */
static bool run_under_load(const char *point) {
        uint64_t began_usec = clock_usec();
        pid_t writers[2], victim = 0;
        bool hit = false;

        start_with(point);
        writers_start(writers, 0);
        while (!hit && clock_usec() - began_usec < HIT_USEC) {
                (void) usleep(2000);
                hit = deaths() > 0;
                /* Half way: a hand-over, so that its points can be reached. A drain kills nobody. */
                if (!hit && victim == 0 && clock_usec() - began_usec > HIT_USEC / 2 &&
                    (victim = session_owner(&world, "a")) != 0)
                        kill_process(victim, SIGTERM);
        }
        if (!hit && (victim = session_owner(&world, "a")) != 0)
                kill_process(victim, SIGKILL); /* and a takeover */
        writers_wait(writers);
        return hit;
}

static void run_takeover(const char *point) {
        pid_t writers[2];

        start_with(point);
        writers_start(writers, 0);
        WAIT_UNTIL(&world, all_owned_by_live(&world) && live_workers(&world, "d", NULL, 0) == 2);
        kill_process(session_owner(&world, "a"), SIGKILL);
        WAIT_UNTIL(&world, deaths() >= 2);
        writers_wait(writers);
}

static void run_join(const char *point, const char *scheme) {
        pid_t writers[2];

        start_with(point);
        writers_start(writers, 0);
        WAIT_UNTIL(&world, all_owned_by_live(&world) && live_workers(&world, "d", NULL, 0) == 2);
        world_outbox_cleaned(&world, "c");
        outbox_fill(&world, "c", 50);
        write_config(scheme, 3);
        cr_assert_eq(baton(&world, "reload"), 0, "%s", world.output);
        WAIT_UNTIL(&world, deaths() >= 1);
        writers_wait(writers);
}

/* The owner before was killed with lines in the file that no record speaks of, and inside a write. */
static void run_torn(const char *point) {
        pid_t writers[2];

        start_with("file.K1");
        writers_start(writers, 0);
        WAIT_UNTIL(&world, deaths() >= 1);
        writers_wait(writers);
        kill_all();
        world_shell(&world, "f=$(ls out/[ab].0*.jsonl | tail -n 1) && printf '{\"position\":' >>$f");
        start_with(point);
        WAIT_UNTIL(&world, deaths() >= 1);
}

static void run_loaded(const char *point, unsigned payload_bytes) {
        pid_t writers[2];

        start_with(point);
        writers_start(writers, payload_bytes);
        WAIT_UNTIL(&world, deaths() >= 1);
        writers_wait(writers);
}

static enum scenario scenario_of(const char *point) {
        for (size_t i = 0; i < ELEMENTSOF(scenarios); i++)
                if (strcmp(scenarios[i].point, point) == 0)
                        return scenarios[i].scenario;
        return SCENARIO_LOAD;
}

/* True if the point was reached. */
static bool run_into(const char *point, const char *scheme) {
        switch (scenario_of(point)) {
        case SCENARIO_LOAD:
                return run_under_load(point);
        case SCENARIO_TAKEOVER:
                run_takeover(point);
                return true;
        case SCENARIO_JOIN:
                run_join(point, scheme);
                return true;
        case SCENARIO_LARGE:
                run_loaded(point, 6000);
                return true;
        case SCENARIO_TORN:
                run_torn(point);
                return true;
        case SCENARIO_FULL:
                if (!small_begin())
                        return run_under_load(point);
                run_loaded(point, 0);
                return true;
        }
        return false;
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

/* All died while the first of them made the destination: its transaction is to be undone, and the checker, which
 * writes nothing, cannot read there. Nothing else is committed with a -journal. */
static bool is_half_made(void) {
        return access(world_path(&world, "d.db-journal"), F_OK) == 0;
}

static void recover(const char *scheme) {
        char destination[WORLD_PATH_BYTES * 2];

        world_kill_batond(&world);
        small_grow();
        (void) snprintf(destination, sizeof(destination), "%s:%s", scheme,
                        world_path(&world, strcmp(scheme, "file") == 0 ? "out" : "d.db"));
        if (!is_half_made())
                check_destination(&world, destination, "--live");
        kill_all();
        world_start(&world);
        adopt_quarantined();
        wait_all_moved(&world);
        cr_expect_eq(world_stop(&world), 0);
        check_destination(&world, destination, "--final");
}

ParameterizedTestParameters(crash, point) {
        static struct place places[] = {
                { "worker", "sqlite", 6 },   { "worker", "file", 6 },    { "sqlite", "sqlite", 3 },
                { "source", "sqlite", 2 },   { "file", "file", 13 },     { "journal", "file", 12 },
                { "journal", "sqlite", 12 }, { "shm", "sqlite", 26 },    { "supervisor", "sqlite", 6 },
                { "base", "sqlite", 2 },     { "session", "sqlite", 2 },
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
                if (run_into(point, place->scheme))
                        hits++;
                else
                        fprintf(stderr, "%s (%s): not reached\n", point, place->scheme);
                recover(place->scheme);
        }
        cr_expect_gt(hits, 0, "no point of %s was reached", place->area);
        fprintf(stderr, "%s (%s): %u of %u points reached\n", place->area, place->scheme, hits, place->last);
}
