/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's processes: batond, which starts the workers, and the writer. Both end with the demo, also
 * when it is killed (PR_SET_PDEATHSIG). Must not touch: any process that it did not start. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/cli/command.h"
#include "supervisor/cli/demo.h"

#define STOP_TIMEOUT_USEC (30 * USEC_PER_SEC)

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number) {
        (void) signal_number;
        interrupted = 1;
}

bool demo_is_interrupted(void) {
        return interrupted != 0;
}

void demo_catch_signals(void) {
        struct sigaction action = { .sa_handler = on_signal };
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

        interrupted = 0;
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                (void) sigaction(signals[i], &action, NULL);
}

void demo_sleep(uint64_t span_usec) {
        const struct timespec span = { .tv_sec = (time_t) (span_usec / USEC_PER_SEC),
                                       .tv_nsec = (long) (span_usec % USEC_PER_SEC * NSEC_PER_USEC) };

        (void) nanosleep(&span, NULL); /* a signal ends it early, and every caller looks again */
}

/* In the child: ends with the demo; Ctrl-C is the demo's to answer. */
static void become_child(pid_t parent_pid, int death_signal) {
        struct sigaction by_default = { .sa_handler = SIG_DFL }, ignored = { .sa_handler = SIG_IGN };

        (void) setpgid(0, 0);
        (void) prctl(PR_SET_PDEATHSIG, death_signal);
        (void) sigaction(SIGTERM, &by_default, NULL);
        (void) sigaction(SIGHUP, &by_default, NULL);
        (void) sigaction(SIGINT, death_signal == SIGKILL ? &ignored : &by_default, NULL);
        if (getppid() != parent_pid)
                _exit(1);
}

static _noreturn_ void run_supervisor(const struct demo *demo, const char *program) {
        char config[DEMO_PATH_BYTES + 16], log[DEMO_PATH_BYTES + 16];
        int fd, null_fd;

        (void) snprintf(config, sizeof(config), "%s/baton.conf", demo->directory);
        (void) snprintf(log, sizeof(log), "%s/batond.log", demo->directory);
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
            dup2(fd, STDERR_FILENO) < 0)
                _exit(1);
        (void) execl(program, program, "-c", config, "--state", demo->state, "--runtime", demo->runtime,
                     NULL);
        dprintf(STDERR_FILENO, "cannot start %s: %m\n", program);
        _exit(1);
}

int demo_supervisor_start(struct demo *demo, struct failure *ret_failure) {
        pid_t parent_pid = getpid(), pid;
        char program[1024];
        int r;

        r = cli_find_program("batond", "BATON_BATOND", program, sizeof(program), ret_failure);
        if (r < 0)
                return r;
        pid = fork();
        if (pid < 0)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE, "cannot start a process: %s",
                                   strerror(errno));
        if (pid == 0) {
                become_child(parent_pid, SIGTERM);
                run_supervisor(demo, program);
        }
        demo->supervisor_pid = pid;
        return 0;
}

int demo_writer_start(struct demo *demo, struct failure *ret_failure) {
        pid_t parent_pid = getpid(), pid;

        demo->shared = mmap(NULL, sizeof(*demo->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                            -1, 0);
        if (demo->shared == MAP_FAILED) {
                demo->shared = NULL;
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE,
                                   "no memory to start the writer");
        }
        pid = fork();
        if (pid < 0)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE, "cannot start a process: %s",
                                   strerror(errno));
        if (pid == 0) {
                become_child(parent_pid, SIGKILL);
                _exit(demo_write(demo));
        }
        demo->writer_pid = pid;
        return 0;
}

/* Waits until it has ended. -ETIMEDOUT. */
static int wait_end(pid_t pid, uint64_t timeout_usec, int *ret_status) {
        uint64_t deadline_usec = clock_usec() + timeout_usec;

        for (;;) {
                pid_t ended = waitpid(pid, ret_status, WNOHANG);

                if (ended == pid)
                        return 0;
                if (ended < 0 && errno != EINTR)
                        return -errno;
                if (clock_usec() >= deadline_usec)
                        return -ETIMEDOUT;
                demo_sleep(5 * USEC_PER_MSEC);
        }
}

static void describe_end(int status, char *ret_text, size_t text_bytes) {
        if (WIFSIGNALED(status))
                (void) snprintf(ret_text, text_bytes, "was ended by signal %d", WTERMSIG(status));
        else
                (void) snprintf(ret_text, text_bytes, "exited with %d", WEXITSTATUS(status));
}

int demo_supervisor_stop(struct demo *demo, struct failure *ret_failure) {
        char how[64];
        int status = 0, r;

        assert(demo->supervisor_pid > 0);

        (void) kill(demo->supervisor_pid, SIGTERM);
        r = wait_end(demo->supervisor_pid, STOP_TIMEOUT_USEC, &status);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP,
                                   "the supervisor did not stop within 30 s of SIGTERM");
        demo->supervisor_pid = 0;
        if (status == 0)
                return 0;
        describe_end(status, how, sizeof(how));
        return failure_set(ret_failure, -ECHILD, FAILURE_STOP, "the supervisor %s when it was told to stop",
                           how);
}

int demo_processes_check(struct demo *demo, struct failure *ret_failure) {
        char how[64];
        int status;

        if (demo->supervisor_pid > 0 &&
            waitpid(demo->supervisor_pid, &status, WNOHANG) == demo->supervisor_pid) {
                demo->supervisor_pid = 0;
                describe_end(status, how, sizeof(how));
                return failure_set(ret_failure, -ECHILD, FAILURE_STOP, "the supervisor %s", how);
        }
        if (demo->writer_pid > 0 && waitpid(demo->writer_pid, &status, WNOHANG) == demo->writer_pid) {
                demo->writer_pid = 0;
                describe_end(status, how, sizeof(how));
                if (status != 0)
                        return failure_set(ret_failure, -ECHILD, FAILURE_STOP, "the writer %s: %.*s", how,
                                           (int) sizeof(demo->shared->trouble) - 1, demo->shared->trouble);
        }
        return 0;
}

/* Workers are the supervisor's; told to stop, it lets them leave. Killed, they would stay for
 * adopt-timeout: so it gets its time first. */
void demo_processes_end(struct demo *demo) {
        struct failure ignored = {};
        int status;

        if (demo->writer_pid > 0) {
                (void) kill(demo->writer_pid, SIGKILL);
                (void) waitpid(demo->writer_pid, &status, 0);
                demo->writer_pid = 0;
        }
        if (demo->supervisor_pid > 0 && demo_supervisor_stop(demo, &ignored) < 0 &&
            demo->supervisor_pid > 0) {
                (void) kill(demo->supervisor_pid, SIGKILL);
                (void) waitpid(demo->supervisor_pid, &status, 0);
                demo->supervisor_pid = 0;
        }
        segment_close(TAKE(demo->segment));
        if (demo->shared)
                (void) munmap(TAKE(demo->shared), sizeof(*demo->shared));
}
