/* SPDX-License-Identifier: Apache-2.0 */
/* The segment's specification: a file on tmpfs, RUNTIME/segment, that every role maps. A reading tool
 * needs this header and nothing else.
 *
 * File = header | pools | workers | slots | configs | statuses | inboxes, each array at its offset,
 * every element a multiple of a cache line, indexes instead of pointers. One cache line has one
 * writer, named at the field; "locked" means under the mutex named there. Fields without _Atomic are
 * written before publication, or locked, or inside a sequence (see `sequence` words).
 * Texts are NUL-terminated UTF-8; a reader bounds every index and checks every terminator (P1).
 *
 * Words: a `worker_ref` is generation << 16 | worker index, 0 = nobody (generations begin at 1).
 * Times are CLOCK_MONOTONIC microseconds, `_realtime_usec` wall time. No errno is stored anywhere. */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <assert.h>

#define LAYOUT_MAGIC 0x47455346424e5442ULL /* "BTNBFSEG" */

/* What each layout has over the one before it. A program works in segments of two: of LAYOUT_NUMBER, which it makes, and
 * of the one before (L1; README.md, "Changing the layout").
 *   1  the first
 *   2  words in what was padding in 1, and zero there: header: refused_sequence, refused; worker: watched_ref,
 *      confinement, renewal_ref
 * LAYOUT_NEXT is a build for tests, of a layout that does not exist yet: four elements have one more line. */
#define LAYOUT_OF_CONFINEMENT 2u /* the first in which whoever takes an entry over clears that word (L3) */
#ifndef LAYOUT_NEXT
#define LAYOUT_NUMBER 2u
/* The one before: its number; bytes of a pool, a worker, a slot, a config, a status. */
#define LAYOUT_BEFORE 1, 1536, 384, 192, 1280, 640
#define LAYOUT_NEXT_LINES 0
#define LAYOUT_NEXT_LINE
#else
#define LAYOUT_NUMBER 3u
#define LAYOUT_BEFORE 2, 1536, 384, 192, 1280, 640
#define LAYOUT_NEXT_LINES 1
#define LAYOUT_NEXT_LINE LAYOUT_LINE_ALIGNED _Atomic uint64_t next_word;
#endif

#define LAYOUT_LINE 64
#define LAYOUT_NAME_BYTES 64
#define LAYOUT_URL_BYTES 1024
#define LAYOUT_REASON_BYTES 384
#define LAYOUT_INSTANCE_BYTES 16

#define LAYOUT_POOL_COUNT_MAX 64u
#define LAYOUT_WORKER_COUNT_MAX 256u
#define LAYOUT_SLOT_COUNT_MAX 65536u
#define LAYOUT_WORKER_COUNT_DEFAULT 64u
#define LAYOUT_SLOT_COUNT_DEFAULT 4096u
#define LAYOUT_NONE UINT32_MAX /* "no index" */

#define LAYOUT_LINE_ALIGNED __attribute__((aligned(LAYOUT_LINE)))

/* ---- header: written by the supervisor alone ------------------------------------------------ */
struct layout_header {
        _Atomic uint64_t magic; /* published last, release; pairs with segment_open() */
        uint32_t layout_number;
        uint32_t header_bytes;
        uint32_t pool_bytes, worker_bytes, slot_bytes, config_bytes, status_bytes, mutex_bytes;
        uint32_t pool_count, worker_count, slot_count;
        uint32_t inbox_words; /* 64-bit words of one worker's inbox */
        uint64_t pool_offset, worker_offset, slot_offset, config_offset, status_offset, inbox_offset;
        uint64_t segment_bytes;
        uint8_t instance[LAYOUT_INSTANCE_BYTES];
        uint8_t boot_id[16];
        uint64_t epoch_base; /* epochs in this segment are above it (S11) */
        uint64_t created_realtime_usec;

        LAYOUT_LINE_ALIGNED _Atomic uint32_t supervisor_pid; /* 0: none */
        _Atomic uint32_t slot_used; /* high-water mark: slots at and above were never used */
        _Atomic uint64_t supervisor_start_ticks;
        _Atomic uint64_t supervisor_beat_usec; /* turns of its loop, about 1/s */
        _Atomic uint64_t config_generation;    /* +1 at each (re)load; read by `reload` */
        _Atomic uint64_t stall_timeout_usec;
        _Atomic uint64_t adopt_timeout_usec;
        _Atomic uint32_t stopping; /* 1: drain everything and leave (SIGTERM) */

        /* Any role: S11, a shared mutex whose holder is dead but never said so. Once 1, never 0. */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t condemned;

