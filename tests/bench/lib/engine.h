/* SPDX-License-Identifier: Apache-2.0 */
/* The peers of movement: the engine's own INSERT … SELECT, and a bare prepared loop, with the tables, the
 * transaction size and the durability that Baton has, and nothing else. In processes of their own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ENGINE_SOURCE_MAX 4u

struct engine_job {
        const char *sources[ENGINE_SOURCE_MAX]; /* files; they share each transaction, as sessions do */
        unsigned source_count;
        const char *destination;       /* file; made anew */
        const char *schema;            /* SQL that makes the destination's tables, as Baton's does */
        uint64_t rows_per_transaction; /* of each source */
        bool prepared;                 /* row by row; else INSERT … SELECT */
};

/* Runs all jobs at the same time; returns the seconds until the last is done. < 0: failed. */
double engine_run(const struct engine_job *jobs, unsigned count);
