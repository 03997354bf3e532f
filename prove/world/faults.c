/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the failing disk (preload/faults.c) of a world when and how to fail.
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

static void find_library(const struct world *world, char *ret_path, size_t bytes) {
        (void) snprintf(ret_path, bytes, "%s/baton-faults.so", world->bin);
}

void world_faulty(struct world *world) {
        char library[PATH_MAX];

        find_library(world, library, sizeof(library));
        if (access(library, R_OK) < 0)
                world_fail(world, "%s is missing (make tests builds it)", library);
        world->is_faulty = true;
}

void world_faults_environment(const struct world *world) {
        const char *options = getenv("ASAN_OPTIONS");
        char library[PATH_MAX], text[512];

        find_library(world, library, sizeof(library));
        (void) setenv("LD_PRELOAD", library, 1);
        (void) setenv("BATON_FAULTS", world_path(world, TRIGGER), 1);
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
