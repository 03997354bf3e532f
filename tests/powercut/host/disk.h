/* SPDX-License-Identifier: Apache-2.0 */
/* A disk with a volatile write cache, and its plug.
 *
 * What was written since the last flush stands in the cache alone; a flush takes it to the platter (the
 * image file). When the power goes, each cached sector of 512 bytes may be there or not, in no order:
 * that is all that a drive promises. The guest sees platter and cache as one.
 * Must not touch: anything but the image file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

#define SECTOR_BYTES 512

/* What becomes of the cache when the plug is pulled. */
enum cache_fate {
        CACHE_KEPT,   /* all of it: a cache with a battery, or qemu killed while the host lives on */
        CACHE_LOST,   /* nothing of it */
        CACHE_PREFIX, /* in the order of writing up to some write, which is torn */
        CACHE_SOME,   /* some writes, whole, in any order */
        CACHE_TORN,   /* some sectors */
        CACHE_FATE_COUNT
};
extern const char *const cache_fate_names[CACHE_FATE_COUNT];

struct disk_loss { /* what a cut did to the cache, in writes */
        uint64_t kept, torn, lost;
};

struct disk {
        uint8_t *platter; /* the image file, shared */
        uint8_t *seen;    /* the same with the cache over it: a private mapping, so only what differs costs */
        uint64_t bytes;
        struct disk_write *cache; /* in the order of writing */
        size_t cache_count, cache_room;
        uint64_t write_count, flush_count;
        bool lies; /* says of every flush that it was done, and does nothing */
};

/* 0 or -errno. */
int disk_open(struct disk *disk, const char *path);
void disk_close(struct disk *disk); /* what is in the cache is gone */
#define _cleanup_disk_ _cleanup_(disk_close)

bool disk_holds(const struct disk *disk, uint64_t offset, uint64_t length);
/* Data for `length` bytes follow in `data`; -ENOMEM leaves the disk as it was. */
int disk_write(struct disk *disk, uint64_t offset, const void *data, uint32_t length);
void disk_flush(struct disk *disk);
/* The platter is then what is left after the power went; the disk is closed. */
void disk_cut(struct disk *disk, enum cache_fate fate, uint64_t *random, struct disk_loss *ret_loss);

/* Copies the image (what is a hole stays one). 0 or -errno. */
int disk_image_copy(const char *from, const char *to);

uint64_t random_next(uint64_t *state);
/* 0 … below-1; below >= 1. */
uint64_t random_below(uint64_t *state, uint64_t below);
