/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that a text is one JSON value (RFC 8259), without recursion and in one pass.
 *
 * Accepted because the grammar does: any number however long, lone surrogate escapes, \u0000, equal
 * keys, any value at the top. Refused: a byte order mark, anything after the value, raw control
 * characters in strings, invalid UTF-8, more than FILE_JSON_DEPTH_MAX levels.
 * Must not touch: the text. Allocates nothing. */
#include "worker/destination/file_json.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum expect { EXPECT_VALUE, EXPECT_VALUE_OR_END, EXPECT_KEY, EXPECT_KEY_OR_END, EXPECT_AFTER };

struct scan {
        const uint8_t *start, *at, *end;
        bool has_breaks;
        size_t depth;
        uint8_t is_object[FILE_JSON_DEPTH_MAX / 8]; /* one bit for each open level */
        const char *what;                           /* set on failure; `at` is the place */
};

static int scan_fail(struct scan *scan, const char *what) {
        scan->what = what;
        return -EBADMSG;
}

size_t file_utf8_step(const uint8_t *text, size_t bytes) {
        uint8_t first = text[0], low = 0x80, high = 0xbf;
        size_t length;

        assert(bytes > 0);

        if (first < 0x80)
                return 1;
        if (first < 0xc2 || first > 0xf4)
                return 0;
        length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (bytes < length)
                return 0;

        if (first == 0xe0) /* overlong forms, surrogates and what lies above U+10FFFF end here */
                low = 0xa0;
        else if (first == 0xed)
                high = 0x9f;
        else if (first == 0xf0)
                low = 0x90;
        else if (first == 0xf4)
                high = 0x8f;
        if (text[1] < low || text[1] > high)
                return 0;
        for (size_t i = 2; i < length; i++)
                if ((text[i] & 0xc0) != 0x80)
                        return 0;
        return length;
}

static void scan_space(struct scan *scan) {
        for (; scan->at < scan->end; scan->at++) {
                uint8_t c = *scan->at;

                if (c == '\n' || c == '\r' || c == '\t')
                        scan->has_breaks = true;
                else if (c != ' ')
                        return;
        }
}

static bool is_digit(uint8_t c) {
        return c >= '0' && c <= '9';
}

