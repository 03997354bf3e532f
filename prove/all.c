/* SPDX-License-Identifier: Apache-2.0 */
/* `baton-prove all DIRECTORY`, which is `baton prove`: on the disk and file system that a user names, the
 * parts of the proof one after the other, each a process of its own, and a report of what held.
 *
 * Must not touch: what is in DIRECTORY. Every part works below a directory that it makes there and removes,
 * but for that of a failure, which it names. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macro.h"
#include "base/text.h"
#include "prove/prove.h"

#define ARGUMENTS_MAX 8
#define SPACE_MIB_LEAST 512u

struct all_options {
        const char *directory;
        char seconds[24], seed[24], points[24]; /* as they are passed on; "": not given */
};

struct part {
        const char *title;
        const char *arguments[ARGUMENTS_MAX]; /* of baton-prove */
        int status;                           /* as of waitpid() */
        uint64_t span_usec;
};

static void print_help(void) {
        printf("Usage: baton-prove all DIRECTORY [--points N] [--seconds S] [--seed N]\n\n"
               "Kills, on the disk that DIRECTORY stands on, real processes of Baton at every system call that\n"
               "they make and lets each recover (up to half an hour; --points: so many, evenly spread over all),\n"
               "then torments a service at random for S seconds (60). After each the checker compares source\n"
               "and destination, event by event. --seed repeats the random part.\n");
}

static int number_read(const char *name, uint64_t least, char ret_text[24]) {
        uint64_t number;

        if (text_parse_u64(optarg, &number) < 0 || number < least) {
                fprintf(stderr, "baton-prove all: --%s cannot be \"%s\"; give a whole number\n", name,
                        optarg);
                return -EINVAL;
        }
        (void) snprintf(ret_text, 24, "%" PRIu64, number);
        return 0;
}

static int options_read(int argc, char **argv, struct all_options *ret_options) {
        static const struct option known[] = { { "points", required_argument, NULL, 'p' },
                                               { "seconds", required_argument, NULL, 's' },
                                               { "seed", required_argument, NULL, 'n' },
                                               { "help", no_argument, NULL, 'h' },
                                               { 0 } };
        struct all_options options = { .seconds = "60" };
        int r;

        for (int c; (c = getopt_long(argc, argv, "", known, NULL)) >= 0;) {
                if (c == 'h') {
                        print_help();
                        exit(0);
                }
                if (c == '?')
                        return -EINVAL;
                if (c == 's')
                        r = number_read("seconds", 1, options.seconds);
                else if (c == 'n')
                        r = number_read("seed", 0, options.seed);
                else
                        r = number_read("points", 1, options.points);
                if (r < 0)
                        return r;
        }
        if (argc - optind != 1)
                return -EINVAL;
        options.directory = argv[optind];
        *ret_options = options;
        return 0;
}

/* ---- where it runs --------------------------------------------------------------------------------------- */
/* True if `path` is `mount` or lies below it. */
static bool is_below(const char *path, const char *mount) {
        size_t length = strlen(mount);

        return strncmp(path, mount, length) == 0 &&
               (mount[length - 1] == '/' || path[length] == '/' || path[length] == '\0');
}

/* Of /proc/self/mountinfo the line of the mount that carries `path`: type, device, options. The last of the
 * longest mount points counts, as it lies on top. */
static void print_mount(const char *path) {
        FILE *file = fopen("/proc/self/mountinfo", "re");
        char line[4096], best[4096] = "unknown";
        size_t longest = 0;

        while (file && fgets(line, sizeof(line), file)) {
                char mount[PATH_MAX], options[512], type[64], device[512], *rest = strstr(line, " - ");

                if (!rest || sscanf(line, "%*u %*u %*s %*s %4095s %511s", mount, options) != 2 ||
                    sscanf(rest, " - %63s %511s", type, device) != 2)
                        continue;
                if (strlen(mount) < longest || !is_below(path, mount))
                        continue;
                longest = strlen(mount);
                (void) snprintf(best, sizeof(best), "%s on %s (%s)", type, device, options);
        }
        if (file)
                (void) fclose(file);
        printf("  file system  %s\n", best);
}