        /* The supervisor alone, behind the sequence (S10): why it goes on with another configuration than the one
         * that stands in the file; "" where it does not. */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t refused_sequence;
        char refused[LAYOUT_REASON_BYTES];
};

/* ---- pools: one destination each ------------------------------------------------------------ */
enum pool_state { POOL_FREE = 0, POOL_ACTIVE = 1, POOL_LEAVING = 2 };

struct layout_pool {
        /* Rank 10. Membership, takeover. Locked words: mutex_holder …, takeover_* */
        LAYOUT_LINE_ALIGNED pthread_mutex_t mutex;
        _Atomic uint64_t mutex_holder_ref; /* 0: free. Written by the holder (S3) */
        _Atomic uint64_t mutex_since_usec;

        /* Rank 5. The turn at a destination with one writer: held by a mover across one transaction,
         * with I/O under it (the only lock with that right), released or robust. */
        LAYOUT_LINE_ALIGNED pthread_mutex_t turn;
        _Atomic uint64_t turn_holder_ref;
        _Atomic uint64_t turn_since_usec;
        LAYOUT_LINE_ALIGNED _Atomic uint32_t turn_waiters; /* movers; fairness, see turn.c */
        _Atomic uint32_t turn_served;                      /* futex: +1 at each acquisition */

        /* Membership: any worker of the pool, +1 at each join, leave, death. A futex: takeover
         * threads wait on it together with the life words (life.c). */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t member_version;

        /* Written under the mutex, the count last (release); who reads them without it reads the count first
         * (acquire), and then has words of that takeover or of a later one. */
        LAYOUT_LINE_ALIGNED _Atomic uint64_t takeover_count; /* takeovers that found a death */
        _Atomic uint64_t takeover_slots;                     /* slots given by them */
        _Atomic uint64_t takeover_last_usec;                 /* when the last one ended */
        _Atomic uint64_t takeover_last_span_usec;            /* from the look to the last slot owned */
        _Atomic uint64_t takeover_last_ref;                  /* the dead */
        _Atomic uint64_t takeover_by_ref;
        /* Locked by mutex. */
        uint32_t hints_owed; /* 1: an owner was changed and perhaps not told (its changer died); the next look
                              * tells everyone */

        /* Movers, any: M7 latch. 1 = a sync failed; set to 0 by the mover that resynced, if none failed since
         * it began. The failures of all movers are counted, ever, so that none is taken for another. */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t latched;
        _Atomic uint32_t sync_failures;

        /* Supervisor alone; `sequence` odd while it writes, config_read() retries. */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t sequence;
        _Atomic uint32_t state; /* enum pool_state */
        _Atomic uint32_t workers_wanted;
        uint32_t batch_rows;
        uint64_t batch_bytes;
        uint64_t batch_usec;
        uint64_t parked_limit; /* M6 budget for each session; 0 = none may be parked */
        uint32_t cores;        /* 1: workers may write cores (P6) */
        uint32_t fused;        /* 1: take the fused path where it exists (M13) */
        char name[LAYOUT_NAME_BYTES];
        char url[LAYOUT_URL_BYTES];
        LAYOUT_NEXT_LINE
};

/* ---- workers -------------------------------------------------------------------------------- */
/* The life word: generation << 8 | enum life. CAS only; whoever changes it rings member_version.
 *   FREE → ENTERING (joiner, pool mutex) → LIVE (joiner, life mutex held) → LEFT (itself, orderly) → FREE
 *                       LIVE, ENTERING, LEFT → DEAD (a taker, with proof) → FREE (taker, complete)
 *   DEAD, FREE → ABANDONED: its life mutex cannot be mended; the entry is never used again. */
enum life {
        LIFE_FREE = 0,
        LIFE_ENTERING = 1,
        LIFE_LIVE = 2,
        LIFE_LEFT = 3,
        LIFE_DEAD = 4,
        LIFE_ABANDONED = 5,
        LIFE_COUNT
};

struct layout_worker {
        /* S1: held by the mover's thread from entry to the end of the process. */
        LAYOUT_LINE_ALIGNED pthread_mutex_t life_mutex;
        _Atomic uint64_t life;

        /* The worker, before LIVE. A taker reads it after LIVE (acquire on `life`). */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t pid;
        _Atomic uint32_t pool_index;
        _Atomic uint64_t start_ticks;
        _Atomic uint64_t entered_usec;
        _Atomic uint32_t takeover_is_fifo; /* 1: the takeover thread got SCHED_FIFO */
        _Atomic int32_t nice;

