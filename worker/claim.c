/* SPDX-License-Identifier: Apache-2.0 */
/* The fence (M2): a new owner raises the epoch at the destination and then reads the checkpoint, in the
 * same transaction; whatever it knew before is not used. Without transactions the journal is the
 * authority (M3). Must not touch: events.
 *
 * We die here (K2, before the commit): nothing stands, the next owner claims with a higher epoch.
 * After the commit (K3): the claim stands, an owner with a lower epoch can commit nothing more. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/crash.h"
#include "shm/pool.h"
#include "shm/slot.h"
#include "worker/session.h"

/* No epoch of ours comes near it; a larger one was written by nobody we know. */
#define EPOCH_SANE_MAX (UINT64_C(1) << 62)

static const char *durable_name(const struct session *session) {
        return session->entry->config.source;
}

static void checkpoint_begin(const struct session *session, struct checkpoint *checkpoint) {
        *checkpoint = (struct checkpoint){ .epoch = session->epoch };
        memcpy(checkpoint->instance, session->worker->instance, sizeof(checkpoint->instance));
        (void) text_copy(checkpoint->session, sizeof(checkpoint->session), durable_name(session));
}

/* A higher epoch stands: either we are the past, or the segment is younger than the destination (S11).
 * The slot decides, under its mutex: the owner may raise its epoch, anyone else may not. */
static int epoch_raise(struct session *session, uint64_t stored_epoch, struct failure *ret_failure) {
        int r;

        if (stored_epoch >= EPOCH_SANE_MAX)
                return failure_set(ret_failure, -EBADMSG, FAILURE_STOP,
                                   "the checkpoint of %s carries epoch %" PRIu64
                                   ", which no worker gave; restore the "
                                   "destination or its table baton_checkpoint from a backup",
                                   durable_name(session), stored_epoch);
        r = slot_raise_epoch(session->worker->segment, session->slot_index, session->worker->ref,
                             session->epoch, stored_epoch + 1, &session->epoch);
        return r < 0 ? -EOWNERDEAD : 0;
}

/* The slot's word was overwritten. At the destination such an epoch would leave no room for those to come. A new
 * segment counts on from where the old one began (S11). */
static int epoch_refuse(struct session *session, struct failure *ret_failure) {
        segment_condemn(session->worker->segment);
        return failure_set(ret_failure, -ENOTRECOVERABLE, FAILURE_UNAVAILABLE,
                           "the shared memory gives %s epoch %" PRIu64
                           ", which no worker gave: it was overwritten, and is replaced by itself",
                           durable_name(session), session->epoch);
}

static int journal_entry_of(struct session *session, struct journal_entry *ret_entry,
                            struct failure *ret_failure) {
        int r;

        r = journal_table_find(session->worker->journal_table, durable_name(session), ret_entry, ret_failure);
        if (r == -ENOENT) {
                *ret_entry = (struct journal_entry){ 0 };
                return 0;
        }
        return r;
}

/* M1: the journal is never ahead. If it is, the destination is an older copy of itself. */
static int compare_with_journal(struct session *session, const struct checkpoint *checkpoint,
                                struct failure *ret_failure) {
        struct journal_entry entry;
        int r;

        if (session->adopting)
                return 0;
        r = journal_entry_of(session, &entry, ret_failure);
        if (r < 0)
                return r;
        if (entry.checkpoint.position <= checkpoint->position)
                return 0;
        /* M14: what the other destinations of the source hold is not cleaned up on our account any more. */
        session_durable_set(session->worker->segment, session->slot_index, checkpoint->position);
        return failure_set(
                ret_failure, -ESTALE, FAILURE_BEHIND,
                "destination %s holds session %s up to %" PRIu64 ", but the journal %s saw %" PRIu64
                " durable there: the destination was restored from an older backup or replaced. Bring back "
                "the newer one, or run `baton adopt %s` to go on from %" PRIu64,
                session->worker->settings.name, durable_name(session), checkpoint->position, entry.file_name,
                entry.checkpoint.position, session->entry->config.session, checkpoint->position);
}

static int claim_transactional(struct session *session, struct failure *ret_failure) {
        struct worker *worker = session->worker;
        struct checkpoint checkpoint;
        bool found, tail;
        int r;

        for (unsigned attempt = 0; attempt < 3; attempt++) {
                struct failure failure = { 0 };

                checkpoint_begin(session, &checkpoint);
                r = worker->destination_ops->fence(session->target, session->epoch, &checkpoint, &found,
                                                   &tail, &failure);
                if (r < 0 && failure.kind == FAILURE_FENCED) {
                        r = epoch_raise(session, checkpoint.epoch, ret_failure);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (r < 0) {
                        *ret_failure = failure;
                        return r;
                }
                r = compare_with_journal(session, &checkpoint, ret_failure);
                if (r < 0)
                        return r;
                checkpoint.epoch = session->epoch;
                session->target_checkpoint = checkpoint;
                return 0;
        }
        return failure_set(
                ret_failure, -EBUSY, FAILURE_UNAVAILABLE,
                "the epoch of %s rises at the destination while it is claimed; is another Baton at work "
                "there?",
                durable_name(session));
}

/* M3: (2) the dead worker's journal was synced and read by journal_table_load(); (3) our own epoch is
 * on disk before the file is touched; (4) the file is examined. */
static int claim_journalled(struct session *session, struct failure *ret_failure) {
        struct worker *worker = session->worker;
        struct journal_entry entry;
        struct checkpoint checkpoint;
        bool found, tail;
        int r;

        r = journal_entry_of(session, &entry, ret_failure);
        if (r < 0)
                return r;
        checkpoint = entry.checkpoint;
        if (checkpoint.session[0] == '\0')
                checkpoint_begin(session, &checkpoint);
        if (checkpoint.epoch >= session->epoch && entry.checkpoint.session[0] != '\0') {
                r = epoch_raise(session, checkpoint.epoch, ret_failure);
                if (r < 0)
                        return r;
        }
        checkpoint.epoch = session->epoch;
        r = journal_append(worker->journal, JOURNAL_CLAIM, &checkpoint, ret_failure);
        if (r < 0)
                return r;
        CRASH_POINT("worker.K2");
        r = worker->destination_ops->fence(session->target, session->epoch, &checkpoint, &found, &tail,
                                           ret_failure);
        if (r < 0)
                return r;
        session->tail_pending = tail;
        session->target_checkpoint = checkpoint;
        return 0;
}

int claim_run(struct session *session, struct failure *ret_failure) {
        assert(session);
        assert(!session->claimed);

        if (session->epoch > EPOCH_SANE_MAX)
                return epoch_refuse(session, ret_failure);
        if (session->worker->destination_ops->flags & DESTINATION_TRANSACTIONAL)
                return claim_transactional(session, ret_failure);
        return claim_journalled(session, ret_failure);
}
