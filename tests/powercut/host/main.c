/* SPDX-License-Identifier: Apache-2.0 */
/* powercut: boots the machine, pulls its plug, boots it again on the same disk, as often as told, and says
 * after each cut what was left and whether it was right.
 *
 * tests/powercut/run.sh makes the files that it is given and explains the words.
 * Must not touch: anything outside --directory. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/powercut/host/boot.h"

struct run {
        struct machine_files files;
        const char *directory;
        uint64_t cuts, seed;
        bool lies;
        const char *words; /* of a boot that is done again; NULL: as planned */
        char image[PATH_MAX], before[PATH_MAX];
        char claims[CLAIMS_BYTES];
        FILE *log;

        /* for the summary */
        uint64_t pending; /* cuts that nobody has judged yet */
        uint64_t judged, by_kind[CUT_KIND_COUNT];
        uint64_t events, events_lost, writes_kept, writes_torn, writes_lost, recovery_usec_max;
};

static double seconds(uint64_t usec) {
        return (double) usec / USEC_PER_SEC;
}

/* ---- what is printed --------------------------------------------------------------------------- */
static void tell_verdict(struct run *run, const struct boot *boot) {
        uint64_t took_usec = boot->verdict_usec - boot->recovery_usec;

        if (!boot->is_judged)
                return;
        if (run->pending > 0 || run->words)
                printf("        held%s: %" PRIu64 " events at the destinations (%" PRIu64
                       " before Baton ran), %" PRIu64
                       " lost by their sources; recovered and judged in %.1f s\n",
                       run->pending > 1 ? ", with what was cut before" : "", boot->events_after,
                       boot->events_before, boot->events_lost, seconds(took_usec));
        run->judged += run->pending;
        run->pending = 0;
        run->events = boot->events_last;
        run->recovery_usec_max = MAX_OF(run->recovery_usec_max, took_usec);
}

static void tell_cut(struct run *run, const struct boot *boot, uint64_t number) {
        const struct disk_loss *loss = &boot->loss;

        if (run->pending > 0)
                printf("        cut again before it was judged\n");
        printf("cut %2" PRIu64 "  %s: %.1f s after power on, %.2f s and %" PRIu64
               " disk requests after \"%s\"; %s; cache %s: of %" PRIu64 " unflushed writes %" PRIu64
               " whole, %" PRIu64 " torn, %" PRIu64 " lost\n",
               number + 1, cut_kinds[boot->plan.kind].name, seconds(boot->end_usec - boot->began_usec),
               seconds(boot->end_usec - boot->mark_usec), boot->cut_requests,
               cut_kinds[boot->plan.kind].marker, boot->plan.mount, cache_fate_names[boot->plan.fate],
               loss->kept + loss->torn + loss->lost, loss->kept, loss->torn, loss->lost);
        run->by_kind[boot->plan.kind]++;
        run->writes_kept += loss->kept;
        run->writes_torn += loss->torn;
        run->writes_lost += loss->lost;
        run->pending++;
}

static void tell_failure(const struct run *run, const struct boot *boot, uint64_t number) {
        printf("FAILED  %s, boot %" PRIu64 ": %s\n"
               "        kept: %s/failed/  before.img  the disk as this boot found it\n"
               "                  after.img   the disk as it left it\n"
               "                  console     what every guest said, this one last\n"
               "        look:  debugfs -R 'ls -l /' %s/failed/before.img\n"
               "        again: make powercut IMAGE=%s/failed       this boot alone, without a cut\n"
               "               make powercut CUTS=%" PRIu64 " SEED=%" PRIu64 "   all of it\n",
               run->pending ? "after the cut above" : "no cut", number + 1, boot->failure, run->directory,
               run->directory, run->directory, run->cuts, run->seed);
}

static void tell_summary(const struct run *run, uint64_t took_usec) {
        printf("powercut: %" PRIu64 " cuts (", run->cuts);
        for (size_t i = 0; i < CUT_KIND_COUNT; i++)
                printf("%s%" PRIu64 " %s", i ? ", " : "", run->by_kind[i], cut_kinds[i].name);
        printf("), %" PRIu64 " held, seed %" PRIu64 ", %.0f s; %" PRIu64 " events at the destinations;"
               " unflushed writes: %" PRIu64 " kept, %" PRIu64 " torn, %" PRIu64 " lost; events lost by"
               " sources at NORMAL: %" PRIu64 "; longest recovery with judgement %.1f s\n",
               run->judged, run->seed, seconds(took_usec), run->events, run->writes_kept, run->writes_torn,
               run->writes_lost, run->events_lost, seconds(run->recovery_usec_max));
}

