/* SPDX-License-Identifier: Apache-2.0 */
/* A new owner examines what it finds (M3, steps 4 to 6): the lock first, then the files against the
 * lengths and CRCs that the journal recorded. Shorter, changed, or content that no journal knows: stop
 * and say so. Longer: a tail, for file_tail.c.
 *
 * The begun mark. A new session's first batch is written before the journal has a state for it; an
 * owner that dies there leaves content and a zeroed state, which looks like a lost journal. So before
 * the first byte a file .SESSION.begun with the instance is made durable: "what stands here began from
 * nothing, under this instance". It goes with the second batch, when the journal has the first.
 *   K5  the mark is written, not synced     no content can exist: the next fence makes it anew.
 *   K6  the mark is durable                 a file without content, or a tail from byte 0 on.
 * Must not touch: any byte of a data file. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/io.h"
#include "worker/destination/file.h"

#define MARK_BYTES_MAX 128

/* ---- the begun mark -------------------------------------------------------------------------------- */

static void mark_name(const struct destination_session *session, char ret_name[FILE_NAME_BYTES]) {
        (void) snprintf(ret_name, FILE_NAME_BYTES, ".%s.begun", session->name);
}

static void mark_text(const struct destination_session *session, char ret_text[MARK_BYTES_MAX]) {
        int used = snprintf(ret_text, MARK_BYTES_MAX, "baton file destination 1\ninstance ");

        for (size_t i = 0; i < INSTANCE_BYTES; i++)
                used += snprintf(ret_text + used, MARK_BYTES_MAX - (size_t) used, "%02x",
                                 session->destination->instance[i]);
        (void) snprintf(ret_text + used, MARK_BYTES_MAX - (size_t) used, "\n");
}

static bool mark_is_ours(const struct destination_session *session) {
        char name[FILE_NAME_BYTES], expected[MARK_BYTES_MAX], found[MARK_BYTES_MAX];
        _cleanup_fd_ int fd = -1;
        size_t bytes;

        mark_name(session, name);
        mark_text(session, expected);
        fd = file_open(session->destination->dir_fd, name, O_RDONLY);
        if (fd < 0 || file_read_all(fd, found, sizeof(found), 0, &bytes) < 0)
                return false;
        return bytes == strlen(expected) && memcmp(found, expected, bytes) == 0;
}

static int mark_write(struct destination_session *session, const char *name, struct failure *ret_failure) {
        struct destination *destination = session->destination;
        _cleanup_fd_ int fd = -1;
        char text[MARK_BYTES_MAX];
        int r;

        fd = file_open(destination->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL);
        if (fd < 0)
                return file_fail(destination, name, fd, "make", ret_failure);
        mark_text(session, text);
        r = file_write_all(fd, text, strlen(text), 0);
        if (r < 0)
                return file_fail(destination, name, r, "write", ret_failure);
        CRASH_POINT("file.K5");
        r = file_sync_whole(fd);
        if (r < 0)
                return file_fail_sync(destination, name, r, ret_failure);
        return file_directory_sync(destination, ret_failure);
}

/* A new file each time: one whose sync failed is never synced again (M7). */
static int mark_make(struct destination_session *session, struct failure *ret_failure) {
        char name[FILE_NAME_BYTES];
        int r;

        mark_name(session, name);
        r = file_unlink(session->destination->dir_fd, name);
        if (r < 0)
                return file_fail(session->destination, name, r, "remove", ret_failure);
        r = mark_write(session, name, ret_failure);
        if (r < 0) {
                (void) file_unlink(session->destination->dir_fd, name); /* else the next fence does it */
                return r;
        }
        CRASH_POINT("file.K6");
        return 0;
}

static void mark_remove(struct destination_session *session) {
        char name[FILE_NAME_BYTES];

        mark_name(session, name);
        (void) file_unlink(session->destination->dir_fd, name); /* tried again at the next fence */
        session->has_begun_mark = false;
}

/* Called when a batch ends. Durable bytes that no fence has taken back since are in the journal. */
void file_begun_clear(struct destination_session *session) {
        if (session->has_begun_mark && session->data.durable_bytes + session->parked.durable_bytes > 0)
                mark_remove(session);
}

/* ---- content that no journal knows ------------------------------------------------------------------ */

static bool name_is_of_session(const char *name, const char *session) {
        size_t digits, length = strlen(session);

        if (strncmp(name, session, length) != 0 || name[length] != '.')
                return false;
        name += length + 1;
        if (strcmp(name, "parked.jsonl") == 0)
                return true;
        digits = strspn(name, "0123456789");
        return digits >= 6 && strcmp(name + digits, ".jsonl") == 0;
}

