/* SPDX-License-Identifier: Apache-2.0 */
/* One boot of the machine, from power on until the plug is pulled, the guest is done, or something is
 * wrong.
 *
 * The guest speaks in lines that begin with "pc: ":
 *   phase WORD       what it does now; some are the marker of a cut (plan.c)
 *   claims TEXT      what must survive from here on; given to the next boot, which compares
 *   lost NUMBER      events that sources at synchronous=NORMAL no longer have, at least
 *   before NUMBER    events at the destinations, before Baton runs
 *   verdict NUMBER   all is well; so many events stand at the destinations
 *   failed SENTENCE  something is wrong
 *   done             it has finished
 * Must not touch: the image, but through the disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/powercut/host/machine.h"
#include "tests/powercut/host/plan.h"

#define CLAIMS_BYTES 256
#define WORDS_BYTES 512

enum boot_end {
        BOOT_CUT,    /* the plug was pulled */
        BOOT_DONE,   /* the guest finished and switched itself off */
        BOOT_FAILED, /* boot.failure says why */
};

struct boot {
        struct cut_plan plan;
        bool is_last; /* no cut: the guest finishes */
        struct disk *disk;
        FILE *log;                 /* the console */
        char words[WORDS_BYTES];   /* what the guest is told, but for `last` */
        char claims[CLAIMS_BYTES]; /* in: of the boots before; out: the last that was heard */

        /* what was heard */
        bool is_judged, is_done;
        uint64_t events_before, events_after, events_last, events_lost; /* _after: recovery */
        char phase[32];
        char failure[512];

        /* when, in microseconds of CLOCK_MONOTONIC; requests are writes and flushes */
        uint64_t began_usec, heard_usec, recovery_usec, verdict_usec, mark_usec, end_usec;
        uint64_t mark_requests;
        bool is_marked;
        uint64_t cut_requests; /* after the marker */
        struct disk_loss loss;
};

/* From plan and claims. */
void boot_words(struct boot *boot);
enum boot_end boot_run(struct boot *boot, const struct machine_files *files);
