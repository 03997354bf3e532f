/* SPDX-License-Identifier: Apache-2.0 */
/* Workers come and go by agreement: pictures A, B and D of the promise without a death (S2, S9, M10).
 * Each test ends with the checker. */
#include "prove/world/outbox.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(membership, .init = begin, .fini = end, .timeout = 120);

static void start_with(unsigned workers, const char *const *sources) {
        for (; *sources; sources++)
                world_outbox(&world, *sources);
        world_config_standard(&world, workers, NULL);
        world_start(&world);
        wait_settled(&world, "d", workers, NULL);
}

/* A pace at which a test of half a second sees the change in the midst of movement. */
static pid_t write_some(const char *source, uint64_t events) {
        struct writer_options options = { .source = source,
                                          .events = events,
                                          .per_second = 6000,
                                          .rolls_back = true,
                                          .leaves_gaps = true };

        return writer_start(&world, &options);
}

Test(membership, one_worker_moves_two_sessions) {
        start_with(1, (const char *[]){ "a", "b", NULL });
        pid_t a = write_some("a", 2000), b = write_some("b", 2000);

        writer_wait(&world, a);
        writer_wait(&world, b);
        wait_all_moved(&world);
        wait_settled(&world, "d", 1, NULL); /* both still with the only one */
        check_final(&world);
}

Test(membership, a_second_worker_joins_and_takes_one_session_over) {
        struct pool_look look;

        start_with(1, (const char *[]){ "a", "b", NULL });
        pid_t first = worker_of(&world, "d", 0), a = write_some("a", 3000), b = write_some("b", 3000);

        WAIT_UNTIL(&world, session_position(&world, "a") > 300 && session_position(&world, "b") > 300);
        cr_assert_eq(baton(&world, "scale", "d", "2"), 0, "%s", world.output);
        wait_settled(&world, "d", 2, &look);
        cr_expect(process_is_alive(first), "the first worker stays");
        cr_expect(look.owners[0] == first || look.owners[1] == first,
                  "as few moves as possible: it keeps one of them");
        check_live(&world);
        writer_wait(&world, a);
        writer_wait(&world, b);
        wait_all_moved(&world);
        check_final(&world);
}

Test(membership, a_worker_leaves_and_its_session_goes_to_the_other) {
        start_with(2, (const char *[]){ "a", "b", NULL });
        pid_t a = write_some("a", 3000), b = write_some("b", 3000);

        WAIT_UNTIL(&world, session_position(&world, "a") > 300 && session_position(&world, "b") > 300);
        cr_assert_eq(baton(&world, "scale", "d", "1"), 0, "%s", world.output);
        wait_settled(&world, "d", 1, NULL);
        check_live(&world);
        writer_wait(&world, a);
        writer_wait(&world, b);
        wait_all_moved(&world);
        check_final(&world);
}

Test(membership, seven_sessions_spread_evenly_as_workers_come_and_go) {
        static const char *const sources[] = { "a", "b", "c", "e", "f", "g", "h", NULL };
        static const char *const steps[] = { "3", "4", "2", "1", "3" };
        pid_t writers[7];

        start_with(1, sources);
        for (size_t i = 0; i < 7; i++)
                writers[i] = write_some(sources[i], 1000);
        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                cr_assert_eq(baton(&world, "scale", "d", steps[i]), 0, "%s", world.output);
                wait_settled(&world, "d", (uint32_t) (steps[i][0] - '0'), NULL);
        }
        for (size_t i = 0; i < 7; i++)
                writer_wait(&world, writers[i]);
        wait_all_moved(&world);
        check_final(&world);
}

Test(membership, scaled_to_nobody_nothing_moves_and_scaled_up_it_goes_on) {
        start_with(1, (const char *[]){ "a", NULL });
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        cr_assert_eq(baton(&world, "scale", "d", "0"), 0, "%s", world.output);
        WAIT_UNTIL(&world, live_workers(&world, "d", NULL, 0) == 0);
        outbox_fill(&world, "a", 100);
        check_live(&world);
        cr_assert_eq(baton(&world, "scale", "d", "1"), 0, "%s", world.output);
        wait_all_moved(&world);
        check_final(&world);
}

Test(membership, scale_refuses_what_cannot_be) {
        start_with(1, (const char *[]){ "a", NULL });
        cr_expect_neq(baton(&world, "scale", "e", "2"), 0);
        cr_expect(strstr(world.output, "e"), "%s", world.output);
        cr_expect_neq(baton(&world, "scale", "d", "9999"), 0);
        cr_expect_neq(baton(&world, "scale", "d", "two"), 0);
        cr_expect_eq(live_workers(&world, "d", NULL, 0), 1);
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        check_final(&world);
}
