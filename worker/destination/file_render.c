/* SPDX-License-Identifier: Apache-2.0 */
/* Renders an event as one line of JSON, or says why it cannot be one (FAILURE_REJECTED, M6).
 *
 * Recovery (file_tail.c) renders an event again and compares bytes (M3), so a line is a function of the
 * session's name and the event alone: no time, no counter, no locale (no program of Baton calls
 * setlocale(), so printf's and strtod's decimal point is C's).
 * Must not touch: files. The sentence of a rejection holds no piece of the payload (P5). */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "worker/destination/file.h"
#include "worker/destination/file_json.h"

#define BUFFER_BYTES_MIN (16U << 10)
#define WORD_SLACK_BYTES 16 /* what append_string() may write beyond what it has counted */

void file_buffer_done(struct file_buffer *buffer) {
        free(buffer->data);
        *buffer = (struct file_buffer){ .data = NULL };
}

/* Room for `bytes` more. */
static int buffer_reserve(struct file_buffer *buffer, size_t bytes) {
        size_t capacity = MAX_OF(buffer->capacity_bytes, (size_t) BUFFER_BYTES_MIN);
        uint8_t *data;

        if (buffer->capacity_bytes - buffer->used_bytes >= bytes)
                return 0;
        while (capacity - buffer->used_bytes < bytes) {
                if (capacity > SIZE_MAX / 4)
                        return -ENOMEM;
                capacity *= 2;
        }
        data = realloc(buffer->data, capacity);
        if (!data)
                return -ENOMEM;
        buffer->data = data;
        buffer->capacity_bytes = capacity;
        return 0;
}

static int append(struct file_buffer *buffer, const void *data, size_t bytes) {
        int r;

        r = buffer_reserve(buffer, bytes);
        if (r < 0)
                return r;
        if (bytes > 0)
                memcpy(buffer->data + buffer->used_bytes, data, bytes);
        buffer->used_bytes += bytes;
        return 0;
}

static int append_text(struct file_buffer *buffer, const char *text) {
        return append(buffer, text, strlen(text));
}

static int append_integer(struct file_buffer *buffer, int64_t value) {
        char text[24], *at = text + sizeof(text);
        uint64_t rest = value < 0 ? 0 - (uint64_t) value : (uint64_t) value;

        do
                *--at = (char) ('0' + rest % 10);
        while ((rest /= 10) > 0);
        if (value < 0)
                *--at = '-';
        return append(buffer, at, (size_t) (text + sizeof(text) - at));
}

/* The fewest of 15, 16, 17 digits that give the same double back. "1.0", not "1": a reader that tells
 * the two apart keeps the storage class. */
static int append_float(struct file_buffer *buffer, double value) {
        char text[40];

        assert(isfinite(value));
        for (int digits = 15; digits <= 17; digits++) {
                (void) snprintf(text, sizeof(text), "%.*g", digits, value);
                if (strtod(text, NULL) == value)
                        break;
        }
        if (!strpbrk(text, ".e"))
                (void) strcat(text, ".0"); /* at most 17 digits and a sign stand there */
        return append_text(buffer, text);
}

static size_t escape_byte(uint8_t byte, uint8_t *ret_text) {
        static const char short_escapes[32] = {
                ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
        };
        static const char hex[] = "0123456789abcdef";

        ret_text[0] = '\\';
        if (byte >= 32 || short_escapes[byte]) {
                ret_text[1] = byte >= 32 ? byte : (uint8_t) short_escapes[byte];
                return 2;
        }
        memcpy(ret_text + 1, "u00", 3);
        ret_text[4] = (uint8_t) hex[byte >> 4];
        ret_text[5] = (uint8_t) hex[byte & 15];
        return 6;
}

/* Appends a JSON string. -EILSEQ with *ret_offset_bytes and *ret_what where the text has a NUL or is no
 * UTF-8; the buffer's end is then undefined and the caller sets it back. */
static int append_string(struct file_buffer *buffer, const uint8_t *text, size_t bytes,
                         size_t *ret_offset_bytes, const char **ret_what) {
        size_t i = 0, step;
        uint8_t *out;
        int r;

        r = buffer_reserve(buffer, bytes + WORD_SLACK_BYTES);
        if (r < 0)
                return r;
        out = buffer->data + buffer->used_bytes;
        *out++ = '"';
        while (i < bytes) {
                if (bytes - i >= 8 && file_json_word_is_plain(text + i)) {
                        memcpy(out, text + i, 8);
                        out += 8;
                        i += 8;
                } else if (text[i] < 0x20 || text[i] == '"' || text[i] == '\\') {
                        if (text[i] == '\0') {
                                *ret_what = "a NUL byte";
                                *ret_offset_bytes = i;
                                return -EILSEQ;
                        }
                        out += escape_byte(text[i++], out);
                        buffer->used_bytes = (size_t) (out - buffer->data);
                        r = buffer_reserve(buffer, bytes - i + WORD_SLACK_BYTES);
                        if (r < 0)
                                return r;
                        out = buffer->data + buffer->used_bytes;
                } else {
                        step = file_utf8_step(text + i, bytes - i);
                        if (step == 0) {
                                *ret_what = "invalid UTF-8";
                                *ret_offset_bytes = i;
                                return -EILSEQ;
                        }
                        memcpy(out, text + i, step);
                        out += step;
                        i += step;
                }
        }
        *out++ = '"';
        buffer->used_bytes = (size_t) (out - buffer->data);
        return 0;
}

