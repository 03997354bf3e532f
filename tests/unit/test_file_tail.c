/* SPDX-License-Identifier: Apache-2.0 */
/* What a new owner finds and does (M3): whole lines of known events are adopted, the rest is kept aside and
 * cut, whatever byte the old owner stopped at; and where it must stop and say so. */
#include <signal.h>
#include <sys/file.h>

#include "base/checksum.h"
#include "tests/unit/file_fixture.h"

#define DATA "orders.000001.jsonl"
#define PARKED "orders.parked.jsonl"

static int no_sync(int fd) {
        (void) fd;
        return 0;
}

/* Thousands of recoveries; what a sync does is for test_file_faults.c. */
static void without_syncs(void) {
        file_calls.fdatasync = file_calls.fsync = no_sync;
}

/* An owner that made 12 events durable and died before the journal had more than 6 of them. */
struct scene {
        char *expected, *data, *parked;
        size_t data_bytes, parked_bytes;
        struct file_state recorded;
        struct checkpoint journal;
};

static void scene_init(struct scene *scene) {
        struct fixture fixture;

        without_syncs();
        scene->expected = fixture_expected();
        fixture_init(&fixture, "");
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        fixture_must(&fixture, fixture_move(&fixture, 6, FIXTURE_EVENT_COUNT));
        scene->journal = *fixture.journal;
        fixture_must(&fixture, fixture_move(&fixture, 6, FIXTURE_EVENT_COUNT));
        fixture_close(&fixture);
        scene->data = fixture_read(&fixture, DATA, &scene->data_bytes);
        scene->parked = fixture_read(&fixture, PARKED, &scene->parked_bytes);
        cr_assert_eq(file_state_decode(scene->journal.destination_state, &scene->recorded), 0);
        cr_assert_lt(scene->recorded.data_bytes, scene->data_bytes);
        cr_assert_lt(scene->recorded.parked_bytes, scene->parked_bytes);
        cr_assert_gt(scene->recorded.parked_bytes, 0);
        fixture_done(&fixture);
}

static void scene_done(struct scene *scene) {
        free(scene->expected);
        free(scene->data);
        free(scene->parked);
}

/* A directory that holds so much of the scene's files. */
static void scene_place(const struct scene *scene, struct fixture *fixture, size_t data_bytes,
                        size_t parked_bytes) {
        fixture_init(fixture, "");
        fixture_write(fixture, DATA, scene->data, data_bytes);
        fixture_write(fixture, PARKED, scene->parked, parked_bytes);
        *fixture->journal = scene->journal;
        fixture->epoch = scene->journal.epoch;
}

static void expect_kept_aside(const struct fixture *fixture, const char *name, const char *content,
                              size_t from_bytes, size_t to_bytes) {
        size_t bytes;
        char *kept = fixture_read(fixture, name, &bytes);

        cr_assert_eq(bytes, to_bytes - from_bytes, "%s", name);
        cr_assert_eq(memcmp(kept, content + from_bytes, bytes), 0, "%s", name);
        cr_assert_eq(fixture_exists(fixture, name), bytes > 0, "%s", name);
        free(kept);
}

/* Lines that are whole from `from` on, within `bytes`. */
static unsigned lines_in(const char *content, uint64_t from, size_t bytes, size_t *ret_end) {
        unsigned count = 0;

        *ret_end = from;
        for (size_t i = from; i < bytes; i++)
                if (content[i] == '\n') {
                        *ret_end = i + 1;
                        count++;
                }
        return count;
}

static void recover(struct fixture *fixture) {
        fixture_must(fixture, fixture_open(fixture));
        fixture_must(fixture, fixture_claim(fixture, FIXTURE_EVENT_COUNT));
        cr_assert(fixture->found);
}

