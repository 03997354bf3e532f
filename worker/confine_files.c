/* SPDX-License-Identifier: Apache-2.0 */
/* P7: a worker reaches its own files alone. Landlock (Linux 5.13) takes from the process, before it has a second
 * thread, everything but:
 *
 *   STATE                      its journals, those of dead workers of its pool, latch- and lost- files
 *   the destination's directory, and those of the sources of every session of its pool: it may be their heir
 *   /proc, to read             start times of other processes (S6), the boot's id
 *   /dev/urandom, to read      SQLite's random numbers
 *
 * Directories, not files: SQLite's -wal, -shm and -journal, and the parts of a file destination, come and go, and a rule
 * sticks to what exists. Nothing is renamed from one directory into another (REFER), executed, or made but files, and
 * the journal's folders in STATE. SQLite keeps in memory what it would spill (sqlite_db.c). The segment is mapped and
 * workers.lock is held by then; libraries are loaded; of the time zone's file what is needed is read before.
 * No TCP: no scheme of this build speaks it, and `baton run` has no PrivateNetwork= (which does not hold for a
 * source or destination over a network: its port is to be allowed here). Signals and abstract sockets stay among the
 * worker's own threads and its keeper: it kills nobody (S3), and whether a thread exists is told all the same
 * (EPERM, not ESRCH). The doorbell is a futex; journald and RUNTIME/notify are sockets with a path.
 *
 * It is one way, and sticks to inodes. A directory that comes later, or is made anew, or whose file system was
 * unmounted and mounted again, is reached by a new worker only: this one asks to be replaced (renewal_ref), if a new
 * one would reach it, and its sessions wait, or go on, meanwhile. Must not touch: what is in the directories. */
#include "worker/confine_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/ruleset.h"
#include "base/sanitize.h"
#include "shm/slot.h"
#include "worker/worker.h"

#define PLACES_STEP 16u

struct confined_place {
        uint64_t device, inode; /* the rule pins it: as long as that holds, no other directory is this one */
        bool has_worked;        /* something was opened in it */
};

/* ---- directories ------------------------------------------------------------------------------------- */
static struct confined_place *place_find(const struct confined_files *files, const struct stat *status) {
        for (uint32_t i = 0; i < files->place_count; i++)
                if (files->places[i].device == status->st_dev && files->places[i].inode == status->st_ino)
                        return &files->places[i];
        return NULL;
}

static int place_add(struct confined_files *files, const struct stat *status) {
        struct confined_place *places = files->places;

        if (files->place_count % PLACES_STEP == 0)
                places = reallocarray(places, files->place_count + PLACES_STEP, sizeof(*places));
        if (!places)
                return -ENOMEM;
        files->places = places;
        places[files->place_count++] = (struct confined_place){ .device = status->st_dev,
                                                                .inode = status->st_ino };
        return 0;
}

/* Of the process or the host, and not of the path: a worker that is started a moment later may have it. */
static bool is_short_of(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EINTR;
}

/* 0 also where it is not there, or cannot be reached: confine_files_explain() knows it when it comes. */
static int place_allow(struct confined_files *files, const struct ruleset *ruleset, const char *directory,
                       uint64_t bits) {
        struct stat status;
        int r;

        if (stat(directory, &status) < 0 || !S_ISDIR(status.st_mode) || place_find(files, &status))
                return 0;
        r = ruleset_allow(ruleset, directory, bits, &status);
        if (r < 0)
                return is_short_of(r) ? r : 0;
        return place_add(files, &status);
}

static int allow_destination(struct worker *worker, const struct ruleset *ruleset) {
        const struct destination_config config = { .name = worker->settings.name,
                                                   .url = &worker->url,
                                                   .scheme = worker->scheme };
        char directory[PATH_MAX];

        if (!worker->destination_ops->directory || worker->destination_ops->directory(&config, directory) < 0)
                return 0;
        return place_allow(&worker->files, ruleset, directory, RULESET_USE);
}

static int allow_source(struct worker *worker, const struct ruleset *ruleset,
                        const struct roster_entry *entry) {
        const struct source_config config = { .name = entry->config.source,
                                              .url = &entry->url,
                                              .scheme = entry->scheme };
        struct source_watch watch;

        if (!entry->scheme || entry->ops->watch(&config, &watch, NULL) < 0 || watch.directory[0] == '\0')
                return 0;
        return place_allow(&worker->files, ruleset, watch.directory, RULESET_USE);
}

