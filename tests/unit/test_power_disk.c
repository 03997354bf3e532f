/* SPDX-License-Identifier: Apache-2.0 */
/* The model of a disk that lost its power: what a sync covers, what may be there of the rest, and what of
 * names, on logs that were made up (F1 to F8 of prove/power/README.md). */
#include "tests/unit/power_fixture.h"

#define STATES 400 /* drawn for each claim about all of them */

TestSuite(power_disk, .init = sample_begin, .fini = sample_end);

/* ---- what a sync covers (F2) ------------------------------------------------------------------- */
Test(power_disk, what_is_synced_stays_and_what_is_not_may_go) {
        uint32_t file = base_file("a", "old");

        write_text(file, 0, "syn");
        sync_file(file);
        write_text(file, 3, "c");
        expect_text(CUT_NOTHING, "a", "syn");
        expect_text(CUT_ALL, "a", "sync");
}

Test(power_disk, a_sync_that_has_not_returned_covers_nothing) {
        uint32_t file = base_file("a", "old");

        write_text(file, 0, "new");
        (void) enter_sync(file);
        expect_text(CUT_NOTHING, "a", "old");
}

Test(power_disk, a_sync_covers_what_had_returned_when_it_was_entered) {
        uint32_t file = base_file("a", "......");
        size_t sync;

        write_text(file, 0, "A");
        size_t late = enter_write(file, 1, "B", 1);
        sync = enter_sync(file);
        done(late);
        write_text(file, 2, "C");
        done(sync);
        expect_text(CUT_NOTHING, "a", "A.....");
}

Test(power_disk, a_sync_of_another_file_covers_nothing) {
        uint32_t file = base_file("a", "old"), other = base_file("b", "old");

        write_text(file, 0, "new");
        write_text(other, 0, "new");
        sync_file(other);
        expect_text(CUT_NOTHING, "a", "old");
        expect_text(CUT_NOTHING, "b", "new");
}

Test(power_disk, a_sync_of_all_covers_all) {
        uint32_t file = base_file("a", "old");

        write_text(file, 0, "new");
        (void) create(TAPE_ROOT, "b");
        done(enter((struct tape_op){ .kind = TAPE_SYNC_ALL }));
        expect_text(CUT_NOTHING, "a", "new");
        expect_text(CUT_NOTHING, "b", "");
}

Test(power_disk, a_synchronous_write_covers_itself) {
        uint32_t file = base_file("a", NULL);
        char data[SECTOR_BYTES];
        struct state state;

        memset(data, 'b', sizeof(data));
        write_sectors(file, 0, 1, 'a');
        done(enter((struct tape_op){ .kind = TAPE_WRITE,
                                     .file = file,
                                     .offset = SECTOR_BYTES,
                                     .bytes = sizeof(data),
                                     .data = (const uint8_t *) data,
                                     .is_synchronous = true }));
        state_begin(&state, CUT_NOTHING);
        cr_assert_eq(state.image.entries[0].size, 2 * SECTOR_BYTES);
        cr_expect_eq(state.image.entries[0].content[0], 0, "the write before it is not covered");
        cr_expect_eq(state.image.entries[0].content[SECTOR_BYTES], 'b');
        state_done(&state);
}

Test(power_disk, the_moment_decides) {
        uint32_t file = base_file("a", "old");
        struct state state;
        uint64_t before;

        write_text(file, 0, "new");
        before = sample.moment;
        sync_file(file);
        state_at(&state, before, CUT_NOTHING, BLIND_NOT);
        cr_expect_str_eq(state_text(&state, "a"), "old");
        state_done(&state);
        expect_text(CUT_NOTHING, "a", "new");
}

/* ---- data and size (F3, F4, F5) ---------------------------------------------------------------- */
Test(power_disk, a_sector_holds_what_stood_in_it_at_some_time) {
        uint32_t file = base_file("a", "....");
        bool seen[4] = { false };

        write_text(file, 0, "A");
        write_text(file, 1, "B");
        write_text(file, 0, "C");
        for (uint64_t number = 0; number < STATES; number++) {
                static const char *const texts[] = { "....", "A...", "AB..", "CB.." };
                struct state state;
                bool known = false;

                state_begin(&state, number);
                for (size_t i = 0; i < 4; i++)
                        if (strcmp(state_text(&state, "a"), texts[i]) == 0)
                                seen[i] = known = true;
                cr_assert(known, "a sector is written as a whole, and holds '%s'", state_text(&state, "a"));
                state_done(&state);
        }
        for (size_t i = 0; i < 4; i++)
                cr_expect(seen[i], "state %zu never came", i);
}

