/* SPDX-License-Identifier: Apache-2.0 */
/* baton-prove crash: counts, kinds, tries, tells. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "prove/crash/outcomes.h"
#include "prove/crash/trials.h"
#include "prove/fleet.h"
#include "prove/fleet_place.h"
#include "prove/prove.h"

#define COUNTING_RUNS 3
#define ROUNDS 3          /* so often is tried what is not reached */
#define LIMIT_SECONDS 150 /* each wait in it has its own, of 30 s */
#define FAILURES_MAX 20   /* then something is broken throughout, and the rest would say the same */
#define TRIED_FEW 8u      /* so many may well be passed by in one run */

struct options {
        const char *directory, *point, *variant, *phase;
        uint64_t sample, parallel;
        bool only_counts, is_verbose;
        bool makes_errors; /* `errors`: calls fail instead */
};

/* A row of the table: one role in one phase of one variant. */
struct row {
        uint32_t calls, points, states, tried, held, unreached;
};

struct effort {
        struct options options;
        struct fleet_root prepared;
        struct run_data *most; /* while counting */
        struct places *places; /* `errors`: tried so far */
        const struct trials *trials;
        size_t try_count;             /* of the trials: all, or a sample of so many */
        size_t *chosen;               /* which */
        size_t *missed, missed_count; /* not reached in this round */
        bool is_last_round;
        struct row *rows; /* of these trials, by role */
        char where[384];  /* the last hit: "call 12, the entry of pwrite64 on b.db-wal" */
        struct outcomes outcomes;
        unsigned failures, kinds; /* that are wanted */
};

/* ---- counting ---------------------------------------------------------------------------------- */
struct counting {
        struct effort *effort;
        const struct variant *variant;
        enum crash_phase phase;
};

/* One role at a time, as it is when it is killed: stops take time, and time makes calls. */
static const enum trace_role counted_roles[] = { TRACE_SUPERVISOR, TRACE_MOVER, TRACE_TAKEOVER, TRACE_CONTROL,
                                                 TRACE_MEMORY };

static void count_run(size_t index, struct world *world, void *data, void *context) {
        const struct counting *counting = context;
        struct play play = { .phase = counting->phase,
                             .variant = counting->variant,
                             .prepared = counting->effort->prepared.directory,
                             .world = world,
                             .data = data,
                             .counts_places = counting->effort->options.makes_errors };

        crash_observe(&play, NULL,
                      counting->effort->options.sample ? ~0u
                                                       : TRACE_BIT(counted_roles[index / COUNTING_RUNS]));
}

static bool count_done(size_t index, const struct fleet_result *result, const void *data, void *context) {
        const struct counting *counting = context;

        (void) index;
        if (result->outcome == FLEET_HELD)
                counts_merge(counting->effort->most, data);
        else
                printf("counting %s, %s: %s\n  kept: %s\n", counting->variant->name,
                       phase_name(counting->phase), result->message, result->directory);
        return true;
}

/* 0; the number of runs that failed undisturbed; -errno. */
static int count(struct effort *effort, const struct variant *variant, enum crash_phase phase,
                 struct trials *ret_trials) {
        struct counting counting = { .effort = effort, .variant = variant, .phase = phase };
        const struct fleet_options fleet = { .directory = effort->options.directory,
                                             .parallel = (unsigned) effort->options.parallel,
                                             .data_bytes = sizeof(struct run_data),
                                             .context = &counting,
                                             .run = count_run,
                                             .done = count_done };
        int r;

        memset(effort->most, 0, sizeof(*effort->most));
        r = fleet_run(&fleet, effort->options.sample ? 1 : COUNTING_RUNS * ELEMENTSOF(counted_roles));
        if (r == 0 && effort->options.makes_errors)
                trials_make_errors(ret_trials, variant, phase, effort->most, effort->places);
        else if (r == 0)
                trials_make(ret_trials, variant, phase, effort->most);
        return r;
}

