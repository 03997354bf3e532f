/* SPDX-License-Identifier: Apache-2.0 */
/* Rotation and its crash windows (M3), what a session refuses to write to, several sessions in one
 * transaction, and `check`. */
#include "base/clock.h"
#include "tests/unit/file_fixture.h"

#define DATA "orders.000001.jsonl"

static void begin_with(struct fixture *fixture, const char *query, unsigned count) {
        fixture_init(fixture, query);
        fixture_must(fixture, fixture_open(fixture));
        fixture_must(fixture, fixture_claim(fixture, FIXTURE_EVENT_COUNT));
        if (count > 0)
                fixture_must(fixture, fixture_move(fixture, count, FIXTURE_EVENT_COUNT));
}

static void finish(struct fixture *fixture) {
        char *expected = fixture_expected();

        fixture_finish(fixture, expected);
        free(expected);
        fixture_done(fixture);
}

/* ---- when ------------------------------------------------------------------------------------------- */

Test(file_rotate, rotation_by_size) {
        struct fixture fixture;
        uint64_t size;

        begin_with(&fixture, "?rotate-size=300", 0);
        cr_assert_not(destination_file_ops.rotation_due(fixture.session), "an empty file stays");
        do {
                fixture_must(&fixture, fixture_move(&fixture, 1, FIXTURE_EVENT_COUNT));
                size = fixture_size(&fixture, DATA);
                cr_assert_eq(destination_file_ops.rotation_due(fixture.session), size >= 300);
        } while (size < 300);
        fixture_must(&fixture, fixture_rotate(&fixture));
        cr_assert(fixture_exists(&fixture, "orders.000002.jsonl"));
        cr_assert_not(destination_file_ops.rotation_due(fixture.session));
        fixture_must(&fixture, fixture_move(&fixture, 1, FIXTURE_EVENT_COUNT));
        cr_assert_eq(fixture_size(&fixture, DATA), size, "the file before stays as it is");
        fixture_close(&fixture);
        finish(&fixture);
}

Test(file_rotate, no_rotation_unless_asked_for) {
        struct fixture fixture;

        begin_with(&fixture, "", FIXTURE_EVENT_COUNT);
        fixture.session->created_usec = 0;
        fixture.session->created_realtime_usec = 0;
        cr_assert_not(destination_file_ops.rotation_due(fixture.session));
        fixture_close(&fixture);
        fixture_done(&fixture);
}

/* The age outlives the owner: it is in the journal. A clock that was set back delays, and no more. */
Test(file_rotate, rotation_by_time) {
        struct fixture fixture;
        struct file_state state;

        begin_with(&fixture, "?rotate-time=1h", 4);
        cr_assert_not(destination_file_ops.rotation_due(fixture.session));
        fixture_close(&fixture);

        cr_assert_eq(file_state_decode(fixture.journal->destination_state, &state), 0);
        state.created_realtime_usec -= 3601 * USEC_PER_SEC;
        file_state_encode(&state, fixture.journal->destination_state);
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        cr_assert(destination_file_ops.rotation_due(fixture.session));

        fixture.session->created_realtime_usec = clock_realtime_usec() + 86400 * USEC_PER_SEC;
        cr_assert_not(destination_file_ops.rotation_due(fixture.session));
        fixture.session->created_usec = clock_usec() -
                                        3601 * USEC_PER_SEC; /* wraps on a machine just booted: old too */
        cr_assert(destination_file_ops.rotation_due(fixture.session));
        fixture_must(&fixture, fixture_rotate(&fixture));
        cr_assert_not(destination_file_ops.rotation_due(fixture.session));
        fixture_close(&fixture);
        finish(&fixture);
}

/* ---- the windows (K10, K11) ------------------------------------------------------------------------- */

Test(file_rotate, M3_the_next_file_is_there_and_the_journal_does_not_know) {
        struct fixture fixture;

        begin_with(&fixture, "?rotate-size=100", 4);
        fixture.target = *fixture.journal;
        fixture_must(&fixture,
                     destination_file_ops.rotate(fixture.session, &fixture.target, &fixture.failure));
        fixture_close(&fixture); /* died before the ROTATED record */
        cr_assert(fixture_exists(&fixture, "orders.000002.jsonl"));
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        cr_assert_not(fixture.tail);
        cr_assert_eq(fixture.session->file_number, 1);
        fixture_must(&fixture, fixture_rotate(&fixture));
        cr_assert_eq(fixture.session->file_number, 2);
        fixture_close(&fixture);
        finish(&fixture);
}

