/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual machine as a child process: started, listened to, killed.
 * Must not touch: the network, the image. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/powercut/host/machine.h"

#define CONSOLE_PIPE_BYTES (1 << 20) /* so that qemu never waits for us to read it */

/* The disk's socket is descriptor 3 in the child. cache.no-flush and friends stay at their defaults: each
 * write of the guest is sent at once, each flush of the guest is sent as one. */
_noreturn_ static void become_machine(const struct machine_files *files, const char *words, int console_fd,
                                      int disk_fd) {
        char append[1024];
        const char *argv[] = { "qemu-system-x86_64",
                               "-accel",
                               "tcg",
                               "-cpu",
                               "max",
                               "-machine",
                               "q35",
                               "-smp",
                               "2",
                               "-m",
                               "512",
                               "-nodefaults",
                               "-no-user-config",
                               "-nographic",
                               "-no-reboot",
                               "-serial",
                               "stdio",
                               "-kernel",
                               files->kernel,
                               "-initrd",
                               files->initramfs,
                               "-append",
                               append,
                               "-blockdev",
                               "driver=nbd,node-name=disk,server.type=fd,server.str=3",
                               "-device",
                               "virtio-blk-pci,drive=disk,write-cache=on",
                               NULL };

        (void) snprintf(append, sizeof(append), "console=ttyS0 quiet panic=-1 random.trust_cpu=on %s", words);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
        (void) dup2(console_fd, STDOUT_FILENO);
        (void) dup2(console_fd, STDERR_FILENO);
        if (disk_fd != 3)
                (void) dup2(disk_fd, 3);
        else
                (void) fcntl(3, F_SETFD, 0);
        (void) close_range(4, ~0U, 0);
        (void) execvp(argv[0], (char **) argv);
        dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

int machine_start(struct machine *machine, const struct machine_files *files, const char *words,
                  struct disk *disk) {
        int sockets[2], console[2];

        *machine = (struct machine){ .console_fd = -1, .disk_fd = -1 };
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
                return -errno;
        if (pipe2(console, O_CLOEXEC) < 0) {
                (void) close(sockets[0]);
                (void) close(sockets[1]);
                return -errno;
        }
        (void) fcntl(console[0], F_SETPIPE_SZ, CONSOLE_PIPE_BYTES);
        (void) fcntl(console[0], F_SETFL, O_NONBLOCK);
        machine->console_fd = console[0];
        machine->disk_fd = sockets[0];
        machine->pid = fork();
        if (machine->pid == 0)
                become_machine(files, words, console[1], sockets[1]);
        (void) close(sockets[1]);
        (void) close(console[1]);
        if (machine->pid > 0)
                return nbd_begin(&machine->nbd, machine->disk_fd, disk);
        machine->pid = 0;
        return -EAGAIN;
}

void machine_kill(struct machine *machine) {
        if (machine->pid == 0)
                return;
        (void) kill(machine->pid, SIGKILL);
        while (waitpid(machine->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        machine->pid = 0;
}

void machine_end(struct machine *machine) {
        machine_kill(machine);
        nbd_end(&machine->nbd);
        fd_close(&machine->console_fd);
        fd_close(&machine->disk_fd);
}

/* A line that is too long is given in pieces. */
int machine_line(struct machine *machine, const char **ret_line) {
        for (;;) {
                char byte;
                ssize_t n = read(machine->console_fd, &byte, 1);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EPIPE;
                if (byte == '\r' || byte == '\0')
                        continue;
                if (byte != '\n')
                        machine->line[machine->line_bytes++] = byte;
                if (byte != '\n' && machine->line_bytes < sizeof(machine->line) - 1)
                        continue;
                machine->line[machine->line_bytes] = '\0';
                machine->line_bytes = 0;
                *ret_line = machine->line;
                return 0;
        }
}