static bool is_hex(uint8_t c) {
        return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static int scan_escape(struct scan *scan) {
        size_t left = (size_t) (scan->end - scan->at);

        if (left < 2)
                return scan_fail(scan, "a string is not closed");
        if (scan->at[1] != 'u') {
                /* not strchr() alone: it would find the NUL that ends its own list */
                if (scan->at[1] == '\0' || !strchr("\"\\/bfnrt", scan->at[1]))
                        return scan_fail(scan, "an escape that JSON does not have");
                scan->at += 2;
                return 0;
        }
        if (left < 6)
                return scan_fail(scan, "a \\u escape without four hex digits");
        for (size_t i = 2; i < 6; i++)
                if (!is_hex(scan->at[i]))
                        return scan_fail(scan, "a \\u escape without four hex digits");
        scan->at += 6;
        return 0;
}

/* `at` stands on the opening quote. */
static int scan_string(struct scan *scan) {
        size_t step;
        int r;

        scan->at++;
        for (;;) {
                while (scan->end - scan->at >= 8 && file_json_word_is_plain(scan->at))
                        scan->at += 8;
                if (scan->at >= scan->end)
                        return scan_fail(scan, "a string is not closed");
                if (*scan->at == '"') {
                        scan->at++;
                        return 0;
                }
                if (*scan->at == '\\') {
                        r = scan_escape(scan);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (*scan->at == '\0')
                        return scan_fail(scan, "a NUL byte");
                if (*scan->at < 0x20)
                        return scan_fail(scan, "a control character in a string");
                step = file_utf8_step(scan->at, (size_t) (scan->end - scan->at));
                if (step == 0)
                        return scan_fail(scan, "invalid UTF-8");
                scan->at += step;
        }
}

static int scan_digits(struct scan *scan) {
        if (scan->at >= scan->end || !is_digit(*scan->at))
                return scan_fail(scan, "a number without a digit where one must be");
        while (scan->at < scan->end && is_digit(*scan->at))
                scan->at++;
        return 0;
}

static int scan_number(struct scan *scan) {
        int r;

        if (*scan->at == '-')
                scan->at++;
        if (scan->at < scan->end && *scan->at == '0') {
                scan->at++;
                if (scan->at < scan->end && is_digit(*scan->at))
                        return scan_fail(scan, "a number with a leading zero");
        } else {
                r = scan_digits(scan);
                if (r < 0)
                        return r;
        }
        if (scan->at < scan->end && *scan->at == '.') {
                scan->at++;
                r = scan_digits(scan);
                if (r < 0)
                        return r;
        }
        if (scan->at < scan->end && (*scan->at == 'e' || *scan->at == 'E')) {
                scan->at++;
                if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
                        scan->at++;
                return scan_digits(scan);
        }
        return 0;
}

static int scan_literal(struct scan *scan, const char *literal) {
        size_t length = strlen(literal);

        if ((size_t) (scan->end - scan->at) < length || memcmp(scan->at, literal, length) != 0)
                return scan_fail(scan, "a word that is none of true, false, null");
        scan->at += length;
        return 0;
}

static int scan_open(struct scan *scan, bool object) {
        uint8_t bit = (uint8_t) (1U << (scan->depth % 8));

        if (scan->depth >= FILE_JSON_DEPTH_MAX)
                return scan_fail(scan, "more than 1024 levels of arrays and objects");
        if (object)
                scan->is_object[scan->depth / 8] |= bit;
        else
                scan->is_object[scan->depth / 8] &= (uint8_t) ~bit;
        scan->depth++;
        scan->at++;
        return 0;
}

static bool scan_in_object(const struct scan *scan) {
        assert(scan->depth > 0);
        return scan->is_object[(scan->depth - 1) / 8] & (1U << ((scan->depth - 1) % 8));
}

static void scan_close(struct scan *scan, enum expect *expect) {
        assert(scan->depth > 0);
        scan->depth--;
        scan->at++;
        *expect = EXPECT_AFTER;
}

static int scan_value(struct scan *scan, enum expect *expect) {
        uint8_t c = *scan->at;

        *expect = EXPECT_AFTER;
        switch (c) {
        case '{':
                *expect = EXPECT_KEY_OR_END;
                return scan_open(scan, true);
        case '[':
                *expect = EXPECT_VALUE_OR_END;
                return scan_open(scan, false);
        case '"':
                return scan_string(scan);
        case 't':
                return scan_literal(scan, "true");
        case 'f':
                return scan_literal(scan, "false");
        case 'n':
                return scan_literal(scan, "null");
        case '\0':
                return scan_fail(scan, "a NUL byte");
        default:
                if (c == '-' || is_digit(c))
                        return scan_number(scan);
                return scan_fail(scan, "something that begins no JSON value");
        }
}

static int scan_key(struct scan *scan, enum expect *expect) {
        int r;

        if (*scan->at != '"')
                return scan_fail(scan, "an object's key is missing");
        r = scan_string(scan);
        if (r < 0)
                return r;
        scan_space(scan);
        if (scan->at >= scan->end || *scan->at != ':')
                return scan_fail(scan, "the colon after a key is missing");
        scan->at++;
        *expect = EXPECT_VALUE;
        return 0;
}

static int scan_after(struct scan *scan, enum expect *expect) {
        bool object;

        if (scan->depth == 0)
                return scan_fail(scan, "something stands after the value");
        object = scan_in_object(scan);
        if (*scan->at == ',') {
                scan->at++;
                *expect = object ? EXPECT_KEY : EXPECT_VALUE;
                return 0;
        }
        if (*scan->at != (object ? '}' : ']'))
                return scan_fail(scan, object ? "an object without comma or closing brace"
                                              : "an array without comma or closing bracket");
        scan_close(scan, expect);
        return 0;
}

static int scan_step(struct scan *scan, enum expect *expect) {
        switch (*expect) {
        case EXPECT_VALUE_OR_END:
                if (*scan->at == ']') {
                        scan_close(scan, expect);
                        return 0;
                }
                return scan_value(scan, expect);
        case EXPECT_VALUE:
                return scan_value(scan, expect);
        case EXPECT_KEY_OR_END:
                if (*scan->at == '}') {
                        scan_close(scan, expect);
                        return 0;
                }
                return scan_key(scan, expect);
        case EXPECT_KEY:
                return scan_key(scan, expect);
        case EXPECT_AFTER:
                return scan_after(scan, expect);
        }
        assert(!"unreachable: every expectation has its case");
        return -EBADMSG;
}

int file_json_check(const void *data, size_t bytes, bool *ret_has_breaks, struct file_json_error *ret_error) {
        struct scan scan;
        enum expect expect = EXPECT_VALUE;
        int r = 0;

        assert(data || bytes == 0);
        assert(ret_has_breaks && ret_error);

        scan.start = scan.at = data; /* is_object stays unset: scan_open() writes each bit first */
        scan.end = scan.start + bytes;
        scan.has_breaks = false;
        scan.depth = 0;
        scan.what = NULL;

        for (scan_space(&scan); r == 0 && scan.at < scan.end; scan_space(&scan)) {
                r = scan_step(&scan, &expect);
                if (r < 0)
                        break;
        }
        if (r == 0 && (expect != EXPECT_AFTER || scan.depth > 0))
                r = scan_fail(&scan, bytes == 0 ? "it is empty" : "it ends in the middle of a value");
        if (r < 0) {
                *ret_error = (struct file_json_error){ scan.what, (size_t) (scan.at - scan.start) };
                return r;
        }
        *ret_has_breaks = scan.has_breaks;
        return 0;
}
