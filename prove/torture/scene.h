/* SPDX-License-Identifier: Apache-2.0 */
/* What is tormented: four destinations of all kinds, sources with every sort of clean-up and writer, and which
 * of them leads where. Constant tables; what becomes of them in a run is in torture.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prove/world/outbox.h"

enum target_index { TARGET_FUSED, TARGET_ROWS, TARGET_FILES, TARGET_LINES, TARGET_COUNT };

struct target {
        const char *name;
        const char *scheme, *place, *query; /* place: below the world's directory */
        const char *lines;                  /* of its configuration */
        unsigned workers;
        bool is_small;      /* on the file system that is filled */
        const char *parked; /* for the judge: which events must be parked here */
};
extern const struct target targets[TARGET_COUNT];

/* Outboxes, each in a directory of its own, so that it can be moved away whole. */
enum origin_index {
        ORIGIN_STEADY,
        ORIGIN_ERASED,
        ORIGIN_MARKED,
        ORIGIN_SHARED,
        ORIGIN_MIXED,
        ORIGIN_BURNED,
        ORIGIN_NOTED,
        ORIGIN_GUEST,
        ORIGIN_VISITOR,
        ORIGIN_COUNT
};

struct origin {
        const char *name;
        const char *query;    /* clean-up */
        unsigned target_bits; /* 1 << TARGET_… */
        bool is_guest;        /* comes and goes by reloads */
        unsigned per_second;  /* of a run of 60 s; longer ones write more slowly */
        struct writer_options writer;
};
extern const struct origin origins[ORIGIN_COUNT];

/* One session for each source and destination of it. */
#define SESSION_MAX (ORIGIN_COUNT * 2)
