/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes, arrows and text in a grid. Must not touch: the terminal, but through the FILE it is given. */
#include <stdarg.h>
#include <string.h>

#include "supervisor/cli/demo_canvas.h"

enum line_part {
        LINE_ACROSS,
        LINE_DOWN,
        TOP_LEFT,
        TOP_RIGHT,
        BOTTOM_LEFT,
        BOTTOM_RIGHT,
        HEAD,
        CROSS,
        PART_COUNT
};

static const char *const parts[2][PART_COUNT] = {
        { "─", "│", "╭", "╮", "╰", "╯", "▶", "╳" },
        { "-", "|", "+", "+", "+", "+", ">", "X" },
};

static const char *const escapes[STYLE_COUNT] = {
        [STYLE_PLAIN] = "",          [STYLE_BOLD] = "\033[1m",   [STYLE_DIM] = "\033[2m",
        [STYLE_GOOD] = "\033[32m",   [STYLE_BAD] = "\033[1;31m", [STYLE_FIRST] = "\033[36m",
        [STYLE_SECOND] = "\033[33m", [STYLE_THIRD] = "\033[35m",
};

void canvas_clear(struct canvas *canvas, bool is_ascii) {
        *canvas = (struct canvas){ .is_ascii = is_ascii };
}

static void put(struct canvas *canvas, unsigned row, unsigned column, enum canvas_style style,
                const char *glyph, size_t bytes) {
        if (row >= CANVAS_ROWS || column >= CANVAS_COLUMNS)
                return;
        assert(bytes < sizeof(canvas->glyphs[0][0]));
        memcpy(canvas->glyphs[row][column], glyph, bytes);
        canvas->glyphs[row][column][bytes] = '\0';
        canvas->styles[row][column] = (uint8_t) style;
}

static void put_part(struct canvas *canvas, unsigned row, unsigned column, enum canvas_style style,
                     enum line_part part) {
        const char *glyph = parts[canvas->is_ascii][part];

        put(canvas, row, column, style, glyph, strlen(glyph));
}

void canvas_text(struct canvas *canvas, unsigned row, unsigned column, enum canvas_style style,
                 const char *format, ...) {
        char text[256];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        for (const char *at = text; *at;) {
                size_t bytes = 1;

                while (bytes < 4 && ((unsigned char) at[bytes] & 0xc0) == 0x80)
                        bytes++;
                put(canvas, row, column++, style, at, bytes);
                at += bytes;
        }
}

void canvas_box(struct canvas *canvas, unsigned row, unsigned column, unsigned height, unsigned width,
                enum canvas_style style, const char *title) {
        assert(height >= 2 && width >= 4);

        for (unsigned i = 1; i + 1 < width; i++) {
                put_part(canvas, row, column + i, style, LINE_ACROSS);
                put_part(canvas, row + height - 1, column + i, style, LINE_ACROSS);
        }
        for (unsigned i = 1; i + 1 < height; i++) {
                put_part(canvas, row + i, column, style, LINE_DOWN);
                put_part(canvas, row + i, column + width - 1, style, LINE_DOWN);
        }
        put_part(canvas, row, column, style, TOP_LEFT);
        put_part(canvas, row, column + width - 1, style, TOP_RIGHT);
        put_part(canvas, row + height - 1, column, style, BOTTOM_LEFT);
        put_part(canvas, row + height - 1, column + width - 1, style, BOTTOM_RIGHT);
        canvas_text(canvas, row, column + 2, style, " %s ", title);
}

void canvas_arrow(struct canvas *canvas, unsigned row, unsigned column, unsigned length,
                  enum canvas_style style, bool is_cut) {
        assert(length >= 2);

        for (unsigned i = 0; i + 1 < length; i++)
                put_part(canvas, row, column + i, style, LINE_ACROSS);
        put_part(canvas, row, column + length - 1, style, is_cut ? LINE_ACROSS : HEAD);
        if (is_cut)
                put_part(canvas, row, column + length / 2, style, CROSS);
}

void canvas_print(const struct canvas *canvas, unsigned rows, bool with_colours, FILE *out) {
        assert(rows <= CANVAS_ROWS);

        for (unsigned row = 0; row < rows; row++) {
                enum canvas_style style = STYLE_PLAIN;
                unsigned end = CANVAS_COLUMNS;

                while (end > 0 && canvas->glyphs[row][end - 1][0] == '\0')
                        end--;
                for (unsigned column = 0; column < end; column++) {
                        const char *glyph = canvas->glyphs[row][column];
                        enum canvas_style wanted = glyph[0] ? canvas->styles[row][column] : STYLE_PLAIN;

                        if (with_colours && wanted != style)
                                fprintf(out, "\033[0m%s", escapes[wanted]);
                        style = wanted;
                        fputs(glyph[0] ? glyph : " ", out);
                }
                fputs(with_colours && style != STYLE_PLAIN ? "\033[0m\n" : "\n", out);
        }
}
