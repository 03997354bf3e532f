/* SPDX-License-Identifier: Apache-2.0 */
/* What `baton journal check` and `show` say of every kind of file: the verdict, the place, whose record it was and what
 * to do; the same in JSON, which is a whole document whatever is in the directory (J4). */
#include <jansson.h>
#include <sys/file.h>

#include "base/checksum.h"
#include "tests/unit/test_journal_fixture.h"
#include "worker/journal/format.h"

#define NAME "0000-1.journal"
#define RECORD_AT(index) (JOURNAL_HEADER_BYTES + (size_t) (index) *JOURNAL_RECORD_BYTES)
#define RECORDS 5u

TestSuite(journal_show, .init = fixture_make, .fini = fixture_remove);

/* RECORDS records of session "a", positions 10, 20 … */
static uint8_t *journal_of(bool synced, size_t *ret_bytes) {
        struct journal *journal = fixture_open_as(0, 1, synced, 0);

        for (unsigned i = 0; i < RECORDS; i++)
                fixture_must_append(journal, i == 0 ? JOURNAL_CLAIM : JOURNAL_MOVED, "a", 1, 10 + 10 * i);
        journal_close(journal);
        return fixture_read(NAME, ret_bytes);
}

static void record_sign(uint8_t *record) {
        uint32_t crc = crc32c(0, record + 8, JOURNAL_RECORD_BYTES - 8);

        for (size_t i = 0; i < 4; i++)
                record[4 + i] = (uint8_t) (crc >> (8 * i));
}

/* ---- text and JSON of one file ------------------------------------------------------------------------ */

struct said {
        int r;
        struct failure failure;
        char *text;
};

static struct said say(const char *path, bool is_show, bool json) {
        struct said said = { 0 };
        size_t bytes;
        FILE *out = open_memstream(&said.text, &bytes);

        said.r = is_show ? journal_show(path, json, out, &said.failure)
                         : journal_check(path, out, &said.failure);
        (void) fclose(out);
        return said;
}

/* Both ways must agree on the result, the verdict and the sentence. */
static void expect(int r, const char *verdict, const char *sentence) {
        struct said text = say(fixture_path(NAME), false, false), json = say(fixture_path(NAME), true, true);
        json_t *object = json_loads(json.text, 0, NULL);

        cr_assert_eq(text.r, r, "%s: %s", verdict, text.failure.text);
        cr_assert_eq(json.r, r, "%s: %s", verdict, json.failure.text);
        cr_assert_not_null(strstr(text.text, verdict), "%s: %s", verdict, text.text);
        cr_assert_not_null(object, "%s", json.text);
        cr_assert_str_eq(json_string_value(json_object_get(object, "verdict")), verdict);
        cr_assert_str_eq(text.failure.text, json.failure.text);
        cr_assert_not_null(strstr(text.failure.text, sentence), "%s", text.failure.text);
        json_decref(object);
        free(text.text);
        free(json.text);
}

Test(journal_show, each_verdict_has_its_words_J4) {
        size_t count;
        uint8_t *bytes = journal_of(true, &count);
        uint8_t whole[RECORD_AT(RECORDS)];

        memcpy(whole, bytes, sizeof whole);
        expect(0, "clean", "");
        memset(bytes + RECORD_AT(RECORDS - 1) + 100, 0, JOURNAL_RECORD_BYTES - 100);
        fixture_write(NAME, bytes, count);
        expect(1, "torn tail",
               "byte 1216: the last record is incomplete; the next worker that reads it deals");

        memcpy(bytes, whole, sizeof whole);
        bytes[RECORD_AT(1) + 33] ^= 1;
        fixture_write(NAME, bytes, count);
        expect(-EBADMSG, "DAMAGED", "byte 400: the record's checksum does not match; restore the file");

        memcpy(bytes, whole, sizeof whole);
        bytes[RECORD_AT(2) + 10] = 9;
        record_sign(bytes + RECORD_AT(2));
        fixture_write(NAME, bytes, count);
        expect(-EPROTONOSUPPORT, "of another version", "use the Baton that wrote it");

        memset(bytes, 0, count);
        fixture_write(NAME, bytes, count);
        expect(1, "empty", "byte 0");
        bytes[0] = 'x';
        fixture_write(NAME, bytes, count);
        expect(-EBADMSG, "DAMAGED", "byte 0");
        free(bytes);
}

