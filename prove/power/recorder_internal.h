/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the recorder know of each other. */
#pragma once

#include <limits.h>

#include "prove/power/recorder.h"

#define FLIGHT_MAX 256

/* One file of the file system, for as long as that lives: an inode may be used again, with another birth. */
struct identity {
        uint64_t device, inode;
        int64_t born_sec;
        uint32_t born_nsec, mode;
        uint64_t size;
};

/* A call that was entered and has not returned. */
struct flight {
        pid_t tid, pid;
        size_t index;              /* on the tape */
        struct tape_op op;         /* as it stands there; for opens: what it will be */
        bool is_open, is_emptying; /* open() with O_CREAT, with O_TRUNC */
        char path[PATH_MAX], to_path[PATH_MAX];
};

struct known {
        struct identity identity;
        uint32_t file;
};

struct recorder {
        struct tape tape;
        char root[PATH_MAX], error[PATH_MAX + 256];
        size_t root_bytes;
        bool is_running;
        struct known *known;
        size_t known_count, known_capacity;
        struct flight *flights[FLIGHT_MAX];
        size_t flight_count;
};

/* recorder.c */
void recorder_fail(struct recorder *recorder, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The part behind the root; NULL: it is not below it. "" is the root. */
const char *recorder_below(const struct recorder *recorder, const char *path);
bool recorder_identify(const char *path, bool follows, struct identity *ret_identity);
uint32_t recorder_find(const struct recorder *recorder, const struct identity *identity); /* UINT32_MAX */
uint32_t recorder_add(struct recorder *recorder, const struct identity *identity);
/* Parent and name of a path below the root. False: its directory is not known. */
bool recorder_place(struct recorder *recorder, const char *path, uint32_t *ret_parent, const char **ret_name);

/* flight.c: between entry and exit. */
bool flights_change_names(const struct recorder *recorder); /* is there one that does? */
struct flight *flight_begin(struct recorder *recorder, const struct trace_call *call,
                            const struct tape_op *op);
struct flight *flight_find(struct recorder *recorder, pid_t tid);
void flight_return(struct recorder *recorder, struct flight *flight, int64_t result);
/* Of a process that was killed in a call: what the call did is read from the files. */
void flights_settle(struct recorder *recorder, pid_t pid);
/* The same for whoever is dying: before anyone else changes or syncs anything. */
void flights_settle_dying(struct recorder *recorder);

/* recorder_calls.c */
enum trace_verdict call_enter(struct recorder *recorder, const struct trace_call *call);
