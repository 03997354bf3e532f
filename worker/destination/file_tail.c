/* SPDX-License-Identifier: Apache-2.0 */
/* The tail: bytes that stand beyond the length that the journal recorded (M3, step 4). The dead owner
 * wrote them in its last batch; what is whole and known is adopted, the rest is kept aside and cut.
 *
 * The source is asked what the events after the checkpoint are, each is rendered again, and the bytes
 * are compared: so no line is parsed and no line is believed. Adopted lines are then written once more
 * to where they stand, from memory: the dead owner's sync may have failed, and then the cache shows
 * bytes that the disk does not have (M7).
 *
 * We die here: nothing before the sync in tail_cut() changes what the next owner finds, except
 *   K7  copy written, not synced     the tail stands; a second copy is made under the next epoch.
 *   K8  copy durable, nothing cut    the same.
 *   K9  cut, not synced              a shorter tail, or after a power cut the longer one again.
 * Must not touch: a byte before the recorded length. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/crash.h"
#include "base/io.h"
#include "worker/destination/file.h"
#include "worker/destination/file_json.h"

#define COMPARE_BYTES 4096
#define CUT_NAMES_MAX 100

static uint64_t part_at(const struct file_part *part) {
        return part->written_bytes + part->buffer.used_bytes;
}

static uint64_t part_left(const struct file_part *part) {
        assert(part->tail_end_bytes >= part_at(part));
        return part->tail_end_bytes - part_at(part);
}

/* How many of the `bytes` stand in the file from `offset` on: all, or up to the first that differs. */
static int compare(const struct file_part *part, uint64_t offset, const uint8_t *data, size_t bytes,
                   size_t *ret_equal_bytes) {
        uint8_t found[COMPARE_BYTES];
        size_t equal = 0, n;
        int r;

        while (equal < bytes) {
                r = file_read_all(part->fd, found, MIN_OF(bytes - equal, sizeof(found)), offset + equal, &n);
                if (r < 0)
                        return r;
                if (n == 0 || memcmp(found, data + equal, n) != 0)
                        break;
                equal += n;
        }
        *ret_equal_bytes = equal;
        return 0;
}

/* The line that was just rendered at the end of the buffer, from start_bytes on: does it stand next in
 * the file? 1: yes; 0: no. */
static int stands_next(struct file_part *part, size_t start_bytes) {
        size_t bytes = part->buffer.used_bytes - start_bytes, equal;
        uint64_t offset = part->written_bytes + start_bytes, left = part->tail_end_bytes - offset;
        int r;

        r = compare(part, offset, part->buffer.data + start_bytes, MIN_OF((uint64_t) bytes, left), &equal);
        if (r < 0)
                return r;
        part->tail_is_torn_line = equal == left && left < bytes;
        return equal == bytes;
}

static int adopt_data(struct destination_session *session, const struct event *event,
                      struct failure *ret_failure) {
        struct file_part *part = &session->data;
        size_t start_bytes = part->buffer.used_bytes;
        struct failure failure;
        int r;

        if (part_left(part) == 0)
                return 0;
        r = file_render_event(&part->buffer, session->name, event, &failure);
        if (r < 0 && failure.kind == FAILURE_REJECTED)
                return 0;
        if (r < 0) {
                *ret_failure = failure;
                return r;
        }
        r = stands_next(part, start_bytes);
        if (r <= 0)
                part->buffer.used_bytes = start_bytes;
        return r < 0 ? file_fail(session->destination, part->name, r, "read", ret_failure) : r;
}

/* The reason is known to the dead owner alone; it is taken over if it is whole: a JSON string, "}" and
 * the end of the line. 1: appended to the buffer; 0: it is not whole. */
