/* SPDX-License-Identifier: Apache-2.0 */
/* Moves one batch of one session inside the open transaction: fused (M13) or row by row (M6).
 * Must not touch: the checkpoint that is durable; it writes target_checkpoint only. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/session.h"

#define PULSE_ROWS 256u

static void step_over(struct session *session, const struct event *event) {
        struct checkpoint *checkpoint = &session->target_checkpoint;
        uint64_t digest = event_digest(event);

        assert(event->position > checkpoint->position);
        checkpoint->position = event->position;
        checkpoint->anchor = digest;
        checkpoint->event_count++;
        checkpoint->digest_sum += digest;
        session->moved_count++;
        session->changed = session->counts_moved = true;
}

/* M6: kept with its reason in the transaction that steps over it. */
static int park_event(struct session *session, const struct event *event, const char *reason,
                      struct failure *ret_failure) {
        struct worker *worker = session->worker;
        struct checkpoint *checkpoint = &session->target_checkpoint;
        const struct log_fields fields = { .session = session->entry->config.session,
                                           .destination = worker->settings.name,
                                           .reason = reason,
                                           .worker_ref = worker->ref,
                                           .epoch = session->epoch,
                                           .position = event->position };
        char told[32];
        int told_bytes = snprintf(told, sizeof(told), "event %" PRIu64 ": ", event->position);
        int r;

        if (checkpoint->parked_count >= worker->settings.parked_limit)
                return failure_set(
                        ret_failure, -EDQUOT, FAILURE_STOP,
                        "%" PRIu64
                        " events of %s are parked, as many as parked-limit allows; the next, at %" PRIu64
                        ", is rejected too (%s). Mend the cause, or raise parked-limit",
                        checkpoint->parked_count, session->entry->config.session, event->position, reason);
        r = worker->destination_ops->park(session->target, event, reason, ret_failure);
        if (r < 0)
                return r;
        checkpoint->parked_count++;
        step_over(session, event);
        if (strncmp(reason, told, (size_t) told_bytes) == 0)
                reason += told_bytes; /* a destination's sentence may begin with it */
        log_line(MESSAGE_EVENT_PARKED, LOG_WARNING, &fields, "event %" PRIu64 " is parked: %s",
                 event->position, reason);
        return 0;
}

static int put_event(struct session *session, const struct event *event, struct failure *ret_failure) {
        struct failure failure = { 0 };
        int r;

        if (fault_must_park(session, event->position))
                return park_event(session, event,
                                  "three workers died of it (SIGSEGV or the like), alone in its batch",
                                  ret_failure);
        fault_note(session, event->position, true);
        r = session->worker->destination_ops->put(session->target, event, &failure);
        if (r < 0 && failure.kind == FAILURE_REJECTED)
                return park_event(session, event, failure.text, ret_failure);
        if (r < 0) {
                *ret_failure = failure;
                return r;
        }
        step_over(session, event);
        return 0;
}

static int stop_at(const struct session *session, uint64_t position, struct failure *ret_failure) {
        return failure_set(
                ret_failure, -ECANCELED, FAILURE_STOP,
                "three workers were killed while event %" PRIu64
                " of %s was alone in its batch, and not by a "
                "fault of their own (a signal from outside; perhaps the out-of-memory killer). Look for it in "
                "journald, then run `baton adopt %s` to try again",
                position, session->entry->config.session, session->entry->config.session);
}

/* Puts the batch; ends early before an event that must be alone, before one that is one too many to park,
 * and at the deadline. */
static int put_all(struct session *session, const struct batch_limits *limits, struct failure *ret_failure) {
        struct worker *worker = session->worker;
        struct failure failure = { 0 };
        int r;

        for (size_t i = 0; i < worker->batch.event_count; i++) {
                const struct event *event = &worker->batch.events[i];
                bool alone = fault_is_isolated(session, event->position);

                if (i > 0 && (alone || (i % PULSE_ROWS == 0 && clock_usec() >= limits->deadline_usec))) {
                        session->more = true;
                        return 0;
                }
                if (fault_must_stop(session, event->position))
                        return stop_at(session, event->position, ret_failure);
                if (i % PULSE_ROWS == 0)
                        (void) worker_pulse(worker);
                r = put_event(session, event, &failure);
                if (r == -EDQUOT && failure.kind == FAILURE_STOP && i > 0) {
                        session->more = true; /* what is before it moves; it stops the next batch */
                        return 0;
                }
                if (r < 0) {
                        *ret_failure = failure;
                        return r;
                }
                if (alone) {
                        session->more = true;
                        return 0;
                }
        }
        return 0;
}

/* M11: what we read must not be lost by the source after the destination has it. The phase tells a taker
 * that no event is in hand: a slow disk, and who is killed on it, are no event's doing (M6). */
