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

/* Whether a session may stop of it, and says what it was. */
bool stop_is_right(enum fault fault, uint64_t number, const char *reason);
enum outcome outcome_of(const struct run_data *data, bool held);
void outcomes_add(struct outcomes *outcomes, uint16_t number, enum fault fault, enum outcome outcome);
void outcomes_print(const struct outcomes *outcomes);
