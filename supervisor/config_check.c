/* SPDX-License-Identifier: Apache-2.0 */
/* What the keys mean: ranges, addresses, which source goes where, and the limits over all of it.
 *
 * Pure: texts in, a struct config or one sentence with file, line and key out. Every address passes
 * url_parse() and option_check() here, so that nothing behind it meets a scheme or an option that does not
 * exist. Must not touch: any file, source or destination (`baton check` opens them). */
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/url.h"
#include "include/baton/option.h"
#include "shm/layout.h"
#include "supervisor/config_raw.h"
#include "supervisor/control.h"

enum baton_key { KEY_STALL_TIMEOUT, KEY_ADOPT_TIMEOUT, KEY_SESSIONS, KEY_MAX_WORKERS, KEY_BUS_NAME };
enum destination_key {
        KEY_DESTINATION_URL,
        KEY_WORKERS,
        KEY_BATCH_ROWS,
        KEY_BATCH_BYTES,
        KEY_BATCH_TIME,
        KEY_PARKED_LIMIT,
        KEY_FUSED,
        KEY_CORES,
};
enum source_key { KEY_SOURCE_URL, KEY_TO };

static const struct config_key baton_keys[] = {
        [KEY_STALL_TIMEOUT] = { "stall-timeout", CONFIG_SPAN, "10s", USEC_PER_SEC / 10, 3600 * USEC_PER_SEC,
                                "100ms to 1h", "a worker that does not answer for this long is killed" },
        [KEY_ADOPT_TIMEOUT] = { "adopt-timeout", CONFIG_SPAN, "30s", USEC_PER_SEC, 86400 * USEC_PER_SEC,
                                "1s to 24h", "workers without a supervisor for this long drain and leave" },
        [KEY_SESSIONS] = { "sessions", CONFIG_NUMBER, "4096", 1, LAYOUT_SLOT_COUNT_MAX, "1 to 65536",
                           "room for this many sessions" },
        [KEY_MAX_WORKERS] = { "max-workers", CONFIG_NUMBER, "64", 1, LAYOUT_WORKER_COUNT_MAX, "1 to 256",
                              "room for this many workers, of all destinations together" },
        [KEY_BUS_NAME] = { "bus-name", CONFIG_BUS_NAME, "no", 0, 0, "no, org.baton or org.baton.NAME",
                           "the name on the system bus under which it answers, too" },
        {},
};
static const struct config_key destination_keys[] = {
        [KEY_DESTINATION_URL] = { "url", CONFIG_URL, NULL, 0, 0, NULL, "where events go" },
        [KEY_WORKERS] = { "workers", CONFIG_NUMBER, "1", 0, LAYOUT_WORKER_COUNT_MAX, "0 to 256",
                          "worker processes; 0 moves nothing" },
        [KEY_BATCH_ROWS] = { "batch-rows", CONFIG_NUMBER, "10000", 1, 1000000, "1 to 1000000",
                             "events in one batch at most" },
        [KEY_BATCH_BYTES] = { "batch-bytes", CONFIG_BYTES, "4M", 4096, 1ULL << 30, "4K to 1G",
                              "bytes in one batch at most; a larger event is moved alone" },
        [KEY_BATCH_TIME] = { "batch-time", CONFIG_SPAN, "50ms", USEC_PER_MSEC, 10 * USEC_PER_SEC,
                             "1ms to 10s", "reading one batch takes this long at most" },
        [KEY_PARKED_LIMIT] = { "parked-limit", CONFIG_NUMBER, "1000", 0, 1000000000, "0 to 1000000000",
                               "a session that has parked more events than this stops" },
        [KEY_FUSED] = { "fused", CONFIG_BOOL, "yes", 0, 1, "yes or no",
                        "move with one statement where source and destination allow it" },
        [KEY_CORES] = { "cores", CONFIG_BOOL, "no", 0, 1, "yes or no",
                        "let workers write core dumps (slows the proof of death)" },
        {},
};
static const struct config_key source_keys[] = {
        [KEY_SOURCE_URL] = { "url", CONFIG_URL, NULL, 0, 0, NULL, "where events come from" },
        [KEY_TO] = { "to", CONFIG_NAMES, NULL, 0, 0, NULL, "destinations, comma separated" },
        {},
};
static_assert(ELEMENTSOF(destination_keys) - 1 <= CONFIG_KEY_COUNT_MAX, "raw_section holds every key");

const struct config_key *const config_keys[CONFIG_SECTION_COUNT] = {
        [CONFIG_BATON] = baton_keys,
        [CONFIG_DESTINATION] = destination_keys,
        [CONFIG_SOURCE] = source_keys,
};

