/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of a source or destination: SCHEME:PATH[?key=value[&key=value …]].
 * Percent-escapes are decoded in path and values. The path of `sqlite:` and `file:` is absolute. One with a
 * password is refused (B12). */
#pragma once

#include <stddef.h>

#include "base/failure.h"

#define URL_BYTES 1024
#define URL_OPTION_COUNT_MAX 32

struct url_option {
        const char *key, *value; /* point into url->buffer */
};

struct url {
        const char *scheme, *path; /* point into buffer */
        struct url_option options[URL_OPTION_COUNT_MAX];
        size_t option_count;
        char buffer[URL_BYTES * 2];
};

/* Parses; -EINVAL with a sentence that shows the place, untouched *ret_url on failure. A key twice is
 * an error. Does not know which schemes exist: option_check() does. */
int url_parse(const char *text, struct url *ret_url, struct failure *ret_failure);

/* The option's value or NULL. */
const char *url_get(const struct url *url, const char *key);
