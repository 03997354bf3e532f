/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of a world: commands that are waited for, the supervisor, kills through pidfds.
 *
 * Must not touch: a process without our state directory in its command line, or that we did not start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "prove/world/world.h"

#define ARGUMENTS_MAX 24

/* Installed, the command line stands elsewhere than what it calls: $BATON_COMMAND, or PREFIX/bin beside
 * PREFIX/lib/baton. */
static void find_program(const struct world *world, const char *name, char *ret_path, size_t path_bytes) {
        const char *told = getenv("BATON_COMMAND");

        (void) snprintf(ret_path, path_bytes, "%s/%s", world->bin, name);
        if (strcmp(name, "baton") != 0 || access(ret_path, X_OK) == 0)
                return;
        if (told && told[0])
                (void) snprintf(ret_path, path_bytes, "%s", told);
        else
                (void) snprintf(ret_path, path_bytes, "%s/../../bin/baton", world->bin);
}

/* In the child: output to `fd`, death with the parent, exec. */
_noreturn_ static void become(const struct world *world, int fd, char **argv) {
        char path[WORLD_PATH_BYTES * 2];

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) dup2(fd, STDOUT_FILENO);
        (void) dup2(fd, STDERR_FILENO);
        (void) close_range(3, ~0U, 0);
        (void) signal(SIGPIPE, SIG_DFL);
        find_program(world, argv[0], path, sizeof(path));
        if ((world->is_faulty || world->jumps || world->has_identities) && strcmp(argv[0], "batond") == 0)
                world_preload(world);
        (void) execv(path, argv);
        dprintf(STDERR_FILENO, "cannot run %s: %s\n", path, strerror(errno));
        _exit(127);
}

static int exit_code(int status) {
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int wait_exit(pid_t pid) {
        uint64_t until = clock_usec() + WAIT_SECONDS * USEC_PER_SEC;
        int status;

        while (clock_usec() < until) {
                pid_t r = waitpid(pid, &status, WNOHANG);

                if (r == pid)
                        return exit_code(status);
                if (r < 0)
                        return 255;
                (void) usleep(1000);
        }
        kill_and_wait(pid, SIGKILL);
        return 254; /* it hung */
}

pid_t world_spawn(const struct world *world, int output_fd, char **argv) {
        pid_t pid = fork();

        if (pid == 0)
                become(world, output_fd, argv);
        return pid;
}

int world_run_list(struct world *world, char **argv) {
        char path[WORLD_PATH_BYTES * 2];
        _cleanup_fd_ int fd = -1;
        ssize_t bytes;
        pid_t pid;
        int r;

        (void) snprintf(path, sizeof(path), "%s/command.log", world->directory);
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        pid = world_spawn(world, fd, argv);
        r = pid < 0 ? 255 : wait_exit(pid);
        bytes = pread(fd, world->output, sizeof(world->output) - 1, 0);
        world->output[bytes > 0 ? bytes : 0] = '\0';
        reports_keep(world, path);
        (void) unlink(path);
        return r;
}

int world_run(struct world *world, const char *program, ...) {
        char *argv[ARGUMENTS_MAX] = { (char *) program };
        va_list arguments;
        size_t count = 1;

        va_start(arguments, program);
        while (count + 1 < ARGUMENTS_MAX && (argv[count] = va_arg(arguments, char *)))
                count++;
        va_end(arguments);
        return world_run_list(world, argv);
}

pid_t world_start_unwaited(struct world *world, const char *config) {
        char *argv[] = { "batond",     "-c",        (char *) config, "--state",
                         world->state, "--runtime", world->runtime,  NULL };
        char path[WORLD_PATH_BYTES * 2];
        _cleanup_fd_ int fd = -1;

        (void) snprintf(path, sizeof(path), "%s/batond-%u.log", world->directory, world->batond_starts++);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0)
                world_fail(world, "cannot write %s", path);
        return world_spawn(world, fd, argv);
}

void world_start(struct world *world) {
        assert(world->batond == 0);
        world->batond = world_start_unwaited(world, world->config);
        WAIT_UNTIL(world, !process_is_alive(world->batond) ||
                                  (world_segment(world) &&
                                   (pid_t) world->segment->header->supervisor_pid == world->batond));
        if (!process_is_alive(world->batond))
                world_fail(world, "batond did not start");
}

