/* SPDX-License-Identifier: Apache-2.0 */
/* Reading clocks, and time as people write and read it.
 * Must not touch: locale or time zone; text is UTC and C's numbers. */

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/macro.h"

#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)

static uint64_t clock_read(clockid_t clock) {
        struct timespec now;

        /* Fails only for a clock that does not exist: our own mistake. */
        if (clock_gettime(clock, &now) < 0)
                abort();
        return (uint64_t) now.tv_sec * USEC_PER_SEC + (uint64_t) now.tv_nsec / NSEC_PER_USEC;
}

uint64_t clock_usec(void) {
        return clock_read(CLOCK_MONOTONIC);
}

uint64_t clock_realtime_usec(void) {
        return clock_read(CLOCK_REALTIME);
}

void clock_format(uint64_t realtime_usec, char *ret_text, size_t text_bytes) {
        time_t seconds = (time_t) (realtime_usec / USEC_PER_SEC);
        struct tm utc;

        assert(ret_text);
        assert(text_bytes >= CLOCK_TEXT_BYTES);

        /* 2^64 us end in the year 586524, so that gmtime_r() finds no time it cannot say. */
        if (!gmtime_r(&seconds, &utc))
                abort();
        (void) snprintf(ret_text, text_bytes, "%04ld-%02d-%02dT%02d:%02d:%02d.%06uZ", utc.tm_year + 1900L,
                        utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                        (unsigned) (realtime_usec % USEC_PER_SEC));
}

void clock_format_span(uint64_t span_usec, char *ret_text, size_t text_bytes) {
        unsigned long long n = span_usec;

        assert(ret_text);
        assert(text_bytes >= CLOCK_TEXT_BYTES);

        /* Each bound is where the unit before it would round up to a number that is its own. */
        if (n == USEC_INFINITY)
                (void) snprintf(ret_text, text_bytes, "infinite");
        else if (n < USEC_PER_MSEC)
                (void) snprintf(ret_text, text_bytes, "%llu us", n);
        else if (n < USEC_PER_SEC - 50)
                (void) snprintf(ret_text, text_bytes, "%llu.%llu ms", (n + 50) / 1000, (n + 50) / 100 % 10);
        else if (n < USEC_PER_MINUTE - 50000)
                (void) snprintf(ret_text, text_bytes, "%llu.%llu s", (n + 50000) / USEC_PER_SEC,
                                (n + 50000) / 100000 % 10);
        else if (n < USEC_PER_HOUR - USEC_PER_SEC / 2) {
                n = (n + USEC_PER_SEC / 2) / USEC_PER_SEC;
                (void) snprintf(ret_text, text_bytes, "%llu min %llu s", n / 60, n % 60);
        } else if (n < USEC_PER_DAY - USEC_PER_MINUTE / 2) {
                n = (n + USEC_PER_MINUTE / 2) / USEC_PER_MINUTE;
                (void) snprintf(ret_text, text_bytes, "%llu h %llu min", n / 60, n % 60);
        } else {
                n = n / USEC_PER_HOUR + (n % USEC_PER_HOUR >= USEC_PER_HOUR / 2);
                (void) snprintf(ret_text, text_bytes, "%llu d %llu h", n / 24, n % 24);
        }
}

static const struct {
        const char *name;
        uint64_t usec;
} units[] = {
        { "", USEC_PER_SEC },
        { "us", 1 },
        { "usec", 1 },
        { "ms", USEC_PER_MSEC },
        { "msec", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "m", USEC_PER_MINUTE },
        { "min", USEC_PER_MINUTE },
        { "h", USEC_PER_HOUR },
        { "hr", USEC_PER_HOUR },
        { "d", USEC_PER_DAY },
        { "day", USEC_PER_DAY },
};

/* Takes one "10", "10s" or "10 s" off the front of *text. */
static int parse_term(const char **text, uint64_t *ret_usec) {
        const char *p = *text;
        uint64_t number = 0;
        size_t length;

        if (*p < '0' || *p > '9')
                return -EINVAL;
        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(number, 10, &number) ||
                    __builtin_add_overflow(number, (uint64_t) (*p - '0'), &number))
                        return -ERANGE;
        p += strspn(p, " ");
        length = strspn(p, "abcdefghijklmnopqrstuvwxyz");

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                if (strlen(units[i].name) != length || memcmp(units[i].name, p, length) != 0)
                        continue;
                if (__builtin_mul_overflow(number, units[i].usec, &number))
                        return -ERANGE;
                *text = p + length;
                *ret_usec = number;
                return 0;
        }
        return -EINVAL;
}

int clock_parse_span(const char *text, uint64_t *ret_usec) {
        uint64_t sum = 0, term;
        int r;

        assert(text);
        assert(ret_usec);

        text += strspn(text, " ");
        do {
                r = parse_term(&text, &term);
                if (r < 0)
                        return r;
                if (__builtin_add_overflow(sum, term, &sum))
                        return -ERANGE;
                text += strspn(text, " ");
        } while (*text);

        if (sum == USEC_INFINITY)
                return -ERANGE;
        *ret_usec = sum;
        return 0;
}
