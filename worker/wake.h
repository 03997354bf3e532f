/* SPDX-License-Identifier: Apache-2.0 */
/* How the mover learns that a source has something (M9): inotify on the source's files and directory.
 * A wake is a hint. Nothing here opens a file of an application. Mover thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "include/baton/source.h"

struct session;

#define WAKE_BUCKET_COUNT 1024u
/* One for the directory and one for each file. */
#define WAKE_WATCH_COUNT (1 + SOURCE_WATCH_FILES)

struct wake_link {            /* one watch of one session; several sessions may share a descriptor */
        int watch_descriptor; /* -1: none */
        bool is_due;          /* an event is being told */
        struct session *session;
        struct wake_link *next; /* of the bucket */
};

struct wake_watches {
        struct source_watch paths;
        uint64_t directory_id;                    /* of the directory that is watched, not of its name */
        struct wake_link links[WAKE_WATCH_COUNT]; /* [0]: the directory */
};

struct wake {
        int inotify_fd;
        struct wake_link *buckets[WAKE_BUCKET_COUNT];
};

int wake_init(struct wake *wake);
void wake_done(struct wake *wake);

/* Watches what paths names; files that do not exist yet are watched once the directory tells of them.
 * Where inotify refuses (limit), the session lives on the safety poll: *ret_complete false. */
void wake_add(struct wake *wake, struct session *session, const struct source_watch *paths,
              bool *ret_complete);
void wake_remove(struct wake *wake, struct session *session);

/* Reads all news; calls fn for each session that it concerns (possibly several times), and for every
 * session of `all` where the kernel's queue ran over. */
void wake_read(struct wake *wake, struct session *all, void (*fn)(struct session *session, void *context),
               void *context);

/* A value that changes when the files do (inode, size, times), by stat() alone; 0 if none exists. */
uint64_t wake_fingerprint(const struct source_watch *paths);
/* The same of one of the files; the first is the source's own. */
uint64_t wake_fingerprint_of(const struct source_watch *paths, size_t file);
/* True if one of the files was written within the span, by its time of modification. */
bool wake_is_fresh(const struct source_watch *paths, uint64_t span_usec);
/* Which directory the path leads to now; 0: to none. */
uint64_t wake_directory_id(const struct source_watch *paths);
