/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader concludes: every input of the recovery tables, every byte of a small journal changed,
 * every length it can be cut to, other versions, other instances, damage in the middle (J2, J4, J5),
 * and what `baton journal check` and `show` say of it. */
#include <jansson.h>
#include <sys/file.h>

#include "tests/unit/test_journal_fixture.h"

#include "base/checksum.h"
#include "worker/journal/disk.h"
#include "worker/journal/recovery.h"

#define NAME "0000-1.journal"
#define RECORD_AT(index) (JOURNAL_HEADER_BYTES + (size_t) (index) *JOURNAL_RECORD_BYTES)

TestSuite(journal_recovery, .init = fixture_make, .fini = fixture_remove);

/* ---- the tables (J4) ------------------------------------------------------------------------- */

static unsigned count_matches(const struct journal_row *rows, size_t row_count, uint32_t conditions,
                              bool *row_used) {
        unsigned count = 0;

        for (size_t i = 0; i < row_count; i++) {
                if ((conditions & rows[i].yes) != rows[i].yes || (conditions & rows[i].no) != 0)
                        continue;
                row_used[i] = true;
                count++;
        }
        return count;
}

static void feed_all(const struct journal_row *rows, size_t row_count, unsigned condition_count) {
        bool row_used[64] = { false };

        cr_assert_leq(row_count, 64);
        for (uint32_t conditions = 0; conditions < 1u << condition_count; conditions++)
                cr_assert_eq(count_matches(rows, row_count, conditions, row_used), 1, "conditions %#x",
                             conditions);
        for (size_t i = 0; i < row_count; i++) {
                cr_expect(row_used[i], "row %zu matches nothing", i);
                cr_expect_not_null(rows[i].reason);
        }
}

Test(journal_recovery, every_header_matches_one_row_J4) {
        feed_all(journal_header_rows, journal_header_row_count, HEADER_CONDITION_COUNT);
}

Test(journal_recovery, every_record_matches_one_row_J4) {
        feed_all(journal_record_rows, journal_record_row_count, RECORD_CONDITION_COUNT);
}

Test(journal_recovery, a_synced_file_never_loses_quietly_J4) {
        for (uint32_t conditions = 0; conditions < 1u << RECORD_CONDITION_COUNT; conditions++) {
                enum journal_decision decision = journal_record_decide(conditions)->decision;

                if (conditions & RECORD_FILE_SYNCED)
                        cr_assert_neq(decision, JOURNAL_LOST, "conditions %#x", conditions);
                if (conditions & RECORD_WRITER_ALIVE)
                        cr_assert_neq(decision, JOURNAL_TORN_TAIL, "conditions %#x: a live file is cut",
                                      conditions);
                if (decision == JOURNAL_TORN_TAIL || decision == JOURNAL_CLEAN_END)
                        cr_assert_eq(conditions & RECORD_VALID_BEHIND, 0, "conditions %#x: a record is cut",
                                     conditions);
        }
}

/* ---- a small journal, and what may become of it ----------------------------------------------- */

/* Seven records of three sessions: a ends at 40, b at 20, c at 30, which is the last. */
static uint8_t *small_journal(bool synced, size_t *ret_bytes) {
        struct journal *journal = fixture_open_as(0, 1, synced, 0);

        fixture_must_append(journal, JOURNAL_CLAIM, "a", 1, 10);
        fixture_must_append(journal, JOURNAL_CLAIM, "b", 1, 10);
        fixture_must_append(journal, JOURNAL_MOVED, "b", 1, 20);
        fixture_must_append(journal, JOURNAL_MOVED, "a", 1, 40);
        fixture_must_append(journal, JOURNAL_CLAIM, "c", 1, 10);
        fixture_must_append(journal, JOURNAL_MOVED, "c", 1, 20);
        fixture_must_append(journal, JOURNAL_MOVED, "c", 1, 30);
        journal_close(journal);
        return fixture_read(NAME, ret_bytes);
}

/* What a load of the file says: the position of each session, and whether anything was reported. */
struct said {
        int64_t a, b, c;
        uint32_t findings;
};

static struct said load_small(void) {
        struct journal_table *table = fixture_load(false);
        struct said said = {
                .a = fixture_position(table, "a"),
                .b = fixture_position(table, "b"),
                .c = fixture_position(table, "c"),
                .findings = journal_table_finding_count(table),
        };

        journal_table_free(table);
        return said;
}