/* ---- trying ------------------------------------------------------------------------------------ */
static const struct point *point_at(const struct effort *effort, size_t index) {
        return &effort->trials->tries[effort->chosen[index]];
}

/* All, or a sample: each the middle of its part of all. */
static void choose(struct effort *effort) {
        const size_t all = effort->trials->try_count;

        effort->chosen = calloc(effort->try_count + 1, sizeof(effort->chosen[0]));
        assert(effort->chosen);
        for (size_t i = 0; i < effort->try_count; i++)
                effort->chosen[i] = (2 * i + 1) * all / (2 * effort->try_count);
}

static void try_run(size_t index, struct world *world, void *data, void *context) {
        const struct effort *effort = context;
        struct play play = { .phase = effort->trials->phase,
                             .variant = effort->trials->variant,
                             .prepared = effort->prepared.directory,
                             .world = world,
                             .data = data,
                             .fault = point_at(effort, index)->fault };

        crash_observe(&play, point_at(effort, index), 0);
}

static void where_write(const struct point *point, const struct run_data *data, char *ret_text,
                        size_t bytes) {
        (void) snprintf(ret_text, bytes, "not reached");
        if (data->is_hit)
                (void) snprintf(ret_text, bytes, "call %u, the %s of %s%s%s", data->hit_call,
                                point->at_exit ? "exit" : "entry", call_name(data->hit_number),
                                data->hit_object[0] ? " on " : "", data->hit_object);
}

static void failure_print(const struct effort *effort, const struct point *point,
                          const struct fleet_result *result, const struct run_data *data) {
        char text[POINT_TEXT_BYTES];

        point_format(point, text, sizeof(text));
        printf("DID NOT HOLD: %s (%s), variant %s: %s\n", text, effort->where, effort->trials->variant->name,
               result->message);
        if (effort->failures == 1)
                crash_stack_print(data->hit_stack);
        if (result->directory[0])
                printf("  kept: %s\n", result->directory);
        printf("  again: make %s POINT=%s VARIANT=%s\n", effort->options.makes_errors ? "errors" : "crash",
               text, effort->trials->variant->name);
        (void) fflush(stdout);
}

static void outcome_print(const struct effort *effort, const struct point *point, const struct run_data *data,
                          enum outcome outcome) {
        char text[POINT_TEXT_BYTES];

        point_format(point, text, sizeof(text));
        printf("%s: %s (%s), variant %s%s%s\n", outcome_name(outcome), text, effort->where,
               effort->trials->variant->name, data->was_stopped ? ": " : "", data->reason);
}

static void unreached_print(const struct effort *effort, const struct point *point) {
        char text[POINT_TEXT_BYTES];

        point_format(point, text, sizeof(text));
        printf("not reached in %d runs: %s, variant %s\n", ROUNDS, text, effort->trials->variant->name);
}

static void outcome_note(struct effort *effort, const struct point *point, const struct run_data *data,
                         bool held) {
        const enum outcome outcome = outcome_of(data, held);

        outcomes_add(&effort->outcomes, (uint16_t) data->hit_number, point->fault, outcome);
        if (effort->options.is_verbose && held)
                outcome_print(effort, point, data, outcome);
}

static bool try_done(size_t index, const struct fleet_result *result, const void *shared, void *context) {
        struct effort *effort = context;
        const struct point *point = point_at(effort, index);
        struct row *row = &effort->rows[lane_role(point->lane)];
        const struct run_data *data = shared;

        if (result->outcome == FLEET_HELD && !data->is_hit && !effort->is_last_round) {
                effort->missed[effort->missed_count++] = effort->chosen[index];
                return true;
        }
        row->tried++;
        where_write(point, data, effort->where, sizeof(effort->where));
        if (point->fault != FAULT_KILL && data->is_hit)
                outcome_note(effort, point, data, result->outcome == FLEET_HELD);
        if (result->outcome == FLEET_HELD) {
                row->held++;
                row->unreached += !data->is_hit;
                if (!data->is_hit && effort->options.is_verbose)
                        unreached_print(effort, point);
                return true;
        }
        effort->failures++;
        failure_print(effort, point, result, data);
        return effort->failures < FAILURES_MAX;
}

