/* SPDX-License-Identifier: Apache-2.0 */
/* The segment file: made whole before it is seen, checked before it is believed (S11, P1).
 * Must not touch: slots' content after creation, anything of an event. Logs nothing. */
#include "shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/clock.h"
#include "base/io.h"
#include "shm/lock.h"

#define SEGMENT_NEW_NAME SEGMENT_FILE_NAME ".new"

/* ---- where everything lies: a function of the layout and the two counts alone ---------------- */

struct layout_sizes {
        uint32_t number, pool, worker, slot, config, status;
};

static const struct layout_sizes layout_now = { LAYOUT_NUMBER,
                                                sizeof(struct layout_pool),
                                                sizeof(struct layout_worker),
                                                sizeof(struct layout_slot),
                                                sizeof(struct layout_config),
                                                sizeof(struct layout_status) };
static const struct layout_sizes layout_before = { LAYOUT_BEFORE };

/* L1: NULL is a layout that this program does not work in. */
static const struct layout_sizes *layout_find(uint32_t number) {
        if (number == layout_now.number)
                return &layout_now;
        return number == layout_before.number ? &layout_before : NULL;
}

static uint64_t offset_after(uint64_t offset, uint64_t count, uint64_t bytes) {
        assert(offset % LAYOUT_LINE == 0);
        assert(bytes % LAYOUT_LINE == 0);

        return offset + count * bytes;
}

/* Fills sizes, counts and offsets. segment_open() compares a file's header with this, word for word,
 * so no size or offset of a file is ever computed with. */
static void header_lay_out(struct layout_header *header, const struct layout_sizes *sizes,
                           uint32_t worker_count, uint32_t slot_count) {
        assert(header && sizes);
        assert(worker_count > 0 && worker_count <= LAYOUT_WORKER_COUNT_MAX);
        assert(slot_count > 0 && slot_count <= LAYOUT_SLOT_COUNT_MAX);

        header->layout_number = sizes->number;
        header->header_bytes = LAYOUT_HEADER_BYTES;
        header->pool_bytes = sizes->pool;
        header->worker_bytes = sizes->worker;
        header->slot_bytes = sizes->slot;
        header->config_bytes = sizes->config;
        header->status_bytes = sizes->status;
        header->mutex_bytes = sizeof(pthread_mutex_t);
        header->pool_count = LAYOUT_POOL_COUNT_MAX;
        header->worker_count = worker_count;
        header->slot_count = slot_count;
        header->inbox_words = (slot_count + 511) / 512 * 8; /* whole lines: 8 words, 512 slots */

        header->pool_offset = LAYOUT_HEADER_BYTES;
        header->worker_offset = offset_after(header->pool_offset, header->pool_count, header->pool_bytes);
        header->slot_offset = offset_after(header->worker_offset, worker_count, header->worker_bytes);
        header->config_offset = offset_after(header->slot_offset, slot_count, header->slot_bytes);
        header->status_offset = offset_after(header->config_offset, slot_count, header->config_bytes);
        header->inbox_offset = offset_after(header->status_offset, slot_count, header->status_bytes);
        header->segment_bytes = offset_after(header->inbox_offset, worker_count, header->inbox_words * 8ULL);
}

static void segment_point(struct segment *segment, void *base, const struct layout_header *checked) {
        char *p;

        assert(segment && base);
        assert(checked && checked->segment_bytes > LAYOUT_HEADER_BYTES);

        p = base;
        segment->header = (struct layout_header *) base;
        segment->pools = (struct segment_array){ p + checked->pool_offset, checked->pool_bytes };
        segment->workers = (struct segment_array){ p + checked->worker_offset, checked->worker_bytes };
        segment->slots = (struct segment_array){ p + checked->slot_offset, checked->slot_bytes };
        segment->configs = (struct segment_array){ p + checked->config_offset, checked->config_bytes };
        segment->statuses = (struct segment_array){ p + checked->status_offset, checked->status_bytes };
        segment->inboxes = (_Atomic uint64_t *) (void *) (p + checked->inbox_offset);
        segment->layout_number = checked->layout_number;
        segment->pool_count = checked->pool_count;
        segment->worker_count = checked->worker_count;
        segment->slot_count = checked->slot_count;
        segment->inbox_words = checked->inbox_words;
        segment->bytes = checked->segment_bytes;
}

