/* SPDX-License-Identifier: Apache-2.0 */
/* S9: even, sticky, fewest moves, idempotent, heirs that differ; random inputs up to a million sessions. */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "shm/balance.h"

static uint64_t random_state = 0x9e3779b97f4a7c15ULL; /* fixed: every run tests the same inputs */

static uint32_t random_below(uint32_t bound) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return (uint32_t) (random_state >> 32) % bound;
}

/* The fewest moves there can be: what is without an owner, and what stands above the best targets. */
static uint64_t fewest_moves(const uint32_t *owner, uint32_t session_count, uint32_t worker_count) {
        _cleanup_free_ uint32_t *load = calloc(worker_count, sizeof *load);
        uint32_t share = session_count / worker_count, rest = session_count % worker_count;
        uint64_t moves = 0;

        for (uint32_t i = 0; i < session_count; i++) {
                if (owner[i] < worker_count)
                        load[owner[i]]++;
                else
                        moves++;
        }
        for (uint32_t w = 0; w < worker_count; w++)
                if (load[w] > share) {
                        uint32_t keeps_one_more = rest > 0;

                        moves += load[w] - share - keeps_one_more;
                        rest -= keeps_one_more;
                }
        return moves;
}

static void check_even(const uint32_t *owner, uint32_t session_count, uint32_t worker_count) {
        _cleanup_free_ uint32_t *load = calloc(worker_count, sizeof *load);
        uint32_t low = UINT32_MAX, high = 0;

        for (uint32_t i = 0; i < session_count; i++) {
                cr_assert_lt(owner[i], worker_count);
                load[owner[i]]++;
        }
        for (uint32_t w = 0; w < worker_count; w++) {
                low = MIN_OF(low, load[w]);
                high = MAX_OF(high, load[w]);
        }
        cr_assert_leq(high - low, 1);
}

/* For each owner, its heirs are spread evenly over all the others. */
static void check_heirs(const uint32_t *owner, const uint32_t *heir, uint32_t session_count,
                        uint32_t worker_count) {
        _cleanup_free_ uint32_t *count = calloc((size_t) worker_count * worker_count, sizeof *count);

        for (uint32_t i = 0; i < session_count; i++) {
                if (worker_count < 2) {
                        cr_assert_eq(heir[i], BALANCE_NOBODY);
                        continue;
                }
                cr_assert_lt(heir[i], worker_count);
                cr_assert_neq(heir[i], owner[i]);
                count[(size_t) owner[i] * worker_count + heir[i]]++;
        }
        for (uint32_t w = 0; w < worker_count && worker_count >= 2; w++) {
                uint32_t low = UINT32_MAX, high = 0;

                for (uint32_t h = 0; h < worker_count; h++)
                        if (h != w) {
                                low = MIN_OF(low, count[(size_t) w * worker_count + h]);
                                high = MAX_OF(high, count[(size_t) w * worker_count + h]);
                        }
                cr_assert_leq(high - low, 1);
        }
}

static void check_one(uint32_t session_count, uint32_t worker_count) {
        _cleanup_free_ uint32_t *before = calloc(session_count + 1, sizeof *before);
        _cleanup_free_ uint32_t *owner = calloc(session_count + 1, sizeof *owner);
        _cleanup_free_ uint32_t *heir = calloc(session_count + 1, sizeof *heir);
        _cleanup_free_ uint32_t *again = calloc(session_count + 1, sizeof *again);
        _cleanup_free_ uint32_t *scratch = calloc(4 * (size_t) worker_count, sizeof *scratch);
        uint32_t crowd = 1 +
                         random_below(worker_count + 2); /* some runs start with few owners, or dead ones */
        uint64_t moves = 0;

        for (uint32_t i = 0; i < session_count; i++)
                before[i] = random_below(5) == 0 ? BALANCE_NOBODY : random_below(crowd);
        memcpy(owner, before, session_count * sizeof *owner);

        balance(session_count, owner, heir, worker_count, scratch);
        check_even(owner, session_count, worker_count);
        check_heirs(owner, heir, session_count, worker_count);
        for (uint32_t i = 0; i < session_count; i++)
                moves += owner[i] != before[i];
        cr_assert_eq(moves, fewest_moves(before, session_count, worker_count), "%u sessions, %u workers",
                     session_count, worker_count);

        memcpy(again, owner, session_count * sizeof *again);
        balance(session_count, again, NULL, worker_count, scratch);
        cr_assert_arr_eq(again, owner, session_count * sizeof *owner, "idempotent");
}

Test(shm_balance, s9_properties_on_random_inputs) {
        for (unsigned i = 0; i < 3000; i++)
                check_one(random_below(200), 1 + random_below(20));
        for (unsigned i = 0; i < 20; i++)
                check_one(random_below(65536), 1 + random_below(256));
}

Test(shm_balance, s9_a_million_sessions) {
        check_one(1000000, 64);
        check_one(1000000, 3);
}

Test(shm_balance, s9_small_cases) {
        uint32_t scratch[16], owner[4] = { 0, 0, 0, 0 }, heir[4];

        balance(4, owner, heir, 2, scratch);
        cr_assert_eq(owner[0], 0, "the first of them stay");
        cr_assert_eq(owner[1], 0);
        cr_assert_eq(owner[2], 1);
        cr_assert_eq(owner[3], 1);
        cr_assert_eq(heir[0], 1);
        cr_assert_eq(heir[3], 0);

        balance(4, owner, heir, 1, scratch);
        for (unsigned i = 0; i < 4; i++) {
                cr_assert_eq(owner[i], 0);
                cr_assert_eq(heir[i], BALANCE_NOBODY);
        }
        balance(4, owner, heir, 0, NULL);
        for (unsigned i = 0; i < 4; i++)
                cr_assert_eq(owner[i], BALANCE_NOBODY);
        balance(0, NULL, NULL, 3, scratch);
}

Test(shm_balance, s9_one_orphan_goes_to_the_least_loaded) {
        const uint32_t load[] = { 5, UINT32_MAX, 3, 3 }, nobody[] = { UINT32_MAX, UINT32_MAX };

        cr_assert_eq(balance_one(load, 4), 2, "lowest number of the least loaded");
        cr_assert_eq(balance_one(load, 2), 0, "one that is not live gets nothing");
        cr_assert_eq(balance_one(nobody, 2), BALANCE_NOBODY);
        cr_assert_eq(balance_one(NULL, 0), BALANCE_NOBODY);
}
