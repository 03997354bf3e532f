/* SPDX-License-Identifier: Apache-2.0 */
/* Figures and texts as a person reads them. Must not touch: locale; output but the FILE it is given. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "supervisor/cli/format.h"

void *must_have(void *memory) {
        if (!memory) {
                fputs("baton: out of memory\n", stderr);
                exit(1);
        }
        return memory;
}

const char *format_count(uint64_t value, char *buffer) {
        char digits[FORMAT_BYTES];
        size_t length, out = 0;

        if (value == FORMAT_UNKNOWN)
                return strcpy(buffer, "unknown");
        length = (size_t) snprintf(digits, sizeof(digits), "%" PRIu64, value);
        for (size_t i = 0; i < length; i++) {
                if (i > 0 && (length - i) % 3 == 0)
                        buffer[out++] = ',';
                buffer[out++] = digits[i];
        }
        buffer[out] = '\0';
        assert(out < FORMAT_BYTES);
        return buffer;
}

const char *format_size(uint64_t bytes, char *buffer) {
        static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
        double value = (double) bytes / 1024;
        size_t unit = 0;

        if (bytes == FORMAT_UNKNOWN)
                return strcpy(buffer, "unknown");
        if (bytes < 1024) {
                (void) snprintf(buffer, FORMAT_BYTES, "%" PRIu64 " B", bytes);
                return buffer;
        }
        while (value >= 1024 && unit + 1 < ELEMENTSOF(units)) {
                value /= 1024;
                unit++;
        }
        (void) snprintf(buffer, FORMAT_BYTES, "%.1f %s", value, units[unit]);
        return buffer;
}

const char *format_span(uint64_t span_usec, char *buffer) {
        if (span_usec == FORMAT_UNKNOWN)
                return strcpy(buffer, "unknown");
        clock_format_span(span_usec, buffer, FORMAT_BYTES);
        return buffer;
}

void format_foreign(const char *field, size_t field_bytes, char *ret_text, size_t text_bytes) {
        size_t length = strnlen(field, field_bytes);

        assert(text_bytes > 0);

        length = MIN_OF(length, text_bytes - 1);
        memmove(ret_text, field, length); /* a field may be made harmless where it stands */
        ret_text[length] = '\0';
        text_make_harmless(ret_text);
}

size_t format_width(const char *text) {
        size_t width = 0;

        for (; *text; text++)
                width += ((unsigned char) *text & 0xc0) != 0x80;
        return width;
}

void table_cell(struct table *table, const char *format, ...) {
        va_list arguments;
        char *cell = NULL;
        int r;

        if (table->cell_count == table->cell_capacity) {
                table->cell_capacity = MAX_OF(table->cell_capacity * 2, (size_t) 64);
                table->cells = must_have(
                        reallocarray(table->cells, table->cell_capacity, sizeof(table->cells[0])));
        }
        va_start(arguments, format);
        r = vasprintf(&cell, format, arguments);
        va_end(arguments);
        table->cells[table->cell_count++] = must_have(r < 0 ? NULL : cell);
}

void table_note(struct table *table, const char *format, ...) {
        va_list arguments;
        char *text = NULL;
        int r;

        assert(table->cell_count > 0 && table->cell_count % strlen(table->align) == 0);

        if (table->note_count == table->note_capacity) {
                table->note_capacity = MAX_OF(table->note_capacity * 2, (size_t) 16);
                table->notes = must_have(
                        reallocarray(table->notes, table->note_capacity, sizeof(table->notes[0])));
        }
        va_start(arguments, format);
        r = vasprintf(&text, format, arguments);
        va_end(arguments);
        table->notes[table->note_count++] = (struct table_note){ .cell_count = table->cell_count,
                                                                 .text = must_have(r < 0 ? NULL : text) };
}

static void print_row(const struct table *table, size_t first, const size_t *widths, unsigned indent,
                      FILE *out) {
        size_t columns = strlen(table->align);

        fprintf(out, "%*s", (int) indent, "");
        for (size_t column = 0; column < columns && first + column < table->cell_count; column++) {
                const char *cell = table->cells[first + column];
                int padding = (int) (widths[column] - format_width(cell));
                bool is_last = column + 1 == columns;

                if (table->align[column] == 'r')
                        fprintf(out, "%*s%s", padding, "", cell);
                else
                        fprintf(out, "%s%*s", cell, is_last ? 0 : padding, "");
                fputs(is_last ? "\n" : "  ", out);
        }
}

void table_print(const struct table *table, unsigned indent, FILE *out) {
        size_t columns = strlen(table->align), note = 0;
        size_t widths[16] = {};

        assert(columns > 0 && columns <= ELEMENTSOF(widths));
        assert(table->cell_count % columns == 0);

        for (size_t i = 0; i < table->cell_count; i++)
                widths[i % columns] = MAX_OF(widths[i % columns], format_width(table->cells[i]));
        for (size_t i = 0; i < table->cell_count; i += columns) {
                print_row(table, i, widths, indent, out);
                for (; note < table->note_count && table->notes[note].cell_count == i + columns; note++)
                        fprintf(out, "%*s%s\n", (int) (2 * indent), "", table->notes[note].text);
        }
}

void table_done(struct table *table) {
        for (size_t i = 0; i < table->cell_count; i++)
                free(table->cells[i]);
        free(table->cells);
        for (size_t i = 0; i < table->note_count; i++)
                free(table->notes[i].text);
        free(table->notes);
        *table = (struct table){};
}
