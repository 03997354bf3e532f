/* SPDX-License-Identifier: Apache-2.0 */
/* From the kernel's hands to a mounted disk with an installation on it.
 * Must not touch: an installation that is there already. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/powercut/guest/guest.h"

#define DEVICE "/dev/vda"
#define READY DISK "/ready"

static const char config[] = "[destination events]\n"
                             "url = sqlite:" DISK "/events.db\n"
                             "workers = 2\n"
                             "[destination lines]\n"
                             "url = file:" DISK "/lines?rotate-size=128K\n"
                             "workers = 2\n"
                             "[source orders]\n"
                             "url = sqlite:" DISK "/orders.db?clean-up=delete\n"
                             "to = events\n"
                             "[source payments]\n"
                             "url = sqlite:" DISK "/payments.db\n"
                             "to = events\n"
                             "[source clicks]\n"
                             "url = sqlite:" DISK "/clicks.db?clean-up=delete\n"
                             "to = lines\n"
                             "[source refunds]\n"
                             "url = sqlite:" DISK "/refunds.db\n"
                             "to = events, lines\n";

static void mount_or_complain(const char *what, const char *where, const char *type, const char *options) {
        (void) mkdir(where, 0755);
        if (mount(what, where, type, 0, options) < 0)
                say("failed cannot mount %s on %s (%s): %s", what, where, options, strerror(errno));
}

/* Loaded in the order of /modules/list, which the host made from the kernel's own dependencies. */
static void load_modules(void) {
        FILE *list = fopen("/modules/list", "re");
        char name[128], path[160];

        while (list && fscanf(list, "%127s", name) == 1) {
                int fd;

                (void) snprintf(path, sizeof(path), "/modules/%s", name);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
                        say("module %s: %s", name, strerror(errno));
                if (fd >= 0)
                        (void) close(fd);
        }
        if (list)
                (void) fclose(list);
}

void system_start(void) {
        int console;

        (void) mkdir("/dev", 0755);
        (void) mount("dev", "/dev", "devtmpfs", 0, "");
        console = open("/dev/console", O_RDWR);
        if (console >= 0) {
                (void) dup2(console, STDIN_FILENO);
                (void) dup2(console, STDOUT_FILENO);
                (void) dup2(console, STDERR_FILENO);
                if (console > 2)
                        (void) close(console);
        }
        mount_or_complain("proc", "/proc", "proc", "");
        mount_or_complain("sys", "/sys", "sysfs", "");
        mount_or_complain("run", "/run", "tmpfs", "mode=0755");
        mount_or_complain("tmp", "/tmp", "tmpfs", "mode=1777");
        (void) mkdir(RUNTIME, 0755);
        load_modules();
}

static void write_setting(const char *path, const char *value) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, value, strlen(value)) < 0)
                say("cannot set %s: %s", path, strerror(errno));
        if (fd >= 0)
                (void) close(fd);
}

void disk_mount(struct guest *guest, const char *options) {
        const char *early = getenv("early");

        for (unsigned i = 0; access(DEVICE, F_OK) < 0 && i < 3000; i++)
                (void) usleep(20000);
        (void) mkdir(DISK, 0755);
        if (mount(DEVICE, DISK, "ext4", 0, options ? options : "") < 0)
                guest_fail(guest, "cannot mount the disk (%s): %s", options, strerror(errno));
        if (early && early[0] == '1') {
                write_setting("/proc/sys/vm/dirty_expire_centisecs", "10");
                write_setting("/proc/sys/vm/dirty_writeback_centisecs", "5");
        }
}

static void make_source(struct guest *guest, const struct source *source) {
        const char *const create[] = { "/bin/baton", "outbox", "create", source->file, NULL };
        int r = program_run(guest, create);

        if (r != 0)
                guest_fail(guest, "baton outbox create %s: exit %d", source->file, r);
}

/* The host begins to count when Baton starts, so this is never cut. */
void installation_make(struct guest *guest) {
        FILE *file;

        if (access(READY, F_OK) == 0)
                return;
        say("phase install");
        for (unsigned i = 0; i < SOURCE_COUNT; i++)
                make_source(guest, &sources[i]);
        application_install(guest);
        (void) mkdir(STATE, 0755);
        (void) mkdir(DISK "/lines", 0755);
        file = fopen(CONFIG, "we");
        if (!file || fputs(config, file) < 0 || fclose(file) != 0)
                guest_fail(guest, "cannot write " CONFIG);
        sync();
        file = fopen(READY, "we");
        if (!file || fclose(file) != 0)
                guest_fail(guest, "cannot write " READY);
        sync();
}