/* A takeover must not wait for page faults: what it touches is mapped now. Only a hint; where the kernel
 * is too old the pages come one by one. Configs and statuses are not part of it. */
static void segment_prefault(struct segment *segment) {
        uintptr_t page_mask = (uintptr_t) sysconf(_SC_PAGESIZE) - 1;
        uintptr_t ranges[2][2] = {
                { (uintptr_t) segment->header, (uintptr_t) segment->configs.first },
                { (uintptr_t) segment->inboxes, (uintptr_t) segment->header + segment->bytes },
        };

        assert(segment->writable);
        assert(ranges[0][0] < ranges[0][1] && ranges[1][0] < ranges[1][1]);

        for (size_t i = 0; i < ELEMENTSOF(ranges); i++) {
                uintptr_t begin = ranges[i][0] & ~page_mask, end = (ranges[i][1] + page_mask) & ~page_mask;

#ifdef MADV_POPULATE_WRITE
                (void) madvise((void *) begin, end - begin, MADV_POPULATE_WRITE);
#else
                (void) madvise((void *) begin, end - begin, MADV_WILLNEED);
#endif
        }
}

static int boot_id_read(uint8_t ret_boot_id[16]) {
        _cleanup_free_ char *text = NULL;
        uint8_t boot_id[16] = {};
        unsigned digits = 0;
        int r;

        assert(ret_boot_id);

        r = file_read_text(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text);
        if (r < 0)
                return r;
        for (const char *p = text; *p != '\0' && digits < 32; p++) {
                unsigned value;

                if (*p >= '0' && *p <= '9')
                        value = (unsigned) (*p - '0');
                else if (*p >= 'a' && *p <= 'f')
                        value = (unsigned) (*p - 'a') + 10;
                else
                        continue;
                boot_id[digits / 2] = (uint8_t) (boot_id[digits / 2] << 4 | value);
                digits++;
        }
        if (digits != 32)
                return -EBADMSG;
        memcpy(ret_boot_id, boot_id, sizeof boot_id);
        return 0;
}

/* ---- create ---------------------------------------------------------------------------------- */

static int segment_init_locks(struct segment *segment) {
        int r = 0;

        assert(segment && segment->writable);
        assert(segment->pools.first && segment->workers.first && segment->slots.first);

        for (uint32_t i = 0; i < segment->pool_count && r >= 0; i++) {
                r = lock_init(&segment_pool(segment, i)->mutex);
                if (r >= 0)
                        r = lock_init(&segment_pool(segment, i)->turn);
        }
        for (uint32_t i = 0; i < segment->worker_count && r >= 0; i++) {
                r = lock_init(&segment_worker(segment, i)->life_mutex);
                segment_worker(segment, i)->note_slot = LAYOUT_NONE;
                segment_worker(segment, i)->pool_index = LAYOUT_NONE;
        }
        for (uint32_t i = 0; i < segment->slot_count && r >= 0; i++) {
                r = lock_init(&segment_slot(segment, i)->mutex);
                segment_slot(segment, i)->epoch =
                        segment->header->epoch_base; /* the first owner's is above it */
        }
        return r;
}

