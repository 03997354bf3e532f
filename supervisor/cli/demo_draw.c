/* SPDX-License-Identifier: Apache-2.0 */
/* The pictures: outboxes on the left, the worker that runs each in the middle, the destination on the
 * right, and below them owner, position, rate and lag. On a terminal each picture is redrawn in place;
 * elsewhere it is a line a second. Must not touch: anything but stdout. */
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/cli/demo.h"
#include "supervisor/cli/demo_canvas.h"
#include "supervisor/cli/format.h"

#define PICTURE_ROWS 6
#define LEFT 1
#define LEFT_WIDTH 22
#define MIDDLE 34
#define MIDDLE_WIDTH 22
#define RIGHT 61
#define RIGHT_WIDTH 17

static struct {
        bool is_terminal, has_colours, is_ascii;
        char letter;
        const char *title;
        unsigned drawn_rows; /* of the picture on the screen; 0: none yet */
        uint64_t plain_usec; /* frame of the last plain line */
} screen;

void demo_draw_init(void) {
        const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
        struct winsize size = {};

        (void) setlocale(LC_CTYPE, "");
        screen.is_ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
        screen.is_terminal = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
        if (screen.is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 &&
            (size.ws_col <= CANVAS_COLUMNS || size.ws_row < PICTURE_ROWS + 8))
                screen.is_terminal = false; /* too small to redraw in place */
        screen.has_colours = screen.is_terminal && !(no_colour && no_colour[0]);
        (void) setvbuf(stdout, NULL, screen.is_terminal ? _IOFBF : _IOLBF, 1 << 16);
}

static enum canvas_style style_of(const struct demo_frame *frame, unsigned worker) {
        static const enum canvas_style styles[] = { STYLE_FIRST, STYLE_SECOND, STYLE_THIRD };

        if (worker == 0)
                return STYLE_DIM;
        return worker == frame->killed ? STYLE_BAD : styles[(worker - 1) % ELEMENTSOF(styles)];
}

static void draw_worker(struct canvas *canvas, const struct demo_frame *frame, unsigned worker, unsigned row,
                        unsigned height) {
        enum canvas_style style = style_of(frame, worker);
        unsigned text_row = row + (height - 1) / 2;
        char title[32];

        if (worker == 0) {
                canvas_box(canvas, row, MIDDLE, height, MIDDLE_WIDTH, style, "no worker");
                canvas_text(canvas, text_row, MIDDLE + 2, style, "being taken over");
                return;
        }
        (void) snprintf(title, sizeof(title), "worker %u", worker);
        canvas_box(canvas, row, MIDDLE, height, MIDDLE_WIDTH, style, title);
        if (worker == frame->killed)
                canvas_text(canvas, text_row, MIDDLE + 2, style, "pid %d  KILLED",
                            frame->workers[worker - 1].pid);
        else
                canvas_text(canvas, text_row, MIDDLE + 2, STYLE_PLAIN, "pid %d",
                            frame->workers[worker - 1].pid);
}

static void draw_session(struct canvas *canvas, const struct demo_frame *frame, unsigned index) {
        const struct demo_session *session = &frame->sessions[index];
        bool is_cut = session->owner == 0 || session->owner == frame->killed;
        unsigned row = index * 3;
        enum canvas_style style = style_of(frame, session->owner);
        char title[32], count[FORMAT_BYTES];

        (void) snprintf(title, sizeof(title), "outbox %s", demo_sessions[index]);
        canvas_box(canvas, row, LEFT, 3, LEFT_WIDTH, STYLE_PLAIN, title);
        canvas_text(canvas, row + 1, LEFT + 2, STYLE_PLAIN, "%s written",
                    format_count(session->written, count));
        canvas_arrow(canvas, row + 1, LEFT + LEFT_WIDTH, MIDDLE - LEFT - LEFT_WIDTH, style, is_cut);
        canvas_arrow(canvas, row + 1, MIDDLE + MIDDLE_WIDTH, RIGHT - MIDDLE - MIDDLE_WIDTH, style, is_cut);
}

static void draw_boxes(struct canvas *canvas, const struct demo_frame *frame) {
        uint64_t moved = 0;
        char count[FORMAT_BYTES];

        static_assert(DEMO_SESSION_COUNT == 2, "the picture has two rows");
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++) {
                draw_session(canvas, frame, i);
                moved += frame->sessions[i].position;
        }
        if (frame->sessions[0].owner == frame->sessions[1].owner)
                draw_worker(canvas, frame, frame->sessions[0].owner, 0, PICTURE_ROWS);
        else
                for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++)
                        draw_worker(canvas, frame, frame->sessions[i].owner, i * 3, 3);
        canvas_box(canvas, 0, RIGHT, PICTURE_ROWS, RIGHT_WIDTH, STYLE_PLAIN, "destination");
        canvas_text(canvas, 2, RIGHT + 2, STYLE_PLAIN, "events.db");
        canvas_text(canvas, 3, RIGHT + 2, STYLE_PLAIN, "%s", format_count(moved, count));
        canvas_text(canvas, 4, RIGHT + 2, STYLE_PLAIN, "events moved");
}

