/* SPDX-License-Identifier: Apache-2.0 */
/* The tape held against the directory that it speaks of: if all of it survives, it is what stands there, to
 * the byte. Else something wrote that the recorder did not see. Must not touch: the files (they are read). */
#pragma once

#include <stdbool.h>

#include "prove/power/tape.h"

/* Nothing may write meanwhile. What differs is told on stderr. */
bool account_holds(const struct tape *tape, const char *root);
