/* SPDX-License-Identifier: Apache-2.0 */
/* The tape as one file, so that a failure can be looked at and replayed after the recording is gone.
 *
 * A head, then for each operation one `struct stored` and behind it its names (with their NUL) and its data.
 * The file is read on the machine that wrote it; still, every number in it is bounded before it is used.
 * Must not touch: anything but that file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/power/tape.h"
#include "prove/tracer/tracer.h"

#define MAGIC "BATONPOW"
#define VERSION 1u

struct head {
        char magic[8];
        uint32_t version, op_bytes;
        uint64_t op_count, moment;
        uint32_t file_count, reserved;
};

struct stored {
        uint8_t kind, is_base, is_synchronous, role;
        int32_t pid;
        uint64_t begun, ended;
        uint32_t file, parent, to_parent, mode;
        uint64_t offset, bytes;
        uint32_t name_bytes, to_name_bytes; /* with the NUL; 0: no name */
};

static void store_op(FILE *file, const struct tape_op *op) {
        struct stored stored = {
                .kind = (uint8_t) op->kind,
                .is_base = op->is_base,
                .is_synchronous = op->is_synchronous,
                .role = op->role,
                .pid = op->pid,
                .begun = op->begun,
                .ended = op->ended,
                .file = op->file,
                .parent = op->parent,
                .to_parent = op->to_parent,
                .mode = op->mode,
                .offset = op->offset,
                .bytes = op->bytes,
                .name_bytes = op->name[0] ? (uint32_t) strlen(op->name) + 1 : 0,
                .to_name_bytes = op->to_name[0] ? (uint32_t) strlen(op->to_name) + 1 : 0,
        };

        (void) fwrite(&stored, sizeof(stored), 1, file);
        (void) fwrite(op->name, 1, stored.name_bytes, file);
        (void) fwrite(op->to_name, 1, stored.to_name_bytes, file);
        if (op->kind == TAPE_WRITE && op->bytes)
                (void) fwrite(op->data, 1, op->bytes, file);
}

int tape_store(const struct tape *tape, int dir_fd, const char *name) {
        struct head head = { .version = VERSION,
                             .op_bytes = sizeof(struct stored),
                             .op_count = tape->count,
                             .moment = tape->moment,
                             .file_count = tape->file_count };
        int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        FILE *file = fd >= 0 ? fdopen(fd, "we") : NULL;
        bool bad;

        if (!file) {
                fd_close(&fd);
                return -errno;
        }
        memcpy(head.magic, MAGIC, sizeof(head.magic));
        (void) fwrite(&head, sizeof(head), 1, file);
        for (size_t i = 0; i < tape->count; i++)
                store_op(file, &tape->ops[i]);
        bad = ferror(file) != 0;
        bad = fclose(file) != 0 || bad;
        return bad ? -EIO : 0;
}

/* ---- reading ----------------------------------------------------------------------------------- */
struct input {
        const uint8_t *at, *end;
};

static const void *take(struct input *input, uint64_t bytes) {
        const void *taken = input->at;

        if ((uint64_t) (input->end - input->at) < bytes)
                return NULL;
        input->at += bytes;
        return taken;
}

static const char *take_text(struct input *input, uint32_t bytes) {
        const char *text = bytes ? take(input, bytes) : "";

        return text && (bytes == 0 || (text[bytes - 1] == '\0' && strlen(text) + 1 == bytes)) ? text : NULL;
}

static bool is_plausible(const struct stored *stored, const struct head *head) {
        return stored->kind < TAPE_KIND_COUNT && stored->role < TRACE_ROLE_COUNT &&
               stored->file < head->file_count && stored->parent < head->file_count &&
               stored->to_parent < head->file_count && stored->begun <= head->moment &&
               (stored->ended == TAPE_NEVER || stored->ended <= head->moment) &&
               stored->begun <= stored->ended && stored->offset <= TAPE_FILE_BYTES_MAX &&
               stored->bytes <= TAPE_FILE_BYTES_MAX - stored->offset;
}

static bool load_op(struct input *input, const struct head *head, struct tape *tape) {
        struct stored stored;
        const void *raw = take(input, sizeof(stored));
        struct tape_op op = { 0 };
        struct tape_op *kept;
        size_t index;

        if (!raw)
                return false;
        memcpy(&stored, raw, sizeof(stored));
        if (!is_plausible(&stored, head))
                return false;
        op = (struct tape_op){
                .kind = stored.kind,
                .is_base = stored.is_base,
                .is_synchronous = stored.is_synchronous,
                .role = stored.role,
                .pid = stored.pid,
                .file = stored.file,
                .parent = stored.parent,
                .to_parent = stored.to_parent,
                .mode = stored.mode,
                .offset = stored.offset,
                .bytes = stored.bytes,
                .name = take_text(input, stored.name_bytes),
                .to_name = take_text(input, stored.to_name_bytes),
        };
        if (op.kind == TAPE_WRITE)
                op.data = take(input, op.bytes);
        if (!op.name || !op.to_name || (op.kind == TAPE_WRITE && !op.data))
                return false;
        index = tape_enter(tape, &op);
        kept = &tape->ops[index];
        kept->begun = stored.begun;
        kept->ended = stored.ended;
        return tape->count < 2 || kept[-1].begun <= kept->begun;
}

static int load_all(const uint8_t *bytes, size_t count, struct tape *tape) {
        struct input input = { bytes, bytes + count };
        const struct head *raw = take(&input, sizeof(*raw));
        struct head head;

        if (!raw)
                return -EBADMSG;
        memcpy(&head, raw, sizeof(head));
        if (memcmp(head.magic, MAGIC, sizeof(head.magic)) != 0 || head.version != VERSION ||
            head.op_bytes != sizeof(struct stored) || head.file_count == 0 || head.file_count > TAPE_FILE_MAX)
                return -EBADMSG;
        tape->file_count = head.file_count;
        for (uint64_t i = 0; i < head.op_count; i++)
                if (!load_op(&input, &head, tape))
                        return -EBADMSG;
        tape->moment = head.moment;
        return input.at == input.end ? 0 : -EBADMSG;
}

int tape_load(int dir_fd, const char *name, struct tape *ret_log) {
        _cleanup_fd_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ uint8_t *bytes = NULL;
        struct stat status;
        struct tape tape;
        size_t count;
        int r;

        if (fd < 0 || fstat(fd, &status) < 0)
                return -errno;
        bytes = malloc((size_t) status.st_size + 1);
        if (!bytes)
                return -ENOMEM;
        r = fd_pread_all(fd, bytes, (size_t) status.st_size, 0, &count);
        if (r < 0)
                return r;
        tape_begin(&tape);
        r = load_all(bytes, count, &tape);
        if (r < 0) {
                tape_done(&tape);
                return r;
        }
        *ret_log = tape;
        return 0;
}