/* Maps the new file and fills it; magic last. `geometry` is what header_lay_out() made. */
static int segment_fill(int fd, const struct layout_header *geometry, struct segment *segment) {
        void *base;
        int r;

        assert(fd >= 0);
        assert(geometry && segment);

        /* Reserved now: a tmpfs that is full says so here, and not by SIGBUS in the middle of a takeover. */
        r = -posix_fallocate(fd, 0, (off_t) geometry->segment_bytes);
        if (r < 0)
                return r;
        base = mmap(NULL, geometry->segment_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (base == MAP_FAILED)
                return -errno;
        memcpy(base, geometry, sizeof *geometry);
        segment_point(segment, base, geometry);
        segment->writable = true;
        r = segment_init_locks(segment);
        if (r < 0)
                return r;
        /* Release; pairs with the acquire in segment_open(). The rename orders it for everyone else. */
        atomic_store_explicit(&segment->header->magic, LAYOUT_MAGIC, memory_order_release);
        return 0;
}

static int segment_create_failed(struct failure *ret_failure, const char *directory, int r) {
        assert(directory);
        assert(r < 0);

        return failure_set(ret_failure, r, failure_kind_of_errno(r),
                           "The segment could not be made in %s: %s. The runtime directory must be a "
                           "writable tmpfs with room for it; lower `sessions` or free some memory there.",
                           directory, strerror(-r));
}

int segment_create(const char *runtime_directory, const struct segment_geometry *geometry,
                   const uint8_t instance[LAYOUT_INSTANCE_BYTES], uint64_t epoch_base,
                   struct segment **ret_segment, struct failure *ret_failure) {
        _cleanup_segment_ struct segment *segment = NULL;
        _cleanup_fd_ int directory_fd = -1, fd = -1;
        struct layout_header header = {};
        int r;

        assert(runtime_directory && geometry && instance && ret_segment);

        if (geometry->worker_count == 0 || geometry->worker_count > LAYOUT_WORKER_COUNT_MAX ||
            geometry->slot_count == 0 || geometry->slot_count > LAYOUT_SLOT_COUNT_MAX)
                return failure_set(
                        ret_failure, -ERANGE, FAILURE_STOP,
                        "A segment for %u workers and %u sessions cannot be made: the limits are "
                        "%u workers and %u sessions; set `max-workers` and `sessions` within them.",
                        geometry->worker_count, geometry->slot_count, LAYOUT_WORKER_COUNT_MAX,
                        LAYOUT_SLOT_COUNT_MAX);

        header_lay_out(&header, &layout_now, geometry->worker_count, geometry->slot_count);
        memcpy(header.instance, instance, LAYOUT_INSTANCE_BYTES);
        header.epoch_base = epoch_base;
        header.created_realtime_usec = clock_realtime_usec();
        r = boot_id_read(header.boot_id);
        if (r < 0)
                return segment_create_failed(ret_failure, runtime_directory, r);

        segment = calloc(1, sizeof *segment);
        if (!segment)
                return segment_create_failed(ret_failure, runtime_directory, -ENOMEM);
        directory_fd = open(runtime_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory_fd < 0)
                return segment_create_failed(ret_failure, runtime_directory, -errno);

        /* One maker at a time (S11: workers.lock), so a file of this name is one that died here before. */
        (void) unlinkat(directory_fd, SEGMENT_NEW_NAME, 0);
        fd = openat(directory_fd, SEGMENT_NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0)
                return segment_create_failed(ret_failure, runtime_directory, -errno);
        r = fchmod(fd, 0640) < 0 ? -errno : 0;
        if (r >= 0)
                r = segment_fill(fd, &header, segment);
        if (r >= 0 && renameat(directory_fd, SEGMENT_NEW_NAME, directory_fd, SEGMENT_FILE_NAME) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlinkat(directory_fd, SEGMENT_NEW_NAME, 0);
                return segment_create_failed(ret_failure, runtime_directory, r);
        }
        segment_prefault(segment);
        *ret_segment = TAKE(segment);
        return 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

static int header_refuse(struct failure *ret_failure, int r, const char *directory, const char *why) {
        assert(directory && why);
        assert(r < 0);

        return failure_set(ret_failure, r, FAILURE_STOP,
                           "%s/" SEGMENT_FILE_NAME " cannot be used: %s" SEGMENT_ADVICE_START
                           ": it makes a new one once no worker is left.",
                           directory, why);
}

/* L5: who may have made it, and what a person can do. */
static int layout_refuse(struct failure *ret_failure, uint32_t number, const char *directory) {
        return failure_set(ret_failure, -EPROTONOSUPPORT, FAILURE_STOP,
                           "%s/" SEGMENT_FILE_NAME " cannot be used: it is of layout %u, and this program "
                           "works with %u and %u" SEGMENT_ADVICE_LAYOUT
                           " of the version that made it, or stop "
                           "Baton and start it with this one: it drains, and makes a new segment.",
                           directory, number, layout_now.number, layout_before.number);
}

static bool sizes_are(const struct layout_header *header, const struct layout_header *want) {
        return header->header_bytes == want->header_bytes && header->pool_bytes == want->pool_bytes &&
               header->worker_bytes == want->worker_bytes && header->slot_bytes == want->slot_bytes &&
               header->config_bytes == want->config_bytes && header->status_bytes == want->status_bytes;
}

static bool offsets_are(const struct layout_header *header, const struct layout_header *want) {
        return header->pool_count == want->pool_count && header->inbox_words == want->inbox_words &&
               header->pool_offset == want->pool_offset && header->worker_offset == want->worker_offset &&
               header->slot_offset == want->slot_offset && header->config_offset == want->config_offset &&
               header->status_offset == want->status_offset && header->inbox_offset == want->inbox_offset &&
               header->segment_bytes == want->segment_bytes;
}

/* The header as read from the file, against what a program of its layout would have laid out for its counts. */
static int header_check(const struct layout_header *header, uint64_t file_bytes, const char *directory,
                        struct failure *ret_failure) {
        const struct layout_sizes *sizes;
        struct layout_header want = {};

        assert(header && directory);

        sizes = layout_find(header->layout_number);
        if (!sizes)
                return layout_refuse(ret_failure, header->layout_number, directory);
        if (header->mutex_bytes != sizeof(pthread_mutex_t))
                return header_refuse(ret_failure, -EPROTONOSUPPORT, directory,
                                     "its mutexes are those of another C library");
        if (header->worker_count == 0 || header->worker_count > LAYOUT_WORKER_COUNT_MAX ||
            header->slot_count == 0 || header->slot_count > LAYOUT_SLOT_COUNT_MAX)
                return header_refuse(ret_failure, -EBADMSG, directory, "its counts are out of range");

        header_lay_out(&want, sizes, header->worker_count, header->slot_count);
        if (!sizes_are(header, &want))
                return header_refuse(ret_failure, -EBADMSG, directory,
                                     "its sizes are not those of its layout");
        if (!offsets_are(header, &want))
                return header_refuse(ret_failure, -EBADMSG, directory, "its offsets do not add up");
        if (file_bytes < want.segment_bytes)
                return header_refuse(ret_failure, -EBADMSG, directory, "it is truncated");
        return 0;
}

/* A file on a disk may be from before the last boot: its pids and locks name others. One in memory cannot, and is
 * not asked: inside a container /proc shows either its boot or the host's, depending on how a service is confined. */
static int boot_check(int fd, const struct layout_header *header, const char *directory,
                      struct failure *ret_failure) {
        struct statfs place;
        uint8_t boot_id[16];
        int r;

        if (fstatfs(fd, &place) < 0)
                return header_refuse(ret_failure, -errno, directory, strerror(errno));
        if (place.f_type == TMPFS_MAGIC || place.f_type == RAMFS_MAGIC)
                return 0;
        r = boot_id_read(boot_id);
        if (r < 0)
                return header_refuse(ret_failure, r, directory, "/proc does not tell which boot this is");
        if (memcmp(boot_id, header->boot_id, sizeof boot_id) != 0)
                return header_refuse(ret_failure, -ESTALE, directory, "it is from before the last boot");
        return 0;
}

/* The file's size, and as much of it as any header has. -EBADMSG: it is no segment. */
static int header_read(int fd, uint64_t *ret_file_bytes, struct layout_header *ret_header) {
        struct stat status;
        size_t bytes;
        int r;

        assert(fd >= 0 && ret_header);

        if (fstat(fd, &status) < 0)
                return -errno;
        if (!S_ISREG(status.st_mode) || status.st_size < (off_t) LAYOUT_HEADER_BYTES)
                return -EBADMSG;
        r = fd_pread_all(fd, ret_header, sizeof *ret_header, 0, &bytes);
        if (r < 0)
                return r;
        *ret_file_bytes = (uint64_t) status.st_size;
        return bytes == sizeof *ret_header && ret_header->magic == LAYOUT_MAGIC ? 0 : -EBADMSG;
}

static int segment_read_header(int fd, const char *directory, struct layout_header *ret_header,
                               struct failure *ret_failure) {
        struct layout_header header;
        uint64_t file_bytes;
        int r;

        assert(directory && ret_header);

        r = header_read(fd, &file_bytes, &header);
        if (r < 0)
                return header_refuse(ret_failure, r, directory,
                                     r == -EBADMSG ? "it is not a segment of Baton" : strerror(-r));
        r = header_check(&header, file_bytes, directory, ret_failure);
        if (r >= 0)
                r = boot_check(fd, &header, directory, ret_failure);
        if (r < 0)
                return r;
        memcpy(ret_header, &header, sizeof header);
        return 0;
}

static int segment_file_open(const char *runtime_directory, int flags, int *ret_fd) {
        _cleanup_fd_ int directory_fd = -1;

        directory_fd = open(runtime_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory_fd >= 0)
                *ret_fd = openat(directory_fd, SEGMENT_FILE_NAME, flags | O_CLOEXEC | O_NOFOLLOW);
        return directory_fd < 0 || *ret_fd < 0 ? -errno : 0;
}

int segment_peek(const char *runtime_directory, struct layout_header *ret_header) {
        struct layout_header header;
        _cleanup_fd_ int fd = -1;
        uint64_t file_bytes;
        int r;

        assert(runtime_directory && ret_header);

        r = segment_file_open(runtime_directory, O_RDONLY, &fd);
        if (r >= 0)
                r = header_read(fd, &file_bytes, &header);
        if (r >= 0)
                memcpy(ret_header, &header, sizeof header);
        return r;
}

int segment_open(const char *runtime_directory, bool writable, struct segment **ret_segment,
                 struct failure *ret_failure) {
        _cleanup_segment_ struct segment *segment = NULL;
        struct layout_header header;
        _cleanup_fd_ int fd = -1;
        void *base;
        int r;

        assert(runtime_directory);
        assert(ret_segment);

        r = segment_file_open(runtime_directory, writable ? O_RDWR : O_RDONLY, &fd);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                   "%s/" SEGMENT_FILE_NAME " could not be opened: %s. %s", runtime_directory,
                                   strerror(-r),
                                   r == -ENOENT ? "Baton is not running here: start batond, or name the "
                                                  "directory with --runtime."
                                                : "It belongs to the user that runs batond.");
        r = segment_read_header(fd, runtime_directory, &header, ret_failure);
        if (r < 0)
                return r;

        segment = calloc(1, sizeof *segment);
        if (!segment)
                return header_refuse(ret_failure, -ENOMEM, runtime_directory, "there is no memory");
        base = mmap(NULL, header.segment_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
                    0);
        if (base == MAP_FAILED)
                return header_refuse(ret_failure, -errno, runtime_directory, strerror(errno));
        segment_point(segment, base, &header);
        segment->writable = writable;
        if (writable)
                segment_prefault(segment);
        *ret_segment = TAKE(segment);
        return 0;
}

void segment_close(struct segment *segment) {
        if (!segment)
                return;
        if (segment->header)
                (void) munmap(segment->header, segment->bytes);
        free(segment);
}

void segment_closep(struct segment **segment) {
        assert(segment);

        segment_close(*segment);
}
