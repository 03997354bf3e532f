/* SPDX-License-Identifier: Apache-2.0 */
/* The run: options, the loop, the end. Exit: 0 all held; 1 a finding, with its directory kept; 2 wrong usage. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/text.h"
#include "prove/prove.h"
#include "prove/torture/torture.h"

#define SECONDS_DEFAULT 60
#define SECONDS_MOST 86400
#define EXIT_USAGE 2

static const char usage[] =
        "Usage: baton-prove torture [--seed N] [--seconds S] [--directory DIR] [--keep]\n"
        "\n"
        "Torments an installation of its own for S seconds (60), with everything at once: processes are killed and\n"
        "stopped, disks fill and fail, sources vanish, the clock jumps, memory runs out. The judge looks on all the\n"
        "while. The same seed gives the same schedule.\n"
        "\n"
        "  --seed N         repeats a run (by default a number is drawn, and printed)\n"
        "  --directory DIR  where the temporary installation stands, so whose disk is meant ($TMPDIR, /tmp)\n"
        "  --keep           keeps the directory of a run that held, too\n"
        "\n"
        "Exit: 0 everything held, 1 a finding (its directory is kept), 2 wrong usage.\n";

static struct torture torture; /* one a process: the hooks of the harness have no context */
static volatile sig_atomic_t interrupted;

/* ---- log and failure ------------------------------------------------------------------------------- */
void torture_log(struct torture *run, const char *format, ...) {
        char text[8192], clock[CLOCK_TEXT_BYTES];
        size_t length;
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        for (length = strlen(text); length > 0 && text[length - 1] == '\n'; length--)
                text[length - 1] = '\0';
        /* Both clocks: the schedule's, which stands still in a calm, and the one in Baton's own logs (but for
         * its jumps). */
        clock_format(clock_realtime_usec(), clock, sizeof(clock));
        (void) fprintf(run->log, "%9.3f s  %.12s  %s\n", (double) run->storm_usec / 1e6, clock + 11, text);
        (void) fflush(run->log);
}

static void end_world(struct torture *run, bool keeps_files) {
        for (size_t i = 0; i < run->spinner_count; i++)
                kill_process(run->spinners[i], SIGKILL);
        for (size_t i = 0; i < ORIGIN_COUNT; i++)
                if (run->origins[i].writer > 0)
                        kill_and_wait(run->origins[i].writer, SIGKILL);
        run->world.keeps_files = keeps_files;
        harm_disk_done(run, keeps_files);
        harm_memory_done(run);
        world_end(&run->world);
        schedule_done(&run->schedule);
}

_noreturn_ static void give_up(const char *message) {
        static bool given_up;
        struct torture *run = &torture;

        if (given_up)
                _exit(1);
        given_up = true;
        if (run->log)
                torture_log(run, "FINDING: %s", message);
        (void) fflush(run->log);
        printf("torture: FINDING at %.3f s of the schedule: %s\n", (double) run->storm_usec / 1e6, message);
        printf("torture: kept: %s (torture.log is the schedule and what was done)\n", run->world.directory);
        printf("torture: to repeat: baton-prove torture --seed %" PRIu64 " --seconds %u\n", run->seed,
               run->seconds);
        printf("         or: make torture SEED=%" PRIu64 " SECONDS=%u\n", run->seed, run->seconds);
        (void) fflush(stdout);
        end_world(run, true);
        _exit(1);
}

void torture_fail(struct torture *run, const char *format, ...) {
        char message[8192];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        (void) baton(&run->world, "status");
        torture_log(run, "baton status:\n%s", run->world.output);
        give_up(message);
}

static void on_interrupt(int signal_number) {
        (void) signal_number;
        interrupted = 1;
}

/* ---- the loop ---------------------------------------------------------------------------------------- */
void torture_turn(struct torture *run) {
        uint64_t now_usec = clock_usec();

        if (interrupted) {
                printf("torture: interrupted; nothing was found so far (seed %" PRIu64 ")\n", run->seed);
                end_world(run, run->keeps_files);
                _exit(130);
        }
        if (run->is_storm)
                run->storm_usec += now_usec - run->turned_usec;
        run->turned_usec = now_usec;
        children_turn(run);
        supervise_turn(run);
        watch_turn(run);
        judge_turn(run);
        operator_turn(run);
        (void) usleep(1000);
}

static void run_storms(struct torture *run) {
        uint64_t until_usec = run->begun_usec + run->seconds * USEC_PER_SEC;

        run->is_storm = true;
        run->turned_usec = clock_usec();
        while (clock_usec() < until_usec) {
                torture_turn(run);
                if (run->is_storm)
                        harm_turn(run);
                else
                        calm_turn(run);
        }
}

