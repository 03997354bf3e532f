/* SPDX-License-Identifier: Apache-2.0 */
/* The command: records each variant in the directory that is named, so on the file system that is to be used,
 * and tries what comes of it. Must not touch: anything but its worlds. */
#include "prove/power/power.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "prove/power/record.h"
#include "prove/power/round.h"

#define POINTS 300
#define CUTS 4   /* first ones, of a variant that is cut twice */
#define DRAWS 12 /* from which the state with most open is taken */

static const char usage[] =
        "Usage: baton-prove power [OPTIONS]\n"
        "\n"
        "Records every write, rename and sync of Baton and of the application, makes the states that a power\n"
        "cut may leave after each of them, recovers from each, and asks the checker.\n"
        "\n"
        "  --directory DIR  where the recording is made (default $TMPDIR, /tmp)\n"
        "  --variant NAME   this one alone (may be given again); see below\n"
        "  --seed N         of the states that are drawn (default 1)\n"
        "  --states N       of each point, the 8 extremes among them (default 10)\n"
        "  --points N       of each variant at most, evenly spread; 0: all (default 300)\n"
        "  --point M[:K]    the cut at moment M alone, and its state K alone\n"
        "  --tape FILE      of a failure that was kept, instead of a recording\n"
        "  --save FILE      the tape of the recording, also where nothing failed\n"
        "  --list           print the operations of the tape that --tape names, and try nothing\n"
        "  --blind CLASS    pretend that Baton's syncs of the source, or syncs of destination, journal or directory were not there:\n"
        "                   what must fail then, if the proof sees anything\n"
        "  --failures N     stop after so many (default 10)\n"
        "\n"
        "Exit: 0 all held, 1 something did not, 2 not understood, 130 interrupted.\n\nVariants:\n";

struct power {
        struct agenda_options how;
        const char *directory, *tape_file, *save_file;
        bool lists;
        bool wants[32]; /* by variant; none: all */
        bool has_choice;
        unsigned failures_max;
        struct round_totals totals;
};

/* ---- the command line -------------------------------------------------------------------------- */
static void print_usage(FILE *file) {
        fputs(usage, file);
        for (size_t i = 0; i < variant_count; i++)
                fprintf(file, "  %-10s  %s\n", variants[i].name, variants[i].what);
}

static bool parse_point(const char *text, struct agenda_options *options) {
        _cleanup_free_ char *copy = strdup(text);
        char *colon = copy ? strchr(copy, ':') : NULL;

        if (colon)
                *colon++ = '\0';
        return copy && text_parse_u64(copy, &options->only_moment) >= 0 &&
               (!colon || text_parse_u64(colon, &options->only_state) >= 0);
}

static bool parse_variant(struct power *power, const char *name) {
        const struct variant *variant = variant_find(name);

        if (!variant)
                return false;
        power->wants[variant - variants] = power->has_choice = true;
        return true;
}

static bool parse_option(struct power *power, int option, const char *value) {
        struct agenda_options *how = &power->how;
        uint64_t number = 0;
        bool ok = !strchr("spnf", option) || text_parse_u64(value, &number) >= 0;

        switch (option) {
        case 'd':
                power->directory = value;
                break;
        case 't':
                power->tape_file = value;
                break;
        case 'w':
                power->save_file = value;
                break;
        case 'l':
                power->lists = true;
                break;
        case 'v':
                return parse_variant(power, value);
        case 's':
                how->seed = number;
                break;
        case 'n':
                how->states = number;
                return ok && number > 0;
        case 'p':
                how->points = (size_t) number;
                break;
        case 'f':
                power->failures_max = (unsigned) number;
                break;
        case 'm':
                return parse_point(value, how);
        case 'b':
                how->blindness = disk_blindness_find(value);
                return how->blindness != BLIND_COUNT;
        default:
                return false;
        }
        return ok;
}

/* 0: go on; else an exit code, less one. */
static int parse(struct power *power, int argc, char **argv) {
        static const struct option options[] = {
                { "directory", required_argument, NULL, 'd' },
                { "variant", required_argument, NULL, 'v' },
                { "seed", required_argument, NULL, 's' },
                { "states", required_argument, NULL, 'n' },
                { "points", required_argument, NULL, 'p' },
                { "point", required_argument, NULL, 'm' },
                { "tape", required_argument, NULL, 't' },
                { "save", required_argument, NULL, 'w' },
                { "list", no_argument, NULL, 'l' },
                { "blind", required_argument, NULL, 'b' },
                { "failures", required_argument, NULL, 'f' },
                { "help", no_argument, NULL, 'h' },
                { NULL, 0, NULL, 0 },
        };
        int option;

        optind = 1;
        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                if (option == 'h') {
                        print_usage(stdout);
                        return 1;
                }
                if (!parse_option(power, option, optarg)) {
                        if (option != '?')
                                fprintf(stderr, "baton-prove power: \"%s\" is not understood\n", optarg);
                        return 3;
                }
        }
        if (optind < argc)
                fprintf(stderr, "baton-prove power: \"%s\" is not understood\n", argv[optind]);
        return optind < argc ? 3 : 0;
}

