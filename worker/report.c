/* SPDX-License-Identifier: Apache-2.0 */
/* What the others see of a session: its status record (S10), lag, and the reason in words. The
 * supervisor logs what changes here; the mover does not log it twice. Must not touch: ownership. */
#include <string.h>

#include "base/clock.h"
#include "worker/session.h"

#define LAG_PERIOD_USEC (500 * USEC_PER_MSEC)

static void publish(struct session *session, bool has_news) {
        struct session_status *status = &session->status;

        status->epoch = session->epoch;
        if (session->claimed) {
                status->position = session->checkpoint.position;
                status->event_count = session->checkpoint.event_count;
                status->digest_sum = session->checkpoint.digest_sum;
                status->parked_count = session->checkpoint.parked_count;
        }
        status->retry_at_usec = status->phase == SESSION_WAITING ? session->retry.at_usec : 0;
        status->adopt_done = session->adopt_done;
        session_status_write(session->worker->segment, session->slot_index, status);
        if (has_news)
                worker_notify_supervisor(session->worker);
}

static void reason_clear(struct session_status *status) {
        status->failure_kind = FAILURE_NONE;
        memset(status->reason, 0, sizeof(status->reason));
}

void report_moving(struct session *session) {
        bool has_news = session->status.phase != SESSION_MOVING;

        session->status.phase = SESSION_MOVING;
        session->status.commit_last_usec = clock_usec();
        if (session->status.failure_kind != FAILURE_NONE)
                reason_clear(&session->status);
        publish(session, has_news);
}

/* What had stopped it was accepted, and nothing waits behind it: a session that went on being called
 * stopped would not be looked at, and so never be called idle. */
void report_resumed(struct session *session) {
        session->status.phase = SESSION_STARTING;
        reason_clear(&session->status);
        publish(session, true);
}

void report_idle(struct session *session) {
        bool has_news = session->status.phase != SESSION_IDLE;

        if (!has_news && session->status.lag_events == 0 &&
            session->status.adopt_done == session->adopt_done && session->status.epoch == session->epoch)
                return; /* said already: an idle session costs nothing (M9) */
        session->status.phase = SESSION_IDLE;
        session->status.lag_events = session->status.lag_bytes = 0;
        session->status.oldest_realtime_usec = LAG_UNKNOWN;
        session->status.waiting_since_usec = 0;
        reason_clear(&session->status);
        publish(session, has_news);
}

void report_failure(struct session *session, const struct failure *failure, bool is_final) {
        enum session_phase phase = is_final ? SESSION_STOPPED : SESSION_WAITING;
        bool has_news = session->status.phase != phase ||
                        session->status.failure_kind != (uint32_t) failure->kind ||
                        strcmp(session->status.reason, failure->text) != 0;

        session->failure = *failure;
        session->status.phase = phase;
        session->status.failure_kind = (uint32_t) failure->kind;
        (void) text_copy(session->status.reason, sizeof(session->status.reason), failure->text);
        session->status.lag_events = session->status.lag_bytes = LAG_UNKNOWN; /* never shown as zero */
        session->status.oldest_realtime_usec = LAG_UNKNOWN;
        publish(session, has_news);
}

/* Asks the source how much waits; at most twice a second, because it costs a look at the table. */
void report_lag(struct session *session, uint64_t now_usec) {
        struct source_lag lag;

        if (now_usec < session->lag_at_usec || !session->source || !session->claimed)
                return;
        session->lag_at_usec = now_usec + LAG_PERIOD_USEC;
        if (session->entry->ops->lag(session->source, session->checkpoint.position, &lag, NULL) < 0)
                lag = (struct source_lag){ LAG_UNKNOWN, LAG_UNKNOWN, LAG_UNKNOWN };
        session->status.lag_events = lag.events;
        session->status.lag_bytes = lag.bytes;
        session->status.oldest_realtime_usec = lag.oldest_realtime_usec;
        if (lag.events == 0)
                session->status.waiting_since_usec = 0;
        else if (session->status.waiting_since_usec == 0)
                session->status.waiting_since_usec = now_usec;
        publish(session, false);
}
