/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the configuration file, its drop-ins and its credentials into sections of texts, each with file and line.
 *
 * libinih splits keys from values. As Debian builds it, it holds 200 bytes of a line and 49 of a section,
 * drops what is longer without a word, and tells no line numbers. So our own reader stands before it: it
 * counts lines, keeps section headers itself, hands long values over in pieces, and refuses by file and
 * line what could not be handed over whole: no value is lost silently.
 * Must not touch: the meaning of a value (config_check.c), anything of the running system. */
#include "supervisor/config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "include/baton/option.h"
#include "supervisor/config_raw.h"

#define CONFIG_LINE_BYTES 8192
#define CONFIG_PATH_BYTES 4096
#define INI_KEY_BYTES 49 /* what libinih keeps of a key */
#define CHUNK_BYTES (32 * 1024)

const char *const config_section_names[CONFIG_SECTION_COUNT + 1] = {
        [CONFIG_BATON] = "baton",
        [CONFIG_DESTINATION] = "destination",
        [CONFIG_SOURCE] = "source",
};

/* ---- arena ------------------------------------------------------------------------------------------ */
struct config_chunk {
        struct config_chunk *next;
        size_t used, capacity;
        _Alignas(16) char bytes[];
};

void *config_arena_new(struct config_chunk **arena, size_t bytes) {
        struct config_chunk *chunk = *arena;
        size_t rounded = (bytes + 15) & ~(size_t) 15, capacity;
        void *memory;

        if (!chunk || chunk->capacity - chunk->used < rounded) {
                capacity = MAX_OF(rounded, (size_t) CHUNK_BYTES);
                chunk = calloc(1, sizeof *chunk + capacity);
                if (!chunk)
                        return NULL;
                chunk->capacity = capacity;
                chunk->next = *arena;
                *arena = chunk;
        }
        memory = chunk->bytes + chunk->used;
        chunk->used += rounded;
        return memory;
}

char *config_arena_text(struct config_chunk **arena, const char *text, size_t bytes) {
        char *copy;

        copy = config_arena_new(arena, bytes + 1);
        if (copy)
                memcpy(copy, text, bytes);
        return copy;
}

void config_arena_free(struct config_chunk *arena) {
        while (arena) {
                struct config_chunk *next = arena->next;

                free(arena);
                arena = next;
        }
}

/* ---- sections --------------------------------------------------------------------------------------- */
struct reader {
        struct config_raw *raw;
        struct config *config; /* its arena holds the file names */
        FILE *stream;
        const char *file;
        uint32_t line;
        struct raw_section *section; /* where keys go now; NULL before the first */
        struct raw_value *value;     /* the last key: pieces of a long line are added to it */
        bool value_goes_on;          /* what libinih reports next is such a piece */
        char text[CONFIG_LINE_BYTES + 1];
        char *rest; /* in text: not handed over yet; NULL: nothing */
        int r;
        struct failure *failure;
};

static int section_compare(const void *a, const void *b) {
        const struct raw_section *x = a, *y = b;

        return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind) : strcmp(x->name, y->name);
}

struct raw_section *config_raw_find(const struct config_raw *raw, enum config_section kind,
                                    const char *name) {
        struct raw_section wanted = { .kind = kind, .name = name };
        struct raw_section **found;

        found = tfind(&wanted, (void *const *) &raw->tree, section_compare);
        return found ? *found : NULL;
}

/* Remembers the first error; everything after it is skipped. Always false. */
static bool _printf_(3, 4) refuse(struct reader *reader, int r, const char *format, ...) {
        char sentence[FAILURE_TEXT_BYTES];
        va_list arguments;

        assert(r < 0);
        if (reader->r < 0)
                return false;
        va_start(arguments, format);
        (void) vsnprintf(sentence, sizeof sentence, format, arguments);
        va_end(arguments);
        reader->r = failure_set(reader->failure, r, FAILURE_STOP, "%s:%u: %s", reader->file, reader->line,
                                sentence);
        return false;
}

static bool list_append(struct raw_section ***list, uint32_t *count, uint32_t *capacity,
                        struct raw_section *section) {
        struct raw_section **grown;

        if (*count == *capacity) {
                uint32_t wanted = MAX_OF(2 * *capacity, 16U);

                grown = reallocarray(*list, wanted, sizeof *grown);
                if (!grown)
                        return false;
                *list = grown;
                *capacity = wanted;
        }
        section->index = *count;
        (*list)[(*count)++] = section;
        return true;
}

