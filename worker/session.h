/* SPDX-License-Identifier: Apache-2.0 */
/* One session that this worker owns: what the mover knows of it between two batches.
 * Must not touch: another session's record. Mover thread only. */
#pragma once

#include "worker/worker.h"

struct session {
        struct worker *worker;
        uint32_t slot_index;
        uint64_t epoch;
        struct roster_entry *entry; /* its own */

        struct source *source; /* NULL: closed (budget) or not there */
        struct destination_session *target;
        bool claimed;                  /* fenced at this epoch, checkpoint read (M2) */
        bool verified;                 /* identity and anchor of the open source compared (M4) */
        bool fused;                    /* attached to the destination */
        char identity[IDENTITY_BYTES]; /* of the source that was verified */
        bool adopting;                 /* the operator accepted source or destination as they are */
        bool clean_pending;            /* there may be something to clean at the source … */
        uint64_t clean_at_usec;        /* … to be tried again then */
        bool tail_pending;             /* M3: bytes beyond the recorded length wait for the source */
        struct checkpoint checkpoint;  /* durable; valid once claimed */

        struct session_status status; /* as published last */
        struct failure failure;       /* why it is waiting or stopped */
        struct retry retry;
        uint64_t adopt_done;

        /* M6 */
        uint64_t fault_position;
        uint32_t fault_deaths, unknown_deaths;
        bool suspect;
        uint64_t suspect_until;
        bool close_due; /* the source is to be closed once the transaction is over */

        /* M9 */
        struct wake_watches watches;
        bool is_watched;
        uint64_t fingerprint;  /* of all its files at the last sweep */
        uint64_t opened_stamp; /* of the source's own file when it was opened */
        bool second_look;      /* stopped for its identity, but the files changed: compare again */
        bool is_rechecked;     /* there was news, and nothing came of it yet */
        bool is_looked;        /* the last look found nothing, behind and before looked_position */
        uint64_t looked_position;
        bool is_settled; /* when the source was closed, no commit was under way in its files */
        uint64_t recheck_at_usec, news_usec;
        uint64_t active_usec, lag_at_usec;

        bool is_ready;
        struct session *next, *previous; /* of worker->sessions */
        struct session *ready_next;

        /* The batch in hand; valid inside one pass. */
        struct checkpoint target_checkpoint;
        bool in_transaction;  /* its part of the transaction stands */
        bool changed;         /* … and holds something to commit */
        bool more;            /* it stopped at a limit */
        bool row_once;        /* the fused path failed: take the row path, which can name the culprit */
        bool blames_source;   /* the failure is the source's: the other sessions go on */
        bool counts_moved;    /* events were stepped over … */
        uint64_t moved_count; /* … so many */
        bool held;            /* the claim stands, but nothing may be moved: session->failure says why */
};

/* session.c: taking a slot that is ours, giving it up. */
int session_new(struct worker *worker, uint32_t slot_index, uint64_t epoch, struct roster_entry *entry,
                struct session **ret_session);
/* Closes everything; frees. The slot is not touched. */
void session_free(struct session *session);
/* Gives the slot to to_ref (0: to nobody) and frees the session. Between batches only. */
void session_hand_over(struct session *session, uint64_t to_ref);
/* Begins to watch the source's files, once. */
void session_watch(struct session *session);
/* The sweep's look: does the path lead where it led, is everything watched? */
void session_watch_again(struct session *session);
/* Closes source and attachment (LRU, replaced file); the next use opens them again. */
void session_close_source(struct session *session);
/* Opens the source if it is not. */
int session_open_source(struct session *session, struct failure *ret_failure);
/* Puts it at the end of the ready queue, once. */
void session_set_ready(struct session *session);
/* Forgets the claim: the next transaction fences and reads again. */
void session_unclaim(struct session *session);

/* look.c: a slot changed: take it, release it, reload it, adopt. */
void look_at_slot(struct worker *worker, uint32_t slot_index);

/* claim.c: M1–M3. Inside the transaction, after session_begin(). Fills session->target_checkpoint.
 * -EOWNERDEAD: the slot is no longer ours, drop the session. */
