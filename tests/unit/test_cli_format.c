/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor/cli: figures and foreign texts (C3, C4 of its README), and the demo's canvas. */
#include <criterion/criterion.h>
#include <string.h>

#include "supervisor/cli/demo_canvas.h"
#include "supervisor/cli/format.h"

static char text[FORMAT_BYTES];

Test(cli_format, counts_are_grouped) {
        cr_assert_str_eq(format_count(0, text), "0");
        cr_assert_str_eq(format_count(999, text), "999");
        cr_assert_str_eq(format_count(1000, text), "1,000");
        cr_assert_str_eq(format_count(1234567, text), "1,234,567");
        cr_assert_str_eq(format_count(UINT64_MAX - 1, text), "18,446,744,073,709,551,614");
}

Test(cli_format, unknown_is_never_zero_c4) {
        cr_assert_str_eq(format_count(FORMAT_UNKNOWN, text), "unknown");
        cr_assert_str_eq(format_size(FORMAT_UNKNOWN, text), "unknown");
        cr_assert_str_eq(format_span(FORMAT_UNKNOWN, text), "unknown");
}

Test(cli_format, sizes) {
        cr_assert_str_eq(format_size(0, text), "0 B");
        cr_assert_str_eq(format_size(1023, text), "1023 B");
        cr_assert_str_eq(format_size(1536, text), "1.5 KiB");
        cr_assert_str_eq(format_size(4ULL << 30, text), "4.0 GiB");
        cr_assert_str_eq(format_size(UINT64_MAX - 1, text), "16.0 EiB");
}

static const char *foreign(const char *field, size_t field_bytes) {
        static char harmless[64];

        format_foreign(field, field_bytes, harmless, sizeof(harmless));
        return harmless;
}

Test(cli_format, a_foreign_text_cannot_steer_the_terminal_c3) {
        static const char open_end[4] = { 'a', 'b', 'c', 'd' };

        cr_assert_str_eq(foreign("orders", 7), "orders");
        cr_assert_str_eq(foreign("\033[2Jx\n\177", 8), "?[2Jx ?");
        cr_assert_str_eq(foreign("\xc2\x9b"
                                 "2J",
                                 5),
                         "??2J", "CSI in one character");
        cr_assert_str_eq(foreign("gr\xc3\xbc\xc3\x9f", 7), "gr\xc3\xbc\xc3\x9f", "UTF-8 stays");
        cr_assert_str_eq(foreign("a\xff\xc3", 4), "a??", "no UTF-8: byte for byte");
        cr_assert_str_eq(foreign(open_end, sizeof(open_end)), "abcd", "no terminator");
}

Test(cli_format, a_foreign_text_is_cut_to_its_place_c3) {
        char small[4];

        format_foreign("abcdefgh", 9, small, sizeof(small));
        cr_assert_str_eq(small, "abc");
}

Test(cli_format, columns_are_aligned_by_characters_and_notes_stand_below) {
        _cleanup_table_ struct table table = { .align = "lr" };
        char *printed = NULL;
        size_t bytes;
        FILE *out = open_memstream(&printed, &bytes);

        table_cell(&table, "a");
        table_cell(&table, "%d", 7);
        table_note(&table, "why %s", "it is so");
        table_cell(&table, "gr\xc3\xbc\xc3\x9f"
                           "e");
        table_cell(&table, "%d", 12345);
        table_print(&table, 2, out);
        (void) fclose(out);
        cr_assert_str_eq(printed, "  a          7\n    why it is so\n  gr\xc3\xbc\xc3\x9f"
                                  "e  12345\n");
        free(printed);
}

static char *print_canvas(const struct canvas *canvas, unsigned rows, bool with_colours) {
        char *printed = NULL;
        size_t bytes;
        FILE *out = open_memstream(&printed, &bytes);

        canvas_print(canvas, rows, with_colours, out);
        (void) fclose(out);
        return printed;
}

Test(cli_canvas, boxes_and_arrows) {
        struct canvas canvas;
        char *printed;

        canvas_clear(&canvas, true);
        canvas_box(&canvas, 0, 0, 3, 8, STYLE_BAD, "w");
        canvas_text(&canvas, 1, 2, STYLE_PLAIN, "%d", 42);
        canvas_arrow(&canvas, 1, 8, 4, STYLE_PLAIN, false);
        canvas_arrow(&canvas, 2, 8, 4, STYLE_PLAIN, true);
        printed = print_canvas(&canvas, 3, false);
        cr_assert_str_eq(printed, "+- w --+\n| 42   |--->\n+------+--X-\n");
        free(printed);
}

Test(cli_canvas, colours_end_with_the_line_and_nothing_leaves_the_grid) {
        struct canvas canvas;
        char *printed;

        canvas_clear(&canvas, false);
        canvas_text(&canvas, 0, CANVAS_COLUMNS - 2, STYLE_BAD, "abcdef");
        canvas_text(&canvas, CANVAS_ROWS, 0, STYLE_BAD, "below");
        printed = print_canvas(&canvas, 1, true);
        cr_assert_null(strstr(printed, "c"), "cut at the edge");
        cr_assert_not_null(strstr(printed, "\033[1;31mab\033[0m\n"));
        free(printed);
}
