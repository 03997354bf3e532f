/* SPDX-License-Identifier: Apache-2.0 */
/* Where journals lie and what they are called: STATE/journal/DESTINATION/WWWW-G[.N].journal, and the
 * same with ".new" behind it while a file is being born. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"

#define JOURNAL_NAME_BYTES 64
#define JOURNAL_NEW_SUFFIX ".new"

/* The directory's path (caller frees). -EINVAL: the destination is no name; -ENOMEM. */
int journal_place_path(const char *state_directory, const char *destination, char **ret_path,
                       struct failure *ret_failure);
/* Makes what is missing below STATE and opens the directory. `synced`: every entry on the way is
 * durable when it returns (also one that a process made which died before it could sync it). */
int journal_place_make(const char *state_directory, const char *destination, bool synced, int *ret_dir_fd,
                       struct failure *ret_failure);

/* number 0: "0003-17.journal"; else "0003-17.2.journal", where that name was taken (generations begin
 * again in a new segment, and a dead writer's file is never overwritten: J6). */
void journal_name_make(uint32_t worker_index, uint64_t worker_generation, unsigned number,
                       char ret_name[JOURNAL_NAME_BYTES]);
bool journal_name_is_journal(const char *name);
bool journal_name_is_new(const char *name); /* "….journal.new": a file not yet, or never, born */