/* Right, or an error, or (the last record alone) what was before it, with a report. */
static void assert_honest(struct said said, const char *what, size_t at) {
        bool whole = said.a == 40 && said.b == 20 && said.c == 30;
        bool cut = said.a == 40 && said.b == 20 && said.c == 20 && said.findings > 0;
        bool stopped = (said.a == 40 || said.a < 0) && (said.b == 20 || said.b < 0) && said.c < 0 &&
                       said.a != -ENOENT && said.b != -ENOENT && said.c != -ENOENT && said.findings > 0;

        if (!stopped)
                /* Damage that names its session stops all that the file holds. */
                stopped = said.a == -EBADMSG && said.b == -EBADMSG && said.c == -EBADMSG && said.findings > 0;
        cr_assert(whole || cut || stopped, "%s %zu: a=%ld b=%ld c=%ld, %u findings", what, at, (long) said.a,
                  (long) said.b, (long) said.c, said.findings);
}

static void flip_every_byte(bool synced, uint8_t mask) {
        size_t count, used = RECORD_AT(7) + 600, detected = 0;
        uint8_t *bytes = small_journal(synced, &count);

        cr_assert_gt(count, used);
        for (size_t at = 0; at < used; at++) {
                struct said said;

                bytes[at] ^= mask;
                fixture_write(NAME, bytes, count);
                said = load_small();
                assert_honest(said, "flipped byte", at);
                cr_assert_gt(said.findings, 0, "nobody noticed the flipped byte %zu", at);
                detected++;
                bytes[at] ^= mask;
        }
        cr_expect_eq(detected, used);
        free(bytes);
}

Test(journal_recovery, every_byte_flipped_is_noticed_J2) {
        flip_every_byte(true, 0xff);
}

Test(journal_recovery, every_byte_with_one_bit_flipped_is_noticed_J2) {
        flip_every_byte(true, 0x01);
}

Test(journal_recovery, every_byte_set_to_zero_in_an_unsynced_journal) {
        size_t count;
        uint8_t *bytes = small_journal(false, &count);

        for (size_t at = 0; at < RECORD_AT(7); at++) {
                struct said said;
                uint8_t was = bytes[at];

                if (was == 0)
                        continue;
                bytes[at] = 0;
                fixture_write(NAME, bytes, count);
                said = load_small();
                cr_assert_gt(said.findings, 0, "nobody noticed byte %zu", at);
                cr_assert(said.a <= 40 && said.b <= 20 && said.c <= 30);
                bytes[at] = was;
        }
        free(bytes);
}

