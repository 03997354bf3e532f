/* SPDX-License-Identifier: Apache-2.0 */
/* Clean-up at the source, after the durable commit: bounded, never in the way of the movement, and only
 * up to what every destination of the source holds durably (M14). A sibling that does not say its
 * position holds the clean-up. A sync of it that fails is a sync of the source that failed (M7).
 * Must not touch: rows at or above the smallest checkpoint but to mark them. */
#include "base/clock.h"
#include "worker/session.h"

#define CLEAN_ROWS 2000u
/* Between two steps, so that the application comes to its lock; and after what only time can mend: its lock,
 * a full disk, a sibling that is behind, a latch. */
#define CLEAN_PAUSE_USEC (5 * USEC_PER_MSEC)
#define CLEAN_RETRY_USEC (1 * USEC_PER_SEC)
#define SIBLINGS_MAX LAYOUT_POOL_COUNT_MAX

/* The smallest durable position over all sessions of the source; false where one is unknown. The ring
 * is the supervisor's words: bounded, and a ring that does not close says unknown (P1). */
static bool durable_minimum(const struct session *session, uint64_t *ret_position) {
        const struct segment *segment = session->worker->segment;
        uint64_t minimum = session->checkpoint.position;
        uint32_t slot_index = session->entry->config.sibling_slot;

        for (uint32_t steps = 0; slot_index != session->slot_index; steps++) {
                struct session_config config;
                uint64_t position;

                if (steps >= SIBLINGS_MAX || slot_index >= segment->slot_count)
                        return false;
                if (session_durable_get(segment, slot_index, &position) < 0)
                        return false;
                if (session_config_read(segment, slot_index, &config) < 0)
                        return false;
                minimum = MIN_OF(minimum, position);
                slot_index = config.sibling_slot;
        }
        *ret_position = minimum;
        return true;
}

/* W2: rows are taken from the source that was verified, and from no other: it may have been replaced
 * since the last batch, and the clean-up may have had to wait. */
static bool is_still_ours(struct session *session) {
        const struct checkpoint *checkpoint = &session->checkpoint;
        uint64_t digest;

        if (!session->verified || session->entry->ops->is_stale(session->source))
                return false;
        return session->entry->ops->anchor(session->source, checkpoint->position, &digest, NULL) >= 0 &&
               digest == checkpoint->anchor;
}

static void clean_again(struct session *session, uint64_t pause_usec) {
        session->clean_pending = true;
        session->clean_at_usec = clock_usec() + pause_usec;
}

void clean_run(struct session *session) {
        struct failure failure = { 0 };
        uint64_t position;
        bool more = false;

        if (!session->source || !session->claimed)
                return;
        session->clean_pending = false;
        if (lost_is_set(session))
                return; /* M7: until it is adopted, and then the claim comes here again */
        if (session->entry->ops->clean_up(session->source) == CLEAN_KEEP)
                return;
        if (session->checkpoint.position == 0 || session->checkpoint.anchor == 0)
                return; /* nothing moved from it yet: the commit that moves something comes here again */
        if (latch_is_set(session->worker) || !is_still_ours(session) ||
            !durable_minimum(session, &position) || position == 0) {
                clean_again(session, CLEAN_RETRY_USEC);
                return;
        }
        /* The application holds its lock, or its disk is full: later, and the movement goes on. A handle that
         * will never do is opened anew by the next pass. A sync that failed is another matter (M7): it may have
         * taken pages along that the application wrote, and the next sync would succeed. */
        if (session->entry->ops->clean(session->source, position, CLEAN_ROWS, &more, &failure) < 0) {
                if (failure.kind == FAILURE_SYNC) {
                        batch_source_is_lost(session, &failure);
                        return;
                }
                clean_again(session, CLEAN_RETRY_USEC);
                if (session->entry->ops->is_stale(session->source))
                        session_set_ready(session);
        } else if (more) {
                clean_again(session, CLEAN_PAUSE_USEC);
                session->active_usec = clock_usec(); /* its source stays open (S8) */
        } else if (position < session->checkpoint.position) {
                clean_again(session, CLEAN_RETRY_USEC);
        }
}

bool clean_is_due(const struct session *session) {
        uint64_t position;

        return session->clean_pending && !latch_is_set(session->worker) &&
               durable_minimum(session, &position) && position >= session->checkpoint.position;
}

uint64_t clean_deadline(struct worker *worker, uint64_t now_usec) {
        uint64_t deadline_usec = USEC_INFINITY;

        for (struct session *session = worker->sessions; session; session = session->next) {
                if (!session->clean_pending || !session->source || !session->claimed)
                        continue;
                if (session->clean_at_usec <= now_usec) {
                        (void) worker_pulse(worker);
                        clean_run(session);
                }
                if (session->clean_pending)
                        deadline_usec = MIN_OF(deadline_usec, session->clean_at_usec);
        }
        return deadline_usec;
}
