/* SPDX-License-Identifier: Apache-2.0 */
/* A session of this worker from the slot taken to the slot given back. Between two batches nothing is
 * open but descriptors (M12). Must not touch: events, other workers' slots. */
#include "worker/session.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "shm/slot.h"

static void list_enter(struct session *session) {
        struct worker *worker = session->worker;

        session->next = worker->sessions;
        if (session->next)
                session->next->previous = session;
        worker->sessions = session;
        worker->session_count++;
        assert(!worker->by_slot[session->slot_index]);
        worker->by_slot[session->slot_index] = session;
}

static void list_leave(struct session *session) {
        struct worker *worker = session->worker;

        assert(worker->by_slot[session->slot_index] == session);
        assert(worker->session_count > 0);
        if (session->previous)
                session->previous->next = session->next;
        else
                worker->sessions = session->next;
        if (session->next)
                session->next->previous = session->previous;
        worker->session_count--;
        worker->by_slot[session->slot_index] = NULL;
}

static void ready_leave(struct session *session) {
        struct worker *worker = session->worker;
        struct session *previous = NULL;

        if (!session->is_ready)
                return;
        for (struct session **at = &worker->ready_first; *at; previous = *at, at = &(*at)->ready_next)
                if (*at == session) {
                        *at = session->ready_next;
                        if (worker->ready_last == session)
                                worker->ready_last = previous;
                        break;
                }
        session->is_ready = false;
        session->ready_next = NULL;
}

void session_set_ready(struct session *session) {
        struct worker *worker = session->worker;

        if (session->is_ready)
                return;
        session->is_ready = true;
        session->ready_next = NULL;
        if (worker->ready_last)
                worker->ready_last->ready_next = session;
        else
                worker->ready_first = session;
        worker->ready_last = session;
}

/* Where the source's files are; nothing is opened for it. */
static void watch_paths(struct session *session) {
        const struct source_config config = { .name = session->entry->config.source,
                                              .url = &session->entry->url,
                                              .scheme = session->entry->scheme };

        (void) session->entry->ops->watch(&config, &session->watches.paths,
                                          NULL); /* none: the safety poll carries it */
        session->fingerprint = wake_fingerprint(&session->watches.paths);
}

/* Watching needs no open source: an absent file is watched through its directory. Begun with the first
 * claim, whose commit is not to wait for it; the look that follows the claim misses nothing. */
void session_watch(struct session *session) {
        const struct source_watch paths = session->watches.paths;
        bool complete;

        if (session->is_watched || paths.directory[0] == '\0')
                return;
        wake_remove(&session->worker->wake, session);
        wake_add(&session->worker->wake, session, &paths, &complete);
        session->is_watched = complete; /* else the sweep tries again */
        news_before_watch(session);
}

void session_watch_again(struct session *session) {
        const struct source_watch before = session->watches.paths;

        if (!session->entry->scheme)
                return;
        watch_paths(session);
        /* A link on the way leads elsewhere now, or a directory gave way to another of its name. */
        if (memcmp(&before, &session->watches.paths, sizeof(before)) != 0 ||
            wake_directory_id(&session->watches.paths) != session->watches.directory_id) {
                session->is_watched = false;
                session_set_ready(session);
        }
        session_watch(session);
}

int session_new(struct worker *worker, uint32_t slot_index, uint64_t epoch, struct roster_entry *entry,
                struct session **ret_session) {
        struct session *session;

        assert(worker);
        assert(entry);

        session = calloc(1, sizeof(*session));
        if (!session)
                return -ENOMEM;
        session->worker = worker;
        session->slot_index = slot_index;
        session->epoch = epoch;
        session->entry = entry;
        session->active_usec = clock_usec();
        for (size_t i = 0; i < WAKE_WATCH_COUNT; i++)
                session->watches.links[i].watch_descriptor = -1;
        session->status = (struct session_status){ .phase = SESSION_STARTING,
                                                   .epoch = epoch,
                                                   .position = LAG_UNKNOWN, /* until it is claimed */
                                                   .event_count = LAG_UNKNOWN,
                                                   .parked_count = LAG_UNKNOWN,
                                                   .lag_events = LAG_UNKNOWN,
                                                   .lag_bytes = LAG_UNKNOWN,
                                                   .oldest_realtime_usec = LAG_UNKNOWN };
        if (entry->scheme)
                watch_paths(session);
        fault_learn(session);
        list_enter(session);
        *ret_session = session;
        return 0;
}