/* A run may make fewer calls than the one that was counted: what it does not come to is tried again. */
static int try_all(struct effort *effort) {
        const struct fleet_options fleet = { .directory = effort->options.directory,
                                             .parallel = (unsigned) effort->options.parallel,
                                             .limit_seconds = LIMIT_SECONDS,
                                             .data_bytes = sizeof(struct run_data),
                                             .context = effort,
                                             .run = try_run,
                                             .done = try_done };

        size_t count = effort->try_count;
        int failed = 0, r;

        choose(effort);
        effort->missed = calloc(count + 1, sizeof(effort->missed[0]));
        assert(effort->missed);
        for (unsigned round = 1; count > 0 && effort->failures < FAILURES_MAX; round++) {
                effort->missed_count = 0;
                effort->is_last_round = round == ROUNDS;
                r = fleet_run(&fleet, count);
                if (r < 0) {
                        failed = r;
                        break;
                }
                failed += r;
                count = effort->missed_count;
                memcpy(effort->chosen, effort->missed, count * sizeof(effort->chosen[0]));
        }
        free(effort->missed);
        free(effort->chosen);
        return failed;
}

/* ---- the table --------------------------------------------------------------------------------- */
static void rows_begin(const struct trials *trials, struct row rows[TRACE_ROLE_COUNT]) {
        memset(rows, 0, TRACE_ROLE_COUNT * sizeof(rows[0]));
        for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
                rows[lane_role(lane)].calls += trials->calls[lane];
                rows[lane_role(lane)].points += trials->points[lane];
        }
        for (size_t i = 0; i < trials->try_count; i++)
                rows[lane_role(trials->tries[i].lane)].states++;
}

static void row_print(const char *variant, const char *phase, const char *role, const struct row *row) {
        printf("%-8s %-9s %-11s %6u %7u %7u %6u %6u %11u\n", variant, phase, role, row->calls, row->points,
               row->states, row->tried, row->held, row->unreached);
        (void) fflush(stdout);
}

static void table_begin(void) {
        printf("%-8s %-9s %-11s %6s %7s %7s %6s %6s %11s\n", "variant", "phase", "role", "calls", "points",
               "states", "tried", "held", "not reached");
}

static void row_add(struct row *sum, const struct row *row) {
        sum->calls += row->calls;
        sum->points += row->points;
        sum->states += row->states;
        sum->tried += row->tried;
        sum->held += row->held;
        sum->unreached += row->unreached;
}

static void rows_print(const struct trials *trials, const struct row rows[TRACE_ROLE_COUNT],
                       struct row *sum) {
        for (unsigned role = 0; role < TRACE_ROLE_COUNT; role++) {
                if (rows[role].calls == 0)
                        continue;
                row_print(trials->variant->name, phase_name(trials->phase),
                          trace_role_name((enum trace_role) role), &rows[role]);
                row_add(sum, &rows[role]);
        }
}

/* What was never tried cannot have held: a role whose calls nobody saw, or points that no run comes to. 0, or
 * 1 after saying so. */
static int missing_report(const struct trials *trials, const struct row rows[TRACE_ROLE_COUNT]) {
        uint32_t tried = 0, unreached = 0;
        int missing = 0;

        for (size_t i = 0; i < ELEMENTSOF(counted_roles); i++) {
                const struct row *row = &rows[counted_roles[i]];

                tried += row->tried;
                unreached += row->unreached;
                if (row->calls > 0)
                        continue;
                missing = 1;
                printf("NOTHING TO TRY: %s, %s: no call of the role %s was seen\n", trials->variant->name,
                       phase_name(trials->phase), trace_role_name(counted_roles[i]));
        }
        if (tried >= TRIED_FEW && tried == unreached) {
                missing = 1;
                printf("NOTHING REACHED: %s, %s: none of %u points\n", trials->variant->name,
                       phase_name(trials->phase), tried);
        }
        return missing;
}