/* ---- what is done ------------------------------------------------------------------------------ */
static int write_words(const struct run *run, const char *words) {
        char path[PATH_MAX + 16];
        FILE *file;

        (void) snprintf(path, sizeof(path), "%s/failed/words", run->directory);
        file = fopen(path, "we");
        if (!file)
                return -errno;
        (void) fprintf(file, "%s\n", words);
        return fclose(file) == 0 ? 0 : -errno;
}

static void keep_failure(const struct run *run, const struct boot *boot) {
        char path[PATH_MAX + 16], console[PATH_MAX + 16];

        (void) snprintf(path, sizeof(path), "%s/failed", run->directory);
        (void) mkdir(path, 0700);
        (void) snprintf(path, sizeof(path), "%s/failed/before.img", run->directory);
        (void) rename(run->before, path);
        (void) snprintf(path, sizeof(path), "%s/failed/after.img", run->directory);
        (void) rename(run->image, path);
        (void) snprintf(console, sizeof(console), "%s/console", run->directory);
        (void) snprintf(path, sizeof(path), "%s/failed/console", run->directory);
        (void) rename(console, path);
        (void) write_words(run, boot->words);
}

/* The last boot is not cut. 0, or -errno where the machine could not be run; 1: it failed. */
static int run_boot(struct run *run, uint64_t number) {
        _cleanup_disk_ struct disk disk = { .lies = run->lies };
        struct boot boot = { .disk = &disk, .log = run->log, .is_last = number == run->cuts };
        enum boot_end end;
        int r;

        plan_cut(run->seed, (unsigned) number, &boot.plan);
        (void) snprintf(boot.claims, sizeof(boot.claims), "%s", run->claims);
        boot_words(&boot);
        if (run->words)
                (void) snprintf(boot.words, sizeof(boot.words), "%s", run->words);
        r = disk_image_copy(run->image, run->before);
        if (r == 0)
                r = disk_open(&disk, run->image);
        if (r < 0) {
                fprintf(stderr, "powercut: %s: %s\n", run->image, strerror(-r));
                return r;
        }
        end = boot_run(&boot, &run->files);
        tell_verdict(run, &boot);
        if (end == BOOT_FAILED) {
                keep_failure(run, &boot);
                tell_failure(run, &boot, number);
                return 1;
        }
        if (end == BOOT_CUT)
                tell_cut(run, &boot, number);
        run->events_lost += boot.events_lost;
        (void) fflush(stdout);
        memcpy(run->claims, boot.claims, sizeof(run->claims));
        return 0;
}

static int parse(struct run *run, int argc, char **argv) {
        static const struct option options[] = {
                { "cuts", required_argument, NULL, 'c' },   { "seed", required_argument, NULL, 's' },
                { "kernel", required_argument, NULL, 'k' }, { "initramfs", required_argument, NULL, 'i' },
                { "lies", no_argument, NULL, 'l' },         { "directory", required_argument, NULL, 'd' },
                { "words", required_argument, NULL, 'w' },  { NULL, 0, NULL, 0 },
        };
        int c, r = 0;

        while (r == 0 && (c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (c == 'c')
                        r = text_parse_u64(optarg, &run->cuts);
                else if (c == 's')
                        r = text_parse_u64(optarg, &run->seed);
                else if (c == 'k')
                        run->files.kernel = optarg;
                else if (c == 'i')
                        run->files.initramfs = optarg;
                else if (c == 'l')
                        run->lies = true;
                else if (c == 'd')
                        run->directory = optarg;
                else if (c == 'w')
                        run->words = optarg;
                else
                        r = -EINVAL;
        return r < 0 || optind != argc || !run->directory || !run->files.kernel || !run->files.initramfs
                       ? -EINVAL
                       : 0;
}

int main(int argc, char **argv) {
        struct run run = { .cuts = 20, .seed = 1, .claims = "-" };
        uint64_t began_usec = clock_usec();
        char path[PATH_MAX];
        int r = 0;

        if (parse(&run, argc, argv) < 0) {
                fprintf(stderr, "powercut: is run by tests/powercut/run.sh (make powercut)\n");
                return 2;
        }
        (void) snprintf(run.image, sizeof(run.image), "%s/disk.img", run.directory);
        (void) snprintf(run.before, sizeof(run.before), "%s/before.img", run.directory);
        (void) snprintf(path, sizeof(path), "%s/console", run.directory);
        run.log = fopen(path, "we");
        if (!run.log) {
                fprintf(stderr, "powercut: %s: %s\n", path, strerror(errno));
                return 2;
        }
        for (uint64_t i = 0; r == 0 && i <= run.cuts; i++)
                r = run_boot(&run, i);
        (void) fclose(run.log);
        tell_summary(&run, clock_usec() - began_usec);
        return r == 0 ? 0 : 1;
}
