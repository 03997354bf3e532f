/* SPDX-License-Identifier: Apache-2.0 */
/* Words that a person wrote: URLs and their options, numbers, sizes, times, names; and texts of others on
 * their way to a screen. One input is one text, with a number before it. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/url.h"
#include "include/baton/option.h"
#include "supervisor/cli/format.h"
#include "tests/fuzz/lib/fuzz.h"

/* ---- URLs ------------------------------------------------------------------------------------------ */
static size_t escape(const char *text, const char *plain, char *out) {
        size_t used = 0;

        for (; *text; text++)
                if (strchr(plain, *text))
                        used += (size_t) sprintf(out + used, "%%%02X", (unsigned char) *text);
                else
                        out[used++] = *text;
        out[used] = '\0';
        return used;
}

/* What was taken apart, put together again, is taken apart into the same. */
static void expect_same_again(const struct url *url) {
        char text[URL_BYTES * 8];
        struct failure failure;
        struct url again;
        size_t used;

        used = (size_t) sprintf(text, "%s:", url->scheme);
        used += escape(url->path, "?%", text + used);
        for (size_t i = 0; i < url->option_count; i++) {
                used += (size_t) sprintf(text + used, "%c%s=", i ? '&' : '?', url->options[i].key);
                used += escape(url->options[i].value, "&%", text + used);
        }
        if (used >= URL_BYTES)
                return;
        fuzz_must(url_parse(text, &again, &failure) == 0, "%s: %s", text, failure.text);
        fuzz_must(strcmp(again.scheme, url->scheme) == 0 && strcmp(again.path, url->path) == 0, "%s", text);
        fuzz_must(again.option_count == url->option_count, "%s", text);
        for (size_t i = 0; i < url->option_count; i++)
                fuzz_must(strcmp(again.options[i].value, url->options[i].value) == 0, "%s", text);
}

static void check_options(const struct scheme *const *schemes, const struct url *url) {
        const struct scheme *scheme = NULL;
        struct failure failure = { 0 };
        int r;

        r = option_check(schemes, url, &scheme, &failure);
        if (r < 0) {
                fuzz_must_be_told(r, &failure);
                fuzz_must(!scheme, "the output was touched");
                return;
        }
        /* option_check() was there: none of these may assert. */
        for (const struct scheme_option *option = scheme->options; option->key; option++)
                if (option->type == OPTION_BOOL)
                        (void) option_bool(scheme, url, option->key);
                else if (option->type == OPTION_BYTES || option->type == OPTION_SPAN ||
                         option->type == OPTION_NUMBER)
                        (void) option_number(scheme, url, option->key);
                else
                        fuzz_must(option_text(scheme, url, option->key), "%s", option->key);
}

static void check_url(const char *text) {
        struct failure failure = { 0 };
        struct url url = { .scheme = NULL };
        int r;

        r = url_parse(text, &url, &failure);
        if (r < 0) {
                fuzz_must_be_told(r, &failure);
                fuzz_must(!url.scheme, "the output was touched");
                return;
        }
        fuzz_must(*url.scheme && *url.path && url.option_count <= URL_OPTION_COUNT_MAX, "%s", text);
        (void) url_get(&url, "table");
        expect_same_again(&url);
        check_options(source_schemes, &url);
        check_options(destination_schemes, &url);
}

/* ---- numbers, times, names -------------------------------------------------------------------------- */
static void check_words(const char *text, uint64_t number) {
        char copy[NAME_BYTES], span[CLOCK_TEXT_BYTES], figure[FORMAT_BYTES];
        uint64_t value = 17;
        bool yes;

        if (text_parse_u64(text, &value) >= 0) {
                (void) snprintf(copy, sizeof(copy), "%llu", (unsigned long long) value);
                fuzz_must(strcmp(text + strspn(text, "0"), copy) == 0 || value == 0, "%s is not %s", text,
                          copy);
        } else
                fuzz_must(value == 17, "the output was touched");
        (void) text_parse_bytes(text, &value);
        (void) clock_parse_span(text, &value);
        (void) text_parse_bool(text, &yes);
        if (text_is_name(text) || text_is_identifier(text))
                fuzz_must(strlen(text) < NAME_BYTES && text_is_harmless(text, strlen(text), ""), "%s", text);
        if (text_copy(copy, sizeof(copy), text) >= 0)
                fuzz_must(strcmp(copy, text) == 0, "%s", text);
        (void) text_nearest(text, (const char *const[]){ "batch-rows", "table", text, "", NULL });
        clock_format_span(number, span, sizeof(span));
        clock_format(number, span, sizeof(span));
        (void) format_count(number, figure);
        (void) format_size(number, figure);
        (void) format_span(number, figure);
}

/* ---- texts of others --------------------------------------------------------------------------------- */
static void check_foreign(const char *field, size_t bytes, size_t room) {
        char text[256];

        room = 1 + room % sizeof(text);
        format_foreign(field, bytes, text, room);
        fuzz_must(strlen(text) < room, "it has no end");
        fuzz_must(text_is_harmless(text, strlen(text), ""), "a terminal may obey \"%s\"", text);
        (void) format_width(text);
}

static void check_failure(const char *text) {
        struct failure failure = { 0 };

        fuzz_must_be_told(failure_set(&failure, -5, FAILURE_STOP, "it is about \"%s\"", text), &failure);
        failure_prefix(&failure, "%.9s", text);
        fuzz_must_be_told(-5, &failure);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);
        uint64_t number = input_u64(&input);
        size_t text_bytes = (size_t) (input.end - input.at);
        char *text = strndup((const char *) input.at, text_bytes);

        fuzz_must(text, "no memory");
        check_foreign((const char *) input.at, text_bytes, (size_t) number);
        check_url(text);
        check_words(text, number);
        check_failure(text);
        free(text);
        return 0;
}
