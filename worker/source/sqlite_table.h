/* SPDX-License-Identifier: Apache-2.0 */
/* An outbox table: its names, the check that it is one (M5), and how a row becomes an event. */
#pragma once

#include <sqlite3.h>

#include "base/failure.h"
#include "base/text.h"
#include "include/baton/event.h"
#include "include/baton/source.h"

struct outbox_table {
        char table[NAME_BYTES], seq[NAME_BYTES], key[NAME_BYTES], type[NAME_BYTES], at[NAME_BYTES],
                payload[NAME_BYTES], mark[NAME_BYTES]; /* identifiers: text_is_identifier() */
        enum clean_up clean_up;
};

/* The names from the URL's options, which option_check() has accepted. -ENAMETOOLONG. */
int outbox_table_read(const struct source_config *config, struct outbox_table *ret_table,
                      struct failure *ret_failure);

/* Table and columns are there, `seq` is the rowid, and clean-up is possible. FAILURE_STOP where they
 * are not; FAILURE_UNAVAILABLE where the database is still empty. `path` is for the message. */
int outbox_table_verify(sqlite3 *db, const char *schema, const char *path, const struct outbox_table *table,
                        struct failure *ret_failure);

/* SELECT seq, key, type, at, payload FROM schema.table WHERE … ; `tail` follows "WHERE seq ". */
int outbox_table_prepare(sqlite3 *db, const char *schema, const char *path, const struct outbox_table *table,
                         const char *tail, sqlite3_stmt **ret_statement, struct failure *ret_failure);

/* The event in the statement's current row (columns 0–4: seq, key, type, at, payload). Its data are
 * borrowed from the statement until it is stepped or reset. -ENOMEM; the event is then half filled. */
int event_from_row(sqlite3_stmt *statement, struct event *ret_event);
/* The same for one value that a function got as its argument. */
int event_value_from(sqlite3_value *value, struct event_value *ret_value);
