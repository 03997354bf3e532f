/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's ordinary life: what is appended is found, over rotation, renewal, forgetting, restarts
 * and ten thousand sessions (J1, J2, J6, J7). Must not touch: a file outside its own directory. */
#include "tests/unit/test_journal_fixture.h"

TestSuite(journal_write, .init = fixture_make, .fini = fixture_remove);

Test(journal_write, round_trip_keeps_every_field) {
        struct checkpoint in = fixture_checkpoint("orders", 7, 1234);
        struct journal *journal = fixture_open_as(3, 17, true, 0);
        struct failure failure = { 0 };
        struct journal_table *table;
        struct journal_entry entry;

        cr_assert_eq(journal_append(journal, JOURNAL_MOVED, &in, &failure), 0, "%s", failure.text);
        table = fixture_load(true);
        cr_assert_eq(journal_table_find(table, "orders", &entry, &failure), 0, "%s", failure.text);
        cr_expect_eq(memcmp(&in, &entry.checkpoint, sizeof in), 0);
        cr_expect_eq(entry.type, JOURNAL_MOVED);
        cr_expect_str_eq(entry.file_name, "0003-17.journal");
        cr_expect_eq(journal_table_finding_count(table), 0);
        cr_expect_eq(journal_table_find(table, "payments", &entry, &failure), -ENOENT);
        journal_table_free(table);
        journal_close(journal);
}

Test(journal_write, missing_directory_is_an_empty_table) {
        cr_expect_eq(fixture_best("orders"), -ENOENT);
        cr_expect_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect_not(fixture_exists("."));
}

Test(journal_write, highest_epoch_then_highest_position_wins) {
        struct journal *first = fixture_open_as(0, 1, true, 0), *second = fixture_open_as(1, 2, true, 0);

        fixture_must_append(first, JOURNAL_CLAIM, "a", 5, 900);
        fixture_must_append(second, JOURNAL_CLAIM, "a", 6, 100); /* a higher epoch may go back */
        cr_expect_eq(fixture_best("a"), 100);
        fixture_must_append(first, JOURNAL_MOVED, "b", 5, 10);
        fixture_must_append(second, JOURNAL_MOVED, "b", 5, 11);
        cr_expect_eq(fixture_best("b"), 11);
        journal_close(first);
        journal_close(second);
        cr_expect_eq(fixture_best("a"), 100);
        cr_expect_eq(fixture_best("b"), 11);
}

Test(journal_write, a_record_that_would_lose_is_refused_J1) {
        struct journal *journal = fixture_open_as(0, 1, true, 0);
        struct failure failure = { 0 };

        fixture_must_append(journal, JOURNAL_MOVED, "a", 5, 100);
        cr_expect_eq(fixture_append(journal, JOURNAL_MOVED, "a", 5, 99, &failure), -ESTALE);
        cr_expect_eq(failure.kind, FAILURE_STOP);
        cr_expect_eq(fixture_append(journal, JOURNAL_MOVED, "a", 4, 500, &failure), -ESTALE);
        cr_expect_eq(fixture_append(journal, JOURNAL_MOVED, "../a", 5, 1, &failure), -EINVAL);
        fixture_must_append(journal, JOURNAL_ROTATED, "a", 5, 100);
        fixture_must_append(journal, JOURNAL_CLAIM, "a", 6, 1);
        cr_expect_eq(fixture_best("a"), 1);
        journal_close(journal);
}

Test(journal_write, a_taken_name_is_never_overwritten_J6) {
        struct journal *journal = fixture_open_as(0, 1, true, 0);

        fixture_must_append(journal, JOURNAL_MOVED, "a", 5, 100);
        journal_close(journal);
        journal = fixture_open_as(0, 1, true, 0); /* a new segment: generations begin again */
        fixture_must_append(journal, JOURNAL_MOVED, "b", 6, 1);
        cr_expect(fixture_exists("0000-1.journal"));
        cr_expect(fixture_exists("0000-1.1.journal"));
        cr_expect_eq(fixture_best("a"), 100);
        cr_expect_eq(fixture_best("b"), 1);
        journal_close(journal);
}

static void rotate_a_lot(bool synced) {
        struct journal *journal = fixture_open_as(0, 1, synced, 4096);
        struct journal_table *tables[4] = { NULL };
        char session[16];
        struct stat st;

        for (uint64_t position = 1; position <= 600; position++) {
                (void) snprintf(session, sizeof session, "s%u", (unsigned) (position % 5));
                fixture_must_append(journal, JOURNAL_MOVED, session, 9, position);
                /* The same tables over all rotations, of which one sees each and others see some: then
                 * inode numbers come back and mean another file. */
                for (unsigned i = 0; i < ELEMENTSOF(tables); i++) {
                        if (position % (7 + 6 * i) != 0)
                                continue;
                        cr_assert_eq(journal_table_load(fixture_state, "dest", fixture_instance, synced,
                                                        &tables[i], NULL),
                                     0);
                        cr_assert_eq(fixture_position(tables[i], session), (int64_t) position);
                        cr_assert_eq(journal_table_finding_count(tables[i]), 0, "%s",
                                     journal_table_finding(tables[i], 0));
                }
        }
        for (unsigned i = 0; i < ELEMENTSOF(tables); i++)
                journal_table_free(tables[i]);
        for (uint64_t i = 0; i < 5; i++) {
                (void) snprintf(session, sizeof session, "s%u", (unsigned) i);
                cr_expect_eq(fixture_best(session), i == 0 ? 600 : (int64_t) (595 + i));
        }
        cr_assert_eq(stat(fixture_path("0000-1.journal"), &st), 0);
        cr_expect_eq(st.st_size, 65536, "%ld: it has not been rotated", (long) st.st_size);
        cr_expect_eq(fixture_count(".new"), 0);
        journal_close(journal);
}

