/* SPDX-License-Identifier: Apache-2.0 */
/* The disk of `make powercut`: what was flushed stays, what was not may go, sector by sector, and the guest
 * sees what it wrote. A disk that lost nothing would make every cut hold. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/powercut/host/disk.h"
#include "tests/powercut/host/plan.h"

#define SECTORS 2048
#define TRIES 64

static char image[PATH_MAX];
static struct disk disk;
static uint64_t chance = 5;

static void make_disk(void) {
        const char *base = getenv("TMPDIR");
        int fd;

        (void) snprintf(image, sizeof(image), "%s/baton-disk.XXXXXX", base ? base : "/tmp");
        fd = mkstemp(image);
        cr_assert_geq(fd, 0);
        cr_assert_eq(ftruncate(fd, SECTORS * SECTOR_BYTES), 0);
        fd_close(&fd);
        cr_assert_eq(disk_open(&disk, image), 0);
}

static void remove_disk(void) {
        disk_close(&disk);
        (void) unlink(image);
}

TestSuite(powercut_disk, .init = make_disk, .fini = remove_disk);

static void put(unsigned sector, char letter, unsigned count) {
        static char data[SECTORS * SECTOR_BYTES];

        memset(data, letter, (size_t) count * SECTOR_BYTES);
        cr_assert_eq(disk_write(&disk, (uint64_t) sector * SECTOR_BYTES, data, count * SECTOR_BYTES), 0);
}

/* The letter that fills the sector of the image; '?' where it holds several. */
static char platter_at(unsigned sector) {
        char data[SECTOR_BYTES];
        int fd = open(image, O_RDONLY | O_CLOEXEC);
        size_t bytes = 0;

        cr_assert_geq(fd, 0);
        cr_assert_eq(fd_pread_all(fd, data, sizeof(data), (off_t) sector * SECTOR_BYTES, &bytes), 0);
        fd_close(&fd);
        for (size_t i = 1; i < bytes; i++)
                if (data[i] != data[0])
                        return '?';
        return data[0];
}

static void cut(enum cache_fate fate, struct disk_loss *ret_loss) {
        disk_cut(&disk, fate, &chance, ret_loss);
        cr_assert_eq(disk_open(&disk, image), 0);
}

Test(powercut_disk, guest_sees_its_cache_and_the_platter_does_not) {
        put(3, 'a', 2);
        cr_assert_eq(disk.seen[3 * SECTOR_BYTES], 'a');
        cr_assert_eq(platter_at(3), 0);
        disk_flush(&disk);
        cr_assert_eq(platter_at(3), 'a');
        cr_assert_eq(platter_at(4), 'a');
        cr_assert_eq(platter_at(5), 0);
}

Test(powercut_disk, flushed_stays_whatever_the_fate) {
        struct disk_loss loss;

        for (enum cache_fate fate = 0; fate < CACHE_FATE_COUNT; fate++) {
                char letter = (char) ('a' + (int) fate);

                put(1, letter, 3);
                disk_flush(&disk);
                put(8, 'x', 1);
                cut(fate, &loss);
                cr_assert_eq(platter_at(1), letter);
                cr_assert_eq(platter_at(3), letter);
                cr_assert_eq(disk.seen[SECTOR_BYTES], letter);
        }
}

Test(powercut_disk, kept_and_lost_are_all_or_nothing) {
        struct disk_loss loss;

        put(0, 'a', 1);
        put(5, 'b', 1);
        cut(CACHE_LOST, &loss);
        cr_assert_eq(loss.lost, 2);
        cr_assert_eq(platter_at(0), 0);
        cr_assert_eq(platter_at(5), 0);
        put(0, 'a', 1);
        put(5, 'b', 1);
        cut(CACHE_KEPT, &loss);
        cr_assert_eq(loss.kept, 2);
        cr_assert_eq(platter_at(0), 'a');
        cr_assert_eq(platter_at(5), 'b');
}

