/* SPDX-License-Identifier: Apache-2.0 */
/* The application: it inserts into outboxes, in its own process, in its own transactions.
 *
 * What event (source, seq) holds is a function of both and of a salt, so that a rewritten one can be told from a lost
 * one. Must not touch: Baton. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "prove/world/world.h"

struct writer_options {
        const char *source;        /* an outbox of the world */
        uint64_t events;           /* stops when so many are committed */
        unsigned per_second;       /* 0: as fast as it can */
        bool normal;               /* synchronous=NORMAL; else FULL */
        bool rollback_journal;     /* journal_mode=DELETE; else WAL */
        unsigned checkpoint_pages; /* wal_autocheckpoint; 0: SQLite's default */
        unsigned salt;             /* what the events hold is a function of this, too: the same numbers, given
                                      * out again after a cut, are other events */
        unsigned transaction_events; /* most in one transaction; 0: 20 */
        bool rolls_back;             /* every seventh transaction */
        bool leaves_gaps;            /* now and then a seq is skipped */
        bool mixes_classes;          /* all storage classes, empty and large values */
        unsigned payload_bytes;      /* 0: 120 */
        bool poisons;                /* every 211th event has WRITER_POISON for its type */
        unsigned pauses_msec;        /* now and then it writes nothing for up to so long */
        unsigned lingers_msec;       /* some transactions hold the write lock for up to so long */
        const volatile bool *stops;  /* shared memory: once true, it commits what it has in hand and ends */
        struct writer_commits *commits; /* shared memory: when each event was committed; NULL: nobody asks */
};

/* Of event seq: [seq % …], 0: not yet. */
#define WRITER_COMMITS_MAX (1U << 18)
struct writer_commits {
        volatile uint64_t at_usec[WRITER_COMMITS_MAX];
};
#define WRITER_POISON "poison"

/* In a process of its own. The writer dies with its parent. */
pid_t writer_start(struct world *world, const struct writer_options *options);
void writer_wait(struct world *world, pid_t writer); /* fails the test if it failed */

/* The same, at once and in one transaction of this process (through a child: SQLite and fork). */
void outbox_fill(struct world *world, const char *source, uint64_t events);
void outbox_fill_options(struct world *world, const struct writer_options *options);
uint64_t outbox_last(struct world *world, const char *source); /* highest seq ever given, 0: none */
/* Any SQL on a database file, in a process of its own; fails the test on an error. */
void database_run(struct world *world, const char *file, const char *sql);
/* The first column of the first row as text, "" if none. */
const char *database_text(struct world *world, const char *file, const char *sql);
int64_t database_number(struct world *world, const char *file, const char *sql);
/* Writes the whole content of `from` into the database `file`, in place. */
void database_restore(struct world *world, const char *file, const char *from);

/* Waits until the session stands at the outbox's last event. */
void wait_moved(struct world *world, const char *session, const char *source);
void wait_all_moved(struct world *world);