static struct raw_section *section_new(struct reader *reader, enum config_section kind, const char *name) {
        struct config_raw *raw = reader->raw;
        struct raw_section *section;
        bool ok = true;

        section = config_arena_new(&raw->arena, sizeof *section);
        if (!section)
                return NULL;
        section->kind = kind;
        section->name = config_arena_text(&raw->arena, name, strlen(name));
        section->file = section->last_file = reader->file;
        section->line = section->last_line = reader->line;
        if (!section->name || !tsearch(section, &raw->tree, section_compare))
                return NULL;
        if (kind == CONFIG_BATON)
                raw->baton = section;
        else if (kind == CONFIG_DESTINATION)
                ok = list_append(&raw->destinations, &raw->destination_count, &raw->destination_capacity,
                                 section);
        else
                ok = list_append(&raw->sources, &raw->source_count, &raw->source_capacity, section);
        return ok ? section : NULL;
}

/* "[kind name]" began: finds or makes the section. The same one twice in a file is an error, in another
 * file (a drop-in) it goes on. */
static bool section_begin(struct reader *reader, enum config_section kind, const char *name) {
        struct raw_section *section;

        section = config_raw_find(reader->raw, kind, name);
        if (section && section->last_file == reader->file)
                return refuse(reader, -EINVAL,
                              "two sections [%s%s%s]: the first is at line %u; give one another name or put "
                              "their keys together",
                              config_section_names[kind], *name ? " " : "", name, section->last_line);
        if (!section)
                section = section_new(reader, kind, name);
        if (!section)
                return refuse(reader, -ENOMEM, "out of memory");
        section->last_file = reader->file;
        section->last_line = reader->line;
        reader->section = section;
        return true;
}

/* How much of a line may be shown in a message: what is before a value, which may be confidential. */
static int shown(const char *text) {
        return (int) MIN_OF(strcspn(text, "=:"), (size_t) 100);
}

static bool section_kind(struct reader *reader, const char *word, enum config_section *ret_kind) {
        const char *nearest;

        for (unsigned i = 0; i < CONFIG_SECTION_COUNT; i++)
                if (strcmp(word, config_section_names[i]) == 0) {
                        *ret_kind = i;
                        return true;
                }
        nearest = text_nearest(word, config_section_names);
        return refuse(
                reader, -EINVAL,
                nearest ? "unknown section [%s]; the nearest is [%s]"
                        : "unknown section [%s]; there are [baton], [destination NAME], [source NAME]%.0s",
                word, nearest ? nearest : "");
}

/* `text` is the trimmed line, beginning with '['. */
static bool section_parse(struct reader *reader, char *text) {
        enum config_section kind = CONFIG_BATON;
        char *word, *name, *end;

        end = strchr(text, ']');
        if (!end)
                return refuse(reader, -EINVAL, "section header \"%.*s\" has no closing ]", shown(text), text);
        if (end[1] != '\0')
                return refuse(reader, -EINVAL, "\"%.*s\" stands behind a section header", shown(end + 1),
                              end + 1);
        *end = '\0';
        word = text + 1 + strspn(text + 1, " \t");
        name = word + strcspn(word, " \t");
        if (*name != '\0')
                *name++ = '\0';
        name += strspn(name, " \t");
        for (end = name + strlen(name); end > name && isspace((unsigned char) end[-1]);)
                *--end = '\0';

        if (!section_kind(reader, word, &kind))
                return false;
        if (kind == CONFIG_BATON && *name != '\0')
                return refuse(reader, -EINVAL, "[baton %.70s]: this section takes no name; write [baton]",
                              name);
        if (kind != CONFIG_BATON && *name == '\0')
                return refuse(reader, -EINVAL, "a %s without a name: write [%s NAME]", word, word);
        if (kind != CONFIG_BATON && !text_is_name(name))
                return refuse(
                        reader, -EINVAL,
                        "\"%.70s\" is no name for a %s: 1 to 63 of a-z A-Z 0-9 . _ -, not beginning with "
                        ". or -",
                        name, word);
        return section_begin(reader, kind, name);
}

