/* SPDX-License-Identifier: Apache-2.0 */
/* One transaction of the pool: the sessions that are ready together share it, each under its own
 * savepoint; commit; then, and only then, journal, status and clean-up.
 * Must not touch: a session's checkpoint (batch.c). */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "shm/turn.h"
#include "worker/session.h"

#define PASS_SESSIONS 64u
/* S8: sources that stay open; sources that wait for their turn with more to move may be as many again. */
#define SOURCE_BUDGET 32u

struct pass {
        struct worker *worker;
        struct session *sessions[PASS_SESSIONS]; /* NULL: out of the transaction */
        struct session *out[PASS_SESSIONS];      /* failed or lost: closed or freed when it is over */
        bool is_lost[PASS_SESSIONS];
        size_t count, out_count;
};

static struct session *ready_take(struct worker *worker) {
        struct session *session = worker->ready_first;

        if (!session)
                return NULL;
        worker->ready_first = session->ready_next;
        if (!worker->ready_first)
                worker->ready_last = NULL;
        session->ready_next = NULL;
        session->is_ready = false;
        return session;
}

static void transaction_mark(struct worker *worker, uint64_t since_usec) {
        atomic_store_explicit(&worker_record(worker)->transaction_since_usec, since_usec,
                              memory_order_relaxed);
}

/* The one to close first: of the idle ones who was active the longest ago. Of those in the queue who was
 * active last: it stands at the end and is needed last. */
static struct session *source_to_close(const struct worker *worker, bool is_ready) {
        struct session *found = NULL;

        for (struct session *session = worker->sessions; session; session = session->next) {
                if (!session->source || session->is_ready != is_ready)
                        continue;
                if (!found || (session->active_usec < found->active_usec) != is_ready)
                        found = session;
        }
        return found;
}

/* S8: of sources, the most recently active ones stay open. */
static void trim_sources(struct worker *worker) {
        struct session *session;

        while (worker->open_source_count > SOURCE_BUDGET && (session = source_to_close(worker, false)))
                session_close_source(session);
        while (worker->open_source_count > 2 * SOURCE_BUDGET && (session = source_to_close(worker, true)))
                session_close_source(session);
}

static void choose(struct pass *pass) {
        struct worker *worker = pass->worker;
        uint64_t now_usec = clock_usec();
        struct session *session;

        worker_phase(worker, PHASE_READING);
        for (size_t looks = 0; looks < 2 * PASS_SESSIONS && pass->count < PASS_SESSIONS; looks++) {
                session = ready_take(worker);
                if (!session)
                        break;
                (void) worker_pulse(worker);
                if (batch_prepare(session, now_usec))
                        pass->sessions[pass->count++] = session;
        }
}

static bool has_unclaimed(const struct pass *pass) {
        for (size_t i = 0; i < pass->count; i++)
                if (!pass->sessions[i]->claimed)
                        return true;
        return false;
}

/* M2, M3: what the journals know, before the first claim. What they say of themselves is logged once. */
static int journals_load(struct pass *pass, struct failure *ret_failure) {
        struct worker *worker = pass->worker;
        int r;

        if (!has_unclaimed(pass))
                return 0;
        r = journal_table_load(worker->directories.state, worker->settings.name, worker->instance,
                               !(worker->destination_ops->flags & DESTINATION_TRANSACTIONAL),
                               &worker->journal_table, ret_failure);
        if (!worker->journal_table)
                return r;
        for (uint32_t i = 0; i < journal_table_finding_count(worker->journal_table); i++)
                log_line(MESSAGE_JOURNAL_FINDING, LOG_NOTICE,
                         &(struct log_fields){ .destination = worker->settings.name }, "%s",
                         journal_table_finding(worker->journal_table, i));
        return r;
}

