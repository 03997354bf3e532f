/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor/cli/verify_line.c: lines as verify reads them, whole, torn and false; and the two digests,
 * the mover's and verify's own, against each other (C6 of the command line's README). */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/verify.h"

#define LINE \
        "{\"session\":\"orders\",\"position\":7,\"key\":\"a\\u00fc\\n\",\"type\":null,\"at\":2.5,\"payload\":{\"x\": [1, \"}\"]}}"

static struct event_value text_value(const char *text) {
        return (struct event_value){ .type = VALUE_TEXT, .bytes = (uint32_t) strlen(text), .data = text };
}

static struct event event_of_line(void) {
        return (struct event){ .position = 7,
                               .key = text_value("a\xc3\xbc\n"),
                               .type = { .type = VALUE_NULL },
                               .at = { .type = VALUE_FLOAT, .real = 2.5 },
                               .payload = text_value("{\"x\": [1, \"}\"]}") };
}

static struct verify_line parse(const char *text) {
        struct verify_line line = {};

        cr_assert_eq(verify_line_parse(text, strlen(text), &line), 0, "%s", text);
        return line;
}

Test(cli_line, a_line_is_its_event) {
        struct verify_line line = parse(LINE "\n");
        struct event event = event_of_line();

        cr_assert_eq(line.position, 7);
        cr_assert(verify_line_is_session(&line, "orders"));
        cr_assert(!verify_line_is_session(&line, "order"));
        cr_assert(verify_line_is_event(&line, &event));
        cr_assert_eq(verify_line_digest(&line, false), verify_digest(&event));
}

Test(cli_line, every_change_is_seen) {
        struct verify_line line = parse(LINE);
        struct event event;

        event = event_of_line();
        event.key = text_value("a\xc3\xbc");
        cr_assert(!verify_line_is_event(&line, &event));
        event = event_of_line();
        event.type = text_value("null");
        cr_assert(!verify_line_is_event(&line, &event), "a text is no null");
        event = event_of_line();
        event.at.real = 2.25;
        cr_assert(!verify_line_is_event(&line, &event));
        event = event_of_line();
        event.at = (struct event_value){ .type = VALUE_INTEGER, .integer = 2 };
        cr_assert(!verify_line_is_event(&line, &event));
        event = event_of_line();
        event.payload = text_value("{\"x\": [2, \"}\"]}");
        cr_assert(!verify_line_is_event(&line, &event));
        event = event_of_line();
        event.payload = text_value("{\"x\":\t[1, \"}\"]}\n");
        cr_assert(verify_line_is_event(&line, &event), "a tab between parts is written as a blank");
}

Test(cli_line, numbers_are_compared_digit_for_digit) {
        struct verify_line line = parse(
                "{\"session\":\"s\",\"position\":1,\"key\":9007199254740993,\"type\":-1,\"at\":1.0,\"payload\":null}");
        struct event event = { .position = 1,
                               .key = { .type = VALUE_INTEGER, .integer = 9007199254740993 },
                               .type = { .type = VALUE_INTEGER, .integer = -1 },
                               .at = { .type = VALUE_FLOAT, .real = 1.0 },
                               .payload = { .type = VALUE_NULL } };

        cr_assert(verify_line_is_event(&line, &event));
        cr_assert_eq(verify_line_digest(&line, false), verify_digest(&event));
        event.key.integer--;
        cr_assert(!verify_line_is_event(&line, &event), "as doubles the two are equal");
}

Test(cli_line, a_torn_line_is_no_event) {
        struct verify_line line;

        for (size_t bytes = 0; bytes < strlen(LINE); bytes++)
                cr_assert_lt(verify_line_parse(LINE, bytes, &line), 0, "%zu bytes", bytes);
}

Test(cli_line, false_lines_are_refused) {
        static const char *const lines[] = {
                "",
                "[]",
                "null",
                "{}",
                LINE "x",
                "{\"position\":1}",
                "{\"session\":\"s\",\"position\":-1,\"key\":1,\"type\":1,\"at\":1,\"payload\":1}",
                "{\"session\":\"s\",\"position\":1.5,\"key\":1,\"type\":1,\"at\":1,\"payload\":1}",
                "{\"session\":\"s\",\"position\":99999999999999999999,\"key\":1,\"type\":1,\"at\":1,\"payload\":1}",
                "{\"session\":\"s\" \"position\":1,\"key\":1,\"type\":1,\"at\":1,\"payload\":1}",
        };
        struct verify_line line;

        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                cr_assert_lt(verify_line_parse(lines[i], strlen(lines[i]), &line), 0, "%s", lines[i]);
}

Test(cli_line, random_bytes_end_within_their_bounds) {
        static const char alphabet[] = "{}[]\",:\\ 1e-nultrfaspo\n\xff";
        uint64_t random = 99;

        for (unsigned round = 0; round < 20000; round++) {
                struct verify_line line;
                char *bytes = malloc(64); /* exact, so that a sanitizer sees a byte too far */
                size_t count;

                cr_assert_not_null(bytes);
                for (count = 0; count < 64; count++) {
                        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
                        bytes[count] = alphabet[(random >> 33) % (sizeof(alphabet) - 1)];
                }
                (void) verify_line_parse(bytes, count, &line);
                free(bytes);
        }
}

Test(cli_line, parked_lines_keep_every_storage_class) {
        struct verify_line line = parse(
                "{\"session\":\"s\",\"position\":3,\"key\":{\"base64\":\"AP8=\",\"class\":\"blob\"},"
                "\"type\":{\"base64\":\"/2E=\",\"class\":\"text\"},\"at\":{\"float\":\"-Infinity\"},"
                "\"payload\":\"no json\",\"reason\":\"payload is not JSON\"}");
        struct event event = { .position = 3,
                               .key = { .type = VALUE_BLOB, .bytes = 2, .data = "\0\xff" },
                               .type = { .type = VALUE_TEXT,
                                         .bytes = 2,
                                         .data = "\xff"
                                                 "a" },
                               .at = { .type = VALUE_FLOAT, .real = -INFINITY },
                               .payload = text_value("no json") };

        cr_assert_eq(verify_line_digest(&line, true), verify_digest(&event));
        cr_assert_neq(verify_line_digest(&line, false), verify_digest(&event));
}

/* Two implementations, one description. */
Test(cli_line, both_digests_agree_c6) {
        static const char data[3000] = "some bytes";
        const struct event_value values[] = {
                { .type = VALUE_NULL },
                { .type = VALUE_INTEGER, .integer = INT64_MIN },
                { .type = VALUE_FLOAT, .real = 0.1 },
                { .type = VALUE_TEXT, .bytes = 0, .data = "" },
                { .type = VALUE_TEXT, .bytes = 10, .data = data },
                { .type = VALUE_BLOB, .bytes = sizeof(data), .data = data },
        };

        for (size_t i = 0; i < ELEMENTSOF(values) * ELEMENTSOF(values); i++) {
                struct event event = { .position = i * 77 + 1,
                                       .key = values[i % ELEMENTSOF(values)],
                                       .type = values[i / ELEMENTSOF(values)],
                                       .at = values[(i + 3) % ELEMENTSOF(values)],
                                       .payload = values[(i + 1) % ELEMENTSOF(values)] };

                cr_assert_eq(verify_digest(&event), event_digest(&event));
        }
}
