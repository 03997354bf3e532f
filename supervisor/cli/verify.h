/* SPDX-License-Identifier: Apache-2.0 */
/* `baton verify` inside: one reader for each side, one comparison between them. It shares no code with
 * the mover: its own SQL, its own reading of the lines, its own digest; only the plain data of
 * include/baton/event.h are common. Everything is read only. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/url.h"
#include "include/baton/event.h"
#include "include/baton/journal.h"
#include "include/baton/option.h"

#define VERIFY_EXAMPLE_COUNT 5

/* What was counted, with the first few positions of each sort. */
struct verify_finding {
        uint64_t count;
        uint64_t examples[VERIFY_EXAMPLE_COUNT];
};

struct verify_checkpoint {
        bool is_there;
        uint64_t position, event_count, digest_sum, parked_count;
};

/* What the journals remember of a destination that is the authority itself. */
struct verify_memory {
        bool is_read;           /* else the failure says why not */
        uint64_t position;      /* 0: no journal knows the session */
        char file_name[64];     /* that says so */
        struct failure failure; /* of reading */
};

struct verify_result {
        struct verify_checkpoint checkpoint;
        uint64_t expected;           /* events that were to be moved, up to the checkpoint */
        uint64_t found;              /* different positions among the events at the destination */
        uint64_t cleaned;            /* of them, no longer at the source: proved by the digest */
        uint64_t stored, digest_sum; /* events and parked at the destination, and their digests */
        bool digest_is_exact;        /* false: JSON does not keep SQLite's storage classes */
        struct verify_finding missing, duplicated, out_of_order, different, unexpected, parked;
        bool count_differs, digest_differs; /* from the checkpoint's */
        bool digest_is_open;                /* cleaned events whose content could not be proved */
        struct verify_memory memory;
        bool is_behind; /* the journal saw more durable there than there is: an older copy (M1) */
};
bool verify_result_is_clean(const struct verify_result *result);
void verify_note(struct verify_finding *finding, uint64_t position);

/* ---- verify_digest.c: the digest of include/baton/event.h, written from its description -------- */
uint64_t verify_digest(const struct event *event);

/* ---- verify_database.c: SQLite, read-only ------------------------------------------------------ */
int verify_database_open(const char *path, sqlite3 **ret_database, struct failure *ret_failure);
void verify_database_close(sqlite3 **database);
#define _cleanup_database_ _cleanup_(verify_database_close)
int verify_database_prepare(sqlite3 *database, const char *path, const char *sql,
                            sqlite3_stmt **ret_statement, struct failure *ret_failure);
int verify_database_fail(sqlite3 *database, const char *path, struct failure *ret_failure);
/* The four values of a row from `column` on; they live until the next step. */
void verify_database_event(sqlite3_stmt *row, int column, struct event *ret_event);

/* ---- verify_source.c: the outbox, in chunks, so that no read transaction stands long (M12) ------ */
struct verify_source;
int verify_source_open(const struct url *url, const struct scheme *scheme, struct verify_source **ret_source,
                       struct failure *ret_failure);
void verify_source_close(struct verify_source *source);
/* The next event up to `last`, or NULL at the end; it stays until verify_source_next(). */
int verify_source_peek(struct verify_source *source, uint64_t last, const struct event **ret_event,
                       struct failure *ret_failure);
void verify_source_next(struct verify_source *source);
/* What stands at the arrival's position. */
struct verify_arrival;
enum verify_answer { VERIFY_ABSENT, VERIFY_SAME, VERIFY_OTHER };
int verify_source_compare(struct verify_source *source, const struct verify_arrival *arrival,
                          enum verify_answer *ret_answer, struct failure *ret_failure);
/* The lowest position that was there when the source was last read: below it, it was cleaned. */
uint64_t verify_source_first(const struct verify_source *source);

/* ---- verify_compare.c: arrivals at the destination against the source -------------------------- */
struct verify_arrival {
        uint64_t position;
        uint64_t digest;
        bool is_parked;
        /* True if the arrival holds what the event does, in the destination's manner. */
        bool (*is_same)(const struct verify_arrival *arrival, const struct event *event);
        const struct event *event;      /* SQLite destinations */
        const struct verify_line *line; /* file destinations */
};

struct verify_compare;
struct verify_compare *verify_compare_new(struct verify_source *source,
                                          const struct verify_checkpoint *checkpoint, bool digest_is_exact);
void verify_compare_free(struct verify_compare *compare);
/* Arrivals in the order in which the destination keeps them; parked ones after all others. */
int verify_compare_arrive(struct verify_compare *compare, const struct verify_arrival *arrival,
                          struct failure *ret_failure);
/* An arrival that stands behind a higher position in the destination's own order. */
void verify_compare_out_of_order(struct verify_compare *compare, uint64_t position);
/* What remains at the source is missing; then count and digest against the checkpoint. */
int verify_compare_end(struct verify_compare *compare, struct verify_result *ret_result,
                       struct failure *ret_failure);

/* ---- verify_journal.c: Baton's journals, read-only ---------------------------------------------- */
/* 1 and the best record; 0 where none knows the session; -EUCLEAN where damage makes it uncertain. */
int verify_journal(const char *state_directory, const char *destination, const char *session,
                   struct journal_entry *ret_entry, struct failure *ret_failure);
/* Before the destination is read: a mover at work may then only be further there than remembered. */
void verify_memory_read(const char *state_directory, const char *destination, const char *session,
                        struct verify_memory *ret_memory);
void verify_memory_compare(const struct verify_memory *memory, struct verify_result *result);

/* ---- verify_sqlite.c, verify_file.c: destinations ----------------------------------------------- */
/* Reads the session's checkpoint and everything of it, at one moment, before the source is read. */
int verify_sqlite(const struct url *url, const struct scheme *scheme, const char *session,
                  struct verify_source *source, struct verify_result *ret_result,
                  struct failure *ret_failure);
int verify_file(const struct url *url, const char *destination, const char *state_directory,
                const char *session, struct verify_source *source, struct verify_result *ret_result,
                struct failure *ret_failure);

/* ---- verify_line.c: one line of a .jsonl file ---------------------------------------------------- */
struct verify_text {
        const char *data; /* raw JSON, in the line */
        size_t bytes;
};
struct verify_line {
        uint64_t position;
        struct verify_text session, key, type, at, payload;
};
/* 0; -EBADMSG where it is no such object. */
int verify_line_parse(const char *text, size_t bytes, struct verify_line *ret_line);
bool verify_line_is_event(const struct verify_line *line, const struct event *event);
bool verify_line_is_session(const struct verify_line *line, const char *session);
/* The digest of the event that it most likely was: JSON keeps no storage classes. */
uint64_t verify_line_digest(const struct verify_line *line, bool is_parked);