static int sync_source(struct session *session, int (*sync)(struct session *session, struct failure *failure),
                       struct failure *ret_failure) {
        struct worker *worker = session->worker;
        int r;

        worker_count(&worker_record(worker)->sync_count, 1);
        worker_phase(worker, PHASE_COMMITTING);
        r = sync(session, ret_failure);
        worker_phase(worker, PHASE_WRITING);
        session->blames_source = r < 0;
        return r;
}

static int sync_by_reader(struct session *session, struct failure *ret_failure) {
        return session->entry->ops->sync(session->source, ret_failure);
}

static int sync_by_attachment(struct session *session, struct failure *ret_failure) {
        return session->worker->destination_ops->fused_sync(session->target, ret_failure);
}

static int move_rows(struct session *session, const struct batch_limits *limits,
                     struct failure *ret_failure) {
        struct worker *worker = session->worker;
        int r;

        event_batch_clear(&worker->batch);
        session->blames_source = true;
        r = session->entry->ops->fetch(session->source, session->target_checkpoint.position, limits,
                                       &worker->batch, &session->more, ret_failure);
        if (r >= 0) /* M4: a backup may have been restored between the look at the anchor and this one */
                r = verify_again(session, ret_failure);
        session->blames_source = r < 0;
        if (r < 0)
                return r;
        if (worker->batch.event_count == 0)
                return 0;
        r = put_all(session, limits, ret_failure);
        if (r < 0)
                return r;
        session->status.path = 1;
        return sync_source(session, sync_by_reader, ret_failure);
}

static int move_fused(struct session *session, const struct batch_limits *limits,
                      struct failure *ret_failure) {
        const struct destination_ops *ops = session->worker->destination_ops;
        struct checkpoint *checkpoint = &session->target_checkpoint;
        struct moved moved = { 0 };
        int r;

        fault_note(session, checkpoint->position, false);
        r = ops->fused_move(session->target, checkpoint->position, limits, &moved, ret_failure);
        if (r < 0)
                return r;
        if (moved.event_count == 0)
                return 0;
        r = sync_source(session, sync_by_attachment, ret_failure);
        if (r < 0)
                return r;
        assert(moved.last_position > checkpoint->position);
        checkpoint->position = moved.last_position;
        checkpoint->anchor = moved.last_digest;
        checkpoint->event_count += moved.event_count;
        checkpoint->digest_sum += moved.digest_sum;
        session->moved_count = moved.event_count;
        session->changed = session->counts_moved = true;
        session->more = moved.more;
        session->status.path = 2;
        return 0;
}

int move_batch(struct session *session, const struct batch_limits *limits, struct failure *ret_failure) {
        assert(session->source);
        assert(session->verified);

        session->more = false;
        if (session->fused && !session->row_once && !session->suspect)
                return move_fused(session, limits, ret_failure);
        return move_rows(session, limits, ret_failure);
}

int move_tail(struct session *session, struct failure *ret_failure) {
        struct worker *worker = session->worker;
        const struct batch_limits limits = { .rows = worker->settings.batch_rows,
                                             .bytes = worker->settings.batch_bytes,
                                             .deadline_usec = USEC_INFINITY };
        const struct log_fields fields = { .session = session->entry->config.session,
                                           .worker_ref = worker->ref,
                                           .epoch = session->epoch };
        uint64_t cut_bytes, adopted_count = 0;
        bool adopted = true, parked, more = true;
        int r;

        while (adopted && more) {
                event_batch_clear(&worker->batch);
                r = session->entry->ops->fetch(session->source, session->target_checkpoint.position, &limits,
                                               &worker->batch, &more, ret_failure);
                if (r < 0) {
                        session->blames_source = true;
                        return r;
                }
                more = more && worker->batch.event_count > 0;
                for (size_t i = 0; i < worker->batch.event_count && adopted; i++) {
                        r = worker->destination_ops->tail_adopt(session->target, &worker->batch.events[i],
                                                                &adopted, &parked, ret_failure);
                        if (r < 0)
                                return r;
                        if (!adopted)
                                break;
                        step_over(session, &worker->batch.events[i]);
                        session->target_checkpoint.parked_count += parked;
                        adopted_count++;
                }
        }
        r = sync_source(session, sync_by_reader,
                        ret_failure); /* what is adopted, the source may still lose */
        if (r < 0)
                return r;
        r = worker->destination_ops->tail_cut(session->target, &cut_bytes, ret_failure);
        if (r < 0)
                return r;
        session->tail_pending = false;
        session->changed = true;
        log_line(MESSAGE_TAIL_CUT, LOG_NOTICE, &fields,
                 "%s: the owner before left bytes beyond the recorded length: %" PRIu64
                 " events in them are whole and "
                 "kept, %" PRIu64 " bytes are cut and kept aside",
                 session->entry->config.session, adopted_count, cut_bytes);
        return 0;
}
