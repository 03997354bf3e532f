/* SPDX-License-Identifier: Apache-2.0 */
/* M12: what our opening of an application's database would leave in its directory. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/failure.h"

struct guest_view {
        bool has_wal, has_shm, has_journal;
        bool wal_mode;      /* the file's header says so; known only if nothing would be missing */
        bool would_create;  /* opening makes -wal or -shm */
        bool shuts_out;     /* … which the database's owner could not write */
        bool cannot_create; /* … which we have no right to make */
        uid_t owner;
};

/* Looks without making anything. FAILURE_UNAVAILABLE where the file is absent. */
int guest_look(const char *path, struct guest_view *ret_view, struct failure *ret_failure);

/* The same, and a failure (FAILURE_UNAVAILABLE) where a guest must not open the database now. */
int guest_admit(const char *path, struct failure *ret_failure);