/* ---- the beginning and the end ------------------------------------------------------------------------ */
static void begin(struct torture *run) {
        static const struct rlimit no_core;
        char directory[PATH_MAX];

        (void) setrlimit(RLIMIT_CORE, &no_core);
        /* Absolute: children go elsewhere, and the configuration wants it so. */
        if (run->directory && !realpath(run->directory, directory)) {
                fprintf(stderr, "torture: %s: %s\n", run->directory, strerror(errno));
                exit(EXIT_USAGE);
        }
        if (run->directory)
                (void) setenv("TMPDIR", directory, 1);
        world_failed = give_up;
        world_begin(&run->world);
        run->log = fopen(world_path(&run->world, "torture.log"), "we");
        run->shared = mmap(NULL, sizeof(*run->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                           0);
        if (!run->log || run->shared == MAP_FAILED)
                torture_fail(run, "cannot begin: %s", strerror(errno));
        torture_log(run, "seed %" PRIu64 ", %u s", run->seed, run->seconds);
        schedule_make(run->seed, run->seconds, &run->schedule);
        schedule_print(&run->schedule, run->log);
        harm_survey(run);
        world_faulty(&run->world);
        world_jumps(&run->world);
        scene_make(run);
        run->begun_usec = clock_usec();
        world_start(&run->world);
        WAIT_UNTIL(&run->world, session_is(&run->world, "steady", SESSION_IDLE) &&
                                        session_is(&run->world, "marked", SESSION_IDLE));
        scene_poison(run);
        scene_write(run);
}

/* Writers end first, so that "everything" is a number. */
static void settle(struct torture *run) {
        run->shared->writers_stop = true;
        if (run->is_storm)
                calm_begin(run);
        run->is_storm = false;
        for (size_t i = 0; i < ORIGIN_COUNT; i++)
                while (run->origins[i].writer > 0)
                        torture_turn(run);
        run->calm.step = CALM_SUPERVISOR;
        run->calm.begun_usec = clock_usec();
        while (run->calm.step != CALM_NONE) {
                torture_turn(run);
                calm_turn(run);
        }
        run->is_storm = false;
}

static bool has_child(const struct torture *run) {
        for (size_t i = 0; i < JOB_COUNT; i++)
                if (run->jobs[i].pid > 0)
                        return true;
        for (size_t i = 0; i < TARGET_COUNT; i++)
                if (run->targets[i].judge.pid > 0)
                        return true;
        return false;
}

static void stop(struct torture *run) {
        int r;

        while (has_child(run)) { /* world_stop() reaps whom it finds */
                children_turn(run);
                (void) usleep(1000);
        }
        run->supervisor.is_leaving = true;
        r = world_stop(&run->world);
        if (r != 0)
                torture_fail(run, "batond was told to stop and ended with %d", r);
        watch_logs(run);
}

static void judge_the_rest(struct torture *run) {
        struct world *world = &run->world;

        judge_finally(run);
        if (baton(world, "journal", "check", world->state) != 0)
                torture_fail(run, "baton journal check:\n%s", world->output);
        torture_log(run, "%s", world->output);
}

static int run_all(struct torture *run) {
        printf("torture: seed %" PRIu64 ", %u s\n", run->seed, run->seconds);
        (void) fflush(stdout);
        begin(run);
        run_storms(run);
        settle(run);
        stop(run);
        judge_the_rest(run);
        torture_report(run);
        printf("torture: held (seed %" PRIu64 ", %.0f s)\n", run->seed,
               (double) (clock_usec() - run->begun_usec) / 1e6);
        end_world(run, run->keeps_files);
        return 0;
}

/* ---- options -------------------------------------------------------------------------------------------- */
int torture_main(int argc, char **argv) {
        static const struct option options[] = {
                { "seed", required_argument, NULL, 's' },
                { "seconds", required_argument, NULL, 't' },
                { "directory", required_argument, NULL, 'd' },
                { "keep", no_argument, NULL, 'k' },
                { "help", no_argument, NULL, 'h' },
                { NULL, 0, NULL, 0 },
        };
        struct torture *run = &torture;
        uint64_t number = SECONDS_DEFAULT;
        bool good = true;
        int option;

        if (getrandom(&run->seed, sizeof(run->seed), 0) != sizeof(run->seed))
                run->seed = clock_realtime_usec();
        run->seed %= 1000000000; /* a person may have to type it */
        run->seconds = SECONDS_DEFAULT;
        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (option) {
                case 's':
                        good = good && text_parse_u64(optarg, &run->seed) >= 0;
                        break;
                case 't':
                        good = good && text_parse_u64(optarg, &number) >= 0 && number > 0 &&
                               number <= SECONDS_MOST;
                        run->seconds = (unsigned) number;
                        break;
                case 'd':
                        run->directory = optarg;
                        break;
                case 'k':
                        run->keeps_files = true;
                        break;
                case 'h':
                        printf("%s", usage);
                        return 0;
                default:
                        good = false;
                }
        if (!good || optind < argc) {
                fprintf(stderr, "%s", usage);
                return EXIT_USAGE;
        }
        (void) signal(SIGINT, on_interrupt);
        (void) signal(SIGTERM, on_interrupt);
        return run_all(run);
}
