/* SPDX-License-Identifier: Apache-2.0 */
/* The torture itself: a short one holds and says what it saw; and it finds what is planted, keeps the
 * evidence, and says how to repeat it. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(torture, .init = begin, .fini = end, .timeout = 300);

/* With the programs in bin/, if there are any. It takes longer than the harness waits for a command. */
static int torture(const char *options) {
        char command[WORLD_PATH_BYTES * 4];
        FILE *output;
        size_t bytes;
        int status;

        (void) snprintf(
                command, sizeof(command),
                "cd '%s' && BATON_BIN=$([ -d bin ] && echo $PWD/bin || echo '%s') '%s/baton-prove' torture %s 2>&1",
                world.directory, world.bin, world.bin, options);
        output = popen(command, "re");
        cr_assert(output);
        bytes = fread(world.output, 1, sizeof(world.output) - 1, output);
        world.output[bytes] = '\0';
        status = pclose(output);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static bool says(const char *words) {
        return strstr(world.output, words) != NULL;
}

Test(torture, a_short_one_holds_and_reports) {
        cr_assert_eq(torture("--seconds 8 --directory ."), 0, "%s", world.output);
        cr_expect(says("torture: held"), "%s", world.output);
        cr_expect(says("longest gap in commits to fused"), "%s", world.output);
        cr_expect(says("takeovers: "), "%s", world.output);
        world_shell(&world, "[ -z \"$(ls -d baton-test-* 2>/dev/null)\" ]");
}

/* The product's own programs, but for one that somebody else wrote. "%s" in the script: where they are. */
static void replace_program(const char *name, const char *script) {
        char command[WORLD_PATH_BYTES * 3], path[64];
        FILE *file;

        (void) snprintf(command, sizeof(command), "mkdir bin && ln -s '%s'/* bin/ && rm bin/%s", world.bin,
                        name);
        world_shell(&world, command);
        (void) snprintf(path, sizeof(path), "bin/%s", name);
        file = fopen(world_path(&world, path), "we");
        cr_assert(file);
        (void) fprintf(file, "#!/bin/sh\n");
        (void) fprintf(file, script, world.bin);
        cr_assert_eq(fchmod(fileno(file), 0755), 0);
        cr_assert_eq(fclose(file), 0);
}

/* What a finding keeps stands in our directory, but for its runtime directory ("kept: DIRECTORY RUNTIME"). */
static void remove_kept_runtime(void) {
        const char *line = strstr(world.output, "\nkept: ");
        char command[WORLD_PATH_BYTES * 2], runtime[WORLD_PATH_BYTES];

        cr_assert(line && sscanf(line, " kept: %*s %511s", runtime) == 1, "%s", world.output);
        cr_assert(strstr(runtime, "/baton-run-"), "%s", runtime);
        (void) snprintf(command, sizeof(command), "rm -r '%s'", runtime);
        world_shell(&world, command);
}

static void expect_finding(const char *words) {
        cr_expect_eq(torture("--seed 5 --seconds 20 --directory ."), 1, "%s", world.output);
        cr_expect(says("FINDING") && says(words), "%s", world.output);
        cr_expect(says("torture --seed 5 --seconds 20"), "%s", world.output);
        world_shell(&world,
                    "grep -q FINDING baton-test-*/torture.log && grep -q '^plan' baton-test-*/torture.log");
        remove_kept_runtime();
}

Test(torture, believes_the_judge) {
        replace_program("baton-checker", "echo WRONG\nexit 1 # %s\n");
        expect_finding("WRONG");
}

Test(torture, notices_a_supervisor_that_ends_of_itself) {
        replace_program("batond", "(sleep 3; kill $$) &\nexec '%s'/batond \"$@\"\n");
        expect_finding("nobody told it to");
}
