/* SPDX-License-Identifier: Apache-2.0 */
/* What came of the faults, by call and error. */
#pragma once

#include "prove/crash/crash.h"

#define OUTCOMES_MAX 256

enum outcome {
        OUTCOME_UNAFFECTED, /* nobody said anything */
        OUTCOME_RETRIED,    /* a session said that it waits, and why; then it went on */
        OUTCOME_STOPPED,    /* a session stopped and said why; accepted by the operator it went on */
        OUTCOME_SUCCESSOR,  /* a process ended, and the next one went on */
        OUTCOME_FAILED,
        OUTCOME_COUNT,
};

struct outcomes {
        size_t count;
        struct outcome_row {
                uint16_t number;
                enum fault fault;
                unsigned counts[OUTCOME_COUNT];
        } rows[OUTCOMES_MAX];
};

/* Whether a session may stop of it, and says what it was. `object`: the file that the call was about. */
bool stop_is_right(enum fault fault, uint64_t number, const char *object, const char *session,
                   const char *reason);
/* "a.db-wal", ".a.lock", "a.000001.jsonl": of source `a`, or of its session at a file destination. 0: of none. */
char object_source(const char *object);
/* M7: what a sync that failed had to come to, and did not; NULL: nothing to say. */
const char *sync_went_wrong(const struct variant *variant, enum fault fault, const struct run_data *data);
const char *outcome_name(enum outcome outcome);
enum outcome outcome_of(const struct run_data *data, bool held);
void outcomes_add(struct outcomes *outcomes, uint16_t number, enum fault fault, enum outcome outcome);
void outcomes_print(const struct outcomes *outcomes);
