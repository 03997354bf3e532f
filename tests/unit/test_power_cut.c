/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of states: the extremes are what they say, a state can be named and comes again, what is drawn
 * is legal by a second account of it; blindness hides what it names; the tape as a file. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/tracer/tracer.h"
#include "tests/unit/power_fixture.h"

TestSuite(power_cut, .init = sample_begin, .fini = sample_end);

Test(power_cut, the_last_operation_alone_is_lost_or_torn) {
        uint32_t file = base_file("a", "...");
        struct state state;

        write_text(file, 0, "A");
        write_sectors(file, 1, 8, 'w');
        state_begin(&state, CUT_LAST_LOST);
        cr_expect_str_eq(state_text(&state, "a"), "A..");
        state_done(&state);
        state_begin(&state, CUT_LAST_TORN);
        cr_expect_eq(state.image.entries[0].size, 9 * SECTOR_BYTES);
        cr_expect_eq(state.image.entries[0].content[0], 'A');
        state_done(&state);
}

Test(power_cut, the_first_operation_alone_is_lost) {
        uint32_t file = base_file("a", "old"), other = base_file("b", "old");

        write_text(file, 0, "new");
        write_text(other, 0, "new");
        expect_text(CUT_FIRST_LOST, "a", "old");
        expect_text(CUT_FIRST_LOST, "b", "new");
}

Test(power_cut, a_name_that_is_lost_alone_leaves_the_others) {
        (void) create(TAPE_ROOT, "a");
        (void) create(TAPE_ROOT, "b");
        expect_text(CUT_FIRST_LOST, "a", NULL);
        expect_text(CUT_FIRST_LOST, "b", "");
        expect_text(CUT_LAST_LOST, "a", "");
        expect_text(CUT_LAST_LOST, "b", NULL);
}

Test(power_cut, one_file_against_all_others_is_among_the_states) {
        uint32_t files[] = { base_file("a", "old"), base_file("b", "old"), base_file("c", "old") };
        bool is_behind = false, is_ahead = false;

        for (size_t i = 0; i < 3; i++)
                write_text(files[i], 0, "new");
        for (uint64_t number = CUT_EXTREME_COUNT; number < 200; number++) {
                struct state state;
                unsigned kept = 0;

                state_begin(&state, number);
                for (size_t i = 0; i < 3; i++)
                        kept += state.image.entries[i].content[0] == 'n';
                is_behind |= kept == 2;
                is_ahead |= kept == 1;
                state_done(&state);
        }
        cr_expect(is_behind && is_ahead);
}

/* ---- a second account ---------------------------------------------------------------------------- */
#define FILE_SECTORS 12

struct history {
        uint8_t content[FILE_SECTORS * SECTOR_BYTES];
        uint64_t size;
};

static struct history histories[64];
static size_t history_count;

/* The file after each operation that no sync covers, the first of them after the last sync. */
static void remember(const struct history *now) {
        cr_assert_lt(history_count, 64);
        histories[history_count++] = *now;
}

static void random_operation(uint32_t file, uint64_t draw, struct history *now) {
        uint64_t sector = draw % FILE_SECTORS, count = 1 + (draw >> 8) % (FILE_SECTORS - sector);
        uint8_t data[FILE_SECTORS * SECTOR_BYTES];

        if ((draw >> 16) % 5 == 0) {
                uint64_t size = draw % (sizeof(data) + 1);

                set_size(file, size);
                if (size < now->size)
                        memset(now->content + size, 0, sizeof(data) - size);
                now->size = size;
                return;
        }
        memset(data, 'a' + (int) ((draw >> 24) % 26), sizeof(data));
        done(enter_write(file, sector * SECTOR_BYTES, data, count * SECTOR_BYTES));
        memcpy(now->content + sector * SECTOR_BYTES, data, count * SECTOR_BYTES);
        if (now->size < (sector + count) * SECTOR_BYTES)
                now->size = (sector + count) * SECTOR_BYTES;
}

static void expect_legal(const struct cut_entry *entry, uint64_t number) {
        bool size_is_known = false;

        for (size_t i = 0; i < history_count; i++)
                size_is_known |= histories[i].size == entry->size;
        cr_assert(size_is_known, "state %d: %d bytes long", (int) number, (int) entry->size);
        for (size_t sector = 0; sector * SECTOR_BYTES < entry->size; sector++) {
                size_t from = sector * SECTOR_BYTES;
                size_t bytes = entry->size - from < SECTOR_BYTES ? entry->size - from : SECTOR_BYTES;
                bool known = false;

                for (size_t i = 0; i < history_count; i++)
                        known |= memcmp(histories[i].content + from, entry->content + from, bytes) == 0;
                cr_assert(known, "state %d: sector %d never held that", (int) number, (int) sector);
        }
}

