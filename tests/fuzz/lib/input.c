/* SPDX-License-Identifier: Apache-2.0 */
/* Takes an input apart; see fuzz.h. Must not touch: anything but its arguments. */
#include <string.h>

#include "base/text.h"
#include "tests/fuzz/lib/fuzz.h"

static uint64_t take(struct input *input, size_t bytes) {
        uint64_t value = 0;

        for (size_t i = 0; i < bytes && input->at < input->end; i++)
                value |= (uint64_t) *input->at++ << (8 * i);
        return value;
}

uint8_t input_u8(struct input *input) {
        return (uint8_t) take(input, 1);
}

uint16_t input_u16(struct input *input) {
        return (uint16_t) take(input, 2);
}

uint32_t input_u32(struct input *input) {
        return (uint32_t) take(input, 4);
}

uint64_t input_u64(struct input *input) {
        return take(input, 8);
}

size_t input_bytes(struct input *input, size_t bytes, const uint8_t **ret_data) {
        bytes = MIN_OF(bytes, (size_t) (input->end - input->at));
        *ret_data = input->at;
        input->at += bytes;
        return bytes;
}

size_t input_until(struct input *input, uint8_t separator, const uint8_t **ret_data) {
        const uint8_t *from = input->at, *found = NULL;

        if (from < input->end)
                found = memchr(from, separator, (size_t) (input->end - from));
        *ret_data = from;
        input->at = found ? found + 1 : input->end;
        return (size_t) ((found ? found : input->end) - from);
}

const char *input_text(struct input *input, char *buffer, size_t buffer_bytes) {
        const uint8_t *data;
        size_t bytes;

        bytes = input_bytes(input, MIN_OF((size_t) input_u8(input), buffer_bytes - 1), &data);
        if (bytes > 0)
                memcpy(buffer, data, bytes);
        buffer[bytes] = '\0';
        return buffer;
}

bool text_is_harmless(const char *text, size_t bytes, const char *allowed) {
        if (!text_is_utf8(text, bytes))
                return false;
        for (size_t i = 0; i < bytes; i++) {
                uint8_t byte = (uint8_t) text[i];
                bool is_c1 = i > 0 && (uint8_t) text[i - 1] == 0xc2 && byte < 0xa0;

                if ((byte < 0x20 || byte == 0x7f || is_c1) && !strchr(allowed, byte))
                        return false;
        }
        return true;
}

void fuzz_must_be_told(int r, const struct failure *failure) {
        size_t bytes = strnlen(failure->text, sizeof(failure->text));

        fuzz_must(r < 0, "%d is no errno", r);
        fuzz_must(failure->kind > FAILURE_NONE && failure->kind < FAILURE_KIND_COUNT, "class %d",
                  (int) failure->kind);
        fuzz_must(bytes > 0 && bytes < sizeof(failure->text), "%zu bytes of sentence", bytes);
        fuzz_must(text_is_harmless(failure->text, bytes, ""), "a sentence that a terminal may obey: \"%s\"",
                  failure->text);
}
