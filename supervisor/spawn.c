/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a worker: fork + exec of baton-worker with nothing inherited but stdio (P2), and the pidfd that
 * proves its end. Must not touch: the worker table (a worker enters itself), any database. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "supervisor/manager.h"

#define WORKER_PROGRAM "baton-worker"

static bool worker_is_at(struct manager *manager, const char *directory) {
        int bytes;

        bytes = snprintf(manager->worker_path, sizeof manager->worker_path, "%s/" WORKER_PROGRAM, directory);
        return bytes > 0 && (size_t) bytes < sizeof manager->worker_path &&
               access(manager->worker_path, X_OK) == 0;
}

/* $BATON_WORKER, else beside batond (a build directory, or where both are installed), else LIBEXECDIR. */
int spawn_find_programs(struct manager *manager, struct failure *ret_failure) {
        const char *named = getenv("BATON_WORKER");
        char directory[PATH_MAX];
        ssize_t bytes;

        bytes = readlink("/proc/self/exe", directory, sizeof directory - 1);
        if (bytes <= 0 || (size_t) bytes >= sizeof manager->own_path)
                return failure_set(ret_failure, -ENOENT, FAILURE_STOP, "/proc does not tell where batond is");
        directory[bytes] = '\0';
        (void) memcpy(manager->own_path, directory, (size_t) bytes + 1);
        if (named && *named) {
                if (strlen(named) >= sizeof manager->worker_path || access(named, X_OK) < 0)
                        return failure_set(ret_failure, -ENOENT, FAILURE_STOP,
                                           "BATON_WORKER names %s, which cannot be run: %m", named);
                (void) snprintf(manager->worker_path, sizeof manager->worker_path, "%s", named);
                return 0;
        }
        *strrchr(directory, '/') = '\0';
        if (worker_is_at(manager, directory))
                return 0;
#ifdef LIBEXECDIR
        if (worker_is_at(manager, LIBEXECDIR))
                return 0;
#endif
        return failure_set(ret_failure, -ENOENT, FAILURE_STOP,
                           "cannot find " WORKER_PROGRAM " beside batond; name it in BATON_WORKER");
}

/* In the child, between fork and exec. A process group of its own: Ctrl-C in a terminal reaches the
 * supervisor alone, which drains the workers in order (M10). No PDEATHSIG: workers outlive us (P1). */
static void _noreturn_ worker_exec(const struct manager *manager, uint32_t pool_index, bool cores) {
        struct rlimit limit = { 0, 0 };
        char pool[16];
        const char *arguments[] = { manager->worker_path,
                                    "--state",
                                    manager->directories.state,
                                    "--runtime",
                                    manager->directories.runtime,
                                    "--pool",
                                    pool,
                                    NULL };
        sigset_t none;

        (void) snprintf(pool, sizeof pool, "%u", pool_index);
        (void) setpgid(0, 0);
        if (cores && getrlimit(RLIMIT_CORE, &limit) == 0)
                limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_CORE, &limit); /* P6: a core dump delays the proof of death */
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) signal(SIGPIPE, SIG_DFL);
        (void) unsetenv("NOTIFY_SOCKET"); /* the supervisor alone speaks to systemd */
        (void) unsetenv("WATCHDOG_USEC");
        (void) unsetenv("WATCHDOG_PID");
        (void) unsetenv("CREDENTIALS_DIRECTORY"); /* the configuration is the supervisor's to read */
        /* Closed by the exec, so that its failure can still be told: one is the socket to journald. */
        if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
                (void) close_range(3, ~0U, 0);
        (void) execv(manager->worker_path, (char *const *) arguments);
        log_line(MESSAGE_WORKER_NOT_STARTED, LOG_ERR, NULL, "cannot run %s: %m", manager->worker_path);
        _exit(127);
}

static int spawn_failed(const struct manager *manager, uint32_t pool_index, int r) {
        log_line(MESSAGE_WORKER_NOT_STARTED, LOG_ERR,
                 &(struct log_fields){ .destination = manager->pools[pool_index].name },
                 "destination %s: cannot start a worker: %s; will try again", manager->pools[pool_index].name,
                 strerror(-r));
        return r;
}

int spawn_worker(struct manager *manager, uint32_t pool_index) {
        const struct pool *pool = &manager->pools[pool_index];
        _cleanup_fd_ int pid_fd = -1;
        uint64_t start_ticks = 0;
        struct process *process;
        bool cores;
        pid_t pid;
        int r;

        assert(pool->used);
        cores = pool->destination != LAYOUT_NONE && manager->config->destinations[pool->destination].cores;

        pid = fork();
        if (pid < 0)
                return spawn_failed(manager, pool_index, -errno);
        if (pid == 0)
                worker_exec(manager, pool_index, cores);

        /* K1 We die here: nobody has noted the worker. It enters itself in the worker table (P2), where
         * the next supervisor finds it (watch_members) and counts it before it starts others. */
        CRASH_POINT("supervisor.K1");

        pid_fd = pidfd_open(pid, 0); /* not reaped by anyone but us: the pid is still its own */
        r = pid_fd < 0 ? -errno : process_start_ticks(pid, &start_ticks);
        process = r < 0 ? NULL : watch_add(manager, pid, start_ticks, pid_fd, true, pool_index);
        if (!process) {
                (void) kill(pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
                return spawn_failed(manager, pool_index, r < 0 ? r : -ENOMEM);
        }
        pid_fd = -1; /* the record's */
        log_line(MESSAGE_WORKER_STARTED, LOG_INFO,
                 &(struct log_fields){ .destination = pool->name, .pid = pid },
                 "destination %s: started worker process %d", pool->name, pid);
        return 0;
}