Test(file_tail, M3_data_cut_at_every_byte) {
        struct scene scene;

        scene_init(&scene);
        for (size_t cut = scene.recorded.data_bytes; cut <= scene.data_bytes; cut++) {
                struct fixture fixture;
                unsigned whole;
                size_t end;

                scene_place(&scene, &fixture, cut, scene.parked_bytes);
                recover(&fixture);
                whole = lines_in(scene.data, scene.recorded.data_bytes, cut, &end);
                /* Events 7, 8, 9, 11, 12 are in the data file, 10 is parked: it follows the third line. */
                cr_assert_eq(fixture.adopted, whole + (whole >= 3), "cut at %zu: %u lines", cut, whole);
                expect_kept_aside(&fixture, "orders.000001.cut-2", scene.data, end, cut);
                cr_assert_eq(fixture_size(&fixture, DATA), end);
                fixture_close(&fixture);
                fixture_finish(&fixture, scene.expected);
                fixture_done(&fixture);
        }
        scene_done(&scene);
}

Test(file_tail, M3_parked_cut_at_every_byte) {
        struct scene scene;

        scene_init(&scene);
        for (size_t cut = scene.recorded.parked_bytes; cut <= scene.parked_bytes; cut++) {
                struct fixture fixture;
                bool whole = cut == scene.parked_bytes;
                size_t end;

                scene_place(&scene, &fixture, scene.data_bytes, cut);
                recover(&fixture);
                (void) lines_in(scene.parked, scene.recorded.parked_bytes, cut, &end);
                cr_assert_eq(fixture.adopted, whole ? 6 : 3, "cut at %zu", cut);
                cr_assert_eq(fixture.journal->parked_count, whole ? 2 : 1);
                expect_kept_aside(&fixture, "orders.parked.cut-2", scene.parked, end, cut);
                fixture_close(&fixture);
                fixture_finish(&fixture, scene.expected);
                fixture_done(&fixture);
        }
        scene_done(&scene);
}

/* After a power cut a tail may hold zeros or old blocks; a line with one wrong byte is not adopted. */
Test(file_tail, M3_every_wrong_byte_ends_the_adoption) {
        struct scene scene;

        scene_init(&scene);
        for (size_t at = scene.recorded.data_bytes; at < scene.data_bytes; at += 3) {
                struct fixture fixture;
                char good = scene.data[at];
                unsigned before;
                size_t end;

                scene.data[at] = '\0';
                scene_place(&scene, &fixture, scene.data_bytes, scene.parked_bytes);
                recover(&fixture);
                before = lines_in(scene.data, scene.recorded.data_bytes, at, &end);
                cr_assert_eq(fixture.adopted, before + (before >= 3), "byte %zu", at);
                expect_kept_aside(&fixture, "orders.000001.cut-2", scene.data, end, scene.data_bytes);
                fixture_close(&fixture);
                scene.data[at] = good;
                fixture_finish(&fixture, scene.expected);
                fixture_done(&fixture);
        }
        scene_done(&scene);
}

/* The same for a parked line, whose reason is known from the file alone. */
Test(file_tail, M3_every_wrong_byte_of_a_parked_line_ends_the_adoption) {
        struct scene scene;

        scene_init(&scene);
        for (size_t at = scene.recorded.parked_bytes; at < scene.parked_bytes; at++) {
                struct fixture fixture;
                char good = scene.parked[at];

                scene.parked[at] = '\x02';
                scene_place(&scene, &fixture, scene.data_bytes, scene.parked_bytes);
                recover(&fixture);
                cr_assert_eq(fixture.adopted, 3, "byte %zu", at);
                expect_kept_aside(&fixture, "orders.parked.cut-2", scene.parked, scene.recorded.parked_bytes,
                                  scene.parked_bytes);
                fixture_close(&fixture);
                scene.parked[at] = good;
                fixture_finish(&fixture, scene.expected);
                fixture_done(&fixture);
        }
        scene_done(&scene);
}

