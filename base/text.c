/* SPDX-License-Identifier: Apache-2.0 */
/* Text: bounded copies, numbers, UTF-8, names, the nearest known word.
 * Must not touch: locale; every class of characters here is ASCII's. Allocates nothing. */

#include "base/text.h"

#include <errno.h>
#include <string.h>

#include "base/macro.h"

int text_copy(char *field, size_t field_bytes, const char *text) {
        size_t length;

        assert(field);
        assert(text);

        length = strnlen(text, field_bytes);
        if (length >= field_bytes)
                return -ENAMETOOLONG;
        memcpy(field, text, length);
        /* The rest too: fields lie in files and in the segment, where old bytes would be read. */
        memset(field + length, 0, field_bytes - length);
        return 0;
}

bool text_is_terminated(const char *field, size_t field_bytes) {
        assert(field);

        return memchr(field, '\0', field_bytes) != NULL;
}

/* Bytes of the character at p if it is whole and well formed, else 0. */
static size_t utf8_character(const uint8_t *p, size_t bytes) {
        uint32_t code;
        size_t length;

        if (*p == 0)
                return 0;
        if (*p < 0x80)
                return 1;
        if (*p >= 0xc2 && *p <= 0xdf)
                length = 2, code = *p & 0x1f;
        else if (*p >= 0xe0 && *p <= 0xef)
                length = 3, code = *p & 0x0f;
        else if (*p >= 0xf0 && *p <= 0xf4)
                length = 4, code = *p & 0x07;
        else
                return 0; /* a continuation, an overlong lead, or above U+10FFFF */
        if (length > bytes)
                return 0;
        for (size_t i = 1; i < length; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                code = code << 6 | (p[i] & 0x3f);
        }
        if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10ffff)))
                return 0;
        if (code >= 0xd800 && code <= 0xdfff)
                return 0; /* half of a UTF-16 pair */
        return length;
}

/* True if all eight bytes are ASCII and none is NUL. */
static bool is_plain_word(const uint8_t *p) {
        uint64_t word;

        memcpy(&word, p, sizeof word);
        /* A byte of 0 borrows into its top bit when 1 is taken from it. */
        return !((word | (word - 0x0101010101010101ULL)) & 0x8080808080808080ULL);
}

bool text_is_utf8(const void *data, size_t bytes) {
        const uint8_t *p = data, *end;

        if (bytes == 0)
                return true;
        assert(data);

        end = p + bytes;
        while (p < end) {
                size_t length;

                if (end - p >= 8 && is_plain_word(p)) {
                        p += 8;
                        continue;
                }
                length = utf8_character(p, (size_t) (end - p));
                if (length == 0)
                        return false;
                p += length;
        }
        return true;
}

void text_make_harmless(char *text) {
        size_t bytes, length;

        assert(text);

        bytes = strlen(text);
        for (size_t i = 0; i < bytes; i += length) {
                uint8_t *p = (uint8_t *) text + i;

                length = utf8_character(p, bytes - i);
                if (length == 2 && p[0] == 0xc2 && p[1] < 0xa0) /* U+0080 … U+009F are controls too */
                        memset(p, '?', length);
                else if (*p >= '\t' && *p <= '\r')
                        *p = ' ';
                else if (length == 0 || *p < 0x20 || *p == 0x7f)
                        *p = '?';
                length = MAX_OF(length, (size_t) 1);
        }
}

/* Digits at the front of *text; moves it behind them. */
static int parse_digits(const char **text, uint64_t *ret_value) {
        const char *p = *text;
        uint64_t value = 0;

        if (*p < '0' || *p > '9')
                return -EINVAL;
        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t) (*p - '0'), &value))
                        return -ERANGE;
        *text = p;
        *ret_value = value;
        return 0;
}

int text_parse_u64(const char *text, uint64_t *ret_value) {
        uint64_t value;
        int r;

        assert(text);
        assert(ret_value);

        /* "99999999999999999999x" is no number, rather than one out of range. */
        if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
                return -EINVAL;
        r = parse_digits(&text, &value);
        if (r < 0)
                return r;
        *ret_value = value;
        return 0;
}