static int print_place(const char *directory, char *ret_path) {
        struct statvfs space;
        struct utsname machine;

        if (!realpath(directory, ret_path) || statvfs(ret_path, &space) < 0 ||
            access(ret_path, W_OK | X_OK) < 0) {
                fprintf(stderr, "baton prove: %s: %s; name a directory that you may write to\n", directory,
                        strerror(errno));
                return -EINVAL;
        }
        (void) uname(&machine);
        printf("  directory    %s\n", ret_path);
        print_mount(ret_path);
        printf("  machine      %s %s %s, %d processors\n", machine.sysname, machine.release, machine.machine,
               get_nprocs());
        if (((uint64_t) space.f_bavail * space.f_frsize) >> 20 < SPACE_MIB_LEAST) {
                fprintf(stderr, "baton prove: %s has less than %u MiB free; name another directory\n",
                        ret_path, SPACE_MIB_LEAST);
                return -ENOSPC;
        }
        return 0;
}

/* ---- what runs ------------------------------------------------------------------------------------------- */
/* A part's output is its own; Ctrl-C reaches it directly, and we wait for its cleaning up. */
static int part_run(struct part *part) {
        uint64_t began_usec = clock_usec();
        pid_t pid;

        printf("\n== %s\n", part->title);
        (void) fflush(stdout);
        pid = fork();
        if (pid == 0) {
                (void) signal(SIGINT, SIG_DFL);
                (void) execv("/proc/self/exe", (char **) part->arguments);
                _exit(127);
        }
        if (pid < 0)
                return -errno;
        while (waitpid(pid, &part->status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        part->span_usec = clock_usec() - began_usec;
        return 0;
}

static bool part_held(const struct part *part) {
        return WIFEXITED(part->status) && WEXITSTATUS(part->status) == 0;
}

static bool part_is_interrupted(const struct part *part) {
        return WIFEXITED(part->status) ? WEXITSTATUS(part->status) == 130 : WTERMSIG(part->status) == SIGINT;
}

static void print_report(const struct part *parts, size_t count) {
        printf("\n== report\n");
        for (size_t i = 0; i < count; i++)
                printf("  %-62s %s, %llu s\n", parts[i].title, part_held(&parts[i]) ? "held" : "DID NOT HOLD",
                       parts[i].span_usec / USEC_PER_SEC);
}

/* 0, 1 or 130, as prove.h says. What one part finds does not keep the next from looking. */
static int parts_run(const struct all_options *options) {
        struct part parts[] = {
                { .title = options->points[0] ? "killed at a sample of its system calls"
                                              : "killed at every system call",
                  .arguments = { "baton-prove", "crash", options->points[0] ? "--sample" : NULL,
                                 options->points } },
                { .title = "tormented at random",
                  .arguments = { "baton-prove", "torture", "--seconds", options->seconds,
                                 options->seed[0] ? "--seed" : NULL, options->seed } },
        };
        bool all_held = true;

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                int r = part_run(&parts[i]);

                if (r < 0) {
                        fprintf(stderr, "baton prove: cannot start a process: %s\n", strerror(-r));
                        return 1;
                }
                if (part_is_interrupted(&parts[i]))
                        return 130;
                all_held &= part_held(&parts[i]);
        }
        print_report(parts, ELEMENTSOF(parts));
        return all_held ? 0 : 1;
}

int prove_all(int argc, char **argv) {
        struct all_options options;
        char path[PATH_MAX];

        if (options_read(argc, argv, &options) < 0) {
                fprintf(stderr, "Usage: baton-prove all DIRECTORY [--points N] [--seconds S] [--seed N]\n");
                return 2;
        }
        printf("Baton is proven here:\n");
        if (print_place(options.directory, path) < 0)
                return 1;
        (void) setenv("TMPDIR", path, 1);
        (void) signal(SIGINT, SIG_IGN);
        return parts_run(&options);
}
