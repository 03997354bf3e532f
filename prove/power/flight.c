/* SPDX-License-Identifier: Apache-2.0 */
/* Calls between their entry and their exit, and what became of those that never returned.
 *
 * A process that is killed in a call leaves it done, not done, or done in part. Nothing tells which, so
 * file and names are asked: before whoever comes after it (its heir) changes or syncs anything, because what
 * the heir found there is what it syncs, renames or removes. Must not touch: the files (they are read). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/power/memory.h"
#include "prove/power/recorder_internal.h"

#define PF_EXITING 0x4u /* include/linux/sched.h, in field 9 of /proc/PID/stat */

struct flight *flight_find(struct recorder *recorder, pid_t tid) {
        for (size_t i = 0; i < recorder->flight_count; i++)
                if (recorder->flights[i]->tid == tid)
                        return recorder->flights[i];
        return NULL;
}

static void flight_end(struct recorder *recorder, struct flight *flight) {
        for (size_t i = 0; i < recorder->flight_count; i++)
                if (recorder->flights[i] == flight) {
                        recorder->flights[i] = recorder->flights[--recorder->flight_count];
                        free(flight);
                        return;
                }
}

bool flights_change_names(const struct recorder *recorder) {
        for (size_t i = 0; i < recorder->flight_count; i++)
                if (recorder->flights[i]->op.kind == TAPE_MARK ||
                    tape_is_directory(recorder->flights[i]->op.kind))
                        return true;
        return false;
}

struct flight *flight_begin(struct recorder *recorder, const struct trace_call *call,
                            const struct tape_op *op) {
        struct flight *flight;

        if (recorder->flight_count == FLIGHT_MAX) {
                recorder_fail(recorder, "more than %d calls at once", FLIGHT_MAX);
                return NULL;
        }
        flight = must_have(calloc(1, sizeof(*flight)));
        flight->tid = call->tid;
        flight->pid = call->pid;
        flight->op = *op;
        flight->op.pid = call->tid;
        flight->op.role = (uint8_t) call->role;
        flight->index = tape_enter(&recorder->tape, &flight->op);
        flight->op = recorder->tape.ops[flight->index]; /* its names and data live on the tape */
        recorder->flights[recorder->flight_count++] = flight;
        return flight;
}

/* ---- it returned ------------------------------------------------------------------------------- */
/* open(): a file that nobody knew is a new one. */
static bool open_becomes(struct recorder *recorder, struct flight *flight, const char *path) {
        struct identity identity;
        const char *name, *below;
        struct tape_op op = { .kind = TAPE_CREATE, .pid = flight->op.pid, .role = flight->op.role };

        if (!recorder_identify(path, true, &identity))
                return false;
        below = recorder_below(recorder, flight->path);
        if (!below || recorder_ignores(below))
                return false;
        if (!recorder_place(recorder, flight->path, &op.parent, &name)) {
                recorder_fail(recorder, "cannot place %s", flight->path);
                return false;
        }
        op.file = recorder_find(recorder, &identity);
        /* An inode that went with its last name is given out again, within one tick with the same birth. */
        if (op.file != UINT32_MAX && tape_file_at(&recorder->tape, op.parent, name) == op.file) {
                op.kind = TAPE_SIZE;
                op.name = "";
                tape_fill(&recorder->tape, flight->index, &op);
                return flight->is_emptying;
        }
        op.file = recorder_add(recorder, &identity);
        op.name = name;
        op.mode = identity.mode & 07777;
        tape_fill(&recorder->tape, flight->index, &op);
        return true;
}

static bool open_returned(struct recorder *recorder, struct flight *flight, int64_t result) {
        char link[64];

        (void) snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int) flight->pid, (int) result);
        if (tracer_path(flight->pid, (int) result, flight->path, sizeof(flight->path)) < 0)
                return false;
        return open_becomes(recorder, flight, link);
}

static bool directory_returned(struct recorder *recorder, struct flight *flight) {
        struct identity identity;

        if (!recorder_identify(flight->path, false, &identity))
                return false;
        flight->op.file = recorder_add(recorder, &identity);
        flight->op.mode = identity.mode & 07777;
        tape_fill(&recorder->tape, flight->index, &flight->op);
        return true;
}

