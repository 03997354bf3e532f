/* SPDX-License-Identifier: Apache-2.0 */
/* Figures: samples of one series, and the table that shows them beside their floor of the same run.
 * Must not touch: what is measured. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct series {
        double *values;
        size_t count, capacity;
        bool sorted;
};

void series_add(struct series *series, double value);
/* 0 … 100; nearest rank. 0 where there is none. */
double series_percentile(struct series *series, double percent);
double series_max(struct series *series);
double series_min(struct series *series);
void series_done(struct series *series);

/* BENCH_QUICK=1: a smoke test of the bench, whose figures mean nothing. */
bool bench_is_quick(void);
size_t bench_count(size_t full, size_t quick);

/* A table of lesser-is-better spans. `floor` may be NULL. Ratios are of p50 and of p99. */
void table_spans(const char *title, const char *unit, const char *floor_name);
void row_spans(const char *what, struct series *series, struct series *floor);
/* A table of higher-is-better rates: median, least, most; the peer of the same run and the ratio. */
void table_rates(const char *title, const char *unit, const char *peer_name);
void row_rates(const char *what, struct series *series, struct series *peer);
