/* SPDX-License-Identifier: Apache-2.0 */
/* The part of one session in a transaction of the pool: prepared before it, run under its own
 * savepoint, finished after the durable commit. Must not touch: the transaction itself (pass.c).
 *
 * We die here:
 *   K3  after the events and the checkpoint are written, before the commit: nothing stands.
 *   K4  after the commit, before the journal: destination with transactions: it is the authority, the
 *       journal lags. A file: its tail beyond the journal is examined by the next owner (M3).
 *   K5  after the journal, before the clean-up: the next owner cleans. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "shm/slot.h"
#include "worker/session.h"

/* The first transaction of an owner is small, so that it is durable soon after a takeover. */
#define FIRST_ROWS 64u
#define FUSED_IDLE_USEC (1 * USEC_PER_SEC)

static bool is_transactional(const struct worker *worker) {
        return worker->destination_ops->flags & DESTINATION_TRANSACTIONAL;
}

/* Another session's attachment that has not been used for a while makes room (at most 10 exist). */
static bool fused_make_room(struct worker *worker, uint64_t now_usec) {
        struct session *oldest = NULL;

        for (struct session *session = worker->sessions; session; session = session->next)
                if (session->fused && !session->is_ready &&
                    now_usec - session->active_usec > FUSED_IDLE_USEC &&
                    (!oldest || session->active_usec < oldest->active_usec))
                        oldest = session;
        if (!oldest)
                return false;
        worker->destination_ops->fused_close(oldest->target);
        oldest->fused = false;
        worker->fused_count--;
        return true;
}

/* False: it was tried in vain, and the row path takes it. */
static bool fused_prepare(struct session *session, uint64_t now_usec) {
        struct worker *worker = session->worker;
        const struct source_config config = { .name = session->entry->config.source,
                                              .url = &session->entry->url,
                                              .scheme = session->entry->scheme };
        struct failure failure;
        int r;

        if (session->fused || !session->claimed || session->suspect || session->row_once ||
            !worker->settings.fused || !worker->destination_ops->fused_open)
                return true;
        r = worker->destination_ops->fused_open(session->target, &config, &failure);
        if (r == -EBUSY && fused_make_room(worker, now_usec))
                r = worker->destination_ops->fused_open(session->target, &config, &failure);
        if (r < 0)
                return false;
        session->fused = true;
        worker->fused_count++;
        return true;
}

static void wait_or_stop(struct session *session, const struct failure *failure) {
        session_watch(session); /* what it waits for may be the source */
        bool is_final = failure->kind == FAILURE_STOP || failure->kind == FAILURE_IDENTITY ||
                        failure->kind == FAILURE_BEHIND ||
                        (failure->kind == FAILURE_SYNC && session->blames_source);

        if (is_final) {
                retry_clear(&session->retry);
                if (failure->kind == FAILURE_SYNC)
                        lost_set(session, failure);
                /* M12: a session that does nothing holds nothing. SQLite cannot detach in a transaction. */
                session->close_due = session->worker->in_transaction;
                if (!session->close_due)
                        session_close_source(session);
                session->adopting = false;
        } else
                retry_again(&session->retry, clock_usec());
        session->second_look = false;
        report_failure(session, failure, is_final);
}

void batch_source_is_lost(struct session *session, const struct failure *failure) {
        assert(failure->kind == FAILURE_SYNC);
        session->blames_source = true;
        wait_or_stop(session, failure);
}

/* A source that cannot be opened holds the movement, not the claim: position and epoch are told. */
static bool source_prepare(struct session *session, struct failure *ret_failure) {
        if (session->source && session->entry->ops->is_stale(session->source))
                session_close_source(session);
        session->held = false;
        if (session_open_source(session, ret_failure) == 0)
                return true;
        session->blames_source = true;
        session->held = true;
        session->failure = *ret_failure;
        return false;
}

static const struct failure source_lost = {
        .kind = FAILURE_SYNC,
        .text = "a sync of the source failed before: what it shows may not be on its disk. Check the disk and the "
                "source (PRAGMA integrity_check), then run `baton adopt` on this session",
};

/* Told by another session of the source, or by an owner before us. What an operator accepted was before it, and what
 * does nothing holds nothing (M12). */
static void stay_lost(struct session *session) {
        session->adopting = session->second_look = false;
        session_close_source(session);
        report_failure(session, &source_lost, true);
}

