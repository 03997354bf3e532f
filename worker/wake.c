/* SPDX-License-Identifier: Apache-2.0 */
/* inotify for the sources of a worker (M9). ● A SQLite writer with synchronous=FULL raises its event
 * before its commit is visible, so an event here means "look, and look again" (news.c), never "read".
 * Must not touch: databases; it watches paths and calls stat(). */
#include "worker/wake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "worker/session.h"

#define WAKE_DIRECTORY_MASK (IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_ONLYDIR)
/* No IN_ATTRIB: as root, SQLite gives -wal its owner at every open, so an open of ours would wake us, for
 * ever where more sources are quiet than may be open (S8). What unlinks a file tells the directory. */
#define WAKE_FILE_MASK (IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF)

int wake_init(struct wake *wake) {
        assert(wake);

        *wake = (struct wake){ .inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC) };
        return wake->inotify_fd < 0 ? -errno : 0;
}

void wake_done(struct wake *wake) {
        fd_close(&wake->inotify_fd);
}

static struct wake_link **bucket_of(struct wake *wake, int watch_descriptor) {
        return &wake->buckets[(unsigned) watch_descriptor % WAKE_BUCKET_COUNT];
}

static void link_enter(struct wake *wake, struct wake_link *link, struct session *session, int wd) {
        struct wake_link **bucket = bucket_of(wake, wd);

        assert(wd >= 0);
        link->watch_descriptor = wd;
        link->is_due = false;
        link->session = session;
        link->next = *bucket;
        *bucket = link;
}

static bool descriptor_is_used(struct wake *wake, int wd) {
        for (struct wake_link *link = *bucket_of(wake, wd); link; link = link->next)
                if (link->watch_descriptor == wd)
                        return true;
        return false;
}

/* Removes the kernel's watch with its last user. */
static void link_leave(struct wake *wake, struct wake_link *link) {
        int wd = link->watch_descriptor;

        if (wd < 0)
                return;
        for (struct wake_link **at = bucket_of(wake, wd); *at; at = &(*at)->next)
                if (*at == link) {
                        *at = link->next;
                        break;
                }
        link->watch_descriptor = -1;
        if (!descriptor_is_used(wake, wd))
                (void) inotify_rm_watch(wake->inotify_fd, wd);
}

/* Joins directory and name; the pieces are bounded by their fields. */
static void path_of(const struct source_watch *paths, size_t file, char *ret_path, size_t bytes) {
        (void) snprintf(ret_path, bytes, "%s/%s", paths->directory, paths->file_names[file]);
}

static bool watch_file(struct wake *wake, struct session *session, size_t file) {
        struct wake_watches *watches = &session->watches;
        char path[sizeof(watches->paths.directory) + sizeof(watches->paths.file_names[0]) + 1];
        int wd;

        link_leave(wake, &watches->links[1 + file]);
        path_of(&watches->paths, file, path, sizeof(path));
        wd = inotify_add_watch(wake->inotify_fd, path, WAKE_FILE_MASK);
        if (wd < 0)
                return errno == ENOENT; /* the directory's watch tells when it comes */
        link_enter(wake, &watches->links[1 + file], session, wd);
        return true;
}

void wake_add(struct wake *wake, struct session *session, const struct source_watch *paths,
              bool *ret_complete) {
        bool complete = true;
        int wd;

        session->watches.paths = *paths;
        session->watches.directory_id = wake_directory_id(paths);
        for (size_t i = 0; i < WAKE_WATCH_COUNT; i++)
                session->watches.links[i].watch_descriptor = -1;

        wd = inotify_add_watch(wake->inotify_fd, paths->directory, WAKE_DIRECTORY_MASK);
        if (wd >= 0)
                link_enter(wake, &session->watches.links[0], session, wd);
        else
                complete = false;
        for (size_t i = 0; i < SOURCE_WATCH_FILES; i++)
                if (paths->file_names[i][0])
                        complete = watch_file(wake, session, i) && complete;
        *ret_complete = complete;
}

void wake_remove(struct wake *wake, struct session *session) {
        for (size_t i = 0; i < WAKE_WATCH_COUNT; i++)
                if (session->watches.links[i].session)
                        link_leave(wake, &session->watches.links[i]);
}

/* True if the event is of this session; a file that came or went is watched anew. */
static bool link_concerns(struct wake *wake, struct wake_link *link, const struct inotify_event *event) {
        struct session *session = link->session;
        struct wake_watches *watches = &session->watches;

        if (link != &watches->links[0])
                return true;
        if (event->len == 0)
                return false;
        for (size_t i = 0; i < SOURCE_WATCH_FILES; i++)
                if (watches->paths.file_names[i][0] &&
                    strcmp(watches->paths.file_names[i], event->name) == 0) {
                        (void) watch_file(wake, session, i);
                        return true;
                }
        return false;
}

