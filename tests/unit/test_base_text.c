/* SPDX-License-Identifier: Apache-2.0 */
/* Text helpers, at the edges where a field, a number or a character ends. */

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "base/text.h"

Test(text, copy_fills_the_field_and_never_overruns) {
        char field[8];

        memset(field, 'x', sizeof field);
        cr_assert_eq(text_copy(field, sizeof field, "abc"), 0);
        cr_assert_arr_eq(field, "abc\0\0\0\0\0", 8);
        cr_assert_eq(text_copy(field, sizeof field, "1234567"), 0);
        cr_assert_str_eq(field, "1234567");
        cr_assert_eq(text_copy(field, sizeof field, "12345678"), -ENAMETOOLONG);
        cr_assert_str_eq(field, "1234567", "untouched on failure");
        cr_assert_eq(text_copy(field, sizeof field, ""), 0);
        cr_assert_arr_eq(field, "\0\0\0\0\0\0\0\0", 8);
}

Test(text, a_foreign_field_is_terminated_or_not_P1) {
        cr_assert(text_is_terminated("abc", 4));
        cr_assert_not(text_is_terminated("abc", 3));
        cr_assert(text_is_terminated("\0bc", 3));
        cr_assert_not(text_is_terminated("abc", 0));
}

static const struct {
        const char *bytes;
        size_t length;
        bool valid;
} utf8_cases[] = {
        { "", 0, true },
        { "plain ascii, more than eight bytes", 34, true },
        { "a\0b", 3, false },
        { "12345678\0", 9, false },
        { "\xc3\xa4", 2, true },
        { "\xc3", 1, false },
        { "1234567\xc3\xa4", 9, true },
        { "\xa4", 1, false },
        { "\xc0\x80", 2, false },         /* overlong NUL */
        { "\xc1\xbf", 2, false },         /* overlong */
        { "\xe0\x9f\xbf", 3, false },     /* overlong */
        { "\xe0\xa0\x80", 3, true },      /* U+0800 */
        { "\xed\x9f\xbf", 3, true },      /* U+D7FF */
        { "\xed\xa0\x80", 3, false },     /* U+D800 */
        { "\xed\xbf\xbf", 3, false },     /* U+DFFF */
        { "\xee\x80\x80", 3, true },      /* U+E000 */
        { "\xf0\x8f\xbf\xbf", 4, false }, /* overlong */
        { "\xf0\x90\x80\x80", 4, true },  /* U+10000 */
        { "\xf4\x8f\xbf\xbf", 4, true },  /* U+10FFFF */
        { "\xf4\x90\x80\x80", 4, false }, /* above */
        { "\xf5\x80\x80\x80", 4, false },
        { "\xf0\x9f\x98", 3, false },
        { "\xe2\x82\x41", 3, false },
        { "\xff", 1, false },
};

Test(text, utf8) {
        for (size_t i = 0; i < ELEMENTSOF(utf8_cases); i++)
                cr_assert_eq(text_is_utf8(utf8_cases[i].bytes, utf8_cases[i].length), utf8_cases[i].valid,
                             "case %zu", i);
}

/* The fast path looks at eight bytes at once; each byte at each place must still be seen. */
Test(text, utf8_sees_each_byte_of_a_word) {
        for (size_t at = 0; at < 16; at++)
                for (unsigned byte = 0; byte < 256; byte++) {
                        char text[16];

                        memset(text, 'a', sizeof text);
                        text[at] = (char) byte;
                        cr_assert_eq(text_is_utf8(text, sizeof text), byte > 0 && byte < 0x80,
                                     "byte %u at %zu", byte, at);
                }
}