static const char *owner_text(const struct demo_frame *frame, unsigned owner, char *buffer,
                              size_t buffer_bytes) {
        if (owner == 0)
                return "nobody";
        (void) snprintf(buffer, buffer_bytes, "worker %u (pid %d)%s", owner, frame->workers[owner - 1].pid,
                        owner == frame->killed ? " KILLED" : "");
        return buffer;
}

static const char *rate_text(double rate, char *buffer) {
        char count[FORMAT_BYTES];

        if (rate < 0)
                return "-";
        (void) snprintf(buffer, FORMAT_BYTES, "%s/s", format_count((uint64_t) (rate + 0.5), count));
        return buffer;
}

static void print_rows(const struct demo_frame *frame) {
        _cleanup_table_ struct table table = { .align = "llrrr" };
        static const char *const titles[] = { "session   ", "owner                     ", "  position",
                                              "       rate", "       lag" };
        char owner[64], text[FORMAT_BYTES], rate[FORMAT_BYTES];

        for (size_t i = 0; i < ELEMENTSOF(titles); i++)
                table_cell(&table, "%s", titles[i]);
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++) {
                const struct demo_session *session = &frame->sessions[i];

                table_cell(&table, "%s", demo_sessions[i]);
                table_cell(&table, "%s", owner_text(frame, session->owner, owner, sizeof(owner)));
                table_cell(&table, "%s", format_count(session->position, text));
                table_cell(&table, "%s", rate_text(session->rate, rate));
                table_cell(&table, "%s", format_count(session->written - session->position, text));
        }
        table_print(&table, 3, stdout);
}

/* Lines: title, boxes, three of the table, the note. */
#define SCREEN_ROWS (1 + PICTURE_ROWS + 1 + DEMO_SESSION_COUNT + 1)

static void draw_on_terminal(const struct demo_frame *frame, const char *note) {
        struct canvas canvas;

        if (screen.drawn_rows > 0)
                printf("\033[%uA\033[J", screen.drawn_rows);
        printf("%s %c  %s%s%*.1f s\n", screen.has_colours ? "\033[1m" : "", screen.letter, screen.title,
               screen.has_colours ? "\033[0m" : "", (int) (CANVAS_COLUMNS - 6 - format_width(screen.title)),
               (double) frame->usec / USEC_PER_SEC);
        canvas_clear(&canvas, screen.is_ascii);
        draw_boxes(&canvas, frame);
        canvas_print(&canvas, PICTURE_ROWS, screen.has_colours, stdout);
        print_rows(frame);
        printf("   %s\n", note ? note : "");
        screen.drawn_rows = SCREEN_ROWS;
        (void) fflush(stdout);
}

static void print_line(const struct demo_frame *frame, const char *note) {
        char owner[64], count[FORMAT_BYTES], rate[FORMAT_BYTES], lag[FORMAT_BYTES];

        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++) {
                const struct demo_session *session = &frame->sessions[i];

                printf("   %5.1f s  %-8s  %s, position %s, %s, lag %s\n", (double) frame->usec / USEC_PER_SEC,
                       demo_sessions[i], owner_text(frame, session->owner, owner, sizeof(owner)),
                       format_count(session->position, count), rate_text(session->rate, rate),
                       format_count(session->written - session->position, lag));
        }
        if (note && note[0])
                printf("   %5.1f s  %s\n", (double) frame->usec / USEC_PER_SEC, note);
        screen.plain_usec = frame->usec;
}

void demo_draw_begin(char letter, const char *title) {
        screen.letter = letter;
        screen.title = title;
        screen.drawn_rows = 0;
        screen.plain_usec = 0;
        puts("");
        if (!screen.is_terminal)
                printf(" %c  %s\n", letter, title);
}

void demo_draw(const struct demo_frame *frame, const char *note) {
        if (screen.is_terminal)
                draw_on_terminal(frame, note);
        else if (screen.plain_usec == 0 || frame->usec >= screen.plain_usec + USEC_PER_SEC)
                print_line(frame, note);
}

void demo_draw_end(const struct demo_frame *frame, const char *note) {
        if (screen.is_terminal)
                draw_on_terminal(frame, note);
        else if (screen.plain_usec != frame->usec)
                print_line(frame, note);
        screen.drawn_rows = 0;
}

void demo_say(const char *format, ...) {
        va_list arguments;

        fputs("   ", stdout);
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        puts("");
        (void) fflush(stdout);
}