Test(powercut_disk, prefix_keeps_the_order) {
        unsigned torn = 0;

        for (unsigned i = 0; i < TRIES; i++) {
                struct disk_loss loss;

                put(0, '-', 16);
                disk_flush(&disk);
                for (unsigned sector = 0; sector < 16; sector += 4)
                        put(sector, 'n', 4);
                cut(CACHE_PREFIX, &loss);
                cr_assert_leq(loss.torn, 1);
                torn += loss.torn;
                /* Before the torn write all are new, behind it all are old. */
                for (unsigned sector = 0; sector < loss.kept * 4; sector++)
                        cr_assert_eq(platter_at(sector), 'n');
                for (unsigned sector = (unsigned) (loss.kept + loss.torn) * 4; sector < 16; sector++)
                        cr_assert_eq(platter_at(sector), '-');
        }
        cr_assert_gt(torn, 0);
}

Test(powercut_disk, some_writes_are_whole_and_in_no_order) {
        unsigned early_lost = 0, late_lost = 0;

        for (unsigned i = 0; i < TRIES; i++) {
                struct disk_loss loss;

                put(0, '-', 8);
                disk_flush(&disk);
                put(0, 'n', 4);
                put(4, 'n', 4);
                cut(CACHE_SOME, &loss);
                cr_assert_eq(loss.torn, 0);
                for (unsigned sector = 1; sector < 4; sector++) {
                        cr_assert_eq(platter_at(sector), platter_at(0));
                        cr_assert_eq(platter_at(4 + sector), platter_at(4));
                }
                early_lost += platter_at(0) == '-' && platter_at(4) == 'n';
                late_lost += platter_at(0) == 'n' && platter_at(4) == '-';
        }
        cr_assert_gt(early_lost, 0);
        cr_assert_gt(late_lost, 0);
}

Test(powercut_disk, torn_by_sector_and_an_earlier_write_may_stand) {
        unsigned torn = 0, earlier = 0;

        for (unsigned i = 0; i < TRIES; i++) {
                struct disk_loss loss;

                put(0, '-', 8);
                disk_flush(&disk);
                put(0, '1', 8);
                put(0, '2', 8);
                cut(CACHE_TORN, &loss);
                torn += (unsigned) loss.torn;
                for (unsigned sector = 0; sector < 8; sector++) {
                        cr_assert(strchr("-12", platter_at(sector)) && platter_at(sector));
                        earlier += platter_at(sector) == '1';
                }
        }
        cr_assert_gt(torn, 0);
        cr_assert_gt(earlier, 0);
}

Test(powercut_disk, liar_flushes_nothing) {
        struct disk_loss loss;

        disk.lies = true;
        put(2, 'a', 1);
        disk_flush(&disk);
        cut(CACHE_LOST, &loss);
        cr_assert_eq(platter_at(2), 0);
}

Test(powercut_disk, copy_is_the_same_and_keeps_its_holes) {
        char copy[PATH_MAX + 8];
        struct stat status;

        (void) snprintf(copy, sizeof(copy), "%s.copy", image);
        put(1000, 'c', 1);
        disk_flush(&disk);
        cr_assert_eq(disk_image_copy(image, copy), 0);
        cr_assert_eq(rename(copy, image), 0);
        cr_assert_eq(platter_at(1000), 'c');
        cr_assert_eq(platter_at(999), 0);
        cr_assert_eq(stat(image, &status), 0);
        cr_assert_eq(status.st_size, SECTORS * SECTOR_BYTES);
        cr_assert_lt(status.st_blocks, SECTORS);
}

/* Whatever the seed, twenty cuts have every kind and every fate, and the plan is a function of both. */
Test(powercut_disk, plan_deals_every_kind_and_fate) {
        for (uint64_t seed = 0; seed < 50; seed++) {
                unsigned kinds[CUT_KIND_COUNT] = {}, fates[CACHE_FATE_COUNT] = {};
                struct cut_plan plan, again;

                for (unsigned i = 0; i < 20; i++) {
                        plan_cut(seed, i, &plan);
                        plan_cut(seed, i, &again);
                        cr_assert(plan.kind == again.kind && plan.fate == again.fate &&
                                  plan.after_requests == again.after_requests &&
                                  plan.after_msec == again.after_msec && plan.random == again.random);
                        kinds[plan.kind]++;
                        fates[plan.fate]++;
                        cr_assert_geq(plan.after_requests, 1);
                        cr_assert_leq(plan.after_requests, cut_kinds[plan.kind].request_max);
                }
                for (size_t i = 0; i < CUT_KIND_COUNT; i++)
                        cr_assert_gt(kinds[i], 0);
                for (size_t i = 0; i < CACHE_FATE_COUNT; i++)
                        cr_assert_eq(fates[i], 4);
        }
}
