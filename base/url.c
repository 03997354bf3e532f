/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a URL apart: SCHEME:PATH[?key=value[&key=value …]], percent-escapes decoded.
 * Must not touch: files; knowledge of schemes (base/option.c has it). */

#include "base/url.h"

#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "base/text.h"

/* Offsets until all is well: *ret_url stays untouched, and its pointers lead into itself. */
struct parser {
        const char *text, *p;
        struct failure *ret_failure;
        char buffer[URL_BYTES * 2];
        size_t used;
        size_t path, keys[URL_OPTION_COUNT_MAX], values[URL_OPTION_COUNT_MAX];
        size_t option_count;
};

/* A sentence that shows the place: the number of the character and what stands there. */
static int refuse(struct parser *parser, const char *at, const char *why) {
        if (*at == '\0')
                return failure_set(parser->ret_failure, -EINVAL, FAILURE_STOP,
                                   "URL \"%.200s\", at its end: %s", parser->text, why);
        return failure_set(parser->ret_failure, -EINVAL, FAILURE_STOP,
                           "URL \"%.160s\", character %zu (\"%.24s\"): %s", parser->text,
                           (size_t) (at - parser->text) + 1, at, why);
}

/* Where a password begins: behind "//USER:", or the value of an option that is called so. NULL: none. By its shape
 * alone, before anything else is looked at: no sentence may show it, whatever else is wrong with the URL. */
static const char *find_password(const char *text) {
        static const char *const keys[] = { "password", "passwd", "pwd", "secret" };
        const char *at = strstr(text, "://"), *end;

        if (at) {
                at += strcspn(at + 3, ":@/?#") + 3;
                if (*at == ':' && at[1] != '@' && strchr(at, '@'))
                        return at + 1;
        }
        for (at = strpbrk(text, "?&"); at; at = strpbrk(at + 1, "?&")) {
                end = at + strcspn(at, "=");
                for (size_t i = 0; *end && end[1] && end[1] != '&' && i < ELEMENTSOF(keys); i++)
                        if ((size_t) (end - at) > strlen(keys[i]) &&
                            strncmp(end - strlen(keys[i]), keys[i], strlen(keys[i])) == 0)
                                return end + 1;
        }
        return NULL;
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* One character, decoded. Control characters are refused: names and paths are shown on one line. */
static int take_character(struct parser *parser, char *ret) {
        const char *at = parser->p;
        int high, low, c = (unsigned char) *at;

        if (c == '%') {
                high = hex_digit(at[1]);
                low = high < 0 ? -1 : hex_digit(at[2]);
                if (low < 0)
                        return refuse(parser, at,
                                      "\"%\" needs two hexadecimal digits behind it (a percent sign "
                                      "itself is written %25)");
                c = high * 16 + low;
                parser->p += 2;
        }
        if (c < 0x20 || c == 0x7f)
                return refuse(parser, at, "control characters have no place in a path or an option");
        parser->p++;
        *ret = (char) c;
        return 0;
}

/* Copies up to one of `stops` or the end; *ret_offset is where it stands in the buffer. */
static int take_until(struct parser *parser, const char *stops, bool decode, size_t *ret_offset) {
        size_t start = parser->used;
        int r;

        while (*parser->p && !strchr(stops, *parser->p)) {
                if (decode) {
                        r = take_character(parser, &parser->buffer[parser->used]);
                        if (r < 0)
                                return r;
                } else
                        parser->buffer[parser->used] = *parser->p++;
                parser->used++;
        }
        parser->buffer[parser->used++] = '\0';
        *ret_offset = start;
        return 0;
}

static int take_scheme(struct parser *parser) {
        size_t length = strspn(parser->p, "abcdefghijklmnopqrstuvwxyz0123456789+.-"), offset;
        const char *at = parser->p + length;

        if (length == 0 || *at != ':')
                return refuse(parser, at,
                              "a URL begins with its scheme in small letters and a colon, for example "
                              "sqlite:/srv/shop/orders.db");
        (void) take_until(parser, ":", false, &offset);
        assert(offset == 0);
        parser->p++;
        return 0;
}

static int take_option(struct parser *parser) {
        const char *at = parser->p;
        size_t i = parser->option_count;
        int r;

        if (i >= URL_OPTION_COUNT_MAX)
                return refuse(parser, at, "too many options");
        (void) take_until(parser, "=&", false, &parser->keys[i]);
        if (*parser->p != '=')
                return refuse(parser, at, "an option is written key=value");
        if (parser->buffer[parser->keys[i]] == '\0')
                return refuse(parser, at, "an option needs a key before \"=\"");
        for (size_t k = 0; k < i; k++)
                if (strcmp(parser->buffer + parser->keys[k], parser->buffer + parser->keys[i]) == 0)
                        return refuse(parser, at, "this option stands here for the second time");
        parser->p++;
        r = take_until(parser, "&", true, &parser->values[i]);
        if (r < 0)
                return r;
        parser->option_count++;
        return 0;
}

static int take_all(struct parser *parser) {
        int r;

        r = take_scheme(parser);
        if (r < 0)
                return r;
        if (*parser->p == '\0' || *parser->p == '?')
                return refuse(parser, parser->p, "there is no path behind the scheme");
        r = take_until(parser, "?", true, &parser->path);
        if (r < 0)
                return r;
        /* '?' before the first option, '&' before each other one. */
        while (*parser->p) {
                parser->p++;
                r = take_option(parser);
                if (r < 0)
                        return r;
        }
        return 0;
}

int url_parse(const char *text, struct url *ret_url, struct failure *ret_failure) {
        struct parser parser = { .text = text, .p = text, .ret_failure = ret_failure };
        const char *password;
        int r;

        assert(text);
        assert(ret_url);

        password = find_password(text);
        if (password)
                return failure_set(
                        ret_failure, -EINVAL, FAILURE_STOP,
                        "URL \"%.*s***\": a password has no place in a URL, which everybody sees who may "
                        "look at Baton (group baton); no scheme here takes one: leave it out",
                        (int) MIN_OF(password - text, 120), text);
        /* Decoding only shortens, and each part's NUL takes the place of a separator, so what is
         * short enough here fits into the buffer. */
        if (strnlen(text, URL_BYTES) >= URL_BYTES)
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "URL \"%.60s…\" is longer than %d bytes: use a shorter path", text,
                                   URL_BYTES - 1);
        r = take_all(&parser);
        if (r < 0)
                return r;

        assert(parser.used <= sizeof ret_url->buffer);
        memcpy(ret_url->buffer, parser.buffer, sizeof ret_url->buffer);
        ret_url->scheme = ret_url->buffer;
        ret_url->path = ret_url->buffer + parser.path;
        ret_url->option_count = parser.option_count;
        for (size_t i = 0; i < parser.option_count; i++)
                ret_url->options[i] = (struct url_option){
                        .key = ret_url->buffer + parser.keys[i],
                        .value = ret_url->buffer + parser.values[i],
                };
        return 0;
}

const char *url_get(const struct url *url, const char *key) {
        assert(url);
        assert(key);

        for (size_t i = 0; i < url->option_count; i++)
                if (strcmp(url->options[i].key, key) == 0)
                        return url->options[i].value;
        return NULL;
}
