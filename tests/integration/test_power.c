/* SPDX-License-Identifier: Apache-2.0 */
/* The recorded power loss (prove/power), as an installed program: an evenly spread sample holds; and it is not
 * blind: where a class of syncs is taken away, it finds what they are good for, and finds it again in the
 * tape that it kept. `make power` is the whole of it. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/sanitize.h"
#include "tests/integration/test.h"

static struct world world; /* for its binaries and its directory */
static char output[65536];

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(power, .init = begin, .fini = end, .timeout = 280);

/* Its exit code; what it says is in `output`. */
static int power(const char *options) {
        char command[4096];
        size_t bytes;
        FILE *pipe;

        (void) snprintf(command, sizeof(command),
                        "BATON_BIN='%s' '%s/baton-prove' power --directory '%s' %s 2>&1 </dev/null",
                        world.bin, world.bin, world.directory, options);
        pipe = popen(command, "re");
        cr_assert(pipe, "%s", strerror(errno));
        bytes = fread(output, 1, sizeof(output) - 1, pipe);
        output[bytes] = '\0';
        return WEXITSTATUS(pclose(pipe));
}

Test(power, a_sample_of_cuts_holds) {
        int r = power("--variant fused --variant file --variant twice-file --points 16 --states 9");

        cr_assert_eq(r, 0, "exit %d: %s", r, output);
        cr_expect(strstr(output, "; all held"), "%s", output);
}

/* ---- it is not blind ---------------------------------------------------------------------------- */
static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        (void) status, (void) kind, (void) walk;
        (void) remove(path);
        return 0;
}

/* The first word behind `label` in what was printed. */
static bool find_word(const char *label, char *ret_word, size_t bytes) {
        const char *at = strstr(output, label);

        if (!at)
                return false;
        at += strlen(label);
        (void) snprintf(ret_word, bytes, "%.*s", (int) strcspn(at, " \n"), at);
        return true;
}

/* What it kept says the same when it is asked again, and nothing where it sees all syncs. */
static void expect_the_same_again(const char *class) {
        char directory[512], tape[600], point[64], options[1024], *slash;
        int r;

        cr_assert(find_word("kept: ", directory, sizeof(directory)) &&
                          find_word("TAPE=", tape, sizeof(tape)) && find_word("POINT=", point, sizeof(point)),
                  "%s", output);
        (void) snprintf(options, sizeof(options), "--tape %s --point %s --blind %s", tape, point, class);
        r = power(options);
        cr_expect_eq(r, 1, "exit %d: %s", r, output);
        if (find_word("kept: ", options, sizeof(options)) && (slash = strrchr(options, '/'))) {
                *slash = '\0';
                (void) nftw(options, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        }
        (void) snprintf(options, sizeof(options), "--tape %s --point %s", tape, point);
        r = power(options);
        cr_expect_eq(r, 0, "exit %d: %s", r, output);
        slash = strrchr(directory, '/');
        cr_assert(slash && strstr(directory, "baton-prove-"));
        *slash = '\0';
        (void) nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Each recording is another one, and a small sample of one may miss it; of four, none that sees does. */
static void expect_found(const char *class, const char *variant, const char *sample) {
        char options[256];
        int r = 0;

        for (unsigned seed = 1; seed <= 4 && r == 0; seed++) {
                (void) snprintf(options, sizeof(options), "--seed %u --variant %s %s --failures 1 --blind %s",
                                seed, variant, sample, class);
                r = power(options);
        }
        cr_assert_eq(r, 1, "blind to syncs of %s it still says %d: %s", class, r, output);
        expect_the_same_again(class);
}

#define SAMPLE "--points 40 --states 2"
/* All points, and of each the state in which nothing survives: what a source may lose is lost there, until the application
 * has synced it. That is a few points of a thousand, and a sample of forty misses them every other time. They are fewer
 * than a hundred different states. */
#define ALL_POINTS "--points 0 --states 1"

Test(power, it_sees_what_syncs_of_the_source_are_good_for) {
        if (SANITIZE_THREAD)
                cr_skip("so slow a mover syncs what the application has long synced: no sample shows it");
        expect_found("source", "fused", ALL_POINTS);
}

Test(power, it_sees_what_syncs_of_the_destination_are_good_for) {
        expect_found("destination", "file", SAMPLE);
}

Test(power, it_sees_what_syncs_of_the_journal_are_good_for) {
        expect_found("journal", "file", SAMPLE);
}

Test(power, it_sees_what_syncs_of_directories_are_good_for) {
        expect_found("directory", "file", SAMPLE);
}
