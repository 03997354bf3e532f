/* SPDX-License-Identifier: Apache-2.0 */
/* Options: each wrong URL of a configuration gets a sentence that helps; values and defaults. */

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "base/text.h"
#include "include/baton/option.h"

static int check(const struct scheme *const *schemes, const char *text, struct url *url,
                 const struct scheme **ret_scheme, struct failure *failure) {
        cr_assert_eq(url_parse(text, url, failure), 0, "%s", failure->text);
        return option_check(schemes, url, ret_scheme, failure);
}

Test(option, values_and_defaults) {
        const struct scheme *scheme = NULL;
        struct failure failure;
        struct url url;

        cr_assert_eq(check(source_schemes, "sqlite:/x?table=box&clean-up=mark", &url, &scheme, &failure), 0);
        cr_assert_str_eq(scheme->name, "sqlite");
        cr_assert_str_eq(option_text(scheme, &url, "table"), "box");
        cr_assert_str_eq(option_text(scheme, &url, "clean-up"), "mark");
        cr_assert_str_eq(option_text(scheme, &url, "seq"), "seq");
        cr_assert_str_eq(option_text(scheme, &url, "mark"), "moved_at");

        cr_assert_eq(check(destination_schemes, "sqlite:/x", &url, &scheme, &failure), 0);
        cr_assert_str_eq(option_text(scheme, &url, "table"), "baton_events");
        cr_assert_str_eq(scheme->guarantee, "exactly-once");

        cr_assert_eq(check(destination_schemes, "file:/x?rotate-size=64M", &url, &scheme, &failure), 0);
        cr_assert_eq(option_number(scheme, &url, "rotate-size"), 64 << 20);
        cr_assert_eq(option_number(scheme, &url, "rotate-time"), 0);
        cr_assert_eq(check(destination_schemes, "file:/x?rotate-time=1h", &url, &scheme, &failure), 0);
        cr_assert_eq(option_number(scheme, &url, "rotate-time"), 3600 * USEC_PER_SEC);
}

/* Every table is sound: an example that passes its own check, a default that is a legal value, help. */
static void examine(const struct scheme *const *schemes) {
        for (; *schemes; schemes++) {
                const struct scheme *found = NULL;
                struct failure failure;
                struct url url;

                cr_assert_eq(check(schemes, (*schemes)->example, &url, &found, &failure), 0, "%s",
                             failure.text);
                cr_assert_eq(found, *schemes);
                for (const struct scheme_option *option = (*schemes)->options; option->key; option++) {
                        char text[256];

                        cr_assert_not_null(option->help, "%s", option->key);
                        cr_assert_not_null(option->default_text, "%s", option->key);
                        (void) snprintf(text, sizeof text, "%s:/x?%s=%s", (*schemes)->name, option->key,
                                        option->default_text);
                        cr_assert_eq(check(schemes, text, &url, &found, &failure), 0, "%s", failure.text);
                }
        }
}

Test(option, every_table_is_sound) {
        examine(source_schemes);
        examine(destination_schemes);
}

static const struct {
        bool destination;
        const char *text, *sentence;
} bad[] = {
        { false, "sqlit:/x", "unknown scheme \"sqlit\": did you mean \"sqlite\"?" },
        { false, "kafka:/x", "unknown scheme \"kafka\": it can be sqlite" },
        { true, "oracle:/x", "it can be sqlite, file" },
        { false, "file:/x", "unknown scheme \"file\": it can be sqlite" }, /* no source reads files yet */
        { false, "sqlite:x.db", "needs an absolute path" },
        { false, "sqlite://host/x.db", "names a host" },
        { false, "sqlite:/x?tabel=y", "unknown option of a sqlite URL \"tabel\": did you mean \"table\"?" },
        { false, "sqlite:/x?rotate-size=1", "\"rotate-size\": it can be table, seq, key, type" },
        { false, "sqlite:/x?table=a%20b", "option table: \"a b\" is not a name" },
        { false, "sqlite:/x?table=", "option table: \"\" is not a name" },
        { false, "sqlite:/x?seq=1;drop", "option seq" },
        { false, "sqlite:/x?clean-up=delet", "unknown value \"delet\": did you mean \"delete\"?" },
        { false, "sqlite:/x?clean-up=never-ever", "it can be keep, delete, mark" },
        { true, "file:/x?rotate-size=big", "\"big\" is not a size" },
        { true, "file:/x?rotate-size=99999999999999999999", "too large" },
        { true, "file:/x?rotate-time=1w", "\"1w\" is not a time" },
};

Test(option, says_what_is_wrong) {
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                const struct scheme *scheme = NULL;
                struct failure failure = { 0 };
                struct url url;

                cr_assert_eq(check(bad[i].destination ? destination_schemes : source_schemes, bad[i].text,
                                   &url, &scheme, &failure),
                             -EINVAL, "%s", bad[i].text);
                cr_assert_not_null(strstr(failure.text, bad[i].sentence), "%s gave: %s", bad[i].text,
                                   failure.text);
                cr_assert_null(scheme, "untouched on failure");
        }
}

/* The types that no scheme uses yet are checked all the same. */
static const struct scheme_option other_options[] = {
        { .key = "count", .type = OPTION_NUMBER, .default_text = "5", .minimum = 2, .maximum = 9 },
        { .key = "wait", .type = OPTION_SPAN, .default_text = "1ms", .minimum = 10, .maximum = 1000 },
        { .key = "flag", .type = OPTION_BOOL, .default_text = "no" },
        { .key = "text", .type = OPTION_TEXT },
        { .key = NULL },
};
static const struct scheme other = { .name = "other", .example = "other:/x", .options = other_options };
static const struct scheme *const others[] = { &other, NULL };

Test(option, other_types) {
        const struct scheme *scheme = NULL;
        struct failure failure;
        struct url url;

        cr_assert_eq(check(others, "other:/x?count=9&wait=10us&flag=yes&text=any%20thing", &url, &scheme,
                           &failure),
                     0);
        cr_assert_eq(option_number(scheme, &url, "count"), 9);
        cr_assert_eq(option_number(scheme, &url, "wait"), 10);
        cr_assert(option_bool(scheme, &url, "flag"));
        cr_assert_str_eq(option_text(scheme, &url, "text"), "any thing");

        cr_assert_eq(check(others, "other:/x", &url, &scheme, &failure), 0);
        cr_assert_eq(option_number(scheme, &url, "count"), 5);
        cr_assert_not(option_bool(scheme, &url, "flag"));
        cr_assert_null(option_text(scheme, &url, "text"));

        cr_assert_eq(check(others, "other:/x?count=10", &url, &scheme, &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "the most is 9"), "%s", failure.text);
        cr_assert_eq(check(others, "other:/x?count=1", &url, &scheme, &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "the least is 2"), "%s", failure.text);
        cr_assert_eq(check(others, "other:/x?count=4M", &url, &scheme, &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "not a whole number"), "%s", failure.text);
        cr_assert_eq(check(others, "other:/x?wait=2ms", &url, &scheme, &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "the most is 1000us"), "%s", failure.text);
        cr_assert_eq(check(others, "other:/x?flag=maybe", &url, &scheme, &failure), -EINVAL);
        cr_assert_not_null(strstr(failure.text, "neither yes nor no"), "%s", failure.text);
}
