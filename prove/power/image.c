/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the directory that a chosen state is, in memory.
 *
 * A sector holds what stood in it after one of the operations on it: of those that are kept, the last one,
 * and with it all before it, because a sector is written as a whole from the page cache (F3). What a kept
 * change of size removed is gone; what would lie behind one that is lost is not there (F5).
 * Must not touch: real files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/macro.h"
#include "prove/power/cut.h"
#include "prove/power/memory.h"

/* ---- one file ---------------------------------------------------------------------------------- */
struct builder {
        const struct disk_file *file;
        const struct cut_file *choice;
        size_t sector_count;
        uint32_t *versions; /* of each sector: so many pending operations are in it; 0: what is durable */
        bool *is_closed;    /* a removal that is lost lies over it: nothing later gets there */
        size_t sizes_kept;
};

static bool is_kept(const struct builder *builder, size_t index, size_t sector) {
        const struct cut_file *choice = builder->choice;

        if (builder->file->pending.items[index].is_durable)
                return true;
        if (choice->keep[index] != CUT_TORN)
                return choice->keep[index] == CUT_KEPT;
        return cut_random(choice->torn_seed, index, sector * SECTOR_BYTES / choice->torn_unit, 1) & 1;
}

/* A durable operation has its size on the disk, and with it all sizes before it (F4). */
static size_t sizes_kept(const struct disk_file *file, const struct cut_file *choice) {
        size_t kept = choice->sizes_kept;

        for (size_t i = kept; i < file->pending.count; i++)
                if (file->pending.items[i].is_durable)
                        kept = i + 1;
        return kept;
}

static void removal_place(struct builder *builder, size_t index, uint64_t from, uint64_t to) {
        size_t first = from / SECTOR_BYTES,
               last = MIN_OF((size_t) ((to + SECTOR_BYTES - 1) / SECTOR_BYTES), builder->sector_count);

        for (size_t sector = first; sector < last; sector++)
                if (index >= builder->sizes_kept)
                        builder->is_closed[sector] = true;
                else
                        builder->versions[sector] = (uint32_t) index + 1;
}

