/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: what stands on stderr, on one line each, and what does not. */

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static FILE *capture;

/* stderr goes into a file of the test's own process. */
static void redirect(void) {
        (void) unsetenv("JOURNAL_STREAM");
        capture = tmpfile();
        cr_assert_not_null(capture);
        cr_assert_geq(dup2(fileno(capture), STDERR_FILENO), 0);
}

TestSuite(log, .init = redirect);

static const char *captured(void) {
        static char text[1 << 16];
        size_t bytes;

        rewind(capture);
        bytes = fread(text, 1, sizeof text - 1, capture);
        text[bytes] = '\0';
        return text;
}

static void expect(const char *pattern) {
        regex_t regex;

        cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
        cr_assert_eq(regexec(&regex, captured(), 0, NULL, 0), 0, "%s", captured());
        regfree(&regex);
}

Test(log, a_line_has_time_program_sentence_and_fields) {
        log_init("batond");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_INFO,
                 &(struct log_fields){ .session = "orders",
                                       .destination = "events",
                                       .reason = "two words",
                                       .worker_ref = 3 << 16 | 7,
                                       .epoch = (3ULL << 32) + 4,
                                       .position = 99,
                                       .takeover_usec = 250,
                                       .pid = 4711 },
                 "session %s is taken over", "orders");
        expect("^[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3} batond: session orders is taken over "
               "\\[session=orders destination=events worker=7 worker_generation=3 pid=4711 epoch=3.4 "
               "position=99 takeover_usec=250 reason=\"two words\"\\]\n$");
}

Test(log, a_reason_that_the_sentence_gives_is_not_repeated) {
        log_line(MESSAGE_SUPERVISOR_READY, LOG_ERR,
                 &(struct log_fields){ .session = "orders", .reason = "two words" },
                 "session orders stopped: two words");
        expect("session orders stopped: two words \\[session=orders\\]\n$");
}

Test(log, without_fields_there_are_no_brackets) {
        log_init("baton-worker");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_NOTICE, NULL, "ready");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_NOTICE, &(struct log_fields){ 0 }, "ready again");
        expect("^[0-9:.]+ baton-worker: ready\n[0-9:.]+ baton-worker: ready again\n$");
}

Test(log, the_level_holds_back) {
        log_init("batond");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_DEBUG, NULL, "unseen");
        log_level(LOG_DEBUG);
        log_line(MESSAGE_SUPERVISOR_READY, LOG_DEBUG, NULL, "seen");
        log_level(LOG_ERR);
        log_line(MESSAGE_SUPERVISOR_READY, LOG_WARNING, NULL, "unseen too");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_ERR, NULL, "an error");
        expect("^[^\n]* seen\n[^\n]* an error\n$");
}

Test(log, one_event_is_one_line_however_long_and_whatever_is_in_it) {
        char long_text[5000];

        memset(long_text, 'x', sizeof long_text - 1);
        long_text[sizeof long_text - 1] = '\0';
        log_init("batond");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_ERR,
                 &(struct log_fields){ .session = long_text, .reason = "a\nb\x1b[31m" }, "a\nb");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_ERR, NULL, "%s", long_text);
        expect("^[^\n\x1b]* a b \\[session=x+ [^\n\x1b]*\\]\n[^\n]*x{900,}\n$");
}

Test(log, errno_is_kept) {
        log_init("batond");
        errno = EXDEV;
        log_line(MESSAGE_SUPERVISOR_READY, LOG_ERR, NULL, "cannot: %m");
        cr_assert_eq(errno, EXDEV);
        expect(": cannot: Invalid cross-device link\n$");
}

/* stderr that is not the stream which systemd named is read by a person. */
Test(log, only_journalds_own_stream_is_journald) {
        (void) setenv("JOURNAL_STREAM", "1:2", 1);
        log_init("batond");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_ERR, NULL, "to a person");
        (void) setenv("JOURNAL_STREAM", "rubbish", 1);
        log_init("batond");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_ERR, NULL, "to a person, too");
        expect("to a person\n.*to a person, too\n$");
}

