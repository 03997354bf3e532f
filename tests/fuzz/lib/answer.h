/* SPDX-License-Identifier: Apache-2.0 */
/* A supervisor that is none: whoever connects to PLACE/peer/control is sent bytes, all at once and then the end, in
 * place of its first wait (FUZZ_WRAPS: sd_bus_wait). And the bytes of a D-Bus answer, made by hand, so that each of
 * its parts may be wrong. */
#pragma once

#include "tests/fuzz/lib/fuzz.h"

struct answer {
        uint8_t bytes[4096];
        size_t used;
};

/* The server's side of the authentication. */
void answer_put_authentication(struct answer *answer);
/* One message, its parts as the input says: a return or an error, to this call or another. */
void answer_put_message(struct answer *answer, struct input *input);
/* Bytes of the input as they are. */
void answer_put_raw(struct answer *answer, struct input *input, size_t bytes);
/* From now on this is what is sent. */
void answer_serve(const struct answer *answer);
