/* SPDX-License-Identifier: Apache-2.0 */
/* When the plug is pulled, and what the guest does meanwhile. A function of seed and number alone.
 * Must not touch: anything. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/powercut/host/disk.h"

enum cut_kind {
        CUT_LOAD,     /* recovered and judged, then the application writes and events move */
        CUT_BUSY,     /* the application writes from the first moment, while Baton recovers */
        CUT_RECOVERY, /* soon after Baton began to recover from the cut before */
        CUT_TAKEOVER, /* soon after a worker was killed in a transaction */
        CUT_FULL,     /* while the disk is full, or shortly after */
        CUT_KIND_COUNT
};

struct cut_kind_words {
        const char *name;
        const char *marker; /* what the guest says when the count begins */
        const char *work;   /* what the guest is told to do */
        uint64_t request_max;
};
extern const struct cut_kind_words cut_kinds[CUT_KIND_COUNT];

struct cut_plan {
        enum cut_kind kind;
        enum cache_fate fate;
        const char *mount; /* options of the file system */
        bool writes_back_early; /* the guest's page cache reaches the disk after a tenth of a second, not after 30 */
        /* Whichever comes first after the marker; `at_flush`: then the next flush that has something to do,
         * which is when most is in the cache. */
        uint64_t after_requests, after_msec;
        bool at_flush;
        uint64_t random; /* for the cache */
};

void plan_cut(uint64_t seed, unsigned number, struct cut_plan *ret_plan);