/* ---- values ----------------------------------------------------------------------------------------- */
static int _printf_(4, 5) refuse(const struct raw_section *section, const struct raw_value *value,
                                 struct failure *ret_failure, const char *format, ...) {
        char sentence[FAILURE_TEXT_BYTES];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(sentence, sizeof sentence, format, arguments);
        va_end(arguments);
        return failure_set(ret_failure, -EINVAL, FAILURE_STOP, "%s:%u: [%s%s%s] %s",
                           value ? value->file : section->file, value ? value->line : section->line,
                           config_section_names[section->kind], *section->name ? " " : "", section->name,
                           sentence);
}

static int parse_typed(enum config_type type, const char *text, uint64_t *ret_value) {
        bool yes = false;
        int r;

        switch (type) {
        case CONFIG_SPAN:
                return clock_parse_span(text, ret_value);
        case CONFIG_BYTES:
                return text_parse_bytes(text, ret_value);
        case CONFIG_NUMBER:
                return text_parse_u64(text, ret_value);
        case CONFIG_BOOL:
                r = text_parse_bool(text, &yes);
                if (r >= 0)
                        *ret_value = yes;
                return r;
        case CONFIG_URL:
        case CONFIG_NAMES:
        case CONFIG_BUS_NAME:
                break;
        }
        assert(false);
        return -EINVAL;
}

/* The number behind a key: as given, else its default. `section` may be NULL (no [baton]). */
static int number_read(const struct raw_section *section, enum config_section kind, unsigned key_index,
                       uint64_t *ret_value, struct failure *ret_failure) {
        static const char *const kinds[] = {
                [CONFIG_SPAN] = "a time like 10s or 50ms",
                [CONFIG_BYTES] = "a size like 4M or 64K",
                [CONFIG_NUMBER] = "a whole number",
                [CONFIG_BOOL] = "yes or no",
        };
        const struct config_key *key = &config_keys[kind][key_index];
        const struct raw_value *value = section ? &section->values[key_index] : NULL;
        uint64_t number = 0;
        int r;

        if (!value || !value->text) {
                r = parse_typed(key->type, key->default_text, ret_value);
                assert(r >= 0);
                return r;
        }
        r = parse_typed(key->type, value->text, &number);
        if (r < 0 && r != -ERANGE)
                return refuse(section, value, ret_failure, "%s = \"%.60s\" is not %s", key->key, value->text,
                              kinds[key->type]);
        if (r < 0 || number < key->minimum || number > key->maximum)
                return refuse(section, value, ret_failure, "%s = %.60s is out of range: %s", key->key,
                              value->text, key->range_text);
        *ret_value = number;
        return 0;
}

/* The address of a source or destination, checked; *url and *ret_scheme for further questions. */
static int url_read(const struct raw_section *section, const struct scheme *const *schemes, struct url *url,
                    const struct scheme **ret_scheme, struct failure *ret_failure) {
        const struct raw_value *value = &section->values[0];
        struct failure failure = {};
        int r;

        static_assert((int) KEY_DESTINATION_URL == 0 && (int) KEY_SOURCE_URL == 0, "url comes first");
        if (!value->text || !*value->text)
                return refuse(section, value->text ? value : NULL, ret_failure,
                              "has no url; write e.g. url = %s", schemes[0]->example);
        if (strlen(value->text) >= LAYOUT_URL_BYTES)
                return refuse(section, value, ret_failure, "url is longer than %u bytes",
                              LAYOUT_URL_BYTES - 1);
        r = url_parse(value->text, url, &failure);
        if (r >= 0)
                r = option_check(schemes, url, ret_scheme, &failure);
        if (r < 0)
                return refuse(section, value, ret_failure, "url: %s", failure.text);
        return 0;
}

/* The policy of the bus (packaging/dbus) lets the service have these names and no others. */
static int bus_name_read(const struct raw_section *section, struct config *config,
                         struct failure *ret_failure) {
        const struct raw_value *value = section ? &section->values[KEY_BUS_NAME] : NULL;
        bool yes = true;

        if (!value || !value->text || (text_parse_bool(value->text, &yes) >= 0 && !yes))
                return 0;
        if (!sd_bus_service_name_is_valid(value->text) || value->text[0] == ':' ||
            strncmp(value->text, CONTROL_BUS_NAME, strlen(CONTROL_BUS_NAME)) != 0 ||
            !strchr(".", value->text[strlen(CONTROL_BUS_NAME)]))
                return refuse(section, value, ret_failure,
                              "bus-name = \"%.60s\" is neither no, nor " CONTROL_BUS_NAME
                              ", nor a name of D-Bus that begins with " CONTROL_BUS_NAME ".",
                              value->text);
        config->bus_name = config_arena_text(&config->arena, value->text, strlen(value->text));
        return config->bus_name ? 0 : -ENOMEM;
}

