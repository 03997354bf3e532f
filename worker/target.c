/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's handle and the journal beside it: opened before they are needed (S8), closed when
 * the path leads elsewhere. Must not touch: sessions' sources. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "worker/session.h"

/* 0: the journal's own. The proof asks for less, so that a short scenario rotates. */
static uint64_t journal_rotate_bytes(void) {
        const char *told = getenv("BATON_JOURNAL_ROTATE");
        uint64_t bytes = 0;

        return told && text_parse_u64(told, &bytes) >= 0 ? bytes : 0;
}

static int journal_begin(struct worker *worker, struct failure *ret_failure) {
        const struct journal_config config = {
                .state_directory = worker->directories.state,
                .destination = worker->settings.name,
                .instance = worker->instance,
                .worker_index = worker_ref_index(worker->ref),
                .worker_generation = worker_ref_generation(worker->ref),
                .synced = !(worker->destination_ops->flags & DESTINATION_TRANSACTIONAL),
                .rotate_bytes = journal_rotate_bytes(),
        };

        int r;

        if (worker->journal)
                return 0;
        /* What dead workers left and nobody needs any more; our own file is made after it. */
        r = journal_collect(worker->directories.state, worker->settings.name, worker->instance);
        /* M3: where journals are the authority, the next load would rely on what this one could not sync. */
        if (r == -EUCLEAN && config.synced)
                return failure_set(
                        ret_failure, -EIO, FAILURE_SYNC,
                        "a journal of another worker of destination %s could not be synced; look at "
                        "the disk (kernel log)",
                        worker->settings.name);
        return journal_open(&config, &worker->journal, ret_failure);
}

/* S3: the turn is held while the destination waits for another program. The other half of stall-timeout is
 * for the transaction itself. */
static uint64_t lock_wait(void *context) {
        const struct worker *worker = context;

        return atomic_load(&worker->segment->header->stall_timeout_usec) / 2;
}

static int target_try(struct worker *worker, struct failure *ret_failure) {
        const struct destination_config config = {
                .name = worker->settings.name,
                .url = &worker->url,
                .scheme = worker->scheme,
                .instance = worker->instance,
                .pulse = worker_pulse,
                .lock_wait = lock_wait,
                .pulse_context = worker,
        };
        char directory[PATH_MAX];
        int r;

        r = journal_begin(worker, ret_failure);
        if (r < 0)
                return r;
        r = worker->destination_ops->open(&config, &worker->destination, ret_failure);
        if (!worker->destination_ops->directory || worker->destination_ops->directory(&config, directory) < 0)
                return r;
        if (r >= 0) {
                confine_files_opened(worker, directory);
                return r;
        }
        return confine_files_explain(worker, config.name, directory, r, ret_failure);
}

int target_open(struct worker *worker, struct failure *ret_failure) {
        uint64_t now_usec = clock_usec();
        int r;

        if (worker->destination && worker->destination_ops->is_stale(worker->destination)) {
                log_line(
                        MESSAGE_DESTINATION_REPLACED, LOG_WARNING,
                        &(struct log_fields){ .destination = worker->settings.name },
                        "destination %s: its path leads to another file now; it is opened again and compared",
                        worker->settings.name);
                target_close(worker);
        }
        if (worker->destination)
                return 0;
        if (worker->destination_retry.at_usec > now_usec) {
                *ret_failure = worker->destination_failure;
                return -EAGAIN;
        }
        r = target_try(worker, &worker->destination_failure);
        if (r < 0) {
                if (worker->destination_failure.kind == FAILURE_SYNC)
                        latch_set(worker, &worker->destination_failure); /* lifted once it is open (M7) */
                retry_again(&worker->destination_retry, now_usec);
                *ret_failure = worker->destination_failure;
                return r;
        }
        retry_clear(&worker->destination_retry);
        worker->destination_failure = (struct failure){ 0 };
        return 0;
}

/* Every session forgets what it knew of the destination: it claims again (M2). */
void target_close(struct worker *worker) {
        for (struct session *session = worker->sessions; session; session = session->next) {
                if (session->fused) {
                        worker->destination_ops->fused_close(session->target);
                        session->fused = false;
                        worker->fused_count--;
                }
                if (session->target)
                        worker->destination_ops->session_close(TAKE(session->target));
                session_unclaim(session);
                if (session->status.phase != SESSION_STOPPED)
                        session_set_ready(session);
        }
        assert(worker->fused_count == 0);
        if (worker->destination)
                worker->destination_ops->close(TAKE(worker->destination));
}
