/* SPDX-License-Identifier: Apache-2.0 */
/* What a dead owner, a disk or another program left of a session's files, and what the journal kept of them: a new
 * owner fences, adopts what is known, keeps the rest aside and goes on (M3).
 *
 * An input is a script: flags, rotate-size, then pieces of the data file and of the parked one (lines of events
 * that the source knows, whole or cut, and other bytes), with a mark where the journal's record ends; then bytes of
 * the record's state that are overwritten. Whatever it says:
 *   - refused in a sentence, with no byte of the files changed;
 *   - or what stood before the mark stands there still, and behind it every event, once, in order, in one of the two
 *     files; and what was cut stands aside. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/io.h"
#include "tests/fuzz/lib/fuzz.h"
#include "worker/destination/file.h"

#define EVENT_COUNT 12
#define DIRECTORY "files"
#define DATA DIRECTORY "/orders.000001.jsonl"
#define PARKED DIRECTORY "/orders.parked.jsonl"
#define SUBDIRECTORY_BYTES (sizeof(DIRECTORY) + 64)

enum flag {
        FLAG_KNOWN = 1 << 0,     /* the journal has a record with lengths */
        FLAG_UNCERTAIN = 1 << 1, /* a sync failed under the owner before (M7) */
        FLAG_BEGUN = 1 << 2,     /* the begun mark of this instance */
        FLAG_FOREIGN = 1 << 3,   /* … of another one */
        FLAG_NEXT = 1 << 4,      /* the next file is there, with content */
        FLAG_DIES = 1 << 5,      /* the first heir dies before its commit */
};

struct scene {
        uint8_t flags, rotate;
        struct file_buffer data, parked; /* as the input has them */
        uint64_t data_mark, parked_mark; /* lengths that the record says */
        uint32_t file_number;
        uint32_t first; /* number of the first event behind the checkpoint */
        struct checkpoint journal;
        struct url url;
        /* of one owner */
        struct destination *destination;
        struct destination_session *session;
        struct checkpoint target;
        struct failure failure;
};

static const uint8_t instance[INSTANCE_BYTES] = { 0xba, 0x70, 1 };

/* ---- the source: event n is a function of n ------------------------------------------------------------- */
static struct event_value text(const char *value) {
        return (struct event_value){ .type = VALUE_TEXT, .bytes = (uint32_t) strlen(value), .data = value };
}

/* Every fifth has a payload that no line can hold, and is parked. */
static struct event event_of(uint32_t n) {
        static char keys[EVENT_COUNT + 1][16], payloads[EVENT_COUNT + 1][64];

        (void) snprintf(keys[n], sizeof(keys[n]), "key-%u", n);
        (void) snprintf(payloads[n], sizeof(payloads[n]),
                        n % 5 == 0 ? "{no json %u" : "{\"n\":%u,\"text\":\"\\u00e4\"}", n);
        return (struct event){ .position = (uint64_t) n * 3,
                               .key = text(keys[n]),
                               .type = n % 3 == 0 ? (struct event_value){ .type = VALUE_NULL } : text("made"),
                               .at = { .type = VALUE_INTEGER, .integer = n },
                               .payload = text(payloads[n]) };
}

/* ---- the scene ------------------------------------------------------------------------------------------- */
static void append(struct file_buffer *buffer, const void *data, size_t bytes) {
        buffer->data = realloc(buffer->data, buffer->used_bytes + bytes + 1);
        fuzz_must(buffer->data, "no memory");
        memcpy(buffer->data + buffer->used_bytes, data, bytes);
        buffer->used_bytes += bytes;
        buffer->capacity_bytes = buffer->used_bytes + 1;
}

/* A line of event n: whole, or its first bytes. */
static void append_line(struct input *input, struct file_buffer *buffer, bool is_parked, bool is_cut) {
        struct event event = event_of(1 + input_u8(input) % EVENT_COUNT);
        struct file_buffer line = { .data = NULL };
        struct failure failure;
        size_t bytes;

        if (is_parked)
                (void) file_render_parked(&line, "orders", &event, "why not", &failure);
        else
                (void) file_render_event(&line, "orders", &event, &failure);
        bytes = is_cut ? MIN_OF((size_t) input_u8(input), line.used_bytes) : line.used_bytes;
        if (bytes > 0)
                append(buffer, line.data, bytes);
        file_buffer_done(&line);
}

