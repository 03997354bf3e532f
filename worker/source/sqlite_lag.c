/* SPDX-License-Identifier: Apache-2.0 */
/* How far behind a session is: a count, an estimate in bytes, the age of the oldest waiting event; and
 * what to watch for new ones (M9). Unknown is never shown as zero. Must not touch: anything for writing. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "worker/source/sqlite_journal.h"
#include "worker/source/sqlite_source.h"

/* Rows that stand for all when bytes are estimated: status must stay cheap with large payloads. */
#define LAG_SAMPLE_ROWS 4

int sqlite_source_range(struct source *source, uint64_t *ret_first, uint64_t *ret_last,
                        struct failure *ret_failure) {
        int64_t first = 0, last = 0;
        int r, code, hot;

        assert(source);
        assert(ret_first && ret_last);

        if (!source->range) {
                /* Two subqueries: each is one step down an edge of the tree; min() and max() in one
                 * query would read it all. */
                r = db_prepare_format(source->reader, source->path, &source->range, ret_failure,
                                      "SELECT (SELECT min(\"%s\") FROM main.\"%s\" WHERE \"%s\" > 0), "
                                      "(SELECT max(\"%s\") FROM main.\"%s\" WHERE \"%s\" > 0)",
                                      source->table.seq, source->table.table, source->table.seq,
                                      source->table.seq, source->table.table, source->table.seq);
                if (r < 0)
                        return r;
        }
        journal_forget_pages(source->reader, "main");
        code = sqlite3_step(source->range);
        if (code == SQLITE_ROW) {
                first = sqlite3_column_int64(source->range, 0); /* NULL, an empty table, reads as 0 */
                last = sqlite3_column_int64(source->range, 1);
        }
        hot = journal_refuse_reading(source->reader, "main", source->path, ret_failure);
        (void) sqlite3_reset(source->range);
        if (hot < 0)
                return hot;
        if (code != SQLITE_ROW)
                return db_fail(source->reader, code, source->path, "read it", ret_failure);
        *ret_first = (uint64_t) first;
        *ret_last = (uint64_t) last;
        return 0;
}

static bool read_digits(const char **p, const char *end, int count, int *ret_number) {
        int number = 0;

        for (int i = 0; i < count; i++, (*p)++) {
                if (*p >= end || **p < '0' || **p > '9')
                        return false;
                number = number * 10 + (**p - '0');
        }
        *ret_number = number;
        return true;
}

static bool skip(const char **p, const char *end, const char *any_of) {
        if (*p >= end || !strchr(any_of, **p) || **p == '\0')
                return false;
        (*p)++;
        return true;
}

