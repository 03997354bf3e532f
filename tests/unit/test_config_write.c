/* SPDX-License-Identifier: Apache-2.0 */
/* U6: a configuration written as text and read back is the very same, whatever it was made of. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/config.h"
#include "tests/unit/text_put.h"

static char directory[256];

static void place_make(void) {
        const char *base = getenv("TMPDIR");

        (void) snprintf(directory, sizeof directory, "%s/baton-write.XXXXXX", base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(directory));
}

static void place_remove(void) {
        char command[320];

        (void) snprintf(command, sizeof command, "rm -rf '%s'", directory);
        cr_assert_eq(system(command), 0);
}

TestSuite(config_write, .init = place_make, .fini = place_remove);

static void put(const char *name, const char *text) {
        text_put(directory, name, text);
}

static struct config *load(const char *name) {
        struct config *config = NULL;
        struct failure failure = { 0 };
        char path[400];

        (void) snprintf(path, sizeof path, "%s/%s", directory, name);
        cr_assert_eq(config_load(path, &config, &failure), 0, "%s", failure.text);
        return config;
}

/* The whole of struct config but for files and lines. A key that is new stands in neither: the count below says so. */
static void expect_same(const struct config *a, const struct config *b) {
        cr_assert_eq(a->stall_timeout_usec, b->stall_timeout_usec);
        cr_assert_eq(a->adopt_timeout_usec, b->adopt_timeout_usec);
        cr_assert_eq(a->sessions_max, b->sessions_max);
        cr_assert_eq(a->workers_max, b->workers_max);
        cr_assert_str_eq(a->bus_name ? a->bus_name : "no", b->bus_name ? b->bus_name : "no");
        cr_assert_eq(a->destination_count, b->destination_count);
        cr_assert_eq(a->source_count, b->source_count);
        cr_assert_eq(a->session_count, b->session_count);
        for (uint32_t i = 0; i < a->destination_count; i++) {
                const struct config_destination *x = &a->destinations[i], *y = &b->destinations[i];

                cr_assert_str_eq(x->name, y->name);
                cr_assert_str_eq(x->url, y->url);
                cr_assert(x->workers == y->workers && x->batch_rows == y->batch_rows &&
                          x->batch_bytes == y->batch_bytes && x->batch_usec == y->batch_usec &&
                          x->parked_limit == y->parked_limit && x->fused == y->fused && x->cores == y->cores);
        }
        for (uint32_t i = 0; i < a->source_count; i++) {
                const struct config_source *x = &a->sources[i], *y = &b->sources[i];

                cr_assert_str_eq(x->name, y->name);
                cr_assert_str_eq(x->url, y->url);
                cr_assert(x->session_first == y->session_first && x->session_count == y->session_count);
        }
        for (uint32_t i = 0; i < a->session_count; i++) {
                cr_assert_str_eq(a->sessions[i].name, b->sessions[i].name);
                cr_assert(a->sessions[i].source == b->sessions[i].source &&
                          a->sessions[i].destination == b->sessions[i].destination);
        }
}

static void survives(const char *text) {
        _cleanup_config_ struct config *config = NULL, *again = NULL;
        _cleanup_free_ char *written = NULL, *rewritten = NULL;

        put("baton.conf", text);
        config = load("baton.conf");
        cr_assert_eq(config_write(config, &written), 0);
        put("written.conf", written);
        again = load("written.conf");
        expect_same(config, again);
        cr_assert_eq(config_write(again, &rewritten), 0);
        cr_assert_str_eq(written, rewritten);
}

Test(config_write, U6_defaults) {
        survives("[destination d]\nurl = sqlite:/d.db\n[source s]\nurl = sqlite:/s.db\nto = d\n");
}

Test(config_write, U6_nothing_at_all) {
        survives("");
}

/* None of the values is a default, and none of the sections is in the order of its name. */
Test(config_write, U6_every_key) {
        _cleanup_config_ struct config *config = NULL;
        size_t keys = 0;

        survives("[baton]\nstall-timeout = 1500ms\nadopt-timeout = 2min\nsessions = 77\nmax-workers = 13\n"
                 "bus-name = org.baton.Second\n"
                 "[destination z]\nurl = sqlite:/z.db\nworkers = 3\nbatch-rows = 17\nbatch-bytes = 5000\n"
                 "batch-time = 1234us\nparked-limit = 0\nfused = no\ncores = yes\n"
                 "[destination a]\nurl = file:/a/%25Y.jsonl\nworkers = 0\n"
                 "[source y]\nurl = sqlite:/y.db?table=outbox&clean-up=delete\nto = z,a\n"
                 "[source b]\nurl = sqlite:/b.db\nto = a\n");
        config = load("baton.conf");
        cr_assert_eq(config->stall_timeout_usec, 1500000);
        cr_assert_str_eq(config->bus_name, "org.baton.Second");
        cr_assert_eq(config->destinations[0].batch_usec, 1234);
        for (unsigned section = 0; section < CONFIG_SECTION_COUNT; section++)
                for (const struct config_key *key = config_keys[section]; key->key; key++)
                        keys++;
        cr_assert_eq(keys, 15, "a key is new: config_write() and this test have to know it");
}

Test(config_write, U6_drop_ins_become_one_file) {
        char path[400];

        (void) snprintf(path, sizeof path, "%s/baton.conf.d", directory);
        cr_assert_eq(mkdir(path, 0700), 0);
        put("baton.conf.d/10.conf",
            "[destination d]\nworkers = 5\nbatch-rows = 9\n[source t]\nurl = sqlite:/t.db\nto = d\n");
        put("baton.conf.d/20.conf", "[destination d]\nworkers = 6\n");
        survives(
                "[destination d]\nurl = sqlite:/d.db\nworkers = 1\n[source s]\nurl = sqlite:/s.db\nto = d ; all\n");
}

/* As long as they may be, and with every byte that the reader of a line could take for something else. */
Test(config_write, U6_long_and_strange_values) {
        static char text[16384], to[8192];
        char name[80], other[80];
        size_t used = 0;

        memset(name, 'n', 63);
        name[63] = '\0';
        for (unsigned i = 0; i < 60; i++) {
                (void) snprintf(other, sizeof other, "%.57s-%02u", name, i);
                used += (size_t) snprintf(text + used, sizeof text - used,
                                          "[destination %s]\nurl = sqlite:/d/%u.db\n", other, i);
                (void) snprintf(to + strlen(to), sizeof to - strlen(to), "%s%s", i ? "," : "", other);
        }
        (void) snprintf(text + used, sizeof text - used,
                        "[source %.63s]\nurl = sqlite:/a;b#c:e;;\"f'g[h]  i\nto = %s\n", name, to);
        survives(text);
}
