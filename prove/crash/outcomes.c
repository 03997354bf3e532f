/* SPDX-License-Identifier: Apache-2.0 */
/* The table of outcomes; see outcomes.h. */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/macro.h"
#include "prove/crash/outcomes.h"

static bool has_one_of(const char *text, const char *const *words) {
        for (; *words; words++)
                if (strstr(text, *words))
                        return true;
        return false;
}

static bool is_sync(uint64_t number) {
        return number == SYS_fsync || number == SYS_fdatasync;
}

char object_source(const char *object) {
        object += *object == '.';
        return object[0] >= 'a' && object[0] <= 'c' && object[1] == '.' ? object[0] : '\0';
}

/* M6 to M8: what passes by itself, and a disk that is full, are waited for. A disk that cannot read or write
 * stops a session, and so does a sync that failed, whatever it says: the one whose file it was, if it was one's
 * alone. SQLite calls a database "malformed" that it could not read. */
bool stop_is_right(enum fault fault, uint64_t number, const char *object, const char *session,
                   const char *reason) {
        static const char *const of_disk[] = { "Input/output error", "disk I/O error", "malformed", "sync",
                                               NULL };
        static const char *const of_sync[] = { "sync", "made durable", NULL };

        if (fault != FAULT_EIO && !(fault == FAULT_ENOSPC && is_sync(number)))
                return false;
        if (object_source(object) && object_source(object) != session[0])
                return false;
        return has_one_of(reason, is_sync(number) ? of_sync : of_disk);
}

/* The sessions of the source stop until adopted. A destination (and the journal of a file, which is its authority)
 * is latched, written anew and goes on. */
const char *sync_went_wrong(const struct variant *variant, enum fault fault, const struct run_data *data) {
        const bool is_file = strcmp(variant->scheme, "file") == 0;
        const char *object = data->hit_object;

        if (!data->is_hit || !is_sync(data->hit_number) || (fault != FAULT_EIO && fault != FAULT_ENOSPC))
                return NULL;
        if (object_source(object) && strstr(object, ".db"))
                return data->was_stopped || !data->was_hit_owner
                               ? NULL
                               : "the sync of a source failed, and its session did not stop (M7)";
        if (strcmp(object, "d.db") == 0 && data->was_hit_leaving)
                return NULL; /* the last to leave tidies up; what it could not sync is in the -wal still */
        if (strncmp(object, "d.db", 4) != 0 && !strstr(object, ".jsonl") &&
            !(is_file && strstr(object, ".journal")))
                return NULL;
        if (!data->was_latched)
                return "a sync of the destination failed, and it was not latched (M7)";
        return data->was_stopped ? "a sync of the destination failed once, and a session stopped of it (M7)"
                                 : NULL;
}

const char *outcome_name(enum outcome outcome) {
        static const char *const names[OUTCOME_COUNT] = {
                [OUTCOME_UNAFFECTED] = "unaffected", [OUTCOME_RETRIED] = "retried",
                [OUTCOME_STOPPED] = "stopped",       [OUTCOME_SUCCESSOR] = "successor",
                [OUTCOME_FAILED] = "failed",
        };

        return names[outcome];
}

enum outcome outcome_of(const struct run_data *data, bool held) {
        if (!held)
                return OUTCOME_FAILED;
        if (data->was_stopped)
                return OUTCOME_STOPPED;
        if (data->ended > 0)
                return OUTCOME_SUCCESSOR;
        return data->has_waited || data->was_latched ? OUTCOME_RETRIED : OUTCOME_UNAFFECTED;
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

static void row_print(const char *call, const char *fault, const unsigned counts[OUTCOME_COUNT]) {
        printf("%-18s %-7s", call, fault);
        for (unsigned i = 0; i < OUTCOME_COUNT; i++)
                printf(" %10u", counts[i]);
        printf("\n");
}

void outcomes_print(const struct outcomes *outcomes) {
        unsigned sums[OUTCOME_COUNT] = { 0 };

        printf("\n%-18s %-7s", "call", "error");
        for (unsigned i = 0; i < OUTCOME_COUNT; i++)
                printf(" %10s", outcome_name((enum outcome) i));
        printf("\n");
        for (size_t row = 0; row < outcomes->count; row++) {
                row_print(call_name(outcomes->rows[row].number), fault_name(outcomes->rows[row].fault),
                          outcomes->rows[row].counts);
                for (unsigned i = 0; i < OUTCOME_COUNT; i++)
                        sums[i] += outcomes->rows[row].counts[i];
        }
        row_print("all", "", sums);
}
