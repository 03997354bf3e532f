/* SPDX-License-Identifier: Apache-2.0 */
/* M6: what the deaths of owners before say about an event. The mover notes what it is about to touch;
 * the taker copies the dead worker's note into the slot; here the successor learns from it.
 *
 *   died by its own fault (SEGV, BUS, ILL, FPE, ABRT, SYS, raised by the kernel or by itself)
 *     in a batch, row unknown   → suspect: the row path from there, so the next note is exact
 *     on an event               → that event alone in its batch; the third death parks it
 *   died by SIGKILL, by one of those that another process sent, or unknown
 *     on an event               → alone from then on; the third on it alone stops the session
 *     in a batch, three times at the same place → suspect
 * Counts live in the slot's status words, written by the owner's mover alone and read as input.
 * Must not touch: the destination. */
#include <stdatomic.h>

#include "shm/slot.h"
#include "worker/session.h"

#define DEATHS_MAX 3u

static struct layout_status *words_of(const struct session *session) {
        return segment_status(session->worker->segment, session->slot_index);
}

static void words_read(struct session *session) {
        const struct layout_status *words = words_of(session);

        session->fault_position = atomic_load(&words->fault_position);
        session->fault_deaths = MIN_OF(atomic_load(&words->fault_deaths), DEATHS_MAX);
        session->unknown_deaths = MIN_OF(atomic_load(&words->unknown_deaths), DEATHS_MAX);
        session->suspect = atomic_load(&words->suspect) == 1;
        session->suspect_until = atomic_load(&words->suspect_until);
}

static void words_write(struct session *session) {
        struct layout_status *words = words_of(session);

        atomic_store(&words->fault_position, session->fault_position);
        atomic_store(&words->fault_deaths, session->fault_deaths);
        atomic_store(&words->unknown_deaths, session->unknown_deaths);
        atomic_store(&words->suspect, session->suspect);
        atomic_store(&words->suspect_until, session->suspect_until);
}

void fault_learn(struct session *session) {
        enum death_note note = DEATH_NONE;
        uint32_t signal_number = 0;
        uint64_t position = 0;

        words_read(session);
        if (slot_take_death_note(session->worker->segment, session->slot_index, session->worker->ref, &note,
                                 &signal_number, &position) < 0 ||
            note == DEATH_NONE)
                return;
        if (position != session->fault_position) {
                session->fault_position = position;
                session->fault_deaths = session->unknown_deaths = 0;
                session->suspect = session->suspect_until > position;
        }
        if (signal_number != 0)
                session->fault_deaths = MIN_OF(session->fault_deaths + 1, DEATHS_MAX);
        else
                session->unknown_deaths = MIN_OF(session->unknown_deaths + 1, DEATHS_MAX);
        if (signal_number != 0 || session->unknown_deaths >= DEATHS_MAX || note == DEATH_ON_EVENT)
                session->suspect = true;
        if (note == DEATH_IN_BATCH && session->suspect) { /* the culprit is somewhere in the batch */
                session->fault_deaths = session->unknown_deaths = 0;
                session->suspect_until = position + session->worker->settings.batch_rows;
        }
        words_write(session);
}

bool fault_is_isolated(const struct session *session, uint64_t position) {
        return session->suspect && position == session->fault_position &&
               (session->fault_deaths > 0 || session->unknown_deaths > 0);
}

bool fault_must_park(const struct session *session, uint64_t position) {
        return fault_is_isolated(session, position) && session->fault_deaths >= DEATHS_MAX;
}

bool fault_must_stop(const struct session *session, uint64_t position) {
        return fault_is_isolated(session, position) && session->unknown_deaths >= DEATHS_MAX;
}

void fault_note(struct session *session, uint64_t position, bool is_exact) {
        struct layout_worker *record = worker_record(session->worker);

        atomic_store_explicit(&record->note_position, position, memory_order_relaxed);
        atomic_store_explicit(&record->note_is_exact, is_exact, memory_order_relaxed);
        atomic_store_explicit(&record->note_slot, session->slot_index, memory_order_release);
}

void fault_note_clear(struct worker *worker) {
        atomic_store_explicit(&worker_record(worker)->note_slot, LAYOUT_NONE, memory_order_release);
}

/* The place is behind us: a commit stands that includes it. */
void fault_passed(struct session *session) {
        if (session->fault_position == 0 && !session->suspect)
                return;
        if (session->checkpoint.position < MAX_OF(session->fault_position, session->suspect_until))
                return;
        session->fault_position = 0;
        session->fault_deaths = session->unknown_deaths = 0;
        session->suspect = false;
        session->suspect_until = 0;
        words_write(session);
}

void fault_forget(struct session *session) {
        session->fault_position = 0;
        session->fault_deaths = session->unknown_deaths = 0;
        session->suspect = false;
        session->suspect_until = 0;
        words_write(session);
}
