/* SPDX-License-Identifier: Apache-2.0 */
/* One state that a power cut may leave: what of the pending operations of a disk is there, and the
 * directory that comes of it. A state is a function of (tape, moment, number, seed), so it can be named.
 *
 * Must not touch: real files (image.h writes them). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "prove/power/disk.h"

#define SECTOR_BYTES 512u
#define PAGE_BYTES 4096u

/* The first states of a moment are always these. */
enum cut_extreme {
        CUT_NOTHING,    /* nothing that is pending survives */
        CUT_NO_NAMES,   /* the same, and of names only those whose directory was synced */
        CUT_ALL,        /* everything does */
        CUT_LAST_LOST,  /* all but the last operation */
        CUT_FIRST_LOST, /* all but the first one */
        CUT_LAST_TORN,  /* all, but of the last write a part alone */
        CUT_SIZE_FIRST, /* sizes and names, no data: zeros */
        CUT_DATA_FIRST, /* data, but no size and no name */
        CUT_EXTREME_COUNT,
};

enum cut_keep { CUT_LOST, CUT_KEPT, CUT_TORN };

struct cut_file {
        uint32_t file;
        uint8_t *keep;     /* for each pending operation: what is there of its data */
        size_t sizes_kept; /* of so many of them, in order, size (and what a smaller size removed) is there */
        uint32_t torn_unit; /* SECTOR_BYTES or PAGE_BYTES */
        uint64_t torn_seed;
};

struct cut {
        uint64_t moment;
        uint64_t number, seed;
        bool is_strict;         /* names each by itself, as POSIX alone promises; else in order */
        bool has_stale_shm;     /* SQLite's -shm files stand there, full of what never was */
        uint8_t *names;         /* for each pending operation on names: is it there? */
        struct cut_file *files; /* those with something pending */
        size_t file_count;
};

/* A draw that depends on the words alone. */
uint64_t cut_random(uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/* State `number` at the disk's moment; numbers from CUT_EXTREME_COUNT on are drawn by the seed. */
void cut_choose(const struct disk *disk, uint64_t number, uint64_t seed, struct cut *ret_cut);
void cut_done(struct cut *cut);
/* How many operations are pending, so that it could be both ways. */
size_t cut_open_count(const struct disk *disk);
/* Each pending operation and what became of it. */
void cut_describe(const struct disk *disk, const struct cut *cut, FILE *file);

struct cut_entry {
        char *path;
        bool is_directory;
        uint32_t mode, file;
        uint8_t *content;
        uint64_t size;
};

struct cut_image {
        struct cut_entry *entries; /* directories before what is in them */
        size_t count, capacity;
};

void cut_build(const struct disk *disk, const struct cut *cut, struct cut_image *ret_image);
void cut_image_done(struct cut_image *image);
/* Of names and content. */
uint64_t cut_image_hash(const struct cut_image *image);
const struct cut_entry *cut_image_find(const struct cut_image *image, const char *path); /* NULL: none */
