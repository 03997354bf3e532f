/* SPDX-License-Identifier: Apache-2.0 */
/* Walks through the tape and keeps apart what is durable from what is not yet.
 *
 * A sync covers what had returned when the sync was entered, once the sync has returned, and nothing
 * before that. Durable operations are folded into content and tree as long as none before them is open.
 * Must not touch: real files. */
#include "prove/power/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "prove/power/memory.h"
#include "prove/tracer/tracer.h"

/* ---- blindness --------------------------------------------------------------------------------- */
static const char *const blindness_names[BLIND_COUNT] = {
        [BLIND_NOT] = "nothing",     [BLIND_SOURCE] = "source",       [BLIND_DESTINATION] = "destination",
        [BLIND_JOURNAL] = "journal", [BLIND_DIRECTORY] = "directory",
};

const char *disk_blindness_name(enum disk_blindness blindness) {
        assert(blindness < BLIND_COUNT);
        return blindness_names[blindness];
}

enum disk_blindness disk_blindness_find(const char *name) {
        for (unsigned i = 0; i < BLIND_COUNT; i++)
                if (strcmp(blindness_names[i], name) == 0)
                        return (enum disk_blindness) i;
        return BLIND_COUNT;
}

static bool has_prefix(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The names are those of the scenario (scenario.c): d.db and out/ are the destination. */
static bool is_ignored(const struct disk *disk, const struct tape_op *sync) {
        const char *path = disk_path(disk, sync->file);
        bool is_destination = has_prefix(path, "d.db") || has_prefix(path, "out/");

        switch (disk->blindness) {
        case BLIND_SOURCE:
                return sync->role == TRACE_MOVER && !is_destination && !has_prefix(path, "state") &&
                       !disk->files[sync->file].is_directory;
        case BLIND_DESTINATION:
                return is_destination;
        case BLIND_JOURNAL:
                return has_prefix(path, "state/journal");
        case BLIND_DIRECTORY:
                return disk->files[sync->file].is_directory;
        default:
                return false;
        }
}

/* ---- trees ------------------------------------------------------------------------------------- */
static struct disk_entry *tree_find(struct disk_tree *tree, uint32_t parent, const char *name) {
        for (size_t i = 0; i < tree->count; i++)
                if (tree->items[i].parent == parent && strcmp(tree->items[i].name, name) == 0)
                        return &tree->items[i];
        return NULL;
}

static void tree_set(struct disk_tree *tree, uint32_t parent, const char *name, uint32_t file) {
        struct disk_entry *entry = tree_find(tree, parent, name);

        if (!entry) {
                if (tree->count == tree->capacity) {
                        tree->capacity = MAX_OF(2 * tree->capacity, (size_t) 32);
                        tree->items = must_have(
                                reallocarray(tree->items, tree->capacity, sizeof(*tree->items)));
                }
                entry = &tree->items[tree->count++];
        }
        *entry = (struct disk_entry){ .parent = parent, .file = file, .name = name };
}

static void tree_unset(struct disk_tree *tree, uint32_t parent, const char *name) {
        struct disk_entry *entry = tree_find(tree, parent, name);

        if (entry)
                *entry = tree->items[--tree->count];
}

void disk_tree_apply(struct disk_tree *tree, const struct tape_op *op) {
        switch (op->kind) {
        case TAPE_CREATE:
        case TAPE_MAKE_DIRECTORY:
        case TAPE_LINK:
                tree_set(tree, op->parent, op->name, op->file);
                break;
        case TAPE_RENAME:
                tree_unset(tree, op->parent, op->name);
                tree_set(tree, op->to_parent, op->to_name, op->file);
                break;
        case TAPE_UNLINK:
                tree_unset(tree, op->parent, op->name);
                break;
        default:
                assert(false);
        }
}

void disk_tree_copy(const struct disk_tree *from, struct disk_tree *ret_tree) {
        struct disk_tree copy = { .count = from->count, .capacity = from->count };

        if (from->count > 0) {
                copy.items = must_have(calloc(from->count, sizeof(*copy.items)));
                memcpy(copy.items, from->items, from->count * sizeof(*copy.items));
        }
        *ret_tree = copy;
}

void disk_tree_done(struct disk_tree *tree) {
        free(tree->items);
        *tree = (struct disk_tree){ 0 };
}

/* ---- content ----------------------------------------------------------------------------------- */
static void content_room(uint8_t **content, uint64_t *capacity, uint64_t bytes) {
        uint64_t grown = MAX_OF(2 * *capacity, (uint64_t) 4096);

        if (bytes <= *capacity)
                return;
        grown = MAX_OF(grown, bytes);
        *content = must_have(realloc(*content, grown));
        memset(*content + *capacity, 0, grown - *capacity);
        *capacity = grown;
}

void disk_content_apply(uint8_t **content, uint64_t *size, uint64_t *capacity, const struct tape_op *op) {
        uint64_t end = op->offset + op->bytes;

        switch (op->kind) {
        case TAPE_WRITE:
                content_room(content, capacity, end);
                if (op->bytes)
                        memcpy(*content + op->offset, op->data, op->bytes);
                *size = MAX_OF(*size, end);
                break;
        case TAPE_SIZE:
                content_room(content, capacity, op->offset);
                if (op->offset < *size)
                        memset(*content + op->offset, 0, *size - op->offset);
                *size = op->offset;
                break;
        case TAPE_CLEAR:
                end = MIN_OF(end, *size);
                if (op->offset < end)
                        memset(*content + op->offset, 0, end - op->offset);
                break;
        default:
                assert(false);
        }
}

/* ---- pending ----------------------------------------------------------------------------------- */
static void pending_add(struct disk_pending_list *list, const struct tape_op *op) {
        if (list->count == list->capacity) {
                list->capacity = MAX_OF(2 * list->capacity, (size_t) 16);
                list->items = must_have(reallocarray(list->items, list->capacity, sizeof(*list->items)));
        }
        list->items[list->count++] = (struct disk_pending){ .op = op };
}

static void pending_drop_first(struct disk_pending_list *list, size_t count) {
        if (count == 0)
                return;
        list->count -= count;
        memmove(list->items, list->items + count, list->count * sizeof(*list->items));
}

static void file_fold(struct disk_file *file) {
        size_t folded = 0;

        while (folded < file->pending.count && file->pending.items[folded].is_durable)
                disk_content_apply(&file->content, &file->size, &file->capacity,
                                   file->pending.items[folded++].op);
        pending_drop_first(&file->pending, folded);
}

static void names_fold(struct disk *disk) {
        size_t folded = 0;

        while (folded < disk->names.count && disk->names.items[folded].is_durable)
                disk_tree_apply(&disk->tree, disk->names.items[folded++].op);
        pending_drop_first(&disk->names, folded);
}

/* ---- syncs ------------------------------------------------------------------------------------- */
static void file_cover(struct disk_file *file, uint64_t begun) {
        for (size_t i = 0; i < file->pending.count; i++)
                if (file->pending.items[i].op->ended < begun)
                        file->pending.items[i].is_durable = true;
        file_fold(file);
}

/* The journal of the file system is one: what it holds of an operation, it holds of all before it. */
static void names_cover_in_order(struct disk *disk, size_t last, uint64_t begun) {
        for (size_t i = 0; i <= last; i++)
                if (disk->names.items[i].op->ended < begun)
                        disk->names.items[i].is_durable_in_order = true;
}

static bool directory_covers(const struct disk *disk, const struct tape_op *sync, const struct tape_op *op) {
        return sync->kind == TAPE_SYNC_ALL ||
               (disk->files[sync->file].is_directory &&
                (op->parent == sync->file || (op->kind == TAPE_RENAME && op->to_parent == sync->file)));
}

/* F6: a file's own fsync() makes the name durable that it was given, its fdatasync() only its first one. */
static bool file_covers(const struct tape_op *sync, const struct tape_op *op) {
        if (op->file != sync->file || op->kind == TAPE_UNLINK)
                return false;
        return sync->kind == TAPE_SYNC || op->kind == TAPE_CREATE;
}

static void names_cover(struct disk *disk, const struct tape_op *sync) {
        size_t last = SIZE_MAX;

        for (size_t i = 0; i < disk->names.count; i++) {
                struct disk_pending *pending = &disk->names.items[i];

                if (pending->op->ended >= sync->begun)
                        continue;
                if (directory_covers(disk, sync, pending->op))
                        pending->is_durable = true;
                if (pending->is_durable || file_covers(sync, pending->op))
                        last = i;
        }
        if (last != SIZE_MAX)
                names_cover_in_order(disk, last, sync->begun);
        names_fold(disk);
}

static void sync_apply(struct disk *disk, const struct tape_op *sync) {
        if (is_ignored(disk, sync))
                return;
        if (sync->kind == TAPE_SYNC_ALL)
                for (uint32_t i = 0; i < disk->tape->file_count; i++)
                        file_cover(&disk->files[i], sync->begun);
        else
                file_cover(&disk->files[sync->file], sync->begun);
        names_cover(disk, sync);
}

/* ---- the walk ---------------------------------------------------------------------------------- */
const char *disk_path(const struct disk *disk, uint32_t file) {
        return file == TAPE_ROOT ? "." : disk->files[file].path ? disk->files[file].path : "?";
}

static void name_file(struct disk *disk, const struct tape_op *op) {
        bool is_rename = op->kind == TAPE_RENAME;
        uint32_t parent = is_rename ? op->to_parent : op->parent;
        const char *name = is_rename ? op->to_name : op->name;
        char *path = NULL;

        if (op->kind == TAPE_UNLINK)
                return;
        if (parent != TAPE_ROOT && asprintf(&path, "%s/%s", disk_path(disk, parent), name) < 0)
                abort();
        free(disk->files[op->file].path);
        disk->files[op->file].path = path ? path : must_have(strdup(name));
}

static void op_begin(struct disk *disk, const struct tape_op *op) {
        struct disk_file *file = &disk->files[op->file];

        if (tape_is_data(op->kind))
                pending_add(&file->pending, op);
        else if (tape_is_directory(op->kind)) {
                if (op->kind == TAPE_CREATE || op->kind == TAPE_MAKE_DIRECTORY) {
                        file->is_directory = op->kind == TAPE_MAKE_DIRECTORY;
                        file->mode = op->mode;
                }
                pending_add(&disk->names, op);
                name_file(disk, op);
        } else
                return;
        if (!op->is_base)
                return;
        if (tape_is_data(op->kind))
                file->pending.items[file->pending.count - 1].is_durable = true;
        else
                disk->names.items[disk->names.count - 1].is_durable = true;
}

static int compare_ends(const void *a, const void *b, void *tape) {
        const struct tape_op *ops = ((const struct tape *) tape)->ops;
        uint64_t x = ops[*(const size_t *) a].ended, y = ops[*(const size_t *) b].ended;

        return (x > y) - (x < y);
}

static void collect_syncs(struct disk *disk) {
        const struct tape *tape = disk->tape;

        disk->syncs = must_have(calloc(tape->count + 1, sizeof(*disk->syncs)));
        for (size_t i = 0; i < tape->count; i++)
                if (tape_is_sync(tape->ops[i].kind) && tape->ops[i].ended != TAPE_NEVER)
                        disk->syncs[disk->sync_count++] = i;
        qsort_r(disk->syncs, disk->sync_count, sizeof(*disk->syncs), compare_ends, (void *) tape);
}

void disk_begin(struct disk *disk, const struct tape *tape, enum disk_blindness blindness) {
        *disk = (struct disk){ .tape = tape, .blindness = blindness };
        disk->files = must_have(calloc(tape->file_count, sizeof(*disk->files)));
        disk->files[TAPE_ROOT].is_directory = true;
        collect_syncs(disk);
        disk_advance(disk, 0);
}

/* A write that is synchronous covers itself, and nothing before it. */
static void cover_synchronous(struct disk *disk) {
        for (uint32_t i = 0; i < disk->tape->file_count; i++) {
                struct disk_file *file = &disk->files[i];

                for (size_t k = 0; k < file->pending.count; k++)
                        if (file->pending.items[k].op->is_synchronous &&
                            file->pending.items[k].op->ended <= disk->moment)
                                file->pending.items[k].is_durable = true;
                file_fold(file);
        }
}

void disk_advance(struct disk *disk, uint64_t moment) {
        const struct tape *tape = disk->tape;

        assert(moment >= disk->moment);
        disk->moment = moment;
        while (disk->next_op < tape->count && tape->ops[disk->next_op].begun <= moment)
                op_begin(disk, &tape->ops[disk->next_op++]);
        while (disk->next_sync < disk->sync_count && tape->ops[disk->syncs[disk->next_sync]].ended <= moment)
                sync_apply(disk, &tape->ops[disk->syncs[disk->next_sync++]]);
        cover_synchronous(disk);
        names_fold(disk);
}

void disk_done(struct disk *disk) {
        for (uint32_t i = 0; disk->files && i < disk->tape->file_count; i++) {
                free(disk->files[i].path);
                free(disk->files[i].content);
                free(disk->files[i].pending.items);
        }
        free(disk->files);
        free(disk->syncs);
        free(disk->names.items);
        disk_tree_done(&disk->tree);
        *disk = (struct disk){ 0 };
}
