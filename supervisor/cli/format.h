/* SPDX-License-Identifier: Apache-2.0 */
/* How figures and texts look to a person: grouped digits, sizes, aligned columns, and text from another
 * process with nothing in it that a terminal would obey (P1). Unknown is "unknown", never zero. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/macro.h"

#define FORMAT_BYTES 32
#define FORMAT_UNKNOWN UINT64_MAX

/* "18,204"; "unknown" for FORMAT_UNKNOWN. Return the buffer, at least FORMAT_BYTES long. */
const char *format_count(uint64_t value, char *buffer);
/* "4.2 MiB". */
const char *format_size(uint64_t bytes, char *buffer);
/* "2.1 s" (clock_format_span), "unknown". */
const char *format_span(uint64_t span_usec, char *buffer);

/* Copies a text of another process: terminated, valid UTF-8, and every control character a '?'. */
void format_foreign(const char *field, size_t field_bytes, char *ret_text, size_t text_bytes);
/* Columns that a UTF-8 text takes (one for each character). */
size_t format_width(const char *text);

/* A table of cells, filled from left to right, printed with aligned columns and two spaces between.
 * `align` has one letter for each column: 'l' or 'r'. */
struct table {
        const char *align;
        char **cells;
        size_t cell_count, cell_capacity;
        struct table_note {
                size_t cell_count; /* it stands below the row that these cells end with */
                char *text;
        } * notes;
        size_t note_count, note_capacity;
};
void table_cell(struct table *table, const char *format, ...) _printf_(2, 3);
/* A line of its own below the row that was filled last. */
void table_note(struct table *table, const char *format, ...) _printf_(2, 3);
/* indent: spaces before each row; twice as many before a note. */
void table_print(const struct table *table, unsigned indent, FILE *out);
void table_done(struct table *table);
#define _cleanup_table_ _cleanup_(table_done)

/* Never NULL: a command line that is out of memory says so and exits with 1. */
void *must_have(void *memory);