Test(file_rotate, M3_rotated_and_died_before_the_first_line) {
        struct fixture fixture;

        begin_with(&fixture, "?rotate-size=100", 4);
        fixture_must(&fixture, fixture_rotate(&fixture));
        fixture_close(&fixture);
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        cr_assert_eq(fixture.session->file_number, 2);
        cr_assert_not(fixture.tail);
        fixture_close(&fixture);
        finish(&fixture);
}

/* The first batch of a new file, durable, the journal behind: a tail from byte 0 on. */
Test(file_rotate, M3_a_tail_in_a_rotated_file_is_adopted) {
        struct checkpoint journal;
        struct fixture fixture;

        begin_with(&fixture, "?rotate-size=100", 4);
        fixture_must(&fixture, fixture_rotate(&fixture));
        journal = *fixture.journal;
        fixture_must(&fixture, fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT));
        fixture_close(&fixture);
        *fixture.journal = journal;
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, fixture_claim(&fixture, FIXTURE_EVENT_COUNT));
        cr_assert_eq(fixture.adopted, 4);
        cr_assert_eq(fixture.cut_bytes, 0);
        fixture_close(&fixture);
        finish(&fixture);
}

Test(file_rotate, M3_a_next_file_with_content_stops) {
        struct fixture fixture;
        char path[640];

        begin_with(&fixture, "?rotate-size=100", 4);
        fixture_write(&fixture, "orders.000002.jsonl", "{}\n", 3);
        cr_assert_lt(fixture_rotate(&fixture), 0);
        cr_assert_eq(fixture.failure.kind, FAILURE_STOP);
        cr_assert_not_null(strstr(fixture.failure.text, "orders.000002.jsonl"), "%s", fixture.failure.text);
        cr_assert_eq(fixture.session->file_number, 1);
        fixture_path(&fixture, "orders.000002.jsonl", path);
        cr_assert_eq(unlink(path), 0);
        fixture_must(&fixture, fixture_rotate(&fixture));
        fixture_close(&fixture);
        finish(&fixture);
}

/* ---- what is not ours is not written to --------------------------------------------------------------- */

static void expect_batch_stops(struct fixture *fixture, const char *words) {
        cr_assert_lt(fixture_move(fixture, 4, FIXTURE_EVENT_COUNT), 0, "%s", words);
        cr_assert_eq(fixture->failure.kind, FAILURE_STOP, "%s", fixture->failure.text);
        cr_assert_not_null(strstr(fixture->failure.text, words), "%s", fixture->failure.text);
}

/* Another program cuts, extends, removes or replaces the file under a running owner: a hole, a mixture, or
 * lines in a file without a name would come of going on. */
Test(file_rotate, M3_a_file_changed_by_another_program_stops_the_session) {
        struct fixture fixture;
        char path[640], moved[700];
        size_t bytes;
        char *content;

        begin_with(&fixture, "", 4);
        fixture_path(&fixture, DATA, path);
        (void) snprintf(moved, sizeof(moved), "%s.moved", path);
        content = fixture_read(&fixture, DATA, &bytes);

        cr_assert_eq(truncate(path, (off_t) bytes - 1), 0);
        expect_batch_stops(&fixture, "another program wrote or cut it");
        cr_assert_eq(fixture_size(&fixture, DATA), bytes - 1, "and is left as it is");
        cr_assert_eq(truncate(path, (off_t) bytes + 1), 0);
        expect_batch_stops(&fixture, "another program wrote or cut it");
        cr_assert_eq(fixture_size(&fixture, DATA), bytes + 1);
        fixture_write(&fixture, DATA, content, bytes);
        fixture_must(&fixture, fixture_move(&fixture, 1, FIXTURE_EVENT_COUNT));

        cr_assert_eq(rename(path, moved), 0);
        expect_batch_stops(&fixture, "was moved away or replaced");
        fixture_write(&fixture, DATA, content, bytes);
        expect_batch_stops(&fixture, "was moved away or replaced");
        cr_assert_eq(rename(moved, path), 0);
        fixture_must(&fixture, fixture_move(&fixture, 1, FIXTURE_EVENT_COUNT));
        fixture_close(&fixture);
        free(content);
        finish(&fixture);
}