int claim_run(struct session *session, struct failure *ret_failure);
/* verify.c: M4: compares the open source with target_checkpoint, or accepts it (`adopt`). */
int verify_source(struct session *session, struct failure *ret_failure);
/* The anchor alone, before each batch: a table that was emptied under us is noticed at once. */
int verify_again(struct session *session, struct failure *ret_failure);

/* move.c: one batch of one session, inside the transaction. */
int move_batch(struct session *session, const struct batch_limits *limits, struct failure *ret_failure);
/* M3 (4): whole lines of known events beyond the recorded length are adopted, the rest is cut. */
int move_tail(struct session *session, struct failure *ret_failure);

/* batch.c: the part of one session in a transaction. */
enum batch_outcome {
        BATCH_DONE,        /* its part stands, changed or not */
        BATCH_FAILED,      /* rolled back, reported; the others go on */
        BATCH_LOST,        /* not ours any more: freed */
        BATCH_POOL_FAILED, /* the destination failed: the whole transaction is void */
};
enum batch_outcome batch_run(struct session *session, const struct batch_limits *limits,
                             struct failure *ret_failure);
/* After the durable commit: the checkpoint is ours to remember, tell, and clean up to. True if the session
 * goes on; else it waits or has stopped. */
bool batch_committed(struct session *session);
/* The session's part is void; the failure is told, and it waits or stops. */
void batch_failed(struct session *session, const struct failure *failure);
/* M7: a sync of the source failed, outside of a batch: stopped and told, with all other sessions of the source. */
void batch_source_is_lost(struct session *session, const struct failure *failure);
/* Before the transaction: source open, attached, something there? False: leave it out. */
bool batch_prepare(struct session *session, uint64_t now_usec);

/* pass.c: one transaction over the sessions that are ready. */
void pass_run(struct worker *worker);

/* fault.c: M6, what deaths of owners before say about the next event. */
void fault_learn(struct session *session);
bool fault_is_isolated(const struct session *session, uint64_t position);
bool fault_must_park(const struct session *session, uint64_t position);
bool fault_must_stop(const struct session *session, uint64_t position);
void fault_note(struct session *session, uint64_t position, bool is_exact);
void fault_note_clear(struct worker *worker);
void fault_passed(struct session *session);
void fault_forget(struct session *session); /* the operator says: try again */

/* lost.c: M7 at the source: pages of it may be lost. Kept in segment and state directory, for every session
 * of the source, until an operator adopts it. */
void lost_set(struct session *session, const struct failure *failure);
bool lost_is_set(const struct session *session);
void lost_clear(struct session *session);
/* A session begins: segment and state directory tell each other what only one of them knows (K7). */
void lost_restore(struct session *session);

/* report.c: what the others see of it. */
void report_moving(struct session *session);
void report_resumed(struct session *session);
void report_idle(struct session *session);
void report_failure(struct session *session, const struct failure *failure, bool is_final);
void report_lag(struct session *session, uint64_t now_usec);

/* news.c: does the source have something? Wakes, rechecks, safety polls. */
void news_from_source(struct session *session, void *context);
/* The watch is new: what was written just before it may become visible just after the next look. */
void news_before_watch(struct session *session);
/* True if a batch should be tried now; sets the next recheck otherwise. */
bool news_check(struct session *session, struct failure *ret_failure);
void news_sweep(struct worker *worker, uint64_t now_usec);
/* Queues what is due; returns the earliest time at which something will be. */
uint64_t news_deadline(struct worker *worker, uint64_t now_usec);

/* latch.c: M7. */
void latch_set(struct worker *worker, const struct failure *failure);
int latch_clear(struct worker *worker, struct failure *ret_failure);
void latch_restore(struct worker *worker); /* at start: what a worker before us left latched */
bool latch_is_set(const struct worker *worker);

/* clean.c: M14. After a commit; and what had to wait, for which the source must be open. */
void clean_run(struct session *session);
/* Something had to wait, and nothing holds it any more: worth opening the source for. */
bool clean_is_due(const struct session *session);
/* Runs what is due of all sessions; returns when the next is. */
uint64_t clean_deadline(struct worker *worker, uint64_t now_usec);

/* target.c: the destination's handle: open, replaced, gone. */
int target_open(struct worker *worker, struct failure *ret_failure);
void target_close(struct worker *worker);