Test(power_cut, every_state_is_legal_by_a_second_account) {
        for (uint64_t round = 0; round < 60; round++) {
                struct history now = { 0 };
                uint32_t file;

                sample_end();
                sample_begin();
                file = base_file("a", NULL);
                history_count = 0;
                remember(&now);
                for (uint64_t i = 0; i < 12; i++) {
                        uint64_t draw = cut_random(round, i, 7, 7);

                        random_operation(file, draw, &now);
                        if ((draw >> 40) % 9 == 0) {
                                sync_file(file);
                                history_count = 0;
                        }
                        remember(&now);
                }
                for (uint64_t number = 0; number < 60; number++) {
                        struct state state;

                        state_begin(&state, number);
                        expect_legal(&state.image.entries[0], number);
                        if (number == CUT_ALL) {
                                cr_assert_eq(state.image.entries[0].size, now.size);
                                cr_assert_arr_eq(state.image.entries[0].content, now.content, now.size);
                        }
                        state_done(&state);
                }
        }
}

/* ---- naming a state ------------------------------------------------------------------------------ */
Test(power_cut, a_state_comes_again_whatever_was_looked_at_before) {
        uint32_t file = base_file("a", NULL);
        struct disk disk;

        for (uint64_t i = 0; i < 20; i++) {
                write_sectors(file, i, 2, (char) ('a' + i));
                if (i % 7 == 3)
                        sync_file(file);
        }
        disk_begin(&disk, &sample, BLIND_NOT);
        for (uint64_t moment = 1; moment <= sample.moment; moment++) {
                struct state state;
                struct cut cut;
                struct cut_image image;

                disk_advance(&disk, moment);
                cut_choose(&disk, 9, 1, &cut);
                cut_build(&disk, &cut, &image);
                state_at(&state, moment, 9, BLIND_NOT);
                cr_assert_eq(cut_image_hash(&image), cut_image_hash(&state.image));
                state_done(&state);
                cut_image_done(&image);
                cut_done(&cut);
        }
        disk_done(&disk);
}

Test(power_cut, the_description_names_each_pending_operation) {
        uint32_t file = base_file("a", "old");
        struct state state;
        char text[4096] = "";
        FILE *out = fmemopen(text, sizeof(text), "w");

        write_text(file, 0, "new");
        (void) create(TAPE_ROOT, "b");
        state_begin(&state, CUT_NOTHING);
        cut_describe(&state.disk, &state.cut, out);
        (void) fclose(out);
        cr_expect(strstr(text, "a: durable 3 bytes, 1 operations pending"), "%s", text);
        cr_expect(strstr(text, "lost         1 write at 0, 3 bytes"), "%s", text);
        cr_expect(strstr(text, "lost         3 create b"), "%s", text);
        cr_expect_eq(cut_open_count(&state.disk), 2);
        state_done(&state);
}

/* ---- blindness ----------------------------------------------------------------------------------- */
static bool survives(const char *path, enum disk_blindness blindness) {
        struct state state;
        const struct cut_entry *entry;
        bool found;

        state_at(&state, sample.moment, CUT_NOTHING, blindness);
        entry = cut_image_find(&state.image, path);
        found = entry && entry->size == 1;
        state_done(&state);
        return found;
}

Test(power_cut, blindness_hides_the_syncs_that_it_names_and_no_others) {
        static const char *const names[] = { "d.db-wal", "orders.db-wal", "orders.db" };
        uint32_t state_file = make_directory("state"), journal, file;

        journal = tape_new_file(&sample);
        done(enter((struct tape_op){
                .kind = TAPE_MAKE_DIRECTORY, .file = journal, .parent = state_file, .name = "journal" }));
        sync_file(TAPE_ROOT);
        sync_file(state_file);
        for (size_t i = 0; i < 3; i++) {
                file = create(TAPE_ROOT, names[i]);
                write_text(file, 0, "x");
                done(enter((struct tape_op){
                        .kind = TAPE_SYNC, .file = file, .role = i == 2 ? TRACE_APPLICATION : TRACE_MOVER }));
        }
        file = create(journal, "0001-1.journal");
        write_text(file, 0, "x");
        sync_file(file);
        for (unsigned i = 0; i < BLIND_COUNT; i++) {
                cr_expect_eq(survives("d.db-wal", i), i != BLIND_DESTINATION);
                cr_expect_eq(survives("orders.db-wal", i), i != BLIND_SOURCE);
                cr_expect_eq(survives("orders.db", i), true, "the application synced it itself");
                cr_expect_eq(survives("state/journal/0001-1.journal", i), i != BLIND_JOURNAL);
                cr_expect_eq(disk_blindness_find(disk_blindness_name(i)), i);
        }
        cr_expect_eq(disk_blindness_find("nonsense"), BLIND_COUNT);
}

