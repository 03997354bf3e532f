/* SPDX-License-Identifier: Apache-2.0 */
/* Splitmix64, started from a hash of the stream's name. Must not touch: a clock, or any state but the dice's. */
#include "prove/torture/dice.h"

#include "base/macro.h"

static uint64_t mix(uint64_t word) {
        word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ULL;
        word = (word ^ word >> 27) * 0x94d049bb133111ebULL;
        return word ^ word >> 31;
}

struct dice dice_split(uint64_t seed, const char *name, uint64_t number) {
        struct dice dice = { .state = mix(seed + 0x9e3779b97f4a7c15ULL) };

        assert(name);

        for (; *name; name++)
                dice.state = mix(dice.state ^ (uint8_t) *name);
        dice.state = mix(dice.state ^ number);
        return dice;
}

uint64_t dice_next(struct dice *dice) {
        return mix(dice->state += 0x9e3779b97f4a7c15ULL);
}

uint64_t dice_below(struct dice *dice, uint64_t count) {
        assert(count > 0);

        return dice_next(dice) % count;
}

uint64_t dice_between(struct dice *dice, uint64_t least, uint64_t most) {
        assert(least <= most);

        return least + dice_below(dice, most - least + 1);
}
