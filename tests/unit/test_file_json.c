/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON scanner against documents that are valid and documents that are not (RFC 8259), so that no
 * valid payload is parked and no broken one reaches a line (M6). */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "worker/destination/file_json.h"

/* Checks a copy of exactly these bytes on the heap, so that a sanitizer sees a read behind the end. */
static int check(const char *text, size_t bytes, bool *ret_breaks, struct file_json_error *ret_error) {
        char *copy = malloc(bytes + (bytes == 0));
        int r;

        memcpy(copy, text, bytes);
        r = file_json_check(copy, bytes, ret_breaks, ret_error);
        free(copy);
        return r;
}

static const char *const valid[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1",
        "12",
        "1.5",
        "1e5",
        "1E+05",
        "1e-5",
        "0.0",
        "0e0",
        "-0.1e-0",
        "123456789012345678901234567890", /* beyond 64 bits: jansson refuses it */
        "1e400",                          /* beyond a double: the same */
        "0.1000000000000000055511151231257827",
        "\"\"",
        "\"a\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\uD83D\\uDE00\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\x7f\"",
        "\"\xc3\xa9\"",
        "\"\xe2\x82\xac\"",
        "\"\xf0\x9f\x98\x80\"",
        "\"\xf4\x8f\xbf\xbf\"",
        "\"\xee\x80\x80\"",
        "\"01234567\"",
        "\"0123456789abcdef0123456789abcdef\\n0123456\"",
        "[]",
        "[ ]",
        "{}",
        "{ }",
        "[1]",
        "[1,2]",
        " [ 1 , 2 ] ",
        "[[],[[]],{}]",
        "[null,true,false]",
        "{\"a\":1}",
        "{\"a\":1,\"a\":2}",
        "{\"\":{}}",
        "{ \"a\" : [ { \"b\" : null } ] }",
        " \t\r\n1\t\r\n ",
        "{\"a\":\n1,\r\n\"b\":\t2}",
};

static const struct {
        const char *text;
        size_t offset_bytes;
} invalid[] = {
        { "", 0 },
        { " ", 1 },
        { "nul", 0 },
        { "nulL", 0 },
        { "True", 0 },
        { "nullx", 4 },
        { "truefalse", 4 },
        { "+1", 0 },
        { "01", 1 },
        { "-", 1 },
        { "-a", 1 },
        { "1.", 2 },
        { ".5", 0 },
        { "1e", 2 },
        { "1e+", 3 },
        { "1.e5", 2 },
        { "0x10", 1 },
        { "NaN", 0 },
        { "Infinity", 0 },
        { "-Infinity", 1 },
        { "1 2", 2 },
        { "--1", 1 },
        { "\"", 1 },
        { "\"a", 2 },
        { "'a'", 0 },
        { "\"\\x\"", 1 },
        { "\"\\", 1 },
        { "\"\\u12\"", 1 },
        { "\"\\u123g\"", 1 },
        { "\"\\u", 1 },
        { "\"a\nb\"", 2 },
        { "\"a\tb\"", 2 },
        { "\"a\x01", 2 },
        { "\"0123456789\x1f\"", 11 },
        { "\"\x80\"", 1 },
        { "\"\xc0\x80\"", 1 },
        { "\"\xc1\xbf\"", 1 },
        { "\"\xc3\"", 1 },
        { "\"\xe0\x80\x80\"", 1 },
        { "\"\xed\xa0\x80\"", 1 },
        { "\"\xf0\x80\x80\x80\"", 1 },
        { "\"\xf4\x90\x80\x80\"", 1 },
        { "\"\xf5\x80\x80\x80\"", 1 },
        { "\"\xff\"", 1 },
        { "\"\xe2\x82\"", 1 },
        { "\"\xe2\x28\xa1\"", 1 },
        { "\"abcdefgh\xc3", 9 },
        { "\xef\xbb\xbf{}", 0 },
        { "\xc3\xa9", 0 },
        { "[", 1 },
        { "]", 0 },
        { "[1", 2 },
        { "[1,", 3 },
        { "[,1]", 1 },
        { "[1,]", 3 },
        { "[1 2]", 3 },
        { "[1}", 2 },
        { "[1]]", 3 },
        { "{", 1 },
        { "}", 0 },
        { "{]", 1 },
        { "{\"a\"}", 4 },
        { "{\"a\" 1}", 5 },
        { "{\"a\":}", 5 },
        { "{\"a\":1", 6 },
        { "{\"a\":1,}", 7 },
        { "{a:1}", 1 },
        { "{1:1}", 1 },
        { "{\"a\":1]", 6 },
        { "{\"a\":1 \"b\":2}", 7 },
        { "{,}", 1 },
        { "{\"a\":1}x", 7 },
        { "[1]\v", 3 },
        { "\f1", 0 },
        { "\xc2\xa0"
          "1",
          0 },
        { "// c\n1", 0 },
        { "/**/1", 0 },
};

