/* SPDX-License-Identifier: Apache-2.0 */
/* P7 with real workers: confined to the directories that were there when they started, and replaced, one at a time, for
 * one that came later. Each test ends with the checker. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/world/outbox.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(landlock, .init = begin, .fini = end, .timeout = 120);

static bool has_landlock(void) {
        if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1U) > 0)
                return true;
        cr_skip_test("this kernel has no Landlock, or somebody forbids it");
        return false;
}

/* An outbox DIRECTORY/folder/name.db that the configuration names; made by outbox_make(). */
static void outbox_in(const char *folder, const char *name) {
        struct world_outbox *outbox = &world.outboxes[world.outbox_count++];
        char file[80];

        *outbox = (struct world_outbox){};
        (void) snprintf(file, sizeof file, "%.30s/%.30s.db", folder, name);
        (void) snprintf(outbox->name, sizeof outbox->name, "%s", name);
        (void) snprintf(outbox->file, sizeof outbox->file, "%.500s", world_path(&world, file));
}

static void outbox_make(const char *folder, const char *name) {
        char file[80];

        cr_assert(mkdir(world_path(&world, folder), 0755) == 0);
        (void) snprintf(file, sizeof file, "%.30s/%.30s.db", folder, name);
        cr_assert_eq(baton(&world, "outbox", "create", world_path(&world, file)), 0, "%s", world.output);
}

static void put(const char *folder, const char *name) {
        outbox_in(folder, name);
        outbox_make(folder, name);
}

/* Nothing stands beside anything else: what is beneath a directory of one is within reach of all. */
static void configure(unsigned workers) {
        char text[4096];
        size_t used;

        used = (size_t) snprintf(text, sizeof text,
                                 "[baton]\nadopt-timeout = 5s\n[destination d]\nurl = sqlite:%%D/dest/d.db\n"
                                 "workers = %u\n",
                                 workers);
        for (size_t i = 0; i < world.outbox_count; i++)
                used += (size_t) snprintf(text + used, sizeof text - used,
                                          "[source %s]\nurl = sqlite:%s\nto = d\n", world.outboxes[i].name,
                                          world.outboxes[i].file);
        (void) mkdir(world_path(&world, "dest"), 0755);
        world_config(&world, text);
}

static void check(void) {
        char destination[WORLD_PATH_BYTES * 2];

        (void) snprintf(destination, sizeof destination, "sqlite:%s", world_path(&world, "dest/d.db"));
        check_destination(&world, destination, "--final");
}

/* What batond logged, in all its lives. */
static unsigned log_count(const char *words) {
        char command[256];

        (void) snprintf(command, sizeof command, "cat batond*.log | grep -cF '%s' >count || true", words);
        world_shell(&world, command);
        (void) snprintf(command, sizeof command, "%s", world_path(&world, "count"));
        FILE *file = fopen(command, "re");
        unsigned count = 0;

        cr_assert_not_null(file);
        cr_assert_eq(fscanf(file, "%u", &count), 1);
        (void) fclose(file);
        return count;
}

static bool all_are_new(pid_t first, pid_t second) {
        pid_t pids[8];
        uint32_t count = live_workers(&world, "d", pids, 8);

        for (uint32_t i = 0; i < count; i++)
                if (pids[i] == first || pids[i] == second)
                        return false;
        return count == 2;
}

/* Looks every millisecond until every worker is another, and tells the longest time in which the session did not get on,
 * and the fewest and most workers that lived. */
struct sight {
        uint64_t gap_usec;
        uint32_t least, most;
};

static struct sight watch_replacement(const char *session, pid_t first, pid_t second) {
        struct sight sight = { .least = UINT32_MAX };
        uint64_t position = 0, since_usec = clock_usec(), begin = wait_begin();

        while (!all_are_new(first, second)) {
                uint64_t now_usec = clock_usec(), at = session_position(&world, session);
                uint32_t live = live_workers(&world, "d", NULL, 0);

                if (at != position)
                        since_usec = now_usec;
                position = at;
                sight.gap_usec = MAX_OF(sight.gap_usec, now_usec - since_usec);
                sight.least = MIN_OF(sight.least, live);
                sight.most = MAX_OF(sight.most, live);
                (void) usleep(1000);
                if (now_usec > begin + WAIT_SECONDS * USEC_PER_SEC)
                        world_fail(&world, "the workers are not replaced");
        }
        return sight;
}

Test(landlock, P7_a_reload_that_names_a_new_directory_interrupts_nobody) {
        struct writer_options options = { .source = "a", .events = 8000, .per_second = 2000 };
        struct pool_look before;
        struct sight sight;
        pid_t writer;

        if (!has_landlock())
                return;
        put("one", "a");
        put("two", "b");
        configure(2);
        world_start(&world);
        wait_settled(&world, "d", 2, &before);
        writer = writer_start(&world, &options);
        WAIT_UNTIL(&world, session_position(&world, "a") > 200);
        put("three", "c");
        configure(2);
        cr_assert_eq(baton(&world, "reload"), 0, "%s", world.output);
        sight = watch_replacement("a", before.workers[0], before.workers[1]);
        printf("replaced: longest time without an event of another session %.1f ms\n",
               (double) sight.gap_usec / USEC_PER_MSEC);
        cr_expect_eq(sight.least, 2, "never fewer than wanted");
        cr_expect_leq(sight.most, 3, "one more than wanted at a time");
        cr_expect_lt(sight.gap_usec, 500 * USEC_PER_MSEC, "a few batches");
        outbox_fill(&world, "c", 300);
        wait_settled(&world, "d", 2, NULL);
        writer_wait(&world, writer);
        wait_all_moved(&world);
        cr_expect_eq(log_count("the workers of this destination are replaced"), 1, "once is enough");
        (void) baton(&world, "doctor", "-c", world.config);
        cr_expect_not_null(strstr(world.output, "workers reach their own sources and destination alone"),
                           "%s", world.output);
        check();
}

