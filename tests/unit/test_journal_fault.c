/* SPDX-License-Identifier: Apache-2.0 */
/* The journal on a bad disk: the n-th call of each kind fails, n = 1, 2, 3 … until one run needs no
 * more of them; and the power goes at the n-th call, whereupon any legal state of what was not synced
 * may be found (J3, J6, J9, J10, M7, M8). What was acknowledged is there; nothing that was never
 * handed over is. */
#include "tests/unit/test_journal_fixture.h"

#include "worker/journal/disk.h"

#define SESSION_COUNT 3
#define STEP_COUNT 45

TestSuite(journal_fault, .init = fixture_make, .fini = fixture_remove);

static const char *const session_names[SESSION_COUNT] = { "a", "b", "c" };

/* What the journal was told, and what it said was durable. */
static struct world { uint64_t told[SESSION_COUNT], acknowledged[SESSION_COUNT]; } world;

/* ---- a disk whose n-th call fails -------------------------------------------------------------- */

enum fault_kind {
        FAULT_SYNC,
        FAULT_DIRSYNC,
        FAULT_FULL,
        FAULT_SHORT,
        FAULT_WRITE,
        FAULT_OPEN,
        FAULT_RENAME,
        FAULT_COUNT
};

static struct fault {
        enum fault_kind kind;
        unsigned at, seen, span; /* the calls at … at + span - 1 of this kind fail */
        bool failed_fds[256];    /* M7: whose sync failed */
        bool synced_again;
} fault;

static bool strikes(enum fault_kind kind) {
        if (fault.kind != kind)
                return false;
        fault.seen++;
        return fault.seen >= fault.at && fault.seen < fault.at + fault.span;
}

static int fail(int error) {
        errno = error;
        return -1;
}

static int fault_open(int dir_fd, const char *name, int flags, mode_t mode) {
        int fd;

        if ((flags & O_CREAT) && strikes(FAULT_OPEN))
                return fail(EMFILE);
        fd = journal_disk_real.open(dir_fd, name, flags, mode);
        cr_assert_lt(fd, 256);
        if (fd >= 0)
                fault.failed_fds[fd] = false; /* the number is another file's now */
        return fd;
}

static ssize_t fault_pwrite(int fd, const void *data, size_t bytes, off_t offset) {
        if (strikes(FAULT_FULL)) {
                if (bytes > 100 && fault.seen % 2)
                        return journal_disk_real.pwrite(fd, data, 100, offset); /* and the rest has no room */
                return fail(ENOSPC);
        }
        if (strikes(FAULT_SHORT))
                return journal_disk_real.pwrite(fd, data, (bytes + 1) / 2, offset);
        if (strikes(FAULT_WRITE))
                return fail(EIO);
        return journal_disk_real.pwrite(fd, data, bytes, offset);
}

static int fault_datasync(int fd) {
        cr_assert(fd >= 0 && fd < 256);
        fault.synced_again |= fault.failed_fds[fd];
        if (strikes(FAULT_SYNC)) {
                fault.failed_fds[fd] = true;
                return fail(EIO);
        }
        return 0;
}

static int fault_dirsync(int fd) {
        if (strikes(FAULT_DIRSYNC))
                return fail(EIO);
        (void) fd;
        return 0;
}

static int fault_rename(int dir_fd, const char *from, const char *to, bool may_replace) {
        if (strikes(FAULT_RENAME))
                return fail(EIO);
        return journal_disk_real.rename(dir_fd, from, to, may_replace);
}

static struct journal_disk fault_disk;

static void fault_begin(enum fault_kind kind, unsigned at, unsigned span) {
        fault_disk = journal_disk_real;
        fault_disk.open = fault_open;
        fault_disk.pwrite = fault_pwrite;
        fault_disk.datasync = fault_datasync;
        fault_disk.dirsync = fault_dirsync;
        fault_disk.rename = fault_rename;
        fault = (struct fault){ .kind = kind, .at = at, .span = span };
        world = (struct world){ 0 };
        journal_disk = &fault_disk;
}

/* ---- one life of a writer on it ---------------------------------------------------------------- */

static struct journal *open_or_not(bool synced, int *ret_r, struct failure *failure) {
        const struct journal_config config = {
                .state_directory = fixture_state,
                .destination = "dest",
                .instance = fixture_instance,
                .worker_generation = 1,
                .synced = synced,
                .rotate_bytes = 3000,
        };
        struct journal *journal = NULL;