/* The source lost its last events (or never had them): the lines are of nobody, and are kept aside. */
Test(file_tail, M3_lines_of_unknown_events_are_cut) {
        struct scene scene;
        struct fixture fixture;

        scene_init(&scene);
        scene_place(&scene, &fixture, scene.data_bytes, scene.parked_bytes);
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, 8)); /* the source ends at event 8 */
        cr_assert_eq(fixture.adopted, 2);
        cr_assert_gt(fixture.cut_bytes, 0);
        cr_assert(fixture_exists(&fixture, "orders.000001.cut-2"));
        cr_assert(fixture_exists(&fixture, "orders.parked.cut-2"));
        fixture_close(&fixture);
        fixture_finish(&fixture, scene.expected);
        fixture_done(&fixture);
        scene_done(&scene);
}

/* Adoption belongs to the transaction: rolled back, its events are moved again and stand there once. */
Test(file_tail, M3_a_rollback_takes_the_adoption_back) {
        struct scene scene;
        struct fixture fixture;
        bool adopted, parked;
        struct event event;

        scene_init(&scene);
        for (unsigned step = 0; step < 3; step++) {
                scene_place(&scene, &fixture, scene.data_bytes - 1, scene.parked_bytes);
                fixture_must(&fixture, fixture_open(&fixture));
                fixture.target = *fixture.journal;
                fixture_must(&fixture, fixture_begin(&fixture));
                fixture_must(&fixture,
                             destination_file_ops.fence(fixture.session, ++fixture.epoch, &fixture.target,
                                                        &fixture.found, &fixture.tail, &fixture.failure));
                cr_assert(fixture.tail);
                event = fixture_event(7);
                if (step == 1)
                        fixture_must(&fixture,
                                     destination_file_ops.tail_adopt(fixture.session, &event, &adopted,
                                                                     &parked, &fixture.failure));
                if (step == 2)
                        fixture_must(&fixture, fixture_adopt(&fixture, FIXTURE_EVENT_COUNT));
                destination_file_ops.session_rollback(fixture.session);
                destination_file_ops.rollback(fixture.destination);
                if (step < 2)
                        cr_assert_eq(fixture_size(&fixture, DATA), scene.data_bytes - 1,
                                     "not cut before tail_cut()");
                else
                        cr_assert_eq(fixture_size(&fixture, DATA), scene.recorded.data_bytes);
                fixture_must(&fixture,
                             fixture_claim(&fixture, FIXTURE_EVENT_COUNT)); /* the same owner again */
                fixture_close(&fixture);
                fixture_finish(&fixture, scene.expected);
                fixture_done(&fixture);
        }
        scene_done(&scene);
}

/* Nothing behind an event that was not found is adopted, even if it is asked for. */
Test(file_tail, M3_the_prefix_stays_a_prefix) {
        struct scene scene;
        struct fixture fixture;
        bool adopted, parked;
        struct event event;

        scene_init(&scene);
        scene_place(&scene, &fixture, scene.data_bytes, scene.parked_bytes);
        fixture_must(&fixture, fixture_open(&fixture));
        fixture.target = *fixture.journal;
        fixture_must(&fixture, destination_file_ops.fence(fixture.session, 9, &fixture.target, &fixture.found,
                                                          &fixture.tail, &fixture.failure));
        event = fixture_event(8); /* 7 stands there */
        fixture_must(&fixture,
                     destination_file_ops.tail_adopt(fixture.session, &event, &adopted, &parked, NULL));
        cr_assert_not(adopted);
        event = fixture_event(7);
        fixture_must(&fixture,
                     destination_file_ops.tail_adopt(fixture.session, &event, &adopted, &parked, NULL));
        cr_assert_not(adopted);
        fixture_close(&fixture);
        fixture_done(&fixture);
        scene_done(&scene);
}

/* ---- stop and say so -------------------------------------------------------------------------------- */

static void expect_refused(struct fixture *fixture, enum failure_kind kind, const char *words) {
        char *before = fixture_read_all(fixture), *after;

        fixture_must(fixture, fixture_open(fixture));
        cr_assert_lt(fixture_claim(fixture, FIXTURE_EVENT_COUNT), 0, "%s", words);
        cr_assert_eq(fixture->failure.kind, kind, "%s", fixture->failure.text);
        cr_assert_not_null(strstr(fixture->failure.text, words), "%s", fixture->failure.text);
        fixture_close(fixture);
        after = fixture_read_all(fixture);
        cr_assert_str_eq(before, after, "a refusal changes nothing");
        free(before);
        free(after);
}