static void take_pieces(struct scene *scene, struct input *input) {
        struct file_buffer *buffer = &scene->data;
        const uint8_t *raw;
        size_t bytes;

        for (unsigned pieces = 0; pieces < 40 && !input_is_empty(input); pieces++)
                switch (input_u8(input) % 7) {
                case 0:
                        if (buffer == &scene->parked)
                                return;
                        buffer = &scene->parked;
                        break;
                case 1:
                case 2:
                        append_line(input, buffer, buffer == &scene->parked, false);
                        break;
                case 3:
                        append_line(input, buffer, buffer == &scene->parked, true);
                        break;
                case 4:
                        bytes = input_bytes(input, input_u8(input), &raw);
                        append(buffer, bytes > 0 ? raw : (const uint8_t *) "", bytes);
                        break;
                case 5: /* the other kind of line */
                        append_line(input, buffer, buffer == &scene->data, false);
                        break;
                default:
                        *(buffer == &scene->data ? &scene->data_mark
                                                 : &scene->parked_mark) = buffer->used_bytes;
                        break;
                }
}

static uint32_t crc_of(const struct file_buffer *buffer, size_t length) {
        size_t bytes = MIN_OF(length, (size_t) FILE_TAIL_BYTES);

        return length > 0 ? crc32c(0, buffer->data + length - bytes, bytes) : 0;
}

/* What a record says that was overwritten; the offsets are those of worker/destination/file_state.c. */
static void read_record(struct scene *scene) {
        const uint8_t *state = scene->journal.destination_state;

        memcpy(&scene->file_number, state + 4, sizeof(scene->file_number));
        memcpy(&scene->data_mark, state + 16, sizeof(scene->data_mark));
        memcpy(&scene->parked_mark, state + 24, sizeof(scene->parked_mark));
        if (scene->file_number == 0) /* all zero, or refused */
                scene->file_number = 1;
}

static void take_record(struct scene *scene, struct input *input) {
        struct checkpoint *journal = &scene->journal;
        struct file_state state = { .file_number = 1,
                                    .data_bytes = scene->data_mark,
                                    .parked_bytes = scene->parked_mark,
                                    .data_crc = crc_of(&scene->data, scene->data_mark),
                                    .parked_crc = crc_of(&scene->parked, scene->parked_mark) };

        memcpy(journal->instance, instance, sizeof(instance));
        (void) text_copy(journal->session, sizeof(journal->session), "orders");
        journal->epoch = 1;
        if (!(scene->flags & FLAG_KNOWN)) {
                scene->data_mark = scene->parked_mark = 0;
                return;
        }
        journal->position = state.position = (uint64_t) (scene->first - 1) * 3;
        file_state_encode(&state, journal->destination_state);
        while (!input_is_empty(input)) {
                uint8_t at = input_u8(input) % DESTINATION_STATE_BYTES;

                journal->destination_state[at] = input_u8(input);
        }
        read_record(scene);
}

static void scene_read(struct scene *scene, struct input *input) {
        *scene = (struct scene){ .flags = input_u8(input), .rotate = input_u8(input) };
        scene->first = scene->file_number = 1;
        if (scene->flags & FLAG_KNOWN)
                scene->first += input_u8(input) % EVENT_COUNT;
        take_pieces(scene, input);
        take_record(scene, input);
}

static void scene_place(const struct scene *scene) {
        static const char begun[] = "baton file destination 1\ninstance ba700100000000000000000000000000\n";

        (void) mkdir(place_file(DIRECTORY), 0750);
        if (scene->data.used_bytes > 0)
                place_write(DATA, scene->data.data, scene->data.used_bytes);
        if (scene->parked.used_bytes > 0)
                place_write(PARKED, scene->parked.data, scene->parked.used_bytes);
        if (scene->flags & (FLAG_BEGUN | FLAG_FOREIGN))
                place_write(DIRECTORY "/.orders.begun", begun,
                            sizeof(begun) - (scene->flags & FLAG_FOREIGN ? 2 : 1));
        if (scene->flags & FLAG_UNCERTAIN)
                place_write(DIRECTORY "/.orders.lock", "", 1);
        if (scene->flags & FLAG_NEXT)
                place_write(DIRECTORY "/orders.000002.jsonl", "x", 1);
}

/* ---- the mover, in the order of M3 ------------------------------------------------------------------------ */
static void owner_open(struct scene *scene) {
        struct destination_config config = { .name = "events", .instance = instance, .url = &scene->url };
        char address[256];
        int r;

        (void) snprintf(address, sizeof(address), "file:%s?rotate-size=%u", place_file(DIRECTORY),
                        scene->rotate * 4U);
        r = url_parse(address, &scene->url, &scene->failure);
        if (r >= 0)
                r = option_check(destination_schemes, &scene->url, &config.scheme, &scene->failure);
        if (r >= 0)
                r = destination_file_ops.open(&config, &scene->destination, &scene->failure);
        if (r >= 0)
                r = destination_file_ops.session_open(scene->destination, "orders", &scene->session,
                                                      &scene->failure);
        fuzz_must(r == 0, "%s", scene->failure.text);
}

