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
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_journald.h"
#include "base/log_limit.h"
#include "base/text.h"

#define LINE_BYTES 1024
#define FIELD_BYTES 512
#define FIELD_COUNT_MAX 12

/* Set by log_init() before other threads are there; the level may change later. */
static const char *program_name = "baton";
static bool to_journald;
static _Atomic int priority_most = LOG_INFO;
/* Lines that journald did not take, until that is told. */
static _Atomic uint32_t lost_count;

void log_init(const char *program) {
        assert(program);

        program_name = program;
        to_journald = log_journald_open();
}

void log_level(int priority_max) {
        assert(priority_max >= LOG_EMERG && priority_max <= LOG_DEBUG);

        atomic_store_explicit(&priority_most, priority_max, memory_order_relaxed);
}

bool log_is_verbose(void) {
        return atomic_load_explicit(&priority_most, memory_order_relaxed) >= LOG_DEBUG;
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
        if (fields->peer_uid > 0)
                field_add(list, "BATON_PEER_UID=%" PRIu32, fields->peer_uid);
        if (fields->epoch > 0)
                field_add(list, "BATON_EPOCH=%" PRIu64, fields->epoch);
        if (fields->position > 0)
                field_add(list, "BATON_POSITION=%" PRIu64, fields->position);
        if (fields->takeover_usec > 0)
                field_add(list, "BATON_TAKEOVER_USEC=%" PRIu64, fields->takeover_usec);
        if (fields->reason)
                field_add(list, "BATON_REASON=%s", fields->reason);
}

/* A line, ready to be written. */
struct line {
        const struct message *message;
        int priority;
        const char *sentence;
        struct field_list list;
};

/* ---- journald -------------------------------------------------------------------------------- */
static int line_to_journald(struct line *line) {
        char message[LINE_BYTES + sizeof("MESSAGE=")], heads[4][64];
        struct iovec iov[1 + ELEMENTSOF(heads) + FIELD_COUNT_MAX];
        int count = 0;

        (void) snprintf(message, sizeof message, "MESSAGE=%s", line->sentence);
        iov[count++] = (struct iovec){ .iov_base = message, .iov_len = strlen(message) };
        (void) snprintf(heads[0], sizeof heads[0], "MESSAGE_ID=%s", line->message->id);
        (void) snprintf(heads[1], sizeof heads[1], "BATON_KIND=%s", line->message->name);
        (void) snprintf(heads[2], sizeof heads[2], "PRIORITY=%d", line->priority);
        (void) snprintf(heads[3], sizeof heads[3], "SYSLOG_IDENTIFIER=%s", program_name);
        for (size_t i = 0; i < ELEMENTSOF(heads); i++)
                iov[count++] = (struct iovec){ .iov_base = heads[i], .iov_len = strlen(heads[i]) };
        for (size_t i = 0; i < line->list.count; i++)
                iov[count++] = (struct iovec){ .iov_base = line->list.texts[i],
                                               .iov_len = strlen(line->list.texts[i]) };
        return log_journald_send(iov, count);
}

/* ---- stderr ---------------------------------------------------------------------------------- */
struct text {
        char bytes[LINE_BYTES * 2 + FIELD_BYTES];
        size_t used;
};

/* Appends, as much as fits before the newline. */
_printf_(2, 3) static void text_add(struct text *text, const char *format, ...) {
        size_t room = sizeof text->bytes - 1 - text->used;
        va_list arguments;
        int n;

        va_start(arguments, format);
        n = vsnprintf(text->bytes + text->used, room, format, arguments);
        va_end(arguments);
        if (n > 0)
                text->used += MIN_OF((size_t) n, room - 1);
}

/* A person has read the reason in the sentence already; journald's field is for programs. */
static bool is_said(const char *sentence, const char *field) {
        static const char reason[] = "BATON_REASON=";

        return strncmp(field, reason, sizeof reason - 1) == 0 && strstr(sentence, field + sizeof reason - 1);
}

