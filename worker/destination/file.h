/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the file destination, for file*.c and their tests alone (rules M3, M6, M7, M8).
 *
 * A session has two files in the directory, which only its owner writes, under its lock:
 * SESSION.NNNNNN.jsonl (its events) and SESSION.parked.jsonl (what was rejected, with the reason).
 * Each is a file_part here. Three lengths say all of a part:
 *
 *   0 ---------------- durable_bytes ---------------- written_bytes ------- + buffer.used_bytes
 *     synced: the journal's         handed to the kernel,         in memory only
 *     length, or soon to be it      not synced
 *
 * Must not touch: the source, the journal; it decides by what stands in the files alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/baton/destination.h"

#define FILE_NAME_BYTES 128              /* ".SESSION.resync" and "SESSION.NNNNNN.cut-EPOCH.N" fit */
#define FILE_TAIL_BYTES 4096             /* the CRC covers at most so much before a length */
#define FILE_CUT_BYTES_MAX (64ULL << 20) /* more than this beyond the record is no torn batch of ours */
#define FILE_FLUSH_BYTES (256U << 10)    /* memory of a session before its lines go to the kernel (S8) */
#define FILE_CHUNK_BYTES (256U << 10)    /* copies (cut, resync) go in such pieces, a pulse between them */
#define FILE_SPARE_BYTES_MAX (1U << 20)  /* a buffer that one huge event made larger is given back */

/* ---- file_calls.c: the disk ---------------------------------------------------------------------- */

/* Every system call that changes or reads a file, behind a pointer, so that a test can be the disk
 * that is full, that fails, or that stops the process at its n-th call. Never changed by the program. */
struct file_calls {
        ssize_t (*pwrite)(int fd, const void *data, size_t bytes, off_t offset);
        ssize_t (*pread)(int fd, void *data, size_t bytes, off_t offset);
        int (*fdatasync)(int fd);
        int (*fsync)(int fd);
        int (*ftruncate)(int fd, off_t bytes);
        int (*openat)(int dir_fd, const char *name, int flags, mode_t mode);
        int (*rename)(int dir_fd, const char *from, const char *to);
        int (*unlink)(int dir_fd, const char *name);
};
extern struct file_calls file_calls;

/* 0 or negative errno each; through EINTR and short transfers. file_open() returns the descriptor. */
int file_open(int dir_fd, const char *name, int flags);
int file_write_all(int fd, const void *data, size_t bytes, uint64_t offset);
int file_read_all(int fd, void *data, size_t bytes, uint64_t offset, size_t *ret_bytes);
int file_sync_data(int fd);
int file_sync_whole(int fd);
int file_truncate(int fd, uint64_t bytes);
int file_rename(int dir_fd, const char *from, const char *to);
int file_unlink(int dir_fd, const char *name); /* an absent file is fine */
/* CRC-32C of the last FILE_TAIL_BYTES (or fewer) before `length_bytes`. -ENODATA: the file is shorter. */
int file_tail_crc(int fd, uint64_t length_bytes, uint32_t *ret_crc);

/* ---- file_buffer in file_render.c: lines ---------------------------------------------------------- */

struct file_buffer {
        uint8_t *data; /* owned; NULL while capacity_bytes is 0 */
        size_t used_bytes, capacity_bytes;
};
void file_buffer_done(struct file_buffer *buffer);

/* Appends the event's line. FAILURE_REJECTED (-EBADMSG) where JSON cannot hold it, and then, as on
 * -ENOMEM, the buffer is as before. A pure function of its arguments: recovery compares bytes. */
int file_render_event(struct file_buffer *buffer, const char *session, const struct event *event,
                      struct failure *ret_failure);
/* Appends the parked line: every storage class as it was, the reason last. reason NULL: without the
 * reason and what follows it, for the comparison in recovery. -ENOMEM. */
int file_render_parked(struct file_buffer *buffer, const char *session, const struct event *event,
                       const char *reason, struct failure *ret_failure);