void flight_return(struct recorder *recorder, struct flight *flight, int64_t result) {
        bool happened = result >= 0;

        if (happened && flight->is_open)
                happened = open_returned(recorder, flight, result);
        else if (flight->op.kind == TAPE_MARK)
                happened = false; /* or of a file that is not recorded */
        else if (happened && flight->op.kind == TAPE_MAKE_DIRECTORY)
                happened = directory_returned(recorder, flight);
        else if (happened && flight->op.kind == TAPE_WRITE && (uint64_t) result < flight->op.bytes) {
                flight->op.bytes = (uint64_t) result;
                tape_fill(&recorder->tape, flight->index, &flight->op);
        }
        if (happened)
                tape_return(&recorder->tape, flight->index);
        else
                tape_drop(&recorder->tape, flight->index);
        flight_end(recorder, flight);
}

/* ---- it never will ----------------------------------------------------------------------------- */
static bool leads_to(const struct recorder *recorder, const char *path, uint32_t file) {
        struct identity identity;

        return recorder_identify(path, false, &identity) && recorder_find(recorder, &identity) == file;
}

/* What stands in the file now, where the write would have gone. */
static bool write_happened(struct recorder *recorder, struct flight *flight) {
        _cleanup_fd_ int fd = open(flight->path, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ uint8_t *found = must_have(malloc(flight->op.bytes + 1));
        size_t bytes = 0;

        if (fd < 0 || fd_pread_all(fd, found, flight->op.bytes, (off_t) flight->op.offset, &bytes) < 0) {
                recorder_fail(recorder, "cannot read %s, where a write was cut short: %s", flight->path,
                              strerror(errno));
                return false;
        }
        if (bytes == 0)
                return false;
        flight->op.bytes = bytes;
        flight->op.data = found;
        tape_fill(&recorder->tape, flight->index, &flight->op);
        return true;
}

static bool settles_as_done(struct recorder *recorder, struct flight *flight) {
        struct identity identity;

        switch (flight->op.kind) {
        case TAPE_WRITE:
                return write_happened(recorder, flight);
        case TAPE_SIZE:
                return recorder_identify(flight->path, true, &identity) && identity.size == flight->op.offset;
        case TAPE_MAKE_DIRECTORY:
                return directory_returned(recorder, flight);
        case TAPE_RENAME:
                return leads_to(recorder, flight->to_path, flight->op.file);
        case TAPE_LINK:
                return leads_to(recorder, flight->path, flight->op.file);
        case TAPE_UNLINK:
                return !leads_to(recorder, flight->path, flight->op.file);
        default:
                return flight->is_open && open_becomes(recorder, flight, flight->path);
        }
}

static void flight_settle(struct recorder *recorder, struct flight *flight) {
        if (tape_is_sync(flight->op.kind))
                ; /* it never returned, and covers nothing */
        else if (settles_as_done(recorder, flight))
                tape_return(&recorder->tape, flight->index);
        else
                tape_drop(&recorder->tape, flight->index);
        flight_end(recorder, flight);
}

void flights_settle(struct recorder *recorder, pid_t pid) {
        for (size_t i = recorder->flight_count; i-- > 0;)
                if (recorder->flights[i]->pid == pid)
                        flight_settle(recorder, recorder->flights[i]);
}

/* Its locks and its robust mutexes are given up after this flag is set, so whoever learns of the death
 * finds it set. */
static bool thread_is_dying(pid_t pid, pid_t tid) {
        char path[64], text[512];
        _cleanup_fd_ int fd = -1;
        const char *rest;
        unsigned flags;
        ssize_t bytes;
        char state;

        (void) snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int) pid, (int) tid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        bytes = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
        if (bytes <= 0)
                return true;
        text[bytes] = '\0';
        rest = strrchr(text, ')');
        if (!rest || sscanf(rest, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
                return true;
        return state == 'Z' || state == 'X' || (flags & PF_EXITING);
}

void flights_settle_dying(struct recorder *recorder) {
        for (size_t i = recorder->flight_count; i-- > 0;) {
                struct flight *flight = recorder->flights[i];

                if (thread_is_dying(flight->pid, flight->tid))
                        flight_settle(recorder, flight);
        }
}
