/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share: taking an input apart, a place on tmpfs, and what a finding is.
 * A target defines LLVMFuzzerTestOneInput(); libFuzzer calls it, or main.c for a replay. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/failure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
/* A target may have one: changes the input in place, to at most bytes_max. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed);
/* Of libFuzzer; in a replay it changes nothing. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t bytes_max);

/* What must hold whatever the input says. A violation is a finding: it ends the process with a sentence. */
#define fuzz_must(condition, ...)                                                                           \
        do {                                                                                                \
                if (!(condition)) {                                                                         \
                        (void) fprintf(stderr, "%s:%d: must hold: " #condition "\n  ", __FILE__, __LINE__); \
                        (void) fprintf(stderr, __VA_ARGS__);                                                \
                        (void) fputc('\n', stderr);                                                         \
                        abort();                                                                            \
                }                                                                                           \
        } while (0)

/* ---- input: whatever is asked for beyond the end is 0, or empty ---------------------------------- */
struct input {
        const uint8_t *at, *end;
};
static inline struct input input_of(const uint8_t *data, size_t bytes) {
        return (struct input){ .at = data, .end = data + bytes };
}
static inline bool input_is_empty(const struct input *input) {
        return input->at == input->end;
}
uint8_t input_u8(struct input *input);
uint16_t input_u16(struct input *input);
uint32_t input_u32(struct input *input);
uint64_t input_u64(struct input *input);
/* The next `bytes`, or as many as are left: *ret_data is good as long as the input. */
size_t input_bytes(struct input *input, size_t bytes, const uint8_t **ret_data);
/* Up to the next `separator` byte, which is skipped, or the end. */
size_t input_until(struct input *input, uint8_t separator, const uint8_t **ret_data);
/* A length byte and so many characters, as a C string (a NUL ends it early). */
const char *input_text(struct input *input, char *buffer, size_t buffer_bytes);

/* ---- place: a directory on tmpfs, removed at the end --------------------------------------------- */
/* The same for the whole life of the process. */
const char *place_path(void);
/* PLACE/name, good until the next call but three. */
const char *place_file(const char *name);
void place_write(const char *name, const void *data, size_t bytes);
/* Everything in PLACE/name (a directory, or NULL: in the place itself) is removed. */
void place_empty(const char *name);

/* ---- what is said --------------------------------------------------------------------------------- */
/* B1: a failure has a class and one sentence, fit for a terminal, for JSON and for D-Bus. */
void fuzz_must_be_told(int r, const struct failure *failure);
/* Fit for a terminal: valid UTF-8, no control characters but those in `allowed`. */
bool text_is_harmless(const char *text, size_t bytes, const char *allowed);
