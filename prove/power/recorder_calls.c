/* SPDX-License-Identifier: Apache-2.0 */
/* System calls as operations on the tape.
 *
 * A table of all calls that change a file, its size, its names, or sync it. Those that nobody uses here are
 * in it as refusals, so that a new one cannot pass unseen. Must not touch: files. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/power/memory.h"
#include "prove/power/recorder_internal.h"

#define VECTOR_MAX 1024
#define WRITE_BYTES_MAX (256u * 1024 * 1024)

/* A descriptor that leads below the root. */
struct target {
        char path[PATH_MAX], link[64];
        struct identity identity;
        uint32_t file;
        uint64_t position;
        unsigned flags;
};

/* ---- paths ------------------------------------------------------------------------------------- */
static bool read_text(pid_t pid, uint64_t address, char *ret_text, size_t bytes) {
        ssize_t n = tracer_read(pid, address, ret_text, bytes);

        /* A string near the end of a mapping: less can be read than was asked for. */
        return n > 0 && memchr(ret_text, '\0', (size_t) n);
}

/* The directory without links in it, and the last part as it is. "": nobody can say. Then the call comes to nothing:
 * its caller was killed before it was made, or the kernel cannot read the path either. */
static void resolve(pid_t pid, int64_t directory, uint64_t address, char *ret_path) {
        char text[PATH_MAX], joined[2 * PATH_MAX], base[PATH_MAX] = "", above[PATH_MAX];
        char link[64], *slash;
        ssize_t bytes;

        ret_path[0] = '\0';
        if (!read_text(pid, address, text, sizeof(text)))
                return;
        if (text[0] != '/') {
                if ((int) directory == AT_FDCWD)
                        (void) snprintf(link, sizeof(link), "/proc/%d/cwd", (int) pid);
                else
                        (void) snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int) pid, (int) directory);
                bytes = readlink(link, base, sizeof(base) - 1);
                if (bytes <= 0)
                        return;
                base[bytes] = '\0';
        }
        (void) snprintf(joined, sizeof(joined), "%s%s%s", base, text[0] == '/' ? "" : "/", text);
        slash = strrchr(joined, '/');
        if (!slash)
                return;
        *slash = '\0';
        if (!realpath(joined[0] ? joined : "/", above))
                return;
        (void) snprintf(ret_path, PATH_MAX, "%.2000s/%.1000s", above, slash + 1);
}

static bool is_recorded(const struct recorder *recorder, const char *path) {
        const char *below = recorder_below(recorder, path);

        return below && !recorder_ignores(below);
}

/* ---- descriptors ------------------------------------------------------------------------------- */
static void read_position(pid_t pid, int fd, struct target *target) {
        char path[64], text[512];
        _cleanup_fd_ int info = -1;
        const char *at;
        ssize_t bytes;

        (void) snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int) pid, fd);
        info = open(path, O_RDONLY | O_CLOEXEC);
        bytes = info >= 0 ? read(info, text, sizeof(text) - 1) : -1;
        text[bytes > 0 ? bytes : 0] = '\0';
        at = strstr(text, "pos:");
        target->position = at ? strtoull(at + 4, NULL, 10) : 0;
        at = strstr(text, "flags:");
        target->flags = at ? (unsigned) strtoul(at + 6, NULL, 8) : 0;
}

/* A file that nobody knew was made by an open() that has not returned yet. */
static uint32_t adopt(struct recorder *recorder, const struct target *target) {
        struct tape_op op = { .kind = TAPE_CREATE, .mode = target->identity.mode & 07777 };

        if (!recorder_place(recorder, target->path, &op.parent, &op.name)) {
                recorder_fail(recorder, "%s was not seen to be made", target->path);
                return UINT32_MAX;
        }
        op.file = recorder_add(recorder, &target->identity);
        tape_return(&recorder->tape, tape_enter(&recorder->tape, &op));
        return op.file;
}

