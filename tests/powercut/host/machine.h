/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual machine: qemu, software emulation, one disk (ours), one serial console, nothing else.
 * Must not touch: the network (there is none), the image (the disk is served to it over a socket). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "tests/powercut/host/disk.h"
#include "tests/powercut/host/nbd.h"

struct machine_files {
        const char *kernel, *initramfs;
};

struct machine {
        pid_t pid; /* 0: off */
        int console_fd;
        int disk_fd;
        struct nbd nbd;
        char line[1024];
        size_t line_bytes;
};

/* Boots; `words` are the end of the kernel's command line. 0 or -errno. */
int machine_start(struct machine *machine, const struct machine_files *files, const char *words,
                  struct disk *disk);
/* Pulls the plug: SIGKILL, reaped. What qemu had not yet sent to the disk is gone; what it had printed can
 * still be read. */
void machine_kill(struct machine *machine);
void machine_end(struct machine *machine); /* the same, and closes everything */
#define _cleanup_machine_ _cleanup_(machine_end)

/* 0 and the next line of the console, without its end, valid until the next call; -EAGAIN: there is none
 * now; -EPIPE: the machine is off; -errno. */
int machine_line(struct machine *machine, const char **ret_line);
