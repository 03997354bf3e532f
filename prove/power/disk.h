/* SPDX-License-Identifier: Apache-2.0 */
/* The disk at one moment of a tape: what is certainly on it, and what may be.
 *
 * Per file (by number, whatever its names): its durable content, and the operations behind it that no
 * completed sync covers. For names: the durable tree, and the operations behind it. cut.h chooses among
 * them. The rules stand in README.md (F1 …). Must not touch: real files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prove/power/tape.h"

/* Syncs that the disk shall not know of: to show that the proof sees what they are good for. */
enum disk_blindness {
        BLIND_NOT,
        BLIND_SOURCE,      /* Baton's syncs of the sources (M11); the application's own are seen */
        BLIND_DESTINATION, /* syncs of the destination: its database and -wal, its files */
        BLIND_JOURNAL,     /* syncs of Baton's journals, files and directory */
        BLIND_DIRECTORY,   /* syncs of directories */
        BLIND_COUNT,
};
const char *disk_blindness_name(enum disk_blindness blindness);
enum disk_blindness disk_blindness_find(const char *name); /* BLIND_COUNT: there is none of this name */

struct disk_pending {
        const struct tape_op *op;
        bool is_durable;          /* covered, but behind one that is not */
        bool is_durable_in_order; /* names alone: a journalling file system has written it */
};

struct disk_pending_list {
        struct disk_pending *items;
        size_t count, capacity;
};

struct disk_file {
        bool is_directory;
        uint32_t mode;
        char *path;       /* the last one that it was given, below the directory; NULL: none yet */
        uint8_t *content; /* durable */
        uint64_t size, capacity;
        struct disk_pending_list pending;
};

struct disk_entry {
        uint32_t parent, file;
        const char *name; /* in the tape */
};

struct disk_tree {
        struct disk_entry *items;
        size_t count, capacity;
};

struct disk {
        const struct tape *tape;
        enum disk_blindness blindness;
        uint64_t moment;
        size_t next_op; /* in the tape: the first that had not begun */
        size_t *syncs;  /* indexes of syncs, by the moment at which they returned */
        size_t sync_count, next_sync;
        struct disk_file *files; /* by number */
        struct disk_tree tree;   /* durable names */
        struct disk_pending_list names;
};

/* The tape must stay. */
void disk_begin(struct disk *disk, const struct tape *tape, enum disk_blindness blindness);
void disk_done(struct disk *disk);
/* Goes on to a later moment. */
void disk_advance(struct disk *disk, uint64_t moment);

/* Applies one operation on names. */
void disk_tree_apply(struct disk_tree *tree, const struct tape_op *op);
void disk_tree_copy(const struct disk_tree *from, struct disk_tree *ret_tree);
void disk_tree_done(struct disk_tree *tree);

/* Content after one more operation, whatever is durable. The bytes beyond the size are zeros. */
void disk_content_apply(uint8_t **content, uint64_t *size, uint64_t *capacity, const struct tape_op *op);
const char *disk_path(const struct disk *disk, uint32_t file);
