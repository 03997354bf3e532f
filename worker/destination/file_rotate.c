/* SPDX-License-Identifier: Apache-2.0 */
/* Rotation by size or time: the owner's act, between two batches, in the journal before any line goes
 * to the new file (M3).
 *
 * We die here: K10 the next file is made, its directory not synced; K11 synced, the journal does not
 * know. In both the journal still names the old file, and an empty next one is accepted (file_fence.c).
 * Must not touch: the file that it leaves. It is complete and durable, and stays as it is. */
#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/io.h"
#include "worker/destination/file.h"

/* The age of a file outlives processes and boots, so the wall clock must tell it; where that was set
 * back, the time that this owner has held it counts too. A wrong clock rotates early or late: no event
 * depends on it. */
static bool is_old(const struct destination_session *session) {
        uint64_t now_realtime_usec = clock_realtime_usec(), rotate_usec = session->destination->rotate_usec;

        if (rotate_usec == 0)
                return false;
        if (clock_usec() - session->created_usec >= rotate_usec)
                return true;
        return now_realtime_usec > session->created_realtime_usec &&
               now_realtime_usec - session->created_realtime_usec >= rotate_usec;
}

bool file_rotation_due(struct destination_session *session) {
        const struct destination *destination = session->destination;
        const struct file_part *data = &session->data;

        if (!session->fenced || session->in_transaction || session->tail_open || data->touched)
                return false;
        if (data->durable_bytes == 0 || session->file_number == UINT32_MAX)
                return false;
        if (destination->rotate_bytes > 0 && data->durable_bytes >= destination->rotate_bytes)
                return true;
        return is_old(session);
}

static int open_next(struct destination_session *session, struct file_part *next,
                     struct failure *ret_failure) {
        uint64_t size_bytes = 0;
        int r;

        file_data_name(session->name, session->file_number + 1, next->name);
        r = file_part_open(session->destination, next, true, ret_failure);
        if (r >= 0)
                r = file_part_size(session->destination, next, &size_bytes, ret_failure);
        if (r >= 0 && size_bytes > 0)
                r = failure_set(
                        ret_failure, -EEXIST, FAILURE_STOP,
                        "%s/%s should become the next file, but it has content that is not Baton's; move it "
                        "away, then run `baton adopt`",
                        session->destination->path, next->name);
        return r;
}

int file_rotate(struct destination_session *session, struct checkpoint *checkpoint,
                struct failure *ret_failure) {
        struct file_part next = { .fd = -1 };
        struct file_state state;
        int r;

        assert(session->fenced && !session->tail_open);
        assert(!session->in_transaction);
        assert(session->data.written_bytes == session->data.durable_bytes);
        assert(session->file_number < UINT32_MAX);

        r = open_next(session, &next, ret_failure);
        if (r >= 0) {
                CRASH_POINT("file.K10");
                /* Also where it stood already: who made it may have died before this sync. */
                r = file_directory_sync(session->destination, ret_failure);
        }
        if (r < 0) {
                file_part_close(&next);
                return r;
        }
        CRASH_POINT("file.K11");
        file_part_close(&session->data);
        session->data = next;
        session->file_number++;
        session->created_realtime_usec = clock_realtime_usec();
        session->created_usec = clock_usec();
        session->position = checkpoint->position;
        file_state_of(session, &state);
        file_state_encode(&state, checkpoint->destination_state);
        return 0;
}
