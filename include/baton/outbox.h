/* SPDX-License-Identifier: Apache-2.0 */
/* `baton outbox create`: makes an outbox table that an application inserts into. */
#pragma once

#include "base/failure.h"

/* Makes `table` in the SQLite database at `path` (absolute; made if missing, a new file in WAL mode; the
 * journal mode of an existing one is its application's business):
 *   seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, type TEXT,
 *   at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')), payload
 * Does nothing where an equal table stands already; -EEXIST (FAILURE_STOP) where another one does. */
int outbox_create(const char *path, const char *table, struct failure *ret_failure);