bool batch_prepare(struct session *session, uint64_t now_usec) {
        struct worker *worker = session->worker;
        struct failure failure = { 0 };

        if (session->status.phase == SESSION_STOPPED && !session->adopting && !session->second_look)
                return false;
        if (lost_is_set(session)) {
                stay_lost(session);
                return false;
        }
        session->changed = session->counts_moved = session->more = false;
        if (!session->target &&
            worker->destination_ops->session_open(worker->destination, session->entry->config.source,
                                                  &session->target, &failure) < 0) {
                wait_or_stop(session, &failure);
                return false;
        }
        if (!source_prepare(session, &failure)) {
                if (!session->claimed)
                        return true;
                wait_or_stop(session, &failure);
                return false;
        }
        if (session->claimed && session->verified && !news_check(session, &failure)) {
                if (failure.kind != FAILURE_NONE)
                        wait_or_stop(session, &failure);
                else
                        report_idle(session);
                return false;
        }
        session->active_usec = now_usec;
        /* What failed may have cost the source its locks (M12): then it is opened anew, too. */
        if (!fused_prepare(session, now_usec) && !source_prepare(session, &failure) && session->claimed) {
                wait_or_stop(session, &failure);
                return false;
        }
        return true;
}

/* Identity and anchor (M4). What differs holds the session; the claim stands all the same. */
static int source_verify(struct session *session, struct failure *ret_failure) {
        int r;

        r = session->verified ? verify_again(session, ret_failure) : verify_source(session, ret_failure);
        if (r >= 0)
                return 0;
        session->blames_source = true;
        session->verified = false;
        if (!session->changed || session->tail_pending)
                return r;
        session->held = true;
        session->failure = *ret_failure;
        return 0;
}

static int batch_steps(struct session *session, struct batch_limits limits, struct failure *ret_failure) {
        bool is_fresh = !session->claimed;
        int r;

        session->blames_source = false;
        if (is_fresh) {
                r = claim_run(session, ret_failure);
                if (r < 0)
                        return r;
                session->changed = true;
                limits.rows = MIN_OF(limits.rows, FIRST_ROWS);
        } else
                session->target_checkpoint = session->checkpoint;
        if (session->held && session->tail_pending) {
                session->blames_source = true;
                *ret_failure = session->failure;
                return -EAGAIN; /* M3: the tail needs the source; claim again when it is there */
        }
        if (session->held)
                return 0;
        r = source_verify(session, ret_failure);
        if (r < 0 || session->held)
                return r;
        memcpy(session->target_checkpoint.source_identity, session->identity, sizeof(session->identity));
        if (session->tail_pending) {
                r = move_tail(session, ret_failure);
                if (r < 0)
                        return r;
        }
        return move_batch(session, &limits, ret_failure);
}

static int batch_try(struct session *session, const struct batch_limits *limits,
                     struct failure *ret_failure) {
        const struct destination_ops *ops = session->worker->destination_ops;
        int r;

        session->changed = session->counts_moved = false;
        session->moved_count = 0;
        session->in_transaction = true;
        r = batch_steps(session, *limits, ret_failure);
        if (r < 0)
                return r;
        if (!session->changed) {
                ops->session_rollback(session->target);
                session->in_transaction = false;
                return 0;
        }
        /* A source that holds the claim (M4) does not answer for its being written. */
        session->blames_source = false;
        return ops->session_end(session->target, &session->target_checkpoint, ret_failure);
}

/* Not the session's fault, but everyone's: the transaction is void. */
static bool is_pool_failure(const struct session *session, const struct failure *failure) {
        if (session->blames_source)
                return false;
        if (!is_transactional(session->worker)) /* each session has a file of its own: a lock, a full disk */
                return failure->kind == FAILURE_SYNC;
        return failure->kind == FAILURE_UNAVAILABLE || failure->kind == FAILURE_FULL ||
               failure->kind == FAILURE_SYNC;
}

static enum batch_outcome batch_void(struct session *session, int r, struct failure *failure) {
        struct worker *worker = session->worker;

        worker->destination_ops->session_rollback(session->target);
        session->in_transaction = false;
        session->verified = false;
        if (r == -EOWNERDEAD ||
            (failure->kind == FAILURE_FENCED &&
             !slot_is_owned_by(worker->segment, session->slot_index, worker->ref, session->epoch))) {
                return BATCH_LOST; /* freed when the transaction is over */
        }
        if (failure->kind == FAILURE_FENCED) { /* fenced, and yet the owner: claim with a higher epoch */
                session_unclaim(session);
                session_set_ready(session);
                return BATCH_FAILED;
        }
        if (is_pool_failure(session, failure))
                return BATCH_POOL_FAILED;
        wait_or_stop(session, failure);
        return BATCH_FAILED;
}

/* M13: on any error of the fused path the row path decides whose it is; but not where the disk is full
 * or a sync failed, which is nobody's event. */
static bool row_path_decides(const struct session *session, int r, const struct failure *failure) {
        if (!session->fused || session->row_once || !session->verified || r == -EOWNERDEAD)
                return false;
        return failure->kind != FAILURE_FENCED && failure->kind != FAILURE_FULL &&
               failure->kind != FAILURE_SYNC;
}