static int transaction_begin(struct worker *worker, struct failure *ret_failure) {
        int r;

        if (worker->destination_ops->flags & DESTINATION_ONE_WRITER) {
                worker_phase(worker, PHASE_WAITING);
                r = turn_take(worker->segment, worker->pool_index, worker->ref, worker_pulse, worker);
                if (r < 0)
                        return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                           "the turn at destination %s was not to be had: %s",
                                           worker->settings.name, strerror(-r));
                worker->turn_held = true;
        }
        worker_phase(worker, PHASE_WRITING);
        r = worker->destination_ops->begin(worker->destination, ret_failure);
        if (r < 0)
                return r;
        transaction_mark(worker, clock_usec());
        worker->in_transaction = true;
        return 0;
}

static void transaction_over(struct pass *pass) {
        struct worker *worker = pass->worker;

        worker->in_transaction = false;
        transaction_mark(worker, 0);
        fault_note_clear(worker);
        if (worker->turn_held)
                turn_give(worker->segment, worker->pool_index, worker->ref);
        worker->turn_held = false;
        for (size_t i = 0; i < pass->out_count; i++)
                if (pass->is_lost[i])
                        session_free(pass->out[i]);
                else if (pass->out[i]->close_due) {
                        pass->out[i]->close_due = false;
                        session_close_source(pass->out[i]);
                }
        pass->out_count = 0;
}

static void transaction_void(struct pass *pass, const struct failure *failure) {
        struct worker *worker = pass->worker;
        bool is_draining = atomic_load(&worker->draining) != DRAIN_NO;

        for (size_t i = 0; i < pass->count; i++)
                if (pass->sessions[i] && pass->sessions[i]->in_transaction)
                        worker->destination_ops->session_rollback(pass->sessions[i]->target);
        worker->destination_ops->rollback(worker->destination);
        transaction_over(pass);
        for (size_t i = 0; i < pass->count; i++) {
                if (!pass->sessions[i])
                        continue;
                if (is_draining) /* cut short by ourselves: nothing to tell */
                        pass->sessions[i]->in_transaction = false;
                else
                        batch_failed(pass->sessions[i], failure);
        }
        if (failure->kind == FAILURE_SYNC) {
                latch_set(worker, failure);
                target_close(worker);
        }
}

static void put_out(struct pass *pass, size_t i, bool is_lost) {
        assert(pass->out_count < PASS_SESSIONS);

        pass->is_lost[pass->out_count] = is_lost;
        pass->out[pass->out_count++] = TAKE(pass->sessions[i]);
}

static int run_batches(struct pass *pass, struct failure *ret_failure) {
        struct worker *worker = pass->worker;
        struct batch_limits limits = { .rows = worker->settings.batch_rows,
                                       .bytes = worker->settings.batch_bytes,
                                       .deadline_usec = clock_usec() + worker->settings.batch_usec };
        bool changed = false;

        for (size_t i = 0; i < pass->count; i++) {
                struct session *session = pass->sessions[i];
                enum batch_outcome outcome;

                (void) worker_pulse(worker);
                /* The first always runs. Claims are bounded too: many slow sources make no long turn. */
                if (i > 0 && clock_usec() >= limits.deadline_usec) {
                        session_set_ready(session); /* the next transaction */
                        pass->sessions[i] = NULL;
                        continue;
                }
                outcome = batch_run(session, &limits, ret_failure);
                if (outcome == BATCH_POOL_FAILED)
                        return -EIO;
                changed = changed || (outcome == BATCH_DONE && session->changed);
                if (outcome != BATCH_DONE)
                        put_out(pass, i, outcome == BATCH_LOST);
        }
        return changed;
}

/* What was moved to its end is looked at once more now, so that its source can be closed (S8); else it
 * queues again. */
static void queue_or_idle(struct session *session) {
        struct failure failure = { 0 };

        if (!session->more && session->source && session->claimed && session->verified && !session->held &&
            !news_check(session, &failure) && failure.kind == FAILURE_NONE)
                report_idle(session);
        else
                session_set_ready(session);
}

