/* SPDX-License-Identifier: Apache-2.0 */
/* URLs: what they take apart into, and the sentence for each that is wrong. */

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "base/url.h"

Test(url, takes_apart) {
        struct url url;

        cr_assert_eq(url_parse("sqlite:/srv/shop.db?table=outbox&clean-up=delete&x=", &url, NULL), 0);
        cr_assert_str_eq(url.scheme, "sqlite");
        cr_assert_str_eq(url.path, "/srv/shop.db");
        cr_assert_eq(url.option_count, 3);
        cr_assert_str_eq(url_get(&url, "table"), "outbox");
        cr_assert_str_eq(url_get(&url, "clean-up"), "delete");
        cr_assert_str_eq(url_get(&url, "x"), "");
        cr_assert_null(url_get(&url, "y"));
        cr_assert_null(url_get(&url, "tabl"));
}

Test(url, decodes_path_and_values) {
        struct url url;

        cr_assert_eq(url_parse("file:/a%20b%3fc%25%C3%A4?k=%26%3D+=x", &url, NULL), 0);
        cr_assert_str_eq(url.path, "/a b?c%ä");
        cr_assert_str_eq(url_get(&url, "k"), "&=+=x", "\"+\" is a plus; a second \"=\" belongs to the value");
        cr_assert_eq(url_parse("sqlite:relative?a=b?c", &url, NULL), 0);
        cr_assert_str_eq(url.path, "relative", "schemes decide what a path must be");
        cr_assert_str_eq(url_get(&url, "a"), "b?c");
}

static const struct {
        const char *text, *sentence; /* a part of it */
} bad[] = {
        { "", "at its end: a URL begins with its scheme" },
        { "/srv/shop.db", "character 1 (\"/srv/shop.db\"): a URL begins" },
        { "SQLite:/x", "character 1 (\"SQLite:/x\")" },
        { ":/x", "character 1 (\":/x\")" },
        { "sqlite", "at its end" },
        { "sqlite:", "at its end: there is no path" },
        { "sqlite:?table=x", "character 8 (\"?table=x\"): there is no path" },
        { "sqlite:/x?", "at its end: an option is written key=value" },
        { "sqlite:/x?table", "character 11 (\"table\"): an option is written key=value" },
        { "sqlite:/x?table&a=b", "character 11 (\"table&a=b\"): an option is written key=value" },
        { "sqlite:/x?=b", "character 11 (\"=b\"): an option needs a key" },
        { "sqlite:/x?a=b&", "at its end: an option is written" },
        { "sqlite:/x?a=b&&c=d", "character 15 (\"&c=d\"): an option is written" },
        { "sqlite:/x?a=b&c=d&a=e", "character 19 (\"a=e\"): this option stands here for the second time" },
        { "sqlite:/x%2", "character 10 (\"%2\"): \"%\" needs two" },
        { "sqlite:/x%zz/y", "character 10 (\"%zz/y\"): \"%\" needs two" },
        { "sqlite:/x%", "character 10 (\"%\")" },
        { "sqlite:/x%00", "character 10 (\"%00\"): control characters" },
        { "sqlite:/x?a=%0a", "character 13 (\"%0a\"): control characters" },
        { "sqlite:/x\ty", "control characters" },
};

Test(url, says_what_is_wrong_and_where) {
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                struct failure failure = { 0 };
                struct url url, before;

                memset(&url, 0x5a, sizeof url);
                before = url;
                cr_assert_eq(url_parse(bad[i].text, &url, &failure), -EINVAL, "\"%s\"", bad[i].text);
                cr_assert_eq(failure.kind, FAILURE_STOP);
                cr_assert_not_null(strstr(failure.text, bad[i].sentence), "\"%s\" gave: %s", bad[i].text,
                                   failure.text);
                cr_assert_eq(memcmp(&url, &before, sizeof url), 0, "untouched on failure");
        }
}

Test(url, B12_a_password_is_refused_and_shown_nowhere) {
        static const struct {
                const char *text, *shown;
        } with[] = {
                { "postgresql://app:hunter2@db/x", "\"postgresql://app:***\"" },
                { "postgresql://app:hunter2@db", "\"postgresql://app:***\"" },
                { "postgresql://app:hun/ter2@db/x", "\"postgresql://app:***\"" },
                { "postgresql://app:hun?ter2@db/x", "\"postgresql://app:***\"" },
                { "postgresql://:hunter2@db/x%zz", "\"postgresql://:***\"" },
                { "://app:hunter2@db/x", "\"://app:***\"" },
                { "sqlite://app:hunter2@/x?table", "\"sqlite://app:***\"" },
                { "postgresql://db/x?password=hunter2", "x?password=***\"" },
                { "postgresql://db/x?a=b&sslpassword=hunter2&c=%zz", "&sslpassword=***\"" },
                { "sqlite:/x?passwd=hunter2", "?passwd=***\"" },
        };

        for (size_t i = 0; i < ELEMENTSOF(with); i++) {
                struct failure failure = { 0 };
                struct url url;

                cr_assert_eq(url_parse(with[i].text, &url, &failure), -EINVAL, "\"%s\"", with[i].text);
                cr_expect_not_null(strstr(failure.text, with[i].shown), "\"%s\" gave: %s", with[i].text,
                                   failure.text);
                cr_expect_not_null(strstr(failure.text, "no place in a URL"), "%s", failure.text);
                cr_expect_null(strstr(failure.text, "ter2"), "%s", failure.text);
        }
}

Test(url, B12_what_only_looks_like_a_password_is_none) {
        static const char *const without[] = {
                "sqlite:/srv/a:b@c/x.db",   "sqlite:/srv/x.db?table=a@b",
                "file:/srv/app:1/password", "file:/srv/password=x",
                "sqlite://db:/x",           "postgresql://app:@db/x",
                "sqlite:///srv/a:b@c",      "postgresql://app@db:1/a@b",
                "file:/x?password=&a=b",
        };
        struct failure failure;
        struct url url;

        for (size_t i = 0; i < ELEMENTSOF(without); i++)
                cr_expect_eq(url_parse(without[i], &url, &failure), 0, "\"%s\": %s", without[i],
                             failure.text);
}

Test(url, length_and_number_are_bounded) {
        char text[URL_BYTES + 1] = "sqlite:/";
        struct failure failure;
        struct url url;

        memset(text + 8, 'x', sizeof text - 8);
        text[URL_BYTES] = '\0';
        cr_assert_eq(url_parse(text, &url, &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "longer than 1023 bytes"));
        text[URL_BYTES - 1] = '\0';
        cr_assert_eq(url_parse(text, &url, NULL), 0);
        cr_assert_eq(strlen(url.path), URL_BYTES - 1 - strlen("sqlite:"));

        strcpy(text, "sqlite:/x");
        for (int i = 0; i < URL_OPTION_COUNT_MAX; i++)
                (void) sprintf(text + strlen(text), "%ck%d=v", i ? '&' : '?', i);
        cr_assert_eq(url_parse(text, &url, NULL), 0);
        cr_assert_eq(url.option_count, URL_OPTION_COUNT_MAX);
        cr_assert_str_eq(url_get(&url, "k31"), "v");
        strcat(text, "&one=more");
        cr_assert_eq(url_parse(text, &url, &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "too many options"));
}
