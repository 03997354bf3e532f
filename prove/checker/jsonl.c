/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a destination of JSON lines: SESSION.NUMBER.jsonl, in the order of their
 * numbers, and SESSION.parked.jsonl.
 *
 * The payload is compared as text (white space outside strings apart), for it must travel verbatim: no
 * digit of a number may change. Names, keys and times are compared decoded. A last line without its line
 * feed is a batch being written (--live) or a torn one (--final). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prove/checker/checker.h"

struct piece {
        const char *text;
        size_t bytes;
};

struct members {
        struct piece session, position, columns[COLUMN_COUNT], reason;
};

/* ---- taking a line apart ----------------------------------------------------------------------- */
static const char *skip_string(const char *at, const char *end) {
        for (at++; at < end && *at != '"'; at++)
                if (*at == '\\')
                        at++;
        return at < end ? at + 1 : end;
}

static const char *skip_space(const char *at, const char *end) {
        while (at < end && strchr(" \t\r", *at) && *at)
                at++;
        return at;
}

/* The end of the value that begins at `at`: strings and brackets are balanced, nothing is judged. */
static const char *skip_value(const char *at, const char *end) {
        int depth = 0;

        while (at < end) {
                if (*at == '"') {
                        at = skip_string(at, end);
                        if (depth == 0)
                                return at;
                        continue;
                }
                if (*at == '{' || *at == '[')
                        depth++;
                else if (*at == '}' || *at == ']') {
                        if (depth == 0)
                                return at;
                        if (--depth == 0)
                                return at + 1;
                } else if (depth == 0 && *at == ',')
                        return at;
                at++;
        }
        return at;
}

static struct piece *member_of(struct members *members, const char *name, size_t bytes) {
        const struct {
                const char *name;
                struct piece *piece;
        } known[] = {
                { "session", &members->session }, { "position", &members->position },
                { "key", &members->columns[0] },  { "type", &members->columns[1] },
                { "at", &members->columns[2] },   { "payload", &members->columns[3] },
                { "reason", &members->reason },
        };

        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
                if (strlen(known[i].name) == bytes && memcmp(known[i].name, name, bytes) == 0)
                        return known[i].piece;
        return NULL;
}

static bool take_apart(const char *line, const char *end, struct members *members) {
        const char *at = skip_space(line, end);

        *members = (struct members){};
        if (at == end || *at != '{')
                return false;
        for (at = skip_space(at + 1, end); at < end && *at == '"';) {
                const char *name = at + 1, *name_end;
                struct piece *piece;

                at = skip_string(at, end);
                name_end = at - 1;
                at = skip_space(at, end);
                if (at == end || *at != ':')
                        return false;
                at = skip_space(at + 1, end);
                piece = member_of(members, name, (size_t) (name_end - name));
                const char *value = at;
                at = skip_value(at, end);
                if (piece && piece->text)
                        return false; /* twice */
                if (piece)
                        *piece = (struct piece){ value, (size_t) (at - value) };
                at = skip_space(at, end);
                if (at < end && *at == ',')
                        at = skip_space(at + 1, end);
        }
        return at < end && *at == '}' && skip_space(at + 1, end) == end;
}

/* ---- a line as a record ------------------------------------------------------------------------ */
void record_json_payload(struct record *record, int column, const void *data, size_t bytes) {
        const char *text = data;
        char *squeezed = malloc(bytes + 1);
        bool in_string = false;
        size_t used = 0;

        if (!squeezed)
                abort();
        for (size_t i = 0; i < bytes; i++) {
                if (!in_string && strchr(" \t\r\n", text[i]) && text[i])
                        continue;
                squeezed[used++] = text[i];
                if (in_string && text[i] == '\\' && i + 1 < bytes)
                        squeezed[used++] = text[++i];
                else if (text[i] == '"')
                        in_string = !in_string;
        }
        squeezed[used] = '\0';
        record_json_text(record, column, squeezed, 0);
        if (used == 0 || strlen(squeezed) != used)
                record->no_json = true;
        free(squeezed);
}

