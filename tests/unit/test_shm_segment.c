/* SPDX-License-Identifier: Apache-2.0 */
/* The segment file: made whole, and refused with the right reason in every other case (S11, P1). */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "tests/unit/test_shm_support.h"

struct fixture {
        char path[256], file[300];
};

static struct fixture segment_on_disk(void) {
        struct segment_geometry geometry = { LAYOUT_WORKER_COUNT_DEFAULT, 1000 };
        struct fixture fixture;
        struct segment *segment;
        struct failure failure = { 0 };

        test_directory(fixture.path, sizeof fixture.path);
        (void) snprintf(fixture.file, sizeof fixture.file, "%s/%s", fixture.path, SEGMENT_FILE_NAME);
        cr_assert_eq(segment_create(fixture.path, &geometry, test_instance, EPOCH_BASE, &segment, &failure),
                     0, "%s", failure.text);
        segment_close(segment);
        return fixture;
}

static void fixture_remove(struct fixture *fixture) {
        (void) unlink(fixture->file);
        cr_assert_eq(rmdir(fixture->path), 0, "nothing else was left in the directory");
}

static void expect(struct fixture *fixture, int r, const char *word) {
        struct segment *segment = (void *) 1;
        struct failure failure = { 0 };

        cr_assert_eq(segment_open(fixture->path, true, &segment, &failure), r, "%s (%s)", failure.text, word);
        cr_assert_eq(segment, (void *) 1, "output untouched on failure");
        cr_assert_not_null(strstr(failure.text, word), "the sentence says why: %s", failure.text);
        cr_assert_not_null(strstr(failure.text, fixture->path), "and on what: %s", failure.text);
}

static void poke(struct fixture *fixture, size_t offset, const void *bytes, size_t count) {
        int fd = open(fixture->file, O_WRONLY | O_CLOEXEC);

        cr_assert_geq(fd, 0);
        cr_assert_eq(pwrite(fd, bytes, count, (off_t) offset), (ssize_t) count);
        (void) close(fd);
}

Test(shm_segment, opens_what_was_made) {
        struct fixture fixture = segment_on_disk();
        struct segment *segment;
        struct failure failure;
        struct stat status;

        cr_assert_eq(stat(fixture.file, &status), 0);
        cr_assert_eq(status.st_mode & 07777, 0640, "its group may look");
        cr_assert_eq(segment_open(fixture.path, false, &segment, &failure), 0);
        cr_assert(!segment->writable);
        cr_assert_eq(segment->slot_count, 1000);
        cr_assert_eq(segment->worker_count, LAYOUT_WORKER_COUNT_DEFAULT);
        cr_assert_eq(segment->pool_count, LAYOUT_POOL_COUNT_MAX);
        cr_assert_eq(segment->bytes, (size_t) status.st_size);
        cr_assert_eq(segment->header->epoch_base, EPOCH_BASE);
        cr_assert_eq(segment_slot(segment, 999)->epoch, EPOCH_BASE);
        cr_assert_arr_eq(segment->header->instance, test_instance, sizeof test_instance);
        segment_close(segment);
        segment_close(NULL);
        fixture_remove(&fixture);
}

