/* SPDX-License-Identifier: Apache-2.0 */
/* How a journal file comes to be: whole before it has its name (J6, J7).
 *
 *   NAME.new made and locked → header, snapshot, zeros → synced → renamed to NAME → directory synced
 *   K1  die after it is made      an empty ".new" whose lock is free: no reader looks at it, collection
 *                                 unlinks it. The old file stands.
 *   K2  die before it is synced   the same.
 *   K3  die before the rename     the same.
 *   K4  die after the rename      the new file holds everything the old one did. A power cut may bring
 *                                 the old one back, which nothing was appended to since.
 *   K5  die after the directory's sync   the new file; the old one is gone with its last descriptor.
 * The data are synced also in a journal that is not `synced`: once in some thousand records, and it
 * spares every reader a file whose header a power cut took. The lock is taken before the rename, so
 * that no reader ever finds a living writer's file unlocked.
 * Must not touch: another worker's file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/io.h"
#include "worker/journal/disk.h"
#include "worker/journal/table.h"
#include "worker/journal/writer.h"

#define BIRTH_ATTEMPTS_MAX 8u
#define NEW_NAME_BYTES (JOURNAL_NAME_BYTES + 8)

/* ---- forgetting ------------------------------------------------------------------------------ */

/* J7: a forgotten session leaves the snapshot only when another sound file holds a better record of
 * it that is surely durable; until then this file may be the only one that knows. */
static int leave_out_superseded(struct journal *journal) {
        struct journal_map kept = { 0 };
        struct journal_known *copy;
        int r;

        if (!journal->has_forgotten)
                return 0;
        r = journal_table_load(journal->state_directory, journal->header.destination,
                               journal->header.instance, true, &journal->others, NULL);
        if (r < 0)
                return 0; /* cannot know: everything stays */
        journal->has_forgotten = false;
        for (uint32_t i = 0; i < journal->known.entry_count; i++) {
                const struct journal_known *known = &journal->known.entries[i];

                if (known->forgotten &&
                    journal_table_supersedes(journal->others, journal->name, &known->record.checkpoint))
                        continue;
                journal->has_forgotten |= known->forgotten;
                r = journal_map_add(&kept, known->record.checkpoint.session, &copy);
                if (r < 0) {
                        journal_map_done(&kept);
                        journal->has_forgotten = true;
                        return r;
                }
                *copy = *known;
        }
        journal_map_done(&journal->known);
        journal->known = kept;
        return 0;
}

/* ---- the new file ---------------------------------------------------------------------------- */

struct birth_file {
        int fd;
        uint64_t written_bytes; /* through the chunk to the disk */
        size_t chunk_bytes;     /* in the chunk */
        uint64_t record_count;
};

static int birth_flush(struct journal *journal, struct birth_file *file) {
        int r;

        r = journal_disk_write(file->fd, journal->chunk, JOURNAL_CHUNK_BYTES, file->written_bytes);
        if (r < 0)
                return r;
        file->written_bytes += JOURNAL_CHUNK_BYTES;
        file->chunk_bytes = 0;
        return 0;
}

