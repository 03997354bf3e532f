/* SPDX-License-Identifier: Apache-2.0 */
/* The out-of-memory killer: a worker is moved into a cgroup of its own that has no memory left to give. What it
 * has already stays where it was charged, so the next page that it wants is its end, by SIGKILL from the kernel,
 * whose reaper may free the page with the robust list before the thread has ended (S7).
 *
 * Version 2 where its memory controller can be had, else version 1. One that wanted nothing is moved back.
 * Must not touch: a cgroup that is not the run's own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/torture/torture.h"

#define PATH_BYTES 1024

struct memory_cage {
        char path[PATH_BYTES], home[PATH_BYTES]; /* ours, and where we came from */
        bool is_unified;
};

static int write_text(const char *directory, const char *name, const char *text) {
        char path[PATH_BYTES + 64];
        _cleanup_fd_ int fd = -1;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text) ? 0 : -errno;
}

static int write_pid(const char *directory, pid_t pid) {
        char text[32];

        (void) snprintf(text, sizeof(text), "%d", (int) pid);
        return write_text(directory, "cgroup.procs", text);
}

static bool has_file(const char *directory, const char *name) {
        char path[PATH_BYTES + 64];

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        return access(path, W_OK) == 0;
}

/* ---- where we are ----------------------------------------------------------------------------------- */
/* Our path in the hierarchy: the line "N:…memory…:PATH" or, unified, "0::PATH". */
static bool find_own_path(bool unified, char *ret_path, size_t bytes) {
        char line[PATH_BYTES];
        bool found = false;
        FILE *file = fopen("/proc/self/cgroup", "re");

        while (file && !found && fgets(line, sizeof(line), file)) {
                char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

                if (!path)
                        continue;
                *path++ = '\0';
                path[strcspn(path, "\n")] = '\0';
                found = unified ? names[1] == '\0' : strstr(names + 1, "memory") != NULL;
                if (found)
                        (void) snprintf(ret_path, bytes, "%s", path);
        }
        if (file)
                (void) fclose(file);
        return found;
}

static bool find_mount(bool unified, char *ret_path, size_t bytes) {
        char line[4096], type[64], options[1024], place[PATH_BYTES / 2];
        bool found = false;
        FILE *file = fopen("/proc/self/mounts", "re");

        while (file && !found && fgets(line, sizeof(line), file))
                found = sscanf(line, "%*s %511s %63s %1023s", place, type, options) == 3 &&
                        (unified ? strcmp(type, "cgroup2") == 0
                                 : strcmp(type, "cgroup") == 0 && strstr(options, "memory"));
        if (file)
                (void) fclose(file);
        if (found)
                (void) snprintf(ret_path, bytes, "%s", place);
        return found;
}

static bool make_cage(struct memory_cage *cage, bool unified) {
        char mount[PATH_BYTES / 2], own[PATH_BYTES / 4];
        const char *limit = unified ? "memory.max" : "memory.limit_in_bytes";

        if (!find_mount(unified, mount, sizeof(mount)) || !find_own_path(unified, own, sizeof(own)))
                return false;
        *cage = (struct memory_cage){ .is_unified = unified };
        (void) snprintf(cage->home, sizeof(cage->home), "%s%s", mount, own);
        if (access(cage->home, F_OK) < 0) /* a container may see another root than its own */
                (void) snprintf(cage->home, sizeof(cage->home), "%s", mount);
        (void) snprintf(cage->path, sizeof(cage->path), "%.900s/baton-torture-%d", cage->home,
                        (int) getpid());
        if (mkdir(cage->path, 0755) < 0)
                return false;
        if (unified && !has_file(cage->path, limit))
                (void) write_text(cage->home, "cgroup.subtree_control", "+memory");
        if (has_file(cage->path, limit))
                return true;
        (void) rmdir(cage->path);
        return false;
}

bool harm_memory_available(struct torture *torture, char *ret_reason, size_t bytes) {
        struct memory_cage *cage = calloc(1, sizeof(*cage));

        assert(cage);
        if (geteuid() != 0)
                (void) snprintf(ret_reason, bytes, "only root may make a cgroup");
        else if (make_cage(cage, true) || make_cage(cage, false)) {
                torture->cage = cage;
                return true;
        } else
                (void) snprintf(
                        ret_reason, bytes,
                        "no cgroup with a memory limit can be made (version 2 or 1): none is mounted, or it "
                        "may not be written");
        free(cage);
        return false;
}

/* ---- one worker --------------------------------------------------------------------------------------- */
static int set_limit(const struct memory_cage *cage, const char *text) {
        if (cage->is_unified)
                (void) write_text(cage->path, "memory.swap.max", "0");
        return write_text(cage->path, cage->is_unified ? "memory.max" : "memory.limit_in_bytes", text);
}

enum harm_result harm_memory(struct torture *torture, const struct action *action) {
        size_t target = 0;
        pid_t pid = harm_choose_worker(torture, action->picks[0], &target);

        if (pid == 0 || !harm_allows(torture, target, 1))
                return HARM_NOT_YET;
        victim_doom(torture, pid);
        victim_note(torture, pid);
        torture->caged = pid;
        if (set_limit(torture->cage, "0") < 0 || write_pid(torture->cage->path, pid) < 0) {
                (void) snprintf(torture->said, sizeof(torture->said), "the cgroup refuses: %s",
                                strerror(errno));
                victim_spare(torture, pid);
                return HARM_NOT;
        }
        torture->concerned = 1U << target;
        (void) snprintf(torture->said, sizeof(torture->said), "for worker %d of %s", (int) pid,
                        targets[target].name);
        return HARM_DONE;
}

void harm_memory_end(struct torture *torture, const struct action *action) {
        struct memory_cage *cage = torture->cage;

        (void) action;
        if (!process_is_alive(torture->caged)) {
                torture->counts.workers_out_of_memory++;
                return;
        }
        torture_log(torture, "worker %d wanted no memory", (int) torture->caged);
        (void) set_limit(cage, cage->is_unified ? "max" : "-1");
        (void) write_pid(cage->home, torture->caged);
        victim_spare(torture, torture->caged);
}

void harm_memory_done(struct torture *torture) {
        if (!torture->cage)
                return;
        (void) rmdir(torture->cage->path);
        free(torture->cage);
        torture->cage = NULL;
}
