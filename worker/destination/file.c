/* SPDX-License-Identifier: Apache-2.0 */
/* The destination `file`: one JSON object a line, exactly once through the journal (M3).
 *
 * It has no transactions: what commit() makes durable counts from the moment the mover has journaled
 * the lengths that commit() filled in; until then it is a tail that the next owner adopts or cuts.
 * Rules: M3 (order of effects, lock, no O_APPEND), M6 (classes), M7 (latch), M8 (disk full).
 * Must not touch: journal and source. Logs nothing. Mover thread only (S1). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "base/io.h"
#include "worker/destination/file.h"

/* ---- the directory -------------------------------------------------------------------------------- */

static void file_close(struct destination *destination);

static void close_pointer(struct destination **destination) {
        file_close(*destination);
}

static int open_failed(const char *path, int r, struct failure *failure) {
        if (r == -ENOTDIR)
                return failure_set(
                        failure, r, FAILURE_STOP,
                        "%s is not a directory; url = file:DIRECTORY names the directory for the files",
                        path);
        if (r == -ENOENT)
                return failure_set(
                        failure, r, FAILURE_UNAVAILABLE,
                        "the directory %s does not exist (is its file system mounted?); make it, and give it "
                        "to Baton's user",
                        path);
        return failure_set(failure, r, failure_kind_of_errno(r), "cannot open the directory %s: %s", path,
                           strerrordesc_np(-r));
}

static int file_open_directory(const struct destination_config *config, struct destination **ret_destination,
                               struct failure *ret_failure) {
        _cleanup_(close_pointer) struct destination *destination = NULL;
        const char *path = config->url->path;
        int r;

        assert(config->instance);
        assert(ret_destination);

        destination = calloc(1, sizeof(*destination));
        if (!destination)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "no memory to open %s", path);
        destination->dir_fd = -1;
        r = text_copy(destination->path, sizeof(destination->path), path);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "the path %.64s… is too long", path);
        memcpy(destination->instance, config->instance, INSTANCE_BYTES);
        destination->rotate_bytes = option_number(config->scheme, config->url, "rotate-size");
        destination->rotate_usec = option_number(config->scheme, config->url, "rotate-time");
        destination->pulse = config->pulse;
        destination->pulse_context = config->pulse_context;

        destination->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (destination->dir_fd < 0)
                return open_failed(path, -errno, ret_failure);
        *ret_destination = TAKE(destination);
        return 0;
}

static void file_close(struct destination *destination) {
        if (!destination)
                return;
        assert(!destination->sessions); /* the mover closes its sessions first */
        file_buffer_done(&destination->spare);
        fd_close(&destination->dir_fd);
        free(destination);
}

static int file_directory(const struct destination_config *config, char *ret_directory) {
        return text_copy(ret_directory, PATH_MAX, config->url->path);
}

static bool file_is_stale(struct destination *destination) {
        struct stat at_path, opened;

        if (fstat(destination->dir_fd, &opened) < 0 || stat(destination->path, &at_path) < 0)
                return true;
        return at_path.st_ino != opened.st_ino || at_path.st_dev != opened.st_dev;
}

/* ---- sessions ------------------------------------------------------------------------------------- */

void file_data_name(const char *session, uint32_t file_number, char ret_name[FILE_NAME_BYTES]) {
        (void) snprintf(ret_name, FILE_NAME_BYTES, "%s.%06u.jsonl", session, file_number);
}

void file_parked_name(const char *session, char ret_name[FILE_NAME_BYTES]) {
        (void) snprintf(ret_name, FILE_NAME_BYTES, "%s.parked.jsonl", session);
}

void file_state_of(const struct destination_session *session, struct file_state *ret_state) {
        *ret_state = (struct file_state){
                .file_number = session->file_number,
                .position = session->position,
                .data_bytes = session->data.durable_bytes,
                .parked_bytes = session->parked.durable_bytes,
                .data_crc = session->data.durable_crc,
                .parked_crc = session->parked.durable_crc,
                .created_realtime_usec = session->created_realtime_usec,
        };
}

static int latched_failure(const struct destination *destination, struct failure *failure) {
        return failure_set(
                failure, -EIO, FAILURE_SYNC,
                "%s: a sync failed before; nothing is written there until what is uncertain was written "
                "again to a new place",
                destination->path);
}