        *ret_r = journal_open(&config, &journal, failure);
        return journal;
}

static void append_once(struct journal *journal, unsigned step, bool is_persistent) {
        unsigned session = step % SESSION_COUNT;
        struct failure failure = { 0 };
        int r;

        for (unsigned attempts = 0; attempts < 200; attempts++) {
                r = fixture_append(journal, JOURNAL_MOVED, session_names[session], 1, step + 1, &failure);
                if (r >= 0) {
                        world.told[session] = world.acknowledged[session] = step + 1;
                        return;
                }
                cr_assert(failure.kind == FAILURE_SYNC || failure.kind == FAILURE_FULL, "%d %s", r,
                          failure.text);
                if (failure.kind == FAILURE_FULL) {
                        if (is_persistent)
                                return; /* nothing was appended */
                        continue;
                }
                world.told[session] = step + 1;
                /* M7: latched until it is renewed, whatever the disk does in between. */
                cr_assert_lt(fixture_append(journal, JOURNAL_MOVED, session_names[session], 1, step + 1,
                                            &failure),
                             0);
                cr_assert_eq(failure.kind, FAILURE_SYNC);
                r = journal_renew(journal, &failure);
                if (r >= 0)
                        world.acknowledged[session] = step + 1; /* carried over (J9) */
        }
        cr_assert_fail("step %u never ends", step);
}

static void check_world(const char *what, unsigned at) {
        struct journal_table *table = fixture_load(false);

        for (unsigned i = 0; i < SESSION_COUNT; i++) {
                int64_t position = fixture_position(table, session_names[i]);

                if (position == -ENOENT)
                        position = 0;
                cr_assert(position >= (int64_t) world.acknowledged[i] && position <= (int64_t) world.told[i],
                          "%s %u: session %s: acknowledged %lu, told %lu, found %ld", what, at,
                          session_names[i], (unsigned long) world.acknowledged[i],
                          (unsigned long) world.told[i], (long) position);
        }
        journal_table_free(table);
}

static void live(bool is_persistent) {
        struct failure failure = { 0 };
        struct journal *journal;
        int r;

        journal = open_or_not(true, &r, &failure);
        if (r < 0) {
                cr_assert_gt(failure.kind, FAILURE_NONE);
                cr_assert_gt(strlen(failure.text), 20);
                journal = open_or_not(true, &r, &failure);
        }
        for (unsigned step = 0; step < STEP_COUNT && journal; step++)
                append_once(journal, step, is_persistent);
        journal_close(journal);
}

static void fail_each(enum fault_kind kind, const char *what) {
        unsigned at;

        for (at = 1;; at++) {
                fault_begin(kind, at, 1);
                live(false);
                journal_disk = &journal_disk_real;
                check_world(what, at);
                cr_assert_not(fault.synced_again, "%s %u: a descriptor whose sync failed was synced again",
                              what, at);
                fixture_remove();
                cr_assert_eq(mkdir(fixture_state, 0750), 0);
                if (fault.seen < at)
                        break;
        }
        cr_expect_gt(at, 2, "no call of this kind was made");
}

Test(journal_fault, each_sync_fails_M7) {
        fail_each(FAULT_SYNC, "sync");
}

Test(journal_fault, each_sync_of_the_directory_fails_M7) {
        fail_each(FAULT_DIRSYNC, "directory sync");
}

Test(journal_fault, each_write_finds_no_room_M8) {
        fail_each(FAULT_FULL, "no room");
}

Test(journal_fault, each_write_is_short) {
        fail_each(FAULT_SHORT, "short write");
}

Test(journal_fault, each_write_fails) {
        fail_each(FAULT_WRITE, "write");
}

Test(journal_fault, each_open_fails) {
        fail_each(FAULT_OPEN, "open");
}

Test(journal_fault, each_rename_fails) {
        fail_each(FAULT_RENAME, "rename");
}

Test(journal_fault, the_disk_stays_full_for_a_while_M8) {
        for (unsigned at = 1; at < 60; at += 3) {
                fault_begin(FAULT_FULL, at, 20);
                live(true);
                journal_disk = &journal_disk_real;
                check_world("full for a while", at);
                fixture_remove();
                cr_assert_eq(mkdir(fixture_state, 0750), 0);
        }
}

