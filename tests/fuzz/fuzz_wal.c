/* SPDX-License-Identifier: Apache-2.0 */
/* The WAL index and the -wal as another program's bug or a foreign writer may leave them (M9): the two questions
 * that a source answers from them must always have an answer, and one that only ever saves a look.
 *
 * An input is a flag byte, then patches (offset, byte) of the index's first 96 bytes; flag bit 0: the second copy
 * becomes the first again, bit 1: the rest of the input stands behind the last frame of the -wal. SQLite is asked
 * nothing meanwhile: what it makes of such an index is its own business. */
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "include/baton/source.h"
#include "tests/fuzz/lib/fuzz.h"
#include "worker/source/sqlite_source.h"

#define PATCHED_BYTES (2 * WAL_INDEX_HEADER_BYTES)
#define FRAME_BYTES_MAX 64

static struct {
        sqlite3 *application;
        struct source *source;
        const struct source_ops *ops;
        uint8_t *index; /* the -shm, mapped; a close of its descriptor would drop SQLite's locks */
        uint8_t whole[PATCHED_BYTES];
        int wal_fd;
        off_t wal_bytes;
} scene;

static void run(const char *sql) {
        fuzz_must(sqlite3_exec(scene.application, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(scene.application));
}

static void source_open(void) {
        struct source_config config = { .name = "orders" };
        struct failure failure = { 0 };
        static struct url url;
        char address[320];
        bool more = true;

        (void) snprintf(address, sizeof(address), "sqlite:%s", place_file("app.db"));
        fuzz_must(url_parse(address, &url, &failure) == 0, "%s", failure.text);
        config.url = &url;
        fuzz_must(option_check(source_schemes, &url, &config.scheme, &failure) == 0, "%s", failure.text);
        scene.ops = source_ops_find("sqlite");
        fuzz_must(scene.ops->open(&config, &scene.source, &failure) == 0, "%s", failure.text);
        fuzz_must(scene.ops->has_more(scene.source, 3, &more, &failure) == 0 && !more, "%s", failure.text);
        fuzz_must(scene.ops->is_quiet(scene.source), "a look found nothing, and it is not quiet");
}

static void scene_make(void) {
        struct stat status;
        int fd;

        fuzz_must(sqlite3_open(place_file("app.db"), &scene.application) == SQLITE_OK, "no database");
        run("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
            "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, key, type, at, payload);"
            "INSERT INTO outbox (payload) VALUES ('a'), ('b'), ('c')");
        source_open();
        fd = open(place_file("app.db-shm"), O_RDWR | O_CLOEXEC);
        fuzz_must(fd >= 0, "%m");
        scene.index = mmap(NULL, 32768, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        fuzz_must(scene.index != MAP_FAILED, "%m");
        memcpy(scene.whole, scene.index, sizeof(scene.whole));
        scene.wal_fd = open(place_file("app.db-wal"), O_RDWR | O_CLOEXEC);
        fuzz_must(scene.wal_fd >= 0 && fstat(scene.wal_fd, &status) == 0, "%m");
        scene.wal_bytes = status.st_size;
}

static void index_patch(struct input *input, bool both) {
        for (unsigned patches = input_u8(input) % 16; patches > 0; patches--) {
                uint8_t at = input_u8(input) % PATCHED_BYTES;

                scene.index[at] = input_u8(input);
        }
        if (both)
                memcpy(scene.index + WAL_INDEX_HEADER_BYTES, scene.index, WAL_INDEX_HEADER_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);
        uint8_t flags = input_u8(&input);
        struct wal_index now;
        const uint8_t *frame;
        size_t frame_bytes;
        bool is_quiet;

        if (!scene.index)
                scene_make();
        index_patch(&input, flags & 1);
        frame_bytes = input_bytes(&input, FRAME_BYTES_MAX, &frame);
        if (flags & 2)
                fuzz_must(fd_pwrite_all(scene.wal_fd, frame, frame_bytes, scene.wal_bytes) >= 0, "%m");

        now = wal_index_read(scene.source->reader, "main");
        is_quiet = scene.ops->is_quiet(scene.source);
        if (memcmp(scene.index, scene.whole, sizeof(scene.whole)) != 0)
                fuzz_must(!is_quiet, "the index is another, and nothing is said to have been committed");
        else
                fuzz_must(is_quiet, "nothing was changed");
        (void) wal_is_settled(scene.source->reader, &now);
        (void) wal_index_is_same_log(&now, &scene.source->quiet);
        if (scene.ops->is_settled(scene.source))
                fuzz_must(is_quiet, "settled, and not quiet");

        memcpy(scene.index, scene.whole, sizeof(scene.whole));
        fuzz_must(ftruncate(scene.wal_fd, scene.wal_bytes) == 0, "%m");
        return 0;
}