/* ---- the whole --------------------------------------------------------------------------------- */
static bool is_wanted(const struct effort *effort, const struct variant *variant, enum crash_phase phase) {
        if (effort->options.variant && strcmp(effort->options.variant, variant->name) != 0)
                return false;
        if (effort->options.phase && strcmp(effort->options.phase, phase_name(phase)) != 0)
                return false;
        return true;
}

static int one_kind(struct effort *effort, const struct variant *variant, enum crash_phase phase,
                    struct row *sum) {
        struct row rows[TRACE_ROLE_COUNT];
        struct trials trials;
        int r;

        r = count(effort, variant, phase, &trials);
        if (r != 0)
                return r;
        rows_begin(&trials, rows);
        effort->trials = &trials;
        effort->rows = rows;
        effort->try_count = trials.try_count;
        if (effort->options.sample)
                effort->try_count = MIN_OF(trials.try_count,
                                           ((size_t) effort->options.sample + effort->kinds - 1) /
                                                   effort->kinds);
        if (!effort->options.only_counts)
                r = try_all(effort);
        rows_print(&trials, rows, sum);
        if (r >= 0)
                r += missing_report(&trials, rows);
        trials_done(&trials);
        return r;
}

static int all_kinds(struct effort *effort) {
        struct row sum = { 0 };
        int failed = 0, r;

        for (size_t v = 0; v < crash_variant_count; v++)
                for (unsigned phase = 0; phase < CRASH_PHASES; phase++)
                        effort->kinds += is_wanted(effort, &crash_variants[v], (enum crash_phase) phase);
        table_begin();
        for (size_t v = 0; v < crash_variant_count; v++)
                for (unsigned phase = 0; phase < CRASH_PHASES; phase++) {
                        if (!is_wanted(effort, &crash_variants[v], (enum crash_phase) phase))
                                continue;
                        r = one_kind(effort, &crash_variants[v], (enum crash_phase) phase, &sum);
                        if (r < 0)
                                return r;
                        failed += r;
                }
        row_print("all", "", "", &sum);
        if (effort->options.makes_errors)
                outcomes_print(&effort->outcomes);
        return failed;
}

static int one_point(struct effort *effort) {
        struct point point = { 0 };
        struct trials trials = { .tries = &point, .try_count = 1 };
        struct row rows[TRACE_ROLE_COUNT] = { 0 };
        struct row *row;
        int r;

        if (!point_parse(effort->options.point, &point)) {
                fprintf(stderr, "baton-prove: \"%s\" is no ROLE:PHASE:N:entry|exit|ERROR\n",
                        effort->options.point);
                return -EINVAL;
        }
        trials.phase = point.phase;
        trials.variant = effort->options.variant ? crash_variant_find(effort->options.variant)
                                                 : &crash_variants[0];
        effort->trials = &trials;
        effort->rows = rows;
        effort->try_count = 1;
        effort->options.is_verbose = true;
        r = try_all(effort);
        row = &rows[lane_role(point.lane)];
        if (point.fault != FAULT_KILL && r >= 0)
                outcomes_print(&effort->outcomes);
        if (r == 0)
                printf("%s (%s), variant %s: %s\n", effort->options.point, effort->where,
                       trials.variant->name, row->unreached ? "not reached; all is moved" : "held");
        return r;
}

static const char usage[] =
        "Usage: baton-prove crash|errors [OPTIONS]\n"
        "\n"
        "crash kills a process of Baton at the entry and at the exit of every system call that it makes, once\n"
        "each, lets the others recover, and has the destination judged; errors lets the call fail instead, in\n"
        "every way that fits it.\n"
        "\n"
        "  --point ROLE:PHASE:N:entry|exit|ERROR   this one alone, e.g. mover:takeover:137:exit\n"
        "  --variant fused|row|file          the destination: SQLite by one statement, row by row, files\n"
        "  --phase life|takeover|recovery    this one alone\n"
        "  --sample N                        so many points, evenly spread over all\n"
        "  --count                           counts the calls and tries nothing\n"
        "  --verbose                         names the points that were not reached, too\n"
        "  --directory DIR                   where the runs live (default $TMPDIR or /tmp)\n"
        "  --parallel N                      runs at a time (default: twice the processors)\n";