/* It is not there when Baton starts; and while it is not, nobody is replaced for it. */
Test(landlock, P7_a_directory_that_appears_later) {
        struct pool_look before, after;

        if (!has_landlock())
                return;
        put("one", "a");
        outbox_in("later", "b");
        configure(2);
        world_start(&world);
        wait_settled(&world, "d", 2, &before);
        WAIT_UNTIL(&world, session_says(&world, "b", "is absent"));
        outbox_fill(&world, "a", 100);
        wait_moved(&world, "a", "a");
        cr_expect_eq(log_count("are replaced"), 0);
        outbox_make("later", "b");
        outbox_fill(&world, "b", 100);
        wait_all_moved(&world);
        wait_settled(&world, "d", 2, &after);
        cr_expect_eq(log_count("are replaced"), 1);
        check();
}

Test(landlock, P7_a_directory_removed_and_made_again) {
        if (!has_landlock())
                return;
        put("one", "a");
        put("two", "b");
        configure(1);
        world_start(&world);
        outbox_fill(&world, "b", 50);
        wait_all_moved(&world);
        /* The same files, in a directory that is another. Seen to be away first: a handle that is open goes on. */
        world_shell(&world, "mkdir away && mv two/* away/ && rmdir two");
        WAIT_UNTIL(&world, session_says(&world, "b", "is absent"));
        world_shell(&world, "mkdir two && mv away/* two/");
        outbox_fill(&world, "b", 100);
        wait_all_moved(&world);
        cr_expect_eq(log_count("are replaced"), 1);
        cr_expect_eq(baton(&world, "status"), 0, "%s", world.output);
        check();
}

/* A link leads elsewhere now, and the file is the same. */
Test(landlock, P7_a_link_that_leads_elsewhere) {
        if (!has_landlock())
                return;
        put("one", "a");
        put("two", "b");
        world_shell(
                &world,
                "mv two/b.db real.db && mkdir real && mv real.db real/b.db && ln -s ../real/b.db two/b.db");
        configure(1);
        world_start(&world);
        outbox_fill(&world, "b", 50);
        wait_all_moved(&world);
        cr_expect_eq(log_count("are replaced"), 0, "its real directory is one of its own");
        world_shell(&world, "mkdir other && mv real/b.db* other/");
        WAIT_UNTIL(&world, session_says(&world, "b", "is absent"));
        world_shell(&world, "ln -sf ../other/b.db two/b.db");
        outbox_fill(&world, "b", 100);
        wait_all_moved(&world);
        cr_expect_eq(log_count("are replaced"), 1);
        check();
}

Test(landlock, P7_the_destinations_directory_appears_later) {
        if (!has_landlock())
                return;
        put("one", "a");
        configure(2);
        cr_assert(rmdir(world_path(&world, "dest")) == 0);
        world_start(&world);
        WAIT_UNTIL(&world, session_says(&world, "a", "there is no directory"));
        outbox_fill(&world, "a", 100);
        cr_assert(mkdir(world_path(&world, "dest"), 0755) == 0);
        wait_all_moved(&world);
        check();
}

/* ---- no Landlock ------------------------------------------------------------------------------------------- */
static void without(int error, const char *words) {
        scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);

        cr_assert_not_null(context);
        cr_assert_eq(seccomp_rule_add(context, SCMP_ACT_ERRNO((unsigned) error),
                                      SCMP_SYS(landlock_create_ruleset), 0),
                     0);
        cr_assert_eq(seccomp_load(context), 0); /* of this process, and of all that it starts */
        seccomp_release(context);
        put("one", "a");
        configure(2);
        world_start(&world);
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        wait_settled(&world, "d", 2, NULL);
        WAIT_UNTIL(&world, log_count(words) == 1);
        world_kill_workers(&world, "d");
        outbox_fill(&world, "a", 200);
        wait_all_moved(&world);
        wait_settled(&world, "d", 2, NULL);
        cr_expect_eq(log_count("are not confined"), 1, "once");
        put("two", "b");
        configure(2);
        cr_assert_eq(baton(&world, "reload"), 0, "%s", world.output);
        outbox_fill(&world, "b", 100);
        wait_all_moved(&world);
        cr_expect_eq(log_count("are replaced"), 0, "nothing is in its way");
        (void) baton(&world, "doctor", "-c", world.config);
        cr_expect_not_null(strstr(world.output, error == EPERM ? "refused here" : "not there"), "%s",
                           world.output);
        cr_expect_not_null(strstr(world.output, "workers can reach what user baton can reach"), "%s",
                           world.output);
        check();
}

Test(landlock, P7_a_kernel_without_it_is_said_once) {
        without(ENOSYS, "this kernel has no Landlock");
}
Test(landlock, P7_a_container_that_forbids_it_is_said_once) {
        without(EPERM, "the kernel refuses Landlock");
}