/* Which of the file's sectors are new, as bits. */
static unsigned sectors_of(uint64_t number, char letter, size_t count) {
        struct state state;
        unsigned bits = 0;

        state_begin(&state, number);
        for (size_t i = 0; i < count; i++) {
                const uint8_t *content = state.image.entries[0].content;
                uint8_t first = content[i * SECTOR_BYTES];

                for (size_t k = 0; k < SECTOR_BYTES; k++)
                        cr_assert_eq(content[i * SECTOR_BYTES + k], first, "a sector is torn");
                bits |= (unsigned) (first == (uint8_t) letter) << i;
        }
        state_done(&state);
        return bits;
}

Test(power_disk, a_write_tears_between_sectors_and_between_pages) {
        uint32_t file = base_file("a", NULL);
        bool inside_page = false, at_page = false;

        write_sectors(file, 0, 16, 'o');
        sync_file(file);
        write_sectors(file, 0, 16, 'n');
        for (uint64_t number = 0; number < STATES; number++) {
                unsigned bits = sectors_of(number, 'n', 16);

                inside_page |= (bits & 0xff) != 0 && (bits & 0xff) != 0xff;
                at_page |= bits == 0xff00 || bits == 0x00ff;
        }
        cr_expect(inside_page);
        cr_expect(at_page);
}

Test(power_disk, writes_reach_the_disk_in_any_order) {
        uint32_t file = base_file("a", NULL);
        unsigned seen = 0;

        write_sectors(file, 0, 3, 'o');
        sync_file(file);
        for (uint64_t i = 0; i < 3; i++)
                write_sectors(file, i, 1, 'n');
        for (uint64_t number = 0; number < STATES; number++)
                seen |= 1u << sectors_of(number, 'n', 3);
        cr_expect_eq(seen, 0xffu, "every combination: %#x", seen);
}

Test(power_disk, size_before_data_is_zeros_and_data_before_size_is_nothing) {
        uint32_t file = base_file("a", "old");
        struct state state;

        write_sectors(file, 1, 1, 'n');
        state_begin(&state, CUT_SIZE_FIRST);
        cr_assert_eq(state.image.entries[0].size, 2 * SECTOR_BYTES);
        cr_expect_eq(state.image.entries[0].content[SECTOR_BYTES], 0);
        state_done(&state);
        expect_text(CUT_DATA_FIRST, "a", "old");
}

Test(power_disk, what_a_smaller_size_removed_never_comes_back_behind_it) {
        uint32_t file = base_file("a", NULL);
        bool stands = false, is_gone = false;

        write_sectors(file, 0, 4, 'o');
        sync_file(file);
        set_size(file, 0);
        write_sectors(file, 3, 1, 'n');
        for (uint64_t number = 0; number < STATES; number++) {
                struct state state;
                const struct cut_entry *entry;

                state_begin(&state, number);
                entry = &state.image.entries[0];
                if (entry->size == 4 * SECTOR_BYTES && entry->content[0] == 'o') {
                        /* The smaller size is lost, so is all that came upon it. */
                        cr_assert_eq(entry->content[3 * SECTOR_BYTES], 'o');
                        stands = true;
                } else {
                        for (size_t i = 0; i < entry->size; i++)
                                cr_assert_neq(entry->content[i], 'o', "state %d", (int) number);
                        is_gone = true;
                }
                state_done(&state);
        }
        cr_expect(stands && is_gone);
}

Test(power_disk, a_hole_is_zeros_or_not_yet) {
        uint32_t file = base_file("a", "abcdef");

        done(enter((struct tape_op){ .kind = TAPE_CLEAR, .file = file, .offset = 2, .bytes = 2 }));
        expect_text(CUT_NOTHING, "a", "abcdef");
        expect_text(CUT_ALL, "a", "ab");
}

/* ---- names (F6, F7) ---------------------------------------------------------------------------- */
Test(power_disk, a_new_name_needs_its_directory) {
        uint32_t file = create(TAPE_ROOT, "a");

        write_text(file, 0, "x");
        expect_text(CUT_NOTHING, "a", NULL);
        sync_file(TAPE_ROOT);
        expect_text(CUT_NOTHING, "a", "");
}

Test(power_disk, a_file_that_is_synced_has_its_name) {
        uint32_t file = create(TAPE_ROOT, "a");

        write_text(file, 0, "x");
        sync_file(file);
        expect_text(CUT_NOTHING, "a", "x");
}

/* The seeds that draw strict states. */
static bool is_seen_strict(const char *path, bool wanted) {
        bool seen = false;

        for (uint64_t number = CUT_EXTREME_COUNT; number < STATES && !seen; number++) {
                struct state state;

                state_begin(&state, number);
                seen = state.cut.is_strict && (state_text(&state, path) != NULL) == wanted;
                state_done(&state);
        }
        return seen;
}

