/* SPDX-License-Identifier: Apache-2.0 */
/* Overwrites words of the segment as an input says: a field by its number with a value that is near to one that means
 * something, or raw bytes anywhere in a record. Left alone is the mutex that this thread holds for life: the C
 * library keeps pointers in it (shm/README.md, H6 is about the others). */
#pragma once

#include "tests/fuzz/lib/fuzz.h"

/* One field: which, whose, what. Sets world.is_trusted to false for a word of the supervisor. */
void scribble_field(struct input *input);
/* Raw bytes into one record. */
void scribble_bytes(struct input *input);
