/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's writer: open, append, forget, renew (J1, J3, J7, J9).
 *
 * An append is one pwrite at a known offset into zero-filled space and, where the journal is synced,
 * one fdatasync. Never O_APPEND, never a mapping: a failed store must be an error that somebody sees.
 *   K6  die after the zeros are written   the next reader finds zeros: the records end.
 *   K7  die after the record is written   whole or torn; whole counts (its destination is durable
 *                                         before it is journalled, M3), torn is cut.
 *   K8  die after the record is synced    it counts; nobody was told, which hurts nobody.
 * Must not touch: another worker's file. */
#include "worker/journal/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/io.h"
#include "worker/journal/disk.h"
#include "worker/journal/table.h"

#define NAME_ATTEMPTS_MAX 4096u

static void journal_assert_consistent(const struct journal *journal) {
        assert(journal);
        assert(journal->fd >= 0);
        assert(journal->offset >= JOURNAL_HEADER_BYTES);
        assert((journal->offset - JOURNAL_HEADER_BYTES) % JOURNAL_RECORD_BYTES == 0);
        assert(journal->offset <= journal->allocated_bytes);
        assert(journal->allocated_bytes % JOURNAL_CHUNK_BYTES == 0);
}

int journal_fail(struct journal *journal, int r, bool is_uncertain, const char *what,
                 struct failure *ret_failure) {
        assert(r < 0);

        if (!is_uncertain && r != -EIO && r != -ENOSPC && r != -EDQUOT)
                return failure_set(ret_failure, r, failure_kind_of_errno(r), "journal %s/%s: cannot %s: %s",
                                   journal->directory, journal->name, what, strerror(-r));
        if (r == -ENOSPC || r == -EDQUOT)
                return failure_set(ret_failure, r, FAILURE_FULL,
                                   "journal %s/%s: no room to %s (%s); it goes on by "
                                   "itself when there is room again",
                                   journal->directory, journal->name, what, strerror(-r));
        journal->is_latched = true;
        return failure_set(ret_failure, r, FAILURE_SYNC,
                           "journal %s/%s: failed to %s: %s; what it holds on the disk "
                           "is uncertain until a new file is written and synced",
                           journal->directory, journal->name, what, strerror(-r));
}

/* ---- open and close -------------------------------------------------------------------------- */

void journal_close(struct journal *journal) {
        if (!journal)
                return;
        fd_close(&journal->fd);
        fd_close(&journal->dir_fd);
        journal_table_free(journal->others);
        journal_map_done(&journal->known);
        free(journal->directory);
        free(journal->state_directory);
        free(journal);
}

static void journal_closep(struct journal **journal) {
        journal_close(*journal);
}

static int journal_new(const struct journal_config *config, struct journal **ret_journal) {
        _cleanup_(journal_closep) struct journal *journal = NULL;

        journal = calloc(1, sizeof *journal);
        if (!journal)
                return -ENOMEM;
        journal->fd = journal->dir_fd = -1;
        journal->is_synced = config->synced;
        journal->rotate_bytes = config->rotate_bytes ? config->rotate_bytes : JOURNAL_ROTATE_BYTES_DEFAULT;
        journal->state_directory = strdup(config->state_directory);
        if (!journal->state_directory)
                return -ENOMEM;
        journal->header = (struct journal_header){
                .version = JOURNAL_VERSION,
                .header_bytes = JOURNAL_HEADER_BYTES,
                .worker_generation = config->worker_generation,
                .worker_index = config->worker_index,
                .flags = config->synced ? JOURNAL_FLAG_SYNCED : 0,
        };
        memcpy(journal->header.instance, config->instance, INSTANCE_BYTES);
        *ret_journal = TAKE(journal);
        return 0;
}

