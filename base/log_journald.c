/* SPDX-License-Identifier: Apache-2.0 */
/* The socket to journald, and one datagram for each entry.
 * Must not touch: memory of its own (no allocation); whoever reads at the other end. */

#include "base/log_journald.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macro.h"

/* Part of systemd's stable interface, and of every libsystemd. */
static const struct sockaddr_un address = { .sun_family = AF_UNIX,
                                            .sun_path = "/run/systemd/journal/socket" };

/* A queue that is full for so long is that of a journald that hangs; a burst of ours alone is read sooner. */
static const struct timeval patience = { .tv_usec = 100000 };

static int socket_fd = -1;   /* set before other threads are there */
static _Atomic bool is_hung; /* the last entry was not taken: the next waits no more */

/* JOURNAL_STREAM is "device:inode" of the stream that systemd gave us; stderr may since have been
 * directed elsewhere, and then a person reads it. */
static bool stderr_is_journald(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat status;

        if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
                return false;
        if (fstat(STDERR_FILENO, &status) < 0)
                return false;
        return status.st_dev == device && status.st_ino == inode;
}

bool log_journald_open(void) {
        if (!stderr_is_journald())
                return false;
        if (socket_fd >= 0)
                return true;
        socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (socket_fd < 0)
                return false;
        if (setsockopt(socket_fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) >= 0)
                return true;
        fd_close(&socket_fd);
        return false;
}

int log_journald_send(const struct iovec *fields, int count) {
        static char newline[] = "\n";
        struct iovec iov[2 * LOG_JOURNALD_FIELDS_MAX];
        const struct msghdr message = { .msg_name = (void *) &address,
                                        .msg_namelen = sizeof address,
                                        .msg_iov = iov,
                                        .msg_iovlen = 2 * (size_t) count };
        int r;

        assert(socket_fd >= 0);
        assert(count > 0 && count <= LOG_JOURNALD_FIELDS_MAX);

        for (int i = 0; i < count; i++) {
                iov[2 * i] = fields[i];
                iov[2 * i + 1] = (struct iovec){ .iov_base = newline, .iov_len = 1 };
        }
        do
                r = sendmsg(socket_fd, &message, MSG_NOSIGNAL | (is_hung ? MSG_DONTWAIT : 0)) < 0 ? -errno
                                                                                                  : 0;
        while (r == -EINTR);
        is_hung = r == -EAGAIN;
        return r;
}