Test(journal_fault, the_failed_descriptor_is_never_synced_again_J9) {
        struct failure failure = { 0 };
        struct journal *journal;
        unsigned syncs;
        int r;

        fault_begin(FAULT_SYNC, 4, 1); /* the third append */
        journal = open_or_not(true, &r, &failure);
        cr_assert_not_null(journal, "%s", failure.text);
        append_once(journal, 0, false);
        append_once(journal, 1, false);
        cr_assert_lt(fixture_append(journal, JOURNAL_MOVED, "c", 1, 3, &failure), 0);
        cr_expect_eq(failure.kind, FAILURE_SYNC);
        syncs = fault.seen;
        for (unsigned i = 0; i < 10; i++) {
                cr_assert_lt(fixture_append(journal, JOURNAL_MOVED, "c", 1, 4, &failure), 0);
                cr_expect_eq(failure.kind, FAILURE_SYNC);
        }
        cr_expect_eq(fault.seen, syncs, "an append on a latched journal syncs");
        cr_assert_eq(journal_renew(journal, &failure), 0, "%s", failure.text);
        cr_expect_eq(fault.seen, syncs + 1, "renewal syncs the new file and no other");
        cr_expect_not(fault.synced_again, "the descriptor whose sync failed was synced again");
        journal_disk = &journal_disk_real;
        cr_expect_eq(fixture_best("c"), 4, "what was handed over is carried");
        journal_close(journal);
}

Test(journal_fault, a_reader_whose_sync_fails_says_so_once_J10) {
        struct journal_table *table = NULL;
        struct failure failure = { 0 };
        struct journal *journal = fixture_open_as(0, 1, true, 0);

        fixture_must_append(journal, JOURNAL_CLAIM, "a", 1, 1);
        fixture_must_append(journal, JOURNAL_MOVED, "a", 1, 2);
        journal_close(journal);
        fault_begin(FAULT_SYNC, 1, 1);
        cr_expect_lt(journal_table_load(fixture_state, "dest", fixture_instance, true, &table, &failure), 0);
        cr_expect_eq(failure.kind, FAILURE_SYNC);
        cr_expect_eq(journal_table_load(fixture_state, "dest", fixture_instance, true, &table, &failure), 0);
        cr_expect_eq(fault.seen, 1, "a file whose sync failed is synced again");
        journal_disk = &journal_disk_real;
        cr_expect_eq(fixture_position(table, "a"), 2);
        journal_table_free(table);
}

/* ---- a disk that forgets what was not synced --------------------------------------------------- */

#define SECTOR_BYTES 512u
#define SHADOW_COUNT_MAX 64u

struct shadow_write {
        struct shadow_write *next;
        size_t offset, bytes;
        uint8_t data[];
};

static struct shadow {
        ino_t inode;
        char name[80], durable_name[80];
        uint8_t *durable;
        size_t durable_bytes;
        struct shadow_write *first, **last;
} shadows[SHADOW_COUNT_MAX];
static unsigned shadow_count;
static unsigned power_calls, power_cut_at;

/* True if the power is gone; the call that it goes at still has its effect. */
static bool power_is_gone(void) {
        return ++power_calls > power_cut_at;
}

static struct shadow *shadow_of(int fd) {
        struct stat st;

        cr_assert_eq(fstat(fd, &st), 0);
        for (unsigned i = shadow_count; i > 0; i--)
                if (shadows[i - 1].inode == st.st_ino)
                        return &shadows[i - 1];
        cr_assert_fail("a file that nobody made");
        return NULL;
}

static struct shadow *shadow_named(const char *name) {
        for (unsigned i = 0; i < shadow_count; i++)
                if (strcmp(shadows[i].name, name) == 0)
                        return &shadows[i];
        return NULL;
}

static int power_open(int dir_fd, const char *name, int flags, mode_t mode) {
        struct stat st;
        int fd;

        if ((flags & O_CREAT) && power_is_gone())
                return fail(EIO);
        fd = journal_disk_real.open(dir_fd, name, flags, mode);
        if (fd < 0 || !(flags & O_CREAT))
                return fd;
        cr_assert_lt(shadow_count, SHADOW_COUNT_MAX);
        cr_assert_eq(fstat(fd, &st), 0);
        shadows[shadow_count] = (struct shadow){ .inode = st.st_ino };
        shadows[shadow_count].last = &shadows[shadow_count].first;
        (void) snprintf(shadows[shadow_count].name, sizeof shadows[0].name, "%s", name);
        shadow_count++;
        return fd;
}