/* Days since 1970-01-01 of a date in the Gregorian calendar. */
static int64_t days_of(int year, int month, int day) {
        int64_t y = month <= 2 ? year - 1 : year;
        int64_t era = (y >= 0 ? y : y - 399) / 400;
        int64_t year_of_era = y - era * 400;
        int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

        return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/* "Z", "+02:00", "+0200", "" (UTC) → minutes east. */
static bool read_zone(const char **p, const char *end, int *ret_minutes) {
        int hours, minutes = 0;
        bool is_west;

        *ret_minutes = 0;
        if (*p == end || skip(p, end, "Zz"))
                return *p == end;
        is_west = **p == '-';
        if (!skip(p, end, "+-") || !read_digits(p, end, 2, &hours))
                return false;
        (void) skip(p, end, ":");
        if (*p < end && !read_digits(p, end, 2, &minutes))
                return false;
        *ret_minutes = (hours * 60 + minutes) * (is_west ? -1 : 1);
        return *p == end;
}

static uint64_t usec_of_text(const char *text, size_t bytes) {
        const char *p = text, *end = text + bytes;
        int year, month, day, hour = 0, minute = 0, second = 0, zone = 0;
        int64_t usec = 0, scale = 100000, total;

        if (!read_digits(&p, end, 4, &year) || !skip(&p, end, "-") || !read_digits(&p, end, 2, &month) ||
            !skip(&p, end, "-") || !read_digits(&p, end, 2, &day) || month < 1 || month > 12 || day < 1 ||
            day > 31)
                return LAG_UNKNOWN;
        if (p < end) {
                if (!skip(&p, end, "Tt ") || !read_digits(&p, end, 2, &hour) || !skip(&p, end, ":") ||
                    !read_digits(&p, end, 2, &minute))
                        return LAG_UNKNOWN;
                if (skip(&p, end, ":") && !read_digits(&p, end, 2, &second))
                        return LAG_UNKNOWN;
                if (skip(&p, end, ".,"))
                        for (; p < end && *p >= '0' && *p <= '9'; p++, scale /= 10)
                                usec += (*p - '0') * scale;
                if (hour > 24 || minute > 59 || second > 60 || !read_zone(&p, end, &zone))
                        return LAG_UNKNOWN;
        }
        total = ((days_of(year, month, day) * 24 + hour) * 60 + minute - zone) * 60 + second;
        return total < 0 ? LAG_UNKNOWN : (uint64_t) total * USEC_PER_SEC + (uint64_t) usec;
}

/* By its size: seconds until the year 5138, else milliseconds until then, else microseconds. */
static uint64_t usec_of_number(double number) {
        if (!(number > 0) || number >= 1e17)
                return LAG_UNKNOWN;
        if (number < 1e11)
                return (uint64_t) (number * 1e6);
        return (uint64_t) (number < 1e14 ? number * 1e3 : number);
}

uint64_t event_time_usec(const struct event_value *at) {
        assert(at);

        switch (at->type) {
        case VALUE_TEXT:
                return usec_of_text(at->data, at->bytes);
        case VALUE_INTEGER:
                return usec_of_number((double) at->integer);
        case VALUE_FLOAT:
                return usec_of_number(at->real);
        default:
                return LAG_UNKNOWN;
        }
}

/* The first rows that wait: when the oldest came, and how large they are on average. */
static int sample(struct source *source, uint64_t after, struct source_lag *lag,
                  struct failure *ret_failure) {
        uint64_t bytes = 0, rows = 0;
        struct event event;
        int r = 0, code;

        (void) sqlite3_bind_int64(source->fetch, 1, (int64_t) after);
        (void) sqlite3_bind_int64(source->fetch, 2, LAG_SAMPLE_ROWS);
        while ((code = sqlite3_step(source->fetch)) == SQLITE_ROW && r >= 0) {
                r = event_from_row(source->fetch, &event);
                if (r < 0)
                        break;
                if (rows == 0)
                        lag->oldest_realtime_usec = event_time_usec(&event.at);
                bytes += event_bytes(&event);
                rows++;
        }
        (void) sqlite3_reset(source->fetch);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "%s: out of memory", source->path);
        if (code != SQLITE_DONE)
                return db_fail(source->reader, code, source->path, "read it", ret_failure);
        if (rows > 0 && bytes / rows <= LAG_UNKNOWN / 2 / MAX_OF(lag->events, (uint64_t) 1))
                lag->bytes = bytes / rows * lag->events;
        return 0;
}

int sqlite_source_lag(struct source *source, uint64_t after, struct source_lag *ret_lag,
                      struct failure *ret_failure) {
        struct source_lag lag = { .bytes = LAG_UNKNOWN, .oldest_realtime_usec = LAG_UNKNOWN };
        uint64_t first, last;
        int r;

        assert(source);
        assert(ret_lag);

        r = sqlite_source_range(source, &first, &last, ret_failure);
        if (r < 0)
                return r;
        if (last <= after) {
                /* Nothing waits: nothing is old. */
                lag.bytes = 0;
                *ret_lag = lag;
                return 0;
        }
        /* What was cleaned up or never written below the first row does not wait. */
        lag.events = last - MAX_OF(after, first - 1);
        r = sample(source, after, &lag, ret_failure);
        if (r < 0)
                return r;
        *ret_lag = lag;
        return 0;
}

int sqlite_source_watch(const struct source_config *config, struct source_watch *ret_watch,
                        struct failure *ret_failure) {
        static const char *const suffixes[] = { "", "-wal", "-journal" };
        struct source_watch watch = { 0 };
        char real[PATH_MAX];
        const char *slash, *path;

        assert(config && config->url);
        assert(ret_watch);

        /* SQLite's files stand beside the real one. An absent file: where it will appear. */
        path = realpath(config->url->path, real) ? real : config->url->path;
        slash = strrchr(path, '/');
        if (!slash || (size_t) (slash - path) + 2 > sizeof watch.directory)
                return failure_set(ret_failure, -ENAMETOOLONG, FAILURE_STOP,
                                   "source %s: its path cannot be watched, it is not absolute or too long",
                                   config->name);
        memcpy(watch.directory, path, slash == path ? 1 : (size_t) (slash - path));
        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
                if (snprintf(watch.file_names[i], sizeof watch.file_names[i], "%s%s", slash + 1,
                             suffixes[i]) >= (int) sizeof watch.file_names[i])
                        return failure_set(ret_failure, -ENAMETOOLONG, FAILURE_STOP,
                                           "source %s: its file name is too long", config->name);
        *ret_watch = watch;
        return 0;
}
