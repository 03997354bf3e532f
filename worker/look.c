/* SPDX-License-Identifier: Apache-2.0 */
/* A slot changed: the mover reads it and does what it says: takes it, gives it up, reads its
 * configuration again, obeys an `adopt`. Every word of it is input (P1); ownership is S2's. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "shm/life.h"
#include "shm/slot.h"
#include "worker/session.h"

/* The parsed configuration: from the roster, or read at once where the roster is older. Where it cannot be
 * read, its writer is at it or died in it, and what the roster knows holds: an heir waits for no supervisor
 * (P1). NULL: nothing is known of it yet; the supervisor rings when it is whole. */
static struct roster_entry *entry_of(struct worker *worker, uint32_t slot_index) {
        struct roster_entry *known = roster_get(&worker->roster, slot_index), *entry = NULL;
        int r;

        if (known &&
            known->config.sequence == atomic_load(&segment_config(worker->segment, slot_index)->sequence))
                return known;
        r = roster_read(worker->segment, slot_index, &entry);
        if (r == -EAGAIN && known && roster_is_latest(worker->segment, slot_index, known->config.sequence))
                return known;
        roster_entry_free(known);
        return r < 0 ? NULL : entry;
}

/* Takes the entry. */
static void session_begin_with(struct worker *worker, uint32_t slot_index, uint64_t epoch,
                               struct roster_entry *entry) {
        struct session *session;

        if (session_new(worker, slot_index, epoch, entry, &session) < 0) {
                roster_entry_free(entry);
                return;
        }
        lost_restore(session);
        if (!entry->scheme) {
                report_failure(session, &entry->failure, true);
                return;
        }
        session_set_ready(session);
}

static void session_begin(struct worker *worker, uint32_t slot_index, uint64_t epoch) {
        struct roster_entry *entry = entry_of(worker, slot_index);

        if (entry) /* else owned, not run yet: the sweep comes back */
                session_begin_with(worker, slot_index, epoch, entry);
}

/* Where the slot should go, or 0 to stay: a different worker that may be given slots (H9). */
static uint64_t other_owner(const struct worker *worker, const struct slot_view *view) {
        if (view->assigned_ref == 0 || view->assigned_ref == worker->ref)
                return 0;
        return life_may_be_given(worker->segment, view->assigned_ref, worker->pool_index) ? view->assigned_ref
                                                                                          : 0;
}

/* `baton adopt`: the counter in the slot passed what this session has answered (M4). */
static void obey_adopt(struct session *session, const struct slot_view *view) {
        if (view->adopt_request <= session->adopt_done)
                return;
        session->adopt_done = view->adopt_request;
        if (!session->entry->scheme) {
                report_failure(session, &session->entry->failure, true);
                return;
        }
        /* A checkpoint that goes back is a new ownership: the journal takes it at a higher epoch only. */
        if (slot_raise_epoch(session->worker->segment, session->slot_index, session->worker->ref,
                             session->epoch, session->epoch + 1, &session->epoch) < 0)
                return;
        session->adopting = true;
        session->failure = (struct failure){ 0 };
        retry_clear(&session->retry);
        /* Where the destination stopped it, that is opened now: at the end of its own delay the operator would
         * have been told the old failure. */
        session->worker->destination_retry.at_usec = 0;
        fault_forget(session);
        lost_clear(session);
        session_close_source(session);
        session_unclaim(session);
        session_set_ready(session);
}

/* The supervisor wrote another configuration: the slot stays ours, the session begins anew. What an
 * operator accepted of the old one is not accepted of the new. Where the new one cannot be read, its writer
 * is at it or died in it, and the old one stands: no event waits for a supervisor (P1). */
static void session_renew(struct session *session) {
        struct roster_entry *entry = entry_of(session->worker, session->slot_index);
        struct worker *worker = session->worker;
        uint64_t epoch = session->epoch, adopt_done = session->adopt_done;
        uint32_t slot_index = session->slot_index;

        if (!entry || entry->config.sequence == session->entry->config.sequence) {
                roster_entry_free(entry);
                return;
        }
        session_free(session);
        session_begin_with(worker, slot_index, epoch, entry);
        if (worker->by_slot[slot_index])
                worker->by_slot[slot_index]->adopt_done = adopt_done;
}

static void session_look(struct session *session, const struct slot_view *view) {
        struct worker *worker = session->worker;
        uint64_t to_ref;

        if (view->owner_ref != worker->ref || view->epoch != session->epoch) {
                session_free(session); /* someone proved us dead, or raised it: not ours */
                return;
        }
        if (!view->wanted) {
                session_hand_over(session, 0);
                return;
        }
        to_ref = other_owner(worker, view);
        if (to_ref != 0) {
                session_hand_over(session, to_ref);
                return;
        }
        if (session->entry->config.sequence !=
            atomic_load(&segment_config(worker->segment, session->slot_index)->sequence)) {
                session_renew(session);
                return;
        }
        obey_adopt(session, view);
}

static void adopt_baseline(struct worker *worker, uint32_t slot_index, const struct slot_view *view) {
        struct session *session = worker->by_slot[slot_index];
        struct session_status status;

        if (!session)
                return;
        /* Requests that an owner before us answered are not obeyed twice. */
        if (session_status_read(worker->segment, slot_index, &status) == 0)
                session->adopt_done = MIN_OF(status.adopt_done, view->adopt_request);
        else
                session->adopt_done = view->adopt_request;
}

/* A takeover or a hand-over gave it to us. If it is meant for another by now, it goes on at once: the
 * hint that said so may be the very one that brought us here. */
static void look_at_gift(struct worker *worker, uint32_t slot_index, const struct slot_view *view) {
        uint64_t to_ref = view->wanted ? other_owner(worker, view) : 0;

        if (!view->wanted || to_ref != 0) {
                (void) slot_release(worker->segment, slot_index, worker->ref, view->epoch, to_ref);
                worker_notify_supervisor(worker);
                return;
        }
        session_begin(worker, slot_index, view->epoch);
        adopt_baseline(worker, slot_index, view);
}

void look_at_slot(struct worker *worker, uint32_t slot_index) {
        struct session *session;
        struct slot_view view;
        uint64_t epoch;

        assert(slot_index < worker->segment->slot_count);
        session = worker->by_slot[slot_index];
        if (slot_read(worker->segment, slot_index, &view) < 0 || view.quarantined) {
                if (session)
                        session_free(session);
                return;
        }
        if (session) {
                session_look(session, &view);
                return;
        }
        if (view.owner_ref == worker->ref) {
                look_at_gift(worker, slot_index, &view);
                return;
        }
        if (view.state != SLOT_ORPHAN || !view.wanted || view.pool_index != worker->pool_index ||
            atomic_load(&worker->draining) != DRAIN_NO)
                return;
        if (slot_take(worker->segment, slot_index, worker->ref, &epoch) < 0)
                return; /* another took it, or it is not meant for us */
        session_begin(worker, slot_index, epoch);
        adopt_baseline(worker, slot_index, &view);
        worker_notify_supervisor(worker);
}
