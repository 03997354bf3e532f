/* SPDX-License-Identifier: Apache-2.0 */
/* A disk with a volatile write cache: disk.h says what it promises.
 * Must not touch: anything but the image file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/powercut/host/disk.h"

struct disk_write {
        uint64_t offset;
        uint32_t length;
        uint8_t *data;
};

const char *const cache_fate_names[CACHE_FATE_COUNT] = {
        [CACHE_KEPT] = "kept",      [CACHE_LOST] = "lost", [CACHE_PREFIX] = "prefix",
        [CACHE_SOME] = "some kept", [CACHE_TORN] = "torn",
};

/* splitmix64: any seed will do, 0 too. */
uint64_t random_next(uint64_t *state) {
        uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
        return z ^ z >> 31;
}

uint64_t random_below(uint64_t *state, uint64_t below) {
        assert(below >= 1);
        return random_next(state) % below;
}

int disk_open(struct disk *disk, const char *path) {
        _cleanup_fd_ int fd = open(path, O_RDWR | O_CLOEXEC);
        struct disk opened = { .lies = disk->lies };
        struct stat status;

        if (fd < 0 || fstat(fd, &status) < 0)
                return -errno;
        if (status.st_size == 0 || status.st_size % SECTOR_BYTES != 0)
                return -EINVAL;
        opened.bytes = (uint64_t) status.st_size;
        opened.platter = mmap(NULL, opened.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (opened.platter == MAP_FAILED)
                return -errno;
        /* A page that was never written here shows the file's, and no flush changes those. */
        opened.seen = mmap(NULL, opened.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
        if (opened.seen == MAP_FAILED) {
                (void) munmap(opened.platter, opened.bytes);
                return -errno;
        }
        *disk = opened;
        return 0;
}

static void forget_cache(struct disk *disk) {
        for (size_t i = 0; i < disk->cache_count; i++)
                free(disk->cache[i].data);
        disk->cache_count = 0;
}

void disk_close(struct disk *disk) {
        if (!disk->platter)
                return;
        forget_cache(disk);
        free(disk->cache);
        (void) munmap(disk->seen, disk->bytes);
        (void) munmap(disk->platter, disk->bytes);
        disk->platter = disk->seen = NULL;
        disk->cache = NULL;
        disk->cache_room = 0;
}

bool disk_holds(const struct disk *disk, uint64_t offset, uint64_t length) {
        return offset <= disk->bytes && length <= disk->bytes - offset && offset % SECTOR_BYTES == 0 &&
               length % SECTOR_BYTES == 0;
}

int disk_write(struct disk *disk, uint64_t offset, const void *data, uint32_t length) {
        uint8_t *copy;

        assert(disk_holds(disk, offset, length));
        if (disk->cache_count == disk->cache_room) {
                size_t room = disk->cache_room ? disk->cache_room * 2 : 256;
                struct disk_write *larger = realloc(disk->cache, room * sizeof(*larger));

                if (!larger)
                        return -ENOMEM;
                disk->cache = larger;
                disk->cache_room = room;
        }
        copy = malloc(length ? length : 1);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, data, length);
        memcpy(disk->seen + offset, data, length);
        disk->cache[disk->cache_count++] = (struct disk_write){ offset, length, copy };
        disk->write_count++;
        return 0;
}

static void settle(struct disk *disk, const struct disk_write *write) {
        memcpy(disk->platter + write->offset, write->data, write->length);
}

void disk_flush(struct disk *disk) {
        disk->flush_count++;
        if (disk->lies)
                return;
        for (size_t i = 0; i < disk->cache_count; i++)
                settle(disk, &disk->cache[i]);
        forget_cache(disk);
}

/* Each sector by itself. Counted as torn only if some stayed and some did not. */
static void settle_torn(struct disk *disk, const struct disk_write *write, uint64_t *random,
                        struct disk_loss *loss) {
        uint64_t sectors = write->length / SECTOR_BYTES, kept = 0;

        for (uint64_t i = 0; i < sectors; i++) {
                if (random_below(random, 2) == 0)
                        continue;
                memcpy(disk->platter + write->offset + i * SECTOR_BYTES, write->data + i * SECTOR_BYTES,
                       SECTOR_BYTES);
                kept++;
        }
        if (kept == sectors)
                loss->kept++;
        else if (kept > 0)
                loss->torn++;
        else
                loss->lost++;
}

/* Where two writes of the cache met in one sector and the later is lost, the earlier may stand: a drive
 * may have taken it to the platter before the later came. */
void disk_cut(struct disk *disk, enum cache_fate fate, uint64_t *random, struct disk_loss *ret_loss) {
        size_t edge = disk->cache_count ? random_below(random, disk->cache_count) : 0;
        struct disk_loss loss = {};

        for (size_t i = 0; i < disk->cache_count; i++) {
                const struct disk_write *write = &disk->cache[i];
                bool whole = fate == CACHE_KEPT || (fate == CACHE_PREFIX && i < edge) ||
                             (fate == CACHE_SOME && random_below(random, 2) == 0);

                if (whole) {
                        settle(disk, write);
                        loss.kept++;
                } else if (fate == CACHE_TORN || (fate == CACHE_PREFIX && i == edge))
                        settle_torn(disk, write, random, &loss);
                else
                        loss.lost++;
        }
        disk_close(disk);
        *ret_loss = loss;
}

static int copy_range(int from, int to, off_t begin, off_t end) {
        static uint8_t buffer[1 << 20];
        size_t bytes;
        int r = 0;

        for (off_t at = begin; at < end && r == 0; at += (off_t) bytes) {
                r = fd_pread_all(from, buffer, MIN_OF(sizeof(buffer), (size_t) (end - at)), at, &bytes);
                if (r == 0 && bytes == 0)
                        return -EIO;
                if (r == 0)
                        r = fd_pwrite_all(to, buffer, bytes, at);
        }
        return r;
}

int disk_image_copy(const char *from, const char *to) {
        _cleanup_fd_ int source = open(from, O_RDONLY | O_CLOEXEC);
        _cleanup_fd_ int copy = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        struct stat status;
        off_t data, hole = 0;
        int r;

        if (source < 0 || copy < 0 || fstat(source, &status) < 0 || ftruncate(copy, status.st_size) < 0)
                return -errno;
        while ((data = lseek(source, hole, SEEK_DATA)) >= 0) {
                hole = lseek(source, data, SEEK_HOLE);
                if (hole < 0)
                        return -errno;
                r = copy_range(source, copy, data, hole);
                if (r < 0)
                        return r;
        }
        return errno == ENXIO ? 0 : -errno;
}
