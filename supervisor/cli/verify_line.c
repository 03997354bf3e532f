/* SPDX-License-Identifier: Apache-2.0 */
/* One line of a .jsonl file: cut into its members without being changed, so that a payload is compared
 * byte for byte and a number digit for digit. Strings are decoded by jansson.
 * Must not touch: files. What comes in is input: bounded by its length, refused where it is no object. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/cli/format.h"
#include "supervisor/cli/verify.h"

struct scanner {
        const char *at, *end;
};

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct scanner *scanner) {
        while (scanner->at < scanner->end && is_space(*scanner->at))
                scanner->at++;
}

static bool take(struct scanner *scanner, char c) {
        skip_space(scanner);
        if (scanner->at == scanner->end || *scanner->at != c)
                return false;
        scanner->at++;
        return true;
}

static bool skip_string(struct scanner *scanner) {
        if (!take(scanner, '"'))
                return false;
        for (; scanner->at < scanner->end; scanner->at++) {
                if (*scanner->at == '"') {
                        scanner->at++;
                        return true;
                }
                if (*scanner->at == '\\')
                        scanner->at++;
        }
        return false;
}

/* An array or object: brackets are counted, whatever they are; strings are stepped over. */
static bool skip_nested(struct scanner *scanner) {
        size_t depth = 0;

        while (scanner->at < scanner->end) {
                char c = *scanner->at;

                if (c == '"') {
                        if (!skip_string(scanner))
                                return false;
                        continue;
                }
                scanner->at++;
                if (c == '{' || c == '[')
                        depth++;
                else if (c == '}' || c == ']') {
                        depth--;
                        if (depth == 0)
                                return true;
                }
        }
        return false;
}

static bool take_value(struct scanner *scanner, struct verify_text *ret_text) {
        const char *start;
        bool is_whole = true;

        skip_space(scanner);
        start = scanner->at;
        if (start == scanner->end)
                return false;
        if (*start == '"')
                is_whole = skip_string(scanner);
        else if (*start == '{' || *start == '[')
                is_whole = skip_nested(scanner);
        else
                while (scanner->at < scanner->end && !strchr(",}] \t\r\n", *scanner->at))
                        scanner->at++;
        if (!is_whole || scanner->at <= start || scanner->at > scanner->end)
                return false;
        *ret_text = (struct verify_text){ .data = start, .bytes = (size_t) (scanner->at - start) };
        return true;
}

static bool text_is(const struct verify_text *text, const char *expected) {
        return text->bytes == strlen(expected) && memcmp(text->data, expected, text->bytes) == 0;
}

static int parse_position(const struct verify_text *text, uint64_t *ret_position) {
        char digits[24];

        if (text->bytes == 0 || text->bytes >= sizeof(digits))
                return -EBADMSG;
        memcpy(digits, text->data, text->bytes);
        digits[text->bytes] = '\0';
        return text_parse_u64(digits, ret_position) < 0 ? -EBADMSG : 0;
}

int verify_line_parse(const char *text, size_t bytes, struct verify_line *ret_line) {
        struct scanner scanner = { .at = text, .end = text + bytes };
        struct verify_text name, value, position = {};
        struct verify_line line = {};
        const struct {
                const char *name;
                struct verify_text *field;
        } members[] = {
                { "\"session\"", &line.session }, { "\"position\"", &position },
                { "\"key\"", &line.key },         { "\"type\"", &line.type },
                { "\"at\"", &line.at },           { "\"payload\"", &line.payload },
        };

        if (!take(&scanner, '{'))
                return -EBADMSG;
        do {
                skip_space(&scanner);
                if (!take_value(&scanner, &name) || name.data[0] != '"' || !take(&scanner, ':') ||
                    !take_value(&scanner, &value))
                        return -EBADMSG;
                for (size_t i = 0; i < ELEMENTSOF(members); i++)
                        if (text_is(&name, members[i].name))
                                *members[i].field = value;
        } while (take(&scanner, ','));
        if (!take(&scanner, '}'))
                return -EBADMSG;
        skip_space(&scanner);
        if (scanner.at != scanner.end)
                return -EBADMSG;
        for (size_t i = 0; i < ELEMENTSOF(members); i++)
                if (!members[i].field->data)
                        return -EBADMSG;
        if (parse_position(&position, &line.position) < 0)
                return -EBADMSG;
        *ret_line = line;
        return 0;
}