/* What is left behind: a source that was looked at to its end, with no commit under way, is not looked at again
 * before one of its files changes from what it is now. The files are read first: a change after that shows. */
static void source_leave(struct session *session) {
        uint64_t fingerprint = wake_fingerprint(&session->watches.paths);
        bool is_looked = session->is_looked && session->looked_position == session->checkpoint.position;

        session->is_settled = is_looked && session->entry->ops->is_settled(session->source);
        if (!session->is_settled || !session->entry->ops->is_quiet(session->source))
                return;
        session->fingerprint = fingerprint;
        session->is_rechecked = false;
        session->recheck_at_usec = 0;
}

void session_close_source(struct session *session) {
        struct worker *worker = session->worker;

        if (session->fused) {
                worker->destination_ops->fused_close(session->target);
                session->fused = false;
                worker->fused_count--;
        }
        if (session->source) {
                source_leave(session);
                session->entry->ops->close(TAKE(session->source));
                worker->open_source_count--;
                worker->closed_source_count++;
        }
        session->verified = false;
}

int session_open_source(struct session *session, struct failure *ret_failure) {
        const struct source_config config = { .name = session->entry->config.source,
                                              .url = &session->entry->url,
                                              .scheme = session->entry->scheme };
        struct source_watch now;
        int r;

        if (session->source)
                return 0;
        session->opened_stamp = wake_fingerprint_of(&session->watches.paths, 0);
        session->source = warm_take(session->worker, session->slot_index, session->entry);
        if (session->source) {
                session->worker->open_source_count++;
                return 0;
        }
        r = session->entry->ops->open(&config, &session->source, ret_failure);
        if (r < 0) {
                /* Where the files are now: a link on the way may lead elsewhere since. */
                if (session->entry->ops->watch(&config, &now, NULL) < 0)
                        return r;
                return confine_files_explain(session->worker, config.name, now.directory, r, ret_failure);
        }
        confine_files_opened(session->worker, session->watches.paths.directory);
        session->worker->open_source_count++;
        session->verified = false;
        return 0;
}

void session_unclaim(struct session *session) {
        session->claimed = false;
        session->verified = false;
        session->in_transaction = false;
}

void session_free(struct session *session) {
        struct worker *worker = session->worker;

        assert(!session->in_transaction);
        session_close_source(session);
        if (session->target)
                worker->destination_ops->session_close(TAKE(session->target));
        wake_remove(&worker->wake, session);
        ready_leave(session);
        list_leave(session);
        roster_entry_free(session->entry);
        free(session);
}

/* M7: where the journal is the authority, the page that could not be synced holds earlier records too, also of sessions
 * that go to nobody yet. It is not written anew here, where somebody waits for the slot: whoever opens the destination
 * next does it. With transactions the journal only remembers, and the next append says what is wrong with it. */
static void last_words(struct session *session) {
        struct worker *worker = session->worker;
        struct failure failure = { 0 };
        int r;

        r = journal_append(worker->journal, JOURNAL_RELEASED, &session->checkpoint, &failure);
        if (r < 0 && failure.kind == FAILURE_SYNC &&
            !(worker->destination_ops->flags & DESTINATION_TRANSACTIONAL))
                latch_set(worker, &failure);
        journal_forget(worker->journal, session->checkpoint.session);
}

/* M10, S3: the destination's lock and file are given up before the slot is, so that the next owner
 * finds both free. We die here: before slot_release() we are the owner still, and a takeover follows;
 * after it the slot is the other's. (K1) */
void session_hand_over(struct session *session, uint64_t to_ref) {
        struct worker *worker = session->worker;
        uint32_t slot_index = session->slot_index;
        uint64_t epoch = session->epoch;

        if (session->claimed && worker->journal)
                last_words(session);
        session_free(session);
        CRASH_POINT("worker.K1");
        /* -EPERM: it is not ours any more; then there is nothing to give. */
        (void) slot_release(worker->segment, slot_index, worker->ref, epoch, to_ref);
        worker_notify_supervisor(worker);
}
