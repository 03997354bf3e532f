/* SPDX-License-Identifier: Apache-2.0 */
/* The tape: everything that was done to the files below one directory, in one order for all
 * processes, with the bytes, from the state in which the recording began.
 *
 * Each operation has two moments on one clock of whole numbers: when its system call was entered and when
 * it had returned. What the program did next, it did after the second one. Two operations whose spans
 * overlap happened in either order. Must not touch: the files that it speaks of. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAPE_NEVER UINT64_MAX
#define TAPE_ROOT 0u /* the number of the directory itself; other files count from 1 */
#define TAPE_FILE_MAX 100000u
#define TAPE_FILE_BYTES_MAX (1024u * 1024 * 1024) /* no file of a scenario is longer */

enum tape_kind {
        TAPE_WRITE,          /* file, offset, bytes, data */
        TAPE_SIZE,           /* file, offset: its size from then on; what was beyond it is gone */
        TAPE_CLEAR,          /* file, offset, bytes: zeros from then on, by metadata alone */
        TAPE_CREATE,         /* file, parent, name, mode */
        TAPE_MAKE_DIRECTORY, /* the same */
        TAPE_LINK,           /* file, parent, name: one more name */
        TAPE_RENAME,         /* file, parent, name → to_parent, to_name, which is replaced */
        TAPE_UNLINK,         /* file, parent, name; of a directory too */
        TAPE_SYNC,           /* file: fsync() */
        TAPE_DATASYNC,       /* file: fdatasync() */
        TAPE_SYNC_ALL,       /* syncfs(), sync() */
        TAPE_IDENTITY,       /* file, name: what the file system says of it, in words */
        TAPE_MARK,           /* name: what the scenario does now; for the reader of a report */
        TAPE_KIND_COUNT,
};

struct tape_op {
        enum tape_kind kind;
        bool is_base;        /* it stood there, durable, when the recording began */
        bool is_synchronous; /* O_SYNC, O_DSYNC: durable when it returned */
        uint8_t role;        /* enum trace_role: whose it is */
        uint64_t begun, ended;
        int32_t pid;
        uint32_t file, parent, to_parent, mode;
        uint64_t offset, bytes;
        const char *name, *to_name; /* "": none */
        const uint8_t *data;        /* TAPE_WRITE alone */
};

struct tape_block;
struct tape {
        struct tape_op *ops; /* in the order in which they began */
        size_t count, capacity;
        uint64_t moment;     /* the last one that was given out */
        uint32_t file_count; /* numbers given out, TAPE_ROOT included */
        struct tape_block *blocks;
};

void tape_begin(struct tape *tape);
void tape_done(struct tape *tape);

uint32_t tape_new_file(struct tape *tape);
/* Copies names and data. Returns the operation's index; the first moment is taken now. */
size_t tape_enter(struct tape *tape, const struct tape_op *op);
void tape_return(struct tape *tape, size_t index); /* the second moment is now */
/* The same for what was there at the beginning. */
void tape_base(struct tape *tape, const struct tape_op *op);
/* Says what it was, where that is known only after the call: all but the moments. */
void tape_fill(struct tape *tape, size_t index, const struct tape_op *op);
void tape_drop(struct tape *tape, size_t index); /* a call that failed: nothing was done */

/* What stands under this name by the calls that have returned; UINT32_MAX: nothing. */
uint32_t tape_file_at(const struct tape *tape, uint32_t parent, const char *name);

bool tape_is_data(enum tape_kind kind);      /* write, size, clear: of the file itself */
bool tape_is_directory(enum tape_kind kind); /* of names */
bool tape_is_sync(enum tape_kind kind);
const char *tape_kind_name(enum tape_kind kind);

/* The tape as one file, for one machine: 0 or -errno; -EBADMSG for what is no such file. */
int tape_store(const struct tape *tape, int dir_fd, const char *name);
int tape_load(int dir_fd, const char *name, struct tape *ret_log);
