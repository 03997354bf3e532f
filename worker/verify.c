/* SPDX-License-Identifier: Apache-2.0 */
/* M4: is this the source that the checkpoint speaks of? Identity and anchor are compared at open and
 * after every reopen; what differs stops the session until an operator adopts it.
 * Must not touch: the destination. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "worker/session.h"

static int refuse(const struct session *session, struct failure *ret_failure, const char *what) {
        const struct checkpoint *checkpoint = &session->target_checkpoint;

        return failure_set(ret_failure, -ESTALE, FAILURE_IDENTITY,
                           "source %s is not the one that was moved up to %" PRIu64
                           ": %s. Bring the right one back, "
                           "or run `baton adopt %s` to go on with this one after %" PRIu64,
                           session->entry->config.source, checkpoint->position, what,
                           session->entry->config.session, checkpoint->position);
}

/* Numbers that were moved already would be given again, and their events never be moved. */
static int refuse_reuse(const struct session *session, uint64_t last, struct failure *ret_failure) {
        const char *table = url_get(&session->entry->url, "table");

        if (!table)
                table = "outbox";
        return failure_set(
                ret_failure, -ESTALE, FAILURE_IDENTITY,
                "source %s ends at %" PRIu64 ", but %" PRIu64 " is moved already: its next events would get "
                "numbers that were used. Raise them first (UPDATE sqlite_sequence SET seq=%" PRIu64
                " WHERE name='%s', needs AUTOINCREMENT, and remove or renumber the rows up to %" PRIu64
                "), then run `baton adopt %s`",
                session->entry->config.source, last, session->target_checkpoint.position,
                session->target_checkpoint.position, table, session->target_checkpoint.position,
                session->entry->config.session);
}

/* After an adoption of a source without the row at `position` there is no anchor. Until the next event
 * is moved, rows with numbers that were used are looked for instead. What lies above the position is moved
 * with the adoption itself, so where there is still no anchor later the table was empty: whatever stands
 * there now at or below the position came after, with a number that was used. */
static int verify_without_anchor(struct session *session, struct failure *ret_failure) {
        uint64_t first, last;
        int r;

        r = session->entry->ops->range(session->source, &first, &last, ret_failure);
        if (r < 0)
                return r;
        if (last != 0 && last < session->target_checkpoint.position)
                return refuse_reuse(session, last, ret_failure);
        if (last != 0 && first <= session->target_checkpoint.position && !session->adopting)
                return failure_set(ret_failure, -ESTALE, FAILURE_IDENTITY,
                                   "source %s was empty, and its events begin at %" PRIu64
                                   " now, but %" PRIu64
                                   " is moved already: those up to there have numbers that "
                                   "were used, and would never be moved. Renumber them above %" PRIu64
                                   ", or run `baton adopt %s` to go on without them",
                                   session->entry->config.source, first, session->target_checkpoint.position,
                                   MAX_OF(last, session->target_checkpoint.position),
                                   session->entry->config.session);
        return 0;
}

static int verify_anchor(struct session *session, struct failure *ret_failure) {
        struct checkpoint *checkpoint = &session->target_checkpoint;
        struct failure failure = { 0 };
        uint64_t digest;
        int r;

        r = session->entry->ops->anchor(session->source, checkpoint->position, &digest, &failure);
        if (r == -ENOENT && !session->adopting)
                return refuse(session, ret_failure,
                              "the last moved row is gone (a backup was restored, or the table emptied)");
        if (r == -ENOENT) {
                r = verify_without_anchor(session, ret_failure);
                if (r >= 0) /* not before: what is refused after all keeps its anchor */
                        checkpoint->anchor = 0;
                return r;
        }
        if (r < 0) {
                *ret_failure = failure;
                return r;
        }
        if (digest != checkpoint->anchor && !session->adopting)
                return refuse(session, ret_failure, "the last moved row has another content");
        checkpoint->anchor = digest;
        return 0;
}

int verify_source(struct session *session, struct failure *ret_failure) {
        struct checkpoint *checkpoint = &session->target_checkpoint;
        char identity[IDENTITY_BYTES];
        int r;

        assert(session->source);
        r = session->entry->ops->identity(session->source, identity, ret_failure);
        if (r < 0)
                return r;
        if (!session->adopting && checkpoint->source_identity[0] != '\0' &&
            strncmp(checkpoint->source_identity, identity, sizeof(identity)) != 0)
                return refuse(session, ret_failure, "the file was replaced");
        if (checkpoint->position > 0) {
                if (checkpoint->anchor != 0 || session->adopting)
                        r = verify_anchor(session, ret_failure);
                else
                        r = verify_without_anchor(session, ret_failure);
                if (r < 0)
                        return r;
        }
        memcpy(session->identity, identity, sizeof(identity));
        memcpy(checkpoint->source_identity, identity, sizeof(identity));
        session->verified = true;
        return 0;
}

int verify_again(struct session *session, struct failure *ret_failure) {
        assert(session->verified);
        if (session->target_checkpoint.position == 0)
                return 0;
        if (session->target_checkpoint.anchor == 0)
                return verify_without_anchor(session, ret_failure);
        return verify_anchor(session, ret_failure);
}
