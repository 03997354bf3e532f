/* SPDX-License-Identifier: Apache-2.0 */
/* The fleet (prove/fleet.h): what comes of a run that holds, fails, dies or hangs, and that nothing is left. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/fleet.h"
#include "prove/tree.h"

enum conduct { HOLDS, FAILS, FAILS_IN_A_CHILD, DIES, HANGS, LEAVES_A_PROCESS };

struct seen {
        enum fleet_outcome outcome;
        unsigned calls;
        char message[256], directory[WORLD_PATH_BYTES];
        uint64_t data;
};

static struct {
        enum conduct conduct[8];
        struct seen seen[8];
        size_t stop_after;
        pid_t left; /* shared */
} * fixture;

static char base[64];

static void begin(void) {
        fixture = mmap(NULL, sizeof(*fixture), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert(fixture != MAP_FAILED);
        (void) snprintf(base, sizeof(base), "/tmp/baton-fleet-XXXXXX");
        cr_assert(mkdtemp(base));
}

static size_t entries(const char *path) {
        DIR *directory = opendir(path);
        size_t count = 0;

        for (struct dirent *entry; directory && (entry = readdir(directory));)
                count += entry->d_name[0] != '.';
        if (directory)
                (void) closedir(directory);
        return count;
}

static void end(void) {
        char command[128];

        (void) snprintf(command, sizeof(command), "rm -rf '%s'", base);
        cr_expect_eq(system(command), 0);
}

TestSuite(fleet, .init = begin, .fini = end, .timeout = 120);

static void conduct(size_t index, struct world *world, void *data, void *context) {
        pid_t pid;

        (void) context;
        *(uint64_t *) data += index + 1;
        printf("output of run %zu\n", index);
        switch (fixture->conduct[index]) {
        case HOLDS:
                break;
        case FAILS:
                world_fail(world, "run %zu is to fail", index);
        case FAILS_IN_A_CHILD:
                pid = fork();
                if (pid == 0)
                        fleet_fail("a child of run %zu", index);
                (void) waitpid(pid, NULL, 0);
                break;
        case DIES:
                (void) raise(SIGKILL);
                break;
        case HANGS:
                for (;;)
                        (void) pause();
        case LEAVES_A_PROCESS:
                pid = fork();
                if (pid == 0)
                        for (;;)
                                (void) pause();
                fixture->left = pid;
                break;
        }
}

static bool done(size_t index, const struct fleet_result *result, const void *data, void *context) {
        struct seen *seen = &fixture->seen[index];

        (void) context;
        seen->outcome = result->outcome;
        seen->calls++;
        seen->data = *(const uint64_t *) data;
        (void) snprintf(seen->message, sizeof(seen->message), "%.255s", result->message);
        (void) snprintf(seen->directory, sizeof(seen->directory), "%s", result->directory);
        return fixture->stop_after == 0 || index + 1 < fixture->stop_after;
}

static int run(size_t count, unsigned parallel) {
        const struct fleet_options options = { .directory = base,
                                               .parallel = parallel,
                                               .limit_seconds = 2,
                                               .data_bytes = sizeof(uint64_t),
                                               .run = conduct,
                                               .done = done };

        return fleet_run(&options, count);
}

static bool output_says(const char *directory, const char *words) {
        char path[WORLD_PATH_BYTES + 16], text[65536];
        FILE *file;
        size_t bytes;

        (void) snprintf(path, sizeof(path), "%s/output.log", directory);
        file = fopen(path, "re");
        cr_assert(file, "%s", path);
        bytes = fread(text, 1, sizeof(text) - 1, file);
        text[bytes] = '\0';
        (void) fclose(file);
        return strstr(text, words) != NULL;
}

Test(fleet, all_hold_and_nothing_is_left) {
        cr_expect_eq(run(8, 3), 0);
        for (size_t i = 0; i < 8; i++) {
                cr_expect_eq(fixture->seen[i].calls, 1);
                cr_expect_eq(fixture->seen[i].outcome, FLEET_HELD);
                cr_expect_eq(fixture->seen[i].data, i + 1, "data is zeroed before each run");
        }
        cr_expect_eq(entries(base), 0);
}

Test(fleet, a_failure_ends_its_own_run_and_keeps_its_directory) {
        fixture->conduct[1] = FAILS;
        cr_expect_eq(run(4, 2), 1);
        cr_expect_eq(fixture->seen[1].outcome, FLEET_FAILED);
        cr_expect_str_eq(fixture->seen[1].message, "run 1 is to fail");
        cr_expect(output_says(fixture->seen[1].directory, "output of run 1"));
        cr_expect_eq(fixture->seen[2].outcome, FLEET_HELD);
        cr_expect_eq(fixture->seen[3].outcome, FLEET_HELD);
}

Test(fleet, a_failure_in_a_child_and_a_death_are_failures) {
        fixture->conduct[0] = FAILS_IN_A_CHILD;
        fixture->conduct[1] = DIES;
        cr_expect_eq(run(3, 2), 2);
        cr_expect_eq(fixture->seen[0].outcome, FLEET_FAILED);
        cr_expect_str_eq(fixture->seen[0].message, "a child of run 0");
        cr_expect_eq(fixture->seen[1].outcome, FLEET_FAILED);
        cr_expect(strstr(fixture->seen[1].message, "signal 9"), "%s", fixture->seen[1].message);
}

Test(fleet, a_hang_is_a_failure_with_the_place_of_each_thread) {
        fixture->conduct[0] = HANGS;
        cr_expect_eq(run(2, 2), 1);
        cr_expect_eq(fixture->seen[0].outcome, FLEET_HUNG);
        cr_expect(output_says(fixture->seen[0].directory, "waits in "));
        cr_expect(output_says(fixture->seen[0].directory, "---- baton status"));
}

Test(fleet, only_so_many_failures_are_kept) {
        for (size_t i = 0; i < 6; i++)
                fixture->conduct[i] = FAILS_IN_A_CHILD;
        cr_expect_eq(run(6, 2), 6);
        cr_expect_str_not_empty(fixture->seen[0].directory);
        cr_expect_str_empty(fixture->seen[5].directory);
}

Test(fleet, a_process_that_a_run_leaves_is_ended) {
        fixture->conduct[0] = LEAVES_A_PROCESS;
        cr_expect_eq(run(1, 1), 0);
        cr_expect_gt(fixture->left, 0);
        cr_expect(kill(fixture->left, 0) < 0 && errno == ESRCH);
        cr_expect_eq(entries(base), 0);
}

Test(fleet, it_ends_when_it_is_told) {
        fixture->stop_after = 1;
        cr_expect_eq(run(8, 1), 0);
        cr_expect_eq(fixture->seen[0].calls, 1);
        cr_expect_eq(fixture->seen[1].calls, 0);
}

/* As by Ctrl-C: what runs is ended, what was left is gone. */
Test(fleet, an_interrupt_leaves_nothing) {
        pid_t parent = getpid(), pid;

        for (size_t i = 0; i < 8; i++)
                fixture->conduct[i] = HANGS;
        pid = fork();
        if (pid == 0) {
                for (int i = 0; i < 2000 && entries(base) == 0; i++)
                        (void) usleep(1000);
                (void) usleep(100000);
                (void) kill(parent, SIGINT);
                _exit(0);
        }
        cr_expect_eq(run(8, 3), -EINTR);
        cr_expect_eq(fixture->seen[0].calls, 0);
        cr_expect_eq(entries(base), 0);
}