/* ---- lines ------------------------------------------------------------------------------------------ */
/* Reads the next line into reader->text, trimmed, without comment. False: end of file, or refused. */
static bool line_read(struct reader *reader) {
        size_t bytes = 0, start;
        int c;

        c = getc_unlocked(reader->stream);
        if (c == EOF) {
                if (ferror(reader->stream))
                        (void) refuse(reader, -EIO, "cannot be read to its end: %m");
                return false;
        }
        reader->line++;
        for (; c != EOF && c != '\n'; c = getc_unlocked(reader->stream)) {
                if (c == '\0')
                        return refuse(reader, -EINVAL, "a NUL byte: this is no text file");
                if (bytes == CONFIG_LINE_BYTES)
                        return refuse(reader, -EINVAL, "the line is longer than %d bytes", CONFIG_LINE_BYTES);
                reader->text[bytes++] = (char) c;
        }
        while (bytes > 0 && isspace((unsigned char) reader->text[bytes - 1]))
                bytes--;
        reader->text[bytes] = '\0';
        start = reader->line == 1 && strncmp(reader->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        start += strspn(reader->text + start, " \t\r\v\f");
        memmove(reader->text, reader->text + start, bytes - start + 1);
        return true;
}

/* Cuts a comment behind a value: ';' with white space before it, as libinih has it. */
static void line_cut_comment(char *text) {
        for (char *p = text; *p; p++)
                if (*p == ';' && p > text && isspace((unsigned char) p[-1])) {
                        do
                                *p-- = '\0';
                        while (p > text && isspace((unsigned char) *p));
                        return;
                }
}

static bool line_check_key(struct reader *reader) {
        size_t bytes;

        if (!reader->section)
                return refuse(reader, -EINVAL,
                              "\"%.*s\" stands before any section; begin with [baton], "
                              "[destination NAME] or [source NAME]",
                              shown(reader->text), reader->text);
        bytes = strcspn(reader->text, "=:");
        if (reader->text[bytes] == '\0')
                return refuse(reader, -EINVAL, "\"%.60s\" is neither KEY = VALUE nor a [section]",
                              reader->text);
        while (bytes > 0 && isspace((unsigned char) reader->text[bytes - 1]))
                bytes--;
        if (bytes == 0)
                return refuse(reader, -EINVAL, "a value without a key");
        if (bytes > INI_KEY_BYTES)
                return refuse(reader, -EINVAL, "\"%.49s…\" is too long for a key", reader->text);
        return true;
}

/* Hands over the next piece of reader->rest as one line of at most `room` bytes. libinih takes a line that
 * begins with a space as more of the value before; it trims pieces and takes one that begins with ; or #
 * for a comment, so no piece begins or ends so. */
static char *line_give(struct reader *reader, char *line, size_t room, bool goes_on) {
        size_t bytes = strlen(reader->rest), least = goes_on ? 0 : strcspn(reader->rest, "=:") + 1;
        char *from = reader->rest;

        assert(room > 8);
        room -= 3; /* the leading space, the newline, the NUL */
        reader->rest = NULL;
        if (bytes > room) {
                for (bytes = room; bytes > least; bytes--)
                        if (!isspace((unsigned char) from[bytes - 1]) && !strchr(" \t\v\f\r;#", from[bytes]))
                                break;
                if (bytes <= least) {
                        (void) refuse(reader, -EINVAL, "more than %zu spaces, ; or # in a row", room - 50);
                        return NULL;
                }
                reader->rest = from + bytes;
        }
        (void) snprintf(line, room + 3, "%s%.*s\n", goes_on ? " " : "", (int) bytes, from);
        reader->value_goes_on = goes_on;
        return line;
}

/* The reader that libinih calls, in the manner of fgets(). */
static char *line_next(char *line, int room, void *context) {
        struct reader *reader = context;

        if (reader->r < 0)
                return NULL;
        if (reader->rest)
                return line_give(reader, line, (size_t) room, true);
        do {
                if (!line_read(reader))
                        return NULL;
        } while (strchr("#;", reader->text[0])); /* blank too: strchr() finds the NUL */

        line_cut_comment(reader->text);
        if (reader->text[0] == '[') {
                if (!section_parse(reader, reader->text))
                        return NULL;
                (void) snprintf(line, (size_t) room, "[-]\n"); /* the name stays with us */
                return line;
        }
        if (!line_check_key(reader))
                return NULL;
        reader->rest = reader->text;
        return line_give(reader, line, (size_t) room, false);
}

/* ---- values ----------------------------------------------------------------------------------------- */
static bool value_append(struct reader *reader, const char *text) {
        struct raw_value *value = reader->value;
        size_t have = strlen(value->text), more = strlen(text);
        char *joined;

        joined = config_arena_new(&reader->raw->arena, have + more + 1);
        if (!joined)
                return refuse(reader, -ENOMEM, "out of memory");
        memcpy(joined, value->text, have);
        memcpy(joined + have, text, more);
        value->text = joined;
        return true;
}

/* An option of a URL, written as a key. */
static bool is_url_option(enum config_section kind, const char *key) {
        const struct scheme *const *schemes = kind == CONFIG_SOURCE        ? source_schemes
                                              : kind == CONFIG_DESTINATION ? destination_schemes
                                                                           : NULL;

        for (; schemes && *schemes; schemes++)
                for (const struct scheme_option *option = (*schemes)->options; option && option->key;
                     option++)
                        if (strcmp(option->key, key) == 0)
                                return true;
        return false;
}

static bool value_unknown(struct reader *reader, const char *key) {
        const struct raw_section *section = reader->section;
        const char *names[CONFIG_KEY_COUNT_MAX + 1] = { NULL }, *nearest;
        char all[160] = "";

        for (size_t i = 0; config_keys[section->kind][i].key; i++) {
                names[i] = config_keys[section->kind][i].key;
                (void) snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", names[i]);
        }
        if (is_url_option(section->kind, key))
                return refuse(
                        reader, -EINVAL,
                        "[%s %s] has no key \"%s\": it is an option of the URL, written behind it as ?%s=…",
                        config_section_names[section->kind], section->name, key, key);
        nearest = text_nearest(key, names);
        return refuse(reader, -EINVAL, "[%s%s%s] has no key \"%s\"; %s%s",
                      config_section_names[section->kind], *section->name ? " " : "", section->name, key,
                      nearest ? "the nearest is " : "there are ", nearest ? nearest : all);
}

static int value_take(void *context, const char *ini_section, const char *key, const char *text) {
        struct reader *reader = context;
        struct raw_section *section = reader->section;
        const struct config_key *keys;
        struct raw_value *value;
        size_t i;

        (void) ini_section;
        if (reader->r < 0)
                return 0;
        assert(section);
        if (reader->value_goes_on)
                return value_append(reader, text);
        keys = config_keys[section->kind];
        for (i = 0; keys[i].key && strcmp(keys[i].key, key) != 0;)
                i++;
        if (!keys[i].key)
                return value_unknown(reader, key);
        value = &section->values[i];
        if (value->text && value->file == reader->file)
                return refuse(reader, -EINVAL, "%s is given twice in [%s%s%s]: the first is at line %u", key,
                              config_section_names[section->kind], *section->name ? " " : "", section->name,
                              value->line);
        value->text = config_arena_text(&reader->raw->arena, text, strlen(text));
        value->file = reader->file;
        value->line = reader->line;
        reader->value = value;
        return value->text ? 1 : refuse(reader, -ENOMEM, "out of memory");
}

/* ---- files ------------------------------------------------------------------------------------------ */
static int file_open(const char *path, FILE **ret_stream, struct failure *ret_failure) {
        struct stat st;
        FILE *stream;
        int r;

        stream = fopen(path, "re");
        if (!stream) {
                r = -errno;
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot read the configuration %s: %s; %s",
                                   path, strerror(-r),
                                   r == -EACCES ? "give this user the right to read it"
                                                : "name another with -c FILE");
        }
        if (fstat(fileno(stream), &st) == 0 && S_ISDIR(st.st_mode)) {
                (void) fclose(stream);
                return failure_set(ret_failure, -EISDIR, FAILURE_STOP,
                                   "the configuration %s is a directory; name a file with -c FILE", path);
        }
        *ret_stream = stream;
        return 0;
}