/* As after a death: nothing is rolled back. */
static void owner_close(struct scene *scene) {
        destination_file_ops.session_close(TAKE(scene->session));
        destination_file_ops.close(TAKE(scene->destination));
}

static void step_over(struct scene *scene, const struct event *event) {
        scene->target.position = event->position;
        scene->target.event_count++;
}

static int adopt(struct scene *scene) {
        bool adopted = true, parked;
        uint64_t cut_bytes;
        int r;

        for (uint32_t n = (uint32_t) (scene->target.position / 3) + 1; n <= EVENT_COUNT && adopted; n++) {
                struct event event = event_of(n);

                r = destination_file_ops.tail_adopt(scene->session, &event, &adopted, &parked,
                                                    &scene->failure);
                if (r < 0)
                        return r;
                if (adopted)
                        step_over(scene, &event);
        }
        return destination_file_ops.tail_cut(scene->session, &cut_bytes, &scene->failure);
}

static int put(struct scene *scene, uint32_t last) {
        int r = 0;

        for (uint32_t n = (uint32_t) (scene->target.position / 3) + 1; n <= last && r >= 0; n++) {
                struct event event = event_of(n);
                struct failure failure = { 0 };

                r = destination_file_ops.put(scene->session, &event, &failure);
                if (r < 0 && failure.kind == FAILURE_REJECTED)
                        r = destination_file_ops.park(scene->session, &event, failure.text, &failure);
                if (r >= 0)
                        step_over(scene, &event);
                else
                        scene->failure = failure;
        }
        return r;
}

static int begin(struct scene *scene) {
        int r;

        r = destination_file_ops.begin(scene->destination, &scene->failure);
        return r < 0 ? r : destination_file_ops.session_begin(scene->session, &scene->failure);
}

static int end(struct scene *scene, int r, bool dies) {
        if (r >= 0)
                r = destination_file_ops.session_end(scene->session, &scene->target, &scene->failure);
        if (r < 0)
                destination_file_ops.session_rollback(scene->session);
        if (r >= 0 && dies)
                return 0;
        if (r >= 0)
                r = destination_file_ops.commit(scene->destination, &scene->failure);
        if (r < 0) {
                destination_file_ops.rollback(scene->destination);
                return r;
        }
        scene->journal = scene->target;
        return 0;
}

static int claim(struct scene *scene, bool dies) {
        bool found, tail = false;
        int r;

        scene->journal.epoch++;
        scene->target = scene->journal;
        r = begin(scene);
        if (r >= 0)
                r = destination_file_ops.fence(scene->session, scene->target.epoch, &scene->target, &found,
                                               &tail, &scene->failure);
        if (r >= 0 && tail)
                r = adopt(scene);
        return end(scene, r, dies);
}

static int move_rest(struct scene *scene) {
        int r = 0;

        while (r >= 0 && scene->journal.position < (uint64_t) EVENT_COUNT * 3) {
                uint32_t from = (uint32_t) (scene->journal.position / 3);

                scene->target = scene->journal;
                r = begin(scene);
                if (r >= 0)
                        r = end(scene, put(scene, MIN_OF(from + 4, (uint32_t) EVENT_COUNT)), false);
                if (r < 0 || !destination_file_ops.rotation_due(scene->session))
                        continue;
                scene->target = scene->journal;
                r = destination_file_ops.rotate(scene->session, &scene->target, &scene->failure);
                if (r >= 0)
                        scene->journal = scene->target;
        }
        return r;
}

/* ---- what must hold ------------------------------------------------------------------------------------------ */
static void read_into(struct file_buffer *buffer, const char *path) {
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        uint8_t chunk[4096];
        ssize_t bytes;

        while (fd >= 0 && (bytes = read(fd, chunk, sizeof(chunk))) > 0)
                append(buffer, chunk, (size_t) bytes);
}

static void expect_unchanged(const struct scene *scene) {
        struct file_buffer data = { .data = NULL }, parked = { .data = NULL };

        read_into(&data, place_file(DATA));
        read_into(&parked, place_file(PARKED));
        fuzz_must(data.used_bytes == scene->data.used_bytes && parked.used_bytes == scene->parked.used_bytes,
                  "refused (%s), and the files are changed", scene->failure.text);
        fuzz_must(data.used_bytes == 0 || memcmp(data.data, scene->data.data, data.used_bytes) == 0, "data");
        fuzz_must(parked.used_bytes == 0 || memcmp(parked.data, scene->parked.data, parked.used_bytes) == 0,
                  "parked");
        free(data.data);
        free(parked.data);
}