static bool find_target(struct recorder *recorder, pid_t pid, uint64_t fd, struct target *ret_target) {
        static const char deleted[] = " (deleted)";
        size_t bytes;

        if (tracer_path(pid, (int) fd, ret_target->path, sizeof(ret_target->path)) < 0 ||
            !recorder_below(recorder, ret_target->path))
                return false;
        bytes = strlen(ret_target->path);
        if (bytes > strlen(deleted) && strcmp(ret_target->path + bytes - strlen(deleted), deleted) == 0)
                ret_target->path[bytes - strlen(deleted)] = '\0';
        if (recorder_ignores(recorder_below(recorder, ret_target->path)))
                return false;
        (void) snprintf(ret_target->link, sizeof(ret_target->link), "/proc/%d/fd/%d", (int) pid, (int) fd);
        if (!recorder_identify(ret_target->link, true, &ret_target->identity))
                return false;
        ret_target->file = recorder_find(recorder, &ret_target->identity);
        if (ret_target->file == UINT32_MAX)
                ret_target->file = adopt(recorder, ret_target);
        return ret_target->file != UINT32_MAX;
}

static void begin_on(struct recorder *recorder, const struct trace_call *call, const struct target *target,
                     struct tape_op op) {
        struct flight *flight;

        op.file = target->file;
        flight = flight_begin(recorder, call, &op);
        if (flight)
                (void) snprintf(flight->path, sizeof(flight->path), "%s", target->path);
}

/* ---- writes ------------------------------------------------------------------------------------ */
static void begin_write(struct recorder *recorder, const struct trace_call *call, const struct iovec *parts,
                        size_t count, const uint64_t *offset) {
        struct tape_op op = { .kind = TAPE_WRITE };
        _cleanup_free_ uint8_t *data = NULL;
        struct target target;
        uint64_t used = 0;

        if (!find_target(recorder, call->pid, call->arguments[0], &target))
                return;
        read_position(call->pid, (int) call->arguments[0], &target);
        for (size_t i = 0; i < count; i++)
                op.bytes += parts[i].iov_len;
        if (op.bytes > WRITE_BYTES_MAX) {
                recorder_fail(recorder, "a write of %" PRIu64 " bytes to %s", op.bytes, target.path);
                return;
        }
        data = must_have(malloc(op.bytes + 1));
        for (size_t i = 0; i < count; i++) {
                uint64_t address = (uint64_t) (uintptr_t) parts[i].iov_base;

                if (tracer_read(call->pid, address, data + used, parts[i].iov_len) !=
                    (ssize_t) parts[i].iov_len)
                        return; /* it will fail, or be cut short: EFAULT */
                used += parts[i].iov_len;
        }
        op.data = data;
        op.offset = offset ? *offset : target.flags & O_APPEND ? target.identity.size : target.position;
        op.is_synchronous = (target.flags & O_DSYNC) != 0;
        begin_on(recorder, call, &target, op);
}

static void enter_write(struct recorder *recorder, const struct trace_call *call) {
        const struct iovec part = { (void *) (uintptr_t) call->arguments[1], call->arguments[2] };

        begin_write(recorder, call, &part, 1, NULL);
}

static void enter_pwrite(struct recorder *recorder, const struct trace_call *call) {
        const struct iovec part = { (void *) (uintptr_t) call->arguments[1], call->arguments[2] };

        begin_write(recorder, call, &part, 1, &call->arguments[3]);
}

static void begin_vector(struct recorder *recorder, const struct trace_call *call, const uint64_t *offset) {
        struct iovec parts[VECTOR_MAX];
        size_t count = call->arguments[2], bytes = count * sizeof(*parts);

        if (count <= VECTOR_MAX &&
            tracer_read(call->pid, call->arguments[1], parts, bytes) == (ssize_t) bytes)
                begin_write(recorder, call, parts, count, offset);
}

static void enter_writev(struct recorder *recorder, const struct trace_call *call) {
        begin_vector(recorder, call, NULL);
}

static void enter_pwritev(struct recorder *recorder, const struct trace_call *call) {
        begin_vector(recorder, call, &call->arguments[3]);
}

/* ---- sizes ------------------------------------------------------------------------------------- */
static void enter_ftruncate(struct recorder *recorder, const struct trace_call *call) {
        struct target target;

        if (find_target(recorder, call->pid, call->arguments[0], &target))
                begin_on(recorder, call, &target,
                         (struct tape_op){ .kind = TAPE_SIZE, .offset = call->arguments[1] });
}

