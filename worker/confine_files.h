/* SPDX-License-Identifier: Apache-2.0 */
/* P7: a worker reaches its own files alone: its sources, its destination, STATE. Mover thread only. */
#pragma once

#include <stdint.h>

#include "base/failure.h"
#include "shm/layout.h"

struct worker;         /* worker/worker.h */
struct confined_place; /* a directory that a rule was made for */

struct confined_files {
        enum worker_confinement confinement;
        struct confined_place *places; /* NULL unless confined */
        uint32_t place_count;
};

/* For good, and for every thread that is started from now on, so before the first. 0, also where the kernel has no
 * Landlock or refuses it: confine_files_tell() says which. Else -errno: what could not be had may be had by a worker
 * that is started a moment later. */
int confine_files(struct worker *worker, struct failure *ret_failure);
/* Tells the supervisor, in the worker's own record, once that is its own. */
void confine_files_tell(struct worker *worker);
void confine_files_done(struct worker *worker);

/* Something was opened in the directory: if that is refused later, its rule is lost (confine_files_explain()). */
void confine_files_opened(struct worker *worker, const char *directory);
/* `name` could not be opened in `directory` (r, *ret_failure). If that is so because this worker was confined before
 * the directory was there, or was this one, the failure says so instead, and the supervisor is asked for another
 * worker, which would reach it. Returns the failure's errno. */
int confine_files_explain(struct worker *worker, const char *name, const char *directory, int r,
                          struct failure *ret_failure);
