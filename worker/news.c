/* SPDX-License-Identifier: Apache-2.0 */
/* Does the source have something (M9)? A wake that finds nothing is looked at again after 0.1 ms and then
 * whenever a quarter more time has passed (50 ms at most), until something is found or the files have been
 * quiet for a second: a SQLite writer raises its inotify event before its commit is visible. Where the source
 * can tell without being asked that nothing was committed, such a look costs no system call. The safety poll
 * compares stat() alone, but for a source that was left in the middle of a commit.
 * Must not touch: the destination. */
#include <string.h>

#include "base/clock.h"
#include "worker/session.h"

#define RECHECK_FIRST_USEC 100u
#define RECHECK_LAST_USEC (50 * USEC_PER_MSEC)
#define QUIET_USEC (1 * USEC_PER_SEC)
#define FRESH_USEC (2 * USEC_PER_SEC) /* of a file's modification: longer than most syncs */
#define SWEEP_USEC (20 * USEC_PER_SEC)
/* How long after news a stopped session compares its source again. */
#define SECOND_LOOK_USEC (300 * USEC_PER_MSEC)

static bool is_held(const struct session *session) {
        return session->status.phase == SESSION_STOPPED && session->retry.at_usec == 0;
}

/* The right source may have come back; then it goes on by itself (M4). */
static void look_again_later(struct session *session) {
        if (session->status.failure_kind != FAILURE_IDENTITY || session->retry.at_usec != 0)
                return;
        session->retry.at_usec = clock_usec() + SECOND_LOOK_USEC;
        session->second_look = true;
}

void news_from_source(struct session *session, void *context) {
        (void) context;

        session->news_usec = clock_usec();
        if (session->status.phase == SESSION_STOPPED) {
                look_again_later(session);
                return;
        }
        session->is_rechecked = true;
        session->recheck_at_usec = 0;
        if (session->status.phase == SESSION_WAITING && session->blames_source)
                retry_clear(&session->retry); /* it was the source that was missing: look now */
        if (session->retry.at_usec == 0)
                session_set_ready(session);
}

/* A writer is heard before it is visible (M9), so a commit whose sync was on its way when the watch was set
 * was heard by nobody, and the look that follows may come too early: then it would wait for the sweep. */
void news_before_watch(struct session *session) {
        if (!wake_is_fresh(&session->watches.paths, FRESH_USEC))
                return; /* a thousand quiet sources that are taken over are not looked at for a second each */
        session->news_usec = clock_usec();
        session->is_rechecked = true;
}

/* The file changed and nothing came of it: a checkpoint of the application, or a backup copied over it,
 * which our open handle would not notice and, in another journal mode, would keep the application out
 * of (M12). Open it anew and compare. */
static void reopen_if_changed(struct session *session) {
        if (wake_fingerprint_of(&session->watches.paths, 0) == session->opened_stamp)
                return;
        session_close_source(session);
        session_set_ready(session);
}

/* What was committed just after a look is found after a quarter more than it took, 0.1 ms at least. */
static void recheck_later(struct session *session, uint64_t now_usec) {
        uint64_t since_usec = now_usec - session->news_usec;

        if (!session->is_rechecked)
                return;
        if (since_usec > QUIET_USEC) {
                session->recheck_at_usec = 0;
                session->is_rechecked = false;
                reopen_if_changed(session);
                return;
        }
        session->recheck_at_usec = now_usec + MAX_OF((uint64_t) RECHECK_FIRST_USEC,
                                                     MIN_OF(since_usec / 4, (uint64_t) RECHECK_LAST_USEC));
}

/* Nothing behind the checkpoint: is it still the table that we know? An emptied one, or one that starts
 * again at 1, must not be taken for quiet (M4). */
static int look_behind(struct session *session, bool *ret_doubt, struct failure *ret_failure) {
        uint64_t first, last;
        int r;

        r = session->entry->ops->range(session->source, &first, &last, ret_failure);
        if (r < 0)
                return r;
        *ret_doubt = last < session->checkpoint.position && (session->checkpoint.anchor != 0 || last != 0);
        return 0;
}

bool news_check(struct session *session, struct failure *ret_failure) {
        uint64_t now_usec;
        bool more = false, doubt = false;

        assert(session->source);
        assert(session->claimed);

        now_usec = clock_usec();
        if (session->is_looked && session->looked_position == session->checkpoint.position &&
            session->entry->ops->is_quiet(session->source)) {
                recheck_later(session, now_usec);
                return false;
        }
        session->is_looked = false;
        session->blames_source = true;
        if (session->entry->ops->has_more(session->source, session->checkpoint.position, &more, ret_failure) <
            0)
                return false;
        if (more) {
                session->recheck_at_usec = 0;
                return true;
        }
        if (look_behind(session, &doubt, ret_failure) < 0)
                return false;
        if (doubt) {
                session->verified = false; /* the batch compares, and says what is wrong */
                return true;
        }
        session->blames_source = false;
        session->is_looked = true;
        session->looked_position = session->checkpoint.position;
        recheck_later(session, now_usec);
        return false;
}

/* A commit may become visible long after the last write of its files (a slow sync, a stopped writer), and
 * then no file changes any more. So an open source is asked, and a closed one that was closed with frames
 * under way; of all others the files tell. */
static void sweep_one(struct session *session) {
        uint64_t before = session->fingerprint;

        if (session->retry.at_usec != 0)
                return;
        session_watch_again(session);
        if (session->claimed && !session->source && session->is_settled && session->fingerprint == before &&
            !clean_is_due(session))
                return;
        if (session->status.phase != SESSION_STOPPED)
                session_set_ready(session);
        else if (session->fingerprint != before)
                look_again_later(session);
}

/* One look at every session: what inotify could not tell (S12: a lost hint costs a poll). */
void news_sweep(struct worker *worker, uint64_t now_usec) {
        if (now_usec < worker->sweep_at_usec)
                return;
        worker->sweep_at_usec = now_usec + SWEEP_USEC;
        worker->warm.is_due = true;
        for (struct session *session = worker->sessions; session; session = session->next)
                sweep_one(session);
}

/* Puts sessions whose time has come into the queue; returns when the next one comes. */
uint64_t news_deadline(struct worker *worker, uint64_t now_usec) {
        uint64_t deadline_usec = worker->sweep_at_usec;

        for (struct session *session = worker->sessions; session; session = session->next) {
                uint64_t at_usec = session->retry.at_usec != 0 ? session->retry.at_usec
                                                               : session->recheck_at_usec;

                if (at_usec == 0 || is_held(session))
                        continue;
                if (at_usec > now_usec) {
                        deadline_usec = MIN_OF(deadline_usec, at_usec);
                        continue;
                }
                session->retry.at_usec = session->recheck_at_usec = 0;
                session_set_ready(session);
        }
        return deadline_usec;
}