        /* Supervisor alone. */
        LAYOUT_LINE_ALIGNED _Atomic uint64_t ping; /* +1 each; the mover answers in `pong` */
        _Atomic uint64_t ping_usec;
        _Atomic uint64_t drain_ref;   /* = this worker's ref: drain and leave */
        _Atomic uint64_t watched_ref; /* the worker whose end is not told yet; 0: nobody */

        /* Anyone rings: the doorbell (S12). A futex; +1 each ring. */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t doorbell;

        /* The mover alone. */
        LAYOUT_LINE_ALIGNED _Atomic uint64_t pong;
        _Atomic uint64_t pong_usec;
        _Atomic uint64_t transaction_since_usec; /* 0: in none */
        _Atomic uint64_t commit_count;
        _Atomic uint64_t event_count;
        _Atomic uint64_t sync_count;
        _Atomic uint32_t phase;       /* enum worker_phase */
        _Atomic uint32_t confinement; /* enum worker_confinement; set before the first event is touched */
        /* P7: = this worker's ref: it was confined before a directory that it needs was there, and asks for another
         * in its place. Any other value says nothing. */
        _Atomic uint64_t renewal_ref;

        /* M6: what the mover is about to touch. Written before, cleared after. Mover alone. */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t note_slot; /* slot index, LAYOUT_NONE = nothing */
        _Atomic uint32_t note_is_exact; /* 1: position is the row in hand (row path); 0: a batch after it */
        _Atomic uint64_t note_position;
        _Atomic uint32_t fault_signal; /* of its own doing: SEGV, BUS, ILL, FPE, ABRT, SYS */
        LAYOUT_NEXT_LINE
};
enum worker_phase {
        PHASE_STARTING = 0,
        PHASE_IDLE,
        PHASE_READING,
        PHASE_WRITING,
        PHASE_COMMITTING, /* or syncing a source before it (M11): no event is in hand */
        PHASE_WAITING,
        PHASE_DRAINING,
        PHASE_COUNT
};
enum worker_confinement { /* P7; input like all of it: what is none of these is UNSAID */
                          CONFINEMENT_UNSAID = 0,
                          CONFINEMENT_FILES = 1,   /* to its own sources, its destination and STATE */
                          CONFINEMENT_ABSENT = 2,  /* the kernel has no Landlock */
                          CONFINEMENT_REFUSED = 3, /* it has, and does not let this process use it */
};

/* ---- slots: ownership, hot; nothing here but what a takeover needs --------------------------- */
enum slot_state {
        SLOT_FREE = 0,   /* no session */
        SLOT_ORPHAN = 1, /* a session without an owner */
        SLOT_OWNED = 2,
        SLOT_STATE_COUNT
};

struct layout_slot {
        /* Rank 20; robust. Locked: state, owner_ref, epoch, owned_since_usec, previous_ref, take_count. */
        LAYOUT_LINE_ALIGNED pthread_mutex_t mutex;
        _Atomic uint64_t owner_ref; /* 0 unless SLOT_OWNED. Locked; read without */
        _Atomic uint64_t epoch;     /* grows by ≥ 1 at each change of owner */
        _Atomic uint32_t state;
        /* S4: +1 before an orphan's content is touched, 0 after; at 3 quarantined = 1, for ever. */
        _Atomic uint32_t orphan_attempts;

        LAYOUT_LINE_ALIGNED _Atomic uint64_t owned_since_usec;
        _Atomic uint64_t previous_ref; /* who owned it before */
        _Atomic uint64_t take_count;   /* changes of owner */
        _Atomic uint32_t taken_by;     /* enum slot_take */
        _Atomic uint32_t quarantined;
        /* Locked. What the dead owner was about to touch, copied by the taker from its worker record
         * before that can be used again (M6); the new owner's mover reads it once and clears it. */
        _Atomic uint32_t death_note;   /* enum death_note */
        _Atomic uint32_t death_signal; /* 0: unknown, or sent by another */
        _Atomic uint64_t death_position;

        /* Supervisor alone (S5); a taker reads each once and validates. */
        LAYOUT_LINE_ALIGNED _Atomic uint32_t wanted; /* 1: this slot has a session that should run */
        _Atomic uint32_t pool_index;
        _Atomic uint64_t assigned_ref;
        _Atomic uint64_t heir_ref;
        _Atomic uint64_t adopt_request; /* +1 at each `baton adopt` */
        LAYOUT_NEXT_LINE
};
enum death_note { DEATH_NONE = 0, DEATH_IN_BATCH = 1 /* after position */, DEATH_ON_EVENT = 2 /* at it */ };
enum slot_take { TAKE_ASSIGNED = 1, TAKE_HANDOVER = 2, TAKE_HEIR = 3, TAKE_BALANCE = 4 };

