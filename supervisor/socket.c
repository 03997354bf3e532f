/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and removes the sockets in the runtime directory. Must not touch: any file that is no socket. */
#include "supervisor/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"

#define BACKLOG 16

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

        if (lstat(path, &status) >= 0 && S_ISSOCK(status.st_mode))
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