static int append_base64(struct file_buffer *buffer, const uint8_t *data, size_t bytes) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        uint8_t *out;
        int r;

        r = buffer_reserve(buffer, bytes / 3 * 4 + 4);
        if (r < 0)
                return r;
        out = buffer->data + buffer->used_bytes;
        for (size_t i = 0; i < bytes; i += 3) {
                size_t left = bytes - i;
                uint32_t group = (uint32_t) data[i] << 16;

                group |= left > 1 ? (uint32_t) data[i + 1] << 8 : 0;
                group |= left > 2 ? data[i + 2] : 0;
                *out++ = (uint8_t) digits[group >> 18];
                *out++ = (uint8_t) digits[group >> 12 & 63];
                *out++ = left > 1 ? (uint8_t) digits[group >> 6 & 63] : '=';
                *out++ = left > 2 ? (uint8_t) digits[group & 63] : '=';
        }
        buffer->used_bytes = (size_t) (out - buffer->data);
        return 0;
}

static int reject(struct failure *failure, uint64_t position, const char *name, const char *what) {
        return failure_set(failure, -EBADMSG, FAILURE_REJECTED,
                           "event %llu: %s %s, which a JSON line cannot hold", (unsigned long long) position,
                           name, what);
}

static int reject_at(struct failure *failure, uint64_t position, const char *name, const char *what,
                     size_t offset_bytes) {
        return failure_set(failure, -EBADMSG, FAILURE_REJECTED,
                           "event %llu: %s %s at byte %zu (counted from 0)", (unsigned long long) position,
                           name, what, offset_bytes);
}

static int no_memory(struct failure *failure, uint64_t position) {
        return failure_set(failure, -ENOMEM, FAILURE_UNAVAILABLE,
                           "no memory to write event %llu as a JSON line", (unsigned long long) position);
}

/* key, type, at: plain values. Returns -ENOMEM bare; the caller makes the sentence. */
static int append_plain(struct file_buffer *buffer, const char *name, uint64_t position,
                        const struct event_value *value, struct failure *failure) {
        size_t offset_bytes;
        const char *what;
        char text[64];
        int r;

        switch (value->type) {
        case VALUE_NULL:
                return append_text(buffer, "null");
        case VALUE_INTEGER:
                return append_integer(buffer, value->integer);
        case VALUE_FLOAT:
                if (!isfinite(value->real))
                        return reject(failure, position, name, "is an infinite number");
                return append_float(buffer, value->real);
        case VALUE_TEXT:
                r = append_string(buffer, value->data, value->bytes, &offset_bytes, &what);
                if (r != -EILSEQ)
                        return r;
                (void) snprintf(text, sizeof(text), "has %s", what);
                return reject_at(failure, position, name, text, offset_bytes);
        case VALUE_BLOB:
                return reject(failure, position, name, "is a BLOB");
        }
        return reject(failure, position, name, "has a storage class that Baton does not know");
}

/* The document travels verbatim, so numbers keep their digits; only raw line breaks and tabs, which in
 * valid JSON stand outside of strings, become spaces: a line is an event. */
static int append_document(struct file_buffer *buffer, uint64_t position, const struct event_value *value,
                           struct failure *failure) {
        struct file_json_error error;
        size_t start_bytes = buffer->used_bytes;
        bool has_breaks;
        char text[96];
        int r;

        r = file_json_check(value->bytes > 0 ? value->data : "", value->bytes, &has_breaks, &error);
        if (r < 0) {
                (void) snprintf(text, sizeof(text), "is not JSON: %s", error.what);
                return reject_at(failure, position, "payload", text, error.offset_bytes);
        }
        r = append(buffer, value->data, value->bytes);
        if (r < 0 || !has_breaks)
                return r;
        for (size_t i = start_bytes; i < buffer->used_bytes; i++)
                if (buffer->data[i] == '\n' || buffer->data[i] == '\r' || buffer->data[i] == '\t')
                        buffer->data[i] = ' ';
        return 0;
}

static int append_head(struct file_buffer *buffer, const char *session, uint64_t position) {
        int r;

        r = append_text(buffer, "{\"session\":\"");
        if (r >= 0)
                r = append_text(buffer, session); /* text_is_name(): nothing to escape */
        if (r >= 0)
                r = append_text(buffer, "\",\"position\":");
        if (r >= 0)
                r = append_integer(buffer, (int64_t) position);
        return r;
}

