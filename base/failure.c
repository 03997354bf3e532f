/* SPDX-License-Identifier: Apache-2.0 */
/* Failures with a class and a sentence (rule M6). Must not touch: errno (a sentence may hold %m);
 * memory of its own (a failure is filled where nothing can be allocated any more). */

#include "base/failure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Cuts text that was too long for its field back to a whole UTF-8 character. */
static void cut_at_character(char *text, size_t bytes) {
        size_t end = bytes - 1, start = end;

        assert(bytes > 0);

        /* Back to the first byte of the last character, which may have lost its end. */
        while (start > 0 && ((uint8_t) text[start - 1] & 0xc0) == 0x80)
                start--;
        if (start > 0) {
                uint8_t lead = (uint8_t) text[start - 1];
                size_t whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;

                if (end - (start - 1) < whole)
                        end = start - 1;
        }
        text[end] = '\0';
}

_printf_(3, 0) static void format_bounded(char *text, size_t bytes, const char *format, va_list arguments) {
        int n = vsnprintf(text, bytes, format, arguments);

        if (n < 0)
                text[0] = '\0';
        else if ((size_t) n >= bytes)
                cut_at_character(text, bytes);
        /* B1: an argument may be the words of a file, a person or another process. */
        text_make_harmless(text);
}

int failure_set(struct failure *failure, int r, enum failure_kind kind, const char *format, ...) {
        char text[FAILURE_TEXT_BYTES]; /* an argument may be the old sentence itself */
        va_list arguments;

        assert(r < 0);
        assert(kind > FAILURE_NONE && kind < FAILURE_KIND_COUNT);
        assert(format);

        if (!failure)
                return r;
        va_start(arguments, format);
        format_bounded(text, sizeof text, format, arguments);
        va_end(arguments);
        failure->kind = kind;
        memcpy(failure->text, text, sizeof text);
        return r;
}

void failure_prefix(struct failure *failure, const char *format, ...) {
        char prefix[FAILURE_TEXT_BYTES], text[FAILURE_TEXT_BYTES * 2 + 2];
        va_list arguments;
        int n;

        assert(format);

        if (!failure)
                return;
        va_start(arguments, format);
        format_bounded(prefix, sizeof prefix, format, arguments);
        va_end(arguments);
        n = snprintf(text, sizeof text, "%s: %s", prefix, failure->text);
        assert(n >= 0 && (size_t) n < sizeof text);
        memcpy(failure->text, text, FAILURE_TEXT_BYTES);
        if ((size_t) n >= FAILURE_TEXT_BYTES)
                cut_at_character(failure->text, FAILURE_TEXT_BYTES);
}

const char *failure_kind_name(enum failure_kind kind) {
        /* clang-format off */
        static const char *const names[FAILURE_KIND_COUNT] = {
                [FAILURE_NONE] = "none",
                [FAILURE_UNAVAILABLE] = "unavailable",
                [FAILURE_FULL] = "full",
                [FAILURE_REJECTED] = "rejected",
                [FAILURE_FENCED] = "fenced",
                [FAILURE_TOO_LARGE] = "too-large",
                [FAILURE_SYNC] = "sync",
                [FAILURE_STOP] = "stop",
                [FAILURE_IDENTITY] = "identity",
                [FAILURE_BEHIND] = "behind",
        };
        /* clang-format on */

        /* The kind may come out of the segment, where another process wrote it (P1). */
        if ((unsigned) kind >= FAILURE_KIND_COUNT || !names[kind])
                return "unknown";
        return names[kind];
}

enum failure_kind failure_kind_of_errno(int r) {
        switch (r < 0 ? -r : r) {
        case 0:
                return FAILURE_NONE;
        case ENOSPC:
        case EDQUOT:
                return FAILURE_FULL;
        case ENOENT:
        case EACCES:
        case EPERM:
        case EBUSY:
        case EAGAIN:
        case EINTR:
        case EMFILE:
        case ENFILE:
        case ENOLCK:
        case ENOMEM:
        case EROFS:
        case ETXTBSY:
        case ETIMEDOUT:
        case ECANCELED:
        case ENODEV:
        case ENXIO:
        case ESTALE:
                return FAILURE_UNAVAILABLE;
        default: /* EIO first of all: what a retry would hide (M6, M7) */
                return FAILURE_STOP;
        }
}