static int file_session_open(struct destination *destination, const char *name,
                             struct destination_session **ret_session, struct failure *ret_failure) {
        struct destination_session *session;

        assert(destination && name && ret_session);

        if (!text_is_name(name))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "the session's name cannot be part of a file's name");
        session = calloc(1, sizeof(*session));
        if (!session)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "no memory for session %s",
                                   name);
        (void) text_copy(session->name, sizeof(session->name), name); /* text_is_name(): it fits */
        session->destination = destination;
        session->lock_fd = session->data.fd = session->parked.fd = -1;
        file_parked_name(name, session->parked.name);

        session->next = destination->sessions;
        if (session->next)
                session->next->previous = session;
        destination->sessions = session;
        *ret_session = session;
        return 0;
}

static void transaction_leave(struct destination_session *session) {
        struct destination_session **at = &session->destination->transaction;

        if (!session->in_transaction)
                return;
        while (*at != session)
                at = &(*at)->transaction_next;
        *at = session->transaction_next;
        session->transaction_next = NULL;
        session->in_transaction = false;
        session->noted = NULL;
}

static void tail_restart(struct file_part *part) {
        part->buffer.used_bytes = 0;
        part->written_bytes = part->durable_bytes;
        part->written_crc = part->durable_crc;
        part->tail_is_torn_line = false;
}

static void file_session_rollback(struct destination_session *session) {
        session->noted = NULL;
        if (!session->fenced)
                return;
        if (session->tail_open) { /* nothing was added; adoption begins again at the record */
                tail_restart(&session->data);
                tail_restart(&session->parked);
                session->tail_ended = false;
                return;
        }
        /* A cut that fails leaves the part `touched`: the next batch cuts again, or says why not. */
        (void) file_part_rollback(session->destination, &session->data);
        (void) file_part_rollback(session->destination, &session->parked);
}

static void file_session_close(struct destination_session *session) {
        struct destination *destination;

        if (!session)
                return;
        destination = session->destination;
        if (session->in_transaction)
                file_session_rollback(session);
        transaction_leave(session);
        if (session->previous)
                session->previous->next = session->next;
        else
                destination->sessions = session->next;
        if (session->next)
                session->next->previous = session->previous;
        file_part_close(&session->data);
        file_part_close(&session->parked);
        fd_close(&session->lock_fd); /* last: the next owner finds the files closed */
        free(session);
}

/* ---- one transaction ------------------------------------------------------------------------------ */

static void file_rollback(struct destination *destination) {
        while (destination->transaction) {
                file_session_rollback(destination->transaction);
                transaction_leave(destination->transaction);
        }
        destination->in_transaction = false;
}

static int file_begin(struct destination *destination, struct failure *ret_failure) {
        if (destination->in_transaction) /* a commit that failed, and nobody rolled it back */
                file_rollback(destination);
        if (destination->latched)
                return latched_failure(destination, ret_failure);
        destination->in_transaction = true;
        return 0;
}

static int file_session_begin(struct destination_session *session, struct failure *ret_failure) {
        struct destination *destination = session->destination;

        (void) ret_failure;
        assert(destination->in_transaction);
        assert(!session->noted);

        session->is_verified = false;
        if (!session->in_transaction) {
                session->in_transaction = true;
                session->transaction_next = destination->transaction;
                destination->transaction = session;
        }
        return 0;
}

static int part_verify(struct destination *destination, struct file_part *part, struct failure *ret_failure) {
        int r;

        if (part->touched) {
                r = file_part_rollback(destination, part);
                if (r < 0)
                        return file_fail(destination, part->name, r, "cut off what a failed batch left",
                                         ret_failure);
        }
        return file_part_verify(destination, part, ret_failure);
}

/* Before the first byte of a batch: the files are what we left, at the length that we left them (M3).
 * Not in session_begin(), where a failure would be the whole pool's and not this session's alone. */
static int session_verify(struct destination_session *session, struct failure *ret_failure) {
        int r;

        if (session->is_verified)
                return 0;
        r = part_verify(session->destination, &session->data, ret_failure);
        if (r >= 0)
                r = part_verify(session->destination, &session->parked, ret_failure);
        if (r < 0)
                return r;
        session->is_verified = true;
        return 0;
}

static void take_buffer(struct destination *destination, struct file_part *part) {
        if (part->buffer.data)
                return;
        part->buffer = destination->spare;
        destination->spare = (struct file_buffer){ .data = NULL };
}

static int part_added(struct destination_session *session, struct file_part *part,
                      struct failure *ret_failure) {
        if (part->buffer.used_bytes < FILE_FLUSH_BYTES)
                return 0;
        return file_part_flush(session->destination, part, ret_failure);
}