Test(power_disk, strictly_a_file_that_is_synced_may_have_no_name) {
        uint32_t file = create(TAPE_ROOT, "a");

        sync_file(file);
        cr_expect(is_seen_strict("a", false));
        cr_expect(is_seen_strict("a", true));
        sync_file(TAPE_ROOT);
        cr_expect(!is_seen_strict("a", false));
}

Test(power_disk, fdatasync_of_a_renamed_file_leaves_the_rename_open) {
        uint32_t file = create(TAPE_ROOT, "a.new");

        rename_to(file, "a.new", "a");
        datasync_file(file);
        expect_text(CUT_NOTHING, "a", NULL);
        expect_text(CUT_NOTHING, "a.new", "");
        sync_file(file);
        expect_text(CUT_NOTHING, "a", "");
        expect_text(CUT_NOTHING, "a.new", NULL);
}

/* Which of the names a, b, c are there, as bits. */
static unsigned names_of(uint64_t number, bool *ret_is_strict) {
        struct state state;
        unsigned bits = 0;

        state_begin(&state, number);
        bits |= (unsigned) (state_text(&state, "a") != NULL);
        bits |= (unsigned) (state_text(&state, "b") != NULL) << 1;
        bits |= (unsigned) (state_text(&state, "c") != NULL) << 2;
        *ret_is_strict = state.cut.is_strict;
        state_done(&state);
        return bits;
}

Test(power_disk, names_come_in_order_or_strictly_each_by_itself) {
        unsigned in_order = 0, strictly = 0;

        (void) create(TAPE_ROOT, "a");
        (void) create(TAPE_ROOT, "b");
        (void) create(TAPE_ROOT, "c");
        for (uint64_t number = CUT_EXTREME_COUNT; number < STATES; number++) {
                bool is_strict;
                unsigned bit = 1u << names_of(number, &is_strict);

                if (is_strict)
                        strictly |= bit;
                else
                        in_order |= bit;
        }
        cr_expect_eq(in_order, 1u << 0 | 1u << 1 | 1u << 3 | 1u << 7, "prefixes alone: %#x", in_order);
        cr_expect_eq(strictly, 0xffu, "every combination: %#x", strictly);
}

Test(power_disk, a_rename_is_whole) {
        uint32_t old = base_file("a", "old"), file = create(TAPE_ROOT, "a.new");
        bool is_old = false, is_new = false;

        (void) old;
        write_text(file, 0, "new");
        sync_file(file);
        sync_file(TAPE_ROOT);
        rename_to(file, "a.new", "a");
        for (uint64_t number = 0; number < STATES; number++) {
                struct state state;

                state_begin(&state, number);
                cr_assert(state_text(&state, "a"), "the name is always there");
                is_old |= strcmp(state_text(&state, "a"), "old") == 0;
                is_new |= strcmp(state_text(&state, "a"), "new") == 0;
                cr_assert_eq(state_text(&state, "a.new") != NULL,
                             strcmp(state_text(&state, "a"), "old") == 0);
                state_done(&state);
        }
        cr_expect(is_old && is_new);
}

Test(power_disk, an_unlinked_file_comes_back_with_what_was_written_to_it) {
        uint32_t file = base_file("a", "old");

        write_text(file, 0, "new");
        sync_file(file);
        unlink_name(file, "a");
        expect_text(CUT_NOTHING, "a", "new");
        expect_text(CUT_ALL, "a", NULL);
        sync_file(TAPE_ROOT);
        expect_text(CUT_NOTHING, "a", NULL);
}

Test(power_disk, what_is_in_a_lost_directory_is_lost) {
        uint32_t directory = make_directory("d");

        (void) create(directory, "a");
        sync_file(directory);
        expect_text(CUT_ALL, "d/a", "");
        cr_expect(is_seen_strict("d/a", false), "the directory's own name is not synced");
        sync_file(TAPE_ROOT);
        expect_text(CUT_NOTHING, "d/a", "");
        cr_expect(!is_seen_strict("d/a", false));
}

Test(power_disk, a_second_file_of_a_name_is_another_one) {
        uint32_t first = create(TAPE_ROOT, "a"), second;

        write_text(first, 0, "first");
        sync_file(first);
        sync_file(TAPE_ROOT);
        unlink_name(first, "a");
        second = create(TAPE_ROOT, "a");
        write_text(second, 0, "2");
        expect_text(CUT_NOTHING, "a", "first");
        expect_text(CUT_ALL, "a", "2");
}