static bool phase_is_known(const char *name) {
        for (unsigned phase = 0; phase < CRASH_PHASES; phase++)
                if (strcmp(name, phase_name((enum crash_phase) phase)) == 0)
                        return true;
        return false;
}

static int options_parse(int argc, char **argv, struct options *options) {
        static const struct option known[] = {
                { "point", required_argument, NULL, 'p' },
                { "variant", required_argument, NULL, 'v' },
                { "sample", required_argument, NULL, 's' },
                { "count", no_argument, NULL, 'c' },
                { "directory", required_argument, NULL, 'd' },
                { "parallel", required_argument, NULL, 'j' },
                { "phase", required_argument, NULL, 'P' },
                { "verbose", no_argument, NULL, 'V' },
                { "help", no_argument, NULL, 'h' },
                { NULL, 0, NULL, 0 },
        };
        int c;

        optind = 1;
        while ((c = getopt_long(argc, argv, "h", known, NULL)) >= 0)
                switch (c) {
                case 'p':
                        options->point = optarg;
                        break;
                case 'v':
                        options->variant = optarg;
                        break;
                case 's':
                        if (text_parse_u64(optarg, &options->sample) < 0 || options->sample == 0)
                                return -EINVAL;
                        break;
                case 'c':
                        options->only_counts = true;
                        break;
                case 'd':
                        options->directory = optarg;
                        break;
                case 'j':
                        if (text_parse_u64(optarg, &options->parallel) < 0)
                                return -EINVAL;
                        break;
                case 'P':
                        options->phase = optarg;
                        break;
                case 'V':
                        options->is_verbose = true;
                        break;
                case 'h':
                        printf("%s", usage);
                        exit(0);
                default:
                        return -EINVAL;
                }
        if (optind != argc || (options->variant && !crash_variant_find(options->variant)) ||
            (options->phase && !phase_is_known(options->phase)))
                return -EINVAL;
        return 0;
}

static int prove(int argc, char **argv, bool makes_errors) {
        static struct effort effort;
        int r;

        effort = (struct effort){ .options.makes_errors = makes_errors };

        if (options_parse(argc, argv, &effort.options) < 0) {
                fprintf(stderr, "baton-prove %s: not understood; baton-prove %s --help\n", argv[0], argv[0]);
                return 2;
        }
        effort.most = calloc(1, sizeof(*effort.most));
        effort.places = places_new();
        r = effort.most ? fleet_root_make(&effort.prepared, effort.options.directory) : -ENOMEM;
        if (r < 0) {
                fprintf(stderr, "baton-prove %s: cannot make a directory: %s\n", argv[0], strerror(-r));
                return 1;
        }
        (void) setenv("BATON_JOURNAL_ROTATE", "2048", 1);
        crash_outboxes_prepare(effort.prepared.directory);
        r = effort.options.point ? one_point(&effort) : all_kinds(&effort);
        if (r < 0 && r != -EINTR && r != -EINVAL)
                fprintf(stderr,
                        "baton-prove %s: stopped before its end, because a run could not be begun: %s\n",
                        argv[0], strerror(-r));
        crash_outboxes_remove(effort.prepared.directory);
        fleet_root_clear(&effort.prepared);
        free(effort.most);
        free(effort.places);
        return r == 0 ? 0 : r == -EINTR ? 130 : r == -EINVAL ? 2 : 1;
}

int prove_crash(int argc, char **argv) {
        return prove(argc, argv, false);
}

int prove_errors(int argc, char **argv) {
        if (!tracer_can_change()) {
                fprintf(stderr, "baton-prove errors: on this processor calls cannot be made to fail\n");
                return 2;
        }
        return prove(argc, argv, true);
}