static int adopt_reason(struct file_part *part) {
        const size_t key_bytes = strlen(FILE_REASON_KEY);
        uint8_t found[FILE_REASON_BYTES_MAX];
        struct file_json_error error;
        const uint8_t *end;
        size_t bytes, line_bytes;
        bool has_breaks;
        int r;

        r = file_read_all(part->fd, found, sizeof(found), part_at(part), &bytes);
        if (r < 0)
                return r;
        end = memchr(found, '\n', bytes);
        part->tail_is_torn_line = !end && bytes < sizeof(found);
        line_bytes = end ? (size_t) (end - found) + 1 : 0;
        if (line_bytes < key_bytes + 4 || memcmp(found, FILE_REASON_KEY, key_bytes) != 0 ||
            found[key_bytes] != '"' || found[line_bytes - 2] != '}' ||
            file_json_check(found + key_bytes, line_bytes - 2 - key_bytes, &has_breaks, &error) < 0)
                return 0;
        if (part->buffer.capacity_bytes - part->buffer.used_bytes < line_bytes) {
                uint8_t *data = realloc(part->buffer.data, part->buffer.capacity_bytes + sizeof(found));

                if (!data)
                        return -ENOMEM;
                part->buffer.data = data;
                part->buffer.capacity_bytes += sizeof(found);
        }
        memcpy(part->buffer.data + part->buffer.used_bytes, found, line_bytes);
        part->buffer.used_bytes += line_bytes;
        return 1;
}

static int adopt_parked(struct destination_session *session, const struct event *event,
                        struct failure *ret_failure) {
        struct file_part *part = &session->parked;
        size_t start_bytes = part->buffer.used_bytes;
        int r;

        if (part->fd < 0 || part_left(part) == 0)
                return 0;
        r = file_render_parked(&part->buffer, session->name, event, NULL, ret_failure);
        if (r < 0)
                return r;
        r = stands_next(part, start_bytes);
        if (r > 0)
                r = adopt_reason(part);
        if (r <= 0)
                part->buffer.used_bytes = start_bytes;
        return r < 0 ? file_fail(session->destination, part->name, r, "read", ret_failure) : r;
}

/* An event stands in one of the two files. If in neither, the batch was torn here, and nothing behind
 * it is adopted, whatever stands there: the prefix stays a prefix. */
int file_tail_adopt(struct destination_session *session, const struct event *event, bool *ret_adopted,
                    bool *ret_parked, struct failure *ret_failure) {
        struct file_part *part = &session->data;
        int r;

        assert(session && session->fenced);
        assert(event && ret_adopted && ret_parked);

        *ret_adopted = *ret_parked = false;
        if (!session->tail_open || session->tail_ended)
                return 0;
        r = adopt_data(session, event, ret_failure);
        if (r == 0) {
                part = &session->parked;
                r = adopt_parked(session, event, ret_failure);
        }
        if (r < 0)
                return r;
        if (r == 0) {
                session->tail_ended = true;
                return 0;
        }
        if (part->buffer.used_bytes >= FILE_FLUSH_BYTES) {
                r = file_part_flush(session->destination, part, ret_failure);
                if (r < 0)
                        return r;
        }
        *ret_adopted = true;
        *ret_parked = part == &session->parked;
        return 0;
}

/* ---- the cut ---------------------------------------------------------------------------------------- */

/* A torn line of an event that the source knows may be as long as that event; what is unknown may not
 * be longer than a batch can be. */
static int refuse_large(struct destination_session *session, struct file_part *part,
                        struct failure *ret_failure) {
        if (part_left(part) <= FILE_CUT_BYTES_MAX || part->tail_is_torn_line)
                return 0;
        return failure_set(
                ret_failure, -EFBIG, FAILURE_STOP,
                "%s/%s: %llu bytes stand beyond what the journal and the source know, more than one batch "
                "holds: did another program write there, or is the state directory an old copy? Move them away "
                "by hand (they begin at byte %llu), then run `baton adopt`",
                session->destination->path, part->name, (unsigned long long) part_left(part),
                (unsigned long long) part_at(part));
}

