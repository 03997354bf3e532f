/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of JSON. A first byte of 0: the rest is a line of a file as somebody left it, read as `baton verify` reads
 * it. Else: an event made of the rest, which the file destination renders and verify reads back.
 *   - what is rendered is one line of valid JSON, and verify finds the very event in it;
 *   - two digests and two JSON readers, written apart from each other, agree. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "include/baton/event.h"
#include "supervisor/cli/verify.h"
#include "tests/fuzz/lib/fuzz.h"
#include "worker/destination/file.h"
#include "worker/destination/file_json.h"
#include "worker/source/sqlite_source.h"

/* ---- is it JSON? ------------------------------------------------------------------------------------- */
/* Where jansson refuses what the grammar allows (file_json.h says why Baton does not use it for this). */
static bool is_its_own_limit(const json_error_t *error) {
        enum json_error_code code = json_error_code(error);

        return code == json_error_numeric_overflow || code == json_error_stack_overflow ||
               code == json_error_null_character || code == json_error_null_byte_in_key ||
               strstr(error->text, "invalid Unicode") || strstr(error->text, "\\u0000");
}

static bool check_json(const uint8_t *data, size_t bytes) {
        struct file_json_error refusal = { .what = NULL };
        json_error_t error = { .line = 0 };
        bool has_breaks;
        json_t *json;
        int r;

        r = file_json_check(data, bytes, &has_breaks, &refusal);
        json = json_loadb((const char *) data, bytes,
                          JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
        if (r < 0) {
                fuzz_must(refusal.what && refusal.offset_bytes <= bytes, "no reason, or no place");
                /* To jansson a NUL byte behind the value is the end. */
                fuzz_must(!json || strstr(refusal.what, "1024 levels") || memchr(data, '\0', bytes),
                          "refused (%s at %zu), jansson reads it", refusal.what, refusal.offset_bytes);
        } else
                fuzz_must(json || is_its_own_limit(&error), "accepted, jansson says %s", error.text);
        json_decref(json);
        return r >= 0;
}

/* ---- a line as somebody left it ------------------------------------------------------------------------ */
static void check_line(const uint8_t *data, size_t bytes) {
        const struct event event = { .position = 7,
                                     .key = { .type = VALUE_TEXT, .bytes = 1, .data = "k" },
                                     .type = { .type = VALUE_FLOAT, .real = 1.5 },
                                     .at = { .type = VALUE_INTEGER, .integer = -1 },
                                     .payload = { .type = VALUE_TEXT, .bytes = 2, .data = "{}" } };
        struct verify_line line;

        (void) check_json(data, bytes);
        if (verify_line_parse((const char *) data, bytes, &line) < 0)
                return;
        (void) verify_line_is_session(&line, "orders");
        (void) verify_line_is_event(&line, &event);
        (void) verify_line_digest(&line, false);
        (void) verify_line_digest(&line, true);
}

/* ---- an event ------------------------------------------------------------------------------------------- */
static struct event_value take_value(struct input *input) {
        struct event_value value = { .type = (enum value_type)(input_u8(input) % 5) };
        const uint8_t *data;
        uint64_t bits;

        switch (value.type) {
        case VALUE_INTEGER:
                value.integer = (int64_t) input_u64(input);
                break;
        case VALUE_FLOAT:
                bits = input_u64(input);
                memcpy(&value.real, &bits, sizeof(bits));
                if (isnan(value.real)) /* SQLite stores it as NULL */
                        value.type = VALUE_NULL;
                break;
        case VALUE_TEXT:
        case VALUE_BLOB:
                value.bytes = (uint32_t) input_bytes(input, input_u16(input), &data);
                value.data = data;
                break;
        default:
                break;
        }
        return value;
}

static void check_rendered(const struct file_buffer *buffer, const struct event *event,
                           struct verify_line *line) {
        const uint8_t *end = memchr(buffer->data, '\n', buffer->used_bytes);

        fuzz_must(end == buffer->data + buffer->used_bytes - 1, "it is not one line");
        fuzz_must(check_json(buffer->data, buffer->used_bytes), "rendered, and no JSON");
        fuzz_must(verify_line_parse((const char *) buffer->data, buffer->used_bytes, line) == 0,
                  "verify: %.*s", (int) buffer->used_bytes, (const char *) buffer->data);
        fuzz_must(line->position == event->position && verify_line_is_session(line, "orders"), "%.*s",
                  (int) buffer->used_bytes, (const char *) buffer->data);
}

static void check_event(struct input *input) {
        struct event event = { .position = input_u64(input) & INT64_MAX };
        struct file_buffer buffer = { .data = NULL };
        struct failure failure = { 0 };
        struct verify_line line;
        int r;

        event.key = take_value(input);
        event.type = take_value(input);
        event.at = take_value(input);
        event.payload = take_value(input);
        fuzz_must(event_digest(&event) == verify_digest(&event), "two digests of one event");
        (void) event_time_usec(&event.at);

        r = file_render_event(&buffer, "orders", &event, &failure);
        if (r < 0) {
                fuzz_must_be_told(r, &failure);
                fuzz_must(buffer.used_bytes == 0, "what was refused stands there in part");
        } else {
                check_rendered(&buffer, &event, &line);
                fuzz_must(verify_line_is_event(&line, &event), "verify does not know its event: %.*s",
                          (int) buffer.used_bytes, (const char *) buffer.data);
        }
        buffer.used_bytes = 0;
        r = file_render_parked(&buffer, "orders", &event, r < 0 ? failure.text : "it was told to", &failure);
        fuzz_must(r == 0, "%s", failure.text);
        check_rendered(&buffer, &event, &line);
        fuzz_must(verify_line_digest(&line, true) == verify_digest(&event),
                  "another digest when it is parked: %.*s", (int) buffer.used_bytes,
                  (const char *) buffer.data);
        file_buffer_done(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);

        if (input_u8(&input) == 0)
                check_line(input.at, (size_t) (input.end - input.at));
        else
                check_event(&input);
        return 0;
}
