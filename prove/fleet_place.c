/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of runs, made and removed; see fleet_place.h. */
#include "prove/fleet_place.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

static int root_make(char *path, size_t path_bytes, const char *base) {
        if ((size_t) snprintf(path, path_bytes, "%s/baton-prove-XXXXXX", base) >= path_bytes)
                return -ENAMETOOLONG;
        return mkdtemp(path) ? 0 : -errno;
}

int fleet_root_make(struct fleet_root *root, const char *base) {
        const char *told = getenv("TMPDIR");
        int r;

        if (!base)
                base = told && told[0] ? told : "/tmp";
        r = root_make(root->directory, sizeof(root->directory), base);
        if (r < 0)
                return r;
        /* As in service, the segment stands on tmpfs where there is one. */
        r = root_make(root->runtime, sizeof(root->runtime),
                      access("/dev/shm", W_OK) == 0 ? "/dev/shm" : root->directory);
        if (r < 0)
                (void) rmdir(root->directory);
        return r;
}

void fleet_root_clear(const struct fleet_root *root) {
        if (root->runtime[0])
                (void) rmdir(root->runtime);
        if (root->directory[0])
                (void) rmdir(root->directory);
}

int fleet_place_make(const struct fleet_root *root, size_t index, struct fleet_place *ret_place) {
        struct fleet_place place;

        (void) snprintf(place.directory, sizeof(place.directory), "%s/%zu", root->directory, index);
        (void) snprintf(place.runtime, sizeof(place.runtime), "%s/%zu", root->runtime, index);
        (void) snprintf(place.output, sizeof(place.output), "%s/output.log", place.directory);
        if (mkdir(place.directory, 0755) < 0 || mkdir(place.runtime, 0700) < 0)
                return -errno;
        *ret_place = place;
        return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        (void) status, (void) kind, (void) walk;
        (void) remove(path);
        return 0;
}

static void copy_segment(const struct fleet_place *place) {
        char from[WORLD_PATH_BYTES + 32], to[WORLD_PATH_BYTES + 32];
        _cleanup_fd_ int in = -1, out = -1;
        struct stat status;

        (void) snprintf(from, sizeof(from), "%s/%s", place->runtime, SEGMENT_FILE_NAME);
        (void) snprintf(to, sizeof(to), "%s/%s", place->directory, SEGMENT_FILE_NAME);
        in = open(from, O_RDONLY | O_CLOEXEC);
        out = in >= 0 ? open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640) : -1;
        if (out >= 0 && fstat(in, &status) == 0)
                while (sendfile(out, in, NULL, (size_t) status.st_size) > 0)
                        ;
}

void fleet_place_clear(const struct fleet_place *place, bool is_kept) {
        if (is_kept)
                copy_segment(place);
        else
                (void) nftw(place->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        (void) nftw(place->runtime, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