static int file_put(struct destination_session *session, const struct event *event,
                    struct failure *ret_failure) {
        int r;

        assert(session->in_transaction && session->fenced);
        assert(!session->tail_open);

        r = session_verify(session, ret_failure);
        if (r < 0)
                return r;
        take_buffer(session->destination, &session->data);
        r = file_render_event(&session->data.buffer, session->name, event, ret_failure);
        if (r < 0)
                return r;
        return part_added(session, &session->data, ret_failure);
}

static int file_park(struct destination_session *session, const struct event *event, const char *reason,
                     struct failure *ret_failure) {
        struct file_part *parked = &session->parked;
        int r;

        assert(session->in_transaction && session->fenced);
        assert(!session->tail_open);
        assert(reason);

        if (parked->fd < 0) {
                r = file_part_open(session->destination, parked, true, ret_failure);
                if (r < 0)
                        return r;
        }
        r = session_verify(session, ret_failure);
        if (r < 0)
                return r;
        r = file_render_parked(&parked->buffer, session->name, event, reason, ret_failure);
        if (r < 0)
                return r;
        return part_added(session, parked, ret_failure);
}

/* The lines go to the kernel here, not in commit(): a session that fails (disk full, M8) then fails
 * alone, and a thousand sessions in one transaction need one buffer. Until the journal knows them they
 * are a tail, so nothing is said too early. */
static int file_session_end(struct destination_session *session, struct checkpoint *checkpoint,
                            struct failure *ret_failure) {
        struct destination *destination = session->destination;
        int r;

        assert(session->in_transaction && session->fenced);
        assert(checkpoint && !session->noted);

        if (checkpoint->epoch != session->epoch)
                return failure_set(ret_failure, -ESTALE, FAILURE_FENCED,
                                   "session %s: its files are held at epoch %llu, the checkpoint says %llu",
                                   session->name, (unsigned long long) session->epoch,
                                   (unsigned long long) checkpoint->epoch);
        file_begun_clear(session);
        r = file_part_seal(destination, &session->data, ret_failure);
        if (r >= 0)
                r = file_part_seal(destination, &session->parked, ret_failure);
        if (r < 0)
                return r;
        file_part_give_buffer(destination, &session->data);
        file_part_give_buffer(destination, &session->parked);
        session->noted = checkpoint;
        return 0;
}

static int commit_sync(struct destination *destination, struct failure *ret_failure) {
        int r;

        for (struct destination_session *session = destination->transaction; session;
             session = session->transaction_next) {
                r = file_part_sync(session, &session->data, ret_failure);
                if (r < 0)
                        return r;
                CRASH_POINT("file.K2");
                r = file_part_sync(session, &session->parked, ret_failure);
                if (r < 0)
                        return r;
        }
        return destination->directory_dirty ? file_directory_sync(destination, ret_failure) : 0;
}

/* We die here: K1 lines written, nothing synced; K2 some files synced; K3 all of it durable, the
 * journal does not know. In each the next owner finds a tail and adopts it (file_tail.c). */
static int file_commit(struct destination *destination, struct failure *ret_failure) {
        struct destination_session *session;
        struct file_state state;
        int r;

        assert(destination->in_transaction);

        if (destination->latched)
                return latched_failure(destination, ret_failure);
        for (session = destination->transaction; session; session = session->transaction_next)
                if (!session->noted)
                        file_session_rollback(session);
        r = commit_sync(destination, ret_failure);
        if (r < 0)
                return r;
        CRASH_POINT("file.K3");
        while ((session = destination->transaction)) {
                if (session->noted) {
                        file_part_settle(&session->data);
                        file_part_settle(&session->parked);
                        session->position = session->noted->position;
                        file_state_of(session, &state);
                        file_state_encode(&state, session->noted->destination_state);
                }
                transaction_leave(session);
        }
        destination->in_transaction = false;
        return 0;
}

const struct destination_ops destination_file_ops = {
        .scheme = "file",
        .flags = 0,
        .open = file_open_directory,
        .close = file_close,
        .is_stale = file_is_stale,
        .begin = file_begin,
        .commit = file_commit,
        .rollback = file_rollback,
        .resync = file_resync,
        .session_open = file_session_open,
        .session_close = file_session_close,
        .session_begin = file_session_begin,
        .fence = file_fence,
        .tail_adopt = file_tail_adopt,
        .tail_cut = file_tail_cut,
        .put = file_put,
        .park = file_park,
        .session_end = file_session_end,
        .session_rollback = file_session_rollback,
        .rotation_due = file_rotation_due,
        .rotate = file_rotate,
        .directory = file_directory,
        .check = file_check,
};
