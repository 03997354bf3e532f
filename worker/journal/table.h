/* SPDX-License-Identifier: Apache-2.0 */
/* The table of include/baton/journal.h from the inside: all journals of one destination, as last
 * looked at. Shared by find (table.c), collection (collect.c) and the writer's forgetting (birth.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/journal/file.h"

struct journal_table {
        char *directory;            /* freed with the table; NULL before the first load */
        struct journal_file *files; /* freed with the table; in no order */
        size_t file_count, file_capacity;
        struct journal_findings findings; /* of the last load */
        struct journal_scan scan;         /* one for all files, one after another */
        bool leave_tails;                 /* torn tails are left to who tells of them (J5) */
};

/* J8: true if a sound file other than `except_name` holds a record of the session that is better and
 * that its writer has surely synced. Only after a load with `sync`. */
bool journal_table_supersedes(const struct journal_table *table, const char *except_name,
                              const struct checkpoint *checkpoint);
