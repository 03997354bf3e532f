/* SPDX-License-Identifier: Apache-2.0 */
/* Text: bounded copies, numbers, UTF-8, the nearest known name, URLs.
 * Must not touch: locale. Numbers are C's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies text into a field of field_bytes and zero-fills the rest. 0, or -ENAMETOOLONG with the
 * field untouched. */
int text_copy(char *field, size_t field_bytes, const char *text);

/* True if a NUL stands within field_bytes (bytes of another process are input: P1). */
bool text_is_terminated(const char *field, size_t field_bytes);

/* Valid UTF-8 without NUL, over exactly `bytes`. */
bool text_is_utf8(const void *data, size_t bytes);

/* In place, as long as before: one line of valid UTF-8 that no terminal obeys. Line breaks and tabs become
 * spaces; other control characters, and every byte that is no part of a character, become '?'. */
void text_make_harmless(char *text);

/* Whole decimal number, no sign, no space, nothing after it. 0, -EINVAL, -ERANGE. */
int text_parse_u64(const char *text, uint64_t *ret_value);

/* "10000", "4M", "4MiB", "64K", "1G" → bytes (powers of 1024). 0, -EINVAL, -ERANGE. */
int text_parse_bytes(const char *text, uint64_t *ret_bytes);

/* yes/no/true/false/on/off/1/0. 0 or -EINVAL. */
int text_parse_bool(const char *text, bool *ret_value);

/* The entry of names[] nearest to `text` (Damerau-Levenshtein), or NULL where none is near enough
 * to be meant (more than a third of its length away, at least 2 allowed). names ends with NULL. */
const char *text_nearest(const char *text, const char *const *names);

/* A session's or source's name: 1–63 of [a-z A-Z 0-9 . _ -], no leading '.' or '-'. */
#define NAME_BYTES 64
bool text_is_name(const char *text);

/* An SQL identifier that needs no quotes: [A-Za-z_][A-Za-z0-9_]{0,62}. What Baton accepts as a table
 * or column name in an option, so that no option can carry SQL. */
bool text_is_identifier(const char *text);