/* A destination with transactions is the authority: what a power cut took of an unsynced file stops nobody. */
Test(journal_show, what_a_power_cut_took_of_an_unsynced_file_is_no_damage_J4) {
        size_t count;
        uint8_t *bytes = journal_of(false, &count);

        memset(bytes + RECORD_AT(1), 0, JOURNAL_RECORD_BYTES);
        fixture_write(NAME, bytes, count);
        expect(1, "records lost in a power cut, harmless",
               "byte 400: a record was not yet on the disk at a power cut");
        bytes[RECORD_AT(3) + 40] ^= 1; /* and then there is worse */
        fixture_write(NAME, bytes, count);
        expect(-EBADMSG, "DAMAGED", "byte 944");
        free(bytes);
}

Test(journal_show, of_a_writer_that_lives_the_last_record_may_be_half_there_J4) {
        size_t count;
        uint8_t *bytes = journal_of(true, &count);
        int fd;

        memset(bytes + RECORD_AT(RECORDS - 1) + 100, 0, JOURNAL_RECORD_BYTES - 100);
        fixture_write(NAME, bytes, count);
        fd = open(fixture_path(NAME), O_RDWR | O_CLOEXEC);
        cr_assert_geq(fd, 0);
        cr_assert_eq(flock(fd, LOCK_EX), 0);
        expect(0, "clean (its writer is writing)", "");
        (void) close(fd);
        free(bytes);
}

/* ---- what stands in a record -------------------------------------------------------------------------- */

Test(journal_show, a_record_is_shown_whole_in_text_and_json) {
        struct journal *journal = fixture_open_as(3, 7, false, 0);
        struct checkpoint checkpoint = fixture_checkpoint("a", (2ULL << 32) | 5, 123456);
        struct said text, json;
        json_t *object, *record;

        checkpoint.source_identity[0] = '\0';
        checkpoint.digest_sum = UINT64_MAX;
        checkpoint.event_count = UINT64_MAX; /* beyond what JSON's integers hold */
        cr_assert_eq(journal_append(journal, JOURNAL_RELEASED, &checkpoint, NULL), 0);
        journal_close(journal);
        text = say(fixture_path("0003-7.journal"), true, false);
        json = say(fixture_path("0003-7.journal"), true, true);
        for (const char *const *words =
                     (const char *const[]){ "released", "epoch 2.5", "position 123456", "source -",
                                            "records not synced", "worker 3 generation 7",
                                            "1 record of 1 session\n", "events 18446744073709551615", NULL };
             *words; words++)
                cr_expect_not_null(strstr(text.text, *words), "%s: %s", *words, text.text);
        object = json_loads(json.text, 0, NULL);
        cr_assert_not_null(object, "%s", json.text);
        record = json_array_get(json_object_get(object, "records"), 0);
        cr_expect_str_eq(json_string_value(json_object_get(record, "type")), "released");
        cr_expect_eq(json_integer_value(json_object_get(record, "position")), 123456);
        cr_expect_str_eq(json_string_value(json_object_get(record, "events")), "18446744073709551615");
        cr_expect_str_eq(json_string_value(json_object_get(record, "digest_sum")), "ffffffffffffffff");
        cr_expect(json_is_false(json_object_get(json_object_get(object, "header"), "synced")));
        json_decref(object);
        free(text.text);
        free(json.text);
}

