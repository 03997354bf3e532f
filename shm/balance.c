/* SPDX-License-Identifier: Apache-2.0 */
/* Who should own what: a pure function (S9). Must not touch: anything but its arguments. */
#include "shm/balance.h"

#include <string.h>

#include "base/macro.h"

/* target[w]: how many sessions worker w is to have. The share is session_count / worker_count; the rest,
 * one each, stays with workers that have more than the share already (so that fewest move), then goes to
 * the lowest numbers. */
static void balance_targets(uint32_t session_count, const uint32_t *load, uint32_t worker_count,
                            uint32_t *target) {
        uint32_t share, rest;

        assert(load && target && worker_count > 0);

        share = session_count / worker_count;
        rest = session_count % worker_count;
        for (uint32_t w = 0; w < worker_count; w++) {
                target[w] = share;
                if (rest > 0 && load[w] > share) {
                        target[w]++;
                        rest--;
                }
        }
        for (uint32_t w = 0; w < worker_count && rest > 0; w++)
                if (target[w] == share) {
                        target[w]++;
                        rest--;
                }
        assert(rest == 0);
}

/* Heirs of one owner's sessions go round over the others, beginning behind the owner. */
static void balance_heirs(uint32_t session_count, const uint32_t *owner, uint32_t *heir,
                          uint32_t worker_count, uint32_t *step) {
        assert(owner && heir && step);

        for (uint32_t w = 0; w < worker_count; w++)
                step[w] = 0;
        for (uint32_t i = 0; i < session_count; i++) {
                uint32_t w = owner[i];

                if (worker_count < 2) {
                        heir[i] = BALANCE_NOBODY;
                        continue;
                }
                assert(w < worker_count);
                heir[i] = (w + 1 + step[w]) % worker_count;
                step[w] = (step[w] + 1) % (worker_count - 1);
                assert(heir[i] != w);
        }
}

void balance(uint32_t session_count, uint32_t *owner, uint32_t *heir, uint32_t worker_count,
             uint32_t *scratch) {
        uint32_t *load = scratch, *target = scratch + worker_count,
                 *kept = scratch + 2 * (size_t) worker_count;
        uint32_t next = 0;

        assert(owner || session_count == 0);
        assert(scratch || worker_count == 0);

        if (worker_count == 0) {
                for (uint32_t i = 0; i < session_count; i++) {
                        owner[i] = BALANCE_NOBODY;
                        if (heir)
                                heir[i] = BALANCE_NOBODY;
                }
                return;
        }

        memset(scratch, 0, 4 * (size_t) worker_count * sizeof *scratch);
        for (uint32_t i = 0; i < session_count; i++)
                if (owner[i] < worker_count)
                        load[owner[i]]++;
        balance_targets(session_count, load, worker_count, target);

        for (uint32_t i = 0; i < session_count; i++) {
                if (owner[i] < worker_count && kept[owner[i]] < target[owner[i]])
                        kept[owner[i]]++;
                else
                        owner[i] = BALANCE_NOBODY;
        }
        for (uint32_t i = 0; i < session_count; i++) {
                if (owner[i] != BALANCE_NOBODY)
                        continue;
                while (next < worker_count && kept[next] == target[next])
                        next++;
                assert(next < worker_count); /* the targets add up to session_count */
                owner[i] = next;
                kept[next]++;
        }
        if (heir)
                balance_heirs(session_count, owner, heir, worker_count, scratch + 3 * (size_t) worker_count);
}

uint32_t balance_one(const uint32_t *load, uint32_t worker_count) {
        uint32_t best = BALANCE_NOBODY, best_load = UINT32_MAX;

        assert(load || worker_count == 0);

        for (uint32_t w = 0; w < worker_count; w++)
                if (load[w] < best_load) {
                        best = w;
                        best_load = load[w];
                }
        assert(best == BALANCE_NOBODY || best < worker_count);
        return best;
}
