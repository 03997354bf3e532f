/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers that can be split: each actor draws from a stream of its own, named by the seed and by what it
 * is for, so what one does never depends on how often, or when, another has drawn. */
#pragma once

#include <stdint.h>

struct dice {
        uint64_t state;
};

struct dice dice_split(uint64_t seed, const char *name, uint64_t number);
uint64_t dice_next(struct dice *dice);
uint64_t dice_below(struct dice *dice, uint64_t count);                  /* 0 … count - 1 */
uint64_t dice_between(struct dice *dice, uint64_t least, uint64_t most); /* both included */
