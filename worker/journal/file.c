/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at one journal file (J4, J5, J8, J10).
 *
 * A dead writer's flock is free, but not at once: the kernel frees its robust mutexes, so a taker is
 * already here, before it closes its files (S1). Until then the file reads like a live one's: the
 * half-written last record is simply not there, which is what cutting it would say as well.
 * Must not touch: a file whose lock somebody holds, a byte of a file but a torn tail. */
#include "worker/journal/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/crash.h"
#include "base/io.h"
#include "worker/journal/disk.h"

void journal_findings_add(struct journal_findings *findings, const char *format, ...) {
        va_list args;

        if (findings->count < JOURNAL_FINDING_COUNT_MAX) {
                va_start(args, format);
                (void) vsnprintf(findings->texts[findings->count], FAILURE_TEXT_BYTES, format, args);
                va_end(args);
        }
        findings->count++;
}

static bool is_same_file(const struct stat *a, const struct stat *b) {
        return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static bool is_unchanged(const struct stat *a, const struct stat *b) {
        return is_same_file(a, b) && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
               a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
               a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Forgets everything but the name. */
static void file_reset(struct journal_file *file) {
        journal_map_done(&file->sessions);
        file->stat = (struct stat){ 0 };
        file->is_dead = file->is_sync_failed = false;
        file->verdict = JOURNAL_GO_ON;
        file->reason = file->damage_reason = NULL;
        file->reason_offset = file->next_offset = file->synced_offset = 0;
        file->damage_offset = 0;
        file->is_damage_unnamed = false;
        file->last_index = UINT32_MAX;
}

void journal_file_done(struct journal_file *file) {
        journal_map_done(&file->sessions);
}

bool journal_file_is_sound(const struct journal_file *file) {
        return file->verdict == JOURNAL_GO_ON && file->damage_offset == 0 && !file->is_sync_failed;
}

uint64_t journal_file_damage_of(const struct journal_file *file, const struct journal_known *known) {
        return known || file->is_damage_unnamed ? file->damage_offset : 0;
}

/* Returns r. */
static int fail_to_look(const struct journal_look *look, const struct journal_file *file, int r,
                        const char *what, struct failure *ret_failure) {
        return failure_set(ret_failure, r, failure_kind_of_errno(r), "journal %s/%s cannot be %s: %s",
                           look->directory, file->name, what, strerror(-r));
}

/* ---- what a step says ------------------------------------------------------------------------ */

static void prove(struct journal_known *known) {
        assert(known->offset != 0);

        known->has_proven = true;
        known->proven_epoch = known->record.checkpoint.epoch;
        known->proven_position = known->record.checkpoint.position;
}

static int note_record(struct journal_file *file, const struct journal_step *step) {
        struct journal_known *known;
        int r;

        r = journal_map_add(&file->sessions, step->record.checkpoint.session, &known);
        if (r < 0)
                return r;
        /* J8: that this record was begun proves that the one before it was synced. */
        if (file->last_index != UINT32_MAX)
                prove(&file->sessions.entries[file->last_index]);
        file->last_index = (uint32_t) (known - file->sessions.entries);

        if (known->offset == 0 ||
            journal_checkpoint_compare(&step->record.checkpoint, &known->record.checkpoint) >= 0) {
                known->record = step->record;
                memcpy(known->record.checkpoint.instance, file->header.instance, INSTANCE_BYTES);
        }
        known->offset = step->offset;
        /* A file is synced whole before it gets its name; an unsynced one is synced by who reads it. */
        if (step->record.type == JOURNAL_SNAPSHOT || !(file->header.flags & JOURNAL_FLAG_SYNCED))
                prove(known);
        return 0;
}

static int note_damage(struct journal_file *file, const struct journal_look *look,
                       const struct journal_step *step) {
        struct journal_known *known;

        if (file->damage_offset == 0) {
                file->damage_offset = step->offset;
                file->damage_reason = step->reason;
                journal_findings_add(look->findings,
                                     "journal %s/%s is damaged at byte %" PRIu64
                                     ": %s; the sessions concerned stop, "
                                     "see `baton journal check`",
                                     look->directory, file->name, step->offset, step->reason);
        }
        if (step->damaged_session[0] == '\0') {
                file->is_damage_unnamed = true;
                return 0;
        }
        return journal_map_add(&file->sessions, step->damaged_session, &known);
}

static void refuse(struct journal_file *file, const struct journal_look *look, enum journal_decision verdict,
                   const char *reason, uint64_t offset) {
        char text[JOURNAL_REASON_BYTES];

        file->verdict = verdict;
        file->reason = reason;
        file->reason_offset = offset;
        journal_findings_add(look->findings, "journal %s/%s, byte %" PRIu64 ": %s", look->directory,
                             file->name, offset, journal_refusal(file->header.version, reason, text));
}

static int note_step(struct journal_file *file, const struct journal_look *look,
                     const struct journal_step *step) {
        switch (step->decision) {
        case JOURNAL_GO_ON:
                return note_record(file, step);
        case JOURNAL_DAMAGED:
                return note_damage(file, look, step);
        case JOURNAL_LOST:
                journal_findings_add(look->findings,
                                     "journal %s/%s lacks the record at byte %" PRIu64
                                     ": %s (nothing is lost: the "
                                     "destination holds the checkpoint)",
                                     look->directory, file->name, step->offset, step->reason);
                return 0;
        case JOURNAL_OTHER_VERSION:
                refuse(file, look, step->decision, step->reason, step->offset);
                return 0;
        default:
                return 0;
        }
}

/* ---- one look -------------------------------------------------------------------------------- */

static int read_header(struct journal_file *file, const struct journal_look *look) {
        const struct journal_row *row;
        int r;

        r = journal_scan_header(look->scan, look->instance, look->destination, &file->header, &row);
        if (r < 0)
                return r;
        if (row->decision != JOURNAL_GO_ON)
                refuse(file, look, row->decision, row->reason, 0);
        if (row->decision == JOURNAL_GO_ON || row->decision == JOURNAL_FOREIGN)
                file->next_offset = JOURNAL_HEADER_BYTES;
        return 0;
}

/* A writer that has rotated twice may be given the inode number of its first file again: the header
 * tells. Forgets what was known of the earlier file. */
static int forget_if_reborn(struct journal_file *file, const struct journal_look *look) {
        struct journal_header header = { 0 };
        const struct journal_row *row;
        bool is_dead = file->is_dead;
        int r;

        r = journal_scan_header(look->scan, NULL, NULL, &header, &row);
        if (r < 0)
                return r;
        if (memcmp(&header, &file->header, sizeof header) != 0) {
                file_reset(file);
                file->is_dead = is_dead;
        }
        return 0;
}

/* Reads from where the last look ended. *ret_end: why it ended. */
static int read_new(struct journal_file *file, const struct journal_look *look,
                    enum journal_decision *ret_end) {
        struct journal_step step = { .decision = file->verdict };
        int r;

        if (file->next_offset != 0) {
                r = forget_if_reborn(file, look);
                if (r < 0)
                        return r;
        }
        if (file->next_offset == 0) {
                r = read_header(file, look);
                if (r < 0)
                        return r;
        }
        if (file->next_offset == 0 || file->verdict == JOURNAL_OTHER_VERSION) {
                *ret_end = file->verdict;
                return 0;
        }
        journal_scan_resume(look->scan, &file->header, file->next_offset);
        do {
                r = journal_scan_next(look->scan, &step);
                if (r < 0)
                        return r;
                r = note_step(file, look, &step);
                if (r < 0)
                        return r;
        } while (!journal_decision_is_end(step.decision));
        file->next_offset = step.offset;
        *ret_end = step.decision;
        return 0;
}

/* J5: what stands before the tail must be whole and ours. Damage whose torn tail was cut would be the last thing
 * in the file, and the next reader would take it for a torn tail, too. */
static bool may_cut_tail(const struct journal_file *file, const struct journal_look *look) {
        return !look->leave_tails && file->is_dead && file->verdict == JOURNAL_GO_ON &&
               file->damage_offset == 0;
}

/* Cuts the torn tail of a dead writer's file (J5). Where the lock is busy another reader is about to
 * do the same; where the file cannot be written it stays: the table skips it in any case.
 *   K9   die before the cut    the next reader finds the same tail.
 *   K10  die after the cut     the file ends with its last whole record; a power cut may bring the
 *                              tail back, and the next reader finds it again. */
static int cut_tail(struct journal_file *file, const struct journal_look *look, int fd, bool is_writable) {
        int r;

        journal_findings_add(look->findings,
                             "journal %s/%s ends at byte %" PRIu64 " with an incomplete record, "
                             "which its writer died on; %s",
                             look->directory, file->name, file->next_offset,
                             is_writable ? "it is cut off" : "it is skipped (no permission to cut it)");
        if (!is_writable || journal_disk_lock(fd, true) < 0)
                return 0;
        CRASH_POINT("journal.K9");
        r = journal_disk_truncate(fd, file->next_offset);
        if (r < 0)
                return r;
        CRASH_POINT("journal.K10");
        file->synced_offset = 0;
        return 0;
}

/* M3 (2), J10: read first, synced then: so whatever was read is durable, also where the writer lives. */
static int sync_read(struct journal_file *file, const struct journal_look *look, int fd,
                     struct failure *ret_failure) {
        int r;

        if (!look->sync || file->is_sync_failed || file->next_offset <= file->synced_offset)
                return 0;
        r = journal_disk_datasync(fd);
        if (r < 0) {
                file->is_sync_failed = true;
                return failure_set(ret_failure, r, FAILURE_SYNC,
                                   "journal %s/%s cannot be synced: %s; what it says "
                                   "must be written again elsewhere before it is relied upon",
                                   look->directory, file->name, strerror(-r));
        }
        file->synced_offset = file->next_offset;
        return 0;
}

static int look_into(struct journal_file *file, const struct journal_look *look, int fd, bool is_writable,
                     struct failure *ret_failure) {
        enum journal_decision end;
        int r;

        r = journal_scan_begin(look->scan, fd, !file->is_dead);
        if (r >= 0)
                r = read_new(file, look, &end);
        if (r >= 0 && end == JOURNAL_TORN_TAIL && may_cut_tail(file, look))
                r = cut_tail(file, look, fd, is_writable);
        if (r < 0) {
                file_reset(file); /* half a look is none: a record noted twice would prove itself (J8) */
                return fail_to_look(look, file, r, "read", ret_failure);
        }
        return sync_read(file, look, fd, ret_failure);
}

/* Opens the file by its name. *ret_is_dead: its lock was free, and the name still leads to it. */
static int file_open(const struct journal_file *file, const struct journal_look *look, int *ret_fd,
                     bool *ret_is_writable, bool *ret_is_dead, struct stat *ret_stat) {
        _cleanup_fd_ int fd = -1;
        bool is_writable = true;
        struct stat named, opened;
        int r;

        r = journal_disk_open(look->dir_fd, file->name, O_RDWR, &fd);
        if (r == -EACCES || r == -EROFS || r == -EPERM) {
                is_writable = false;
                r = journal_disk_open(look->dir_fd, file->name, O_RDONLY, &fd);
        }
        if (r < 0)
                return r;
        if (fstat(fd, &opened) < 0)
                return -errno;
        if (!S_ISREG(opened.st_mode))
                return -EINVAL;
        *ret_is_dead = journal_disk_lock(fd, false) >= 0;
        /* Renamed over in between (its writer lives and has rotated): that file is the past. */
        if (fstatat(look->dir_fd, file->name, &named, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!is_same_file(&named, &opened))
                return -EAGAIN;
        *ret_fd = TAKE_FD(fd);
        *ret_is_writable = is_writable;
        *ret_stat = opened;
        return 0;
}

int journal_file_look(struct journal_file *file, const struct journal_look *look,
                      struct failure *ret_failure) {
        bool is_writable = false, is_dead = false;
        _cleanup_fd_ int fd = -1;
        struct stat st;
        int r;

        if (fstatat(look->dir_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                r = -errno;
                return r == -ENOENT ? r : fail_to_look(look, file, r, "looked at", ret_failure);
        }
        if (file->is_dead && is_unchanged(&st, &file->stat) &&
            (!look->sync || file->is_sync_failed || file->synced_offset >= file->next_offset))
                return 0;

        for (unsigned attempts = 0; attempts < 16; attempts++) {
                r = file_open(file, look, &fd, &is_writable, &is_dead, &st);
                if (r != -EAGAIN)
                        break;
        }
        if (r == -ENOENT)
                return r;
        if (r < 0)
                return fail_to_look(look, file, r, "opened", ret_failure);

        if (!is_same_file(&st, &file->stat) || (uint64_t) st.st_size < file->next_offset ||
            file->next_offset == 0)
                file_reset(file);
        file->is_dead = is_dead;
        r = look_into(file, look, fd, is_writable, ret_failure);
        /* Also after a failure: that the sync of this very file failed must not be forgotten (J10). */
        if (fstat(fd, &file->stat) < 0 && r >= 0)
                r = fail_to_look(look, file, -errno, "looked at", ret_failure);
        if (r < 0)
                file->is_dead = false; /* look again, whether it has changed or not */
        return r;
}
