/* SPDX-License-Identifier: Apache-2.0 */
/* A directory, a session, a journal of one record, and a mover in twenty lines, for the tests of the file
 * destination: it claims, adopts, cuts, puts and journals in the order of M3, as worker/ does.
 * Must not touch: the product's mover, so that a mistake in one is not repeated by the other. */
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/destination/file.h"

#define FIXTURE_EVENT_COUNT 30

static const uint8_t fixture_instance[INSTANCE_BYTES] = { 0xba, 0x70, 1 };

/* What outlives a process: directory and journal. `journal` is what a MOVED, CLAIM or ROTATED record
 * would hold; it lives in shared memory where processes are killed. */
struct fixture {
        char directory[256];
        struct url url;
        struct checkpoint *journal;
        struct checkpoint journal_here;
        uint64_t epoch;
        /* of one owner */
        struct destination *destination;
        struct destination_session *session;
        struct checkpoint target;
        struct failure failure;
        bool found, tail;
        uint64_t adopted, cut_bytes;
};

static inline void fixture_init(struct fixture *fixture, const char *query) {
        const char *base = getenv("TMPDIR");
        char text[512];

        *fixture = (struct fixture){ .epoch = 0 };
        (void) snprintf(fixture->directory, sizeof(fixture->directory), "%s/baton-file-XXXXXX",
                        base ? base : "/tmp");
        cr_assert_not_null(mkdtemp(fixture->directory));
        (void) snprintf(text, sizeof(text), "file:%s%s", fixture->directory, query);
        cr_assert_eq(url_parse(text, &fixture->url, &fixture->failure), 0, "%s", fixture->failure.text);
        fixture->journal = &fixture->journal_here;
}

static inline void fixture_done(struct fixture *fixture) {
        char path[640];
        struct dirent *entry;
        DIR *directory = opendir(fixture->directory);

        while (directory && (entry = readdir(directory))) {
                (void) snprintf(path, sizeof(path), "%s/%s", fixture->directory, entry->d_name);
                (void) unlink(path);
        }
        if (directory)
                (void) closedir(directory);
        cr_assert_eq(rmdir(fixture->directory), 0);
}

/* ---- files ---------------------------------------------------------------------------------------- */

static inline void fixture_path(const struct fixture *fixture, const char *name, char ret_path[640]) {
        (void) snprintf(ret_path, 640, "%s/%s", fixture->directory, name);
}

static inline bool fixture_exists(const struct fixture *fixture, const char *name) {
        char path[640];

        fixture_path(fixture, name, path);
        return access(path, F_OK) == 0;
}

/* The content, NUL-terminated; an absent file is empty. Caller frees. */
static inline char *fixture_read(const struct fixture *fixture, const char *name, size_t *ret_bytes) {
        char path[640], *content = calloc(1, 1);
        size_t bytes = 0;
        FILE *file;
        int c;

        fixture_path(fixture, name, path);
        file = fopen(path, "re");
        while (file && (c = getc(file)) != EOF) {
                content = realloc(content, bytes + 2);
                content[bytes++] = (char) c;
                content[bytes] = '\0';
        }
        if (file)
                (void) fclose(file);
        if (ret_bytes)
                *ret_bytes = bytes;
        return content;
}

static inline void fixture_write(const struct fixture *fixture, const char *name, const void *data,
                                 size_t bytes) {
        char path[640];
        int fd;

        fixture_path(fixture, name, path);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
        cr_assert(fd >= 0);
        cr_assert_eq(write(fd, data, bytes), (ssize_t) bytes);
        (void) close(fd);
}

static inline uint64_t fixture_size(const struct fixture *fixture, const char *name) {
        char path[640];
        struct stat status;

        fixture_path(fixture, name, path);
        return stat(path, &status) == 0 ? (uint64_t) status.st_size : 0;
}

/* Data files 1 … n one behind the other, then the parked file: all that a reader sees. Caller frees. */
static inline char *fixture_read_all(const struct fixture *fixture) {
        char name[FILE_NAME_BYTES], *all = NULL, *piece;
        size_t bytes = 0;
        FILE *out = open_memstream(&all, &bytes);

        for (uint32_t n = 1; n < 1000; n++) {
                file_data_name("orders", n, name);
                if (!fixture_exists(fixture, name))
                        break;
                piece = fixture_read(fixture, name, NULL);
                (void) fputs(piece, out);
                free(piece);
        }
        piece = fixture_read(fixture, "orders.parked.jsonl", NULL);
        (void) fprintf(out, "--parked--\n%s", piece);
        free(piece);
        (void) fclose(out);
        return all;
}

