/* SPDX-License-Identifier: Apache-2.0 */
/* One line for each event of interest, to stderr or, structured, to journald.
 * Must not touch: memory of its own (a line is written where none may be left); payloads (P5). */

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The locations that these macros would add are those of this file: of no use to anyone. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/text.h"

#define LINE_BYTES 1024
#define FIELD_BYTES 512
#define FIELD_COUNT_MAX 12

/* Set by log_init() before other threads are there; the level may change later. */
static const char *program_name = "baton";
static bool to_journald;
static _Atomic int priority_most = LOG_INFO;

/* JOURNAL_STREAM is "device:inode" of the stream that systemd gave us; stderr may since have been
 * directed elsewhere, and then a person reads it. */
static bool stderr_is_journald(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat status;

        if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
                return false;
        if (fstat(STDERR_FILENO, &status) < 0)
                return false;
        return status.st_dev == device && status.st_ino == inode;
}

void log_init(const char *program) {
        assert(program);

        program_name = program;
        to_journald = stderr_is_journald();
}

void log_level(int priority_max) {
        assert(priority_max >= LOG_EMERG && priority_max <= LOG_DEBUG);

        atomic_store_explicit(&priority_most, priority_max, memory_order_relaxed);
}

/* ---- fields ---------------------------------------------------------------------------------- */
struct field_list {
        char texts[FIELD_COUNT_MAX][FIELD_BYTES]; /* "BATON_EPOCH=4" */
        size_t count;
};

_printf_(2, 3) static void field_add(struct field_list *list, const char *format, ...) {
        va_list arguments;

        assert(list->count < FIELD_COUNT_MAX);

        va_start(arguments, format);
        (void) vsnprintf(list->texts[list->count], FIELD_BYTES, format, arguments);
        va_end(arguments);
        text_make_harmless(list->texts[list->count++]);
}

static void fields_collect(const struct log_fields *fields, struct field_list *list) {
        if (fields->session)
                field_add(list, "BATON_SESSION=%s", fields->session);
        if (fields->destination)
                field_add(list, "BATON_DESTINATION=%s", fields->destination);
        if (fields->worker_ref > 0) { /* generation << 16 | index (shm/layout.h) */
                field_add(list, "BATON_WORKER=%u", (unsigned) (fields->worker_ref & 0xffff));
                field_add(list, "BATON_WORKER_GENERATION=%" PRIu64, fields->worker_ref >> 16);
        }
        if (fields->pid > 0)
                field_add(list, "BATON_PID=%" PRId32, fields->pid);
        if (fields->epoch > 0)
                field_add(list, "BATON_EPOCH=%" PRIu64, fields->epoch);
        if (fields->position > 0)
                field_add(list, "BATON_POSITION=%" PRIu64, fields->position);
        if (fields->takeover_usec > 0)
                field_add(list, "BATON_TAKEOVER_USEC=%" PRIu64, fields->takeover_usec);
        if (fields->reason)
                field_add(list, "BATON_REASON=%s", fields->reason);
}

/* ---- journald -------------------------------------------------------------------------------- */
static void line_to_journald(int priority, const char *sentence, const struct field_list *list) {
        char head[3][LINE_BYTES + 32];
        struct iovec iov[3 + FIELD_COUNT_MAX];
        int count = 3;

        (void) snprintf(head[0], sizeof head[0], "MESSAGE=%s", sentence);
        (void) snprintf(head[1], sizeof head[1], "PRIORITY=%d", priority);
        (void) snprintf(head[2], sizeof head[2], "SYSLOG_IDENTIFIER=%s", program_name);
        for (int i = 0; i < 3; i++)
                iov[i] = (struct iovec){ .iov_base = head[i], .iov_len = strlen(head[i]) };
        for (size_t i = 0; i < list->count; i++)
                iov[count++] = (struct iovec){ .iov_base = (void *) list->texts[i],
                                               .iov_len = strlen(list->texts[i]) };
        (void) sd_journal_sendv(iov, count); /* nobody could be told */
}

/* ---- stderr ---------------------------------------------------------------------------------- */
struct line {
        char text[LINE_BYTES * 2 + FIELD_BYTES];
        size_t used;
};

/* Appends, as much as fits before the newline. */
_printf_(2, 3) static void line_add(struct line *line, const char *format, ...) {
        size_t room = sizeof line->text - 1 - line->used;
        va_list arguments;
        int n;

        va_start(arguments, format);
        n = vsnprintf(line->text + line->used, room, format, arguments);
        va_end(arguments);
        if (n > 0)
                line->used += MIN_OF((size_t) n, room - 1);
}

/* A person has read the reason in the sentence already; journald's field is for programs. */
static bool is_said(const char *sentence, const char *field) {
        static const char reason[] = "BATON_REASON=";

        return strncmp(field, reason, sizeof reason - 1) == 0 && strstr(sentence, field + sizeof reason - 1);
}

/* "BATON_TAKEOVER_USEC=250" → "takeover_usec=250". An epoch is written as `baton status` writes it. */
static void line_add_field(struct line *line, const char *field, bool first) {
        const char *p = field + strlen("BATON_");
        uint64_t epoch;

        line_add(line, first ? " [" : " ");
        if (sscanf(field, "BATON_EPOCH=%" SCNu64, &epoch) == 1) {
                line_add(line, "epoch=%" PRIu64 ".%" PRIu64, epoch >> 32, epoch & UINT32_MAX);
                return;
        }
        for (; *p && *p != '='; p++)
                line_add(line, "%c", *p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
        line_add(line, strchr(p, ' ') ? "=\"%s\"" : "=%s", p + 1);
}

static void line_to_stderr(const char *sentence, const struct field_list *list) {
        uint64_t now_usec = clock_realtime_usec();
        time_t seconds = (time_t) (now_usec / USEC_PER_SEC);
        struct line line = { .used = 0 };
        bool first = true;
        struct tm local;

        if (localtime_r(&seconds, &local))
                line_add(&line, "%02d:%02d:%02d.%03u ", local.tm_hour, local.tm_min, local.tm_sec,
                         (unsigned) (now_usec / USEC_PER_MSEC % 1000));
        line_add(&line, "%s: %s", program_name, sentence);
        for (size_t i = 0; i < list->count; i++) {
                if (is_said(sentence, list->texts[i]))
                        continue;
                line_add_field(&line, list->texts[i], first);
                first = false;
        }
        if (!first)
                line_add(&line, "]");

        text_make_harmless(line.text); /* also where a field was cut inside a character */
        line.text[line.used++] = '\n';
        /* In one call, so that lines of several processes do not mix. */
        (void) !write(STDERR_FILENO, line.text, line.used);
}

void log_line(int priority, const struct log_fields *fields, const char *format, ...) {
        struct field_list list = { .count = 0 };
        char sentence[LINE_BYTES];
        int saved = errno;
        va_list arguments;

        assert(format);

        if (priority > atomic_load_explicit(&priority_most, memory_order_relaxed))
                return;
        va_start(arguments, format);
        (void) vsnprintf(sentence, sizeof sentence, format, arguments);
        va_end(arguments);
        text_make_harmless(sentence); /* B1: one event, one line, whatever a name holds */
        if (fields)
                fields_collect(fields, &list);
        if (to_journald)
                line_to_journald(priority, sentence, &list);
        else
                line_to_stderr(sentence, &list);
        errno = saved;
}
