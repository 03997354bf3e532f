/* SPDX-License-Identifier: Apache-2.0 */
/* The schemes that exist, their options, and the check of a URL against them.
 * Constant data and pure functions: the supervisor checks a configuration with them and links no
 * database library (P1). Must not touch: files. */

#include "include/baton/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

/* ---- the tables ------------------------------------------------------------------------------ */
/* clang-format off */
static const char *const clean_up_choices[] = { "keep", "delete", "mark", NULL };

static const struct scheme_option sqlite_source_options[] = {
        { .key = "table", .type = OPTION_IDENTIFIER, .default_text = "outbox",
          .help = "the outbox table" },
        { .key = "seq", .type = OPTION_IDENTIFIER, .default_text = "seq",
          .help = "its INTEGER PRIMARY KEY, which gives the order" },
        { .key = "key", .type = OPTION_IDENTIFIER, .default_text = "key",
          .help = "column: what the event is about" },
        { .key = "type", .type = OPTION_IDENTIFIER, .default_text = "type",
          .help = "column: what happened" },
        { .key = "at", .type = OPTION_IDENTIFIER, .default_text = "at",
          .help = "column: when it happened" },
        { .key = "payload", .type = OPTION_IDENTIFIER, .default_text = "payload",
          .help = "column: the event itself" },
        { .key = "clean-up", .type = OPTION_CHOICE, .default_text = "keep", .choices = clean_up_choices,
          .help = "what becomes of rows that are durable at every destination" },
        { .key = "mark", .type = OPTION_IDENTIFIER, .default_text = "moved_at",
          .help = "column that clean-up=mark fills" },
        { .key = NULL },
};

static const struct scheme_option sqlite_destination_options[] = {
        { .key = "table", .type = OPTION_IDENTIFIER, .default_text = "baton_events",
          .help = "the table that receives the events; made if missing" },
        { .key = NULL },
};

static const struct scheme_option file_destination_options[] = {
        { .key = "rotate-size", .type = OPTION_BYTES, .default_text = "0",
          .help = "begin a new file when this one is larger; 0 = never" },
        { .key = "rotate-time", .type = OPTION_SPAN, .default_text = "0",
          .help = "begin a new file when this one is older; 0 = never" },
        { .key = NULL },
};
/* clang-format on */

static const struct scheme sqlite_source = {
        .name = "sqlite",
        .example = "sqlite:/srv/shop/orders.db?table=outbox",
        .options = sqlite_source_options,
};

static const struct scheme sqlite_destination = {
        .name = "sqlite",
        .example = "sqlite:/var/lib/baton/events.db",
        .guarantee = "exactly-once",
        .options = sqlite_destination_options,
};

static const struct scheme file_destination = {
        .name = "file",
        .example = "file:/var/lib/baton/events?rotate-size=64M",
        .guarantee = "exactly-once",
        .options = file_destination_options,
};

const struct scheme *const source_schemes[] = { &sqlite_source, NULL };
const struct scheme *const destination_schemes[] = { &sqlite_destination, &file_destination, NULL };

/* ---- the check ------------------------------------------------------------------------------- */
#define NAMES_MAX 32

/* "a, b, c" of a NULL-terminated list. */
static void join(const char *const *names, char *ret_text, size_t text_bytes) {
        size_t used = 0;

        ret_text[0] = '\0';
        for (size_t i = 0; names[i] && used < text_bytes; i++) {
                int n = snprintf(ret_text + used, text_bytes - used, "%s%s", i > 0 ? ", " : "", names[i]);

                assert(n >= 0);
                used += (size_t) n;
        }
}

/* Ends a sentence about an unknown word: the nearest valid one, or all of them. */
static int refuse_word(struct failure *ret_failure, const char *what, const char *word,
                       const char *const *names) {
        const char *nearest = text_nearest(word, names);
        char all[200];

        if (nearest)
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP, "%s \"%.60s\": did you mean \"%s\"?",
                                   what, word, nearest);
        join(names, all, sizeof all);
        return failure_set(ret_failure, -EINVAL, FAILURE_STOP, "%s \"%.60s\": it can be %s", what, word,
                           *all ? all : "none, there are no options here");
}

static const struct scheme *scheme_find(const struct scheme *const *schemes, const char *name,
                                        const char *ret_names[NAMES_MAX]) {
        size_t count = 0;

        for (; *schemes; schemes++) {
                assert(count + 1 < NAMES_MAX);
                if (strcmp((*schemes)->name, name) == 0)
                        return *schemes;
                ret_names[count++] = (*schemes)->name;
        }
        ret_names[count] = NULL;
        return NULL;
}

static const struct scheme_option *option_find(const struct scheme *scheme, const char *key,
                                               const char *ret_names[NAMES_MAX]) {
        size_t count = 0;

        for (const struct scheme_option *option = scheme->options; option->key; option++) {
                assert(count + 1 < NAMES_MAX);
                if (strcmp(option->key, key) == 0)
                        return option;
                ret_names[count++] = option->key;
        }
        ret_names[count] = NULL;
        return NULL;
}

static int check_path(const struct scheme *scheme, const struct url *url, struct failure *ret_failure) {
        if (url->path[0] == '/' && url->path[1] == '/')
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "URL \"%s:%.120s\" names a host, but a %s URL has none: write one slash "
                                   "behind the colon, for example %s",
                                   url->scheme, url->path, scheme->name, scheme->example);
        if (url->path[0] != '/')
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "URL \"%s:%.120s\" needs an absolute path, one that begins with a slash, "
                                   "for example %s",
                                   url->scheme, url->path, scheme->example);
        return 0;
}