/* ---- the tape as a file --------------------------------------------------------------------------- */
#define TAPE_NAME "test.tape"

static int temporary_directory(char *path) {
        cr_assert(mkdtemp(path));
        return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void temporary_remove(int fd, const char *path) {
        (void) unlinkat(fd, TAPE_NAME, 0);
        (void) close(fd);
        (void) rmdir(path);
}

static void make_sample(void) {
        uint32_t file = base_file("a", "old"), other;

        write_text(file, 1, "written");
        set_size(file, 4);
        other = create(TAPE_ROOT, "b.new");
        rename_to(other, "b.new", "b");
        (void) enter_sync(other);
}

Test(power_cut, the_log_comes_back_as_it_was) {
        char path[] = "/tmp/baton-power-XXXXXX";
        int fd = temporary_directory(path);
        struct tape loaded;

        make_sample();
        cr_assert_eq(tape_store(&sample, fd, TAPE_NAME), 0);
        cr_assert_eq(tape_load(fd, TAPE_NAME, &loaded), 0);
        cr_assert_eq(loaded.count, sample.count);
        cr_expect_eq(loaded.moment, sample.moment);
        cr_expect_eq(loaded.file_count, sample.file_count);
        for (size_t i = 0; i < sample.count; i++) {
                const struct tape_op *a = &sample.ops[i], *b = &loaded.ops[i];

                cr_expect_eq(a->kind, b->kind);
                cr_expect_eq(a->begun, b->begun);
                cr_expect_eq(a->ended, b->ended);
                cr_expect_eq(a->file, b->file);
                cr_expect_eq(a->offset, b->offset);
                cr_expect_eq(a->bytes, b->bytes);
                cr_expect_str_eq(a->name, b->name);
                cr_expect_str_eq(a->to_name, b->to_name);
                if (a->kind == TAPE_WRITE)
                        cr_expect_arr_eq(a->data, b->data, a->bytes);
        }
        tape_done(&loaded);
        temporary_remove(fd, path);
}

static void write_log(int fd, const uint8_t *bytes, size_t count) {
        int file = openat(fd, TAPE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        cr_assert_eq(write(file, bytes, count), (ssize_t) count);
        (void) close(file);
}

/* Whatever is in the file: refused, or a tape whose numbers are within bounds, which can be walked. */
static int load_and_walk(int fd) {
        struct tape loaded;
        struct disk disk;
        int r = tape_load(fd, TAPE_NAME, &loaded);

        if (r < 0) {
                cr_assert_eq(r, -EBADMSG);
                return r;
        }
        disk_begin(&disk, &loaded, BLIND_NOT);
        disk_done(&disk);
        tape_done(&loaded);
        return 0;
}

Test(power_cut, a_log_that_was_cut_or_changed_is_refused_or_harmless) {
        char path[] = "/tmp/baton-power-XXXXXX";
        int fd = temporary_directory(path), file;
        uint8_t bytes[4096], changed[4096];
        size_t count;

        make_sample();
        cr_assert_eq(tape_store(&sample, fd, TAPE_NAME), 0);
        file = openat(fd, TAPE_NAME, O_RDONLY | O_CLOEXEC);
        cr_assert_eq(fd_pread_all(file, bytes, sizeof(bytes), 0, &count), 0);
        (void) close(file);
        cr_assert_lt(count, sizeof(bytes));
        for (size_t i = 0; i < count; i++) {
                write_log(fd, bytes, i);
                cr_assert_eq(load_and_walk(fd), -EBADMSG, "cut to %zu bytes", i);
                memcpy(changed, bytes, count);
                changed[i] ^= 0xff;
                write_log(fd, changed, count);
                (void) load_and_walk(fd);
        }
        temporary_remove(fd, path);
}