static void finish(struct pass *pass) {
        uint64_t now_usec;

        for (size_t i = 0; i < pass->count; i++) {
                struct session *session = pass->sessions[i];

                if (!session)
                        continue;
                (void) worker_pulse(pass->worker);
                if (!session->changed)
                        session->in_transaction = false; /* nothing found inside */
                else if (!batch_committed(session))
                        continue;
                queue_or_idle(session);
        }
        now_usec = clock_usec();
        for (size_t i = 0; i < pass->count; i++) {
                if (!pass->sessions[i])
                        continue;
                (void) worker_pulse(pass->worker);
                report_lag(pass->sessions[i], now_usec);
        }
}

static void pass_commit(struct pass *pass, bool changed) {
        struct worker *worker = pass->worker;
        struct failure failure = { 0 };
        int r;

        if (!changed) {
                worker->destination_ops->rollback(worker->destination);
                transaction_over(pass);
                finish(pass);
                return;
        }
        worker_phase(worker, PHASE_COMMITTING);
        CRASH_POINT("worker.K3");
        r = worker->destination_ops->commit(worker->destination, &failure);
        if (r < 0) {
                transaction_void(pass, &failure);
                return;
        }
        transaction_over(pass);
        worker_count(&worker_record(worker)->commit_count, 1);
        worker_count(&worker_record(worker)->sync_count, 1);
        finish(pass);
}

/* The destination cannot be used now: every session that is ready says so and waits with it. */
static void hold_all(struct worker *worker, const struct failure *failure) {
        struct session *session;

        while ((session = ready_take(worker))) {
                if (session->status.phase == SESSION_STOPPED && !session->second_look && !session->adopting)
                        continue;
                session->blames_source = false;
                report_failure(session, failure, failure->kind == FAILURE_STOP);
                session->second_look = true; /* stopped or not, it is tried again with the destination */
                session->retry.at_usec = MAX_OF(worker->destination_retry.at_usec,
                                                clock_usec() + 10 * USEC_PER_MSEC);
        }
}

static int destination_ready(struct worker *worker, struct failure *ret_failure) {
        int r;

        r = target_open(worker, ret_failure);
        if (r < 0)
                return r;
        if (!latch_is_set(worker))
                return 0;
        r = latch_clear(worker, ret_failure);
        if (r < 0) {
                retry_again(&worker->destination_retry, clock_usec());
                worker->destination_failure = *ret_failure;
                target_close(worker);
        }
        return r;
}

/* SQLite could open the -wal or -shm for reading alone (no descriptor was left, say), and says so at the first
 * write. It would keep it so for as long as the handle lives. */
static void open_anew_later(struct worker *worker, const struct failure *failure) {
        retry_again(&worker->destination_retry, clock_usec());
        worker->destination_failure = *failure;
        target_close(worker);
}

void pass_run(struct worker *worker) {
        struct pass pass = { .worker = worker };
        struct failure failure = { 0 };
        int r;

        if (destination_ready(worker, &failure) < 0) {
                hold_all(worker, &failure);
                return;
        }
        choose(&pass);
        if (pass.count == 0) {
                trim_sources(worker); /* a look at a quiet source opened it too */
                return;
        }
        r = journals_load(&pass, &failure);
        if (r >= 0)
                r = transaction_begin(worker, &failure);
        if (r < 0) {
                transaction_void(&pass, &failure);
                /* SQLite gave up on its locks. One that failed to unlock may be ours, and SQLite has forgotten
                 * it: the kernel lets go of it when the files are closed. */
                if (r == -EPROTO)
                        target_close(worker);
                else if (r == -EACCES)
                        open_anew_later(worker, &failure);
                return;
        }
        r = run_batches(&pass, &failure);
        if (r < 0)
                transaction_void(&pass, &failure);
        else
                pass_commit(&pass, r > 0);
        trim_sources(worker);
}
