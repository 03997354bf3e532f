/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: what it becomes, and each bad input with the words that a person needs (issue: "Bad
 * input"). Rules: V2 (nothing half-read), M14 (one table, one source). */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/config.h"

static char directory[256], path[300];

static void place_make(void) {
        const char *base = getenv("TMPDIR");

        (void) snprintf(directory, sizeof directory, "%s/baton-config.XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(directory));
        (void) snprintf(path, sizeof path, "%s/baton.conf", directory);
}

static void place_remove(void) {
        char command[320];

        (void) snprintf(command, sizeof command, "rm -rf '%s'", directory);
        cr_assert_eq(system(command), 0);
}

TestSuite(config, .init = place_make, .fini = place_remove);

static void file_put(const char *name, const void *text, size_t bytes) {
        char file_path[400];
        FILE *file;

        (void) snprintf(file_path, sizeof file_path, "%s/%s", directory, name);
        file = fopen(file_path, "we");
        cr_assert_not_null(file);
        cr_assert_eq(fwrite(text, 1, bytes, file), bytes);
        cr_assert_eq(fclose(file), 0);
}

static struct config *loads(const char *text) {
        struct config *config = NULL;
        struct failure failure = { 0 };

        file_put("baton.conf", text, strlen(text));
        cr_assert_eq(config_load(path, &config, &failure), 0, "%s", failure.text);
        cr_assert_not_null(config);
        return config;
}

/* Refused, with each of the parts (up to NULL) in the sentence; *config stays as it was. */
static void refused_bytes(const void *text, size_t bytes, const char *part, va_list parts) {
        struct config *config = (void *) &config;
        struct failure failure = { 0 };

        file_put("baton.conf", text, bytes);
        cr_assert_lt(config_load(path, &config, &failure), 0, "accepted: %.200s", (const char *) text);
        cr_assert_eq((void *) config, (void *) &config, "the output was touched");
        for (; part; part = va_arg(parts, const char *))
                cr_assert(strstr(failure.text, part), "\"%s\" is not in: %s", part, failure.text);
}

static void __attribute__((sentinel)) refused(const char *text, const char *part, ...) {
        va_list parts;

        va_start(parts, part);
        refused_bytes(text, strlen(text), part, parts);
        va_end(parts);
}

static void __attribute__((sentinel)) refused_raw(const void *text, size_t bytes, const char *part, ...) {
        va_list parts;

        va_start(parts, part);
        refused_bytes(text, bytes, part, parts);
        va_end(parts);
}

#define EVENTS "[destination events]\nurl = sqlite:/d/events.db\n" /* two lines */
#define ARCHIVE "[destination archive]\nurl = file:/d/archive\n"   /* two lines */

/* ---- good ones -------------------------------------------------------------------------------------- */
Test(config, the_ten_lines_of_the_manual) {
        _cleanup_config_ struct config *config = loads(
                "[destination events]\nurl = sqlite:/var/lib/baton/events.db\nworkers = 2\n\n"
                "[source orders]\nurl = sqlite:/srv/shop/orders.db?table=outbox\nto  = events\n\n"
                "[source payments]\nurl = sqlite:/srv/pay/payments.db?table=outbox\nto  = events\n");

        cr_assert_eq(config->destination_count, 1);
        cr_assert_eq(config->source_count, 2);
        cr_assert_eq(config->session_count, 2);
        cr_assert_str_eq(config->sessions[0].name, "orders");
        cr_assert_str_eq(config->sessions[1].name, "payments");
        cr_assert_str_eq(config->sources[1].url, "sqlite:/srv/pay/payments.db?table=outbox");
        cr_assert_str_eq(config->destinations[0].name, "events");
        cr_assert_eq(config->destinations[0].workers, 2);
        cr_assert_eq(config->sources[1].line, 9);
}

Test(config, what_is_not_said_has_its_default) {
        _cleanup_config_ struct config *config = loads(EVENTS);
        const struct config_destination *events = &config->destinations[0];

        cr_assert_eq(config->stall_timeout_usec, 10 * USEC_PER_SEC);
        cr_assert_eq(config->adopt_timeout_usec, 30 * USEC_PER_SEC);
        cr_assert_eq(config->sessions_max, 4096);
        cr_assert_eq(config->workers_max, 64);
        cr_assert_null(config->bus_name);
        cr_assert_eq(events->workers, 1);
        cr_assert_eq(events->batch_rows, 10000);
        cr_assert_eq(events->batch_bytes, 4 << 20);
        cr_assert_eq(events->batch_usec, 50 * USEC_PER_MSEC);
        cr_assert_eq(events->parked_limit, 1000);
        cr_assert(events->fused);
        cr_assert_not(events->cores);
}

Test(config, every_key_is_read) {
        _cleanup_config_ struct config *config = loads(
                "[baton]\nstall-timeout = 2s\nadopt-timeout = 1min\nsessions = 65536\nmax-workers = 256\n"
                "bus-name = org.baton.Second\n[destination events]\nurl = sqlite:/d/events.db\nworkers = 0\nbatch-rows = 7\n"
                "batch-bytes = 64K\nbatch-time = 3ms\nparked-limit = 0\nfused = no\ncores = yes\n");
        const struct config_destination *events = &config->destinations[0];

        cr_assert_eq(config->stall_timeout_usec, 2 * USEC_PER_SEC);
        cr_assert_eq(config->adopt_timeout_usec, 60 * USEC_PER_SEC);
        cr_assert_eq(config->sessions_max, 65536);
        cr_assert_eq(config->workers_max, 256);
        cr_assert_str_eq(config->bus_name, "org.baton.Second");
        cr_assert_eq(events->workers, 0);
        cr_assert_eq(events->batch_rows, 7);
        cr_assert_eq(events->batch_bytes, 65536);
        cr_assert_eq(events->batch_usec, 3000);
        cr_assert_eq(events->parked_limit, 0);
        cr_assert_not(events->fused);
        cr_assert(events->cores);
}

Test(config, a_source_with_several_destinations_has_a_session_for_each) {
        _cleanup_config_ struct config *config = loads(
                EVENTS ARCHIVE "[source orders]\nurl = sqlite:/s/o.db\nto = events , archive\n"
                               "[source bills]\nurl = sqlite:/s/b.db\nto = archive\n");

        cr_assert_eq(config->session_count, 3);
        cr_assert_str_eq(config->sessions[0].name, "orders/events");
        cr_assert_str_eq(config->sessions[1].name, "orders/archive");
        cr_assert_str_eq(config->sessions[2].name, "bills");
        cr_assert_eq(config->sessions[1].destination, 1);
        cr_assert_eq(config->sources[0].session_count, 2);
        cr_assert_eq(config->sources[1].session_first, 2);
}

Test(config, white_space_comments_crlf_and_a_byte_order_mark_mean_nothing) {
        _cleanup_config_ struct config *config = loads(
                "\xef\xbb\xbf; a comment\r\n   [ destination   events ]   \r\n\turl=sqlite:/d/a;b.db ; behind it\r\n"
                "\r\n# another\r\n  workers : 3\r\n");

        cr_assert_str_eq(config->destinations[0].url, "sqlite:/d/a;b.db");
        cr_assert_eq(config->destinations[0].workers, 3);
}

Test(config, a_value_longer_than_libinih_holds_is_whole) {
        char text[1400], url[900];
        struct config *config;

        /* Every byte where a piece could end is tried once: beginning with ; or # it would be a comment. */
        (void) snprintf(url, sizeof url, "sqlite:/d/");
        while (strlen(url) < 800)
                (void) strcat(url, "x;#y");
        for (size_t bytes = 150; bytes < 800; bytes += 7) {
                (void) snprintf(text, sizeof text, "[destination events]\nurl = %.*s?table=t\nworkers = 2\n",
                                (int) bytes, url);
                config = loads(text);
                cr_assert_eq(strlen(config->destinations[0].url), bytes + 8);
                cr_assert_eq(strncmp(config->destinations[0].url, url, bytes), 0);
                cr_assert_eq(config->destinations[0].workers, 2);
                config_free(config);
        }
}

Test(config, a_name_of_63_characters_is_whole) {
        const char *name = "a23456789-123456789-123456789-123456789-123456789-123456789-123";
        char text[400];
        struct config *config;

        (void) snprintf(text, sizeof text,
                        "[destination %s]\nurl = file:/d\n[source s]\nurl = sqlite:/s\nto = %s\n", name,
                        name);
        config = loads(text);
        cr_assert_str_eq(config->destinations[0].name, name);
        cr_assert_eq(config->session_count, 1);
        config_free(config);
}

/* ---- drop-ins ---------------------------------------------------------------------------------------- */
static void drop_in(const char *name, const char *text) {
        char sub[400];

        (void) snprintf(sub, sizeof sub, "%s.d", path);
        (void) mkdir(sub, 0755);
        (void) snprintf(sub, sizeof sub, "baton.conf.d/%s", name);
        file_put(sub, text, strlen(text));
}

Test(config, drop_ins_override_and_extend_in_lexical_order) {
        struct config *config;

        drop_in("20-b.conf",
                "[destination events]\nworkers = 5\n[source late]\nurl = sqlite:/s/l.db\nto = events\n");
        drop_in("10-a.conf", "[destination events]\nworkers = 4\nbatch-rows = 9\n");
        drop_in("30-c.txt", "[nonsense]\n");
        drop_in(".hidden.conf", "[nonsense]\n");
        config = loads(EVENTS "workers = 3\n");
        cr_assert_eq(config->destinations[0].workers, 5);
        cr_assert_eq(config->destinations[0].batch_rows, 9);
        cr_assert_eq(config->session_count, 1);
        config_free(config);
}

Test(config, an_error_in_a_drop_in_names_it) {
        drop_in("10-a.conf", "\n[destination events]\nworkers = many\n");
        refused(EVENTS, "baton.conf.d/10-a.conf:3:", "[destination events]", "workers", "\"many\"",
                "whole number", NULL);
}

/* ---- credentials ------------------------------------------------------------------------------------- */
/* As systemd names them: the id of LoadCredential=, and the name of the file. */
static void credential(const char *name, const char *text) {
        char sub[400];

        (void) snprintf(sub, sizeof sub, "%s/credentials", directory);
        (void) mkdir(sub, 0755);
        (void) setenv("CREDENTIALS_DIRECTORY", sub, 1);
        (void) snprintf(sub, sizeof sub, "credentials/%s", name);
        file_put(sub, text, strlen(text));
}

Test(config, credentials_are_read_after_the_drop_ins) {
        struct config *config;

        drop_in("90-last.conf", "[destination events]\nworkers = 4\nbatch-rows = 9\n");
        credential("baton_20.conf", "[destination events]\nworkers = 6\n");
        credential("baton_10.conf", "[destination events]\nworkers = 5\n"
                                    "[source secret]\nurl = sqlite:/s/s.db\nto = events\n");
        credential("password", "hunter2");
        config = loads(EVENTS "workers = 3\n");
        cr_expect_eq(config->destinations[0].workers, 6);
        cr_expect_eq(config->destinations[0].batch_rows, 9);
        cr_assert_eq(config->session_count, 1);
        cr_expect_str_eq(config->sessions[0].name, "secret");
        config_free(config);
        (void) setenv("CREDENTIALS_DIRECTORY", "", 1);
        config = loads(EVENTS);
        cr_expect_eq(config->session_count, 0);
        config_free(config);
}

Test(config, an_error_in_a_credential_names_it) {
        credential("baton_10.conf", "\n[destination events]\nworkers = many\n");
        refused(EVENTS, "/credentials/baton_10.conf:3:", "[destination events]", "workers", "\"many\"", NULL);
}

Test(config, a_credential_that_cannot_be_read_is_an_error) {
        char sub[400];

        credential("baton_10.conf", "");
        (void) snprintf(sub, sizeof sub, "%s/credentials/baton_10.conf", directory);
        (void) unlink(sub);
        cr_assert_eq(symlink("baton_10.conf", sub), 0);
        refused(EVENTS, "cannot read the configuration", "/credentials/baton_10.conf", NULL);
        (void) unlink(sub);
        cr_assert_eq(mkdir(sub, 0755), 0);
        refused(EVENTS, "/credentials/baton_10.conf is a directory", NULL);
        (void) setenv("CREDENTIALS_DIRECTORY", "/nonexistent/credentials", 1);
        refused(EVENTS, "/nonexistent/credentials", "No such file", NULL);
}

/* B12, wherever it stands. */
Test(config, a_password_is_in_no_message) {
#define SECRET "postgresql://app:hunter2@db/x"
        static const char *const texts[] = {
                "[destination events]\nurl = " SECRET "\n",
                EVENTS "[source s]\nurl = " SECRET "\nto = events\n",
                "url = " SECRET "\n",
                "[destination events] url = " SECRET "\n",
                "[destination events url = " SECRET "\n",
                EVENTS "= " SECRET "\n",
                EVENTS "ulr = " SECRET "\n",
                EVENTS "url " SECRET "\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                struct config *config = NULL;
                struct failure failure = { 0 };

                file_put("baton.conf", texts[i], strlen(texts[i]));
                cr_assert_lt(config_load(path, &config, &failure), 0, "accepted: %s", texts[i]);
                cr_expect_null(strstr(failure.text, "hunter2"), "%s", failure.text);
        }
        refused(texts[0], "baton.conf:2:", "url: URL \"postgresql://app:***\"", "no place in a URL", NULL);
}

/* ---- bad ones: lines --------------------------------------------------------------------------------- */
Test(config, lines_that_are_no_configuration) {
        char *long_line = malloc(9001);

        refused("url = x\n", "baton.conf:1:", "before any section", "[destination NAME]", NULL);
        refused(EVENTS "workers\n", "baton.conf:3:", "\"workers\"", "neither KEY = VALUE", NULL);
        refused(EVENTS "= 3\n", "baton.conf:3:", "without a key", NULL);
        refused("[destination events\n", "baton.conf:1:", "no closing ]", NULL);
        refused("[destination events] x\n", "baton.conf:1:", "\" x\" stands behind", NULL);
        refused(EVENTS "a23456789-123456789-123456789-123456789-123456789-x = 1\n",
                "baton.conf:3:", "too long for a key", NULL);
        refused_raw("[baton]\nses\0sions = 3\n", 22, "baton.conf:2:", "NUL", NULL);
        memset(long_line, 'x', 9000);
        long_line[9000] = '\0';
        refused(long_line, "baton.conf:1:", "longer than 8192 bytes", NULL);
        free(long_line);
}

Test(config, a_value_that_libinih_could_not_hold_is_refused_not_cut) {
        char text[600] = EVENTS "workers =";

        memset(text + strlen(text), ' ', 400);
        (void) strcat(text, "3\n");
        refused(text, "baton.conf:3:", "in a row", NULL);
}

Test(config, a_file_that_is_not_there) {
        struct config *config = NULL;
        struct failure failure = { 0 };

        cr_assert_lt(config_load("/nonexistent/baton.conf", &config, &failure), 0);
        cr_assert(strstr(failure.text, "/nonexistent/baton.conf") && strstr(failure.text, "No such file") &&
                          strstr(failure.text, "-c FILE"),
                  "%s", failure.text);
}

/* ---- bad ones: sections ------------------------------------------------------------------------------- */
Test(config, sections) {
        refused("\n[sorce orders]\n", "baton.conf:2:", "unknown section [sorce]", "nearest is [source]",
                NULL);
        refused("[zebra]\n", "unknown section [zebra]", "[destination NAME]", NULL);
        refused("[source]\nurl = sqlite:/a\n", "baton.conf:1:", "a source without a name", "[source NAME]",
                NULL);
        refused("[destination ]\n", "a destination without a name", NULL);
        refused("[baton x]\n", "takes no name", NULL);
        refused("[source a/b]\n", "\"a/b\" is no name for a source", NULL);
        refused("[source -a]\n", "\"-a\" is no name", NULL);
        refused(EVENTS "[source o]\nurl = sqlite:/o\nto = events\n[source o]\nurl = sqlite:/p\nto = events\n",
                "baton.conf:6:", "two sections [source o]", "line 3", NULL);
        refused(EVENTS EVENTS, "baton.conf:3:", "two sections [destination events]", "line 1", NULL);
        refused("[baton]\n[baton]\n", "baton.conf:2:", "two sections [baton]", NULL);
}

/* ---- bad ones: keys and values -------------------------------------------------------------------------- */
Test(config, keys) {
        refused(EVENTS "worker = 2\n", "baton.conf:3:", "[destination events]", "no key \"worker\"",
                "nearest is workers", NULL);
        refused("[baton]\nzebra = 2\n", "no key \"zebra\"", "there are stall-timeout", NULL);
        refused(EVENTS "workers = 2\n\nworkers = 3\n", "baton.conf:5:", "workers is given twice", "line 3",
                NULL);
}

Test(config, ranges_are_said) {
        refused(EVENTS "workers = 257\n", "baton.conf:3:", "workers = 257", "out of range: 0 to 256", NULL);
        refused(EVENTS "workers = -1\n", "workers", "not a whole number", NULL);
        refused(EVENTS "workers = 99999999999999999999\n", "out of range: 0 to 256", NULL);
        refused(EVENTS "batch-rows = 0\n", "out of range: 1 to 1000000", NULL);
        refused(EVENTS "batch-bytes = 1K\n", "out of range: 4K to 1G", NULL);
        refused(EVENTS "batch-bytes = lots\n", "\"lots\" is not a size like 4M", NULL);
        refused(EVENTS "batch-time = 1h\n", "out of range: 1ms to 10s", NULL);
        refused(EVENTS "fused = perhaps\n", "\"perhaps\" is not yes or no", NULL);
        refused("[baton]\nstall-timeout = 1ms\n", "baton.conf:2:", "out of range: 100ms to 1h", NULL);
        refused("[baton]\nstall-timeout = soon\n", "not a time like 10s", NULL);
        refused("[baton]\nsessions = 65537\n", "out of range: 1 to 65536", NULL);
        refused("[baton]\nmax-workers = 0\n", "out of range: 1 to 256", NULL);
        refused(EVENTS "workers =\n", "workers = \"\" is not a whole number", NULL);
}

/* The policy lets the service own these, and D-Bus knows what a name is. */
Test(config, names_on_the_bus) {
        static const char *const bad[] = { "yes",           "org.batons",    "org.baton.",
                                           "org.baton.a b", "org.baton.7",   "org.baton..a",
                                           ":1.5",          "com.org.baton", "" };
        char text[400], longest[300];

        config_free(loads("[baton]\nbus-name = org.baton\n"));
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
                (void) snprintf(text, sizeof text, "[baton]\nbus-name = %s\n", bad[i]);
                refused(text, "baton.conf:2:", "bus-name = ", "org.baton", NULL);
        }
        memset(longest, 'x', sizeof longest);
        (void) memcpy(longest, "org.baton.", 10);
        longest[CONFIG_BUS_NAME_BYTES - 1] = '\0';
        (void) snprintf(text, sizeof text, "[baton]\nbus-name = %s\n", longest);
        config_free(loads(text));
        longest[CONFIG_BUS_NAME_BYTES - 1] = 'x';
        longest[CONFIG_BUS_NAME_BYTES] = '\0';
        (void) snprintf(text, sizeof text, "[baton]\nbus-name = %s\n", longest);
        refused(text, "baton.conf:2:", "bus-name = ", NULL);
}

/* ---- bad ones: addresses --------------------------------------------------------------------------------- */
Test(config, addresses) {
        refused("[destination events]\nworkers = 1\n", "baton.conf:1:", "[destination events]", "has no url",
                "url = sqlite:", NULL);
        refused("[destination events]\nurl = sqlte:/a\n", "baton.conf:2:", "\"sqlte\"", "sqlite", NULL);
        refused("[destination events]\nurl = sqlite:a\n", "baton.conf:2:", NULL);
        refused("[destination events]\nurl = sqlite:/a?tabel=x\n", "\"tabel\"", "\"table\"", NULL);
        refused(EVENTS "[source o]\nurl = sqlite:/o?clean-up=burn\nto = events\n",
                "baton.conf:4:", "clean-up", "keep", NULL);
        refused(EVENTS "[source o]\nurl = sqlite:/o?table=a;drop\nto = events\n", "baton.conf:4:", "table",
                NULL);
        refused(EVENTS "[source o]\nto = events\n", "baton.conf:3:", "[source o]", "has no url", NULL);
}

/* ---- bad ones: what goes where ---------------------------------------------------------------------------- */
Test(config, destinations_of_a_source) {
        refused(EVENTS "[source o]\nurl = sqlite:/o\n", "baton.conf:3:", "[source o]", "names no destination",
                NULL);
        refused(EVENTS "[source o]\nurl = sqlite:/o\nto =\n", "baton.conf:5:", "names no destination", NULL);
        refused(EVENTS "[source o]\nurl = sqlite:/o\nto = evnts\n", "baton.conf:5:", "to = evnts",
                "nearest is events", NULL);
        refused(EVENTS "[source o]\nurl = sqlite:/o\nto = zebra\n", "[destination zebra]", NULL);
        refused(EVENTS "[source o]\nurl = sqlite:/o\nto = events,,events\n", "a name is missing", NULL);
        refused(EVENTS "[source o]\nurl = sqlite:/o\nto = events, events\n", "names events twice", NULL);
        refused(EVENTS "[destination too]\nurl = sqlite:/d/events.db?table=other\n"
                       "[source o]\nurl = sqlite:/o\nto = events, too\n",
                "baton.conf:7:", "events and too are the same place", NULL);
}

Test(config, M14_two_sources_on_one_table_of_which_one_cleans) {
        refused(EVENTS "[source a]\nurl = sqlite:/o?table=t&clean-up=delete\nto = events\n"
                       "[source b]\nurl = sqlite:/o?table=t\nto = events\n",
                "baton.conf:7:", "source a reads the same table", NULL);
        config_free(loads(EVENTS "[source a]\nurl = sqlite:/o?table=t&clean-up=delete\nto = events\n"
                                 "[source b]\nurl = sqlite:/o?table=u\nto = events\n"));
        config_free(loads(EVENTS "[source a]\nurl = sqlite:/o?table=t\nto = events\n"
                                 "[source b]\nurl = sqlite:/o?table=t\nto = events\n"));
}

/* ---- limits over all of it ---------------------------------------------------------------------------------- */
static char *many(const char *head, const char *format, unsigned count) {
        size_t bytes = 0;
        char *text = NULL;
        FILE *file = open_memstream(&text, &bytes);

        (void) fputs(head, file);
        for (unsigned i = 0; i < count; i++)
                (void) fprintf(file, format, i, i);
        (void) fclose(file);
        return text;
}

Test(config, limits) {
        _cleanup_free_ char *destinations = many("", "[destination d%u]\nurl = sqlite:/d/%u\nworkers = 0\n",
                                                 65);
        _cleanup_free_ char *sessions = many("[baton]\nsessions = 3\n" EVENTS,
                                             "[source s%u]\nurl = sqlite:/s/%u\nto = events\n", 4);

        refused(destinations, "baton.conf:193:", "[destination d64]", "one destination too many", "64", NULL);
        refused(sessions, "baton.conf:16:", "[source s3]", "sessions = 3", "65536", NULL);
        refused("[baton]\nmax-workers = 3\n" EVENTS "workers = 2\n" ARCHIVE "workers = 2\n",
                "baton.conf:8:", "[destination archive]", "4 workers in all", "max-workers = 3", NULL);
}

Test(config, sixty_five_thousand_sources) {
        _cleanup_free_ char *text = many("[baton]\nsessions = 65536\n" EVENTS,
                                         "[source s%u]\nurl = sqlite:/s/%u.db\nto = events\n", 65536);
        _cleanup_config_ struct config *config = loads(text);

        cr_assert_eq(config->session_count, 65536);
        cr_assert_str_eq(config->sessions[65535].name, "s65535");
        cr_assert_eq(config_find_session(config, "s65535"), 65535);
}

Test(config, names_are_found_and_guessed) {
        _cleanup_config_ struct config *config = loads(
                EVENTS ARCHIVE "[source orders]\nurl = sqlite:/o\nto = events, archive\n");

        cr_assert_eq(config_find_destination(config, "archive"), 1);
        cr_assert_eq(config_find_destination(config, "nothing"), UINT32_MAX);
        cr_assert_eq(config_find_session(config, "orders/archive"), 1);
        cr_assert_eq(config_find_session(config, "orders"), UINT32_MAX);
        cr_assert_str_eq(config_nearest_destination(config, "archiv"), "archive");
        cr_assert_null(config_nearest_destination(config, "zebra"));
        cr_assert_str_eq(config_nearest_session(config, "ordrs/events"), "orders/events");
}
