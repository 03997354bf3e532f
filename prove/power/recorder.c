/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder as a whole: which file is which, what stood there at the beginning.
 *
 * A file is known by device, inode and birth; its number on the tape stays over renames, and after the last
 * name is gone. Must not touch: the files (they are read at the beginning). */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/power/memory.h"
#include "prove/power/recorder_internal.h"

/* ---- which file is which ----------------------------------------------------------------------- */
bool recorder_ignores(const char *path) {
        static const char *const patterns[] = { "*.log", "*-shm", "baton.conf", "identities" };

        for (size_t i = 0; i < ELEMENTSOF(patterns); i++)
                if (fnmatch(patterns[i], path, 0) == 0)
                        return true;
        return false;
}

const char *recorder_below(const struct recorder *recorder, const char *path) {
        if (strncmp(path, recorder->root, recorder->root_bytes) != 0)
                return NULL;
        path += recorder->root_bytes;
        return path[0] == '\0' ? path : path[0] == '/' ? path + 1 : NULL;
}

bool recorder_identify(const char *path, bool follows, struct identity *ret_identity) {
        struct statx status;

        if (statx(AT_FDCWD, path, follows ? 0 : AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME,
                  &status) < 0)
                return false;
        *ret_identity = (struct identity){
                .device = makedev(status.stx_dev_major, status.stx_dev_minor),
                .inode = status.stx_ino,
                .born_sec = status.stx_mask & STATX_BTIME ? status.stx_btime.tv_sec : 0,
                .born_nsec = status.stx_mask & STATX_BTIME ? status.stx_btime.tv_nsec : 0,
                .mode = status.stx_mode,
                .size = status.stx_size,
        };
        return true;
}

static bool is_same(const struct identity *a, const struct identity *b) {
        return a->device == b->device && a->inode == b->inode && a->born_sec == b->born_sec &&
               a->born_nsec == b->born_nsec;
}

uint32_t recorder_find(const struct recorder *recorder, const struct identity *identity) {
        for (size_t i = recorder->known_count; i-- > 0;)
                if (is_same(&recorder->known[i].identity, identity))
                        return recorder->known[i].file;
        return UINT32_MAX;
}

static void remember(struct recorder *recorder, const struct identity *identity, uint32_t file) {
        if (recorder->known_count == recorder->known_capacity) {
                recorder->known_capacity = recorder->known_capacity ? 2 * recorder->known_capacity : 64;
                recorder->known = must_have(
                        reallocarray(recorder->known, recorder->known_capacity, sizeof(*recorder->known)));
        }
        recorder->known[recorder->known_count++] = (struct known){ *identity, file };
}

uint32_t recorder_add(struct recorder *recorder, const struct identity *identity) {
        uint32_t file = tape_new_file(&recorder->tape);

        remember(recorder, identity, file);
        return file;
}

bool recorder_place(struct recorder *recorder, const char *path, uint32_t *ret_parent,
                    const char **ret_name) {
        char directory[PATH_MAX];
        const char *slash = strrchr(path, '/');
        struct identity identity;
        uint32_t parent;

        if (!slash || !recorder_below(recorder, path))
                return false;
        (void) snprintf(directory, sizeof(directory), "%.*s", (int) (slash - path), path);
        if (!recorder_identify(directory, true, &identity))
                return false;
        parent = recorder_find(recorder, &identity);
        if (parent == UINT32_MAX)
                return false;
        *ret_parent = parent;
        *ret_name = slash + 1;
        return true;
}

/* ---- the beginning ----------------------------------------------------------------------------- */
static struct recorder *walking; /* nftw() hands nothing over */

static void base_content(struct recorder *recorder, const char *path, uint32_t file, uint64_t size) {
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ uint8_t *content = must_have(malloc(size + 1));
        size_t bytes = 0;

        if (fd < 0 || fd_pread_all(fd, content, size, 0, &bytes) < 0 || bytes != size) {
                recorder_fail(recorder, "cannot read %s: %s", path, strerror(errno));
                return;
        }
        if (size > 0)
                tape_base(&recorder->tape,
                          &(struct tape_op){
                                  .kind = TAPE_WRITE, .file = file, .bytes = size, .data = content });
}

