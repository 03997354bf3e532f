/* SPDX-License-Identifier: Apache-2.0 */
/* How soon a thread runs when it has something to do. */
#pragma once

#include <stdint.h>

/* Asks the kernel for `nice` and a slice of `slice_usec` for the calling thread and what it starts. A thread
 * with a short slice runs at once when it wakes, also where every processor is busy (kernel 6.12 and later;
 * before, the slice is ignored). 0; -EPERM: the slice alone was granted; else negative errno. Thread-safe. */
int priority_set(int nice, uint64_t slice_usec);