Test(log, what_is_journalds_is_not_written_to_stderr) {
        struct stat status;
        char stream[64];

        cr_assert_eq(fstat(STDERR_FILENO, &status), 0);
        (void) snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long) status.st_dev,
                        (unsigned long long) status.st_ino);
        (void) setenv("JOURNAL_STREAM", stream, 1);
        log_init("batond");
        log_line(MESSAGE_SUPERVISOR_READY, LOG_ERR, &(struct log_fields){ .session = "orders" },
                 "structured");
        cr_assert_str_eq(captured(), "");
}

Test(log, what_is_held_back_is_told_at_the_end) {
        log_init("batond");
        for (int i = 0; i < 12; i++)
                log_line(MESSAGE_EVENT_PARKED, i == 10 ? LOG_ERR : LOG_WARNING,
                         &(struct log_fields){ .session = "orders", .position = 100 + (uint64_t) i },
                         "event %d is parked", 100 + i);
        cr_assert(log_tick(), "two lines wait");
        expect("event 109 is parked \\[session=orders position=109\\]\n$");
        log_finish();
        cr_assert_not(log_tick());
        expect("event 109 is parked [^\n]*\n[0-9:.]+ batond: … and 2 more of this kind, the last [0-9.]+ [mu]?s ago: "
               "event 111 is parked \\[session=orders position=111 suppressed=2\\]\n$");
}

Test(log, a_crowd_of_sessions_is_told_in_a_few_lines) {
        char session[32];

        log_init("batond");
        for (int i = 0; i < 1000; i++) {
                (void) snprintf(session, sizeof session, "s%d", i);
                log_line(MESSAGE_SESSION_TAKEN_OVER, LOG_INFO, &(struct log_fields){ .session = session },
                         "session %s to worker 1", session);
        }
        log_finish();
        expect("^([^\n]* session s[0-9]+ to worker 1 [^\n]*\n)*[^\n]* batond: … and [0-9]+ more session-taken-over, "
               "of several sessions, the last [0-9.]+ [mu]?s ago \\[suppressed=[0-9]+\\]\n$");
        cr_assert_lt(strlen(captured()), 4000);
}

#define THREAD_COUNT 4
#define LINE_COUNT 100

/* Each session has no more than the burst of its kind. */
static void *write_lines(void *argument) {
        int number = *(int *) argument;
        char session[32];

        for (int i = 0; i < LINE_COUNT; i++) {
                (void) snprintf(session, sizeof session, "s%d", number * LINE_COUNT + i);
                log_line(MESSAGE_SUPERVISOR_READY, LOG_INFO,
                         &(struct log_fields){ .session = session, .pid = 1 + number }, "a whole line");
        }
        return NULL;
}

Test(log, lines_of_threads_do_not_mix) {
        pthread_t threads[THREAD_COUNT];
        int numbers[THREAD_COUNT], line_count = 0;
        char line[256];

        cr_assert_eq(setvbuf(capture, NULL, _IOFBF, BUFSIZ), 0);
        log_init("batond");
        for (int i = 0; i < THREAD_COUNT; i++) {
                numbers[i] = i;
                cr_assert_eq(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
        }
        for (int i = 0; i < THREAD_COUNT; i++)
                cr_assert_eq(pthread_join(threads[i], NULL), 0);
        rewind(capture);
        while (fgets(line, sizeof line, capture)) {
                int hour, pid;
                char end;

                cr_assert_eq(sscanf(line, "%d:%*d:%*d.%*d batond: a whole line [session=s%*d pid=%d]%c",
                                    &hour, &pid, &end),
                             3, "%s", line);
                cr_assert_eq(end, '\n');
                line_count++;
        }
        cr_assert_eq(line_count, THREAD_COUNT * LINE_COUNT);
}