/* B1: what a terminal would obey, JSON refuse or D-Bus hang up on. */
Test(text, harmless) {
        static const struct {
                const char *given, *expected;
        } cases[] = {
                { "", "" },
                { "a plain one", "a plain one" },
                { "gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80",
                  "gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80" },
                { "two\nlines\tand\rmore", "two lines and more" },
                { "\x1b[2J\x7f\x01", "?[2J??" },
                { "\xc2\x9b"
                  "2J\xc2\xa0",
                  "??2J\xc2\xa0" }, /* CSI in one character; U+00A0 is none */
                { "\xff"
                  "a\xc3",
                  "?a?" },
                { "\xe2\x82", "??" },
                { "\xed\xa0\x80", "???" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char text[64];

                (void) snprintf(text, sizeof text, "%s", cases[i].given);
                text_make_harmless(text);
                cr_assert_str_eq(text, cases[i].expected, "case %zu", i);
        }
}

Test(text, numbers) {
        uint64_t value = 7;

        cr_assert_eq(text_parse_u64("0", &value), 0);
        cr_assert_eq(value, 0);
        cr_assert_eq(text_parse_u64("18446744073709551615", &value), 0);
        cr_assert_eq(value, UINT64_MAX);
        value = 7;
        cr_assert_eq(text_parse_u64("18446744073709551616", &value), -ERANGE);
        cr_assert_eq(text_parse_u64("99999999999999999999999", &value), -ERANGE);
        for (const char *const *bad =
                     (const char *const[]){ "", " 1", "1 ", "+1", "-1", "0x10", "1.5", "1e3", "a", NULL };
             *bad; bad++)
                cr_assert_eq(text_parse_u64(*bad, &value), -EINVAL, "\"%s\"", *bad);
        cr_assert_eq(value, 7, "untouched on failure");
}

Test(text, sizes) {
        static const struct {
                const char *text;
                int r;
                uint64_t bytes;
        } cases[] = {
                { "0", 0, 0 },
                { "10000", 0, 10000 },
                { "12B", 0, 12 },
                { "64K", 0, 65536 },
                { "4M", 0, 4194304 },
                { "4MiB", 0, 4194304 },
                { "1G", 0, 1073741824 },
                { "2T", 0, 2199023255552 },
                { "16777215T", 0, 18446742974197923840ULL },
                { "16777216T", -ERANGE, 0 },
                { "18446744073709551616", -ERANGE, 0 },
                { "4MB", -EINVAL, 0 },
                { "4 M", -EINVAL, 0 },
                { "4m", -EINVAL, 0 },
                { "4iB", -EINVAL, 0 },
                { "M", -EINVAL, 0 },
                { "", -EINVAL, 0 },
                { "-1", -EINVAL, 0 },
                { "4MiBx", -EINVAL, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t bytes = 0;

                cr_assert_eq(text_parse_bytes(cases[i].text, &bytes), cases[i].r, "\"%s\"", cases[i].text);
                cr_assert_eq(bytes, cases[i].bytes, "\"%s\"", cases[i].text);
        }
}

Test(text, booleans) {
        bool value = false;

        cr_assert_eq(text_parse_bool("yes", &value), 0);
        cr_assert(value);
        cr_assert_eq(text_parse_bool("off", &value), 0);
        cr_assert_not(value);
        cr_assert_eq(text_parse_bool("1", &value), 0);
        cr_assert(value);
        cr_assert_eq(text_parse_bool("", &value), -EINVAL);
        cr_assert_eq(text_parse_bool("YES", &value), -EINVAL);
        cr_assert_eq(text_parse_bool("yess", &value), -EINVAL);
        cr_assert(value, "untouched on failure");
}

Test(text, nearest) {
        static const char *const names[] = { "workers", "url", "batch-rows", "batch-bytes", "to", NULL };
        static const struct {
                const char *text, *nearest;
        } cases[] = {
                { "worker", "workers" },
                { "wrokers", "workers" }, /* a swap is one edit */
                { "batch_rows", "batch-rows" },
                { "batchbyte", "batch-bytes" },
                { "ulr", "url" },
                { "t", "to" },
                { "", NULL },
                { "x", NULL },
                { "zz", NULL },
                { "password", NULL },
                { "url", "url" },
        };
        char longest[70];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const char *nearest = text_nearest(cases[i].text, names);

                if (cases[i].nearest)
                        cr_assert_str_eq(nearest ? nearest : "(none)", cases[i].nearest, "\"%s\"",
                                         cases[i].text);
                else
                        cr_assert_null(nearest, "\"%s\" is not near \"%s\"", cases[i].text, nearest);
        }

        /* Longer than any name: no answer, and no overrun (ASan runs this too). */
        memset(longest, 'w', sizeof longest);
        longest[64] = '\0';
        cr_assert_null(text_nearest(longest, names));
        cr_assert_str_eq(text_nearest(longest, (const char *const[]){ longest, NULL }), longest);
        longest[64] = 'w';
        longest[69] = '\0';
        cr_assert_null(text_nearest(longest, (const char *const[]){ longest, "workers", NULL }));
        cr_assert_null(text_nearest("url", (const char *const[]){ NULL }));
}

Test(text, names_and_identifiers) {
        char longest[65];

        memset(longest, 'a', sizeof longest);
        longest[64] = '\0';
        cr_assert_not(text_is_name(longest));
        cr_assert_not(text_is_identifier(longest));
        longest[63] = '\0';
        cr_assert(text_is_name(longest));
        cr_assert(text_is_identifier(longest));

        cr_assert(text_is_name("orders-2.eu_west"));
        cr_assert(text_is_name("0"));
        cr_assert_not(text_is_name(""));
        cr_assert_not(text_is_name(".hidden"));
        cr_assert_not(text_is_name("-rf"));
        cr_assert_not(text_is_name("a/b"));
        cr_assert_not(text_is_name("a b"));
        cr_assert_not(text_is_name("ä"));

        cr_assert(text_is_identifier("_outbox2"));
        cr_assert_not(text_is_identifier(""));
        cr_assert_not(text_is_identifier("2box"));
        cr_assert_not(text_is_identifier("out-box"));
        cr_assert_not(text_is_identifier("x;drop table y"));
        cr_assert_not(text_is_identifier("main.outbox"));
        cr_assert_not(text_is_identifier("\"x\""));
}