/* P1: bytes of a disk reach a terminal. */
Test(journal_show, P1_a_text_of_the_disk_is_harmless_for_a_terminal) {
        size_t count;
        uint8_t *bytes = journal_of(true, &count);
        struct said text;

        bytes[RECORD_AT(0) + 144] = 0x1b; /* the source's identity begins with an escape */
        bytes[RECORD_AT(0) + 145] = 0x90;
        record_sign(bytes + RECORD_AT(0));
        fixture_write(NAME, bytes, count);
        text = say(fixture_path(NAME), true, false);
        cr_expect_eq(text.r, 0);
        cr_expect_null(strchr(text.text, 0x1b));
        cr_expect_not_null(strstr(text.text, "source ??o="), "%s", text.text);
        free(text.text);
        free(bytes);
}

Test(journal_show, every_type_of_record_has_a_name_and_a_foreign_one_too) {
        static const char *const names[] = { "snapshot", "claim", "moved", "rotated", "released" };

        for (int type = JOURNAL_SNAPSHOT; type < JOURNAL_TYPE_COUNT; type++)
                cr_expect_str_eq(journal_type_name((enum journal_type) type), names[type - JOURNAL_SNAPSHOT]);
        cr_expect_str_eq(journal_type_name((enum journal_type) 0), "unknown");
        cr_expect_str_eq(journal_type_name(JOURNAL_TYPE_COUNT), "unknown");
}

/* ---- directories --------------------------------------------------------------------------------------- */

/* Something that bears a journal's name and cannot be read: a script still gets one document, with every file in it. */
Test(journal_show, one_file_that_cannot_be_read_leaves_the_document_whole) {
        static const char *const verdicts[] = { "clean", "unreadable", "DAMAGED", "torn tail" };
        size_t count;
        uint8_t *bytes = journal_of(true, &count);
        struct said said;
        json_t *array;

        cr_assert_eq(mkdir(fixture_path("0001-1.journal"), 0750), 0);
        bytes[RECORD_AT(1) + 33] ^= 1;
        fixture_write("0002-1.journal", bytes, count);
        bytes[RECORD_AT(1) + 33] ^= 1;
        memset(bytes + RECORD_AT(RECORDS - 1) + 100, 0, JOURNAL_RECORD_BYTES - 100);
        fixture_write("0003-1.journal", bytes, count);
        fixture_write("notes.txt", bytes, 10);
        said = say(fixture_path("."), true, true);
        cr_assert_eq(said.r, -EISDIR, "the first error: %s", said.failure.text);
        cr_assert_not_null(strstr(said.failure.text, "0001-1.journal cannot be read"), "%s",
                           said.failure.text);
        array = json_loads(said.text, 0, NULL);
        cr_assert_not_null(array, "%s", said.text);
        cr_assert_eq(json_array_size(array), 4);
        for (size_t i = 0; i < 4; i++)
                cr_expect_str_eq(json_string_value(json_object_get(json_array_get(array, i), "verdict")),
                                 verdicts[i]);
        json_decref(array);
        free(said.text);
        cr_assert_eq(rmdir(fixture_path("0001-1.journal")), 0);
        said = say(fixture_path("."), false, false);
        cr_assert_eq(said.r, -EBADMSG, "an error before a mere tail: %s", said.failure.text);
        free(said.text);
        free(bytes);
}

Test(journal_show, a_path_that_is_no_text_is_null_in_json) {
        size_t count;
        char path[600];
        struct said said;
        json_t *object;

        free(journal_of(true, &count));
        (void) snprintf(path, sizeof path, "%s.\xff", fixture_path("x"));
        cr_assert_eq(rename(fixture_path(NAME), path), 0);
        said = say(path, true, true);
        cr_assert_eq(said.r, 0, "%s", said.failure.text);
        object = json_loads(said.text, 0, NULL);
        cr_assert_not_null(object, "%s", said.text);
        cr_expect(json_is_null(json_object_get(object, "file")));
        json_decref(object);
        free(said.text);
}