static int file_read(struct config_raw *raw, struct config *config, const char *path,
                     struct failure *ret_failure) {
        _cleanup_free_ struct reader *reader = NULL;
        int r;

        reader = calloc(1, sizeof *reader);
        if (!reader)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "%s: out of memory", path);
        reader->raw = raw;
        reader->config = config;
        reader->failure = ret_failure;
        reader->file = config_arena_text(&config->arena, path, strlen(path));
        if (!reader->file)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "%s: out of memory", path);
        r = file_open(path, &reader->stream, ret_failure);
        if (r < 0)
                return r;
        r = ini_parse_stream(line_next, reader, value_take, reader);
        (void) fclose(reader->stream);
        if (reader->r < 0)
                return reader->r;
        if (r != 0) /* line_check_key() refuses all that libinih refuses; this is the backstop */
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP, "%s: not understood near line %d",
                                   path, r);
        return 0;
}

static int drop_in_is(const struct dirent *entry) {
        size_t bytes = strlen(entry->d_name);

        return entry->d_name[0] != '.' && bytes > 5 && strcmp(entry->d_name + bytes - 5, ".conf") == 0;
}

static int drop_in_compare(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

/* Every .conf of a directory, in the order of their names. */
static int drop_ins_read(struct config_raw *raw, struct config *config, const char *directory, bool may_lack,
                         struct failure *ret_failure) {
        struct dirent **entries = NULL;
        char name[CONFIG_PATH_BYTES];
        int count, r = 0;

        count = scandir(directory, &entries, drop_in_is, drop_in_compare);
        if (count < 0) {
                r = -errno;
                if (r == -ENOENT && may_lack)
                        return 0;
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot read the drop-ins in %s: %s",
                                   directory, strerror(-r));
        }
        for (int i = 0; i < count; i++) {
                if (r >= 0 &&
                    snprintf(name, sizeof name, "%s/%s", directory, entries[i]->d_name) >= (int) sizeof name)
                        r = failure_set(ret_failure, -ENAMETOOLONG, FAILURE_STOP, "%s: the path is too long",
                                        directory);
                else if (r >= 0)
                        r = file_read(raw, config, name, ret_failure);
                free(entries[i]);
        }
        free(entries);
        return r;
}

