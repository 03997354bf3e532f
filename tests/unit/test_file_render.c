/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the file destination, byte for byte and read back by a JSON parser that is not ours: every
 * storage class, what JSON cannot hold (M6: rejected, with the place), and the parked line that keeps it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "worker/destination/file.h"

static const struct event_value null_value = { .type = VALUE_NULL };

static struct event_value integer(int64_t value) {
        return (struct event_value){ .type = VALUE_INTEGER, .integer = value };
}

static struct event_value real(double value) {
        return (struct event_value){ .type = VALUE_FLOAT, .real = value };
}

static struct event_value bytes_of(enum value_type type, const void *data, size_t bytes) {
        return (struct event_value){ .type = type, .bytes = (uint32_t) bytes, .data = data };
}

static struct event_value text(const char *value) {
        return bytes_of(VALUE_TEXT, value, strlen(value));
}

static struct event with_key(struct event_value key) {
        return (struct event){ .position = 17, .key = key };
}

static struct event with_payload(struct event_value payload) {
        return (struct event){ .position = 17, .payload = payload };
}

#define HEAD "{\"session\":\"orders\",\"position\":17,"
#define KEY_TAIL ",\"type\":null,\"at\":null,\"payload\":null}\n"
#define PAYLOAD_HEAD HEAD "\"key\":null,\"type\":null,\"at\":null,\"payload\":"

static char *take_text(struct file_buffer *buffer) {
        char *copy = strndup((const char *) buffer->data, buffer->used_bytes);

        buffer->used_bytes = 0;
        return copy;
}

static void expect_line(struct event event, const char *expected) {
        struct file_buffer buffer = { .data = NULL };
        struct failure failure = { .kind = FAILURE_NONE };
        char *line;
        json_t *json;
        int r;

        r = file_render_event(&buffer, "orders", &event, &failure);
        cr_assert_eq(r, 0, "%s: %s", expected, failure.text);
        line = take_text(&buffer);
        cr_expect_str_eq(line, expected);
        cr_expect_eq(strchr(line, '\n'), line + strlen(line) - 1, "a line is an event: %s", line);
        json = json_loads(line, 0, NULL);
        cr_expect_not_null(json, "%s", line);
        json_decref(json);
        free(line);
        file_buffer_done(&buffer);
}

static void expect_rejected(struct event event, const char *reason) {
        struct file_buffer buffer = { .data = NULL };
        struct failure failure = { .kind = FAILURE_NONE };
        struct event good = with_key(integer(1));

        cr_assert_eq(file_render_event(&buffer, "orders", &good, NULL), 0);
        good.position = buffer.used_bytes;
        cr_expect_lt(file_render_event(&buffer, "orders", &event, &failure), 0, "%s", reason);
        cr_expect_eq(failure.kind, FAILURE_REJECTED);
        cr_expect_str_eq(failure.text, reason);
        cr_expect_eq(buffer.used_bytes, good.position, "the buffer is as before");
        file_buffer_done(&buffer);
}

Test(file_render, M3_a_whole_line_is_a_function_of_the_event) {
        struct event event = { .position = INT64_MAX,
                               .key = text("c-1"),
                               .type = text("order.made"),
                               .at = text("2026-11-23T18:02:11Z"),
                               .payload = text("{\"total\":12.50}") };

        expect_line(event,
                    "{\"session\":\"orders\",\"position\":9223372036854775807,\"key\":\"c-1\",\"type\":"
                    "\"order.made\",\"at\":\"2026-11-23T18:02:11Z\",\"payload\":{\"total\":12.50}}\n");
}