static bool add_column(struct record *record, int column, const struct piece *piece) {
        json_t *value;
        char *canonical;

        if (!piece->text)
                return false;
        if (column == COLUMN_COUNT - 1) {
                record_json_payload(record, column, piece->text, piece->bytes);
                return true;
        }
        value = json_loadb(piece->text, piece->bytes, JSON_DECODE_ANY, NULL);
        canonical = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        if (canonical)
                record_json_text(record, column, canonical, (uint8_t) json_typeof(value));
        free(canonical);
        json_decref(value);
        return canonical != NULL;
}

static bool add_line(struct check *check, const char *line, const char *end, bool is_parked) {
        struct members members;
        struct record record = { .is_parked = is_parked };
        struct session *session;
        json_t *name, *reason, *whole;
        char *rest;

        whole = json_loadb(line, (size_t) (end - line), JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
        json_decref(whole);
        if (!whole || !take_apart(line, end, &members) || !members.session.text || !members.position.text)
                return false;
        record.position = strtoll(members.position.text, &rest, 10);
        if (rest != members.position.text + members.position.bytes)
                return false;
        for (int column = 0; column < COLUMN_COUNT; column++)
                if (!add_column(&record, column, &members.columns[column]) && !is_parked)
                        return false;
        reason = is_parked && members.reason.text
                         ? json_loadb(members.reason.text, members.reason.bytes, JSON_DECODE_ANY, NULL)
                         : NULL;
        if (json_is_string(reason))
                record.reason = strdup(json_string_value(reason));
        json_decref(reason);
        name = json_loadb(members.session.text, members.session.bytes, JSON_DECODE_ANY, NULL);
        if (!json_is_string(name)) {
                json_decref(name);
                return false;
        }
        session = check_session(check, json_string_value(name), json_string_length(name));
        json_decref(name);
        record_add(is_parked ? &session->parked : &session->found, &record);
        return true;
}

static bool ends_with(const char *text, const char *end) {
        size_t length = strlen(text), end_length = strlen(end);

        return length > end_length && strcmp(text + length - end_length, end) == 0;
}

/* ---- files ------------------------------------------------------------------------------------- */
static int read_lines(struct check *check, const char *name, const char *text, size_t bytes, bool is_parked) {
        const char *end = text + bytes, *line = text, *feed;
        unsigned number = 0;

        for (; line < end; line = feed + 1) {
                feed = memchr(line, '\n', (size_t) (end - line));
                number++;
                if (!feed) {
                        if (check->is_final) {
                                fprintf(stderr, "baton-checker: the last line of %s is torn\n", name);
                                return 1;
                        }
                        return 0;
                }
                if (!add_line(check, line, feed, is_parked)) {
                        fprintf(stderr, "baton-checker: line %u of %s is no event\n", number, name);
                        return 1;
                }
        }
        return 0;
}

static int read_file(struct check *check, int directory_fd, const char *name) {
        int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
        struct stat status;
        char *text;
        size_t used = 0;
        ssize_t n = 1;
        int r;

        if (fd < 0 || fstat(fd, &status) < 0) {
                fprintf(stderr, "baton-checker: cannot open %s: %s\n", name, strerror(errno));
                return -1;
        }
        text = malloc((size_t) status.st_size + 1);
        while (text && n > 0 && used < (size_t) status.st_size) {
                n = read(fd, text + used, (size_t) status.st_size - used);
                used += n > 0 ? (size_t) n : 0;
        }
        (void) close(fd);
        if (!text || n < 0) {
                free(text);
                return -1;
        }
        r = read_lines(check, name, text, used, ends_with(name, ".parked.jsonl"));
        free(text);
        return r;
}

static int is_lines_file(const struct dirent *entry) {
        return ends_with(entry->d_name, ".jsonl");
}

int read_file_destination(struct check *check) {
        struct dirent **entries;
        int count, fd, r = 0;

        fd = open(check->destination, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -1;
        count = scandirat(fd, ".", &entries, is_lines_file, versionsort);
        for (int i = 0; i < count; i++) {
                int file_r = read_file(check, fd, entries[i]->d_name);

                if (file_r < 0)
                        r = -1;
                else if (file_r > 0)
                        check->destination_is_damaged = true;
                free(entries[i]);
        }
        if (count >= 0)
                free(entries);
        (void) close(fd);
        return r;
}
