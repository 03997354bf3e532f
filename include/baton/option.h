/* SPDX-License-Identifier: Apache-2.0 */
/* Options of sources and destinations: one table for each scheme, with its help in it.
 *
 * A table is data alone: the supervisor, which links no database library, checks a configuration
 * against it (an unknown key is an error that names the nearest valid one), `baton help` prints it,
 * and the source or destination reads its values through it. Values come from the URL's query
 * (`sqlite:/srv/shop.db?table=outbox`). Everything here is thread-safe and fork-safe: constant data
 * and pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/url.h"

enum option_type {
        OPTION_TEXT,       /* any text */
        OPTION_IDENTIFIER, /* SQL identifier, text_is_identifier() */
        OPTION_CHOICE,     /* one of `choices` */
        OPTION_BYTES,      /* 4M; minimum ≤ value ≤ maximum */
        OPTION_SPAN,       /* 50ms; in microseconds */
        OPTION_NUMBER,
        OPTION_BOOL,
};

struct scheme_option {
        const char *key;
        enum option_type type;
        const char *default_text;   /* NULL: unset */
        const char *const *choices; /* OPTION_CHOICE: NULL-terminated */
        uint64_t minimum, maximum;  /* numbers; maximum 0 = no bound */
        const char *help;           /* one line */
};

/* What one scheme is on one side. Ends of tables: `key == NULL`. */
struct scheme {
        const char *name;      /* "sqlite", "file" */
        const char *example;   /* a complete URL, for messages */
        const char *guarantee; /* destinations: "exactly-once" */
        const struct scheme_option *options;
};

/* The schemes that exist; NULL-terminated. Defined in base/option.c, data only. */
extern const struct scheme *const source_schemes[];
extern const struct scheme *const destination_schemes[];

/* Finds the scheme of a parsed URL and checks path, every key and every value against its table.
 * 0 and *ret_scheme; -EINVAL and a sentence (unknown scheme or key: the nearest valid one is named). */
int option_check(const struct scheme *const *schemes, const struct url *url, const struct scheme **ret_scheme,
                 struct failure *ret_failure);

/* Values, after option_check() succeeded; the default where the URL says nothing.
 * Asserts that the key is in the table with that type. */
const char *option_text(const struct scheme *scheme, const struct url *url, const char *key);
uint64_t option_number(const struct scheme *scheme, const struct url *url, const char *key);
bool option_bool(const struct scheme *scheme, const struct url *url, const char *key);