/* ---- events --------------------------------------------------------------------------------------- */

static inline struct event_value fixture_text(const char *text) {
        return (struct event_value){ .type = VALUE_TEXT, .bytes = (uint32_t) strlen(text), .data = text };
}

/* Event number n (1 …) of the source; every fifth is rejected. Its texts live until the next call but
 * one with the same n modulo 4. */
static inline struct event fixture_event(unsigned n) {
        static char keys[4][32], payloads[4][160];
        char *key = keys[n % 4], *payload = payloads[n % 4];

        (void) snprintf(key, sizeof(keys[0]), "k\"%u\n\xc3\xa9", n);
        if (n % 5 == 0)
                (void) snprintf(payload, sizeof(payloads[0]), "{\"n\": %u, broken", n);
        else
                (void) snprintf(payload, sizeof(payloads[0]), "{\"n\":%u,\n \"pad\":\"%.*s\"}", n,
                                (int) (n % 7 * 9),
                                "0123456789012345678901234567890123456789012345678901234567890123456789");
        return (struct event){
                .position = n * 3, /* a source's numbers may have gaps */
                .key = fixture_text(key),
                .type = n % 3 == 0 ? (struct event_value){ .type = VALUE_NULL } : fixture_text("made"),
                .at = { .type = VALUE_INTEGER, .integer = 1700000000 + n },
                .payload = fixture_text(payload),
        };
}

/* ---- the small mover ------------------------------------------------------------------------------ */

static inline int fixture_open(struct fixture *fixture) {
        const struct scheme *scheme;
        struct destination_config config = { .name = "events", .instance = fixture_instance };
        int r;

        r = option_check(destination_schemes, &fixture->url, &scheme, &fixture->failure);
        cr_assert_eq(r, 0, "%s", fixture->failure.text);
        config.url = &fixture->url;
        config.scheme = scheme;
        r = destination_file_ops.open(&config, &fixture->destination, &fixture->failure);
        if (r < 0)
                return r;
        r = destination_file_ops.session_open(fixture->destination, "orders", &fixture->session,
                                              &fixture->failure);
        cr_assert_eq(r, 0, "%s", fixture->failure.text);
        return 0;
}

/* As after the death of the owner: nothing is rolled back, nothing cut. */
static inline void fixture_close(struct fixture *fixture) {
        if (!fixture->destination)
                return;
        if (fixture->session)
                destination_file_ops.session_close(TAKE(fixture->session));
        destination_file_ops.close(TAKE(fixture->destination));
}

static inline void step_over(struct fixture *fixture, const struct event *event, bool parked) {
        cr_assert_gt(event->position, fixture->target.position);
        fixture->target.position = event->position;
        fixture->target.event_count++;
        fixture->target.parked_count += parked;
}

/* Puts the events n = from … to. */
static inline int fixture_put(struct fixture *fixture, unsigned from, unsigned to) {
        const struct destination_ops *ops = &destination_file_ops;

        for (unsigned n = from; n <= to; n++) {
                struct event event = fixture_event(n);
                char reason[FAILURE_TEXT_BYTES];
                int r;

                r = ops->put(fixture->session, &event, &fixture->failure);
                if (r < 0 && fixture->failure.kind != FAILURE_REJECTED)
                        return r;
                if (r < 0) {
                        (void) snprintf(reason, sizeof(reason), "%s", fixture->failure.text);
                        r = ops->park(fixture->session, &event, reason, &fixture->failure);
                        step_over(fixture, &event, true);
                } else
                        step_over(fixture, &event, false);
                if (r < 0)
                        return r;
        }
        return 0;
}

static inline int fixture_end(struct fixture *fixture, int r) {
        const struct destination_ops *ops = &destination_file_ops;

        if (r >= 0)
                r = ops->session_end(fixture->session, &fixture->target, &fixture->failure);
        if (r < 0)
                ops->session_rollback(fixture->session);
        if (r >= 0)
                r = ops->commit(fixture->destination, &fixture->failure);
        if (r < 0) {
                ops->rollback(fixture->destination);
                return r;
        }
        *fixture->journal = fixture->target; /* MOVED, durable */
        return 0;
}