#define FILE_REASON_BYTES_MAX 6400 /* of a rendered reason: FAILURE_TEXT_BYTES, all of it escaped, and more */
#define FILE_REASON_KEY ",\"reason\":" /* what stands before a parked line's reason */

/* ---- file_state.c: struct checkpoint's destination_state ------------------------------------------ */

struct file_state {
        uint32_t file_number; /* 1, 2 …; 0: no state (zeroed bytes) */
        uint64_t position;    /* the checkpoint's; a state that travels with another is refused */
        uint64_t data_bytes, parked_bytes;
        uint32_t data_crc, parked_crc;  /* file_tail_crc() of these lengths */
        uint64_t created_realtime_usec; /* of the current file */
};
void file_state_encode(const struct file_state *state, uint8_t ret_bytes[DESTINATION_STATE_BYTES]);
/* 0; -EPROTONOSUPPORT: another version; -EBADMSG: no state of ours. */
int file_state_decode(const uint8_t bytes[DESTINATION_STATE_BYTES], struct file_state *ret_state);

/* ---- the objects ---------------------------------------------------------------------------------- */

struct file_part {
        int fd; /* -1: not open (a parked file that does not exist yet) */
        char name[FILE_NAME_BYTES];
        uint64_t durable_bytes, written_bytes;
        uint32_t durable_crc, written_crc; /* tail CRCs of both; written_crc since session_end() */
        uint64_t tail_end_bytes;           /* while session->tail_open: the file's length */
        bool tail_is_torn_line;            /* what remains there is the beginning of the next event's line */
        bool touched;                      /* may differ from durable_bytes on the disk: sync or cut it */
        bool uncertain;                    /* a sync of it failed: written anew before anything else (M7) */
        struct file_buffer buffer;
};

struct destination_session {
        struct destination *destination;
        struct destination_session *next, *previous, *transaction_next;
        char name[NAME_BYTES];
        int lock_fd;       /* -1: not the owner; a file of 1 byte says "uncertain" (M7) */
        uint64_t epoch;    /* of the fence; 0 before it */
        uint64_t position; /* of the checkpoint that durable_bytes belong to */
        uint32_t file_number;
        uint64_t created_realtime_usec,
                created_usec; /* wall and monotonic; the second not before the fence */
        struct file_part data, parked;
        struct checkpoint *noted; /* the mover's, from session_end() to commit() or rollback */
        bool fenced;
        bool in_transaction;
        bool is_verified;    /* in this transaction: the files are as we left them */
        bool has_begun_mark; /* .SESSION.begun stands in the directory (file_fence.c) */
        bool tail_open;      /* bytes beyond the record: adopt, then cut, before any put */
        bool tail_ended;     /* an event was not found in the tail: none behind it is taken */
};

struct destination {
        int dir_fd;
        char path[URL_BYTES];
        uint8_t instance[INSTANCE_BYTES];
        uint64_t rotate_bytes, rotate_usec; /* 0: never */
        bool (*pulse)(void *context);
        void *pulse_context;
        struct destination_session *sessions, *transaction;
        struct file_buffer spare; /* one kept, so that a batch needs no allocation */
        bool in_transaction;
        bool directory_dirty; /* an entry was made since the directory was synced */
        bool latched;         /* M7: a sync failed; nothing but resync() or close() */
};

extern const struct destination_ops destination_file_ops;

/* ---- file_part.c: one file of a session ----------------------------------------------------------- */

/* Fills *failure from a bare errno: "DIRECTORY/NAME: cannot WHAT: why; what to do". Returns r. */
int file_fail(const struct destination *destination, const char *name, int r, const char *what,
              struct failure *failure);
/* The same for a sync: FAILURE_SYNC, and the destination is latched (M7). */
int file_fail_sync(struct destination *destination, const char *name, int r, struct failure *failure);
/* Opens, and makes it where `create`; a new entry marks the directory dirty. -ENOENT with no failure
 * filled where it is absent and not to be made. Only regular files. */
