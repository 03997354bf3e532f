/* SPDX-License-Identifier: Apache-2.0 */
/* U1: the kernel ends one worker for want of memory, and the service goes on (OOMPolicy=continue). What fills the memory
 * is a process of ours in the service's group; whom the kernel then picks is said by oom_score_adj. Nothing in the
 * product knows of it.
 *
 * By MemoryMax= where systemd has a memory controller here. In a container that has none the kernel may still have the
 * legacy one: then the service's processes are put into a group of our own there, and systemd is not asked anything.
 * Must not touch: memory outside of that group. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/systemd/guest/guest.h"

#define LEGACY "/sys/fs/cgroup/memory"
#define FILLED "/run/baton-test-filled"
#define LIMIT_BYTES (64U << 20)
#define CHUNK_BYTES (64U << 10)

struct limited {
        char group[512];   /* directory */
        char counter[600]; /* the file that counts kills */
        bool is_systemd;
};

static void write_file(struct guest *guest, const char *directory, const char *name, const char *text) {
        char path[700];
        _cleanup_fd_ int fd = -1;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t) strlen(text))
                world_fail(&guest->world, "%s <- %s: %m", path, text);
}

static unsigned long kills(struct guest *guest, const struct limited *limited) {
        _cleanup_fd_ int fd = open(limited->counter, O_RDONLY | O_CLOEXEC);
        char text[512] = "";
        unsigned long count = 0;
        const char *at;

        if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
                world_fail(&guest->world, "%s: %m", limited->counter);
        at = strstr(text, "oom_kill ");
        if (!at || sscanf(at, "oom_kill %lu", &count) != 1)
                world_fail(&guest->world, "%s does not count kills: %s", limited->counter, text);
        return count;
}

/* ---- the group --------------------------------------------------------------------------------------- */
static bool limit_by_systemd(struct guest *guest, struct limited *limited) {
        (void) snprintf(limited->group, sizeof(limited->group), "/sys/fs/cgroup%s",
                        unit_property(guest, "baton", "ControlGroup"));
        (void) snprintf(limited->counter, sizeof(limited->counter), "%s/memory.events", limited->group);
        limited->is_systemd = true;
        if (access(limited->counter, R_OK) < 0)
                return false;
        shell(guest, "systemctl set-property --runtime baton MemoryMax=%u MemorySwapMax=0", LIMIT_BYTES);
        return true;
}