static void enter_fallocate(struct recorder *recorder, const struct trace_call *call) {
        uint64_t mode = call->arguments[1], offset = call->arguments[2], bytes = call->arguments[3];
        struct target target;

        if (!find_target(recorder, call->pid, call->arguments[0], &target))
                return;
        if (mode == 0 && offset + bytes > target.identity.size)
                begin_on(recorder, call, &target,
                         (struct tape_op){ .kind = TAPE_SIZE, .offset = offset + bytes });
        else if (mode & FALLOC_FL_PUNCH_HOLE)
                begin_on(recorder, call, &target,
                         (struct tape_op){ .kind = TAPE_CLEAR, .offset = offset, .bytes = bytes });
        else if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE)
                recorder_fail(recorder, "fallocate() in mode %" PRIu64 " on %s", mode, target.path);
}

/* ---- syncs ------------------------------------------------------------------------------------- */
static void enter_fsync(struct recorder *recorder, const struct trace_call *call) {
        struct target target;

        if (find_target(recorder, call->pid, call->arguments[0], &target))
                begin_on(recorder, call, &target, (struct tape_op){ .kind = TAPE_SYNC });
}

static void enter_fdatasync(struct recorder *recorder, const struct trace_call *call) {
        struct target target;

        if (find_target(recorder, call->pid, call->arguments[0], &target))
                begin_on(recorder, call, &target, (struct tape_op){ .kind = TAPE_DATASYNC });
}

static void enter_sync_all(struct recorder *recorder, const struct trace_call *call) {
        (void) flight_begin(recorder, call, &(struct tape_op){ .kind = TAPE_SYNC_ALL });
}

/* ---- names ------------------------------------------------------------------------------------- */
/* Whether it makes a file is known when it has returned. */
static void begin_open(struct recorder *recorder, const struct trace_call *call, int64_t directory,
                       uint64_t address, uint64_t flags) {
        struct flight *flight;
        char path[PATH_MAX];

        if (!(flags & (O_CREAT | O_TRUNC)))
                return;
        resolve(call->pid, directory, address, path);
        if (!is_recorded(recorder, path))
                return;
        if ((flags & O_TMPFILE) == O_TMPFILE) {
                recorder_fail(recorder, "a file without a name in %s", path);
                return;
        }
        flight = flight_begin(recorder, call, &(struct tape_op){ .kind = TAPE_MARK });
        if (!flight)
                return;
        flight->is_open = true;
        flight->is_emptying = (flags & O_TRUNC) != 0;
        (void) snprintf(flight->path, sizeof(flight->path), "%s", path);
}

static void enter_openat(struct recorder *recorder, const struct trace_call *call) {
        begin_open(recorder, call, (int64_t) call->arguments[0], call->arguments[1], call->arguments[2]);
}

static void begin_name(struct recorder *recorder, const struct trace_call *call, struct tape_op op,
                       const char *path, const char *to_path) {
        struct flight *flight;

        if (!recorder_place(recorder, path, &op.parent, &op.name) ||
            (to_path && !recorder_place(recorder, to_path, &op.to_parent, &op.to_name))) {
                recorder_fail(recorder, "cannot place %s", to_path ? to_path : path);
                return;
        }
        flight = flight_begin(recorder, call, &op);
        if (!flight)
                return;
        (void) snprintf(flight->path, sizeof(flight->path), "%s", path);
        (void) snprintf(flight->to_path, sizeof(flight->to_path), "%s", to_path ? to_path : "");
}

static void begin_directory(struct recorder *recorder, const struct trace_call *call, int64_t directory,
                            uint64_t address) {
        struct identity identity;
        char path[PATH_MAX];

        resolve(call->pid, directory, address, path);
        if (is_recorded(recorder, path) && !recorder_identify(path, false, &identity))
                begin_name(recorder, call, (struct tape_op){ .kind = TAPE_MAKE_DIRECTORY }, path, NULL);
}

/* The file that a path leads to; UINT32_MAX: none, and the call will fail. */
static uint32_t file_at(const struct recorder *recorder, const char *path) {
        struct identity identity;

        return recorder_identify(path, false, &identity) ? recorder_find(recorder, &identity) : UINT32_MAX;
}