/* Numbers of all kinds. 0, -EINVAL (not of that shape), -ERANGE. */
static int parse_number(const struct scheme_option *option, const char *text, uint64_t *ret_value) {
        switch (option->type) {
        case OPTION_BYTES:
                return text_parse_bytes(text, ret_value);
        case OPTION_SPAN:
                return clock_parse_span(text, ret_value);
        default:
                assert(option->type == OPTION_NUMBER);
                return text_parse_u64(text, ret_value);
        }
}

static int check_number(const struct scheme_option *option, const char *text, struct failure *ret_failure) {
        static const char *const shapes[] = {
                [OPTION_BYTES] = "a size, for example 4M",
                [OPTION_SPAN] = "a time, for example 50ms or 1h",
                [OPTION_NUMBER] = "a whole number",
        };
        uint64_t value;
        int r;

        r = parse_number(option, text, &value);
        if (r == -EINVAL)
                return failure_set(ret_failure, r, FAILURE_STOP, "option %s: \"%.60s\" is not %s",
                                   option->key, text, shapes[option->type]);
        if (r >= 0 && value < option->minimum)
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "option %s: \"%.60s\" is too small: the least is %" PRIu64 "%s",
                                   option->key, text, option->minimum,
                                   option->type == OPTION_SPAN ? "us" : "");
        if (r < 0 || (option->maximum > 0 && value > option->maximum))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "option %s: \"%.60s\" is too large: the most is %" PRIu64 "%s",
                                   option->key, text, option->maximum > 0 ? option->maximum : UINT64_MAX,
                                   option->type == OPTION_SPAN ? "us" : "");
        return 0;
}

static int check_value(const struct scheme_option *option, const char *text, struct failure *ret_failure) {
        char what[64];
        bool flag;

        switch (option->type) {
        case OPTION_TEXT:
                return 0;
        case OPTION_IDENTIFIER:
                if (text_is_identifier(text))
                        return 0;
                return failure_set(
                        ret_failure, -EINVAL, FAILURE_STOP,
                        "option %s: \"%.60s\" is not a name that SQL takes without quotes (letters, "
                        "digits and \"_\", no digit first, at most 63)",
                        option->key, text);
        case OPTION_CHOICE:
                for (size_t i = 0; option->choices[i]; i++)
                        if (strcmp(option->choices[i], text) == 0)
                                return 0;
                (void) snprintf(what, sizeof what, "option %s: unknown value", option->key);
                return refuse_word(ret_failure, what, text, option->choices);
        case OPTION_BOOL:
                if (text_parse_bool(text, &flag) >= 0)
                        return 0;
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "option %s: \"%.60s\" is neither yes nor no", option->key, text);
        default:
                return check_number(option, text, ret_failure);
        }
}

int option_check(const struct scheme *const *schemes, const struct url *url, const struct scheme **ret_scheme,
                 struct failure *ret_failure) {
        const struct scheme *scheme;
        const char *names[NAMES_MAX];
        int r;

        assert(schemes);
        assert(url);
        assert(ret_scheme);

        scheme = scheme_find(schemes, url->scheme, names);
        if (!scheme)
                return refuse_word(ret_failure, "unknown scheme", url->scheme, names);
        r = check_path(scheme, url, ret_failure);
        if (r < 0)
                return r;
        for (size_t i = 0; i < url->option_count; i++) {
                const struct scheme_option *option = option_find(scheme, url->options[i].key, names);
                char what[64];

                if (!option) {
                        (void) snprintf(what, sizeof what, "unknown option of a %s URL", scheme->name);
                        return refuse_word(ret_failure, what, url->options[i].key, names);
                }
                r = check_value(option, url->options[i].value, ret_failure);
                if (r < 0)
                        return r;
        }
        *ret_scheme = scheme;
        return 0;
}

/* ---- values ---------------------------------------------------------------------------------- */
/* The text of an option that must be in the table: a key that is not is our own mistake. */
static const struct scheme_option *option_value(const struct scheme *scheme, const struct url *url,
                                                const char *key, const char **ret_text) {
        const char *names[NAMES_MAX];
        const struct scheme_option *option;
        const char *text;

        assert(scheme);
        assert(url);
        assert(key);

        option = option_find(scheme, key, names);
        assert(option);
        text = url_get(url, key);
        *ret_text = text ? text : option->default_text;
        return option;
}

const char *option_text(const struct scheme *scheme, const struct url *url, const char *key) {
        const char *text;
        const struct scheme_option *option = option_value(scheme, url, key, &text);

        assert(option->type == OPTION_TEXT || option->type == OPTION_IDENTIFIER ||
               option->type == OPTION_CHOICE);
        return text;
}

uint64_t option_number(const struct scheme *scheme, const struct url *url, const char *key) {
        const char *text;
        const struct scheme_option *option = option_value(scheme, url, key, &text);
        uint64_t value = 0;
        int r;

        assert(option->type == OPTION_BYTES || option->type == OPTION_SPAN || option->type == OPTION_NUMBER);
        assert(text);
        r = parse_number(option, text, &value);
        assert(r >= 0); /* option_check() was before us */
        return value;
}

bool option_bool(const struct scheme *scheme, const struct url *url, const char *key) {
        const char *text;
        const struct scheme_option *option = option_value(scheme, url, key, &text);
        bool value = false;
        int r;

        assert(option->type == OPTION_BOOL);
        assert(text);
        r = text_parse_bool(text, &value);
        assert(r >= 0);
        return value;
}
