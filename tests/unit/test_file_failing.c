/* SPDX-License-Identifier: Apache-2.0 */
/* The file destination where one call fails, each in turn, memory too: an heir finds a dead owner's tail, or files whose
 * sync failed, and moves on with rotation (M3, M6–M8). Whatever failed, the sentence names it, and in the end each line
 * stands once, in order, byte for byte. */
#include "tests/unit/failing_calls.h"
#include "tests/unit/file_fixture.h"

#define TRIES_MOST 3000u
#define SAMPLE_FEW 60u /* in `make check` */

static void setup(void) {
        if (access("/dev/shm", W_OK) == 0) /* nothing here asks for a disk */
                (void) setenv("TMPDIR", "/dev/shm", 1);
}

TestSuite(file_failing, .init = setup);

/* What the dead owner left: a tail beyond the journal, and perhaps the word that a sync failed. */
static void leave_tail(struct fixture *fixture, bool is_uncertain) {
        fixture_init(fixture, "?rotate-size=700");
        fixture_must(fixture, fixture_open(fixture));
        fixture_must(fixture, fixture_claim(fixture, FIXTURE_EVENT_COUNT));
        fixture_must(fixture, fixture_move(fixture, 6, FIXTURE_EVENT_COUNT));
        fixture->target = *fixture->journal;
        fixture_must(fixture, fixture_begin(fixture));
        fixture_must(fixture, fixture_put(fixture, 7, 12));
        fixture_must(fixture,
                     destination_file_ops.session_end(fixture->session, &fixture->target, &fixture->failure));
        if (is_uncertain)
                file_uncertain_set(fixture->session);
        fixture_close(fixture);
}

/* 0, or what to wait for. Opens what is not open. */
static int open_all(struct fixture *fixture) {
        const struct destination_ops *ops = &destination_file_ops;
        struct destination_config config = { .name = "events",
                                             .url = &fixture->url,
                                             .instance = fixture_instance };
        int r = 0;

        cr_assert_eq(option_check(destination_schemes, &fixture->url, &config.scheme, &fixture->failure), 0);
        calls_armed(true);
        if (!fixture->destination)
                r = ops->open(&config, &fixture->destination, &fixture->failure);
        if (r >= 0 && !fixture->session)
                r = ops->session_open(fixture->destination, "orders", &fixture->session, &fixture->failure);
        calls_armed(false);
        return r;
}

static int step(struct fixture *fixture, bool *claimed) {
        int r;

        calls_armed(true);
        r = *claimed ? fixture_move(fixture, 4, FIXTURE_EVENT_COUNT)
                     : fixture_claim(fixture, FIXTURE_EVENT_COUNT);
        *claimed = r >= 0;
        if (r >= 0) {
                r = fixture_rotate(fixture);
                *claimed = r >= 0;
        }
        calls_armed(false);
        return r;
}

/* As the product's mover: all closed, opened anew, written to a new place, claimed. */
static void after_failure(struct fixture *fixture) {
        fixture_close(fixture);
        fixture_must(fixture, open_all(fixture));
        fixture_must(fixture, destination_file_ops.resync(fixture->destination, &fixture->failure));
}

static void expect_told(const struct fixture *fixture) {
        cr_assert_not_null(calls.failed, "nothing failed: %s", fixture->failure.text);
        cr_assert_neq(fixture->failure.kind, FAILURE_NONE, "%s failed", calls.failed);
        cr_assert(strstr(fixture->failure.text, fixture->directory) ||
                          strstr(fixture->failure.text, "memory"),
                  "%s failed: \"%s\"", calls.failed, fixture->failure.text);
}

static void run(enum calls_how how, unsigned at, const char *expected) {
        struct fixture fixture;
        bool claimed = false;
        unsigned failures = 0;
        char *all;

        leave_tail(&fixture, at % 2);
        calls_begin(how, at);
        while (fixture.journal->position < FIXTURE_EVENT_COUNT * 3) {
                if (open_all(&fixture) >= 0 && step(&fixture, &claimed) >= 0)
                        continue;
                expect_told(&fixture);
                cr_assert_leq(++failures, 2u, "%s failed, and then: %s", calls.failed, fixture.failure.text);
                after_failure(&fixture);
                claimed = false;
        }
        fixture_close(&fixture);
        all = fixture_read_all(&fixture);
        cr_assert_str_eq(all, expected, "%s failed (the %u-th)", calls.failed, at);
        cr_assert_eq(fixture_size(&fixture, ".orders.lock"), 0, "%s failed: still uncertain", calls.failed);
        free(all);
        fixture_done(&fixture);
}

static void sweep_of(enum calls_how how) {
        unsigned count, most, apart;
        char *expected = fixture_expected();

        run(how, TRIES_MOST | 1,
            expected); /* none: how many there are, the copy of an uncertain file among them */
        count = calls.seen;
        run(how, TRIES_MOST, expected);
        most = count > calls.seen ? count : calls.seen;
        cr_assert(most > 60 && most < TRIES_MOST, "%u", most);
        apart = calls_step(most, SAMPLE_FEW) | 1; /* odd: with an uncertain file and without */
        for (unsigned at = 1; at <= most; at += apart)
                run(how, at, expected);
        free(expected);
}

Test(file_failing, M6_whatever_is_broken) {
        sweep_of(CALLS_BROKEN);
}

Test(file_failing, M8_whatever_is_short) {
        sweep_of(CALLS_SHORT);
}
