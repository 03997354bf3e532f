/* SPDX-License-Identifier: Apache-2.0 */
/* The -journal that a dead writer left beside a database: what SQLite may overlook.
 *
 * SQLite takes a -journal that it cannot stat() for one that is not there (os_unix.c). It then reads pages of a
 * transaction that the next to open the database undoes: events that were never committed (M11); and who writes
 * into them is undone, too, or leaves a database that is half one and half the other. */
#pragma once

#include <sqlite3.h>

#include "base/failure.h"

/* Before anything is written: with our own lock, or where nobody else has the database open. -EAGAIN,
 * FAILURE_UNAVAILABLE: there is a -journal to be rolled back first; another errno: nobody can read it. */
int journal_refuse(sqlite3 *db, const char *schema, const char *path, struct failure *ret_failure);
/* Before a read whose rows are to be believed, also that there are none: where a transaction was read that was undone,
 * the database's change counter is the old one, and SQLite would take the pages that it kept for good, until the next
 * commit. Costs their being read again; nothing in WAL mode. */
void journal_forget_pages(sqlite3 *db, const char *schema);
/* While a statement is open, so under SQLite's shared lock: a -journal of a writer that lives is none to be rolled
 * back (it has not touched the database yet). Costs one open() that fails; nothing in WAL mode. A look that only
 * says whether there is something to fetch does not ask: the fetch does, or else the look at the range (M4). */
int journal_refuse_reading(sqlite3 *db, const char *schema, const char *path, struct failure *ret_failure);
