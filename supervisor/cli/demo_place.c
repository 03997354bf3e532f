/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's place: a directory of its own under $TMPDIR, with outboxes, destination, state and
 * configuration in it; the segment in /dev/shm where that is memory and the directory is not.
 * Must not touch: anything outside of the directories that it made itself. */
#include <errno.h>
#include <ftw.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "include/baton/outbox.h"
#include "supervisor/cli/demo.h"

#define MEMORY_DIRECTORY "/dev/shm"

const char *const demo_sessions[DEMO_SESSION_COUNT] = { "orders", "payments" };

static int join(char ret_path[DEMO_PATH_BYTES], const char *directory, const char *name) {
        return (size_t) snprintf(ret_path, DEMO_PATH_BYTES, "%s/%s", directory, name) < DEMO_PATH_BYTES
                       ? 0
                       : -ENAMETOOLONG;
}

void demo_outbox_path(const struct demo *demo, unsigned session, char ret_path[DEMO_PATH_BYTES]) {
        char name[64];
        int r;

        assert(session < DEMO_SESSION_COUNT);
        (void) snprintf(name, sizeof(name), "%s.db", demo_sessions[session]);
        r = join(ret_path, demo->directory, name);
        assert(r == 0); /* demo_place_make() has left room */
}

void demo_destination_path(const struct demo *demo, char ret_path[DEMO_PATH_BYTES]) {
        int r = join(ret_path, demo->directory, "events.db");

        assert(r == 0);
}

static bool is_memory(const char *path) {
        struct statfs st;

        return statfs(path, &st) == 0 && (st.f_type == TMPFS_MAGIC || st.f_type == RAMFS_MAGIC);
}

static int make_directories(struct demo *demo, struct failure *ret_failure) {
        const char *parent = getenv("TMPDIR");
        int r;

        if (!parent || parent[0] != '/')
                parent = "/tmp";
        /* Room for the names in it, and a limit of the kernel: a socket's path has 107 bytes. */
        if (strlen(parent) > 80)
                return failure_set(
                        ret_failure, -ENAMETOOLONG, FAILURE_STOP,
                        "the path %s is too long to make a socket below it; set TMPDIR to a shorter one",
                        parent);
        (void) snprintf(demo->directory, sizeof(demo->directory), "%s/baton-demo-XXXXXX", parent);
        if (!mkdtemp(demo->directory)) {
                r = -errno;
                demo->directory[0] = '\0';
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                   "cannot make a directory in %s: %s; set TMPDIR to one that can be written",
                                   parent, strerror(-r));
        }
        r = join(demo->state, demo->directory, "state");
        assert(r == 0);
        r = join(demo->runtime, demo->directory, "run");
        assert(r == 0);
        if (is_memory(demo->directory) || !is_memory(MEMORY_DIRECTORY))
                return 0;
        (void) snprintf(demo->runtime, sizeof(demo->runtime), MEMORY_DIRECTORY "/baton-demo-XXXXXX");
        demo->runtime_is_apart = mkdtemp(demo->runtime) != NULL;
        return demo->runtime_is_apart ? 0 : join(demo->runtime, demo->directory, "run");
}

static int write_configuration(const struct demo *demo, struct failure *ret_failure) {
        char path[DEMO_PATH_BYTES], destination[DEMO_PATH_BYTES], outbox[DEMO_PATH_BYTES];
        FILE *file;
        int r;

        r = join(path, demo->directory, "baton.conf");
        assert(r == 0);
        demo_destination_path(demo, destination);
        file = fopen(path, "wxe");
        if (!file)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE, "cannot write %s: %s", path,
                                   strerror(errno));
        fprintf(file, "[destination events]\nurl = sqlite:%s\nworkers = 1\n", destination);
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++) {
                demo_outbox_path(demo, i, outbox);
                fprintf(file, "\n[source %s]\nurl = sqlite:%s?table=outbox\nto = events\n", demo_sessions[i],
                        outbox);
        }
        r = fclose(file) == 0 ? 0 : -errno;
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_FULL, "cannot write %s: %s", path, strerror(-r));
        return 0;
}

int demo_place_make(struct demo *demo, struct failure *ret_failure) {
        char path[DEMO_PATH_BYTES];
        int r;

        r = make_directories(demo, ret_failure);
        if (r < 0)
                return r;
        if (mkdir(demo->state, 0700) < 0 || (!demo->runtime_is_apart && mkdir(demo->runtime, 0700) < 0))
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE,
                                   "cannot make a directory in %s: %s", demo->directory, strerror(errno));
        for (unsigned i = 0; i < DEMO_SESSION_COUNT; i++) {
                demo_outbox_path(demo, i, path);
                r = outbox_create(path, "outbox", ret_failure);
                if (r < 0)
                        return r;
        }
        return write_configuration(demo, ret_failure);
}

static int remove_step(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) st;
        (void) type;
        (void) ftw;
        return remove(path);
}

static void remove_tree(const char *path) {
        if (path[0] && nftw(path, remove_step, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
                fprintf(stderr, "baton demo: cannot remove all of %s: %m. Remove it by hand.\n", path);
}

void demo_place_remove(struct demo *demo) {
        if (demo->runtime_is_apart)
                remove_tree(demo->runtime);
        demo->runtime_is_apart = false;
        remove_tree(demo->directory);
        demo->directory[0] = '\0';
}

void demo_log_show(const struct demo *demo) {
        char lines[20][256], path[DEMO_PATH_BYTES];
        size_t count = 0;
        FILE *file;

        if (demo->directory[0] == '\0' || join(path, demo->directory, "batond.log") < 0)
                return;
        file = fopen(path, "re");
        if (!file)
                return;
        while (fgets(lines[count % ELEMENTSOF(lines)], sizeof(lines[0]), file))
                count++;
        (void) fclose(file);
        if (count > 0)
                fprintf(stderr, "the last lines of %s:\n", path);
        for (size_t i = count > ELEMENTSOF(lines) ? count - ELEMENTSOF(lines) : 0; i < count; i++)
                fprintf(stderr, "  %s", lines[i % ELEMENTSOF(lines)]);
}