/* ---- destinations ----------------------------------------------------------------------------------- */
static int destination_read(const struct raw_section *section, struct config *config,
                            struct config_destination *destination, struct failure *ret_failure) {
        uint64_t numbers[ELEMENTSOF(destination_keys)] = {};
        const struct scheme *scheme = NULL;
        struct url url;
        int r;

        r = url_read(section, destination_schemes, &url, &scheme, ret_failure);
        if (r < 0)
                return r;
        for (unsigned key = KEY_WORKERS; key <= KEY_CORES; key++) {
                r = number_read(section, CONFIG_DESTINATION, key, &numbers[key], ret_failure);
                if (r < 0)
                        return r;
        }
        *destination = (struct config_destination){
                .name = config_arena_text(&config->arena, section->name, strlen(section->name)),
                .url = config_arena_text(&config->arena, section->values[KEY_DESTINATION_URL].text,
                                         strlen(section->values[KEY_DESTINATION_URL].text)),
                .file = section->file,
                .line = section->line,
                .workers = (uint32_t) numbers[KEY_WORKERS],
                .batch_rows = (uint32_t) numbers[KEY_BATCH_ROWS],
                .batch_bytes = numbers[KEY_BATCH_BYTES],
                .batch_usec = numbers[KEY_BATCH_TIME],
                .parked_limit = numbers[KEY_PARKED_LIMIT],
                .fused = numbers[KEY_FUSED] != 0,
                .cores = numbers[KEY_CORES] != 0,
        };
        return destination->name && destination->url ? 0 : -ENOMEM;
}

static int destinations_read(const struct config_raw *raw, struct config *config,
                             struct failure *ret_failure) {
        uint64_t worker_sum = 0;
        int r;

        if (raw->destination_count > LAYOUT_POOL_COUNT_MAX)
                return refuse(raw->destinations[LAYOUT_POOL_COUNT_MAX], NULL, ret_failure,
                              "is one destination too many: there can be %u", LAYOUT_POOL_COUNT_MAX);
        config->destinations = config_arena_new(&config->arena,
                                                (raw->destination_count + 1) * sizeof *config->destinations);
        if (!config->destinations)
                return -ENOMEM;
        for (uint32_t i = 0; i < raw->destination_count; i++) {
                const struct raw_section *section = raw->destinations[i];

                r = destination_read(section, config, &config->destinations[i], ret_failure);
                if (r < 0)
                        return r;
                worker_sum += config->destinations[i].workers;
                if (worker_sum > config->workers_max)
                        return refuse(
                                section,
                                section->values[KEY_WORKERS].text ? &section->values[KEY_WORKERS] : NULL,
                                ret_failure,
                                "workers: with this there are %llu workers in all, more than max-workers = %u; "
                                "raise max-workers in [baton] (at most %u)",
                                (unsigned long long) worker_sum, config->workers_max,
                                LAYOUT_WORKER_COUNT_MAX);
        }
        config->destination_count = raw->destination_count;
        return 0;
}

/* ---- sources and sessions --------------------------------------------------------------------------- */
struct sessions_builder {
        const struct config_raw *raw;
        struct config *config;
        struct config_session *sessions; /* malloc'd, grows; moved to the arena at the end */
        uint32_t count, capacity;
        void *tables;               /* tsearch(): struct source_table, by key */
        struct config_chunk *arena; /* of the tables */
};

static int destination_unknown(const struct raw_section *section, const struct config *config,
                               const char *name, struct failure *ret_failure) {
        const char *nearest;

        nearest = config_nearest_destination(config, name);
        if (nearest)
                return refuse(section, &section->values[KEY_TO], ret_failure,
                              "to = %.63s: there is no destination of that name; the nearest is %s", name,
                              nearest);
        return refuse(section, &section->values[KEY_TO], ret_failure,
                      "to = %.63s: there is no destination of that name; write a section [destination %.63s]",
                      name, name);
}