static void begin_unlink(struct recorder *recorder, const struct trace_call *call, int64_t directory,
                         uint64_t address) {
        struct tape_op op = { .kind = TAPE_UNLINK };
        char path[PATH_MAX];

        resolve(call->pid, directory, address, path);
        if (!is_recorded(recorder, path))
                return;
        op.file = file_at(recorder, path);
        if (op.file != UINT32_MAX)
                begin_name(recorder, call, op, path, NULL);
}

static void begin_pair(struct recorder *recorder, const struct trace_call *call, const char *from,
                       const char *to) {
        bool is_rename = call->number != SYS_linkat;
        struct tape_op op = { .kind = is_rename ? TAPE_RENAME : TAPE_LINK };

#ifdef SYS_link
        if (call->number == SYS_link)
                op.kind = TAPE_LINK;
#endif
        if (from[0] == '\0' || to[0] == '\0' || (!is_recorded(recorder, from) && !is_recorded(recorder, to)))
                return;
        op.file = file_at(recorder, from);
        if (op.file == UINT32_MAX)
                return;
        if (!is_recorded(recorder, from) || !is_recorded(recorder, to)) {
                recorder_fail(recorder, "%s comes to be %s: only one of them is recorded", from, to);
                return;
        }
        if (op.kind == TAPE_RENAME)
                begin_name(recorder, call, op, from, to);
        else
                begin_name(recorder, call, op, to, NULL);
}

static void enter_mkdirat(struct recorder *recorder, const struct trace_call *call) {
        begin_directory(recorder, call, (int64_t) call->arguments[0], call->arguments[1]);
}

static void enter_unlinkat(struct recorder *recorder, const struct trace_call *call) {
        begin_unlink(recorder, call, (int64_t) call->arguments[0], call->arguments[1]);
}

/* Of two paths with directories: renameat(), renameat2(), linkat(). */
static void enter_pair_at(struct recorder *recorder, const struct trace_call *call) {
        char from[PATH_MAX], to[PATH_MAX];

        resolve(call->pid, (int64_t) call->arguments[0], call->arguments[1], from);
        resolve(call->pid, (int64_t) call->arguments[2], call->arguments[3], to);
        if (call->number == SYS_renameat2 && call->arguments[4] > 1 && is_recorded(recorder, to))
                recorder_fail(recorder, "renameat2() with flags %" PRIu64 " on %s", call->arguments[4], to);
        else
                begin_pair(recorder, call, from, to);
}

/* ---- calls of old, which have no descriptor of a directory ---------------------------------------- */
#ifdef SYS_open
static void enter_open(struct recorder *recorder, const struct trace_call *call) {
        begin_open(recorder, call, AT_FDCWD, call->arguments[0], call->arguments[1]);
}

static void enter_creat(struct recorder *recorder, const struct trace_call *call) {
        begin_open(recorder, call, AT_FDCWD, call->arguments[0], O_CREAT | O_TRUNC);
}

static void enter_mkdir(struct recorder *recorder, const struct trace_call *call) {
        begin_directory(recorder, call, AT_FDCWD, call->arguments[0]);
}

static void enter_unlink(struct recorder *recorder, const struct trace_call *call) {
        begin_unlink(recorder, call, AT_FDCWD, call->arguments[0]);
}

static void enter_pair(struct recorder *recorder, const struct trace_call *call) {
        char from[PATH_MAX], to[PATH_MAX];

        resolve(call->pid, AT_FDCWD, call->arguments[0], from);
        resolve(call->pid, AT_FDCWD, call->arguments[1], to);
        begin_pair(recorder, call, from, to);
}
#endif

/* ---- what must not be -------------------------------------------------------------------------- */
static void refuse_if_below(struct recorder *recorder, const struct trace_call *call, uint64_t fd) {
        char path[PATH_MAX];

        if (tracer_path(call->pid, (int) fd, path, sizeof(path)) == 0 && is_recorded(recorder, path))
                recorder_fail(recorder, "system call %" PRIu64 " on %s: the recorder does not know it",
                              call->number, path);
}

static void refuse_first(struct recorder *recorder, const struct trace_call *call) {
        refuse_if_below(recorder, call, call->arguments[0]);
}

static void refuse_third(struct recorder *recorder, const struct trace_call *call) {
        refuse_if_below(recorder, call, call->arguments[2]);
}