/* FILE, FILE.d, and the credentials: where systemd names a directory of them, it is there, and to go on without what
 * stands in it would take sessions away. */
static int files_read(struct config_raw *raw, struct config *config, const char *path,
                      struct failure *ret_failure) {
        const char *credentials = getenv("CREDENTIALS_DIRECTORY");
        char directory[CONFIG_PATH_BYTES];
        int r;

        r = file_read(raw, config, path, ret_failure);
        if (r < 0)
                return r;
        if (snprintf(directory, sizeof directory, "%s.d", path) >= (int) sizeof directory)
                return failure_set(ret_failure, -ENAMETOOLONG, FAILURE_STOP, "%s: the path is too long",
                                   path);
        r = drop_ins_read(raw, config, directory, true, ret_failure);
        if (r < 0 || !credentials || !*credentials)
                return r;
        return drop_ins_read(raw, config, credentials, false, ret_failure);
}

static void tree_ignore(void *section) {
        (void) section; /* the arena owns it */
}

static void raw_free(struct config_raw *raw) {
        tdestroy(raw->tree, tree_ignore);
        free(raw->destinations);
        free(raw->sources);
        config_arena_free(raw->arena);
}

/* With its drop-ins and credentials, or alone. */
static int load(const char *path, bool alone, struct config **ret_config, struct failure *ret_failure) {
        _cleanup_(raw_free) struct config_raw raw = {};
        _cleanup_config_ struct config *config = NULL;
        int r;

        assert(path);
        assert(ret_config);

        config = calloc(1, sizeof *config);
        if (!config)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "%s: out of memory", path);
        r = alone ? file_read(&raw, config, path, ret_failure) : files_read(&raw, config, path, ret_failure);
        if (r >= 0)
                r = config_check(&raw, path, config, ret_failure);
        if (r < 0)
                return r;
        *ret_config = TAKE(config);
        return 0;
}

int config_load(const char *path, struct config **ret_config, struct failure *ret_failure) {
        return load(path, false, ret_config, ret_failure);
}

int config_load_alone(const char *path, struct config **ret_config, struct failure *ret_failure) {
        return load(path, true, ret_config, ret_failure);
}

void config_free(struct config *config) {
        if (!config)
                return;
        config_arena_free(config->arena);
        free(config);
}

void config_freep(struct config **config) {
        config_free(*config);
}
