/* SPDX-License-Identifier: Apache-2.0 */
/* Harm besides the power cut: a worker killed in a transaction, a full disk.
 * Must not touch: a process that is no worker of ours. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "tests/powercut/guest/guest.h"

#define BALLAST DISK "/ballast"
#define LOOKS 2000 /* between two looks of the clerk */

/* No event is hit again before it was moved: three such deaths on one event rightly stop a session (M6). */
void harm_takeover(struct guest *guest) {
        pid_t pid;

        do {
                watch(guest, 1);
                for (unsigned i = 0; i < LOOKS && (pid = any_in_transaction(&guest->world)) == 0; i++)
                        (void) usleep(200);
        } while (pid == 0 || !nobody_is_accused(&guest->world));
        (void) kill(pid, SIGKILL);
        say("phase killed");
}

/* Large pieces first, then what is left of them. */
void harm_full(struct guest *guest) {
        int fd = open(BALLAST, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        off_t at = 0;

        if (fd < 0)
                guest_fail(guest, "cannot make " BALLAST);
        for (off_t piece = 64 << 20; piece >= 4096; piece /= 2)
                while (fallocate(fd, 0, at, piece) == 0)
                        at += piece;
        if (errno != ENOSPC)
                guest_fail(guest, "cannot fill the disk");
        (void) close(fd);
        say("phase full");
}

bool harm_is_full(void) {
        return access(BALLAST, F_OK) == 0;
}

void harm_room(struct guest *guest) {
        if (unlink(BALLAST) < 0)
                guest_fail(guest, "cannot remove " BALLAST);
        say("phase room");
}