static int birth_put(struct journal *journal, struct birth_file *file, const uint8_t *bytes, size_t count) {
        while (count > 0) {
                size_t part = MIN_OF(count, JOURNAL_CHUNK_BYTES - file->chunk_bytes);
                int r;

                memcpy(journal->chunk + file->chunk_bytes, bytes, part);
                file->chunk_bytes += part;
                bytes += part;
                count -= part;
                if (file->chunk_bytes == JOURNAL_CHUNK_BYTES) {
                        r = birth_flush(journal, file);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

/* Header, snapshot, and zeros to the end of the chunk: always room for one record at least. */
static int birth_write(struct journal *journal, struct birth_file *file,
                       const struct journal_header *header) {
        uint8_t bytes[JOURNAL_RECORD_BYTES];
        struct journal_record record;
        int r;

        journal_header_encode(header, bytes);
        r = birth_put(journal, file, bytes, JOURNAL_HEADER_BYTES);
        for (uint32_t i = 0; r >= 0 && i < journal->known.entry_count; i++) {
                if (journal->known.entries[i].offset == 0)
                        continue; /* its first append found no room */
                record = journal->known.entries[i].record;
                record.type = JOURNAL_SNAPSHOT;
                record.sequence = ++file->record_count;
                journal_record_encode(&record, bytes);
                r = birth_put(journal, file, bytes, sizeof bytes);
        }
        if (r < 0)
                return r;
        memset(journal->chunk + file->chunk_bytes, 0, JOURNAL_CHUNK_BYTES - file->chunk_bytes);
        return birth_flush(journal, file);
}

/* Makes NAME.new, locked. A collector that holds the lock of one that was left behind, or that has
 * just unlinked ours, is done in a moment: -EAGAIN. */
static int birth_make(struct journal *journal, const char *new_name, int *ret_fd) {
        _cleanup_fd_ int fd = -1;
        int r;

        r = journal_disk_unlink(journal->dir_fd, new_name);
        if (r < 0)
                return r;
        r = journal_disk_open(journal->dir_fd, new_name, O_RDWR | O_CREAT | O_EXCL, &fd);
        if (r < 0)
                return r == -EEXIST ? -EAGAIN : r;
        r = journal_disk_lock(fd, true);
        if (r < 0)
                return r == -EWOULDBLOCK ? -EAGAIN : r;
        *ret_fd = TAKE_FD(fd);
        CRASH_POINT("journal.K1");
        return 0;
}

/* ---- the way to its name --------------------------------------------------------------------- */

/* Everything before the rename, in one attempt; *what for the sentence. On failure NAME.new may be
 * left behind for the caller to unlink. */
static int birth_prepare(struct journal *journal, const struct journal_header *header, const char *new_name,
                         struct birth_file *file, const char **ret_what) {
        int r;

        *ret_what = "make a new file";
        r = birth_make(journal, new_name, &file->fd);
        if (r < 0)
                return r;
        *ret_what = "write a new file";
        r = birth_write(journal, file, header);
        if (r < 0)
                return r;
        CRASH_POINT("journal.K2");
        *ret_what = "sync a new file";
        r = journal_disk_datasync(file->fd);
        if (r < 0)
                return -EIO; /* also one that says "no room" (M7) */
        CRASH_POINT("journal.K3");
        *ret_what = "rename a new file";
        return 0;
}

/* From here on the new file is the journal; closing the old descriptor gives its lock back. */
static void birth_adopt(struct journal *journal, const struct journal_header *header,
                        struct birth_file *file) {
        uint64_t sequence = 0;

        fd_close(&journal->fd);
        journal->fd = TAKE_FD(file->fd);
        journal->header = *header;
        journal->offset = JOURNAL_HEADER_BYTES + file->record_count * JOURNAL_RECORD_BYTES;
        journal->allocated_bytes = file->written_bytes;
        journal->rotate_not_before = 0;
        for (uint32_t i = 0; i < journal->known.entry_count; i++)
                if (journal->known.entries[i].offset != 0)
                        journal->known.entries[i].offset = JOURNAL_HEADER_BYTES +
                                                           sequence++ * JOURNAL_RECORD_BYTES;
        assert(sequence == file->record_count);
}

static int birth_attempt(struct journal *journal, enum journal_birth birth, struct failure *ret_failure) {
        struct journal_header header = journal->header;
        char new_name[NEW_NAME_BYTES];
        _cleanup_fd_ int fd = -1;
        struct birth_file file = { .fd = -1 };
        const char *what;
        int r;

        (void) snprintf(new_name, sizeof new_name, "%s" JOURNAL_NEW_SUFFIX, journal->name);
        header.created_realtime_usec = clock_realtime_usec();
        r = birth_prepare(journal, &header, new_name, &file, &what);
        if (r >= 0)
                r = journal_disk_rename(journal->dir_fd, new_name, journal->name,
                                        birth != JOURNAL_BIRTH_FIRST);
        if (r < 0) {
                fd = TAKE_FD(file.fd);
                (void) journal_disk_unlink(journal->dir_fd, new_name);
                if (r == -EAGAIN || r == -EEXIST || r == -ENOENT)
                        return r;
                return journal_fail(journal, r, false, what, ret_failure);
        }
        CRASH_POINT("journal.K4");
        birth_adopt(journal, &header, &file);
        if (journal->is_synced || birth == JOURNAL_BIRTH_RENEW) {
                r = journal_disk_dirsync(journal->dir_fd);
                if (r < 0)
                        return journal_fail(journal, -EIO, true, "sync the directory", ret_failure);
        }
        CRASH_POINT("journal.K5");
        return 0;
}

int journal_birth(struct journal *journal, enum journal_birth birth, struct failure *ret_failure) {
        int r;

        assert(journal->dir_fd >= 0);
        assert((birth == JOURNAL_BIRTH_FIRST) == (journal->fd < 0));

        /* A look first, for it is cheap; the rename makes sure of it. */
        if (birth == JOURNAL_BIRTH_FIRST &&
            faccessat(journal->dir_fd, journal->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                return -EEXIST;
        r = leave_out_superseded(journal);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "journal: out of memory");
        for (unsigned attempts = 0; attempts < BIRTH_ATTEMPTS_MAX; attempts++) {
                r = birth_attempt(journal, birth, ret_failure);
                if (r != -EAGAIN && r != -ENOENT)
                        return r;
        }
        return journal_fail(journal, -EBUSY, false, "make a new file (a collector was in the way each time)",
                            ret_failure);
}
