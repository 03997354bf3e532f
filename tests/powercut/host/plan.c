/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of a cut. Kinds, fates and mount options are dealt from decks, so that 20 cuts have all of
 * them whatever the seed; when exactly, chance says. Must not touch: anything. */
#include <string.h>

#include "base/macro.h"
#include "tests/powercut/host/plan.h"

const struct cut_kind_words cut_kinds[CUT_KIND_COUNT] = {
        [CUT_LOAD] = { "load", "load", "load", 1500 },
        [CUT_BUSY] = { "busy recovery", "start", "busy", 1500 },
        [CUT_RECOVERY] = { "recovery", "start", "load", 120 },
        [CUT_TAKEOVER] = { "takeover", "killed", "takeover", 60 },
        [CUT_FULL] = { "full disk", "full", "full", 200 },
};

static const enum cut_kind kind_deck[] = {
        CUT_LOAD,     CUT_LOAD,     CUT_LOAD,     CUT_LOAD,     CUT_LOAD,     CUT_LOAD,     CUT_LOAD,
        CUT_BUSY,     CUT_BUSY,     CUT_BUSY,     CUT_RECOVERY, CUT_RECOVERY, CUT_RECOVERY, CUT_RECOVERY,
        CUT_RECOVERY, CUT_TAKEOVER, CUT_TAKEOVER, CUT_TAKEOVER, CUT_FULL,     CUT_FULL,
};
static const char *const mount_deck[] = { "data=ordered", "data=ordered", "data=ordered", "data=writeback",
                                          "data=journal" };

/* The card at `number` of a deck that is shuffled anew each time it is through; `salt` keeps decks of one
 * seed from going in step. */
static size_t deal(uint64_t seed, uint64_t salt, unsigned number, size_t cards) {
        uint64_t random = seed ^ salt << 32 ^ (number / cards) << 40;
        size_t order[32];

        assert(cards <= ELEMENTSOF(order));
        for (size_t i = 0; i < cards; i++)
                order[i] = i;
        for (size_t i = cards - 1; i > 0; i--) {
                size_t other = random_below(&random, i + 1), card = order[i];

                order[i] = order[other];
                order[other] = card;
        }
        return order[number % cards];
}

void plan_cut(uint64_t seed, unsigned number, struct cut_plan *ret_plan) {
        uint64_t random = seed * 1000003 + number;
        enum cut_kind kind = kind_deck[deal(seed, 1, number, ELEMENTSOF(kind_deck))];
        /* Small numbers as often as large ones: the first requests are the interesting ones. */
        uint64_t most = cut_kinds[kind].request_max >> random_below(&random, 4);

        *ret_plan = (struct cut_plan){
                .kind = kind,
                .fate = (enum cache_fate) deal(seed, 2, number, CACHE_FATE_COUNT),
                .mount = mount_deck[deal(seed, 3, number, ELEMENTSOF(mount_deck))],
                .writes_back_early = random_below(&random, 2) == 0,
                .after_requests = 1 + random_below(&random, most),
                .after_msec = 200 + random_below(&random, 8000),
                .at_flush = random_below(&random, 2) == 0,
                .random = random_next(&random),
        };
}
