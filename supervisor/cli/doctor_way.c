/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a file, step by step through every symbolic link: what stands at its end, and whether somebody could put
 * another thing there. A link's own mode says nothing; who may replace it is who may write in its directory. Must not
 * touch: anything; each step is opened by O_PATH. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macro.h"
#include "supervisor/cli/doctor.h"

#define LINKS_MAX 40 /* the kernel's */

bool doctor_is_foreign(uid_t uid) {
        return uid != 0 && uid != geteuid();
}

/* In a sticky directory an entry is its owner's and the directory's; the two of every directory are the kernel's. */
static bool may_be_replaced(const struct stat *directory, const char *name, const struct stat *entry) {
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                return false;
        if (doctor_is_foreign(directory->st_uid))
                return true;
        if ((directory->st_mode & 022) == 0)
                return false;
        return (directory->st_mode & S_ISVTX) == 0 || doctor_is_foreign(entry->st_uid);
}

/* The first that is found is told. */
static void step_note(int fd, const char *name, struct doctor_way *way) {
        char link[64], directory[PATH_MAX];
        ssize_t bytes;

        if (way->open_step[0])
                return;
        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        bytes = readlink(link, directory, sizeof(directory) - 1);
        directory[bytes < 0 ? 0 : bytes] = '\0';
        (void) snprintf(way->open_step, sizeof(way->open_step), "%s/%s",
                        strcmp(directory, "/") == 0 ? "" : directory, name);
}

static int path_follow(int *fd, const char *path, struct doctor_way *way);

static int link_follow(int *fd, const char *name, struct doctor_way *way) {
        char target[PATH_MAX];
        ssize_t bytes;

        if (++way->link_count > LINKS_MAX)
                return -ELOOP;
        bytes = readlinkat(*fd, name, target, sizeof(target) - 1);
        if (bytes < 0)
                return -errno;
        target[bytes] = '\0';
        return path_follow(fd, target, way);
}

/* *fd: the directory, and then what `name` leads to. */
static int step_follow(int *fd, const char *name, struct doctor_way *way) {
        struct stat directory;
        int next;

        if (fstat(*fd, &directory) < 0 || fstatat(*fd, name, &way->status, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (may_be_replaced(&directory, name, &way->status))
                step_note(*fd, name, way);
        if (S_ISLNK(way->status.st_mode))
                return link_follow(fd, name, way);
        next = openat(*fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
                return -errno;
        fd_close(fd);
        *fd = next;
        return 0;
}

static int path_follow(int *fd, const char *path, struct doctor_way *way) {
        char name[NAME_MAX + 1];
        size_t length;
        int r = 0;

        if (path[0] == '/') {
                fd_close(fd);
                *fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (*fd < 0)
                        return -errno;
        }
        for (path += strspn(path, "/"); r >= 0 && *path; path += strspn(path, "/")) {
                length = strcspn(path, "/");
                if (length > NAME_MAX)
                        return -ENAMETOOLONG;
                (void) snprintf(name, sizeof(name), "%.*s", (int) length, path);
                path += length;
                r = step_follow(fd, name, way);
        }
        return r;
}

int doctor_way_follow(const char *path, struct doctor_way *ret_way) {
        struct doctor_way way = {};
        char absolute[PATH_MAX];
        _cleanup_fd_ int fd = -1;
        int r;

        if (path[0] != '/') { /* its directory has a way, too */
                if (!getcwd(absolute, sizeof(absolute)))
                        return -errno;
                r = path_follow(&fd, absolute, &way);
                if (r < 0)
                        return r;
        }
        r = path_follow(&fd, path, &way);
        if (r < 0)
                return r;
        *ret_way = way;
        return 0;
}