static ssize_t power_pwrite(int fd, const void *data, size_t bytes, off_t offset) {
        struct shadow *shadow = shadow_of(fd);
        struct shadow_write *write;

        if (power_is_gone())
                return fail(EIO);
        write = malloc(sizeof *write + bytes);
        cr_assert_not_null(write);
        *write = (struct shadow_write){ .offset = (size_t) offset, .bytes = bytes };
        memcpy(write->data, data, bytes);
        *shadow->last = write;
        shadow->last = &write->next;
        return journal_disk_real.pwrite(fd, data, bytes, offset);
}

static void put_durable(uint8_t **image, size_t *image_bytes, size_t offset, const uint8_t *data,
                        size_t bytes) {
        if (offset + bytes > *image_bytes) {
                *image = realloc(*image, offset + bytes);
                cr_assert_not_null(*image);
                memset(*image + *image_bytes, 0, offset + bytes - *image_bytes);
                *image_bytes = offset + bytes;
        }
        memcpy(*image + offset, data, bytes);
}

static int power_datasync(int fd) {
        struct shadow *shadow = shadow_of(fd);
        struct shadow_write *write;

        if (power_is_gone())
                return fail(EIO);
        while ((write = shadow->first)) {
                put_durable(&shadow->durable, &shadow->durable_bytes, write->offset, write->data,
                            write->bytes);
                shadow->first = write->next;
                free(write);
        }
        shadow->last = &shadow->first;
        return 0;
}

static int power_dirsync(int fd) {
        (void) fd;
        if (power_is_gone())
                return fail(EIO);
        for (unsigned i = 0; i < shadow_count; i++)
                memcpy(shadows[i].durable_name, shadows[i].name, sizeof shadows[i].name);
        return 0;
}

static int power_rename(int dir_fd, const char *from, const char *to, bool may_replace) {
        struct shadow *shadow = shadow_named(from), *over = shadow_named(to);

        if (power_is_gone())
                return fail(EIO);
        if (over)
                over->name[0] = '\0';
        (void) snprintf(shadow->name, sizeof shadow->name, "%s", to);
        return journal_disk_real.rename(dir_fd, from, to, may_replace);
}

static int power_unlink(int dir_fd, const char *name) {
        struct shadow *shadow = shadow_named(name);

        if (shadow && power_is_gone())
                return fail(EIO);
        if (shadow)
                shadow->name[0] = '\0';
        return journal_disk_real.unlink(dir_fd, name);
}

static void shadows_forget(void) {
        for (unsigned i = 0; i < shadow_count; i++) {
                for (struct shadow_write *write = shadows[i].first, *next; write; write = next) {
                        next = write->next;
                        free(write);
                }
                free(shadows[i].durable);
        }
        shadow_count = 0;
}

static uint64_t random_state;

static unsigned random_below(unsigned bound) {
        random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
        return (unsigned) (random_state >> 33) % bound;
}

/* Each sector of an unsynced write is there, or is not, or (where sectors tear) in part. Seeds 0 and 1
 * of the choice are the two ends: nothing and everything. */
static void put_undecided(uint8_t **image, size_t *image_bytes, const struct shadow_write *write,
                          unsigned seed, bool tears) {
        size_t at = 0;

        while (at < write->bytes) {
                size_t part = SECTOR_BYTES - (write->offset + at) % SECTOR_BYTES;
                unsigned fate = seed == 0 ? 0 : seed == 1 ? 1 : random_below(tears ? 3 : 2);

                part = MIN_OF(part, write->bytes - at);
                if (fate == 1)
                        put_durable(image, image_bytes, write->offset + at, write->data + at, part);
                if (fate == 2)
                        put_durable(image, image_bytes, write->offset + at, write->data + at,
                                    random_below((unsigned) part + 1));
                at += part;
        }
}