int journal_open(const struct journal_config *config, struct journal **ret_journal,
                 struct failure *ret_failure) {
        _cleanup_(journal_closep) struct journal *journal = NULL;
        int r;

        assert(config && config->state_directory && config->destination && config->instance);
        assert(ret_journal);

        r = journal_new(config, &journal);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "journal: out of memory");
        r = journal_place_path(config->state_directory, config->destination, &journal->directory,
                               ret_failure);
        if (r < 0)
                return r;
        r = text_copy(journal->header.destination, NAME_BYTES, config->destination);
        assert(r == 0);
        r = journal_place_make(config->state_directory, config->destination, config->synced, &journal->dir_fd,
                               ret_failure);
        if (r < 0)
                return r;
        for (unsigned number = 0; number < NAME_ATTEMPTS_MAX; number++) {
                journal_name_make(config->worker_index, config->worker_generation, number, journal->name);
                r = journal_birth(journal, JOURNAL_BIRTH_FIRST, ret_failure);
                if (r != -EEXIST)
                        break;
        }
        if (r < 0)
                return r;
        journal_assert_consistent(journal);
        *ret_journal = TAKE(journal);
        return 0;
}

/* ---- append ---------------------------------------------------------------------------------- */

/* True if a new file would be due and would be smaller than this one. */
static bool rotation_is_due(const struct journal *journal) {
        uint64_t snapshot_bytes = JOURNAL_HEADER_BYTES +
                                  (uint64_t) journal->known.entry_count * JOURNAL_RECORD_BYTES;
        uint64_t limit_bytes = MAX_OF(journal->rotate_bytes, 2 * snapshot_bytes);

        return journal->offset + JOURNAL_RECORD_BYTES > limit_bytes && journal->offset > snapshot_bytes &&
               journal->offset >= journal->rotate_not_before;
}

/* Zeros for another chunk, durable before a record goes there: then its sync writes data alone. */
static int make_room(struct journal *journal, struct failure *ret_failure) {
        int r;

        if (journal->offset + JOURNAL_RECORD_BYTES <= journal->allocated_bytes)
                return 0;
        memset(journal->chunk, 0, JOURNAL_CHUNK_BYTES);
        r = journal_disk_write(journal->fd, journal->chunk, JOURNAL_CHUNK_BYTES, journal->allocated_bytes);
        if (r < 0)
                return journal_fail(journal, r, true, "write", ret_failure);
        CRASH_POINT("journal.K6");
        if (journal->is_synced) {
                r = journal_disk_datasync(journal->fd);
                if (r < 0)
                        return journal_fail(journal, -EIO, true, "sync", ret_failure);
        }
        journal->allocated_bytes += JOURNAL_CHUNK_BYTES;
        return 0;
}

/* Rotation is a convenience: where there is no room for it, or no descriptor, the old file goes on (and
 * so long as its zeros last it needs no room at all). */
static int rotate_if_due(struct journal *journal, struct failure *ret_failure) {
        struct failure failure = { 0 };
        int r;

        if (!rotation_is_due(journal))
                return 0;
        r = journal_birth(journal, JOURNAL_BIRTH_ROTATE, &failure);
        if (r >= 0)
                return 0;
        if (failure.kind != FAILURE_SYNC) {
                journal->rotate_not_before = journal->offset + 16 * JOURNAL_RECORD_BYTES;
                return 0;
        }
        if (ret_failure)
                *ret_failure = failure;
        return r;
}

static int write_record(struct journal *journal, const struct journal_record *record,
                        struct failure *ret_failure) {
        uint8_t bytes[JOURNAL_RECORD_BYTES];
        int r;

        journal_record_encode(record, bytes);
        r = journal_disk_write(journal->fd, bytes, sizeof bytes, journal->offset);
        if (r < 0)
                return journal_fail(journal, r, true, "write", ret_failure);
        CRASH_POINT("journal.K7");
        if (journal->is_synced) {
                r = journal_disk_datasync(journal->fd);
                /* Also a sync that says "no room" is a failed sync: the record may be anywhere. */
                if (r < 0)
                        return journal_fail(journal, -EIO, true, "sync", ret_failure);
        }
        CRASH_POINT("journal.K8");
        return 0;
}

