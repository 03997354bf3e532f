/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and removes the sockets in the runtime directory, or takes one that systemd holds. Must not touch: any file
 * that is no socket and no link to one. */
#include "supervisor/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/io.h"

#define BACKLOG 16

static void strv_free(char ***list) {
        for (char **text = *list; text && *text; text++)
                free(*text);
        free(*list);
}
#define _cleanup_strv_ _cleanup_(strv_free)

static int address_fill(const char *directory, const char *name, struct sockaddr_un *ret_address,
                        struct failure *ret_failure) {
        int bytes;

        *ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        bytes = snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s/%s", directory, name);
        if (bytes < 0 || (size_t) bytes >= sizeof ret_address->sun_path)
                return failure_set(
                        ret_failure, -ENAMETOOLONG, FAILURE_STOP,
                        "the path of the runtime directory %s is too long for a socket in it (%zu bytes at "
                        "most); give a shorter one with --runtime",
                        directory, sizeof ret_address->sun_path - strlen(name) - 2);
        return 0;
}

static void socket_unlink(const char *path) {
        struct stat status;

        if (lstat(path, &status) >= 0 && (S_ISSOCK(status.st_mode) || S_ISLNK(status.st_mode)))
                (void) unlink(path);
}

int socket_make(const char *directory, const char *name, int type, mode_t mode, int *ret_fd,
                struct failure *ret_failure) {
        _cleanup_fd_ int fd = -1;
        struct sockaddr_un address;
        int r;

        assert(ret_fd);
        r = address_fill(directory, name, &address, ret_failure);
        if (r < 0)
                return r;
        socket_unlink(address.sun_path);
        fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = fd < 0 ? -errno : 0;
        if (r >= 0 && fchmod(fd, mode) < 0) /* before bind(): the file is never there with another mode */
                r = -errno;
        if (r >= 0 && bind(fd, (struct sockaddr *) &address, sizeof address) < 0)
                r = -errno;
        if (r >= 0 && chmod(address.sun_path, mode) < 0) /* bind() has taken the umask off it */
                r = -errno;
        if (r >= 0 && type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
                r = -errno;
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r), "cannot make the socket %s: %s",
                                   address.sun_path, strerror(-r));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

void socket_remove(const char *directory, const char *name) {
        struct sockaddr_un address;

        if (address_fill(directory, name, &address, NULL) >= 0)
                socket_unlink(address.sun_path);
}

/* ---- of systemd ----------------------------------------------------------------------------------------- */
/* The n-th that was handed over, by name. They are close-on-exec from now on: no worker is to have them. */
static int inherited_find(const char *name) {
        _cleanup_strv_ char **names = NULL;
        int count, found = -ENOENT;

        count = sd_listen_fds_with_names(0, &names);
        for (int i = 0; i < count; i++)
                if (strcmp(names[i], name) == 0 &&
                    sd_is_socket(SD_LISTEN_FDS_START + i, AF_UNIX, SOCK_STREAM, 1) > 0)
                        found = SD_LISTEN_FDS_START + i;
        return count < 0 ? count : found;
}

int socket_inherit(const char *directory, const char *name, int *ret_fd, struct failure *ret_failure) {
        struct sockaddr_un place, address = { 0 };
        socklen_t bytes = sizeof(address) - 1;
        int fd, r;

        fd = inherited_find(name);
        if (fd < 0)
                return fd;
        r = address_fill(directory, name, &place, ret_failure);
        if (r < 0)
                return r;
        if (getsockname(fd, (struct sockaddr *) &address, &bytes) < 0 || address.sun_path[0] != '/')
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "the socket %s that systemd hands over has no path", name);
        if (strcmp(address.sun_path, place.sun_path) != 0) {
                socket_unlink(place.sun_path);
                if (symlink(address.sun_path, place.sun_path) < 0)
                        return failure_set(ret_failure, -errno, failure_kind_of_errno(-errno),
                                           "cannot make the link %s: %s", place.sun_path, strerror(errno));
        }
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
                return failure_set(ret_failure, -errno, FAILURE_STOP, "fcntl: %s", strerror(errno));
        *ret_fd = fd;
        return 0;
}