Test(journal_recovery, cut_to_every_length_it_is_a_prefix) {
        size_t count;
        uint8_t *bytes = small_journal(true, &count);
        int64_t a = 0, b = 0, c = 0;

        for (size_t length = 0; length <= RECORD_AT(8); length++) {
                size_t whole = length < JOURNAL_HEADER_BYTES
                                       ? 0
                                       : (length - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES;
                struct said said;

                fixture_write(NAME, bytes, length);
                said = load_small();
                a = whole > 3 ? 40 : whole > 0 ? 10 : -ENOENT;
                b = whole > 2 ? 20 : whole > 1 ? 10 : -ENOENT;
                c = whole > 6 ? 30 : whole > 5 ? 20 : whole > 4 ? 10 : -ENOENT;
                if (length > 0 && length < JOURNAL_HEADER_BYTES)
                        a = b = c = -EBADMSG; /* half a header: what it held is unknown */
                cr_assert(said.a == a && said.b == b && said.c == c, "length %zu: a=%ld b=%ld c=%ld", length,
                          (long) said.a, (long) said.b, (long) said.c);
                /* Half a record is reported, and cut: a second load has nothing to say. */
                if (length > JOURNAL_HEADER_BYTES && length < RECORD_AT(7) && length != RECORD_AT(whole)) {
                        cr_assert_gt(said.findings, 0, "length %zu", length);
                        cr_assert_eq(load_small().findings, 0, "length %zu: it was not cut", length);
                }
        }
        free(bytes);
}

Test(journal_recovery, a_torn_tail_is_cut_only_when_the_writer_is_dead_J5) {
        size_t count;
        uint8_t *bytes = small_journal(true, &count);
        struct stat st;
        int fd;

        memset(bytes + RECORD_AT(6) + 100, 0, JOURNAL_RECORD_BYTES - 100);
        fixture_write(NAME, bytes, count);
        fd = open(fixture_path(NAME), O_RDONLY | O_CLOEXEC);
        cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
        cr_expect_eq(load_small().c, 20);
        cr_expect_eq(load_small().findings, 0, "a live writer's half record is no news");
        cr_assert_eq(stat(fixture_path(NAME), &st), 0);
        cr_expect_eq(st.st_size, (off_t) count, "a live writer's file was cut");
        (void) close(fd);

        /* A dead one's, while another reader looks: reported, not cut. */
        fd = open(fixture_path(NAME), O_RDONLY | O_CLOEXEC);
        cr_assert_eq(flock(fd, LOCK_SH | LOCK_NB), 0);
        cr_expect_eq(load_small().findings, 1);
        cr_assert_eq(stat(fixture_path(NAME), &st), 0);
        cr_expect_eq(st.st_size, (off_t) count);
        (void) close(fd);
        cr_expect_eq(load_small().findings, 1);
        cr_assert_eq(stat(fixture_path(NAME), &st), 0);
        cr_expect_eq(st.st_size, (off_t) RECORD_AT(6));
        cr_expect_eq(load_small().findings, 0);
        free(bytes);
}

/* A worker collects before it loads what it tells of: the tail, and the news of it, must still be there. */
Test(journal_recovery, a_collection_leaves_a_torn_tail_to_who_tells_of_it_J5) {
        size_t count;
        uint8_t *bytes = small_journal(true, &count);
        struct stat st;

        memset(bytes + RECORD_AT(6) + 100, 0, JOURNAL_RECORD_BYTES - 100);
        fixture_write(NAME, bytes, count);
        cr_assert_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_assert_eq(stat(fixture_path(NAME), &st), 0);
        cr_expect_eq(st.st_size, (off_t) count, "a collection cut a tail that nobody was told of");
        cr_expect_eq(load_small().findings, 1);
        cr_assert_eq(stat(fixture_path(NAME), &st), 0);
        cr_expect_eq(st.st_size, (off_t) RECORD_AT(6));
        free(bytes);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Found by tests/fuzz: with the torn tail cut, the damage before it is the last record, and the next reader took
 * it for a torn tail. Damage then vanished file by file, and the position went back. */
Test(journal_recovery, a_torn_tail_behind_damage_stays_J5) {
        size_t count;
        uint8_t *bytes = small_journal(true, &count);
        struct stat st;

        bytes[RECORD_AT(5) + 44] ^= 0x20;
        memset(bytes + RECORD_AT(6) + 100, 0, JOURNAL_RECORD_BYTES - 100);
        fixture_write(NAME, bytes, count);
        for (unsigned readers = 0; readers < 3; readers++) {
                cr_expect_eq(fixture_best("a"), -EBADMSG, "reader %u", readers);
                cr_assert_eq(stat(fixture_path(NAME), &st), 0);
                cr_expect_eq(st.st_size, (off_t) count, "reader %u cut it", readers);
        }
        free(bytes);
}

Test(journal_recovery, a_torn_tail_of_another_instance_stays_J5) {
        size_t count;
        uint8_t *bytes = small_journal(true, &count);
        uint32_t crc;
        struct stat st;

        bytes[16] ^= 1; /* instance */
        crc = htole32(crc32c(0, bytes, JOURNAL_HEADER_BYTES - 4));
        memcpy(bytes + JOURNAL_HEADER_BYTES - 4, &crc, sizeof crc);
        memset(bytes + RECORD_AT(6) + 100, 0, JOURNAL_RECORD_BYTES - 100);
        fixture_write(NAME, bytes, count);
        cr_expect_eq(fixture_best("a"), -EBADMSG);
        cr_assert_eq(stat(fixture_path(NAME), &st), 0);
        cr_expect_eq(st.st_size, (off_t) count, "it was cut");
        free(bytes);
}

Test(journal_recovery, damage_stops_the_sessions_of_its_file_and_no_others_J2) {
        struct journal *other = fixture_open_as(1, 2, true, 0);
        struct journal_table *table;
        struct journal_entry entry;
        struct failure failure;
        size_t count;
        uint8_t *bytes = small_journal(true, &count);

        fixture_must_append(other, JOURNAL_CLAIM, "elsewhere", 3, 7);
        bytes[RECORD_AT(2) + 44] ^= 0x20; /* position of b's second record: the name is whole */
        fixture_write(NAME, bytes, count);
        table = fixture_load(true);
        cr_expect_eq(fixture_position(table, "elsewhere"), 7);
        cr_expect_eq(fixture_position(table, "never-seen"), -ENOENT);
        cr_expect_eq(fixture_position(table, "b"), -EBADMSG);
        cr_expect_eq(fixture_position(table, "a"), -EBADMSG);
        cr_expect_eq(journal_table_find(table, "b", &entry, &failure), -EBADMSG);
        cr_expect_eq(failure.kind, FAILURE_STOP);
        cr_expect(strstr(failure.text, NAME) && strstr(failure.text, "byte 672") &&
                          strstr(failure.text, "baton journal check"),
                  "%s", failure.text);
        journal_table_free(table);

        bytes[RECORD_AT(2) + 80] ^= 0x20; /* … and the name: it may have been about anyone */
        fixture_write(NAME, bytes, count);
        table = fixture_load(true);
        cr_expect_eq(fixture_position(table, "elsewhere"), -EBADMSG);
        cr_expect_eq(fixture_position(table, "never-seen"), -EBADMSG);
        journal_table_free(table);
        journal_close(other);
        free(bytes);
}

Test(journal_recovery, the_only_record_of_a_session_damaged_is_not_a_session_unknown_J2) {
        struct journal *journal = fixture_open_as(0, 1, true, 0);
        size_t count;
        uint8_t *bytes;

        fixture_must_append(journal, JOURNAL_CLAIM, "only-once", 1, 10);
        fixture_must_append(journal, JOURNAL_CLAIM, "a", 1, 10);
        journal_close(journal);
        bytes = fixture_read(NAME, &count);
        bytes[RECORD_AT(0) + 4] ^= 1;
        fixture_write(NAME, bytes, count);
        cr_expect_eq(fixture_best("only-once"), -EBADMSG);
        cr_expect_eq(fixture_best("somebody-else"), -ENOENT);
        free(bytes);
}

Test(journal_recovery, a_whole_record_in_anothers_place_is_damage_J3) {
        size_t count;
        uint8_t *bytes = small_journal(true, &count);

        /* A write that went astray: c's first record where its last one was. */
        memcpy(bytes + RECORD_AT(6), bytes + RECORD_AT(4), JOURNAL_RECORD_BYTES);
        fixture_write(NAME, bytes, count);
        cr_expect_eq(fixture_best("c"), -EBADMSG);
        free(bytes);
}

/* The first look at the file comes too early for a record that is being written, and late enough for
 * the next one. */
static ssize_t early_pread(int fd, void *data, size_t bytes, off_t offset) {
        static bool is_late;
        ssize_t n = journal_disk_real.pread(fd, data, bytes, offset);

        if (!is_late && offset == 0 && n > (ssize_t) RECORD_AT(5)) {
                memset((uint8_t *) data + RECORD_AT(4) + 100, 0, 100);
                is_late = true;
        }
        return n;
}

Test(journal_recovery, a_live_writers_record_is_looked_at_again_before_it_is_damage_J5) {
        struct journal_disk early = journal_disk_real;
        size_t count;
        struct said said;
        int fd;

        free(small_journal(true, &count));
        fd = open(fixture_path(NAME), O_RDONLY | O_CLOEXEC);
        cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
        early.pread = early_pread;
        journal_disk = &early;
        said = load_small();
        journal_disk = &journal_disk_real;
        cr_expect(said.a == 40 && said.b == 20 && said.c == 30, "a=%ld b=%ld c=%ld", (long) said.a,
                  (long) said.b, (long) said.c);
        cr_expect_eq(said.findings, 0);
        (void) close(fd);
}

/* ---- versions and owners ---------------------------------------------------------------------- */

static void put32(uint8_t *bytes, uint32_t value) {
        for (unsigned i = 0; i < 4; i++)
                bytes[i] = (uint8_t) (value >> (8 * i));
}

Test(journal_recovery, another_version_is_refused) {
        struct failure failure;
        size_t count;
        uint8_t *bytes = small_journal(true, &count);

        put32(bytes + 8, 2);
        put32(bytes + 124, crc32c(0, bytes, 124));
        fixture_write(NAME, bytes, count);
        cr_expect_eq(fixture_best("a"), -EPROTONOSUPPORT);
        cr_expect_eq(fixture_best("unknown"), -EPROTONOSUPPORT);
        cr_expect_eq(journal_check(fixture_path(NAME), stderr, &failure), -EPROTONOSUPPORT);
        cr_expect(strstr(failure.text, NAME), "%s", failure.text);
        cr_expect(strstr(failure.text, "of version 2, and this Baton knows version 1"), "%s", failure.text);

        put32(bytes + 8, 1);
        put32(bytes + 124, crc32c(0, bytes, 124));
        bytes[RECORD_AT(3) + 10] = 2; /* one record of a later version, whole */
        put32(bytes + RECORD_AT(3) + 4, crc32c(0, bytes + RECORD_AT(3) + 8, JOURNAL_RECORD_BYTES - 8));
        fixture_write(NAME, bytes, count);
        cr_expect_eq(fixture_best("b"), -EPROTONOSUPPORT);
        cr_expect_eq(journal_check(fixture_path(NAME), stderr, &failure), -EPROTONOSUPPORT);
        cr_expect_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect(fixture_exists(NAME));
        free(bytes);
}

Test(journal_recovery, another_instances_journal_stops_what_it_names) {
        static const uint8_t other_instance[INSTANCE_BYTES] = "fedcba987654321";
        struct journal_table *table = NULL;
        size_t count;

        free(small_journal(true, &count));
        cr_assert_eq(journal_table_load(fixture_state, "dest", other_instance, true, &table, NULL), 0);
        cr_expect_eq(fixture_position(table, "a"), -EBADMSG);
        cr_expect_eq(fixture_position(table, "unknown"), -ENOENT);
        cr_expect_eq(journal_table_finding_count(table), 1);
        journal_table_free(table);
        cr_expect_eq(journal_collect(fixture_state, "dest", other_instance), 0);
        cr_expect(fixture_exists(NAME));
        cr_expect_eq(fixture_best("a"), 40, "its own instance still reads it");
}

Test(journal_recovery, an_unborn_file_holds_nothing_and_is_collected) {
        static const uint8_t zeros[4096];
        size_t count;

        free(small_journal(true, &count));
        fixture_write("0001-1.journal", zeros, 0);
        fixture_write("0002-1.journal", zeros, sizeof zeros);
        fixture_write("0003-1.journal.new", zeros, 100);
        cr_expect_eq(fixture_best("a"), 40);
        cr_expect_eq(journal_collect(fixture_state, "dest", fixture_instance), 0);
        cr_expect_eq(fixture_count(".journal"), 1);
        cr_expect_eq(fixture_count(".new"), 0);
        cr_expect_eq(fixture_best("a"), 40);
}

/* ---- check and show -------------------------------------------------------------------------- */

Test(journal_recovery, check_says_what_it_finds_and_changes_nothing) {
        char *text = NULL;
        size_t count, text_bytes;
        uint8_t *bytes = small_journal(true, &count);
        FILE *out = open_memstream(&text, &text_bytes);
        struct failure failure = { 0 };
        struct stat st;

        cr_expect_eq(journal_check(fixture_path(NAME), out, &failure), 0, "%s", failure.text);
        cr_expect_eq(journal_check(fixture_path("."), out, &failure), 0, "a directory of them");
        memset(bytes + RECORD_AT(6) + 100, 0, JOURNAL_RECORD_BYTES - 100);
        fixture_write(NAME, bytes, count);
        cr_expect_eq(journal_check(fixture_path(NAME), out, &failure), 1);
        cr_assert_eq(stat(fixture_path(NAME), &st), 0);
        cr_expect_eq(st.st_size, (off_t) count, "check has cut it");
        bytes[RECORD_AT(1) + 33] ^= 1;
        fixture_write(NAME, bytes, count);
        cr_expect_eq(journal_check(fixture_path(NAME), out, &failure), -EBADMSG);
        cr_expect(strstr(failure.text, NAME) && strstr(failure.text, "byte 400"), "%s", failure.text);
        cr_expect_eq(journal_check(fixture_path("."), out, &failure), -EBADMSG);
        cr_expect_eq(journal_check(fixture_path("none.journal"), out, &failure), -ENOENT);
        (void) fclose(out);
        cr_expect(strstr(text, "byte 400") && strstr(text, "it was about session b"), "%s", text);
        cr_expect(strstr(text, "7 records of 3 sessions"), "%s", text);
        free(text);
        free(bytes);
}

Test(journal_recovery, show_prints_every_record_and_valid_json) {
        char *text = NULL;
        size_t count, text_bytes;
        FILE *out = open_memstream(&text, &text_bytes);
        struct failure failure = { 0 };
        json_t *json;

        free(small_journal(true, &count));
        cr_expect_eq(journal_show(fixture_path(NAME), true, out, &failure), 0, "%s", failure.text);
        (void) fclose(out);
        json = json_loads(text, 0, NULL);
        cr_assert_not_null(json, "%s", text);
        cr_expect_eq(json_array_size(json_object_get(json, "records")), 7);
        cr_expect_str_eq(json_string_value(json_object_get(json, "verdict")), "clean");
        json_decref(json);
        free(text);

        out = open_memstream(&text, &text_bytes);
        cr_expect_eq(journal_show(fixture_path("."), false, out, &failure), 0);
        (void) fclose(out);
        cr_expect(strstr(text, "destination dest") && strstr(text, "moved     c  epoch 0.1  position 30"),
                  "%s", text);
        free(text);
}
