/* SPDX-License-Identifier: Apache-2.0 */
/* M9: what inotify tells of a source: a write, a WAL that comes later, a file that is replaced, two
 * sessions on one file; and the fingerprint of the safety poll. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/session.h"

static char directory[64];
static struct wake wake;
static struct session one, two;
static unsigned news_one, news_two, news_third;

static void write_file(const char *name, const char *text) {
        char path[256];
        int fd;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, text, strlen(text)), (ssize_t) strlen(text));
        (void) close(fd);
}

static struct source_watch paths(void) {
        struct source_watch watch = { .file_names = { "a.db", "a.db-wal" } };

        (void) snprintf(watch.directory, sizeof(watch.directory), "%s", directory);
        return watch;
}

static void count(struct session *session, void *context) {
        (void) context;
        news_one += session == &one;
        news_two += session == &two;
        news_third += session != &one && session != &two;
}

static void read_news(void) {
        struct pollfd poll_fd = { .fd = wake.inotify_fd, .events = POLLIN };

        news_one = news_two = news_third = 0;
        (void) poll(&poll_fd, 1, 0); /* the event stands in the queue before the write returns */
        wake_read(&wake, &one, count, NULL);
}

static void begin(void) {
        struct source_watch watch;
        bool complete;

        (void) snprintf(directory, sizeof(directory), "/tmp/baton-wake-XXXXXX");
        cr_assert_not_null(mkdtemp(directory));
        write_file("a.db", "x");
        cr_assert_eq(wake_init(&wake), 0);
        watch = paths();
        wake_add(&wake, &one, &watch, &complete);
        cr_assert(complete);
        wake_add(&wake, &two, &watch, &complete);
        cr_assert(complete);
}

static void end(void) {
        char command[128];

        wake_remove(&wake, &one);
        wake_remove(&wake, &two);
        for (size_t i = 0; i < WAKE_BUCKET_COUNT; i++)
                cr_assert_null(wake.buckets[i], "no link is left");
        wake_done(&wake);
        (void) snprintf(command, sizeof(command), "rm -rf %s", directory);
        cr_assert_eq(system(command), 0);
}

TestSuite(wake, .init = begin, .fini = end);

Test(wake, M9_a_write_wakes_every_session_of_the_file) {
        read_news();
        cr_assert_eq(news_one + news_two, 0);
        write_file("a.db", "y");
        read_news();
        cr_assert_geq(news_one, 1);
        cr_assert_geq(news_two, 1);
}

Test(wake, M9_a_wal_that_comes_later_is_watched) {
        write_file("a.db-wal", "1");
        read_news();
        cr_assert_geq(news_one, 1, "its creation");
        write_file("a.db-wal", "2");
        read_news();
        cr_assert_geq(news_one, 1, "its growth");
}

Test(wake, M9_other_files_of_the_directory_are_no_news) {
        write_file("other.db", "x");
        read_news();
        cr_assert_eq(news_one + news_two, 0);
}

Test(wake, M9_a_replaced_file_is_news_and_watched_again) {
        char from[256], to[256];

        write_file("new.db", "n");
        (void) snprintf(from, sizeof(from), "%s/new.db", directory);
        (void) snprintf(to, sizeof(to), "%s/a.db", directory);
        cr_assert_eq(rename(from, to), 0);
        read_news();
        cr_assert_geq(news_one, 1);
        write_file("a.db", "z");
        read_news();
        cr_assert_geq(news_one, 1);
        cr_assert_geq(news_two, 1);
}

/* The kernel keeps so many events and drops those behind; then it says so, once, of no file. */
Test(wake, M9_when_the_queue_overflows_every_session_is_told) {
        static struct session third;
        struct source_watch watch = { .file_names = { "b.db" } };
        unsigned long limit = 0;
        FILE *file;
        bool complete;

        file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
        cr_assert(file && fscanf(file, "%lu", &limit) == 1);
        (void) fclose(file);
        write_file("a.db-wal", "x");
        write_file("b.db", "x");
        (void) snprintf(watch.directory, sizeof(watch.directory), "%s", directory);
        wake_add(&wake, &third, &watch, &complete);
        read_news();
        for (unsigned long i = 0; i <= limit / 2; i++) { /* two alike in a row count once */
                write_file("a.db", "x");
                write_file("a.db-wal", "x");
        }
        write_file("b.db", "x");
        one.next = &third;
        read_news();
        one.next = NULL;
        cr_assert_eq(news_third, 1, "of its own write there was no room to tell");
        wake_remove(&wake, &third);
}

Test(wake, one_session_leaving_does_not_deafen_the_other) {
        wake_remove(&wake, &one);
        write_file("a.db", "y");
        read_news();
        cr_assert_eq(news_one, 0);
        cr_assert_geq(news_two, 1);
}

/* The look after it may come before the commit is visible, and no second event will tell. */
Test(wake, M9_what_was_written_just_before_the_watch_is_looked_for_again) {
        const struct timespec old[2] = { { .tv_sec = 1000000 }, { .tv_sec = 1000000 } };
        struct worker worker = { .wake.inotify_fd = inotify_init1(IN_CLOEXEC) };
        struct session session = { .worker = &worker, .watches.paths = paths() };
        char path[256];

        session_watch(&session);
        cr_assert(session.is_watched);
        cr_assert(session.is_rechecked);
        cr_assert_gt(session.news_usec, 0);
        wake_remove(&worker.wake, &session);

        (void) snprintf(path, sizeof(path), "%s/a.db", directory);
        cr_assert_eq(utimensat(AT_FDCWD, path, old, 0), 0);
        session = (struct session){ .worker = &worker, .watches.paths = paths() };
        session_watch(&session);
        cr_assert_not(session.is_rechecked, "a quiet one is not");
        wake_remove(&worker.wake, &session);
        wake_done(&worker.wake);
}

Test(wake, the_fingerprint_changes_with_content_and_file) {
        struct source_watch watch = paths();
        uint64_t before = wake_fingerprint(&watch), after;

        cr_assert_eq(before, wake_fingerprint(&watch));
        write_file("a.db", "longer");
        after = wake_fingerprint(&watch);
        cr_assert_neq(before, after);
        write_file("a.db-wal", "w");
        cr_assert_neq(after, wake_fingerprint(&watch));
}