int file_part_open(struct destination *destination, struct file_part *part, bool create,
                   struct failure *ret_failure);
void file_part_close(struct file_part *part);
int file_part_size(struct destination *destination, const struct file_part *part, uint64_t *ret_bytes,
                   struct failure *ret_failure);
/* Hands the buffered lines to the kernel. */
int file_part_flush(struct destination *destination, struct file_part *part, struct failure *ret_failure);
/* fdatasync() where there is something to sync. If it fails, the session's lock file says so too. */
int file_part_sync(struct destination_session *session, struct file_part *part, struct failure *ret_failure);
/* Flushes, and computes written_crc. */
int file_part_seal(struct destination *destination, struct file_part *part, struct failure *ret_failure);
/* What was sealed is durable (after file_part_sync()). */
void file_part_settle(struct file_part *part);
/* Drops what is not durable; the file is cut to durable_bytes. If that fails it stays `touched`, and
 * the next batch tries again before a byte is put. */
int file_part_rollback(struct destination *destination, struct file_part *part);
/* Gives the buffer back between two batches. */
void file_part_give_buffer(struct destination *destination, struct file_part *part);
/* The name at the path still leads to what is open, with the length that we left (M3). */
int file_part_verify(struct destination *destination, const struct file_part *part,
                     struct failure *ret_failure);
int file_directory_sync(struct destination *destination, struct failure *ret_failure);
/* Copies `bytes` between files in chunks with pulses; *ret_crc (may be NULL): the CRC-32C of them.
 * -ENODATA: fewer are there; -ECANCELED: the mover must give up. */
int file_copy(const struct destination *destination, int from_fd, uint64_t from, int to_fd, uint64_t to,
              uint64_t bytes, uint32_t *ret_crc);
/* True if the mover must give up soon. */
static inline bool file_pulse(const struct destination *destination) {
        return destination->pulse && destination->pulse(destination->pulse_context);
}

/* ---- the operations that live in files of their own ------------------------------------------------ */

void file_data_name(const char *session, uint32_t file_number, char ret_name[FILE_NAME_BYTES]);
void file_parked_name(const char *session, char ret_name[FILE_NAME_BYTES]);
void file_state_of(const struct destination_session *session, struct file_state *ret_state);

/* file_lock.c */
/* Takes the session's lock; waits a little for an owner that is just dying (M3). */
int file_lock_take(struct destination_session *session, struct failure *ret_failure);
/* The lock file carries one bit for whoever owns the session next: "a sync failed, what the page cache
 * shows may not be on the disk" (M7). It needs no room on the disk, and after a power cut no memory:
 * then the cache is gone, and what is read is what the disk holds. */
void file_uncertain_set(struct destination_session *session);
void file_uncertain_clear(struct destination_session *session);
bool file_uncertain_is_set(const struct destination_session *session);

/* file_fence.c */
int file_fence(struct destination_session *session, uint64_t epoch, struct checkpoint *checkpoint,
               bool *ret_found, bool *ret_tail, struct failure *ret_failure);
void file_begun_clear(struct destination_session *session);
/* file_tail.c */
int file_tail_adopt(struct destination_session *session, const struct event *event, bool *ret_adopted,
                    bool *ret_parked, struct failure *ret_failure);
int file_tail_cut(struct destination_session *session, uint64_t *ret_cut_bytes, struct failure *ret_failure);
/* file_rotate.c */
bool file_rotation_due(struct destination_session *session);
int file_rotate(struct destination_session *session, struct checkpoint *checkpoint,
                struct failure *ret_failure);
/* file_resync.c */
/* M7: puts a fresh copy, synced, in the place of the part's file. */
int file_rewrite(struct destination_session *session, struct file_part *part, struct failure *ret_failure);
int file_resync(struct destination *destination, struct failure *ret_failure);
/* file_check.c */
int file_check(const struct destination_config *config, char **ret_note, struct failure *ret_failure);
