/* SPDX-License-Identifier: Apache-2.0 */
/* A failure that a person will read, and its class, which decides what happens next (rule M6).
 *
 * Functions that can fail for reasons outside Baton return `int r` (0 or negative errno) and fill a
 * `struct failure *ret_failure` on error: kind and one sentence that says what failed, on what, why
 * and what to do. The sentence never holds a payload or a secret (P5), and is one line of valid UTF-8 without
 * control characters, whatever its arguments hold: it goes to terminals, into JSON and over D-Bus. */
#pragma once

#include <stdarg.h>
#include <stdint.h>

#include "base/macro.h"

#define FAILURE_TEXT_BYTES 384

/* M6: the class decides. A new class needs a row in worker/README.md's table and in failure.c. */
enum failure_kind {
        FAILURE_NONE = 0,
        FAILURE_UNAVAILABLE, /* destination or source cannot be reached now: retry, growing delay */
        FAILURE_FULL,        /* no room on the disk: wait, resume alone (M8) */
        FAILURE_REJECTED,    /* this event cannot be stored: park it (M6) */
        FAILURE_FENCED,      /* a higher epoch stands at the destination: drop the session (M2) */
        FAILURE_TOO_LARGE,   /* more than the batch limit: the caller goes on with less */
        FAILURE_SYNC,        /* a sync failed: latch (M7) */
        FAILURE_STOP,        /* cannot go on: stop the session, say why (M6) */
        FAILURE_IDENTITY,    /* source identity or anchor differ: stop until `baton adopt` (M4) */
        FAILURE_BEHIND,      /* the destination is behind the journal: stop until adopted */
        FAILURE_KIND_COUNT
};

struct failure {
        enum failure_kind kind;
        char text[FAILURE_TEXT_BYTES];
};

/* Fills *failure (may be NULL) and returns `r` (negative errno), so that a caller can write
 *   return failure_set(ret_failure, -EBADMSG, FAILURE_STOP, "journal %s …", path);
 * Text that is too long is cut at a whole character. */
int failure_set(struct failure *failure, int r, enum failure_kind kind, const char *format, ...)
        _printf_(4, 5);

/* Puts "text: " before the sentence that is there already; for callers that know more. */
void failure_prefix(struct failure *failure, const char *format, ...) _printf_(2, 3);

/* The word for the class as `status --json` prints it: "unavailable", "full", … Never NULL. */
const char *failure_kind_name(enum failure_kind kind);

/* The class of a bare errno from a file operation: ENOSPC/EDQUOT → FULL, EIO → STOP,
 * ENOENT/EACCES/EBUSY/EAGAIN/EMFILE … → UNAVAILABLE. */
enum failure_kind failure_kind_of_errno(int r);