static void refuse_path_at(struct recorder *recorder, const struct trace_call *call) {
        char path[PATH_MAX];

        resolve(call->pid, (int64_t) call->arguments[0], call->arguments[1], path);
        if (is_recorded(recorder, path))
                recorder_fail(recorder, "system call %" PRIu64 " on %s: the recorder does not know it",
                              call->number, path);
}

static void refuse_path(struct recorder *recorder, const struct trace_call *call) {
        char path[PATH_MAX];

        resolve(call->pid, AT_FDCWD, call->arguments[0], path);
        if (is_recorded(recorder, path))
                recorder_fail(recorder, "system call %" PRIu64 " on %s: the recorder does not know it",
                              call->number, path);
}

/* Stores into a shared mapping are seen by nobody. SQLite's -shm is one, and is of no use after a cut. */
static void enter_mmap(struct recorder *recorder, const struct trace_call *call) {
        uint64_t protection = call->arguments[2], flags = call->arguments[3];

        if ((flags & MAP_SHARED) && (protection & PROT_WRITE) && !(flags & MAP_ANONYMOUS))
                refuse_if_below(recorder, call, call->arguments[4]);
}

/* One call that changes names at a time. The kernel does the same, with a lock in each directory; but between that and
 * our being told, another call could remove what the first has made, or make anew what it has removed, and nobody could
 * say any more which was which. No call waits in the kernel for one that is held here. */
static bool changes_names(const struct trace_call *call) {
        switch (call->number) {
        case SYS_openat:
                return (call->arguments[2] & O_CREAT) != 0;
        case SYS_mkdirat:
        case SYS_unlinkat:
        case SYS_renameat2:
        case SYS_linkat:
#ifdef SYS_renameat
        case SYS_renameat:
#endif
                return true;
#ifdef SYS_open
        case SYS_open:
                return (call->arguments[1] & O_CREAT) != 0;
        case SYS_creat:
        case SYS_mkdir:
        case SYS_unlink:
        case SYS_rmdir:
        case SYS_rename:
        case SYS_link:
                return true;
#endif
        default:
                return false;
        }
}

/* lint: table */
enum trace_verdict call_enter(struct recorder *recorder, const struct trace_call *call) {
        static const struct {
                uint64_t number;
                void (*enter)(struct recorder *recorder, const struct trace_call *call);
        } calls[] = {
                { SYS_write, enter_write },
                { SYS_pwrite64, enter_pwrite },
                { SYS_writev, enter_writev },
                { SYS_pwritev, enter_pwritev },
                { SYS_pwritev2, refuse_first },
                { SYS_ftruncate, enter_ftruncate },
                { SYS_truncate, refuse_path },
                { SYS_fallocate, enter_fallocate },
                { SYS_fsync, enter_fsync },
                { SYS_fdatasync, enter_fdatasync },
                { SYS_sync, enter_sync_all },
                { SYS_syncfs, enter_sync_all },
                { SYS_openat, enter_openat },
                { SYS_openat2, refuse_path_at },
                { SYS_mkdirat, enter_mkdirat },
                { SYS_unlinkat, enter_unlinkat },
                { SYS_renameat2, enter_pair_at },
                { SYS_linkat, enter_pair_at },
                { SYS_copy_file_range, refuse_third },
                { SYS_splice, refuse_third },
                { SYS_sendfile, refuse_first },
                { SYS_mmap, enter_mmap },
#ifdef SYS_renameat
                { SYS_renameat, enter_pair_at },
#endif
#ifdef SYS_open
                { SYS_open, enter_open },
                { SYS_creat, enter_creat },
                { SYS_mkdir, enter_mkdir },
                { SYS_unlink, enter_unlink },
                { SYS_rmdir, enter_unlink },
                { SYS_rename, enter_pair },
                { SYS_link, enter_pair },
#endif
        };

        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                if (calls[i].number == call->number) {
                        flights_settle_dying(recorder);
                        if (changes_names(call) && flights_change_names(recorder))
                                return TRACE_HOLD;
                        calls[i].enter(recorder, call);
                        /* One that will fail, as names stand now: they stand so until it has. */
                        if (changes_names(call) && !flight_find(recorder, call->tid))
                                (void) flight_begin(recorder, call, &(struct tape_op){ .kind = TAPE_MARK });
                        break;
                }
        return TRACE_GO;
}
