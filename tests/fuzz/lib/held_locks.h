/* SPDX-License-Identifier: Apache-2.0 */
/* Which robust mutexes this thread holds, as pthread_mutex_trylock() and its like have answered (FUZZ_WRAPS): so that
 * a worker can "die" in the middle of a wait and this thread lets go of exactly what it held. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

/* Lets go of all but `except`, the last first. */
void held_drop(const pthread_mutex_t *except);
/* Lets go of all, and each says what the kernel says of a dead holder. */
void held_die(void);
bool held_has(const pthread_mutex_t *mutex);