int text_parse_bytes(const char *text, uint64_t *ret_bytes) {
        static const char letters[] = "KMGT";
        uint64_t value;
        const char *letter;
        int r;

        assert(text);
        assert(ret_bytes);

        r = parse_digits(&text, &value);
        if (r < 0)
                return r;
        letter = *text ? strchr(letters, *text) : NULL;
        if (letter) {
                unsigned shift = 10 * (unsigned) (letter - letters + 1);

                text++;
                if (strcmp(text, "iB") == 0)
                        text += 2;
                if (value > UINT64_MAX >> shift)
                        return -ERANGE;
                value <<= shift;
        } else if (strcmp(text, "B") == 0)
                text++;
        if (*text)
                return -EINVAL;
        *ret_bytes = value;
        return 0;
}

int text_parse_bool(const char *text, bool *ret_value) {
        static const struct {
                const char *word;
                bool value;
        } words[] = {
                { "yes", true }, { "true", true },   { "on", true },   { "1", true },
                { "no", false }, { "false", false }, { "off", false }, { "0", false },
        };

        assert(text);
        assert(ret_value);

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcmp(text, words[i].word) == 0) {
                        *ret_value = words[i].value;
                        return 0;
                }
        return -EINVAL;
}

/* Longer words are never options or sections. */
#define NEAREST_BYTES 64

/* Damerau-Levenshtein in its restricted form: insert, delete, replace, swap of neighbours cost 1
 * each, and nothing is edited twice. Three rows suffice: this one and the two above it. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length) {
        size_t rows[3][NEAREST_BYTES + 1];

        for (size_t j = 0; j <= b_length; j++)
                rows[0][j] = j;
        for (size_t i = 1; i <= a_length; i++) {
                size_t *row = rows[i % 3];
                const size_t *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];

                row[0] = i;
                for (size_t j = 1; j <= b_length; j++) {
                        row[j] = MIN_OF(MIN_OF(above[j] + 1, row[j - 1] + 1),
                                        above[j - 1] + (a[i - 1] != b[j - 1]));
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                row[j] = MIN_OF(row[j], two_above[j - 2] + 1);
                }
        }
        return rows[a_length % 3][b_length];
}

const char *text_nearest(const char *text, const char *const *names) {
        const char *nearest = NULL;
        size_t length, nearest_distance = SIZE_MAX;

        assert(text);
        assert(names);

        length = strnlen(text, NEAREST_BYTES + 1);
        if (length == 0 || length > NEAREST_BYTES)
                return NULL;
        for (; *names; names++) {
                size_t name_length = strnlen(*names, NEAREST_BYTES + 1), d;

                if (name_length > NEAREST_BYTES)
                        continue;
                d = distance(text, length, *names, name_length);
                /* A word of which nothing is left was not meant. */
                if (d > MAX_OF(length / 3, (size_t) 2) || d >= MAX_OF(length, name_length))
                        continue;
                if (d < nearest_distance) {
                        nearest_distance = d;
                        nearest = *names;
                }
        }
        return nearest;
}

static bool is_letter_or_digit(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool text_is_name(const char *text) {
        size_t length;

        assert(text);

        length = strnlen(text, NAME_BYTES);
        if (length == 0 || length >= NAME_BYTES || *text == '.' || *text == '-')
                return false;
        for (; *text; text++)
                if (!is_letter_or_digit(*text) && *text != '.' && *text != '_' && *text != '-')
                        return false;
        return true;
}

bool text_is_identifier(const char *text) {
        size_t length;

        assert(text);

        length = strnlen(text, NAME_BYTES);
        if (length == 0 || length >= NAME_BYTES || (*text >= '0' && *text <= '9'))
                return false;
        for (; *text; text++)
                if (!is_letter_or_digit(*text) && *text != '_')
                        return false;
        return true;
}