/* What is being written now is found to be missing when it is to be opened. */
static int allow_sources(struct worker *worker, const struct ruleset *ruleset) {
        uint32_t used = MIN_OF(atomic_load(&worker->segment->header->slot_used), worker->segment->slot_count);
        int r;

        for (uint32_t i = 0; i < used; i++) {
                struct roster_entry *entry;
                struct slot_view view;

                if (slot_read(worker->segment, i, &view) < 0 || view.quarantined || !view.wanted ||
                    view.pool_index != worker->pool_index)
                        continue;
                r = roster_read(worker->segment, i, &entry);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        continue;
                r = allow_source(worker, ruleset, entry);
                roster_entry_free(entry);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- the host ------------------------------------------------------------------------------------------ */
/* A sanitizer's runtime writes its reports, lists the threads, and reads programs for the names of functions. What it
 * is told by its own variables is in a build with one alone. */
#if SANITIZE_ADDRESS || SANITIZE_THREAD || SANITIZE_UNDEFINED
static void allow_reports(const struct ruleset *ruleset) {
        static const char *const variables[] = { "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS",
                                                 "UBSAN_OPTIONS" };
        static const char *const programs[] = { "/usr", "/lib", "/proc/self/exe" };

        for (size_t i = 0; i < ELEMENTSOF(variables); i++) {
                const char *at = getenv(variables[i]);
                char path[PATH_MAX];

                for (; at && (at = strstr(at, "log_path=")); at++) {
                        at += strlen("log_path=");
                        (void) snprintf(path, sizeof(path), "%.*s", (int) strcspn(at, ":"), at);
                        if (strrchr(path, '/'))
                                *strrchr(path, '/') = '\0';
                        /* To write, not to read: tests may have all that they hide from workers beneath it. */
                        (void) ruleset_allow(ruleset, path, RULESET_WRITE | RULESET_MAKE | RULESET_TRUNCATE,
                                             NULL);
                }
        }
        for (size_t i = 0; i < ELEMENTSOF(programs); i++)
                (void) ruleset_allow(ruleset, programs[i], RULESET_READ, NULL);
        (void) ruleset_allow(ruleset, "/proc", RULESET_LIST, NULL);
}
#else
static void allow_reports(const struct ruleset *ruleset) {
        (void) ruleset;
}
#endif

static int allow_host(const struct ruleset *ruleset) {
        static const char *const paths[] = { "/proc", "/dev/urandom" };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                r = ruleset_allow(ruleset, paths[i], RULESET_READ, NULL);
                if (is_short_of(r))
                        return r;
        }
        tzset(); /* log lines tell the local time */
        allow_reports(ruleset);
        return 0;
}

static int allow_all(struct worker *worker, const struct ruleset *ruleset) {
        int r;

        r = place_allow(&worker->files, ruleset, worker->directories.state,
                        RULESET_USE | RULESET_MAKE_FOLDER);
        if (r >= 0)
                r = allow_destination(worker, ruleset);
        if (r >= 0)
                r = allow_sources(worker, ruleset);
        if (r >= 0)
                r = allow_host(ruleset);
        return r;
}

/* ---- confined ---------------------------------------------------------------------------------------------- */
static bool directory_opens(const char *path) {
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd >= 0;
}

void confine_files_done(struct worker *worker) {
        free(TAKE(worker->files.places));
        worker->files.place_count = 0;
}

static int try_to_confine(struct worker *worker) {
        _cleanup_(ruleset_done) struct ruleset ruleset = { .fd = -1 };
        int r;

        r = ruleset_new(&ruleset);
        if (r >= 0)
                r = allow_all(worker, &ruleset);
        if (r >= 0)
                r = ruleset_enforce(&ruleset);
        return r;
}

int confine_files(struct worker *worker, struct failure *ret_failure) {
        int r;

        assert(worker->segment && worker->ref == 0);

        r = try_to_confine(worker);
        if (is_short_of(r))
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                   "cannot confine itself to its own files: %s", strerror(-r));
        worker->files.confinement = r >= 0                             ? CONFINEMENT_FILES
                                    : r == -ENOSYS || r == -EOPNOTSUPP ? CONFINEMENT_ABSENT
                                                                       : CONFINEMENT_REFUSED;
        if (r < 0)
                confine_files_done(worker);
        return 0;
}

void confine_files_tell(struct worker *worker) {
        atomic_store(&worker_record(worker)->confinement, worker->files.confinement);
}

void confine_files_opened(struct worker *worker, const char *directory) {
        struct confined_place *place;
        struct stat status;

        if (worker->files.confinement != CONFINEMENT_FILES || stat(directory, &status) < 0)
                return;
        place = place_find(&worker->files, &status);
        if (place)
                place->has_worked = true;
}

/* It is the ruleset that forbids it, and a new one would not: the user may read it, and there is no rule for it, or one
 * that has worked and was lost with its file system. stat() and access() do not ask the ruleset. */
static bool is_excluded(const struct worker *worker, const char *directory) {
        const struct confined_place *place;
        struct stat status;

        if (worker->files.confinement != CONFINEMENT_FILES || stat(directory, &status) < 0 ||
            !S_ISDIR(status.st_mode) || faccessat(AT_FDCWD, directory, R_OK | X_OK, AT_EACCESS) < 0)
                return false;
        place = place_find(&worker->files, &status);
        return (!place || place->has_worked) && !directory_opens(directory) && errno == EACCES;
}

int confine_files_explain(struct worker *worker, const char *name, const char *directory, int r,
                          struct failure *ret_failure) {
        struct layout_worker *record = worker_record(worker);

        assert(r < 0);

        if (r == -ENOENT ||
            !is_excluded(worker, directory)) /* stat() sees what is absent: nobody forbids it */
                return r;
        if (atomic_load(&record->renewal_ref) != worker->ref) {
                atomic_store(&record->renewal_ref, worker->ref);
                worker_notify_supervisor(worker);
        }
        return failure_set(
                ret_failure, -EACCES, FAILURE_UNAVAILABLE,
                "%s: this worker confined itself to its own directories (Landlock) before there was this "
                "one; another worker takes its place: %s",
                name, directory);
}
