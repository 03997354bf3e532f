/* SPDX-License-Identifier: Apache-2.0 */
/* Which points and states are tried: all where all may be, evenly spread of each sort where not, each
 * directory once, a named one alone. */
#include "prove/power/agenda.h"
#include "tests/unit/power_fixture.h"

TestSuite(power_agenda, .init = sample_begin, .fini = sample_end);

#define WRITES 100
#define SYNCS 20
#define NAMES 3

static void make_sample(void) {
        uint32_t file = base_file("a", "old");

        for (uint64_t i = 0; i < WRITES; i++) {
                write_sectors(file, i, 1, 'w');
                if (i % (WRITES / SYNCS) == 0)
                        sync_file(file);
        }
        for (int i = 0; i < NAMES; i++)
                (void) create(TAPE_ROOT, i == 0 ? "x" : i == 1 ? "y" : "z");
}

static struct agenda_options all_options(void) {
        return (struct agenda_options){
                .seed = 1, .states = 10, .only_moment = UINT64_MAX, .only_state = UINT64_MAX
        };
}

Test(power_agenda, all_points_where_there_is_no_limit) {
        struct agenda_options options = all_options();
        struct agenda agenda;

        make_sample();
        agenda_make(&sample, &options, &agenda);
        cr_expect_eq(agenda.op_count, WRITES + SYNCS + NAMES);
        cr_expect_eq(agenda.data_count, WRITES);
        cr_expect_eq(agenda.name_count, NAMES);
        cr_expect_eq(agenda.sync_count, SYNCS);
        cr_expect_eq(agenda.point_count, WRITES + 2 * SYNCS + NAMES);
        cr_expect_eq(agenda.tried_point_count, agenda.point_count);
        agenda_done(&agenda);
}

/* How many tried points lie in each tenth of the tape. */
Test(power_agenda, a_limit_takes_of_each_sort_from_everywhere) {
        struct agenda_options options = all_options();
        size_t tenths[10] = { 0 };
        uint64_t last = 0;
        struct agenda agenda;

        make_sample();
        options.points = 43;
        agenda_make(&sample, &options, &agenda);
        cr_expect_eq(agenda.tried_point_count, 43);
        for (size_t i = 0; i < agenda.count; i++)
                if (agenda.states[i].moment != last) {
                        last = agenda.states[i].moment;
                        tenths[(last - 1) * 10 / sample.moment]++;
                }
        for (size_t i = 0; i < 10; i++)
                cr_expect(tenths[i] >= 2 && tenths[i] <= 8, "tenth %zu: %zu points", i, tenths[i]);
        agenda_done(&agenda);
}

Test(power_agenda, a_directory_is_tried_once) {
        struct agenda_options options = all_options();
        uint64_t hashes[2000];
        struct agenda agenda;
        struct state state;

        make_sample();
        agenda_make(&sample, &options, &agenda);
        cr_assert_lt(agenda.count, 2000);
        cr_assert_lt(agenda.count, agenda.state_count, "some are equal");
        for (size_t i = 0; i < agenda.count; i++) {
                state_at(&state, agenda.states[i].moment, agenda.states[i].number, BLIND_NOT);
                hashes[i] = cut_image_hash(&state.image);
                for (size_t k = 0; k < i; k++)
                        cr_assert_neq(hashes[i], hashes[k]);
                state_done(&state);
        }
        agenda_done(&agenda);
}

Test(power_agenda, one_point_and_one_state_alone) {
        struct agenda_options options = all_options();
        struct agenda agenda;

        make_sample();
        options.points = 2;
        options.only_moment = sample.ops[10].ended;
        agenda_make(&sample, &options, &agenda);
        cr_expect_eq(agenda.tried_point_count, 1);
        cr_expect_eq(agenda.state_count, 10);
        agenda_done(&agenda);
        options.only_state = 7;
        agenda_make(&sample, &options, &agenda);
        cr_assert_eq(agenda.count, 1);
        cr_expect_eq(agenda.states[0].moment, sample.ops[10].ended);
        cr_expect_eq(agenda.states[0].number, 7);
        agenda_done(&agenda);
        options.only_moment = 0;
        agenda_make(&sample, &options, &agenda);
        cr_expect_eq(agenda.count, 0, "there is no such point");
        agenda_done(&agenda);
}

Test(power_agenda, a_moment_with_nothing_open_has_one_state) {
        struct agenda_options options = all_options();
        uint32_t file = base_file("a", "old");
        struct agenda agenda;

        write_text(file, 0, "new");
        sync_file(file);
        options.only_moment = sample.moment;
        agenda_make(&sample, &options, &agenda);
        cr_expect_eq(agenda.state_count, 1);
        agenda_done(&agenda);
}

Test(power_agenda, the_tape_in_words) {
        uint32_t file = base_file("a", "old");
        char text[4096] = "";
        FILE *out = fmemopen(text, sizeof(text), "w");

        write_text(file, 4, "new");
        done(enter((struct tape_op){ .kind = TAPE_MARK, .name = "a mark" }));
        (void) enter_sync(file);
        agenda_list(&sample, out);
        (void) fclose(out);
        cr_expect(strstr(text, "write     a at 4, 3 bytes"), "%s", text);
        cr_expect(strstr(text, "---- a mark"), "%s", text);
        cr_expect(strstr(text, "–") && strstr(text, "fsync     a"), "%s", text);
        cr_expect(!strstr(text, "create"), "what is base is not listed: %s", text);
}
