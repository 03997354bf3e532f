/* SPDX-License-Identifier: Apache-2.0 */
/* Is this text JSON? A strict scanner of RFC 8259 that builds nothing and changes nothing.
 *
 * Why not jansson: it refuses documents that are valid (integers beyond 64 bits, reals beyond a double,
 * lone surrogate escapes, \u0000), and what it accepts comes back with other digits. A payload travels
 * verbatim, so a parser that means something by it is the wrong judge: a valid payload would be parked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Arrays and objects deeper than this are refused: no reader's stack is endless. */
#define FILE_JSON_DEPTH_MAX 1024

struct file_json_error {
        const char *what;    /* constant text, never a piece of the document (P5) */
        size_t offset_bytes; /* where, counted from 0 */
};

/* 0 and *ret_has_breaks (a raw line feed, carriage return or tab stands in it: in valid JSON that is
 * always outside of strings), or -EBADMSG and *ret_error. */
int file_json_check(const void *data, size_t bytes, bool *ret_has_breaks, struct file_json_error *ret_error);

/* Length of the UTF-8 character that begins here (1-4), or 0 where none does: strict, so no overlong
 * form, no surrogate, nothing above U+10FFFF. bytes > 0. */
size_t file_utf8_step(const uint8_t *text, size_t bytes);

/* True if none of the 8 bytes needs a look: printable ASCII (or DEL), no quote, no backslash. */
static inline bool file_json_word_is_plain(const uint8_t *text) {
        const uint64_t ones = 0x0101010101010101ULL, highs = 0x8080808080808080ULL;
        uint64_t word, quote, backslash;

        __builtin_memcpy(&word, text, sizeof(word));
        quote = word ^ (ones * '"');
        backslash = word ^ (ones * '\\');
        return !((word | (word - ones * 0x20) | (quote - ones) | (backslash - ones)) & highs);
}