enum batch_outcome batch_run(struct session *session, const struct batch_limits *limits,
                             struct failure *ret_failure) {
        int r;

        for (;;) {
                struct failure failure = { 0 };

                r = session->worker->destination_ops->session_begin(session->target, ret_failure);
                if (r < 0)
                        return BATCH_POOL_FAILED;
                r = batch_try(session, limits, &failure);
                if (r >= 0)
                        return BATCH_DONE;
                if (row_path_decides(session, r, &failure)) {
                        session->worker->destination_ops->session_rollback(session->target);
                        session->in_transaction = false;
                        session->row_once = true;
                        if (r != -EUCLEAN)
                                continue;
                        *ret_failure = failure;
                        return BATCH_POOL_FAILED;
                }
                *ret_failure = failure;
                return batch_void(session, r, ret_failure);
        }
}

void batch_failed(struct session *session, const struct failure *failure) {
        session->in_transaction = false;
        session->verified = false;
        session->blames_source = false;
        wait_or_stop(session, failure);
}

/* With transactions the journal only remembers: its loss stops nothing, but a destination restored from a
 * backup would go unnoticed. Said once; a new file is tried. */
static void journal_is_deaf(struct worker *worker, const struct failure *failure) {
        struct failure again;

        if (!worker->journal_is_deaf)
                log_line(
                        MESSAGE_JOURNAL_DEAF, LOG_WARNING,
                        &(struct log_fields){ .destination = worker->settings.name, .reason = failure->text },
                        "the journal cannot be written: %s. Movement goes on; until it can, an older destination "
                        "would not be noticed",
                        failure->text);
        worker->journal_is_deaf = journal_renew(worker->journal, &again) < 0;
}

/* What its file holds is uncertain: it is examined, or written anew, by the next claim. */
static void give_up_target(struct session *session, const struct failure *failure) {
        struct worker *worker = session->worker;

        if (failure->kind == FAILURE_SYNC)
                latch_set(worker, failure);
        worker->destination_ops->session_close(TAKE(session->target));
        session_unclaim(session);
        session->blames_source = false;
        wait_or_stop(session, failure);
}

/* The journal remembers (with transactions), or is the authority (M3): then a checkpoint that is not in
 * it did not happen, and the file's tail is examined again. */
static int journal_checkpoint(struct session *session, enum journal_type type, struct failure *ret_failure) {
        struct worker *worker = session->worker;
        int r;

        r = journal_append(worker->journal, type, &session->target_checkpoint, ret_failure);
        if (r < 0 && is_transactional(worker))
                journal_is_deaf(worker, ret_failure);
        if (r >= 0 || is_transactional(worker))
                return 0;
        give_up_target(session, ret_failure);
        return r;
}

static int rotate_if_due(struct session *session) {
        const struct destination_ops *ops = session->worker->destination_ops;
        struct failure failure = { 0 };
        int r;

        if (!ops->rotation_due || !ops->rotation_due(session->target))
                return 0;
        session->target_checkpoint = session->checkpoint;
        r = ops->rotate(session->target, &session->target_checkpoint, &failure);
        if (r < 0 && failure.kind == FAILURE_SYNC) {
                give_up_target(session, &failure);
                return r;
        }
        if (r < 0) {
                wait_or_stop(session, &failure);
                return r;
        }
        CRASH_POINT("worker.K6");
        r = journal_checkpoint(session, JOURNAL_ROTATED, &failure);
        if (r >= 0)
                session->checkpoint = session->target_checkpoint;
        return r;
}

bool batch_committed(struct session *session) {
        struct failure failure = { 0 };

        session->in_transaction = false;
        CRASH_POINT("worker.K4");
        if (journal_checkpoint(session, JOURNAL_MOVED, &failure) < 0)
                return false;
        worker_count(&worker_record(session->worker)->event_count, session->moved_count);
        session->checkpoint = session->target_checkpoint;
        session->claimed = true;
        session->row_once = false;
        if (session->verified) /* else the source was not there to be accepted */
                session->adopting = false;
        session_durable_set(session->worker->segment, session->slot_index, session->checkpoint.position);
        fault_passed(session);
        CRASH_POINT("worker.K5");
        if (session->held) {
                /* What the owner before could not; there may be no further commit. */
                session->clean_pending = true;
                session->blames_source = true; /* its return ends the wait (M9) */
                wait_or_stop(session, &session->failure);
                return false;
        }
        retry_clear(&session->retry);
        if (session->counts_moved)
                report_moving(session);
        else if (session->status.phase == SESSION_STOPPED)
                report_resumed(session);
        session_watch(session);
        clean_run(session); /* whatever becomes of the next file, what was moved is durable */
        return rotate_if_due(session) >= 0 && session->status.phase != SESSION_STOPPED;
}