static bool nobody_left(struct world *world) {
        pid_t pid;

        world_reap();
        return world_processes(world, &pid, 1) == 0;
}

int world_stop(struct world *world) {
        int r;

        assert(world->batond > 0);
        kill_process(world->batond, SIGTERM);
        r = wait_exit(world->batond);
        world->batond = 0;
        WAIT_UNTIL(world, nobody_left(world));
        return r;
}

void world_kill_batond(struct world *world) {
        assert(world->batond > 0);
        kill_and_wait(world->batond, SIGKILL);
        world->batond = 0;
}

void world_kill_workers(struct world *world, const char *destination) {
        pid_t pids[64];
        uint32_t count = live_workers(world, destination, pids, ELEMENTSOF(pids));

        for (uint32_t i = 0; i < count; i++)
                kill_and_wait(pids[i], SIGKILL);
}

static int remove_below(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        (void) status, (void) kind;
        return walk->level > 0 ? remove(path) : 0;
}

void world_empty_runtime(struct world *world) {
        if (nftw(world->runtime, remove_below, 8, FTW_DEPTH | FTW_PHYS) != 0)
                world_fail(world, "cannot empty %s", world->runtime);
}

void world_reboot(struct world *world) {
        pid_t pid;

        world_kill_batond(world);
        while (world_processes(world, &pid, 1) > 0)
                kill_and_wait(pid, SIGKILL);
        world_reap();
        world_empty_runtime(world);
        world_start(world);
}

void kill_process(pid_t pid, int signal_number) {
        _cleanup_fd_ int fd = -1;

        assert(pid > 0);

        reports_expect_fault(signal_number);
        fd = pidfd_open(pid, 0);
        if (fd >= 0)
                (void) pidfd_send_signal(fd, signal_number, NULL, 0);
}

/* Gone means: the pidfd is readable; a child of ours is reaped too. */
void kill_and_wait(pid_t pid, int signal_number) {
        _cleanup_fd_ int fd = -1;
        struct pollfd poll_fd;
        int r, status;

        assert(pid > 0);

        reports_expect_fault(signal_number);
        fd = pidfd_open(pid, 0);
        if (fd < 0)
                return;
        (void) pidfd_send_signal(fd, signal_number, NULL, 0);
        poll_fd = (struct pollfd){ .fd = fd, .events = POLLIN };
        do
                r = poll(&poll_fd, 1, WAIT_SECONDS * 1000);
        while (r < 0 && errno == EINTR);
        if (r != 1)
                fprintf(stderr, "process %d outlives signal %d by %d s\n", (int) pid, signal_number,
                        WAIT_SECONDS);
        assert(r == 1);
        (void) waitpid(pid, &status, WNOHANG);
}

/* A zombie is dead. */
bool process_is_alive(pid_t pid) {
        _cleanup_fd_ int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

        return fd >= 0 && poll(&poll_fd, 1, 0) == 0;
}

static bool has_argument(const char *pid_text, const char *argument) {
        char path[64], text[8192];
        _cleanup_fd_ int fd = -1;
        ssize_t bytes;

        (void) snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid_text);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        bytes = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
        if (bytes <= 0)
                return false; /* gone, or a zombie */
        text[bytes] = '\0';
        for (const char *word = text; word < text + bytes; word += strlen(word) + 1)
                if (strcmp(word, argument) == 0)
                        return true;
        return false;
}

size_t world_processes(const struct world *world, pid_t *ret_pids, size_t count) {
        DIR *directory = opendir("/proc");
        size_t found = 0;

        for (struct dirent *entry; directory && found < count && (entry = readdir(directory));)
                if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
                    has_argument(entry->d_name, world->state))
                        ret_pids[found++] = (pid_t) atoi(entry->d_name);
        if (directory)
                (void) closedir(directory);
        return found;
}

/* Orphans that came to us: workers of a killed supervisor. Children that someone still waits for by
 * name (the supervisor, writers) are left alone: they carry their own waiter. */
void world_reap(void) {
        siginfo_t info;

        for (;;) {
                info.si_pid = 0;
                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
                        return;
                (void) waitpid(info.si_pid, NULL, WNOHANG);
        }
}