/* The event's line stands at *at, in one of the two manners; steps over it. */
static bool stands_at(const struct file_buffer *found, size_t *at, const struct event *event,
                      bool is_parked) {
        struct file_buffer line = { .data = NULL };
        struct failure failure;
        const uint8_t *newline;
        bool stands = false;
        int r;

        r = is_parked ? file_render_parked(&line, "orders", event, NULL, &failure)
                      : file_render_event(&line, "orders", event, &failure);
        if (r >= 0 && line.used_bytes <= found->used_bytes - *at &&
            memcmp(found->data + *at, line.data, line.used_bytes) == 0) {
                newline = memchr(found->data + *at, '\n', found->used_bytes - *at);
                stands = newline != NULL;
                if (newline)
                        *at = (size_t) (newline - found->data) + 1;
        }
        file_buffer_done(&line);
        return stands;
}

static void expect_all(const struct scene *scene) {
        struct file_buffer data = { .data = NULL }, parked = { .data = NULL };
        size_t data_at = scene->data_mark, parked_at = scene->parked_mark;
        char name[SUBDIRECTORY_BYTES];

        for (uint64_t number = scene->file_number;
             number < scene->file_number + 40ULL && number <= UINT32_MAX; number++) {
                (void) snprintf(name, sizeof(name), DIRECTORY "/orders.%06u.jsonl", (uint32_t) number);
                read_into(&data, place_file(name));
        }
        read_into(&parked, place_file(PARKED));
        fuzz_must(data.used_bytes >= data_at && parked.used_bytes >= parked_at, "shorter than the record");
        fuzz_must(data_at == 0 || memcmp(data.data, scene->data.data, data_at) == 0,
                  "data before the record");
        fuzz_must(parked_at == 0 || memcmp(parked.data, scene->parked.data, parked_at) == 0,
                  "parked before the record");
        for (uint32_t n = scene->first; n <= EVENT_COUNT; n++) {
                struct event event = event_of(n);

                fuzz_must(stands_at(&data, &data_at, &event, false) ||
                                  stands_at(&parked, &parked_at, &event, true),
                          "event %u is in neither file", n);
        }
        fuzz_must(data_at == data.used_bytes && parked_at == parked.used_bytes,
                  "something stands behind the last");
        free(data.data);
        free(parked.data);
}

static bool is_end_of(const struct file_buffer *piece, const struct file_buffer *whole) {
        return piece->used_bytes <= whole->used_bytes &&
               memcmp(piece->data, whole->data + whole->used_bytes - piece->used_bytes, piece->used_bytes) ==
                       0;
}

/* What was cut is the end of what stood there. */
static void expect_kept_aside(const struct scene *scene) {
        DIR *directory = opendir(place_file(DIRECTORY));
        char name[SUBDIRECTORY_BYTES + 256];
        struct dirent *entry;

        fuzz_must(directory, "%m");
        while ((entry = readdir(directory))) {
                struct file_buffer piece = { .data = NULL };

                if (!strstr(entry->d_name, ".cut-"))
                        continue;
                (void) snprintf(name, sizeof(name), DIRECTORY "/%s", entry->d_name);
                read_into(&piece, place_file(name));
                fuzz_must(piece.used_bytes > 0 &&
                                  (is_end_of(&piece, &scene->data) || is_end_of(&piece, &scene->parked)),
                          "%s is none of what stood there", name);
                free(piece.data);
        }
        (void) closedir(directory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);
        struct scene scene;
        bool dies;
        int r;

        scene_read(&scene, &input);
        scene_place(&scene);
        dies = scene.flags & FLAG_DIES;
        owner_open(&scene);
        r = claim(&scene, dies);
        if (r >= 0 && dies) {
                owner_close(&scene);
                owner_open(&scene);
                r = claim(&scene, false);
                fuzz_must(r >= 0, "the second heir stops where the first went on: %s", scene.failure.text);
        }
        if (r < 0) {
                fuzz_must_be_told(r, &scene.failure);
                expect_unchanged(&scene);
        } else {
                r = move_rest(&scene);
                fuzz_must(r >= 0, "claimed, and then: %s", scene.failure.text);
                expect_all(&scene);
                expect_kept_aside(&scene);
        }
        owner_close(&scene);
        free(scene.data.data);
        free(scene.parked.data);
        place_empty(NULL);
        return 0;
}
