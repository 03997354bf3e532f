/* SPDX-License-Identifier: Apache-2.0 */
/* Lets Criterion live beside ThreadSanitizer: linked into the test programs of such a build alone.
 *
 * BoxFort, inside Criterion, maps what it shares with its children at 0x2000'0000'0000 + 2^24 × rand_r(), and
 * gives up after three addresses that it cannot have; nearly all of that range is the sanitizer's shadow. So
 * it is given random numbers that lead to 0x5660'0000'0000 … 0x5670'0000'0000: a part of the program's own
 * range, above the highest address where the kernel puts a program. Nothing of Baton calls rand_r(). */
#include <stdlib.h>

#define FIRST 0x366000
#define COUNT 0x1000u

int rand_r(unsigned *seed) {
        *seed = *seed * 1103515245u + 12345u;
        return FIRST + (int) ((*seed >> 16) % COUNT);
}