/* Whoever cannot look does not know that it was moved away. */
Test(file_rotate, M6_a_file_that_cannot_be_examined_was_not_moved_away) {
        struct fixture fixture;
        int directory;

        begin_with(&fixture, "", 4);
        directory = fixture.destination->dir_fd;
        fixture.destination->dir_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        expect_batch_stops(&fixture, "cannot examine: Not a directory");
        (void) close(fixture.destination->dir_fd);
        fixture.destination->dir_fd = directory;
        fixture_must(&fixture, fixture_move(&fixture, 1, FIXTURE_EVENT_COUNT));
        fixture_close(&fixture);
        finish(&fixture);
}

Test(file_rotate, M3_links_and_other_kinds_of_files_are_refused) {
        struct fixture fixture;
        char path[640];

        fixture_init(&fixture, "");
        fixture_path(&fixture, DATA, path);
        cr_assert_eq(symlink("/dev/null", path), 0);
        fixture_must(&fixture, fixture_open(&fixture));
        cr_assert_lt(fixture_claim(&fixture, FIXTURE_EVENT_COUNT), 0);
        cr_assert_eq(fixture.failure.kind, FAILURE_STOP, "%s", fixture.failure.text);
        cr_assert_eq(unlink(path), 0);
        cr_assert_eq(mkfifo(path, 0640), 0);
        cr_assert_lt(fixture_claim(&fixture, FIXTURE_EVENT_COUNT), 0);
        cr_assert_eq(fixture.failure.kind, FAILURE_STOP, "%s", fixture.failure.text);
        fixture_close(&fixture);
        fixture_done(&fixture);
}

Test(file_rotate, M2_a_checkpoint_of_another_epoch_is_fenced) {
        struct fixture fixture;

        begin_with(&fixture, "", 4);
        fixture.journal->epoch++;
        cr_assert_lt(fixture_move(&fixture, 4, FIXTURE_EVENT_COUNT), 0);
        cr_assert_eq(fixture.failure.kind, FAILURE_FENCED);
        fixture.journal->epoch--;
        fixture_close(&fixture);
        finish(&fixture);
}

/* ---- several sessions, one transaction ---------------------------------------------------------------- */

Test(file_rotate, M8_one_session_fails_and_the_others_commit) {
        const struct destination_ops *ops = &destination_file_ops;
        struct destination_session *sessions[3];
        struct checkpoint checkpoints[3] = { { .epoch = 1 }, { .epoch = 1 }, { .epoch = 1 } };
        struct fixture fixture;
        struct event event = fixture_event(1);
        bool found, tail;

        fixture_init(&fixture, "");
        fixture_must(&fixture, fixture_open(&fixture));
        fixture_must(&fixture, ops->begin(fixture.destination, &fixture.failure));
        for (unsigned i = 0; i < 3; i++) {
                char name[8];

                (void) snprintf(name, sizeof(name), "s%u", i);
                fixture_must(&fixture,
                             ops->session_open(fixture.destination, name, &sessions[i], &fixture.failure));
                fixture_must(&fixture, ops->session_begin(sessions[i], &fixture.failure));
                fixture_must(&fixture,
                             ops->fence(sessions[i], 1, &checkpoints[i], &found, &tail, &fixture.failure));
                cr_assert_not(found);
                fixture_must(&fixture, ops->put(sessions[i], &event, &fixture.failure));
                checkpoints[i].position = event.position;
                fixture_must(&fixture, ops->session_end(sessions[i], &checkpoints[i], &fixture.failure));
        }
        ops->session_rollback(sessions[1]);
        fixture_must(&fixture, ops->commit(fixture.destination, &fixture.failure));
        cr_assert_gt(fixture_size(&fixture, "s0.000001.jsonl"), 0);
        cr_assert_eq(fixture_size(&fixture, "s1.000001.jsonl"), 0);
        cr_assert_gt(fixture_size(&fixture, "s2.000001.jsonl"), 0);
        for (unsigned i = 0; i < 3; i++) {
                struct file_state state;

                cr_assert_eq(file_state_decode(checkpoints[i].destination_state, &state), 0);
                cr_assert_eq(state.position, i == 1 ? 0 : event.position);
                cr_assert_eq(state.data_bytes > 0, i != 1);
                ops->session_close(sessions[i]);
        }
        fixture_close(&fixture);
        fixture_done(&fixture);
}

