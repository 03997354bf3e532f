/* SPDX-License-Identifier: Apache-2.0 */
/* A small grid of characters that boxes and arrows are drawn into, printed with or without colours, in
 * UTF-8 or ASCII. Knows nothing of what it shows. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/macro.h"

#define CANVAS_ROWS 10
#define CANVAS_COLUMNS 78

enum canvas_style {
        STYLE_PLAIN = 0,
        STYLE_BOLD,
        STYLE_DIM,
        STYLE_GOOD,
        STYLE_BAD,
        STYLE_FIRST,
        STYLE_SECOND,
        STYLE_THIRD,
        STYLE_COUNT
};

struct canvas {
        char glyphs[CANVAS_ROWS][CANVAS_COLUMNS][5]; /* "" = a blank */
        uint8_t styles[CANVAS_ROWS][CANVAS_COLUMNS];
        bool is_ascii;
};

void canvas_clear(struct canvas *canvas, bool is_ascii);
/* Text that leaves the grid is cut. */
void canvas_text(struct canvas *canvas, unsigned row, unsigned column, enum canvas_style style,
                 const char *format, ...) _printf_(5, 6);
void canvas_box(struct canvas *canvas, unsigned row, unsigned column, unsigned height, unsigned width,
                enum canvas_style style, const char *title);
/* From column to column - 1 + length, with a head at its end, or a cross in its middle. */
void canvas_arrow(struct canvas *canvas, unsigned row, unsigned column, unsigned length,
                  enum canvas_style style, bool is_cut);
void canvas_print(const struct canvas *canvas, unsigned rows, bool with_colours, FILE *out);
