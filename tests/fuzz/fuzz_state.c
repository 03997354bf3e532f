/* SPDX-License-Identifier: Apache-2.0 */
/* What a supervisor finds at its start: STATE/instance, STATE/segment.number, STATE/supervisor.lock and the header
 * of RUNTIME/segment, each with any bytes.
 *
 * An input: a byte with flags (bit 0–2: which of the files are there, bit 3: a segment), the three texts, each up to
 * a byte 0x1e, then patches (offset, byte) of the header of a segment that was whole. Either it is refused in a
 * sentence and nothing is changed, or a segment is in use whose epochs are above all that were (S11). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "shm/segment.h"
#include "supervisor/cli/instance.h"
#include "supervisor/manager.h"
#include "tests/fuzz/lib/fuzz.h"

#define SEPARATOR 0x1e
#define CONFIG "[baton]\nsessions = 8\nmax-workers = 2\n[destination events]\nurl = sqlite:/d\nworkers = 0\n"

static struct directories directories;

static void place_make(void) {
        (void) snprintf(directories.state, sizeof(directories.state), "%s", place_file("state"));
        (void) snprintf(directories.runtime, sizeof(directories.runtime), "%s", place_file("run"));
        (void) setenv("BATON_WORKER", "/bin/true", 1);
        log_level(LOG_EMERG);
}

static void place_text(struct input *input, const char *name, bool is_there) {
        const uint8_t *text;
        size_t bytes = input_until(input, SEPARATOR, &text);

        if (is_there)
                place_write(name, text, bytes);
}

/* A whole segment, and then some bytes of its header. */
static void place_segment(struct input *input) {
        static const uint8_t instance[LAYOUT_INSTANCE_BYTES] = { 0xab };
        const struct segment_geometry geometry = { .worker_count = 2, .slot_count = 8 };
        struct segment *segment = NULL;
        struct failure failure;

        fuzz_must(segment_create(directories.runtime, &geometry, instance, 1ULL << 32, &segment, &failure) ==
                          0,
                  "%s", failure.text);
        while (!input_is_empty(input)) {
                uint16_t at = input_u16(input) % sizeof(struct layout_header);

                ((uint8_t *) segment->header)[at] = input_u8(input);
        }
        segment_close(segment);
}

static void check_instance(void) {
        uint8_t instance[INSTANCE_BYTES];
        struct failure failure = { 0 };
        int r;

        r = instance_read(directories.state, instance, &failure);
        if (r < 0)
                fuzz_must_be_told(r, &failure);
}

static void check_segment(bool writable) {
        struct segment *segment = NULL;
        struct failure failure = { 0 };
        int r;

        r = segment_open(directories.runtime, writable, &segment, &failure);
        if (r < 0) {
                fuzz_must_be_told(r, &failure);
                fuzz_must(!segment, "the output was touched");
        }
        segment_close(segment);
}

/* The number that stands in STATE/segment.number, or 0. */
static uint64_t number_read(void) {
        char text[64] = "";
        _cleanup_fd_ int fd = open(place_file("state/segment.number"), O_RDONLY | O_CLOEXEC);

        if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
                return 0;
        return strtoull(text, NULL, 10);
}

static void start(void) {
        uint64_t number = number_read();
        struct manager *manager = NULL;
        struct failure failure = { 0 };
        int r;

        r = manager_new(&directories, place_file("baton.conf"), &manager, &failure);
        fuzz_must(r == 0, "%s", failure.text);
        r = manager_start(manager, &failure);
        if (r < 0)
                fuzz_must_be_told(r, &failure);
        else {
                fuzz_must(manager->state == MANAGER_SERVING && manager->segment, "started, and not serving");
                /* A number was spent: for a new segment, whose epochs are above all that were. */
                if (number_read() != number)
                        fuzz_must(number_read() > number &&
                                          manager->segment->header->epoch_base == number_read() << 32,
                                  "epochs would go back");
        }
        manager_free(manager);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);
        uint8_t flags = input_u8(&input);

        if (!directories.state[0])
                place_make();
        (void) mkdir(directories.state, 0750);
        (void) mkdir(directories.runtime, 0750);
        place_write("baton.conf", CONFIG, strlen(CONFIG));
        place_text(&input, "state/instance", flags & 1);
        place_text(&input, "state/segment.number", flags & 2);
        place_text(&input, "state/supervisor.lock", flags & 4);
        if (flags & 8)
                place_segment(&input);
        check_instance();
        check_segment(false);
        check_segment(true);
        start();
        place_empty(NULL);
        return 0;
}