Test(shm_segment, replaces_an_old_one_and_a_piece_of_one) {
        struct fixture fixture = segment_on_disk();
        struct segment_geometry geometry = { 8, 8 };
        struct segment *old, *made, *opened;
        struct failure failure;
        char piece[320];
        int fd;

        (void) snprintf(piece, sizeof piece, "%s.new", fixture.file); /* as a maker leaves it that died */
        fd = open(piece, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        cr_assert_geq(fd, 0);
        (void) close(fd);
        cr_assert_eq(segment_open(fixture.path, true, &old, &failure), 0);
        cr_assert_eq(segment_create(fixture.path, &geometry, test_instance, 1, &made, &failure), 0);
        cr_assert_eq(old->header->slot_count, 1000, "who has the old one mapped keeps it");
        cr_assert_eq(segment_open(fixture.path, true, &opened, &failure), 0);
        cr_assert_eq(opened->slot_count, 8);
        segment_close(old);
        segment_close(made);
        segment_close(opened);
        fixture_remove(&fixture);
}

Test(shm_segment, limits) {
        const struct segment_geometry wrong[] = {
                { 0, 8 }, { 8, 0 }, { LAYOUT_WORKER_COUNT_MAX + 1, 8 }, { 8, LAYOUT_SLOT_COUNT_MAX + 1 }
        };
        struct segment_geometry largest = { LAYOUT_WORKER_COUNT_MAX, LAYOUT_SLOT_COUNT_MAX };
        struct fixture fixture = segment_on_disk();
        struct segment *segment;
        struct failure failure;

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
                cr_assert_eq(segment_create(fixture.path, wrong + i, test_instance, 0, &segment, &failure),
                             -ERANGE);
        cr_assert_eq(segment_create(fixture.path, &largest, test_instance, 0, &segment, &failure), 0, "%s",
                     failure.text);
        cr_assert_geq(segment->inbox_words * 64U, LAYOUT_SLOT_COUNT_MAX);
        segment_close(segment);
        fixture_remove(&fixture);
        cr_assert_eq(segment_create(fixture.path, &largest, test_instance, 0, &segment, &failure), -ENOENT);
        cr_assert_not_null(strstr(failure.text, fixture.path));
}

static bool is_in_memory(const char *path) {
        struct statfs place;

        cr_assert_eq(statfs(path, &place), 0);
        return place.f_type == TMPFS_MAGIC;
}

/* /proc may show another boot inside a confined service than outside of it. */
Test(shm_segment, what_is_in_memory_is_of_this_boot) {
        struct segment_geometry geometry = { 8, 8 };
        char directory[] = "/dev/shm/baton-segment-XXXXXX", file[64];
        struct segment *made, *opened;
        struct failure failure;

        if (!mkdtemp(directory) || !is_in_memory(directory))
                cr_skip_test("/dev/shm is not in memory");
        cr_assert_eq(segment_create(directory, &geometry, test_instance, 0, &made, &failure), 0);
        made->header->boot_id[0]++;
        cr_assert_eq(segment_open(directory, true, &opened, &failure), 0, "%s", failure.text);
        segment_close(opened);
        segment_close(made);
        (void) snprintf(file, sizeof(file), "%s/%s", directory, SEGMENT_FILE_NAME);
        cr_assert(unlink(file) == 0 && rmdir(directory) == 0);
}

Test(shm_segment, p1_refuses_with_the_reason) {
        struct fixture fixture = segment_on_disk();
        struct layout_header header;
        struct stat status;
        uint64_t magic = 1;
        int fd;

        fd = open(fixture.file, O_RDONLY | O_CLOEXEC);
        cr_assert_eq(read(fd, &header, sizeof header), (ssize_t) sizeof header);
        (void) close(fd);

#define REFUSES(field, value, r, word)                       \
        do {                                                 \
                struct layout_header changed = header;       \
                changed.field = (value);                     \
                poke(&fixture, 0, &changed, sizeof changed); \
                expect(&fixture, (r), (word));               \
        } while (0)
        REFUSES(layout_number, LAYOUT_NUMBER + 1, -EPROTONOSUPPORT, "version"); /* and test_shm_layout.c */
        REFUSES(slot_count, 0, -EBADMSG, "counts");
        REFUSES(slot_count, 999, -EBADMSG, "offsets");
        REFUSES(slot_count, UINT32_MAX, -EBADMSG, "counts");
        REFUSES(worker_count, LAYOUT_WORKER_COUNT_MAX + 1, -EBADMSG, "counts");
        REFUSES(pool_count, 1, -EBADMSG, "offsets");
        REFUSES(inbox_words, 1, -EBADMSG, "offsets");
        REFUSES(slot_offset, header.slot_offset + 64, -EBADMSG, "offsets");
        REFUSES(inbox_offset, UINT64_MAX - 63, -EBADMSG, "offsets");
        REFUSES(segment_bytes, header.segment_bytes * 2, -EBADMSG, "offsets");
        if (!is_in_memory(fixture.path))
                REFUSES(boot_id[0], (uint8_t) (header.boot_id[0] + 1), -ESTALE, "boot");
        poke(&fixture, 0, &header, sizeof header);
        poke(&fixture, 0, &magic, sizeof magic);
        expect(&fixture, -EBADMSG, "not a segment");

        poke(&fixture, 0, &header, sizeof header);
        cr_assert_eq(stat(fixture.file, &status), 0);
        cr_assert_eq(truncate(fixture.file, status.st_size - 1), 0);
        expect(&fixture, -EBADMSG, "truncated");
        cr_assert_eq(truncate(fixture.file, LAYOUT_HEADER_BYTES - 1), 0);
        expect(&fixture, -EBADMSG, "not a segment");
        cr_assert_eq(truncate(fixture.file, 0), 0);
        expect(&fixture, -EBADMSG, "not a segment");
        cr_assert_eq(unlink(fixture.file), 0);
        expect(&fixture, -ENOENT, "not running");
        cr_assert_eq(mkdir(fixture.file, 0700), 0);
        expect(&fixture, -EISDIR, "directory");
        cr_assert_eq(rmdir(fixture.file), 0);
        fixture_remove(&fixture);
}

/* P1: a header of any bytes is an answer, never a crash. */
Test(shm_segment, p1_random_headers) {
        struct fixture fixture = segment_on_disk();
        struct segment *segment;
        struct failure failure;
        struct layout_header header;
        int fd = open(fixture.file, O_RDONLY | O_CLOEXEC);

        cr_assert_eq(read(fd, &header, sizeof header), (ssize_t) sizeof header);
        (void) close(fd);
        srand(4711);
        for (unsigned i = 0; i < 2000; i++) {
                struct layout_header changed = header;
                /* Behind the magic and before what the supervisor changes while it runs. */
                size_t offset = 8 + (size_t) rand() % (offsetof(struct layout_header, instance) - 8);

                ((uint8_t *) &changed)[offset] ^= (uint8_t) (1 + rand() % 255);
                if (changed.layout_number == LAYOUT_NUMBER - 1)
                        continue; /* that would be a good one */
                poke(&fixture, 0, &changed, sizeof changed);
                cr_assert_lt(segment_open(fixture.path, false, &segment, &failure), 0, "byte %zu", offset);
        }
        fixture_remove(&fixture);
}
