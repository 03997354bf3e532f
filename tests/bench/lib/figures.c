/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting, percentiles, printing. Must not touch: what is measured. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/bench/lib/figures.h"

void series_add(struct series *series, double value) {
        if (series->count == series->capacity) {
                series->capacity = series->capacity ? series->capacity * 2 : 512;
                series->values = realloc(series->values, series->capacity * sizeof(*series->values));
                assert(series->values);
        }
        series->values[series->count++] = value;
        series->sorted = false;
}

static int compare(const void *a, const void *b) {
        double left = *(const double *) a, right = *(const double *) b;

        return (left > right) - (left < right);
}

double series_percentile(struct series *series, double percent) {
        size_t rank;

        if (series->count == 0)
                return 0;
        if (!series->sorted)
                qsort(series->values, series->count, sizeof(*series->values), compare);
        series->sorted = true;
        rank = (size_t) (percent / 100.0 * (double) series->count + 0.999999);
        return series->values[MIN_OF(MAX_OF(rank, (size_t) 1), series->count) - 1];
}

double series_max(struct series *series) {
        return series_percentile(series, 100);
}

double series_min(struct series *series) {
        return series_percentile(series, 0);
}

void series_done(struct series *series) {
        free(series->values);
        *series = (struct series){};
}

bool bench_is_quick(void) {
        const char *told = getenv("BENCH_QUICK");

        return told && told[0] && strcmp(told, "0") != 0;
}

size_t bench_count(size_t full, size_t quick) {
        return bench_is_quick() ? quick : full;
}

void table_spans(const char *title, const char *unit, const char *floor_name) {
        printf("\n%s (%s)%s\n", title, unit, bench_is_quick() ? "  [BENCH_QUICK: figures mean nothing]" : "");
        printf("  %-52s %6s %9s %9s %9s", "", "n", "p50", "p99", "max");
        if (floor_name)
                printf("  | %-8.8s p50 %9s %9s  ratio p50  p99", floor_name, "p99", "max");
        printf("\n");
        (void) fflush(stdout);
}

static double ratio(double value, double floor) {
        return floor > 0 ? value / floor : 0;
}

void row_spans(const char *what, struct series *series, struct series *floor) {
        double p50 = series_percentile(series, 50), p99 = series_percentile(series, 99);

        printf("  %-52s %6zu %9.3f %9.3f %9.3f", what, series->count, p50, p99, series_max(series));
        if (floor) {
                double floor_p50 = series_percentile(floor, 50), floor_p99 = series_percentile(floor, 99);

                printf("  | %12.3f %9.3f %9.3f  %9.2f %4.2f", floor_p50, floor_p99, series_max(floor),
                       ratio(p50, floor_p50), ratio(p99, floor_p99));
        }
        printf("\n");
        (void) fflush(stdout);
}

void table_rates(const char *title, const char *unit, const char *peer_name) {
        printf("\n%s (%s)%s\n", title, unit, bench_is_quick() ? "  [BENCH_QUICK: figures mean nothing]" : "");
        printf("  %-52s %6s %11s %11s %11s  | %s\n", "", "n", "median", "least", "most", peer_name);
        (void) fflush(stdout);
}

void row_rates(const char *what, struct series *series, struct series *peer) {
        double median = series_percentile(series, 50);

        printf("  %-52s %6zu %11.0f %11.0f %11.0f", what, series->count, median, series_min(series),
               series_max(series));
        if (peer)
                printf("  | %11.0f  ratio %.2f", series_percentile(peer, 50),
                       ratio(median, series_percentile(peer, 50)));
        printf("\n");
        (void) fflush(stdout);
}