/* "BATON_TAKEOVER_USEC=250" → "takeover_usec=250". An epoch is written as `baton status` writes it. */
static void text_add_field(struct text *text, const char *field, bool first) {
        const char *p = field + strlen("BATON_");
        uint64_t epoch;

        text_add(text, first ? " [" : " ");
        if (sscanf(field, "BATON_EPOCH=%" SCNu64, &epoch) == 1) {
                text_add(text, "epoch=%" PRIu64 ".%" PRIu64, epoch >> 32, epoch & UINT32_MAX);
                return;
        }
        for (; *p && *p != '='; p++)
                text_add(text, "%c", *p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
        text_add(text, strchr(p, ' ') ? "=\"%s\"" : "=%s", p + 1);
}

static void line_to_stderr(const struct line *line) {
        uint64_t now_usec = clock_realtime_usec();
        time_t seconds = (time_t) (now_usec / USEC_PER_SEC);
        struct text text = { .used = 0 };
        bool first = true;
        struct tm local;

        if (localtime_r(&seconds, &local))
                text_add(&text, "%02d:%02d:%02d.%03u ", local.tm_hour, local.tm_min, local.tm_sec,
                         (unsigned) (now_usec / USEC_PER_MSEC % 1000));
        text_add(&text, "%s: %s", program_name, line->sentence);
        for (size_t i = 0; i < line->list.count; i++) {
                if (is_said(line->sentence, line->list.texts[i]))
                        continue;
                text_add_field(&text, line->list.texts[i], first);
                first = false;
        }
        if (!first)
                text_add(&text, "]");

        text_make_harmless(text.bytes); /* also where a field was cut inside a character */
        text.bytes[text.used++] = '\n';
        /* In one call, so that lines of several processes do not mix. */
        (void) !write(STDERR_FILENO, text.bytes, text.used);
}

/* ---- a line -------------------------------------------------------------------------------------- */
/* 0, or -errno: journald does not take it. */
static int said_write(const struct log_said *said, uint32_t held_count) {
        struct line line = { .message = message_of(said->kind),
                             .priority = said->priority,
                             .sentence = said->sentence };

        if (said->fields)
                fields_collect(said->fields, &line.list);
        if (held_count > 0)
                field_add(&line.list, "BATON_SUPPRESSED=%" PRIu32, held_count);
        if (!to_journald) {
                line_to_stderr(&line);
                return 0;
        }
        return line_to_journald(&line);
}

/* True if journald took all that it was told. */
static bool lost_tell(void) {
        uint32_t count = atomic_exchange_explicit(&lost_count, 0, memory_order_relaxed);
        char sentence[96];
        const struct log_said said = { MESSAGE_LINES_LOST, LOG_WARNING, NULL, sentence };

        if (count == 0)
                return true;
        (void) snprintf(sentence, sizeof sentence, "journald did not read: lines that are lost: %" PRIu32,
                        count);
        if (said_write(&said, count) >= 0)
                return true;
        atomic_fetch_add_explicit(&lost_count, count, memory_order_relaxed);
        return false;
}

static void said_tell(const struct log_said *said, uint32_t held_count) {
        /* In their order: what was lost came before. */
        if (!lost_tell() || said_write(said, held_count) < 0)
                atomic_fetch_add_explicit(&lost_count, 1, memory_order_relaxed);
}

void log_line(enum message_kind kind, int priority, const struct log_fields *fields, const char *format,
              ...) {
        struct log_said said = { .kind = kind, .priority = priority, .fields = fields };
        char sentence[LINE_BYTES];
        uint32_t held_count = 0;
        int saved = errno, length;
        va_list arguments;

        assert(format);

        if (priority > atomic_load_explicit(&priority_most, memory_order_relaxed))
                return;
        va_start(arguments, format);
        length = vsnprintf(sentence, sizeof sentence, format, arguments);
        va_end(arguments);
        text_make_harmless(sentence); /* B1: one event, one line, whatever a name holds */
        said.sentence = sentence;
        /* journald's readers filter; a person at a terminal reads all there is. */
        if (log_limit_admits(&said, message_of(kind)->is_crowded && !to_journald, clock_usec(),
                             &held_count)) {
                if (held_count > 0 && length > 0 && (size_t) length < sizeof sentence)
                        (void) snprintf(sentence + length, sizeof sentence - (size_t) length,
                                        " (… and %" PRIu32 " more of this kind before)", held_count);
                said_tell(&said, held_count);
        }
        errno = saved;
}

/* ---- what was held back -------------------------------------------------------------------------- */
static void held_tell(const struct log_held *held, uint64_t now_usec) {
        struct log_said said = { held->kind, held->priority, &held->fields, NULL };
        char sentence[LINE_BYTES], span[CLOCK_TEXT_BYTES];

        clock_format_span(now_usec > held->last_usec ? now_usec - held->last_usec : 0, span, sizeof span);
        if (held->sentence[0])
                (void) snprintf(sentence, sizeof sentence,
                                "… and %" PRIu32 " more of this kind, the last %s ago: %s", held->count, span,
                                held->sentence);
        else
                (void) snprintf(sentence, sizeof sentence,
                                "… and %" PRIu32 " more %s, of several sessions, the last %s ago",
                                held->count, message_of(held->kind)->name, span);
        text_make_harmless(sentence); /* a text that was cut inside a character */
        said.sentence = sentence;
        said_tell(&said, held->count);
}

static void all_tell(bool all) {
        uint64_t now_usec = clock_usec();
        struct log_held held;

        while (log_limit_next(all, now_usec, &held))
                held_tell(&held, now_usec);
}

bool log_tick(void) {
        if (log_limit_is_pending())
                all_tell(false);
        if (atomic_load_explicit(&lost_count, memory_order_relaxed) > 0)
                (void) lost_tell();
        return log_limit_is_pending() || atomic_load_explicit(&lost_count, memory_order_relaxed) > 0;
}

void log_finish(void) {
        all_tell(true);
        (void) lost_tell();
}
