/* SPDX-License-Identifier: Apache-2.0 */
/* What the shipped unit must be granted for a configuration: `baton check --unit` prints it, `baton doctor` says what
 * of it is missing. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "supervisor/config.h"

#define UNIT_USER "baton"
#define UNIT_STATE "/var/lib/baton"

/* A place that the service reads and writes: a database beside which SQLite makes files, or a directory of files. */
struct unit_place {
        const char *side, *name;  /* "source", "orders" */
        char directory[PATH_MAX]; /* absolute, links resolved as far as it is there */
        char file[NAME_MAX + 1];  /* in it; "": all of it */
        bool is_own;              /* in the unit's own state directory: nothing to grant */
        bool is_home;             /* where ProtectHome= shows something else */
        bool is_hidden;           /* there, or where PrivateTmp= does */
        bool is_shared;           /* with an application, which must be able to open what we make */
};

/* Every place of the configuration, each once; the caller frees. */
int unit_places(const struct config *config, const char *state_directory, struct unit_place **ret_places,
                size_t *ret_count, struct failure *ret_failure);

/* Whether the user may access the path so (R_OK, W_OK, X_OK), by asking the kernel as that user: needs root, or to be
 * that user. 1 yes, 0 no; -EPERM: it cannot be found out from here; -ENOENT: there is no such user. */
int unit_user_may(const char *user, const char *path, int mode);

/* Prints drop-in and commands to stdout. The number of commands printed. */
unsigned unit_print_grants(const struct unit_place *places, size_t count);