Test(journal_write, rotation_keeps_the_latest_of_each_session) {
        rotate_a_lot(true);
}

Test(journal_write, rotation_unsynced) {
        rotate_a_lot(false);
}

Test(journal_write, grows_by_chunks_and_renews) {
        struct journal *journal = fixture_open_as(0, 1, true, 1 << 20);
        struct failure failure = { 0 };
        struct stat before, after;

        for (uint64_t position = 1; position <= 700; position++)
                fixture_must_append(journal, JOURNAL_MOVED, "a", 1, position);
        cr_assert_eq(stat(fixture_path("0000-1.journal"), &before), 0);
        cr_expect_eq(before.st_size, 3 * 65536);
        cr_expect_eq(fixture_best("a"), 700);
        cr_assert_eq(journal_renew(journal, &failure), 0, "%s", failure.text);
        cr_assert_eq(stat(fixture_path("0000-1.journal"), &after), 0);
        cr_expect_neq(before.st_ino, after.st_ino);
        cr_expect_eq(fixture_best("a"), 700);
        fixture_must_append(journal, JOURNAL_MOVED, "a", 1, 701);
        journal_close(journal);
        cr_expect_eq(fixture_best("a"), 701);
}

Test(journal_write, forgetting_waits_for_a_better_record_elsewhere_J7) {
        struct journal *giver = fixture_open_as(0, 1, true, 0), *taker;

        fixture_must_append(giver, JOURNAL_MOVED, "a", 5, 100);
        fixture_must_append(giver, JOURNAL_RELEASED, "a", 5, 100);
        fixture_must_append(giver, JOURNAL_MOVED, "b", 5, 1);
        journal_forget(giver, "a");
        journal_forget(giver, "unknown");
        cr_assert_eq(journal_renew(giver, NULL), 0);
        cr_expect_eq(fixture_best("a"), 100, "the only record was forgotten");

        taker = fixture_open_as(1, 2, true, 0);
        fixture_must_append(taker, JOURNAL_CLAIM, "a", 6, 100);
        cr_assert_eq(journal_renew(giver, NULL), 0);
        journal_close(taker);
        cr_assert_eq(unlink(fixture_path("0001-2.journal")), 0);
        cr_expect_eq(fixture_best("a"), 100,
                     "the claim was its file's last record: its sync may have failed");

        taker = fixture_open_as(1, 2, true, 0);
        fixture_must_append(taker, JOURNAL_CLAIM, "a", 6, 100);
        fixture_must_append(taker, JOURNAL_MOVED, "a", 6, 110);
        cr_assert_eq(journal_renew(giver, NULL), 0);
        journal_close(taker);
        cr_assert_eq(unlink(fixture_path("0001-2.journal")), 0);
        cr_expect_eq(fixture_best("a"), -ENOENT, "superseded, forgotten, and still in the snapshot");
        cr_expect_eq(fixture_best("b"), 1);
        journal_close(giver);
}

Test(journal_write, an_append_takes_a_forgotten_session_back) {
        struct journal *giver = fixture_open_as(0, 1, true, 0), *taker = fixture_open_as(1, 2, true, 0);

        fixture_must_append(giver, JOURNAL_RELEASED, "a", 5, 100);
        fixture_must_append(taker, JOURNAL_CLAIM, "a", 6, 100);
        fixture_must_append(taker, JOURNAL_RELEASED, "a", 6, 120);
        journal_forget(giver, "a");
        fixture_must_append(giver, JOURNAL_CLAIM, "a", 7, 120);
        cr_assert_eq(journal_renew(giver, NULL), 0);
        journal_close(taker);
        journal_close(giver);
        cr_assert_eq(unlink(fixture_path("0001-2.journal")), 0);
        cr_expect_eq(fixture_best("a"), 120);
}

Test(journal_write, ten_thousand_sessions) {
        struct journal *journal = fixture_open_as(0, 1, false, 0);
        struct journal_table *table;
        char session[16];

        for (unsigned pass = 1; pass <= 3; pass++)
                for (unsigned i = 0; i < 10000; i++) {
                        (void) snprintf(session, sizeof session, "session-%u", i);
                        fixture_must_append(journal, JOURNAL_MOVED, session, pass, i + pass);
                }
        table = fixture_load(true);
        for (unsigned i = 0; i < 10000; i++) {
                (void) snprintf(session, sizeof session, "session-%u", i);
                cr_assert_eq(fixture_position(table, session), (int64_t) i + 3);
        }
        cr_expect_eq(fixture_position(table, "session-10000"), -ENOENT);
        journal_table_free(table);
        journal_close(journal);
}