static void base_identity(struct recorder *recorder, const struct identity *identity, uint32_t file) {
        char words[96];

        (void) snprintf(words, sizeof(words), "%" PRIu64 " %" PRId64 " %" PRIu32, identity->inode,
                        identity->born_sec, identity->born_nsec);
        tape_base(&recorder->tape, &(struct tape_op){ .kind = TAPE_IDENTITY, .file = file, .name = words });
}

static int base_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        struct recorder *recorder = walking;
        struct identity identity;
        struct tape_op op = { .kind = kind == FTW_D ? TAPE_MAKE_DIRECTORY : TAPE_CREATE };

        (void) status;
        if (!recorder_identify(path, false, &identity)) {
                recorder_fail(recorder, "cannot look at %s: %s", path, strerror(errno));
                return 0;
        }
        if (walk->level == 0) {
                remember(recorder, &identity, TAPE_ROOT);
                return 0;
        }
        if (recorder_ignores(recorder_below(recorder, path)))
                return 0;
        op.file = recorder_add(recorder, &identity);
        op.mode = identity.mode & 07777;
        if (!recorder_place(recorder, path, &op.parent, &op.name))
                recorder_fail(recorder, "cannot place %s", path);
        else
                tape_base(&recorder->tape, &op);
        if (kind == FTW_F) {
                base_content(recorder, path, op.file, identity.size);
                if (fnmatch("*.db", path, 0) == 0)
                        base_identity(recorder, &identity, op.file);
        } else if (kind != FTW_D)
                recorder_fail(recorder, "%s is neither a file nor a directory", path);
        return 0;
}

void recorder_start(struct recorder *recorder) {
        walking = recorder;
        if (nftw(recorder->root, base_entry, 16, FTW_PHYS) != 0)
                recorder_fail(recorder, "cannot walk through %s: %s", recorder->root, strerror(errno));
        recorder->is_running = true;
}

/* ---- the whole --------------------------------------------------------------------------------- */
void recorder_fail(struct recorder *recorder, const char *format, ...) {
        va_list arguments;

        if (recorder->error[0] != '\0')
                return;
        va_start(arguments, format);
        (void) vsnprintf(recorder->error, sizeof(recorder->error), format, arguments);
        va_end(arguments);
}

void recorder_new(const char *root, struct recorder **ret_recorder) {
        struct recorder *recorder = must_have(calloc(1, sizeof(*recorder)));

        (void) snprintf(recorder->root, sizeof(recorder->root), "%s", root);
        recorder->root_bytes = strlen(recorder->root);
        tape_begin(&recorder->tape);
        *ret_recorder = recorder;
}

void recorder_free(struct recorder *recorder) {
        if (!recorder)
                return;
        for (size_t i = 0; i < recorder->flight_count; i++)
                free(recorder->flights[i]);
        tape_done(&recorder->tape);
        free(recorder->known);
        free(recorder);
}

void recorder_stop(struct recorder *recorder) {
        recorder->is_running = false;
}

void recorder_mark(struct recorder *recorder, const char *words) {
        size_t index;

        if (!recorder->is_running)
                return;
        index = tape_enter(&recorder->tape, &(struct tape_op){ .kind = TAPE_MARK, .name = words });
        tape_return(&recorder->tape, index);
}

enum trace_verdict recorder_call(struct recorder *recorder, const struct trace_call *call) {
        struct flight *flight;

        if (!recorder->is_running)
                return TRACE_GO;
        flight = flight_find(recorder, call->tid);
        if (call->is_entry && flight)
                recorder_fail(recorder, "thread %d is in two calls at once", (int) call->tid);
        else if (call->is_entry)
                return call_enter(recorder, call);
        else if (flight)
                flight_return(recorder, flight, call->result);
        return TRACE_GO;
}

void recorder_process(struct recorder *recorder, const struct trace_process *process) {
        if (recorder->is_running && process->what == TRACE_ENDED)
                flights_settle(recorder, process->pid);
}

const char *recorder_error(const struct recorder *recorder) {
        return recorder->error[0] ? recorder->error : NULL;
}

struct tape *recorder_tape(struct recorder *recorder) {
        return &recorder->tape;
}
