/* SPDX-License-Identifier: Apache-2.0 */
/* Time as people write and read it. */

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "base/macro.h"

Test(clock, never_goes_back) {
        uint64_t before = clock_usec();

        for (int i = 0; i < 1000; i++) {
                uint64_t now = clock_usec();

                cr_assert_geq(now, before);
                before = now;
        }
        cr_assert_geq(clock_realtime_usec() / USEC_PER_SEC, 1700000000);
}

Test(clock, formats_a_moment_in_utc) {
        char text[CLOCK_TEXT_BYTES];

        clock_format(0, text, sizeof text);
        cr_assert_str_eq(text, "1970-01-01T00:00:00.000000Z");
        clock_format(1795456931123456ULL, text, sizeof text);
        cr_assert_str_eq(text, "2026-11-23T18:02:11.123456Z");
        clock_format(951782400000001ULL, text, sizeof text);
        cr_assert_str_eq(text, "2000-02-29T00:00:00.000001Z");
        clock_format(UINT64_MAX, text, sizeof text);
        cr_assert_str_eq(text, "586524-01-19T08:01:49.551615Z");
}

Test(clock, formats_a_span_and_never_rounds_into_the_next_unit) {
        static const struct {
                uint64_t usec;
                const char *text;
        } cases[] = {
                { 0, "0 us" },
                { 340, "340 us" },
                { 999, "999 us" },
                { 1000, "1.0 ms" },
                { 1249, "1.2 ms" },
                { 1250, "1.3 ms" },
                { 999949, "999.9 ms" },
                { 999950, "1.0 s" },
                { 3000000, "3.0 s" },
                { 59949999, "59.9 s" },
                { 59950000, "1 min 0 s" },
                { 125000000, "2 min 5 s" },
                { 3599499999, "59 min 59 s" },
                { 3599500000, "1 h 0 min" },
                { 86369999999, "23 h 59 min" },
                { 86370000000, "1 d 0 h" },
                { 86400000000, "1 d 0 h" },
                { USEC_INFINITY - 1, "213503982 d 8 h" },
                { USEC_INFINITY, "infinite" },
        };
        char text[CLOCK_TEXT_BYTES];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                clock_format_span(cases[i].usec, text, sizeof text);
                cr_assert_str_eq(text, cases[i].text, "%" PRIu64, cases[i].usec);
        }
}

Test(clock, parses_a_span) {
        static const struct {
                const char *text;
                int r;
                uint64_t usec;
        } cases[] = {
                { "10s", 0, 10000000 },
                { "10", 0, 10000000 },
                { "0", 0, 0 },
                { "50ms", 0, 50000 },
                { "250us", 0, 250 },
                { "2min", 0, 120000000 },
                { "1h", 0, 3600000000 },
                { "2min 5s", 0, 125000000 },
                { "1h30m", 0, 5400000000 },
                { " 10 s ", 0, 10000000 },
                { "1d", 0, 86400000000 },
                { "18446744073709551614us", 0, UINT64_MAX - 1 },
                { "18446744073709551615us", -ERANGE, 0 },
                { "18446744073709551616us", -ERANGE, 0 },
                { "18446744073710s", -ERANGE, 0 },
                { "18446744073709s 1s", -ERANGE, 0 },
                { "", -EINVAL, 0 },
                { " ", -EINVAL, 0 },
                { "s", -EINVAL, 0 },
                { "-1s", -EINVAL, 0 },
                { "1.5s", -EINVAL, 0 },
                { "10 fortnights", -EINVAL, 0 },
                { "10S", -EINVAL, 0 },
                { "10s,", -EINVAL, 0 },
                { "infinity", -EINVAL, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t usec = 0;

                cr_assert_eq(clock_parse_span(cases[i].text, &usec), cases[i].r, "\"%s\"", cases[i].text);
                cr_assert_eq(usec, cases[i].usec, "\"%s\"", cases[i].text);
        }
}