Test(file_tail, M3_a_shorter_or_changed_file_stops) {
        struct scene scene;
        struct fixture fixture;
        char path[640];

        scene_init(&scene);
        scene_place(&scene, &fixture, scene.recorded.data_bytes - 1, scene.parked_bytes);
        expect_refused(&fixture, FAILURE_STOP, "the journal recorded");
        fixture_done(&fixture);

        scene_place(&scene, &fixture, scene.data_bytes, scene.recorded.parked_bytes - 1);
        expect_refused(&fixture, FAILURE_STOP, "orders.parked.jsonl");
        fixture_done(&fixture);

        scene_place(&scene, &fixture, scene.data_bytes, scene.parked_bytes);
        fixture_path(&fixture, DATA, path);
        cr_assert_eq(unlink(path), 0);
        expect_refused(&fixture, FAILURE_STOP, "has 0 bytes");
        fixture_done(&fixture);

        for (size_t at = 0; at < scene.recorded.data_bytes; at += 7) {
                scene.data[at] ^= 1;
                scene_place(&scene, &fixture, scene.data_bytes, scene.parked_bytes);
                expect_refused(&fixture, FAILURE_STOP, "is not what Baton wrote there");
                fixture_done(&fixture);
                scene.data[at] ^= 1;
        }
        scene_done(&scene);
}

Test(file_tail, M3_content_without_a_journal_stops) {
        static const char *const names[] = { DATA, PARKED, "orders.000002.jsonl", "orders.1000000.jsonl" };
        static const char *const others[] = { "orders.jsonl", "orders.00001.jsonl", "orders.000001.cut-3",
                                              "orders2.000001.jsonl", "xorders.000001.jsonl" };
        struct fixture fixture;

        without_syncs();
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                fixture_init(&fixture, "");
                fixture_write(&fixture, names[i], "{}\n", 3);
                expect_refused(&fixture, FAILURE_STOP, names[i]);
                cr_assert_not_null(strstr(fixture.failure.text, "knows nothing of it"));
                fixture_write(&fixture, names[i], "", 0); /* empty is nothing */
                fixture_must(&fixture, fixture_run(&fixture));
                fixture_close(&fixture);
                fixture_done(&fixture);
        }
        fixture_init(&fixture, "");
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                fixture_write(&fixture, others[i], "{}\n", 3);
        fixture_must(&fixture, fixture_run(&fixture));
        fixture_close(&fixture);
        fixture_done(&fixture);
}

/* M3: the journal was lost after the first batches: the mark of the beginning is gone, so it stops. And
 * another instance's beginning is content that is not ours. */
Test(file_tail, M3_a_lost_journal_stops) {
        struct fixture fixture;
        char *mark;
        size_t bytes;

        without_syncs();
        fixture_init(&fixture, "");
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        mark = fixture_read(&fixture, ".orders.begun", &bytes);
        cr_assert_gt(bytes, 0);
        fixture_must(&fixture, fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT));
        cr_assert(fixture_exists(&fixture, ".orders.begun"));
        fixture_must(&fixture, fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT));
        cr_assert_not(fixture_exists(&fixture, ".orders.begun"));
        fixture_close(&fixture);
        memset(fixture.journal, 0, sizeof(*fixture.journal));
        expect_refused(&fixture, FAILURE_STOP, "knows nothing of it");

        mark[strlen(mark) - 2] ^= 1; /* another instance's */
        fixture_write(&fixture, ".orders.begun", mark, bytes);
        expect_refused(&fixture, FAILURE_STOP, "knows nothing of it");
        free(mark);
        fixture_done(&fixture);
}