/* The string's bytes: in the line itself where nothing is escaped, else in *ret_json (decref it). */
static bool decode(const struct verify_text *text, json_t **ret_json, struct verify_text *ret_decoded) {
        if (text->bytes < 2 || text->data[0] != '"')
                return false;
        if (!memchr(text->data, '\\', text->bytes)) {
                *ret_decoded = (struct verify_text){ .data = text->data + 1, .bytes = text->bytes - 2 };
                return true;
        }
        *ret_json = json_loadb(text->data, text->bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (!json_is_string(*ret_json))
                return false;
        *ret_decoded = (struct verify_text){ .data = json_string_value(*ret_json),
                                             .bytes = json_string_length(*ret_json) };
        return true;
}

static bool string_is(const struct verify_text *text, const void *data, size_t bytes) {
        struct verify_text decoded;
        json_t *json = NULL;
        bool is_same;

        is_same = decode(text, &json, &decoded) && decoded.bytes == bytes &&
                  (bytes == 0 || memcmp(decoded.data, data, bytes) == 0);
        json_decref(json);
        return is_same;
}

/* The text as a terminated number; false where it is too long to be one. */
static bool number_text(const struct verify_text *text, char *ret_digits, size_t digits_bytes) {
        if (text->bytes >= digits_bytes || !strchr("-0123456789", text->data[0]))
                return false;
        memcpy(ret_digits, text->data, text->bytes);
        ret_digits[text->bytes] = '\0';
        return true;
}

static bool plain_is(const struct verify_text *text, const struct event_value *value) {
        char digits[48], expected[24];

        switch (value->type) {
        case VALUE_NULL:
                return text_is(text, "null");
        case VALUE_INTEGER:
                (void) snprintf(expected, sizeof(expected), "%" PRId64, value->integer);
                return text_is(text, expected);
        case VALUE_FLOAT:
                return number_text(text, digits, sizeof(digits)) && strpbrk(digits, ".eE") &&
                       strtod(digits, NULL) == value->real;
        case VALUE_TEXT:
                return string_is(text, value->data, value->bytes);
        case VALUE_BLOB:
                return false;
        }
        return false;
}

/* A document is in the line as it is, but for line breaks and tabs between its parts. */
static bool document_is(const struct verify_text *text, const struct event_value *value) {
        const char *data = value->data;
        size_t bytes = value->bytes;

        while (bytes > 0 && is_space(data[0])) {
                data++;
                bytes--;
        }
        while (bytes > 0 && is_space(data[bytes - 1]))
                bytes--;
        if (bytes != text->bytes)
                return false;
        for (size_t i = 0; i < bytes; i++)
                if (text->data[i] != data[i] && !(text->data[i] == ' ' && is_space(data[i])))
                        return false;
        return true;
}

bool verify_line_is_event(const struct verify_line *line, const struct event *event) {
        bool is_document = event->payload.type == VALUE_TEXT || event->payload.type == VALUE_BLOB;

        return plain_is(&line->key, &event->key) && plain_is(&line->type, &event->type) &&
               plain_is(&line->at, &event->at) &&
               (is_document ? document_is(&line->payload, &event->payload)
                            : plain_is(&line->payload, &event->payload));
}

bool verify_line_is_session(const struct verify_line *line, const char *session) {
        return string_is(&line->session, session, strlen(session));
}

static int base64_value(char c) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *at = c ? strchr(digits, c) : NULL;

        return at ? (int) (at - digits) : -1;
}

/* A new JSON string that holds the bytes; NULL where it is no base64. */
static json_t *base64_decode(const char *text, size_t bytes) {
        char *decoded = must_have(malloc(bytes + 1));
        unsigned bits = 0, bit_count = 0;
        size_t count = 0;
        json_t *json;

        while (bytes > 0 && text[bytes - 1] == '=')
                bytes--;
        for (size_t i = 0; i < bytes; i++) {
                int value = base64_value(text[i]);

                if (value < 0) {
                        free(decoded);
                        return NULL;
                }
                bits = bits << 6 | (unsigned) value;
                bit_count += 6;
                if (bit_count >= 8) {
                        bit_count -= 8;
                        decoded[count++] = (char) (bits >> bit_count);
                }
        }
        json = json_stringn_nocheck(decoded, count);
        free(decoded);
        return json;
}

/* What JSON cannot say, as parked lines keep it: {"base64":…,"class":"text"|"blob"}, {"float":"NaN"}. */
static struct event_value kept_value(const struct verify_text *text, json_t **ret_json) {
        json_t *object = json_loadb(text->data, text->bytes, JSON_ALLOW_NUL, NULL);
        const char *class = json_string_value(json_object_get(object, "class"));
        const char *number = json_string_value(json_object_get(object, "float"));
        json_t *base64 = json_object_get(object, "base64");
        struct event_value value = { .type = VALUE_NULL };

        if (number)
                value = (struct event_value){ .type = VALUE_FLOAT, .real = strtod(number, NULL) };
        else if (class && json_is_string(base64))
                *ret_json = base64_decode(json_string_value(base64), json_string_length(base64));
        if (*ret_json)
                value = (struct event_value){ .type = strcmp(class, "blob") == 0 ? VALUE_BLOB : VALUE_TEXT,
                                              .data = json_string_value(*ret_json),
                                              .bytes = (uint32_t) json_string_length(*ret_json) };
        json_decref(object);
        return value;
}

/* The value that it most likely was. *ret_json (decref it) may hold its bytes. */
static struct event_value guess(const struct verify_text *text, json_t **ret_json) {
        struct verify_text decoded;
        char digits[48];

        if (decode(text, ret_json, &decoded))
                return (struct event_value){ .type = VALUE_TEXT,
                                             .data = decoded.data,
                                             .bytes = (uint32_t) decoded.bytes };
        if (text->data[0] == '{')
                return kept_value(text, ret_json);
        if (!number_text(text, digits, sizeof(digits)))
                return (struct event_value){ .type = VALUE_NULL };
        if (strpbrk(digits, ".eE"))
                return (struct event_value){ .type = VALUE_FLOAT, .real = strtod(digits, NULL) };
        return (struct event_value){ .type = VALUE_INTEGER, .integer = strtoll(digits, NULL, 10) };
}

uint64_t verify_line_digest(const struct verify_line *line, bool is_parked) {
        json_t *json[4] = {};
        struct event event = {
                .position = line->position,
                .key = guess(&line->key, &json[0]),
                .type = guess(&line->type, &json[1]),
                .at = guess(&line->at, &json[2]),
                .payload = { .type = VALUE_TEXT,
                             .data = line->payload.data,
                             .bytes = (uint32_t) line->payload.bytes },
        };
        uint64_t digest;

        /* An event's payload is the document itself; a parked one's is a value like the others. */
        if (is_parked || text_is(&line->payload, "null"))
                event.payload = guess(&line->payload, &json[3]);
        digest = verify_digest(&event);
        for (size_t i = 0; i < ELEMENTSOF(json); i++)
                json_decref(json[i]);
        return digest;
}