/* Two destinations of one source that are one and the same place would share a checkpoint (M1). */
static int destination_is_apart(const struct sessions_builder *builder, const struct raw_section *section,
                                uint32_t first, uint32_t added, struct failure *ret_failure) {
        const struct config *config = builder->config;
        const char *a, *b = config->destinations[added].url;
        size_t bytes;

        for (uint32_t i = first; i < builder->count; i++) {
                a = config->destinations[builder->sessions[i].destination].url;
                bytes = strcspn(a, "?");
                if (bytes == strcspn(b, "?") && strncmp(a, b, bytes) == 0)
                        return refuse(
                                section, &section->values[KEY_TO], ret_failure,
                                "to: %s and %s are the same place (%.*s), where this source would have one "
                                "checkpoint for both; name one of them",
                                config->destinations[builder->sessions[i].destination].name,
                                config->destinations[added].name, (int) bytes, a);
        }
        return 0;
}

static int session_add(struct sessions_builder *builder, const struct raw_section *section, uint32_t first,
                       const char *name, struct failure *ret_failure) {
        const struct raw_section *destination;
        int r;

        if (!*name)
                return refuse(section, &section->values[KEY_TO], ret_failure,
                              "to = %.100s: a name is missing between commas", section->values[KEY_TO].text);
        destination = config_raw_find(builder->raw, CONFIG_DESTINATION, name);
        if (!destination)
                return destination_unknown(section, builder->config, name, ret_failure);
        for (uint32_t i = first; i < builder->count; i++)
                if (builder->sessions[i].destination == destination->index)
                        return refuse(section, &section->values[KEY_TO], ret_failure, "to: names %s twice",
                                      name);
        r = destination_is_apart(builder, section, first, destination->index, ret_failure);
        if (r < 0)
                return r;
        if (builder->count == builder->config->sessions_max)
                return refuse(
                        section, &section->values[KEY_TO], ret_failure,
                        "is one session too many: sessions = %u; raise sessions in [baton] (at most %u)",
                        builder->config->sessions_max, LAYOUT_SLOT_COUNT_MAX);
        if (builder->count == builder->capacity) {
                uint32_t capacity = MAX_OF(2 * builder->capacity, 64U);
                void *grown = reallocarray(builder->sessions, capacity, sizeof *builder->sessions);

                if (!grown)
                        return -ENOMEM;
                builder->sessions = grown;
                builder->capacity = capacity;
        }
        builder->sessions[builder->count++] = (struct config_session){ .source = section->index,
                                                                       .destination = destination->index };
        return 0;
}