Test(file_render, storage_classes_of_plain_values) {
        expect_line(with_key(null_value), HEAD "\"key\":null" KEY_TAIL);
        expect_line(with_key(integer(0)), HEAD "\"key\":0" KEY_TAIL);
        expect_line(with_key(integer(INT64_MIN)), HEAD "\"key\":-9223372036854775808" KEY_TAIL);
        expect_line(with_key(integer(INT64_MAX)), HEAD "\"key\":9223372036854775807" KEY_TAIL);
        expect_line(with_key(real(1.0)), HEAD "\"key\":1.0" KEY_TAIL);
        expect_line(with_key(real(-0.0)), HEAD "\"key\":-0.0" KEY_TAIL);
        expect_line(with_key(real(0.1)), HEAD "\"key\":0.1" KEY_TAIL);
        expect_line(with_key(real(0.1 + 0.2)), HEAD "\"key\":0.30000000000000004" KEY_TAIL);
        expect_line(with_key(real(1e300)), HEAD "\"key\":1e+300" KEY_TAIL);
        expect_line(with_key(real(123456789012345680.0)), HEAD "\"key\":1.2345678901234568e+17" KEY_TAIL);
        expect_line(with_key(text("")), HEAD "\"key\":\"\"" KEY_TAIL);
        expect_line(with_key(text("a\"b\\c/\b\f\n\r\t\x01\x1f\x7f")),
                    HEAD "\"key\":\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"" KEY_TAIL);
        expect_line(with_key(text("gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80")),
                    HEAD "\"key\":\"gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80\"" KEY_TAIL);
}

Test(file_render, every_double_comes_back) {
        struct file_buffer buffer = { .data = NULL };
        uint64_t bits = 1;

        for (unsigned round = 0; round < 20000; round++) {
                struct event event;
                double value, back;
                char *line;

                bits = bits * 6364136223846793005ULL + 1442695040888963407ULL;
                memcpy(&value, &bits, sizeof(value));
                if (round < 4)
                        value = (double[]){ DBL_MIN, DBL_MAX, -DBL_TRUE_MIN, DBL_EPSILON }[round];
                if (!isfinite(value))
                        continue;
                event = with_key(real(value));
                cr_assert_eq(file_render_event(&buffer, "orders", &event, NULL), 0);
                line = take_text(&buffer);
                back = strtod(line + strlen(HEAD "\"key\":"), NULL);
                cr_assert_eq(memcmp(&back, &value, sizeof(value)), 0, "%s", line);
                free(line);
        }
        file_buffer_done(&buffer);
}

Test(file_render, payloads_travel_verbatim) {
        expect_line(with_payload(null_value), PAYLOAD_HEAD "null}\n");
        expect_line(with_payload(integer(-5)), PAYLOAD_HEAD "-5}\n");
        expect_line(with_payload(real(2.5)), PAYLOAD_HEAD "2.5}\n");
        expect_line(with_payload(text("\"a string\"")), PAYLOAD_HEAD "\"a string\"}\n");
        expect_line(with_payload(text("1.50")), PAYLOAD_HEAD "1.50}\n");
        expect_line(with_payload(text(" {\"a\":\r\n\t1} \n")), PAYLOAD_HEAD " {\"a\":   1}  }\n");
        expect_line(with_payload(bytes_of(VALUE_BLOB, "{\"b\":[]}", 8)), PAYLOAD_HEAD "{\"b\":[]}}\n");
}

/* jansson cannot hold these; they are JSON all the same, and no payload is parked for being long (M6). */
Test(file_render, M6_numbers_keep_their_digits) {
        struct event event = with_payload(text("[123456789012345678901234567890,1e999,\"\\ud800\\u0000\"]"));
        struct file_buffer buffer = { .data = NULL };
        char *line;

        cr_assert_eq(file_render_event(&buffer, "orders", &event, NULL), 0);
        line = take_text(&buffer);
        cr_assert_str_eq(line, PAYLOAD_HEAD "[123456789012345678901234567890,1e999,\"\\ud800\\u0000\"]}\n");
        free(line);
        file_buffer_done(&buffer);
}

Test(file_render, M6_rejections_say_what_and_where) {
        expect_rejected(with_payload(text("")),
                        "event 17: payload is not JSON: it is empty at byte 0 (counted from 0)");
        expect_rejected(
                with_payload(text("{\"secret\":x}")),
                "event 17: payload is not JSON: something that begins no JSON value at byte 10 (counted "
                "from 0)");
        expect_rejected(
                with_payload(bytes_of(VALUE_TEXT, "{}\0", 3)),
                "event 17: payload is not JSON: something stands after the value at byte 2 (counted from 0)");
        expect_rejected(with_payload(bytes_of(VALUE_TEXT, "[\"a\0b\"]", 7)),
                        "event 17: payload is not JSON: a NUL byte at byte 3 (counted from 0)");
        expect_rejected(with_payload(bytes_of(VALUE_BLOB, "\"\xff\"", 3)),
                        "event 17: payload is not JSON: invalid UTF-8 at byte 1 (counted from 0)");
        expect_rejected(with_payload(real(INFINITY)),
                        "event 17: payload is an infinite number, which a JSON line cannot hold");
        expect_rejected(with_key(bytes_of(VALUE_BLOB, "k", 1)),
                        "event 17: key is a BLOB, which a JSON line cannot hold");
        expect_rejected(with_key(bytes_of(VALUE_TEXT, "abc\0d", 5)),
                        "event 17: key has a NUL byte at byte 3 (counted from 0)");
        expect_rejected((struct event){ .position = 17, .type = text("0123456789\xc3(") },
                        "event 17: type has invalid UTF-8 at byte 10 (counted from 0)");
        expect_rejected((struct event){ .position = 17, .at = text("\xed\xa0\x80") },
                        "event 17: at has invalid UTF-8 at byte 0 (counted from 0)");
}

static void expect_parked(struct event event, const char *expected) {
        struct file_buffer buffer = { .data = NULL };
        char *line, *prefix;
        json_t *json;

        cr_assert_eq(file_render_parked(&buffer, "orders", &event, "why \"so\"", NULL), 0);
        line = take_text(&buffer);
        cr_expect_str_eq(line, expected);
        json = json_loads(line, 0, NULL);
        cr_assert_not_null(json, "%s", line);
        cr_expect_str_eq(json_string_value(json_object_get(json, "reason")), "why \"so\"");
        json_decref(json);

        /* M3: recovery compares without the reason, which it cannot know. */
        cr_assert_eq(file_render_parked(&buffer, "orders", &event, NULL, NULL), 0);
        prefix = take_text(&buffer);
        cr_expect_eq(strncmp(line, prefix, strlen(prefix)), 0);
        cr_expect_eq(strncmp(line + strlen(prefix), FILE_REASON_KEY, strlen(FILE_REASON_KEY)), 0);
        free(prefix);
        free(line);
        file_buffer_done(&buffer);
}

#define REASON ",\"reason\":\"why \\\"so\\\"\"}\n"

Test(file_render, M6_parked_lines_keep_every_storage_class) {
        expect_parked(with_payload(text("{broken\n")), PAYLOAD_HEAD "\"{broken\\n\"" REASON);
        expect_parked(with_payload(text("\xff\xfe")),
                      PAYLOAD_HEAD "{\"base64\":\"//4=\",\"class\":\"text\"}" REASON);
        expect_parked(with_payload(bytes_of(VALUE_TEXT, "a\0b", 3)),
                      PAYLOAD_HEAD "{\"base64\":\"YQBi\",\"class\":\"text\"}" REASON);
        expect_parked(with_payload(bytes_of(VALUE_BLOB, "", 0)),
                      PAYLOAD_HEAD "{\"base64\":\"\",\"class\":\"blob\"}" REASON);
        expect_parked(with_payload(bytes_of(VALUE_BLOB, "{}", 2)),
                      PAYLOAD_HEAD "{\"base64\":\"e30=\",\"class\":\"blob\"}" REASON);
        expect_parked(with_payload(bytes_of(VALUE_BLOB, "\xfb\xef\xbe\x00", 4)),
                      PAYLOAD_HEAD "{\"base64\":\"++++AA==\",\"class\":\"blob\"}" REASON);
        expect_parked(with_payload(real(-INFINITY)), PAYLOAD_HEAD "{\"float\":\"-Infinity\"}" REASON);
        expect_parked(with_payload(real(INFINITY)), PAYLOAD_HEAD "{\"float\":\"Infinity\"}" REASON);
        expect_parked(with_payload(integer(7)), PAYLOAD_HEAD "7" REASON);
        expect_parked((struct event){ .position = 17,
                                      .key = bytes_of(VALUE_BLOB, "\x01", 1),
                                      .at = real(0.5) },
                      HEAD "\"key\":{\"base64\":\"AQ==\",\"class\":\"blob\"},\"type\":null,\"at\":0.5,"
                           "\"payload\":null" REASON);
}

Test(file_render, M3_a_reason_is_bounded_and_always_text) {
        struct event event = with_key(null_value);
        struct file_buffer buffer = { .data = NULL };
        char reason[2000];
        char *line;
        json_t *json;

        memset(reason, '\x01', sizeof(reason) - 1); /* six bytes each when escaped */
        reason[sizeof(reason) - 1] = '\0';
        cr_assert_eq(file_render_parked(&buffer, "orders", &event, reason, NULL), 0);
        cr_assert_lt(buffer.used_bytes, FILE_REASON_BYTES_MAX);
        line = take_text(&buffer);
        free(line);

        memset(reason, 'a', FAILURE_TEXT_BYTES - 2);
        memcpy(reason + FAILURE_TEXT_BYTES - 2, "\xe2\x82\xac", 4); /* the cut falls into it */
        cr_assert_eq(file_render_parked(&buffer, "orders", &event, reason, NULL), 0);
        line = take_text(&buffer);
        json = json_loads(line, 0, NULL);
        cr_assert_not_null(json);
        cr_assert_eq(json_string_length(json_object_get(json, "reason")), FAILURE_TEXT_BYTES - 2);
        json_decref(json);
        free(line);

        cr_assert_eq(file_render_parked(&buffer, "orders", &event, "\xff", NULL), 0);
        line = take_text(&buffer);
        cr_assert_not_null(strstr(line, "(the reason was no valid text)"));
        free(line);
        file_buffer_done(&buffer);
}

/* Every length around the 8-byte steps, with what needs a look at every place. */
Test(file_render, strings_of_every_length_come_back) {
        static const char *const specials[] = { "\"", "\\", "\n", "\x02", "\xc3\xa9", "\xf0\x9f\x98\x80" };
        struct file_buffer buffer = { .data = NULL };

        for (size_t length = 0; length < 40; length++)
                for (size_t at = 0; at <= length; at++)
                        for (size_t i = 0; i < ELEMENTSOF(specials); i++) {
                                char value[128];
                                struct event event;
                                json_t *json;
                                char *line;

                                (void) snprintf(value, sizeof(value), "%.*s%s%.*s", (int) at,
                                                "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrst", specials[i],
                                                (int) (length - at),
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRST");
                                event = with_key(text(value));
                                cr_assert_eq(file_render_event(&buffer, "orders", &event, NULL), 0);
                                line = take_text(&buffer);
                                json = json_loads(line, 0, NULL);
                                cr_assert_str_eq(json_string_value(json_object_get(json, "key")), value);
                                json_decref(json);
                                free(line);
                        }
        file_buffer_done(&buffer);
}

Test(file_render, M3_state_round_trip_and_damage) {
        const struct file_state state = { .file_number = 12,
                                          .position = UINT64_C(0x1122334455667788),
                                          .data_bytes = UINT64_C(0x123456789abc),
                                          .parked_bytes = 5,
                                          .data_crc = 0xdeadbeef,
                                          .parked_crc = 1,
                                          .created_realtime_usec = UINT64_C(1700000000123456) };
        uint8_t bytes[DESTINATION_STATE_BYTES], broken[DESTINATION_STATE_BYTES];
        struct file_state back;

        file_state_encode(&state, bytes);
        cr_assert_eq(bytes[0], 1);
        cr_assert_eq(bytes[8], 0x88, "little-endian");
        cr_assert_eq(file_state_decode(bytes, &back), 0);
        file_state_encode(&back, broken);
        cr_assert_eq(memcmp(bytes, broken, sizeof(bytes)), 0);
        cr_assert_eq(back.file_number, 12);
        cr_assert_eq(back.position, state.position);
        cr_assert_eq(back.data_bytes, state.data_bytes);
        cr_assert_eq(back.parked_bytes, 5);
        cr_assert_eq(back.data_crc, 0xdeadbeef);
        cr_assert_eq(back.parked_crc, 1);
        cr_assert_eq(back.created_realtime_usec, state.created_realtime_usec);

        memset(broken, 0, sizeof(broken));
        cr_assert_eq(file_state_decode(broken, &back), 0);
        cr_assert_eq(back.file_number, 0);
        memcpy(broken, bytes, sizeof(broken));
        broken[0] = 2;
        cr_assert_eq(file_state_decode(broken, &back), -EPROTONOSUPPORT);
        for (size_t i = 48; i < sizeof(broken); i++) {
                memcpy(broken, bytes, sizeof(broken));
                broken[i] = 1;
                cr_assert_eq(file_state_decode(broken, &back), -EBADMSG);
        }
        memcpy(broken, bytes, sizeof(broken));
        memset(broken + 4, 0, 4);
        cr_assert_eq(file_state_decode(broken, &back), -EBADMSG, "no file number");
        memcpy(broken, bytes, sizeof(broken));
        broken[23] = 0xff;
        cr_assert_eq(file_state_decode(broken, &back), -EBADMSG, "a length beyond any file");
}