/* ---- tapes ------------------------------------------------------------------------------------- */
static struct round round_of(struct power *power, const struct variant *variant, struct tape *tape) {
        struct round round = {
                .how = power->how,
                .variant = variant,
                .tape = tape,
                .directory = power->directory,
                .totals = &power->totals,
                .failures_max = power->failures_max,
        };

        if (round.how.points > 0)
                round.how.points = MAX_OF(round.how.points * variant->points_percent / 100, (size_t) 1);
        return round;
}

static int run_once(struct power *power, const struct variant *variant) {
        uint64_t began_usec = clock_usec();
        struct round round;
        struct tape tape;
        int code;

        if (record_variant(variant, power->directory, &tape) < 0)
                return 1;
        if (power->save_file)
                round_keep_tape(&tape, power->save_file);
        round = round_of(power, variant, &tape);
        round.span_usec = clock_usec() - began_usec;
        code = round_run(&round);
        tape_done(&tape);
        return code;
}

/* A state of the first tape at which much is open, drawn by the seed. */
static struct agenda_state draw_state(const struct tape *tape, uint64_t seed, uint64_t draw) {
        struct agenda_state best = { 0 };
        size_t most = 0;

        for (uint64_t i = 0; i < DRAWS; i++) {
                struct agenda_state state = { 1 + cut_random(seed, draw, i, 1) % tape->moment,
                                              CUT_EXTREME_COUNT + cut_random(seed, draw, i, 2) % 1000 };
                struct disk disk;

                disk_begin(&disk, tape, BLIND_NOT);
                disk_advance(&disk, state.moment);
                if (i == 0 || cut_open_count(&disk) > most) {
                        most = cut_open_count(&disk);
                        best = state;
                }
                disk_done(&disk);
        }
        return best;
}

/* The power is cut, Baton recovers, and the power is cut again. */
static int run_twice(struct power *power, const struct variant *variant) {
        struct tape first, tape;
        int code = 0;

        if (record_variant(variant->after, power->directory, &first) < 0)
                return 1;
        for (uint64_t cut = 0; cut < CUTS && code == 0; cut++) {
                struct agenda_state state = draw_state(&first, power->how.seed, cut);
                const struct replay replay = { .tape = &first,
                                               .variant = variant->after,
                                               .moment = state.moment,
                                               .number = state.number,
                                               .seed = power->how.seed };
                uint64_t began_usec = clock_usec();
                struct round round;

                if (record_recovery(&replay, power->directory, &tape) < 0) {
                        code = 1;
                        break;
                }
                round = round_of(power, variant, &tape);
                round.span_usec = clock_usec() - began_usec;
                code = round_run(&round);
                tape_done(&tape);
        }
        tape_done(&first);
        return code;
}

/* The variant's name is the first thing on the tape. */
static int run_kept(struct power *power) {
        const struct variant *variant;
        struct round round;
        struct tape tape;
        int r, code = 0;

        r = tape_load(AT_FDCWD, power->tape_file, &tape);
        if (r < 0) {
                fprintf(stderr, "power: cannot read %s: %s\n", power->tape_file, strerror(-r));
                return 2;
        }
        variant = tape.count > 0 ? variant_find(tape.ops[0].name) : NULL;
        if (power->lists)
                agenda_list(&tape, stdout);
        else if (variant) {
                round = round_of(power, variant, &tape);
                code = round_run(&round);
        } else {
                fprintf(stderr, "power: %s is of a variant that is not known\n", power->tape_file);
                code = 2;
        }
        tape_done(&tape);
        return code;
}

static void tell_totals(const struct power *power, uint64_t began_usec, bool all_held) {
        const struct round_totals *totals = &power->totals;

        printf("power: cut at %zu points, %" PRIu64 " states, %zu of them different", totals->points,
               totals->states, totals->different);
        if (all_held)
                printf("; all held, in %.0f s\n", (double) (clock_usec() - began_usec) / USEC_PER_SEC);
        else
                printf("; %u did not hold\n", totals->failures);
}

/* The worst exit code of all. */
static int run_variants(struct power *power) {
        int worst = 0, code;

        for (size_t i = 0; i < variant_count && worst < 2; i++) {
                if (power->has_choice && !power->wants[i])
                        continue;
                code = variants[i].after ? run_twice(power, &variants[i]) : run_once(power, &variants[i]);
                worst = MAX_OF(worst, code);
                if (power->failures_max > 0 && power->totals.failures >= power->failures_max)
                        break;
        }
        return worst;
}

int power_run(int argc, char **argv) {
        struct power power = {
                .how = { .seed = 1,
                         .states = 10,
                         .points = POINTS,
                         .only_moment = UINT64_MAX,
                         .only_state = UINT64_MAX },
                .failures_max = 10,
        };
        uint64_t began_usec = clock_usec();
        bool is_blind;
        int code;

        assert(variant_count <= ELEMENTSOF(power.wants));
        code = parse(&power, argc, argv);
        if (code != 0)
                return code - 1;
        if (power.tape_file)
                return run_kept(&power);
        is_blind = power.how.blindness != BLIND_NOT;
        printf("power: seed %" PRIu64 "%s%s\n", power.how.seed, is_blind ? ", blind to syncs of " : "",
               is_blind ? disk_blindness_name(power.how.blindness) : "");
        (void) fflush(stdout);
        code = run_variants(&power);
        if (code < 2)
                tell_totals(&power, began_usec, code == 0);
        return code;
}