/* Splits `to` and adds a session for each destination. */
static int sessions_add(struct sessions_builder *builder, const struct raw_section *section,
                        struct failure *ret_failure) {
        const struct raw_value *to = &section->values[KEY_TO];
        _cleanup_free_ char *text = NULL;
        uint32_t first = builder->count;
        char *rest, *name, *end;
        int r;

        if (!to->text || !*to->text)
                return refuse(section, to->text ? to : NULL, ret_failure,
                              "names no destination; write to = NAME of a [destination NAME]");
        rest = text = strdup(to->text);
        if (!text)
                return -ENOMEM;
        while ((name = strsep(&rest, ","))) {
                name += strspn(name, " \t");
                for (end = name + strlen(name); end > name && strchr(" \t", end[-1]);)
                        *--end = '\0';
                r = session_add(builder, section, first, name, ret_failure);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int sessions_name(struct sessions_builder *builder, struct config_source *source) {
        struct config *config = builder->config;
        char name[LAYOUT_NAME_BYTES * 2];
        struct config_session *session;

        for (uint32_t i = 0; i < source->session_count; i++) {
                session = &builder->sessions[source->session_first + i];
                if (source->session_count == 1) {
                        session->name = source->name;
                        continue;
                }
                (void) snprintf(name, sizeof name, "%s/%s", source->name,
                                config->destinations[session->destination].name);
                session->name = config_arena_text(&config->arena, name, strlen(name));
                if (!session->name)
                        return -ENOMEM;
        }
        return 0;
}

/* Two sources that read one table, of which one cleans up, would take events from each other: clean-up
 * waits for the sessions of its own source alone (M14). */
struct source_table {
        const char *key;
        const struct raw_section *section;
        bool cleans;
};

static int table_compare(const void *a, const void *b) {
        return strcmp(((const struct source_table *) a)->key, ((const struct source_table *) b)->key);
}

static const char *option_if_known(const struct scheme *scheme, const struct url *url, const char *key) {
        for (const struct scheme_option *option = scheme->options; option->key; option++)
                if (strcmp(option->key, key) == 0)
                        return option_text(scheme, url, key);
        return NULL;
}

static int table_claim(struct sessions_builder *builder, const struct raw_section *section,
                       const struct scheme *scheme, const struct url *url, struct failure *ret_failure) {
        const char *clean_up = option_if_known(scheme, url, "clean-up");
        const char *table_name = option_if_known(scheme, url, "table");
        struct source_table *table, **found;
        char key[URL_BYTES * 3];

        (void) snprintf(key, sizeof key, "%s:%s?%s", scheme->name, url->path, table_name ? table_name : "");
        table = config_arena_new(&builder->arena, sizeof *table);
        if (!table)
                return -ENOMEM;
        table->key = config_arena_text(&builder->arena, key, strlen(key));
        table->section = section;
        table->cleans = clean_up && strcmp(clean_up, "keep") != 0;
        found = table->key ? tsearch(table, &builder->tables, table_compare) : NULL;
        if (!found)
                return -ENOMEM;
        if (*found == table || (!table->cleans && !(*found)->cleans))
                return 0;
        return refuse(
                section, &section->values[KEY_SOURCE_URL], ret_failure,
                "url: source %s reads the same table and one of them cleans it up, which would take events "
                "from the other; name all destinations in one source's `to`",
                (*found)->section->name);
}

static int source_read(struct sessions_builder *builder, const struct raw_section *section,
                       struct config_source *source, struct failure *ret_failure) {
        struct config *config = builder->config;
        const struct scheme *scheme = NULL;
        struct url url;
        int r;

        r = url_read(section, source_schemes, &url, &scheme, ret_failure);
        if (r < 0)
                return r;
        assert(scheme);
        r = table_claim(builder, section, scheme, &url, ret_failure);
        if (r < 0)
                return r;
        *source = (struct config_source){
                .name = config_arena_text(&config->arena, section->name, strlen(section->name)),
                .url = config_arena_text(&config->arena, section->values[KEY_SOURCE_URL].text,
                                         strlen(section->values[KEY_SOURCE_URL].text)),
                .file = section->file,
                .line = section->line,
                .session_first = builder->count,
        };
        if (!source->name || !source->url)
                return -ENOMEM;
        r = sessions_add(builder, section, ret_failure);
        if (r < 0)
                return r;
        source->session_count = builder->count - source->session_first;
        return sessions_name(builder, source);
}

static void table_ignore(void *table) {
        (void) table; /* the arena owns it */
}

static void builder_done(struct sessions_builder *builder) {
        tdestroy(builder->tables, table_ignore);
        config_arena_free(builder->arena);
        free(builder->sessions);
}

static int sources_read(const struct config_raw *raw, struct config *config, struct failure *ret_failure) {
        _cleanup_(builder_done) struct sessions_builder builder = { .raw = raw, .config = config };
        int r;

        config->sources = config_arena_new(&config->arena, (raw->source_count + 1) * sizeof *config->sources);
        if (!config->sources)
                return -ENOMEM;
        for (uint32_t i = 0; i < raw->source_count; i++) {
                r = source_read(&builder, raw->sources[i], &config->sources[i], ret_failure);
                if (r < 0)
                        return r;
        }
        config->sessions = config_arena_new(&config->arena, (builder.count + 1) * sizeof *config->sessions);
        if (!config->sessions)
                return -ENOMEM;
        if (builder.count > 0)
                memcpy(config->sessions, builder.sessions, builder.count * sizeof *config->sessions);
        config->source_count = raw->source_count;
        config->session_count = builder.count;
        return 0;
}

int config_check(const struct config_raw *raw, const char *path, struct config *config,
                 struct failure *ret_failure) {
        uint64_t numbers[ELEMENTSOF(baton_keys)] = {};
        int r;

        for (unsigned key = KEY_STALL_TIMEOUT; key <= KEY_MAX_WORKERS; key++) {
                r = number_read(raw->baton, CONFIG_BATON, key, &numbers[key], ret_failure);
                if (r < 0)
                        return r;
        }
        config->stall_timeout_usec = numbers[KEY_STALL_TIMEOUT];
        config->adopt_timeout_usec = numbers[KEY_ADOPT_TIMEOUT];
        config->sessions_max = (uint32_t) numbers[KEY_SESSIONS];
        config->workers_max = (uint32_t) numbers[KEY_MAX_WORKERS];
        r = bus_name_read(raw->baton, config, ret_failure);
        if (r >= 0)
                r = destinations_read(raw, config, ret_failure);
        if (r >= 0)
                r = sources_read(raw, config, ret_failure);
        if (r == -ENOMEM)
                return failure_set(ret_failure, r, FAILURE_STOP, "%s: out of memory", path);
        return r;
}