/* SESSION.000001.cut-7: what was cut off SESSION.000001.jsonl under epoch 7. Never overwrites one. */
static int cut_open(struct destination_session *session, const struct file_part *part,
                    char ret_name[FILE_NAME_BYTES]) {
        int stem = (int) (strlen(part->name) - strlen(".jsonl")), fd = -EEXIST;

        for (unsigned n = 1; fd == -EEXIST && n <= CUT_NAMES_MAX; n++) {
                (void) snprintf(ret_name, FILE_NAME_BYTES, n == 1 ? "%.*s.cut-%llu" : "%.*s.cut-%llu.%u",
                                stem, part->name, (unsigned long long) session->epoch, n);
                fd = file_open(session->destination->dir_fd, ret_name, O_WRONLY | O_CREAT | O_EXCL);
        }
        return fd;
}

static int keep_aside(struct destination_session *session, struct file_part *part,
                      struct failure *ret_failure) {
        struct destination *destination = session->destination;
        char name[FILE_NAME_BYTES] = "";
        _cleanup_fd_ int fd = -1;
        int r;

        if (part_left(part) == 0)
                return 0;
        fd = cut_open(session, part, name);
        if (fd < 0)
                return file_fail(destination, name, fd, "make", ret_failure);
        r = file_copy(destination, part->fd, part_at(part), fd, 0, part_left(part), NULL);
        if (r < 0) {
                r = file_fail(destination, name, r, "keep the cut piece aside in it", ret_failure);
                goto fail;
        }
        CRASH_POINT("file.K7");
        r = file_sync_whole(fd);
        if (r < 0) {
                r = file_fail_sync(destination, name, r, ret_failure);
                goto fail;
        }
        destination->directory_dirty = true;
        return 0;

fail: /* incomplete, and the tail still stands: nothing is lost with it */
        (void) file_unlink(destination->dir_fd, name);
        return r;
}

static int cut(struct destination_session *session, struct file_part *part, struct failure *ret_failure) {
        struct destination *destination = session->destination;
        int r;

        if (part->fd < 0)
                return 0;
        r = file_part_seal(destination, part, ret_failure);
        if (r < 0)
                return r;
        if (part->tail_end_bytes > part->written_bytes) {
                part->touched = true;
                r = file_truncate(part->fd, part->written_bytes);
                if (r < 0)
                        return file_fail(destination, part->name, r, "cut", ret_failure);
                part->tail_end_bytes = part->written_bytes;
        }
        file_part_give_buffer(destination, part);
        CRASH_POINT("file.K9");
        return file_part_sync(session, part, ret_failure);
}

int file_tail_cut(struct destination_session *session, uint64_t *ret_cut_bytes, struct failure *ret_failure) {
        struct file_part *const parts[] = { &session->data, &session->parked };
        uint64_t cut_bytes = 0;
        int r = 0;

        assert(session->fenced);
        assert(ret_cut_bytes);

        if (!session->tail_open) {
                *ret_cut_bytes = 0;
                return 0;
        }
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(parts); i++)
                r = refuse_large(session, parts[i], ret_failure);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(parts); i++) {
                cut_bytes += part_left(parts[i]);
                r = keep_aside(session, parts[i], ret_failure);
        }
        if (r >= 0 && session->destination->directory_dirty)
                r = file_directory_sync(session->destination, ret_failure);
        CRASH_POINT("file.K8");
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(parts); i++)
                r = cut(session, parts[i], ret_failure);
        if (r < 0)
                return r;

        session->tail_open = session->tail_ended = false;
        /* Inside a transaction the adopted lines are of it, like lines that were put: commit() counts
         * them, a rollback takes them away and the mover moves them again. */
        if (!session->in_transaction) {
                file_part_settle(&session->data);
                file_part_settle(&session->parked);
        } else
                session->is_verified = true;
        *ret_cut_bytes = cut_bytes;
        return 0;
}