Test(file_json, M6_valid_documents_are_accepted) {
        struct file_json_error error = { 0 };
        bool breaks;

        for (size_t i = 0; i < sizeof(valid) / sizeof(*valid); i++) {
                cr_expect_eq(check(valid[i], strlen(valid[i]), &breaks, &error), 0, "%s: %s at %zu", valid[i],
                             error.what, error.offset_bytes);
                cr_expect_eq(breaks, strpbrk(valid[i], "\n\r\t") != NULL, "%s", valid[i]);
        }
}

Test(file_json, M6_invalid_documents_are_refused_with_the_place) {
        struct file_json_error error;
        bool breaks;

        for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++) {
                error = (struct file_json_error){ .what = NULL };
                cr_expect_lt(check(invalid[i].text, strlen(invalid[i].text), &breaks, &error), 0, "%s",
                             invalid[i].text);
                cr_expect_not_null(error.what);
                cr_expect_eq(error.offset_bytes, invalid[i].offset_bytes, "%s: %s at %zu, not %zu",
                             invalid[i].text, error.what, error.offset_bytes, invalid[i].offset_bytes);
        }
}

Test(file_json, M6_a_nul_byte_is_refused_wherever_it_stands) {
        static const char document[] = "{\"a\":[1,\"bcdefghijkl\\n\",true,-1.5e3]}";
        char broken[sizeof(document)];
        struct file_json_error error;
        bool breaks;

        for (size_t i = 0; i <= strlen(document); i++) {
                memcpy(broken, document, sizeof(document));
                broken[i] = '\0'; /* the last round: behind the document */
                cr_expect_lt(check(broken, strlen(document) + (i == strlen(document)), &breaks, &error), 0,
                             "%zu", i);
        }
}

/* No proper beginning of this document is one. */
Test(file_json, M6_every_truncation_is_refused) {
        static const char document[] = "{\"a\":[1.5e-3,\"\\u00e9\xc3\xa9x\",true,null,{\"b\":{}}]}";
        struct file_json_error error;
        bool breaks;

        cr_assert_eq(check(document, strlen(document), &breaks, &error), 0);
        for (size_t i = 0; i < strlen(document); i++)
                cr_expect_lt(check(document, i, &breaks, &error), 0, "%zu", i);
}

static int check_nested(size_t depth, char open, char close) {
        struct file_json_error error;
        char *text = malloc(2 * depth * 5 + 1);
        size_t used = 0;
        bool breaks;
        int r;

        for (size_t i = 0; i < depth; i++) {
                text[used++] = open;
                if (open == '{' && i + 1 < depth) {
                        memcpy(text + used, "\"\":", 3);
                        used += 3;
                }
        }
        for (size_t i = 0; i < depth; i++)
                text[used++] = close;
        r = check(text, used, &breaks, &error);
        free(text);
        return r;
}

Test(file_json, nesting_has_a_limit_and_no_recursion) {
        cr_assert_eq(check_nested(FILE_JSON_DEPTH_MAX, '[', ']'), 0);
        cr_assert_eq(check_nested(FILE_JSON_DEPTH_MAX, '{', '}'), 0);
        cr_assert_lt(check_nested(FILE_JSON_DEPTH_MAX + 1, '[', ']'), 0);
        cr_assert_lt(check_nested(FILE_JSON_DEPTH_MAX + 1, '{', '}'), 0);
        cr_assert_lt(check_nested(1000000, '[', ']'), 0);
        cr_assert_lt(check_nested(2, '[', '}'), 0);
}

/* Whatever jansson accepts, we accept: 200,000 documents made by changing one byte of good ones. */
Test(file_json, M6_accepts_what_jansson_accepts) {
        static const char *const seeds[] = {
                "{\"a\":[1,-2.5e3,true,null],\"b\":{\"c\":\"x\\u00e9\\n\xc3\xa9\"}}",
                "[[],{},\"\",0,-0.5,\"\\\\\\\"/\"]",
        };
        unsigned accepted = 0, seed = 1;

        for (unsigned round = 0; round < 200000; round++) {
                const char *document = seeds[round % 2];
                size_t bytes = strlen(document);
                struct file_json_error error;
                char text[80];
                json_t *json;
                bool breaks;

                memcpy(text, document, bytes);
                seed = seed * 1103515245 + 12345;
                text[(seed >> 8) % bytes] = (char) (seed >> 20);
                json = json_loadb(text, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
                if (json)
                        cr_assert_eq(file_json_check(text, bytes, &breaks, &error), 0, "%.*s", (int) bytes,
                                     text);
                accepted += json != NULL;
                json_decref(json);
        }
        cr_assert_gt(accepted, 5000, "the test saw only %u valid documents", accepted);
}
