/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: the file, and behind a byte 0x1e each, its drop-ins. Whatever stands there is read whole
 * or refused whole, in a sentence with file and line; the same bytes always mean the same. */
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "include/baton/option.h"
#include "shm/layout.h"
#include "supervisor/config.h"
#include "tests/fuzz/lib/fuzz.h"

#define SEPARATOR 0x1e
#define DROP_INS_MAX 4

static void place_files(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);
        const uint8_t *part;
        size_t part_bytes;
        char name[64];

        part_bytes = input_until(&input, SEPARATOR, &part);
        place_write("baton.conf", part, part_bytes);
        for (unsigned i = 0; i < DROP_INS_MAX && !input_is_empty(&input); i++) {
                (void) mkdir(place_file("baton.conf.d"), 0750);
                part_bytes = input_until(&input, SEPARATOR, &part);
                (void) snprintf(name, sizeof(name), "baton.conf.d/%u0.conf", i);
                place_write(name, part, part_bytes);
        }
}

/* A value that a person wrote is never lost in part: what came out of it stands in the input. */
static void expect_from_input(const uint8_t *data, size_t bytes, const char *text) {
        fuzz_must(bytes > 0 && memmem(data, bytes, text, strlen(text)), "\"%s\" was written by nobody", text);
}

static void expect_url(const struct scheme *const *schemes, const char *text) {
        const struct scheme *scheme;
        struct failure failure = { 0 };
        struct url url;

        fuzz_must(strlen(text) < LAYOUT_URL_BYTES, "%s", text);
        fuzz_must(url_parse(text, &url, &failure) == 0, "%s", failure.text);
        fuzz_must(option_check(schemes, &url, &scheme, &failure) == 0, "%s", failure.text);
}

static void expect_sessions(const struct config *config) {
        uint32_t next = 0;

        for (uint32_t i = 0; i < config->source_count; i++) {
                const struct config_source *source = &config->sources[i];

                fuzz_must(source->session_first == next && source->session_count > 0, "%s", source->name);
                next += source->session_count;
                for (uint32_t k = source->session_first; k < next; k++) {
                        fuzz_must(config->sessions[k].source == i, "%s", source->name);
                        fuzz_must(config->sessions[k].destination < config->destination_count, "%s",
                                  source->name);
                        fuzz_must(strlen(config->sessions[k].name) < 2 * LAYOUT_NAME_BYTES, "%s",
                                  source->name);
                        fuzz_must(config_find_session(config, config->sessions[k].name) == k, "%s",
                                  config->sessions[k].name);
                }
        }
        fuzz_must(next == config->session_count && next <= config->sessions_max, "%u sessions", next);
}

static void expect_sound(const struct config *config, const uint8_t *data, size_t bytes) {
        uint64_t workers = 0;

        fuzz_must(config->sessions_max >= 1 && config->sessions_max <= LAYOUT_SLOT_COUNT_MAX, "sessions");
        fuzz_must(config->workers_max >= 1 && config->workers_max <= LAYOUT_WORKER_COUNT_MAX, "workers");
        fuzz_must(config->destination_count <= LAYOUT_POOL_COUNT_MAX, "destinations");
        if (config->bus_name)
                expect_from_input(data, bytes, config->bus_name);
        for (uint32_t i = 0; i < config->destination_count; i++) {
                fuzz_must(text_is_name(config->destinations[i].name), "%s", config->destinations[i].name);
                expect_from_input(data, bytes, config->destinations[i].name);
                expect_from_input(data, bytes, config->destinations[i].url);
                expect_url(destination_schemes, config->destinations[i].url);
                workers += config->destinations[i].workers;
        }
        fuzz_must(workers <= config->workers_max, "%llu workers", (unsigned long long) workers);
        for (uint32_t i = 0; i < config->source_count; i++) {
                fuzz_must(text_is_name(config->sources[i].name), "%s", config->sources[i].name);
                expect_from_input(data, bytes, config->sources[i].url);
                expect_url(source_schemes, config->sources[i].url);
        }
        expect_sessions(config);
        (void) config_nearest_destination(config, "evnts");
        (void) config_nearest_session(config, "orderz");
}

static void expect_same(const struct config *a, const struct config *b) {
        fuzz_must(a->session_count == b->session_count && a->source_count == b->source_count &&
                          a->destination_count == b->destination_count && a->sessions_max == b->sessions_max,
                  "the same bytes mean something else");
        for (uint32_t i = 0; i < a->session_count; i++)
                fuzz_must(strcmp(a->sessions[i].name, b->sessions[i].name) == 0, "%s", a->sessions[i].name);
}

/* U6: what was read, written, and read again. */
static void expect_survives(const struct config *config) {
        struct config *again = NULL;
        struct failure failure = { 0 };
        char *text = NULL, *text_again = NULL;

        fuzz_must(config_write(config, &text) == 0, "out of memory");
        place_write("written.conf", text, strlen(text));
        fuzz_must(config_load(place_file("written.conf"), &again, &failure) == 0, "%s", failure.text);
        expect_same(config, again);
        fuzz_must(config_write(again, &text_again) == 0 && strcmp(text, text_again) == 0,
                  "it is another when it is read back:\n%s", text);
        config_free(again);
        free(text);
        free(text_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct config *const untouched = (struct config *) (void *) place_path();
        struct config *config = untouched, *again = untouched;
        struct failure failure = { 0 }, failure_again = { 0 };
        int r;

        place_files(data, bytes);
        r = config_load(place_file("baton.conf"), &config, &failure);
        fuzz_must(config_load(place_file("baton.conf"), &again, &failure_again) == r, "%s", failure.text);
        if (r < 0) {
                fuzz_must_be_told(r, &failure);
                fuzz_must(strstr(failure.text, "baton.conf"), "which file? %s", failure.text);
                fuzz_must(strcmp(failure.text, failure_again.text) == 0, "%s", failure.text);
                fuzz_must(config == untouched && again == untouched, "the output was touched");
        } else {
                expect_sound(config, data, bytes);
                expect_same(config, again);
                expect_survives(config);
                config_free(config);
                config_free(again);
        }
        place_empty(NULL);
        return 0;
}
