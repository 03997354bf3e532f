/* SPDX-License-Identifier: Apache-2.0 */
/* What a supervisor that is turned by hand tells systemd: the test has its notify socket. */
#pragma once

#include "tests/unit/test_supervisor_support.h"

struct notices {
        int fd;
        unsigned ready, watchdog, stopping;
        char status[1024]; /* the last one */
};

static inline void notices_open(struct notices *notices) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char path[600];

        *notices = (struct notices){ .fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
        (void) mkdir(place.state, 0750);
        (void) snprintf(path, sizeof path, "%s/sd", place.state);
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
        cr_assert_eq(bind(notices->fd, (struct sockaddr *) &address, sizeof address), 0);
        (void) setenv("NOTIFY_SOCKET", path, 1);
}

static inline void notices_read(struct notices *notices) {
        char text[1024];
        ssize_t bytes;

        while ((bytes = recv(notices->fd, text, sizeof text - 1, 0)) > 0) {
                text[bytes] = '\0';
                notices->ready += strcmp(text, "READY=1") == 0;
                notices->watchdog += strcmp(text, "WATCHDOG=1") == 0;
                notices->stopping += strcmp(text, "STOPPING=1") == 0;
                if (strncmp(text, "STATUS=", 7) == 0)
                        (void) snprintf(notices->status, sizeof notices->status, "%s", text);
        }
}
