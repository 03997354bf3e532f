/* SPDX-License-Identifier: Apache-2.0 */
/* M7: a failed sync is never retried on the same file. It latches the destination in the segment and
 * in STATE/latch-DESTINATION, so that neither another worker nor a restart forgets it; before any
 * source is cleaned, the uncertain bytes are written again to a new place and synced.
 * We die here: the latch file stands, the next worker of the pool begins with latch_clear(). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "worker/session.h"

static struct layout_pool *pool_of(const struct worker *worker) {
        return segment_pool(worker->segment, worker->pool_index);
}

static void latch_name(const struct worker *worker, char *ret_name, size_t bytes) {
        (void) snprintf(ret_name, bytes, "latch-%s", worker->settings.name);
}

bool latch_is_set(const struct worker *worker) {
        return atomic_load(&pool_of(worker)->latched) != 0;
}

/* The word and the file are changed by one worker at a time, so that they never disagree for good: the lock
 * is the kernel's, on the state directory itself, and ends with whoever holds it. -1 and no lock where the
 * directory cannot be opened: the word alone then tells. */
static int latch_lock(const struct worker *worker) {
        int directory = open(worker->directories.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        while (directory >= 0 && flock(directory, LOCK_EX) < 0 && errno == EINTR)
                ;
        return directory;
}

/* Counted first: whoever writes anew meanwhile sees that it does not speak for this one. */
static void latch_word_set(struct worker *worker) {
        atomic_fetch_add(&pool_of(worker)->sync_failures, 1);
        atomic_store(&pool_of(worker)->latched, 1);
}

static bool latch_stands_on_disk(const struct worker *worker, int directory) {
        char name[NAME_BYTES + 8];

        latch_name(worker, name, sizeof(name));
        return faccessat(directory, name, F_OK, 0) == 0;
}

void latch_set(struct worker *worker, const struct failure *failure) {
        const struct log_fields fields = { .destination = worker->settings.name, .reason = failure->text };
        _cleanup_fd_ int directory = latch_lock(worker);
        char name[NAME_BYTES + 8];
        int r = directory < 0 ? -EBADF : 0;
        bool is_known;

        is_known = directory >= 0 && latch_is_set(worker) && latch_stands_on_disk(worker, directory);
        latch_word_set(worker);
        latch_name(worker, name, sizeof(name));
        /* A thousand sessions may leave a journal that failed: who waits for the last does not wait for 2,000 syncs. */
        if (directory >= 0 && !is_known)
                r = file_replace_text(directory, name, failure->text, 0640);
        log_line(
                MESSAGE_LATCH_SET, LOG_ERR, &fields,
                "a sync failed: %s. Destination %s is latched; nothing is cleaned at a source until its bytes are "
                "written anew and synced%s",
                failure->text, worker->settings.name,
                r < 0 ? " (and the latch could not be written to the state directory)" : "");
}

/* At start: what a worker before us left latched. */
void latch_restore(struct worker *worker) {
        _cleanup_fd_ int directory = latch_lock(worker);

        if (directory >= 0 && latch_stands_on_disk(worker, directory))
                latch_word_set(worker);
}

/* What another worker's sync lost after our bytes were written anew is still uncertain: then it stays. */
static int latch_lift(struct worker *worker, uint32_t failures_seen, struct failure *ret_failure) {
        _cleanup_fd_ int directory = latch_lock(worker);
        char name[NAME_BYTES + 8];

        if (atomic_load(&pool_of(worker)->sync_failures) != failures_seen)
                return failure_set(
                        ret_failure, -EAGAIN, FAILURE_UNAVAILABLE,
                        "another sync of destination %s failed while its uncertain bytes were written "
                        "anew; this is tried again",
                        worker->settings.name);
        latch_name(worker, name, sizeof(name));
        if (directory >= 0) {
                (void) unlinkat(directory, name, 0);
                (void) dir_sync(directory);
        }
        atomic_store(&pool_of(worker)->latched, 0);
        return 0;
}

int latch_clear(struct worker *worker, struct failure *ret_failure) {
        uint32_t failures_seen = atomic_load(&pool_of(worker)->sync_failures);
        int r;

        assert(worker->destination);
        r = worker->destination_ops->resync(worker->destination, ret_failure);
        if (r < 0)
                return r;
        r = journal_renew(worker->journal, ret_failure);
        if (r < 0)
                return r;
        r = latch_lift(worker, failures_seen, ret_failure);
        if (r < 0)
                return r;
        log_line(
                MESSAGE_LATCH_LIFTED, LOG_NOTICE,
                &(struct log_fields){ .destination = worker->settings.name },
                "destination %s: the latch is off; what was uncertain is written anew and synced, each session's before it "
                "goes on",
                worker->settings.name);
        return 0;
}
