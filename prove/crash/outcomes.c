/* SPDX-License-Identifier: Apache-2.0 */
/* The table of outcomes; see outcomes.h. */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/macro.h"
#include "prove/crash/outcomes.h"

/* M6 to M8: what passes by itself, and a disk that is full, are waited for. A disk that cannot read or write
 * stops a session, and so does a sync that failed, whatever it says. SQLite calls a database "malformed" that
 * it could not read. */
bool stop_is_right(enum fault fault, uint64_t number, const char *reason) {
        static const char *const words[] = { "Input/output error", "disk I/O error", "malformed", "sync" };
        const bool is_sync = number == SYS_fsync || number == SYS_fdatasync;

        if (fault != FAULT_EIO && !(fault == FAULT_ENOSPC && is_sync))
                return false;
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strstr(reason, words[i]))
                        return true;
        return false;
}

enum outcome outcome_of(const struct run_data *data, bool held) {
        if (!held)
                return OUTCOME_FAILED;
        if (data->was_stopped)
                return OUTCOME_STOPPED;
        if (data->ended > 0)
                return OUTCOME_SUCCESSOR;
        return data->has_waited ? OUTCOME_RETRIED : OUTCOME_UNAFFECTED;
}

void outcomes_add(struct outcomes *outcomes, uint16_t number, enum fault fault, enum outcome outcome) {
        struct outcome_row *row = NULL;

        for (size_t i = 0; i < outcomes->count; i++)
                if (outcomes->rows[i].number == number && outcomes->rows[i].fault == fault)
                        row = &outcomes->rows[i];
        if (!row) {
                assert(outcomes->count < OUTCOMES_MAX);
                row = &outcomes->rows[outcomes->count++];
                *row = (struct outcome_row){ .number = number, .fault = fault };
        }
        row->counts[outcome]++;
}

void outcomes_print(const struct outcomes *outcomes) {
        printf("\n%-18s %-7s %11s %8s %8s %10s %7s\n", "call", "error", "unaffected", "retried", "stopped",
               "successor", "failed");
        for (size_t i = 0; i < outcomes->count; i++) {
                const struct outcome_row *row = &outcomes->rows[i];

                printf("%-18s %-7s %11u %8u %8u %10u %7u\n", call_name(row->number), fault_name(row->fault),
                       row->counts[OUTCOME_UNAFFECTED], row->counts[OUTCOME_RETRIED],
                       row->counts[OUTCOME_STOPPED], row->counts[OUTCOME_SUCCESSOR],
                       row->counts[OUTCOME_FAILED]);
        }
}