static int render_event(struct file_buffer *buffer, const char *session, const struct event *event,
                        struct failure *failure) {
        const struct {
                const char *name, *before;
                const struct event_value *value;
        } plain[] = {
                { "key", ",\"key\":", &event->key },
                { "type", ",\"type\":", &event->type },
                { "at", ",\"at\":", &event->at },
        };
        int r;

        r = append_head(buffer, session, event->position);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(plain); i++) {
                r = append_text(buffer, plain[i].before);
                if (r >= 0)
                        r = append_plain(buffer, plain[i].name, event->position, plain[i].value, failure);
        }
        if (r >= 0)
                r = append_text(buffer, ",\"payload\":");
        if (r < 0)
                return r;
        if (event->payload.type == VALUE_TEXT || event->payload.type == VALUE_BLOB)
                r = append_document(buffer, event->position, &event->payload, failure);
        else
                r = append_plain(buffer, "payload", event->position, &event->payload, failure);
        if (r >= 0)
                r = append(buffer, "}\n", 2);
        return r;
}

int file_render_event(struct file_buffer *buffer, const char *session, const struct event *event,
                      struct failure *ret_failure) {
        size_t start_bytes = buffer->used_bytes;
        int r;

        assert(session && text_is_name(session));
        assert(event && event->position <= INT64_MAX);

        r = render_event(buffer, session, event, ret_failure);
        if (r < 0)
                buffer->used_bytes = start_bytes;
        return r == -ENOMEM ? no_memory(ret_failure, event->position) : r;
}

static int append_kept_bytes(struct file_buffer *buffer, const struct event_value *value, const char *class) {
        int r;

        r = append_text(buffer, "{\"base64\":\"");
        if (r >= 0)
                r = append_base64(buffer, value->data, value->bytes);
        if (r >= 0)
                r = append_text(buffer, "\",\"class\":\"");
        if (r >= 0)
                r = append_text(buffer, class);
        return r < 0 ? r : append_text(buffer, "\"}");
}

/* A value as it was, whatever it was: -ENOMEM is the only failure. */
static int append_kept(struct file_buffer *buffer, const struct event_value *value) {
        size_t start_bytes = buffer->used_bytes, offset_bytes;
        const char *what;
        int r;

        switch (value->type) {
        case VALUE_NULL:
                return append_text(buffer, "null");
        case VALUE_INTEGER:
                return append_integer(buffer, value->integer);
        case VALUE_FLOAT:
                if (isfinite(value->real))
                        return append_float(buffer, value->real);
                return append_text(buffer, isnan(value->real)  ? "{\"float\":\"NaN\"}"
                                           : value->real > 0.0 ? "{\"float\":\"Infinity\"}"
                                                               : "{\"float\":\"-Infinity\"}");
        case VALUE_TEXT:
                r = append_string(buffer, value->data, value->bytes, &offset_bytes, &what);
                if (r != -EILSEQ)
                        return r;
                buffer->used_bytes = start_bytes;
                return append_kept_bytes(buffer, value, "text");
        case VALUE_BLOB:
                return append_kept_bytes(buffer, value, "blob");
        }
        return append_text(buffer, "{\"class\":\"unknown\"}");
}

/* Cut at a whole character, so that recovery can read every reason in one piece. */
static int append_reason(struct file_buffer *buffer, const char *reason) {
        size_t start_bytes, offset_bytes, bytes = strlen(reason);
        const char *what;
        int r;

        static_assert(FILE_REASON_BYTES_MAX > 6 * FAILURE_TEXT_BYTES + 64, "an escaped reason fits");
        if (bytes >= FAILURE_TEXT_BYTES)
                for (bytes = FAILURE_TEXT_BYTES - 1; bytes > 0 && ((uint8_t) reason[bytes] & 0xc0) == 0x80;)
                        bytes--;
        r = append_text(buffer, FILE_REASON_KEY);
        if (r < 0)
                return r;
        start_bytes = buffer->used_bytes;
        r = append_string(buffer, (const uint8_t *) reason, bytes, &offset_bytes, &what);
        if (r == -EILSEQ) { /* a sentence of another part of Baton is input here */
                buffer->used_bytes = start_bytes;
                r = append_text(buffer, "\"(the reason was no valid text)\"");
        }
        return r < 0 ? r : append(buffer, "}\n", 2);
}

int file_render_parked(struct file_buffer *buffer, const char *session, const struct event *event,
                       const char *reason, struct failure *ret_failure) {
        static const char *const before[] = { ",\"key\":", ",\"type\":", ",\"at\":", ",\"payload\":" };
        const struct event_value *values[] = { &event->key, &event->type, &event->at, &event->payload };
        size_t start_bytes = buffer->used_bytes;
        int r;

        assert(session && text_is_name(session));
        assert(event->position <= INT64_MAX);

        r = append_head(buffer, session, event->position);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(values); i++) {
                r = append_text(buffer, before[i]);
                if (r >= 0)
                        r = append_kept(buffer, values[i]);
        }
        if (r >= 0 && reason)
                r = append_reason(buffer, reason);
        if (r < 0) {
                buffer->used_bytes = start_bytes;
                return no_memory(ret_failure, event->position);
        }
        return 0;
}
