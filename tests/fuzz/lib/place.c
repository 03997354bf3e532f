/* SPDX-License-Identifier: Apache-2.0 */
/* A directory on tmpfs for the files of a target; see fuzz.h. Must not touch: anything outside of it. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/fuzz/lib/fuzz.h"

static char place[64];
static pid_t place_owner;

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *ftw) {
        (void) status;
        (void) flag;
        return ftw->level == 0 ? 0 : remove(path);
}

static void place_remove(void) {
        if (getpid() != place_owner)
                return;
        (void) nftw(place, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        (void) rmdir(place);
}

const char *place_path(void) {
        if (place[0])
                return place;
        (void) snprintf(place, sizeof(place), "%s/baton-fuzz.XXXXXX",
                        access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        fuzz_must(mkdtemp(place), "mkdtemp %s: %m", place);
        place_owner = getpid();
        (void) atexit(place_remove);
        return place;
}

const char *place_file(const char *name) {
        static char paths[4][320];
        static unsigned turn;
        char *path = paths[turn++ % ELEMENTSOF(paths)];

        (void) snprintf(path, sizeof(paths[0]), "%s/%s", place_path(), name);
        return path;
}

void place_write(const char *name, const void *data, size_t bytes) {
        int fd = open(place_file(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

        fuzz_must(fd >= 0, "%s: %m", name);
        fuzz_must(fd_pwrite_all(fd, data, bytes, 0) >= 0, "%s: %m", name);
        (void) close(fd);
}

void place_empty(const char *name) {
        (void) nftw(name ? place_file(name) : place_path(), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
