/* SPDX-License-Identifier: Apache-2.0 */
/* baton-checker, the independent judge: what it reads and what it counts.
 *
 * It shares no code with Baton (no base/, no shm/, no worker/): its own SQL, its own JSON, its own
 * digest, so that a mistake in the mover cannot hide in the judge. It only reads. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COLUMN_COUNT 4 /* key, type, at, payload */
#define SESSION_COUNT_MAX 4096
extern const char *const column_names[COLUMN_COUNT];

/* How values are compared: as SQLite stores them (class and bytes), or as the JSON that a line holds. */
enum form { FORM_STORED, FORM_JSON };

struct record {
        int64_t position;
        uint64_t digest;             /* of the whole event, include/baton/event.h; 0 with FORM_JSON */
        uint64_t hash[COLUMN_COUNT]; /* class and content */
        uint8_t class[COLUMN_COUNT]; /* SQLite's storage class, or jansson's type with FORM_JSON */
        bool no_json;                /* FORM_JSON: a column has no JSON form, it must be parked */
        bool is_parked;              /* found among the parked */
        bool is_poison;              /* expected: --parked says that it must be parked */
        char *reason;                /* parked rows only; owned by the list */
};

struct record_list {
        struct record *items;
        size_t count, capacity;
};
void record_add(struct record_list *list, const struct record *record);
void record_list_done(struct record_list *list);
void record_list_sort(struct record_list *list); /* by position; stable enough: equal ones adjoin */

struct checkpoint_row {
        bool present;
        int64_t position, event_count, parked_count;
        uint64_t digest_sum;
};

/* One session: what the source says, and what stands at the destination. */
struct session {
        char name[256];
        const char *source; /* "FILE[:table]"; NULL: unknown session found at the destination */
        const char *ledger; /* the writer's own record; NULL: the source itself is complete */
        struct record_list expected, found, parked;
        struct checkpoint_row checkpoint;
};

struct judgement {
        uint64_t expected, found, missing, duplicated, out_of_order, different, parked, unexpected;
        bool checkpoint_differs;
};

struct check {
        const char *destination; /* after the scheme */
        enum form form;
        bool is_final;
        const char *poison; /* --parked: SQL over a source's row; NULL: what may be parked is not known */
        bool destination_is_damaged; /* a torn or meaningless line */
        struct session *sessions;
        size_t session_count;
};

/* The session of that name; a new one without a source where it is unknown. */
struct session *check_session(struct check *check, const char *name, size_t name_bytes);

/* Readers. 0, or -1 after a sentence on stderr. */
int read_source(struct check *check, struct session *session);
int read_sqlite_destination(struct check *check);
int read_file_destination(struct check *check);

/* Counts; prints what is wrong, at most a few lines of each sort, and the session's line. */
bool judge(const struct check *check, const struct session *session, struct judgement *ret_judgement);

/* record.c: one value into a record's column. */
void record_stored(struct record *record, int column, int class, const void *data, size_t bytes,
                   int64_t integer, double real);
void record_json_text(struct record *record, int column, const char *canonical, uint8_t json_type);
void record_json_payload(struct record *record, int column, const void *data, size_t bytes);
/* The same value as the JSON lines show it. */
void record_stored_as_json(struct record *record, int column, int class, const void *data, size_t bytes,
                           int64_t integer, double real);
uint64_t record_digest_start(int64_t position);