static inline int fixture_begin(struct fixture *fixture) {
        int r;

        r = destination_file_ops.begin(fixture->destination, &fixture->failure);
        if (r < 0)
                return r;
        return destination_file_ops.session_begin(fixture->session, &fixture->failure);
}

/* One batch: the events after the journal's, at most `count`, up to number `last`. */
static inline int fixture_move(struct fixture *fixture, unsigned count, unsigned last) {
        unsigned from = (unsigned) (fixture->journal->position / 3) + 1;
        int r;

        fixture->target = *fixture->journal;
        r = fixture_begin(fixture);
        if (r < 0)
                return r;
        return fixture_end(fixture, fixture_put(fixture, from, MIN_OF(from + count - 1, last)));
}

static inline int fixture_adopt(struct fixture *fixture, unsigned last) {
        const struct destination_ops *ops = &destination_file_ops;
        bool adopted = true, parked;
        int r;

        for (unsigned n = (unsigned) (fixture->target.position / 3) + 1; n <= last && adopted; n++) {
                struct event event = fixture_event(n);

                r = ops->tail_adopt(fixture->session, &event, &adopted, &parked, &fixture->failure);
                if (r < 0)
                        return r;
                if (adopted) {
                        step_over(fixture, &event, parked);
                        fixture->adopted++;
                }
        }
        return ops->tail_cut(fixture->session, &fixture->cut_bytes, &fixture->failure);
}

/* M3: a new owner, with the next epoch. `last`: the source's last event. The claim is journaled first,
 * with the state of before, like the product's mover does it. */
static inline int fixture_claim(struct fixture *fixture, unsigned last) {
        int r;

        fixture->epoch++;
        fixture->adopted = fixture->cut_bytes = 0;
        fixture->target = *fixture->journal;
        fixture->target.epoch = fixture->epoch;
        *fixture->journal = fixture->target; /* CLAIM, durable */
        r = fixture_begin(fixture);
        if (r < 0)
                return r;
        r = destination_file_ops.fence(fixture->session, fixture->epoch, &fixture->target, &fixture->found,
                                       &fixture->tail, &fixture->failure);
        if (r >= 0 && fixture->tail)
                r = fixture_adopt(fixture, last);
        return fixture_end(fixture, r);
}

static inline void fixture_must(struct fixture *fixture, int r) {
        cr_assert_eq(r, 0, "%d: %s", r, fixture->failure.text);
}

/* Rotation between two batches, and its record, as the mover does it. */
static inline int fixture_rotate(struct fixture *fixture) {
        int r;

        if (!destination_file_ops.rotation_due(fixture->session))
                return 0;
        fixture->target = *fixture->journal;
        r = destination_file_ops.rotate(fixture->session, &fixture->target, &fixture->failure);
        if (r < 0)
                return r;
        *fixture->journal = fixture->target; /* ROTATED, durable */
        return 0;
}

/* Claims and moves everything, four events a batch. */
static inline int fixture_run(struct fixture *fixture) {
        int r;

        r = fixture_open(fixture);
        if (r >= 0)
                r = fixture_claim(fixture, FIXTURE_EVENT_COUNT);
        while (r >= 0 && fixture->journal->position < FIXTURE_EVENT_COUNT * 3) {
                r = fixture_move(fixture, 4, FIXTURE_EVENT_COUNT);
                if (r >= 0)
                        r = fixture_rotate(fixture);
        }
        return r;
}

/* A new owner finishes whatever stands there, and the result is byte for byte that of `expected`. */
static inline void fixture_finish(struct fixture *fixture, const char *expected) {
        char *all;

        fixture_must(fixture, fixture_run(fixture));
        fixture_close(fixture);
        all = fixture_read_all(fixture);
        cr_assert_str_eq(all, expected);
        cr_assert_eq(fixture->journal->event_count, FIXTURE_EVENT_COUNT);
        cr_assert_eq(fixture->journal->parked_count, FIXTURE_EVENT_COUNT / 5);
        free(all);
}

/* What an uninterrupted owner writes. Caller frees. */
static inline char *fixture_expected(void) {
        struct fixture fixture;
        char *all;

        fixture_init(&fixture, "");
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        fixture_must(&fixture, fixture_move(&fixture, FIXTURE_EVENT_COUNT, FIXTURE_EVENT_COUNT));
        fixture_close(&fixture);
        all = fixture_read_all(&fixture);
        fixture_done(&fixture);
        return all;
}