/* Lays one legal state after the cut into a directory of its own and makes it the fixture's. */
static void lay_state(const char *state, unsigned seed, bool tears) {
        bool is_old_directory = seed & 2;

        cr_assert_lt(snprintf(fixture_state, sizeof fixture_state, "%.240s.cut", state),
                     (int) sizeof fixture_state);
        cr_assert_eq(dir_make(fixture_path("."), 0750), 0);
        for (unsigned i = 0; i < shadow_count; i++) {
                const char *name = is_old_directory ? shadows[i].durable_name : shadows[i].name;
                size_t bytes = shadows[i].durable_bytes;
                uint8_t *image = malloc(bytes + 1);

                cr_assert_not_null(image);
                if (bytes > 0)
                        memcpy(image, shadows[i].durable, bytes);
                for (struct shadow_write *write = shadows[i].first; write; write = write->next)
                        put_undecided(&image, &bytes, write, seed / 4, tears);
                if (name[0] != '\0')
                        fixture_write(name, image, bytes);
                free(image);
        }
}

/* A truncated file is flushed by ext4 when it is closed: one state in eight is really cut. */
static int skip_truncate(int fd, off_t bytes) {
        (void) fd;
        (void) bytes;
        return 0;
}

static void check_after_cut(bool synced, unsigned at, unsigned seed) {
        struct journal_disk reading = journal_disk_real;
        struct journal_table *table;

        if (seed % 8 != 0)
                reading.truncate = skip_truncate;
        journal_disk = &reading;
        table = fixture_load(false);
        journal_disk = &journal_disk_real;

        for (uint32_t i = 0; i < journal_table_finding_count(table); i++)
                cr_assert_null(strstr(journal_table_finding(table, i), "damaged"), "cut %u, seed %u: %s", at,
                               seed, journal_table_finding(table, i));
        for (unsigned i = 0; i < SESSION_COUNT; i++) {
                int64_t position = fixture_position(table, session_names[i]);

                if (position == -ENOENT)
                        position = 0;
                cr_assert(position >= (synced ? (int64_t) world.acknowledged[i] : 0) &&
                                  position <= (int64_t) world.told[i],
                          "cut %u, seed %u: session %s: acknowledged %lu, told %lu, found %ld", at, seed,
                          session_names[i], (unsigned long) world.acknowledged[i],
                          (unsigned long) world.told[i], (long) position);
        }
        journal_table_free(table);
}

static void live_until_cut(bool synced, unsigned at) {
        static const struct journal_disk *const real = &journal_disk_real;
        struct journal_disk power = *real;
        struct failure failure;
        struct journal *journal;
        int r;

        power.open = power_open;
        power.pwrite = power_pwrite;
        power.datasync = power_datasync;
        power.dirsync = power_dirsync;
        power.rename = power_rename;
        power.unlink = power_unlink;
        power_calls = 0;
        power_cut_at = at;
        world = (struct world){ 0 };
        journal_disk = &power;
        journal = open_or_not(synced, &r, &failure);
        for (unsigned step = 0; step < STEP_COUNT && r >= 0; step++) {
                world.told[step % SESSION_COUNT] = step + 1;
                r = fixture_append(journal, JOURNAL_MOVED, session_names[step % SESSION_COUNT], 1, step + 1,
                                   &failure);
                if (r >= 0)
                        world.acknowledged[step % SESSION_COUNT] = step + 1;
        }
        journal_close(journal);
        journal_disk = &journal_disk_real;
}

static bool is_undecided(void) {
        for (unsigned i = 0; i < shadow_count; i++)
                if (shadows[i].first)
                        return true;
        return false;
}

static void cut_everywhere(bool synced) {
        char state[sizeof fixture_state];
        unsigned at;

        memcpy(state, fixture_state, sizeof state);
        random_state = 42;
        for (at = 1;; at++) {
                live_until_cut(synced, at);
                for (unsigned seed = 0; seed < 16; seed++) {
                        /* Without its lowest bit the two ends are the same; without undecided writes, all. */
                        if ((seed < 8 && (seed & 1)) || (seed > 2 && !is_undecided()))
                                continue;
                        lay_state(state, seed, synced);
                        check_after_cut(synced, at, seed);
                        fixture_remove();
                }
                shadows_forget();
                memcpy(fixture_state, state, sizeof state);
                fixture_remove();
                cr_assert_eq(mkdir(fixture_state, 0750), 0);
                if (power_calls <= at)
                        break;
        }
        cr_expect_gt(at, synced ? 100 : 50, "the power went too seldom: %u", at);
}

Test(journal_fault, the_power_goes_at_every_call_synced_J3) {
        cut_everywhere(true);
}

Test(journal_fault, the_power_goes_at_every_call_unsynced_M1) {
        cut_everywhere(false);
}
