/* SPDX-License-Identifier: Apache-2.0 */
/* Which robust mutexes this thread holds, as pthread_mutex_trylock() and its like have answered (FUZZ_WRAPS): so that
 * a worker can "die" in the middle of a wait and this thread holds nothing of it. */
#pragma once

/* None is held any more, whatever stands in them. */
void held_forget(void);
/* The same, and each says what the kernel says of a dead holder. */
void held_die(void);