/* S8: a batch larger than the buffer goes to the kernel in pieces, and a session that is idle holds none. */
Test(file_rotate, S8_a_large_batch_needs_little_memory) {
        static char big[300 * 1024];
        struct fixture fixture;
        struct event event = { .position = 0 };

        memset(big, '7', sizeof(big));
        begin_with(&fixture, "", 0);
        fixture.target = *fixture.journal;
        fixture_must(&fixture, fixture_begin(&fixture));
        for (unsigned i = 1; i <= 20; i++) {
                event.position = fixture.target.position = i;
                event.payload = (struct event_value){ .type = VALUE_TEXT, .bytes = sizeof(big), .data = big };
                fixture_must(&fixture, destination_file_ops.put(fixture.session, &event, &fixture.failure));
                cr_assert_lt(fixture.session->data.buffer.capacity_bytes, 2U << 20);
        }
        cr_assert_gt(fixture_size(&fixture, DATA), 19 * sizeof(big), "written before the commit");
        destination_file_ops.session_rollback(fixture.session);
        cr_assert_eq(fixture_size(&fixture, DATA), 0, "and taken back");
        destination_file_ops.rollback(fixture.destination);
        cr_assert_null(fixture.session->data.buffer.data);
        fixture_close(&fixture);
        finish(&fixture);
}

/* ---- open and check ----------------------------------------------------------------------------------- */

static int check(struct fixture *fixture, const char *path, char **ret_note) {
        const struct scheme *scheme;
        struct destination_config config = { .name = "events", .instance = fixture_instance };
        char text[700];

        (void) snprintf(text, sizeof(text), "file:%s", path);
        cr_assert_eq(url_parse(text, &fixture->url, &fixture->failure), 0);
        cr_assert_eq(option_check(destination_schemes, &fixture->url, &scheme, &fixture->failure), 0);
        config.url = &fixture->url;
        config.scheme = scheme;
        return destination_file_ops.check(&config, ret_note, &fixture->failure);
}

Test(file_rotate, check_makes_nothing_and_says_why_not) {
        struct fixture fixture;
        char path[640];
        char *note = NULL;

        fixture_init(&fixture, "");
        fixture_must(&fixture, check(&fixture, fixture.directory, &note));
        cr_assert_null(note);
        cr_assert_eq(rmdir(fixture.directory), 0, "it is still empty");
        cr_assert_eq(check(&fixture, fixture.directory, &note), -ENOENT);
        cr_assert_not_null(strstr(fixture.failure.text, "does not exist"));
        cr_assert_eq(fixture_open(&fixture), -ENOENT);
        cr_assert_eq(fixture.failure.kind, FAILURE_UNAVAILABLE, "it may be mounted later");
        cr_assert_eq(mkdir(fixture.directory, 0750), 0);

        fixture_write(&fixture, DATA, "{}\n", 3);
        fixture_must(&fixture, check(&fixture, fixture.directory, &note));
        cr_assert_not_null(note);
        cr_assert_not_null(strstr(note, "1 .jsonl files"), "%s", note);
        free(note);

        fixture_path(&fixture, DATA, path);
        cr_assert_eq(check(&fixture, path, &note), -ENOTDIR);
        cr_assert_eq(fixture_open(&fixture), -ENOTDIR);
        cr_assert_eq(fixture.failure.kind, FAILURE_STOP);

        cr_assert_eq(chmod(fixture.directory, 0555), 0);
        if (geteuid() != 0) { /* root may write everywhere */
                cr_assert_eq(check(&fixture, fixture.directory, &note), -EACCES);
                cr_assert_not_null(strstr(fixture.failure.text, "cannot be written"));
        } else if (seteuid(65534) == 0) {
                int r = check(&fixture, fixture.directory, &note);

                cr_assert_eq(seteuid(0), 0);
                cr_assert_eq(r, -EACCES);
        }
        cr_assert_eq(chmod(fixture.directory, 0750), 0);
        fixture_done(&fixture);
}

Test(file_rotate, a_directory_that_was_replaced_is_stale) {
        struct fixture fixture;
        char moved[300];

        begin_with(&fixture, "", 4);
        cr_assert_not(destination_file_ops.is_stale(fixture.destination));
        (void) snprintf(moved, sizeof(moved), "%s.moved", fixture.directory);
        cr_assert_eq(rename(fixture.directory, moved), 0);
        cr_assert(destination_file_ops.is_stale(fixture.destination));
        cr_assert_eq(mkdir(fixture.directory, 0750), 0);
        cr_assert(destination_file_ops.is_stale(fixture.destination));
        cr_assert_eq(rmdir(fixture.directory), 0);
        cr_assert_eq(rename(moved, fixture.directory), 0);
        cr_assert_not(destination_file_ops.is_stale(fixture.destination));
        fixture_close(&fixture);
        fixture_done(&fixture);
}
