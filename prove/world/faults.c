/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the failing disk (preload/faults.c) of a world when and how to fail, its wall clock
 * (preload/clock.c) what time it is, and copied files (preload/identity.c) which ones they are.
 * Must not touch: the environment of anything but batond, whose workers inherit it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/world/world.h"

#define TRIGGER "faults"
#define CLOCK "clock"
#define IDENTITIES "identities"

static void find_library(const struct world *world, const char *name, char *ret_path, size_t bytes) {
        (void) snprintf(ret_path, bytes, "%s/%s", world->bin, name);
}

static void require_library(struct world *world, const char *name) {
        char library[PATH_MAX];

        find_library(world, name, library, sizeof(library));
        if (access(library, R_OK) < 0)
                world_fail(world, "%s is missing (make builds it)", library);
}

void world_faulty(struct world *world) {
        require_library(world, "baton-faults.so");
        world->is_faulty = true;
}

void world_jumps(struct world *world) {
        require_library(world, "baton-clock.so");
        world->jumps = true;
        world_clock_set(world, 0);
}

/* The file is mapped by those that run: it is written in place, whole, by one store of 8 bytes. */
void world_clock_set(struct world *world, int64_t ahead_sec) {
        _cleanup_fd_ int fd = open(world_path(world, CLOCK), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        if (fd < 0 || fd_pwrite_all(fd, &ahead_sec, sizeof(ahead_sec), 0) < 0)
                world_fail(world, "cannot set the clock: %s", strerror(errno));
}

void world_identity(struct world *world, const char *file, const char *words) {
        _cleanup_fd_ int fd = open(world_path(world, IDENTITIES), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                                   0644);
        struct stat status;

        require_library(world, "baton-identity.so");
        world->has_identities = true;
        if (fd < 0 || stat(file, &status) < 0 ||
            dprintf(fd, "%llu %s\n", (unsigned long long) status.st_ino, words) < 0)
                world_fail(world, "cannot note what %s is: %s", file, strerror(errno));
}

void world_preload(const struct world *world) {
        const char *options = getenv("ASAN_OPTIONS");
        const struct {
                bool is_wanted;
                const char *name;
        } libraries[] = {
                { world->is_faulty, "baton-faults.so" },
                { world->jumps, "baton-clock.so" },
                { world->has_identities, "baton-identity.so" },
        };
        char library[PATH_MAX], text[PATH_MAX * ELEMENTSOF(libraries)] = "";
        size_t used = 0;

        for (size_t i = 0; i < ELEMENTSOF(libraries); i++) {
                if (!libraries[i].is_wanted)
                        continue;
                find_library(world, libraries[i].name, library, sizeof(library));
                used += (size_t) snprintf(text + used, sizeof(text) - used, "%s%s", used ? ":" : "", library);
        }
        (void) setenv("LD_PRELOAD", text, 1);
        if (world->is_faulty)
                (void) setenv("BATON_FAULTS", world_path(world, TRIGGER), 1);
        if (world->jumps)
                (void) setenv("BATON_CLOCK", world_path(world, CLOCK), 1);
        if (world->has_identities)
                (void) setenv("BATON_IDENTITIES", world_path(world, IDENTITIES), 1);
        /* A sanitizer's runtime wants to be first; it may come second to this. */
        (void) snprintf(text, sizeof(text), "%s%sverify_asan_link_order=0", options ? options : "",
                        options ? ":" : "");
        (void) setenv("ASAN_OPTIONS", text, 1);
}

/* In one step: a process sees all rules or none. */
void world_faults(struct world *world, const char *rules) {
        _cleanup_fd_ int directory = open(world->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        assert(world->is_faulty);
        if (strstr(rules, " SEGV "))
                reports_expect_fault(SIGSEGV);
        if (strstr(rules, " ABRT "))
                reports_expect_fault(SIGABRT);
        (void) unlink(world_path(world, TRIGGER ".hits"));
        r = directory < 0 ? -errno : file_replace_text(directory, TRIGGER, rules, 0644);
        if (r < 0)
                world_fail(world, "cannot write the rules: %s", strerror(-r));
}

void world_faults_end(struct world *world) {
        (void) unlink(world_path(world, TRIGGER));
}

uint64_t world_fault_count(const struct world *world) {
        struct stat status;

        return stat(world_path(world, TRIGGER ".hits"), &status) == 0 ? (uint64_t) status.st_size : 0;
}