/* 1 and the name of a file of this session that has content; 0 if there is none. */
static int content_find(struct destination_session *session, char ret_name[FILE_NAME_BYTES],
                        struct failure *ret_failure) {
        struct destination *destination = session->destination;
        struct dirent *entry;
        struct stat status;
        DIR *directory;
        int fd, r = 0;

        fd = openat(destination->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return file_fail(destination, "", -errno, "list the directory", ret_failure);
        directory = fdopendir(fd);
        if (!directory) {
                r = -errno;
                fd_close(&fd);
                return file_fail(destination, "", r, "list the directory", ret_failure);
        }
        for (errno = 0; r == 0 && (entry = readdir(directory)); errno = 0)
                if (name_is_of_session(entry->d_name, session->name) &&
                    fstatat(destination->dir_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                    (status.st_size > 0 || !S_ISREG(status.st_mode)) &&
                    text_copy(ret_name, FILE_NAME_BYTES, entry->d_name) == 0)
                        r = 1;
        if (r == 0 && errno != 0)
                r = file_fail(destination, "", -errno, "list the directory", ret_failure);
        (void) closedir(directory);
        return r;
}

static int fence_unknown(struct destination_session *session, const struct checkpoint *checkpoint,
                         struct file_state *ret_state, struct failure *ret_failure) {
        char name[FILE_NAME_BYTES];
        int r;

        if (checkpoint->position > 0)
                return failure_set(
                        ret_failure, -ENODATA, FAILURE_BEHIND,
                        "the journal says that session %s is moved up to %llu, but not to files; give the "
                        "new "
                        "destination %s a name of its own in the configuration, and it starts at the "
                        "beginning",
                        session->name, (unsigned long long) checkpoint->position, session->destination->path);
        r = content_find(session, name, ret_failure);
        if (r < 0)
                return r;
        if (r > 0 && !mark_is_ours(session))
                return failure_set(
                        ret_failure, -EEXIST, FAILURE_STOP,
                        "%s/%s has content, but Baton's journal knows nothing of it: was the state "
                        "directory lost, or does another Baton write there? Bring the state directory back, "
                        "or "
                        "move the session's files away, then run `baton adopt`",
                        session->destination->path, name);
        if (r == 0) {
                r = mark_make(session, ret_failure);
                if (r < 0)
                        return r;
        }
        session->has_begun_mark = true;
        *ret_state = (struct file_state){
                .file_number = 1,
                .created_realtime_usec = clock_realtime_usec(),
        };
        return 0;
}

/* ---- the files against the record ------------------------------------------------------------------- */

static int state_read(const struct destination_session *session, const struct checkpoint *checkpoint,
                      struct file_state *ret_state, struct failure *ret_failure) {
        int r;

        r = file_state_decode(checkpoint->destination_state, ret_state);
        if (r < 0)
                return failure_set(
                        ret_failure, r, FAILURE_STOP,
                        "the journal's record of session %s has a state of files that this Baton cannot read "
                        "(%s); run the version that wrote it, or `baton journal check`",
                        session->name, r == -EPROTONOSUPPORT ? "another version" : "damaged");
        if (ret_state->file_number > 0 && ret_state->position != checkpoint->position)
                return failure_set(
                        ret_failure, -EBADMSG, FAILURE_STOP,
                        "the journal's record of session %s stands at %llu, its file lengths at %llu: to go "
                        "on "
                        "would lose or repeat events; run `baton journal show`",
                        session->name, (unsigned long long) checkpoint->position,
                        (unsigned long long) ret_state->position);
        return 0;
}

static int refuse_short(const struct destination *destination, const struct file_part *part,
                        uint64_t size_bytes, struct failure *ret_failure) {
        return failure_set(
                ret_failure, -ENODATA, FAILURE_STOP,
                "%s/%s has %llu bytes, but the journal recorded %llu as durable: it was cut, removed or "
                "restored from an older copy. Put the complete file back, then run `baton adopt`",
                destination->path, part->name, (unsigned long long) size_bytes,
                (unsigned long long) part->durable_bytes);
}

/* Opens and compares. part->durable_bytes and _crc are what the journal recorded. */
static int examine(struct destination_session *session, struct file_part *part, bool create,
                   struct failure *ret_failure) {
        struct destination *destination = session->destination;
        uint32_t crc;
        int r;

        part->written_bytes = part->tail_end_bytes = part->durable_bytes;
        part->written_crc = part->durable_crc;
        part->touched = part->uncertain = part->tail_is_torn_line = false;

        r = file_part_open(destination, part, create && part->durable_bytes == 0, ret_failure);
        if (r == -ENOENT)
                return part->durable_bytes == 0 ? 0 : refuse_short(destination, part, 0, ret_failure);
        if (r < 0)
                return r;
        if (part->durable_bytes == 0) /* a dead owner may have made it without a sync of the directory */
                destination->directory_dirty = true;
        r = file_part_size(destination, part, &part->tail_end_bytes, ret_failure);
        if (r < 0)
                return r;
        if (part->tail_end_bytes < part->durable_bytes)
                return refuse_short(destination, part, part->tail_end_bytes, ret_failure);
        r = file_tail_crc(part->fd, part->durable_bytes, &crc);
        if (r < 0)
                return file_fail(destination, part->name, r, "read", ret_failure);
        if (crc != part->durable_crc)
                return failure_set(
                        ret_failure, -EBADMSG, FAILURE_STOP,
                        "%s/%s: what stands before byte %llu is not what Baton wrote there (CRC-32C %08x, "
                        "the "
                        "journal recorded %08x). Put the file back as it was, then run `baton adopt`",
                        destination->path, part->name, (unsigned long long) part->durable_bytes, crc,
                        part->durable_crc);
        return 0;
}

/* An empty next file is what a rotation leaves that died before its record (file_rotate.c K10, K11). */
static int refuse_newer(struct destination_session *session, struct failure *ret_failure) {
        char name[FILE_NAME_BYTES];
        struct stat status;

        file_data_name(session->name, session->file_number + 1, name);
        if (fstatat(session->destination->dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT
                               ? 0
                               : file_fail(session->destination, name, -errno, "examine", ret_failure);
        if (S_ISREG(status.st_mode) && status.st_size == 0)
                return 0;
        return failure_set(
                ret_failure, -EEXIST, FAILURE_STOP,
                "%s/%s has content, but the journal ends with file %06u: the state directory is older "
                "than the files. Bring the newer one back, then run `baton adopt`",
                session->destination->path, name, session->file_number);
}

/* M7: a sync failed under an owner before us. The page cache may show what the disk does not have. */
static int rewrite_uncertain(struct destination_session *session, struct failure *ret_failure) {
        int r;

        if (!file_uncertain_is_set(session))
                return 0;
        r = file_rewrite(session, &session->data, ret_failure);
        if (r >= 0 && session->parked.fd >= 0)
                r = file_rewrite(session, &session->parked, ret_failure);
        if (r < 0)
                return r;
        file_uncertain_clear(session);
        return 0;
}

static int fence_examine(struct destination_session *session, const struct file_state *state,
                         struct failure *ret_failure) {
        int r;

        file_part_close(&session->data);
        file_part_close(&session->parked);
        session->file_number = state->file_number;
        session->created_realtime_usec = state->created_realtime_usec;
        session->created_usec = clock_usec();
        file_data_name(session->name, state->file_number, session->data.name);
        session->data.durable_bytes = state->data_bytes;
        session->data.durable_crc = state->data_crc;
        session->parked.durable_bytes = state->parked_bytes;
        session->parked.durable_crc = state->parked_crc;

        r = examine(session, &session->data, true, ret_failure);
        if (r >= 0)
                r = examine(session, &session->parked, false, ret_failure);
        if (r >= 0)
                r = refuse_newer(session, ret_failure);
        if (r >= 0)
                r = rewrite_uncertain(session, ret_failure);
        return r;
}

int file_fence(struct destination_session *session, uint64_t epoch, struct checkpoint *checkpoint,
               bool *ret_found, bool *ret_tail, struct failure *ret_failure) {
        struct file_state state;
        bool found;
        int r;

        assert(session && checkpoint);
        assert(ret_found && ret_tail);

        session->fenced = session->tail_open = session->tail_ended = session->is_verified = false;
        r = state_read(session, checkpoint, &state, ret_failure);
        if (r < 0)
                return r;
        r = file_lock_take(session, ret_failure);
        if (r < 0)
                return r;
        found = state.file_number > 0;
        if (!found)
                r = fence_unknown(session, checkpoint, &state, ret_failure);
        else if (state.data_bytes + state.parked_bytes > 0)
                mark_remove(session);
        if (r >= 0)
                r = fence_examine(session, &state, ret_failure);
        if (r < 0)
                return r;

        session->fenced = true;
        session->epoch = epoch;
        session->position = checkpoint->position;
        session->tail_open = session->data.tail_end_bytes > session->data.durable_bytes ||
                             session->parked.tail_end_bytes > session->parked.durable_bytes;
        file_state_of(session, &state);
        file_state_encode(&state, checkpoint->destination_state);
        *ret_found = found;
        *ret_tail = session->tail_open;
        return 0;
}