Test(file_tail, M3_records_that_do_not_fit_stop) {
        struct scene scene;
        struct fixture fixture;

        scene_init(&scene);
        scene_place(&scene, &fixture, scene.data_bytes, scene.parked_bytes);
        fixture.journal->destination_state[0] = 9;
        expect_refused(&fixture, FAILURE_STOP, "another version");
        memcpy(fixture.journal, &scene.journal, sizeof(scene.journal));
        fixture.journal->position += 3; /* advanced, and its file lengths not */
        expect_refused(&fixture, FAILURE_STOP, "its file lengths at");
        memcpy(fixture.journal, &scene.journal, sizeof(scene.journal));
        memset(fixture.journal->destination_state, 0, DESTINATION_STATE_BYTES); /* moved to elsewhere */
        expect_refused(&fixture, FAILURE_BEHIND, "not to files");
        memcpy(fixture.journal, &scene.journal, sizeof(scene.journal));
        fixture_write(&fixture, "orders.000002.jsonl", "{}\n", 3);
        expect_refused(&fixture, FAILURE_STOP, "the journal ends with file 000001");
        fixture_done(&fixture);
        scene_done(&scene);
}

/* More than one batch beyond the record: stop. A torn line of an event that the source knows is cut,
 * however long. */
Test(file_tail, M3_at_most_one_batch_is_cut) {
        struct scene scene;
        struct fixture fixture;
        char path[640];

        scene_init(&scene);
        scene_place(&scene, &fixture, scene.data_bytes, scene.parked_bytes);
        fixture_path(&fixture, DATA, path);
        cr_assert_eq(truncate(path, (off_t) (scene.data_bytes + FILE_CUT_BYTES_MAX + 1)), 0); /* sparse */
        fixture_must(&fixture, fixture_open(&fixture));
        cr_assert_lt(fixture_claim(&fixture, FIXTURE_EVENT_COUNT), 0);
        cr_assert_eq(fixture.failure.kind, FAILURE_STOP);
        cr_assert_not_null(strstr(fixture.failure.text, "more than one batch"), "%s", fixture.failure.text);
        cr_assert_eq(fixture_size(&fixture, DATA), scene.data_bytes + FILE_CUT_BYTES_MAX + 1);
        fixture_close(&fixture);
        cr_assert_eq(truncate(path, (off_t) (scene.data_bytes + FILE_CUT_BYTES_MAX)), 0);
        fixture_finish(&fixture, scene.expected);
        fixture_done(&fixture);
        scene_done(&scene);
}

Test(file_tail, M3_a_torn_line_of_a_known_event_may_be_long) {
        const size_t text_bytes = FILE_CUT_BYTES_MAX + (1 << 20);
        struct fixture fixture;
        struct event event;
        bool adopted, parked;
        char *big, path[640];

        without_syncs();
        fixture_init(&fixture, "");
        big = malloc(text_bytes);
        memset(big, '1', text_bytes); /* a very long number is JSON */
        event = (struct event){
                .position = 3, .payload = { .type = VALUE_TEXT, .bytes = (uint32_t) text_bytes, .data = big }
        };
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, 0));
        fixture_must(&fixture, fixture_begin(&fixture));
        fixture_must(&fixture, destination_file_ops.put(fixture.session, &event, &fixture.failure));
        fixture.target.position = 3;
        fixture_must(&fixture,
                     destination_file_ops.session_end(fixture.session, &fixture.target, &fixture.failure));
        fixture_must(&fixture, destination_file_ops.commit(fixture.destination, &fixture.failure));
        fixture_close(&fixture); /* the journal does not know */

        fixture_path(&fixture, DATA, path);
        cr_assert_eq(truncate(path, (off_t) (FILE_CUT_BYTES_MAX + 512 * 1024)), 0);
        fixture_must(&fixture, fixture_open(&fixture));
        fixture.target = *fixture.journal;
        fixture_must(&fixture, destination_file_ops.fence(fixture.session, 2, &fixture.target, &fixture.found,
                                                          &fixture.tail, &fixture.failure));
        fixture_must(&fixture, destination_file_ops.tail_adopt(fixture.session, &event, &adopted, &parked,
                                                               &fixture.failure));
        cr_assert_not(adopted);
        fixture_must(&fixture,
                     destination_file_ops.tail_cut(fixture.session, &fixture.cut_bytes, &fixture.failure));
        cr_assert_eq(fixture.cut_bytes, FILE_CUT_BYTES_MAX + 512 * 1024);
        cr_assert_eq(fixture_size(&fixture, DATA), 0);
        fixture_close(&fixture);
        free(big);
        fixture_done(&fixture);
}