static bool limit_by_hand(struct guest *guest, struct limited *limited) {
        char bytes[32];

        shell(guest, "cat /etc/machine-id");
        guest->world.output[strcspn(guest->world.output, "\n")] = '\0';
        (void) snprintf(limited->group, sizeof(limited->group), LEGACY "/baton-test-%.32s",
                        guest->world.output);
        (void) snprintf(limited->counter, sizeof(limited->counter), "%s/memory.oom_control", limited->group);
        limited->is_systemd = false;
        if (access(LEGACY "/cgroup.procs", F_OK) < 0 ||
            mount(NULL, LEGACY, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
            mkdir(limited->group, 0755) < 0)
                return false;
        (void) snprintf(bytes, sizeof(bytes), "%u", LIMIT_BYTES);
        write_file(guest, limited->group, "memory.limit_in_bytes", bytes);
        if (access(LEGACY "/memory.memsw.limit_in_bytes", F_OK) == 0)
                write_file(guest, limited->group, "memory.memsw.limit_in_bytes", bytes);
        /* What is charged stays where it is, so the workers have to be born there. */
        shell(guest, "echo %d >%s/cgroup.procs && baton scale events 0", (int) main_pid(guest),
              limited->group);
        WAIT_UNTIL(&guest->world, process_count(guest, "baton-worker") == 0);
        shell(guest, "baton scale events 2");
        wait_settled(&guest->world, "events", 2, NULL);
        return true;
}

/* The service was started anew, so nobody is in the group of our own. */
static void limit_end(struct guest *guest, const struct limited *limited) {
        if (limited->is_systemd)
                shell(guest, "systemctl set-property --runtime baton MemoryMax= MemorySwapMax=");
        else if (rmdir(limited->group) < 0)
                world_fail(&guest->world, "%s: %m", limited->group);
}

/* ---- the kill ---------------------------------------------------------------------------------------- */
/* Pages of a file in memory, charged to the group, chunk by chunk until the kernel has killed; then they are given back
 * at once, so that it kills nobody else. Where that comes too late, because the first one's memory is not free yet and we
 * stand in the middle of a chunk, it is this process. */
_noreturn_ static void fill(struct guest *guest, const struct limited *limited) {
        static char chunk[CHUNK_BYTES];
        int fd = open(FILLED, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), code = 2;
        unsigned long before = kills(guest, limited);

        write_file(guest, "/proc/self", "oom_score_adj", "999");
        write_file(guest, limited->group, "cgroup.procs", "0");
        for (size_t written = 0; code == 2 && written < 4 * (size_t) LIMIT_BYTES; written += sizeof(chunk)) {
                if (fd < 0 || write(fd, chunk, sizeof(chunk)) != (ssize_t) sizeof(chunk))
                        code = 1;
                else if (kills(guest, limited) != before)
                        code = 0;
        }
        (void) ftruncate(fd, 0);
        _exit(code);
}

static void kill_by_want_of_memory(struct guest *guest, const struct limited *limited, pid_t victim) {
        char directory[64];
        pid_t filler;
        int code;

        (void) snprintf(directory, sizeof(directory), "/proc/%d", (int) victim);
        write_file(guest, directory, "oom_score_adj", "1000");
        filler = fork();
        if (filler == 0)
                fill(guest, limited);
        code = filler < 0 ? -1 : wait_exit(filler);
        (void) unlink(FILLED);
        if (code != 0 && code != 128 + SIGKILL) /* the victim's end is looked at by who called */
                world_fail(&guest->world, "what fills the memory of %s ended with %d", limited->group, code);
}

static void out_of_memory(struct guest *guest) {
        struct world *world = &guest->world;
        struct limited limited;
        struct pool_look look;
        pid_t pid = main_pid(guest);
        unsigned long before;

        if (!limit_by_systemd(guest, &limited) && !limit_by_hand(guest, &limited)) {
                (void) snprintf(guest->skipped, sizeof(guest->skipped),
                                "there is no memory controller in this container");
                return;
        }
        shop_write(guest, "orders", 2000);
        shop_write(guest, "payments", 2000);
        (void) sleep(1);
        wait_settled(world, "events", 2, &look);
        before = kills(guest, &limited);
        gaps_begin(guest);
        kill_by_want_of_memory(guest, &limited, look.owners[0]);
        WAIT_UNTIL(world, !process_is_alive(look.owners[0]));
        WAIT_UNTIL(world, session_epoch(world, "orders") > look.epochs[0] && all_owned_by_live(world));
        pauses_print("the kernel kills a worker for want of memory", gaps_end(guest));
        if (kills(guest, &limited) == before)
                world_fail(world, "the worker ended, and the kernel counts no kill");
        for (size_t i = 0; i < 2; i++)
                if (look.workers[i] != look.owners[0] && !process_is_alive(look.workers[i]))
                        world_fail(world, "another worker died, too");
        if (main_pid(guest) != pid || !unit_is(guest, "baton", "active", "running"))
                world_fail(world, "the end of one worker is the service's");
        shell(guest, "journalctl -q -u baton BATON_KIND=worker-ended BATON_PID=%d | grep -q SIGKILL",
              (int) look.owners[0]);
        printf("  limited by %s\n",
               limited.is_systemd
                       ? "MemoryMax=, under OOMPolicy=continue"
                       : "a group of our own: systemd has no memory controller here, so OOMPolicy= had no say");
        wait_settled(world, "events", 2, NULL);
        shop_check(guest);
        shell(guest, "systemctl restart baton");
        limit_end(guest, &limited);
        WAIT_UNTIL(world, all_owned_by_live(world));
}

const struct step steps_memory[] = {
        { "out of memory", out_of_memory },
        { NULL, NULL },
};