static void write_place(struct builder *builder, size_t index, const struct tape_op *op) {
        size_t first = op->offset / SECTOR_BYTES;
        size_t last = (op->offset + op->bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;

        for (size_t sector = first; sector < last; sector++)
                if (!builder->is_closed[sector] && is_kept(builder, index, sector))
                        builder->versions[sector] = (uint32_t) index + 1;
}

/* How long the file ever was, in sectors. */
static size_t count_sectors(const struct disk_file *file) {
        uint64_t most = file->size;

        for (size_t i = 0; i < file->pending.count; i++) {
                const struct tape_op *op = file->pending.items[i].op;

                most = MAX_OF(most, op->kind == TAPE_WRITE ? op->offset + op->bytes : op->offset);
        }
        return (size_t) ((most + SECTOR_BYTES - 1) / SECTOR_BYTES);
}

static void place_all(struct builder *builder) {
        const struct disk_pending_list *pending = &builder->file->pending;
        uint64_t size = builder->file->size;

        for (size_t i = 0; i < pending->count; i++) {
                const struct tape_op *op = pending->items[i].op;

                if (op->kind == TAPE_WRITE) {
                        write_place(builder, i, op);
                        size = MAX_OF(size, op->offset + op->bytes);
                } else if (op->kind == TAPE_CLEAR)
                        removal_place(builder, i, op->offset, MIN_OF(op->offset + op->bytes, size));
                else {
                        if (op->offset < size)
                                removal_place(builder, i, op->offset,
                                              (uint64_t) builder->sector_count * SECTOR_BYTES);
                        size = op->offset;
                }
        }
}

/* The part of one operation that lies in one sector. */
static void sector_apply(uint8_t *content, const struct tape_op *op, uint64_t sector, uint64_t removal_end) {
        uint64_t from = sector * SECTOR_BYTES, to = from + SECTOR_BYTES;
        uint64_t end = op->kind == TAPE_SIZE ? removal_end : op->offset + op->bytes;

        from = MAX_OF(from, op->offset);
        to = MIN_OF(to, end);
        if (from >= to)
                return;
        if (op->kind == TAPE_WRITE)
                memcpy(content + from, op->data + (from - op->offset), to - from);
        else
                memset(content + from, 0, to - from);
}

static void apply_all(const struct builder *builder, uint8_t *content) {
        const struct disk_pending_list *pending = &builder->file->pending;
        uint64_t whole = (uint64_t) builder->sector_count * SECTOR_BYTES;

        for (size_t i = 0; i < pending->count; i++) {
                const struct tape_op *op = pending->items[i].op;
                uint64_t end = op->kind == TAPE_SIZE ? whole : op->offset + op->bytes;
                size_t last = MIN_OF((size_t) ((end + SECTOR_BYTES - 1) / SECTOR_BYTES),
                                     builder->sector_count);

                for (size_t sector = op->offset / SECTOR_BYTES; sector < last; sector++)
                        if (builder->versions[sector] > i)
                                sector_apply(content, op, sector, whole);
        }
}

static uint64_t final_size(const struct builder *builder) {
        uint64_t size = builder->file->size;

        for (size_t i = 0; i < builder->sizes_kept; i++) {
                const struct tape_op *op = builder->file->pending.items[i].op;

                if (op->kind == TAPE_SIZE)
                        size = op->offset;
                else if (op->kind == TAPE_WRITE && op->bytes > 0)
                        size = MAX_OF(size, op->offset + op->bytes);
        }
        return size;
}

static void build_pending(const struct disk_file *file, const struct cut_file *choice,
                          struct cut_entry *entry) {
        struct builder builder = { .file = file,
                                   .choice = choice,
                                   .sector_count = count_sectors(file),
                                   .sizes_kept = sizes_kept(file, choice) };
        uint64_t whole = (uint64_t) builder.sector_count * SECTOR_BYTES;

        builder.versions = must_have(calloc(builder.sector_count + 1, sizeof(*builder.versions)));
        builder.is_closed = must_have(calloc(builder.sector_count + 1, sizeof(*builder.is_closed)));
        entry->content = must_have(calloc(whole + 1, 1));
        if (file->size > 0)
                memcpy(entry->content, file->content, file->size);
        place_all(&builder);
        apply_all(&builder, entry->content);
        entry->size = final_size(&builder);
        free(builder.versions);
        free(builder.is_closed);
}

static void build_content(const struct disk *disk, const struct cut *cut, struct cut_entry *entry) {
        const struct disk_file *file = &disk->files[entry->file];

        for (size_t i = 0; i < cut->file_count; i++)
                if (cut->files[i].file == entry->file) {
                        build_pending(file, &cut->files[i], entry);
                        return;
                }
        entry->content = must_have(calloc(file->size + 1, 1));
        if (file->size > 0)
                memcpy(entry->content, file->content, file->size);
        entry->size = file->size;
}

/* ---- names ------------------------------------------------------------------------------------- */
static void image_add(struct cut_image *image, const struct disk *disk, const struct cut *cut,
                      const struct disk_entry *named, const char *above) {
        const struct disk_file *file = &disk->files[named->file];
        struct cut_entry *entry;

        if (image->count == image->capacity) {
                image->capacity = MAX_OF(2 * image->capacity, (size_t) 32);
                image->entries = must_have(
                        reallocarray(image->entries, image->capacity, sizeof(*image->entries)));
        }
        entry = &image->entries[image->count++];
        *entry = (struct cut_entry){ .is_directory = file->is_directory,
                                     .mode = file->mode,
                                     .file = named->file };
        if (asprintf(&entry->path, "%s%s%s", above, above[0] ? "/" : "", named->name) < 0)
                abort();
        if (!file->is_directory)
                build_content(disk, cut, entry);
}

static int compare_entries(const void *a, const void *b) {
        const struct disk_entry *x = a, *y = b;

        return x->parent != y->parent ? (x->parent > y->parent) - (x->parent < y->parent)
                                      : strcmp(x->name, y->name);
}

/* Breadth first: what is in a directory comes after it; what is in none that is there does not come. */
static void add_below(const struct disk *disk, const struct cut *cut, const struct disk_tree *tree,
                      struct cut_image *image) {
        for (size_t at = 0; at <= image->count; at++) {
                uint32_t parent = at == 0 ? TAPE_ROOT : image->entries[at - 1].file;
                _cleanup_free_ char *above = NULL;

                if (at > 0 && !image->entries[at - 1].is_directory)
                        continue;
                above = must_have(strdup(at == 0 ? "" : image->entries[at - 1].path));
                for (size_t i = 0; i < tree->count; i++)
                        if (tree->items[i].parent == parent)
                                image_add(image, disk, cut, &tree->items[i], above);
        }
}

void cut_build(const struct disk *disk, const struct cut *cut, struct cut_image *ret_image) {
        struct cut_image image = { 0 };
        struct disk_tree tree;

        disk_tree_copy(&disk->tree, &tree);
        for (size_t i = 0; i < disk->names.count; i++) {
                const struct disk_pending *pending = &disk->names.items[i];
                bool is_durable = pending->is_durable || (!cut->is_strict && pending->is_durable_in_order);

                if (is_durable || cut->names[i])
                        disk_tree_apply(&tree, pending->op);
        }
        if (tree.count > 0)
                qsort(tree.items, tree.count, sizeof(*tree.items), compare_entries);
        add_below(disk, cut, &tree, &image);
        disk_tree_done(&tree);
        *ret_image = image;
}

void cut_image_done(struct cut_image *image) {
        for (size_t i = 0; i < image->count; i++) {
                free(image->entries[i].path);
                free(image->entries[i].content);
        }
        free(image->entries);
        *image = (struct cut_image){ 0 };
}

uint64_t cut_image_hash(const struct cut_image *image) {
        uint64_t hash = 0;

        for (size_t i = 0; i < image->count; i++) {
                const struct cut_entry *entry = &image->entries[i];

                hash = XXH3_64bits_withSeed(entry->path, strlen(entry->path) + 1, hash);
                if (!entry->is_directory)
                        hash = XXH3_64bits_withSeed(entry->content, entry->size, hash + entry->size);
        }
        return hash;
}

const struct cut_entry *cut_image_find(const struct cut_image *image, const char *path) {
        for (size_t i = 0; i < image->count; i++)
                if (strcmp(image->entries[i].path, path) == 0)
                        return &image->entries[i];
        return NULL;
}
