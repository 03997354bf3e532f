/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the tape in memory while it is recorded. Names and data are copied into blocks that live as long as
 * the tape. Must not touch: files. */
#include "prove/power/tape.h"

#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "prove/power/memory.h"

#define BLOCK_BYTES (1024 * 1024)

struct tape_block {
        struct tape_block *next;
        size_t used, capacity;
        uint8_t bytes[];
};

void tape_begin(struct tape *tape) {
        *tape = (struct tape){ .file_count = TAPE_ROOT + 1 };
}

void tape_done(struct tape *tape) {
        while (tape->blocks) {
                struct tape_block *next = tape->blocks->next;

                free(tape->blocks);
                tape->blocks = next;
        }
        free(tape->ops);
        *tape = (struct tape){ 0 };
}

static void *keep(struct tape *tape, const void *data, size_t bytes) {
        struct tape_block *block = tape->blocks;
        void *copy;

        if (!block || block->capacity - block->used < bytes) {
                size_t capacity = MAX_OF(bytes, (size_t) BLOCK_BYTES);

                block = must_have(malloc(sizeof(*block) + capacity));
                *block = (struct tape_block){ .next = tape->blocks, .capacity = capacity };
                tape->blocks = block;
        }
        copy = block->bytes + block->used;
        block->used += bytes;
        memcpy(copy, data, bytes);
        return copy;
}

static const char *keep_text(struct tape *tape, const char *text) {
        return text && text[0] ? keep(tape, text, strlen(text) + 1) : "";
}

uint32_t tape_new_file(struct tape *tape) {
        assert(tape->file_count < TAPE_FILE_MAX);
        return tape->file_count++;
}

static struct tape_op kept_copy(struct tape *tape, const struct tape_op *op) {
        struct tape_op copy = *op;

        assert(op->kind < TAPE_KIND_COUNT);
        assert(op->file < tape->file_count);
        copy.name = keep_text(tape, op->name);
        copy.to_name = keep_text(tape, op->to_name);
        copy.data = op->kind == TAPE_WRITE && op->bytes ? keep(tape, op->data, op->bytes) : NULL;
        return copy;
}

size_t tape_enter(struct tape *tape, const struct tape_op *op) {
        struct tape_op copy = kept_copy(tape, op);

        if (tape->count == tape->capacity) {
                tape->capacity = MAX_OF(2 * tape->capacity, (size_t) 1024);
                tape->ops = must_have(reallocarray(tape->ops, tape->capacity, sizeof(*tape->ops)));
        }
        copy.begun = op->is_base ? 0 : ++tape->moment;
        copy.ended = op->is_base ? 0 : TAPE_NEVER;
        tape->ops[tape->count] = copy;
        return tape->count++;
}

void tape_return(struct tape *tape, size_t index) {
        assert(index < tape->count);
        assert(tape->ops[index].ended == TAPE_NEVER);
        tape->ops[index].ended = ++tape->moment;
}

void tape_base(struct tape *tape, const struct tape_op *op) {
        struct tape_op base = *op;

        assert(tape->moment == 0);
        base.is_base = true;
        (void) tape_enter(tape, &base);
}

void tape_fill(struct tape *tape, size_t index, const struct tape_op *op) {
        struct tape_op copy = kept_copy(tape, op);

        assert(index < tape->count);
        copy.begun = tape->ops[index].begun;
        copy.ended = tape->ops[index].ended;
        tape->ops[index] = copy;
}

/* Its place stays, so that indexes of others stay right. */
void tape_drop(struct tape *tape, size_t index) {
        const struct tape_op nothing = { .kind = TAPE_MARK };

        tape_fill(tape, index, &nothing);
        tape->ops[index].ended = tape->ops[index].begun;
}

uint32_t tape_file_at(const struct tape *tape, uint32_t parent, const char *name) {
        uint32_t file = UINT32_MAX;

        for (size_t i = 0; i < tape->count; i++) {
                const struct tape_op *op = &tape->ops[i];
                const bool is_it = op->parent == parent && strcmp(op->name, name) == 0;

                if (!tape_is_directory(op->kind) || (op->ended == 0 && !op->is_base))
                        continue;
                if (op->kind == TAPE_RENAME && op->to_parent == parent && strcmp(op->to_name, name) == 0)
                        file = op->file;
                else if (is_it)
                        file = op->kind == TAPE_UNLINK || op->kind == TAPE_RENAME ? UINT32_MAX : op->file;
        }
        return file;
}

bool tape_is_data(enum tape_kind kind) {
        return kind == TAPE_WRITE || kind == TAPE_SIZE || kind == TAPE_CLEAR;
}

bool tape_is_directory(enum tape_kind kind) {
        return kind == TAPE_CREATE || kind == TAPE_MAKE_DIRECTORY || kind == TAPE_LINK ||
               kind == TAPE_RENAME || kind == TAPE_UNLINK;
}

bool tape_is_sync(enum tape_kind kind) {
        return kind == TAPE_SYNC || kind == TAPE_DATASYNC || kind == TAPE_SYNC_ALL;
}

const char *tape_kind_name(enum tape_kind kind) {
        static const char *const names[TAPE_KIND_COUNT] = {
                [TAPE_WRITE] = "write",        [TAPE_SIZE] = "size",     [TAPE_CLEAR] = "clear",
                [TAPE_CREATE] = "create",      [TAPE_LINK] = "link",     [TAPE_MAKE_DIRECTORY] = "mkdir",
                [TAPE_RENAME] = "rename",      [TAPE_UNLINK] = "unlink", [TAPE_SYNC] = "fsync",
                [TAPE_DATASYNC] = "fdatasync", [TAPE_SYNC_ALL] = "sync", [TAPE_IDENTITY] = "identity",
                [TAPE_MARK] = "mark",
        };

        assert(kind < TAPE_KIND_COUNT);
        return names[kind];
}