/* ---- the lock --------------------------------------------------------------------------------------- */

static bool give_up(void *context) {
        return ++*(unsigned *) context > 2;
}

Test(file_tail, M3_a_lock_held_by_another_makes_unavailable) {
        struct fixture first, second;
        char *before, *after;

        without_syncs();
        fixture_init(&first, "");
        fixture_must(&first, fixture_open(&first));
        fixture_must(&first, fixture_claim(&first, FIXTURE_EVENT_COUNT));
        fixture_must(&first, fixture_move(&first, 4, FIXTURE_EVENT_COUNT));
        before = fixture_read_all(&first);

        second = first;
        second.journal = &second.journal_here;
        second.destination = NULL;
        second.session = NULL;
        fixture_must(&second, fixture_open(&second));
        cr_assert_eq(fixture_claim(&second, FIXTURE_EVENT_COUNT), -EBUSY);
        cr_assert_eq(second.failure.kind, FAILURE_UNAVAILABLE);
        cr_assert_not_null(strstr(second.failure.text, ".orders.lock is locked by another process"));
        after = fixture_read_all(&first);
        cr_assert_str_eq(before, after);

        fixture_close(&first); /* the owner is gone: the same object claims */
        fixture_must(&second, fixture_claim(&second, FIXTURE_EVENT_COUNT));
        fixture_close(&second);
        free(before);
        free(after);
        fixture_done(&second);
}

/* S3: while it waits for a dying owner the mover answers pings, and gives up when told to. */
Test(file_tail, S3_waiting_for_the_lock_pulses) {
        struct fixture fixture;
        unsigned pulses = 0;
        char path[640];
        int fd;

        without_syncs();
        fixture_init(&fixture, "");
        fixture_path(&fixture, ".orders.lock", path);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
        cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
        fixture_must(&fixture, fixture_open(&fixture));
        fixture.destination->pulse = give_up;
        fixture.destination->pulse_context = &pulses;
        cr_assert_eq(fixture_claim(&fixture, FIXTURE_EVENT_COUNT), -ECANCELED);
        cr_assert_eq(fixture.failure.kind, FAILURE_UNAVAILABLE);
        cr_assert_eq(pulses, 3);
        fixture.destination->pulse = NULL;
        (void) close(fd);
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        fixture_close(&fixture);
        fixture_done(&fixture);
}

/* The dying owner's lock goes a few ms after its death is known: the heir waits for it (S7). */
Test(file_tail, S7_a_lock_that_is_given_up_meanwhile_is_taken) {
        struct fixture fixture;
        char path[640];
        pid_t child;
        int ready[2];

        without_syncs();
        fixture_init(&fixture, "");
        fixture_path(&fixture, ".orders.lock", path);
        cr_assert_eq(pipe(ready), 0);
        child = fork();
        if (child == 0) {
                int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

                (void) flock(fd, LOCK_EX);
                (void) !write(ready[1], "x", 1);
                (void) usleep(10000);
                _exit(0);
        }
        cr_assert_eq(read(ready[0], path, 1), 1);
        fixture_must(&fixture, fixture_open(&fixture));
        while (fixture_claim(&fixture, FIXTURE_EVENT_COUNT) < 0) /* a slow machine may need another try */
                cr_assert_eq(fixture.failure.kind, FAILURE_UNAVAILABLE);
        fixture_close(&fixture);
        fixture_done(&fixture);
}