/* The kernel dropped the watch itself (the file is gone): the links must not outlive the number. */
static void descriptor_gone(struct wake *wake, int wd) {
        struct wake_link **at = bucket_of(wake, wd);

        while (*at)
                if ((*at)->watch_descriptor == wd) {
                        (*at)->watch_descriptor = -1;
                        (*at)->session->is_watched = false; /* the sweep watches again */
                        *at = (*at)->next;
                } else
                        at = &(*at)->next;
}

/* The first link of the bucket whose session is still to be told of this event. */
static struct wake_link *link_to_tell(struct wake *wake, int wd) {
        for (struct wake_link *link = *bucket_of(wake, wd); link; link = link->next)
                if (link->watch_descriptor == wd && link->is_due)
                        return link;
        return NULL;
}

/* Telling may set watches anew and so change the bucket: it is walked from its head after each. */
static void event_deliver(struct wake *wake, const struct inotify_event *event,
                          void (*fn)(struct session *session, void *context), void *context) {
        struct wake_link *link;

        for (link = *bucket_of(wake, event->wd); link; link = link->next)
                link->is_due = link->watch_descriptor == event->wd;
        while ((link = link_to_tell(wake, event->wd))) {
                struct session *session = link->session;

                link->is_due = false;
                if (link_concerns(wake, link, event))
                        fn(session, context);
        }
        if (event->mask & IN_IGNORED)
                descriptor_gone(wake, event->wd);
}

void wake_read(struct wake *wake, struct session *all, void (*fn)(struct session *session, void *context),
               void *context) {
        _Alignas(struct inotify_event) char buffer[16384];
        ssize_t n;

        while ((n = read(wake->inotify_fd, buffer, sizeof(buffer))) > 0)
                for (char *at = buffer; at < buffer + n;) {
                        const struct inotify_event *event = (const struct inotify_event *) at;

                        at += sizeof(*event) + event->len;
                        if (event->mask & IN_Q_OVERFLOW)
                                for (struct session *s = all; s; s = s->next)
                                        fn(s, context);
                        else
                                event_deliver(wake, event, fn, context);
                }
}

static uint64_t mix(uint64_t sum, uint64_t value) {
        return (sum ^ value) * 0x9e3779b97f4a7c15ULL + (sum >> 29);
}

uint64_t wake_fingerprint_of(const struct source_watch *paths, size_t file) {
        char path[sizeof(paths->directory) + sizeof(paths->file_names[0]) + 1];
        struct stat st;
        uint64_t sum;

        assert(file < SOURCE_WATCH_FILES);
        if (!paths->file_names[file][0])
                return 0;
        path_of(paths, file, path, sizeof(path));
        if (stat(path, &st) < 0)
                return 0;
        sum = mix(file + 1, (uint64_t) st.st_ino);
        sum = mix(sum, (uint64_t) st.st_size);
        return mix(sum, (uint64_t) st.st_mtim.tv_sec * 1000000000ULL + (uint64_t) st.st_mtim.tv_nsec);
}

bool wake_is_fresh(const struct source_watch *paths, uint64_t span_usec) {
        uint64_t now_usec = clock_realtime_usec();

        for (size_t i = 0; i < SOURCE_WATCH_FILES; i++) {
                char path[sizeof(paths->directory) + sizeof(paths->file_names[0]) + 1];
                struct stat st;

                if (!paths->file_names[i][0])
                        continue;
                path_of(paths, i, path, sizeof(path));
                if (stat(path, &st) == 0 && st.st_mtim.tv_sec >= 0 &&
                    (uint64_t) st.st_mtim.tv_sec * USEC_PER_SEC + span_usec >= now_usec)
                        return true;
        }
        return false;
}

uint64_t wake_fingerprint(const struct source_watch *paths) {
        uint64_t sum = 0;

        for (size_t i = 0; i < SOURCE_WATCH_FILES; i++) {
                uint64_t one = wake_fingerprint_of(paths, i);

                if (one != 0)
                        sum = mix(sum, one);
        }
        return sum;
}

uint64_t wake_directory_id(const struct source_watch *paths) {
        struct stat st;

        if (stat(paths->directory, &st) < 0)
                return 0;
        return mix(mix(1, (uint64_t) st.st_dev), (uint64_t) st.st_ino);
}
