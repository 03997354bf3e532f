/* SPDX-License-Identifier: Apache-2.0 */
/* Programs as children of init. No limit of time: the machine is slow, and the host hears if all is still.
 * Must not touch: a database (this process forks). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/powercut/guest/guest.h"

#define OUTPUT "/tmp/output"

static int exit_code(int status) {
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

pid_t program_start(const char *const *argv, const char *output) {
        pid_t pid = fork();
        int fd;

        if (pid != 0)
                return pid;
        fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
        (void) dup2(fd, STDOUT_FILENO);
        (void) dup2(fd, STDERR_FILENO);
        (void) close_range(3, ~0U, 0);
        (void) execv(argv[0], (char **) argv);
        dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

static int wait_for(pid_t pid) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return 255;
        return exit_code(status);
}

int program_run(struct guest *guest, const char *const *argv) {
        pid_t pid = program_start(argv, OUTPUT);
        int r = pid < 0 ? 255 : wait_for(pid), fd;
        ssize_t n;

        fd = open(OUTPUT, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? 0 : read(fd, guest->world.output, sizeof(guest->world.output) - 1);
        guest->world.output[n > 0 ? n : 0] = '\0';
        if (fd >= 0)
                (void) close(fd);
        return r;
}

int program_end(pid_t *pid, int signal_number) {
        pid_t ended = *pid;

        *pid = 0;
        (void) kill(ended, signal_number);
        return wait_for(ended);
}

void children_reap(struct guest *guest) {
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                if (pid == guest->batond && guest->may_end) {
                        say("batond ended by itself (%d)", exit_code(status));
                        guest->batond = 0;
                } else if (pid == guest->batond)
                        guest_fail(guest, "batond ended by itself (%d)", exit_code(status));
                for (unsigned i = 0; i < SOURCE_COUNT; i++)
                        if (pid == guest->writers[i])
                                guest_fail(guest, "the writer of %s ended by itself (%d)", sources[i].name,
                                           exit_code(status));
        }
}