/* ---- configs: what a worker needs to run the session (P4). Supervisor alone ------------------ */
struct layout_config {
        LAYOUT_LINE_ALIGNED _Atomic uint32_t sequence; /* odd while written; changes = reread */
        uint32_t sibling_slot;               /* M14: ring over all sessions of this source; itself if alone */
        char session[LAYOUT_NAME_BYTES * 2]; /* as shown: "orders" or "orders/events" */
        char source[LAYOUT_NAME_BYTES];      /* the source's name = the durable session name */
        char url[LAYOUT_URL_BYTES];          /* of the source */
};

/* ---- statuses: what the mover says of the session. The owner's mover alone ------------------- */
enum session_phase {
        SESSION_STARTING = 0,
        SESSION_IDLE,
        SESSION_MOVING,
        SESSION_WAITING /* retrying: reason */,
        SESSION_STOPPED /* reason */,
        SESSION_PHASE_COUNT
};

struct layout_status {
        LAYOUT_LINE_ALIGNED _Atomic uint32_t sequence; /* odd while written; bounded retries (S10) */
        uint32_t phase;                                /* enum session_phase */
        uint32_t failure_kind;                         /* enum failure_kind (base/failure.h) */
        uint32_t path;                                 /* 0 none yet, 1 row, 2 fused */
        uint64_t epoch;                                /* of the writer */
        uint64_t position;    /* UINT64_MAX: unknown, this owner has not read the checkpoint; */
        uint64_t event_count; /* of all owners (from the checkpoint); UINT64_MAX: unknown */
        uint64_t digest_sum;
        uint64_t parked_count;          /* UINT64_MAX: unknown */
        uint64_t lag_events, lag_bytes; /* UINT64_MAX: unknown */
        uint64_t oldest_realtime_usec;  /* of the oldest waiting event; UINT64_MAX: unknown */
        uint64_t waiting_since_usec;    /* events wait since; 0: none wait */
        uint64_t commit_last_usec;      /* 0: none yet by this owner */
        uint64_t retry_at_usec;         /* SESSION_WAITING; 0 otherwise */
        uint64_t adopt_done;            /* last adopt_request handled */
        char reason[LAYOUT_REASON_BYTES];

        /* M14: what siblings may clean up to: durable at this destination. `check` = ~position ^ epoch
         * word: a torn or foreign value holds the clean-up. Owner's mover, any reader. */
        LAYOUT_LINE_ALIGNED _Atomic uint64_t durable_position;
        _Atomic uint64_t durable_check; /* ~durable_position */

        /* M6: kept across owners; written by the owner's mover alone, validated by the next. */
        LAYOUT_LINE_ALIGNED _Atomic uint64_t fault_position; /* event that was in hand at a death; 0 none */
        _Atomic uint32_t fault_deaths;                       /* deaths by own fault on it alone */
        _Atomic uint32_t unknown_deaths;                     /* sent by another, or unknown, on it alone */
        _Atomic uint32_t source_sync_failed; /* 1: M7 at the source; until an operator adopts it. Set by the
                                              * owner of any session of the source, cleared by this one's */
        _Atomic uint64_t suspect_until;      /* the end of the batch that a fault died in */
        _Atomic uint32_t suspect;            /* 1: take the row path, one event at a time */
        LAYOUT_NEXT_LINE
};

/* ---- inboxes: inbox_words × 64 bits for each worker: "look at this slot" hints (S12) ---------- */

#define LAYOUT_HEADER_BYTES 4096u

static_assert(sizeof(struct layout_header) <= LAYOUT_HEADER_BYTES, "header fits its page");
static_assert(offsetof(struct layout_worker, life) < LAYOUT_LINE, "life word beside its mutex");
/* Another size is another layout (L2): first the number, then these. */
static_assert(sizeof(struct layout_pool) == (24 + LAYOUT_NEXT_LINES) * LAYOUT_LINE, "layout 2");
static_assert(sizeof(struct layout_worker) == (6 + LAYOUT_NEXT_LINES) * LAYOUT_LINE, "one line per writer");
static_assert(sizeof(struct layout_slot) == (3 + LAYOUT_NEXT_LINES) * LAYOUT_LINE,
              "mutex and owner, history, supervisor");
static_assert(sizeof(struct layout_config) == 20 * LAYOUT_LINE, "layout 2");
static_assert(sizeof(struct layout_status) == (10 + LAYOUT_NEXT_LINES) * LAYOUT_LINE, "layout 2");