/* What cannot be journalled at all, whatever the disk says. */
static int refuse_record(const struct journal *journal, const struct journal_known *known,
                         const struct checkpoint *checkpoint, struct failure *ret_failure) {
        if (!text_is_name(checkpoint->session))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "journal %s/%s: \"%.63s\" is no session's name", journal->directory,
                                   journal->name, checkpoint->session);
        if (!text_is_terminated(checkpoint->source_identity, IDENTITY_BYTES))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "journal %s/%s: session %s: the source's "
                                   "identity is too long",
                                   journal->directory, journal->name, checkpoint->session);
        /* J1: such a record would lose against the older one, at once or at the next start. */
        if (known && known->offset != 0 &&
            journal_checkpoint_compare(checkpoint, &known->record.checkpoint) < 0)
                return failure_set(
                        ret_failure, -ESTALE, FAILURE_STOP,
                        "journal %s/%s: session %s would go back from epoch %llu, position %llu to epoch "
                        "%llu, position %llu; only a higher epoch may go back",
                        journal->directory, journal->name, checkpoint->session,
                        (unsigned long long) known->record.checkpoint.epoch,
                        (unsigned long long) known->record.checkpoint.position,
                        (unsigned long long) checkpoint->epoch, (unsigned long long) checkpoint->position);
        return 0;
}

/* Puts the record into the next snapshot. */
static void remember(struct journal *journal, struct journal_known *known,
                     const struct journal_record *record) {
        known->record = *record;
        known->offset = journal->offset;
        known->forgotten = false;
}

/* Everything that can fail before the record is written. Memory first: a record that is durable must
 * not be forgotten for want of it. */
static int prepare_append(struct journal *journal, const char *session, struct failure *ret_failure) {
        struct journal_known *known;
        int r;

        r = journal_map_add(&journal->known, session, &known);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "journal: out of memory");
        known->forgotten = false; /* whoever appends owns it again */
        if (journal->is_latched)
                return failure_set(ret_failure, -EIO, FAILURE_SYNC,
                                   "journal %s/%s: a sync failed before; nothing is "
                                   "appended until a new file is written and synced",
                                   journal->directory, journal->name);
        r = rotate_if_due(journal, ret_failure);
        if (r < 0)
                return r;
        return make_room(journal, ret_failure);
}

int journal_append(struct journal *journal, enum journal_type type, const struct checkpoint *checkpoint,
                   struct failure *ret_failure) {
        struct journal_record record;
        struct journal_known *known;
        int r;

        journal_assert_consistent(journal);
        assert(checkpoint);
        assert(type > JOURNAL_SNAPSHOT && type < JOURNAL_TYPE_COUNT);

        known = text_is_name(checkpoint->session) ? journal_map_find(&journal->known, checkpoint->session)
                                                  : NULL;
        r = refuse_record(journal, known, checkpoint, ret_failure);
        if (r < 0)
                return r;
        r = prepare_append(journal, checkpoint->session, ret_failure);
        if (r < 0 && !journal->is_latched)
                return r;
        known = journal_map_find(&journal->known, checkpoint->session);
        if (!known)
                return r; /* no memory even for its name */

        record = (struct journal_record){
                .type = type,
                .sequence = (journal->offset - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES + 1,
                .realtime_usec = clock_realtime_usec(),
                .checkpoint = *checkpoint,
        };
        if (!journal->is_latched)
                r = write_record(journal, &record, ret_failure);
        /* M7: what the caller says is a fact before it is journalled, so journal_renew() carries it also
         * where a failed sync leaves open whether this file holds it. */
        if (r >= 0 || journal->is_latched)
                remember(journal, known, &record);
        if (r < 0)
                return r;
        journal->offset += JOURNAL_RECORD_BYTES;
        journal_assert_consistent(journal);
        return 0;
}

void journal_forget(struct journal *journal, const char *session) {
        struct journal_known *known;

        journal_assert_consistent(journal);
        assert(session);

        known = text_is_name(session) ? journal_map_find(&journal->known, session) : NULL;
        if (!known)
                return;
        known->forgotten = true;
        journal->has_forgotten = true;
}

int journal_renew(struct journal *journal, struct failure *ret_failure) {
        int r;

        journal_assert_consistent(journal);

        r = journal_birth(journal, JOURNAL_BIRTH_RENEW, ret_failure);
        if (r < 0)
                return r;
        journal->is_latched = false;
        journal_assert_consistent(journal);
        return 0;
}
