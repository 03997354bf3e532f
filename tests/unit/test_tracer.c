/* SPDX-License-Identifier: Apache-2.0 */
/* The tracer (prove/tracer) on small processes: what it reports, and what its verdicts do. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sanitize.h"
#include "prove/tracer/tracer.h"

/* Leaks are looked for by ptrace, and one process is traced by one. */
#if SANITIZE_ADDRESS
const char *__asan_default_options(void); /* NOLINT(bugprone-reserved-identifier) */
const char *__asan_default_options(void) {
        return "detect_leaks=0";
}
#endif

/* Calls that nothing else makes: SYS_getpgid of such a number. */
#define FLAG(n) (7000000 + (n))
#define FLAGS_MAX 100

static struct shared {
        pthread_mutex_t mutex;
        atomic_int seen[FLAGS_MAX]; /* flags that came to the tracer */
        atomic_int role_of[FLAGS_MAX];
        atomic_int results[8];
        atomic_int is_ready, may_go;
        atomic_uint ended;
} * shared;

struct plan {
        int flag; /* where the verdict is given: at the call after this flag's */
        bool at_exit;
        enum trace_verdict verdict;
        int64_t result;
        uint64_t third_argument;
        uint64_t number; /* 0: the call after the flag; else the next one of this number */
        bool is_due, is_done;
        bool releases, watches_no_longer, lets_go; /* the last two: with the verdict */
        unsigned roles_at_mark;
        char read_back[8];
};

static void flag(int n) {
        (void) syscall(SYS_getpgid, FLAG(n));
}

static enum trace_verdict on_call(struct tracer *tracer, struct trace_call *call, void *context) {
        struct plan *plan = context;
        int n = (int) call->arguments[0] - FLAG(0);

        if (call->number == SYS_getpgid && n >= 0 && n < FLAGS_MAX) {
                shared->seen[n] += call->is_entry ? 1 : 100;
                shared->role_of[n] = (int) call->role;
                if (n == plan->flag && !call->is_entry) {
                        plan->is_due = true;
                        if (plan->releases)
                                tracer_release(tracer);
                }
                return TRACE_GO;
        }
        if (!plan->is_due || plan->is_done || call->is_entry == plan->at_exit ||
            (plan->number != 0 && call->number != plan->number))
                return TRACE_GO;
        plan->is_done = true;
        if (plan->watches_no_longer)
                tracer_watch(tracer, 0);
        if (plan->lets_go)
                tracer_release(tracer);
        if (call->is_entry && call->number == SYS_write)
                (void) tracer_read(call->pid, call->arguments[1], plan->read_back, 3);
        call->result = plan->result;
        if (plan->verdict == TRACE_CHANGE && call->is_entry)
                call->arguments[2] = plan->third_argument;
        return plan->verdict;
}

static void on_process(struct tracer *tracer, const struct trace_process *process, void *context) {
        (void) tracer, (void) context;
        if (process->what == TRACE_ENDED)
                shared->ended++;
}

static void on_mark(struct tracer *tracer, uint64_t mark, void *context) {
        const struct plan *plan = context;

        cr_expect_eq(mark, 42);
        tracer_watch(tracer, plan->roles_at_mark);
}

static int run_watching(struct plan *plan, unsigned roles, int (*driver)(void *), void *argument) {
        const struct tracer_options options = { .on_call = on_call,
                                                .on_process = on_process,
                                                .on_mark = on_mark,
                                                .context = plan,
                                                .roles = roles };
        int status = -1;

        cr_assert_eq(tracer_run(&options, driver, argument, &status), 0);
        cr_assert(WIFEXITED(status), "the driver ended with status %d", status);
        return WEXITSTATUS(status);
}

static int run(struct plan *plan, int (*driver)(void *)) {
        return run_watching(plan, TRACE_BIT(TRACE_APPLICATION), driver, NULL);
}

static void begin(void) {
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert(shared != MAP_FAILED);
}

TestSuite(tracer, .init = begin, .timeout = 60);

/* A child of the driver, and how it ended. */
static int child(void (*body)(void)) {
        pid_t pid = fork();
        int status = -1;

        if (pid == 0) {
                body();
                _exit(0);
        }
        (void) waitpid(pid, &status, 0);
        return status;
}

static void wait_for(atomic_int *word) {
        for (int i = 0; i < 20000 && !*word; i++)
                (void) usleep(1000);
}

/* ---- what is reported -------------------------------------------------------------------------- */
static void body_flags(void) {
        for (int i = 0; i < 3; i++)
                flag(i);
}

static int driver_flags(void *argument) {
        (void) argument;
        return child(body_flags) == 0 ? 0 : 1;
}

Test(tracer, each_call_is_seen_at_entry_and_exit) {
        struct plan plan = { .flag = -1 };

        cr_expect_eq(run(&plan, driver_flags), 0);
        for (int i = 0; i < 3; i++) {
                cr_expect_eq(shared->seen[i], 101, "flag %d: %d", i, shared->seen[i]);
                cr_expect_eq(shared->role_of[i], TRACE_APPLICATION);
        }
        cr_expect_eq(shared->ended, 1);
}

Test(tracer, a_role_that_is_not_watched_is_left_alone) {
        struct plan plan = { .flag = -1 };

        cr_expect_eq(run_watching(&plan, TRACE_BIT(TRACE_MOVER), driver_flags, NULL), 0);
        cr_expect_eq(shared->seen[0], 0);
}

/* ---- verdicts ---------------------------------------------------------------------------------- */
static void body_write(void) {
        int fds[2];
        ssize_t n;

        if (pipe(fds) < 0)
                return;
        flag(1);
        n = write(fds[1], "abcdef", 6);
        shared->results[0] = n < 0 ? -errno : (int) n;
        flag(2);
}

static int driver_write(void *argument) {
        (void) argument;
        shared->results[1] = child(body_write);
        return 0;
}

static int made_file(void) {
        char path[] = "/tmp/baton-tracer-XXXXXX";
        int fd = mkstemp(path);

        (void) unlink(path);
        return fd;
}

static int the_file = -1;

static void body_file(void) {
        flag(1);
        (void) !write(the_file, "x", 1);
        (void) !write(the_file, "y", 1);
        shared->results[0] = 1;
}

static int driver_file(void *argument) {
        (void) argument;
        shared->results[1] = child(body_file);
        return 0;
}

static off_t run_kill(bool at_exit) {
        struct plan plan = { .flag = 1, .verdict = TRACE_KILL, .at_exit = at_exit, .number = SYS_write };

        the_file = made_file();
        cr_assert_geq(the_file, 0);
        cr_expect_eq(run(&plan, driver_file), 0);
        cr_expect(WIFSIGNALED(shared->results[1]) && WTERMSIG(shared->results[1]) == SIGKILL);
        cr_expect_eq(shared->results[0], 0, "it went on");
        return lseek(the_file, 0, SEEK_END);
}

Test(tracer, killed_at_entry_the_call_never_happens) {
        cr_expect_eq(run_kill(false), 0);
}

Test(tracer, killed_at_exit_it_has_happened_and_nothing_after) {
        cr_expect_eq(run_kill(true), 1);
}

Test(tracer, a_refused_call_fails_as_told) {
        struct plan plan = { .flag = 1, .verdict = TRACE_REFUSE, .result = -ENOSPC };

        cr_assert(tracer_can_change());
        cr_expect_eq(run(&plan, driver_write), 0);
        cr_expect_eq(shared->results[0], -ENOSPC, "%d", shared->results[0]);
        cr_expect_eq(shared->seen[2], 101, "it goes on");
        cr_expect_str_eq(plan.read_back, "abc");
}

Test(tracer, a_call_that_may_be_restarted_sees_eintr) {
        struct plan plan = { .flag = 1, .verdict = TRACE_REFUSE, .result = -EINTR };

        cr_expect_eq(run(&plan, driver_write), 0);
        cr_expect_eq(shared->results[0], -EINTR, "%d", shared->results[0]);
}

/* The last call that its tracer cares for: the program sees of it what it was to see. */
Test(tracer, T7_a_call_is_refused_by_who_watches_no_longer) {
        struct plan plan = {
                .flag = 1, .verdict = TRACE_REFUSE, .result = -ENOSPC, .watches_no_longer = true
        };

        cr_expect_eq(run(&plan, driver_write), 0);
        cr_expect_eq(shared->results[0], -ENOSPC, "%d", shared->results[0]);
        cr_expect_eq(shared->seen[2], 0, "it goes on unwatched");
}

Test(tracer, T7_a_call_is_refused_by_who_lets_go) {
        struct plan plan = { .flag = 1, .verdict = TRACE_REFUSE, .result = -ENOSPC, .lets_go = true };

        cr_expect_eq(run(&plan, driver_write), 0);
        cr_expect_eq(shared->results[0], -ENOSPC, "%d", shared->results[0]);
        cr_expect_eq(shared->seen[2], 0, "it goes on untraced");
}

Test(tracer, a_short_write_writes_less) {
        struct plan plan = { .flag = 1, .verdict = TRACE_CHANGE, .third_argument = 2 };

        cr_expect_eq(run(&plan, driver_write), 0);
        cr_expect_eq(shared->results[0], 2, "%d", shared->results[0]);
}

Test(tracer, a_result_is_replaced_at_the_exit) {
        struct plan plan = { .flag = 1, .verdict = TRACE_CHANGE, .at_exit = true, .result = -EIO };

        cr_expect_eq(run(&plan, driver_write), 0);
        cr_expect_eq(shared->results[0], -EIO, "%d", shared->results[0]);
}

#if defined(__x86_64__)
static void body_registers(void) {
        static const char text[] = "abcdef";
        long result, count = 6;
        int fds[2];

        if (pipe(fds) < 0)
                return;
        flag(1);
        __asm__ volatile("syscall"
                         : "=a"(result), "+d"(count)
                         : "a"(SYS_write), "D"(fds[1]), "S"(text)
                         : "rcx", "r11", "memory");
        shared->results[0] = (int) result;
        shared->results[2] = (int) count;
}

static int driver_registers(void *argument) {
        (void) argument;
        return child(body_registers);
}

/* Compilers keep values in those registers over a call. */
Test(tracer, changed_arguments_are_put_back) {
        struct plan plan = { .flag = 1, .verdict = TRACE_CHANGE, .third_argument = 2 };

        cr_expect_eq(run(&plan, driver_registers), 0);
        cr_expect_eq(shared->results[0], 2);
        cr_expect_eq(shared->results[2], 6, "%d", shared->results[2]);
}

Test(tracer, T7_changed_arguments_are_put_back_by_who_watches_no_longer) {
        struct plan plan = {
                .flag = 1, .verdict = TRACE_CHANGE, .third_argument = 2, .watches_no_longer = true
        };

        cr_expect_eq(run(&plan, driver_registers), 0);
        cr_expect_eq(shared->results[0], 2);
        cr_expect_eq(shared->results[2], 6, "%d", shared->results[2]);
}
#endif

/* ---- deaths ------------------------------------------------------------------------------------ */
static void body_owner(void) {
        (void) pthread_mutex_lock(&shared->mutex);
        flag(1);
        (void) getppid();
        for (;;)
                (void) pause();
}

static int driver_robust(void *argument) {
        pthread_mutexattr_t attributes;
        int r;

        (void) argument;
        (void) pthread_mutexattr_init(&attributes);
        (void) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        (void) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        (void) pthread_mutex_init(&shared->mutex, &attributes);
        (void) child(body_owner);
        r = pthread_mutex_trylock(&shared->mutex);
        return r == EOWNERDEAD ? 0 : 1;
}

/* S1: whoever waits for a life must hear of it also where we killed. */
Test(tracer, a_robust_mutex_of_the_killed_says_so) {
        for (int at_exit = 0; at_exit < 2; at_exit++) {
                struct plan plan = { .flag = 1, .verdict = TRACE_KILL, .at_exit = at_exit };

                cr_expect_eq(run(&plan, driver_robust), 0);
        }
}

static void *idle(void *argument) {
        for (;;)
                (void) pause();
        return argument;
}

static void body_threads(void) {
        pthread_t threads[3];

        for (int i = 0; i < 3; i++)
                if (pthread_create(&threads[i], NULL, idle, NULL) != 0)
                        return;
        flag(1);
        (void) getppid();
}

/* Asks once, when the pidfd says that there is something to ask for. */
static int driver_asks_once(void *argument) {
        pid_t pid = fork();
        siginfo_t info = { .si_pid = 0 };
        struct pollfd poll_fd = { .events = POLLIN };

        (void) argument;
        if (pid == 0) {
                body_threads();
                _exit(0);
        }
        poll_fd.fd = pidfd_open(pid, 0);
        if (poll(&poll_fd, 1, 20000) != 1)
                return 2;
        (void) waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG);
        return info.si_pid == pid && info.si_code == CLD_KILLED && info.si_status == SIGKILL ? 0 : 1;
}

Test(tracer, T2_a_kill_is_the_parents_to_reap_at_once) {
        if (SANITIZE_THREAD)
                cr_skip_test("ThreadSanitizer knows no threads in a forked child");
        for (int i = 0; i < 50; i++) {
                struct plan plan = {
                        .flag = 1, .verdict = TRACE_KILL, .at_exit = i % 2, .number = SYS_getppid
                };

                memset(shared, 0, sizeof(*shared));
                cr_assert_eq(run(&plan, driver_asks_once), 0);
                cr_expect_eq(shared->ended, 1);
        }
}

static void *caller(void *argument) {
        (void) argument;
        for (int i = 0;; i++)
                flag(5);
        return NULL;
}

static void body_dying(void) {
        pthread_t threads[3];

        for (int i = 0; i < 3; i++)
                if (pthread_create(&threads[i], NULL, caller, NULL) != 0)
                        return;
        for (int i = 0; i < 20; i++)
                flag(6);
        _exit(3);
}

static int driver_dying(void *argument) {
        int held = 0;

        (void) argument;
        for (int i = 0; i < 20; i++) {
                int status = child(body_dying);

                held += WIFEXITED(status) && WEXITSTATUS(status) == 3;
        }
        return held;
}

/* Whatever the tracer was about to do with a thread, it may be dead by then. */
Test(tracer, threads_may_die_at_any_moment) {
        struct plan plan = { .flag = -1 };

        if (SANITIZE_THREAD)
                cr_skip_test("ThreadSanitizer knows no threads in a forked child");
        cr_expect_eq(run(&plan, driver_dying), 20);
}

static int driver_leaves(void *argument) {
        (void) argument;
        for (int i = 0; i < 3; i++)
                if (fork() == 0)
                        for (;;)
                                (void) pause();
        return 7;
}

Test(tracer, what_the_driver_leaves_is_killed) {
        struct plan plan = { .flag = -1 };

        cr_expect_eq(run(&plan, driver_leaves), 7);
        cr_expect_eq(shared->ended, 3);
        cr_expect_eq(waitpid(-1, NULL, __WALL | WNOHANG), -1);
}

/* ---- signals ----------------------------------------------------------------------------------- */
static void on_signal(int signal_number) {
        (void) signal_number;
        shared->results[3]++;
}

static void body_signals(void) {
        (void) signal(SIGUSR1, on_signal);
        shared->is_ready = 1;
        while (!shared->may_go) {
                flag(3);
                (void) usleep(500);
        }
}

static bool is_stopped(pid_t pid) {
        char path[64], text[512] = "";
        _cleanup_fd_ int fd = -1;

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
               (strstr(text, ") T ") || strstr(text, ") t "));
}

static int driver_signals(void *argument) {
        pid_t pid = fork();
        int status = -1, before, now;

        (void) argument;
        if (pid == 0) {
                body_signals();
                _exit(0);
        }
        wait_for(&shared->is_ready);
        (void) kill(pid, SIGUSR1);
        (void) kill(pid, SIGSTOP);
        for (int i = 0; i < 20000 && !is_stopped(pid); i++)
                (void) usleep(1000);
        before = shared->seen[3];
        (void) usleep(20000);
        now = shared->seen[3];
        shared->may_go = 1;
        (void) kill(pid, SIGCONT);
        (void) waitpid(pid, &status, 0);
        return status == 0 && before == now ? 0 : 1;
}

Test(tracer, signals_are_passed_on_and_a_stop_holds) {
        struct plan plan = { .flag = -1 };

        cr_expect_eq(run(&plan, driver_signals), 0);
        cr_expect_eq(shared->results[3], 1);
        cr_expect_gt(shared->seen[3], 0);
}

/* ---- marks, and letting go --------------------------------------------------------------------- */
static void body_marked(void) {
        int fds[2];

        flag(1);
        shared->is_ready = 1;
        while (!shared->may_go)
                if (pipe(fds) == 0) {
                        (void) close(fds[0]);
                        (void) close(fds[1]);
                }
        flag(2);
}

static int driver_marked(void *argument) {
        pid_t pid = fork();
        int status = -1;

        (void) argument;
        if (pid == 0) {
                body_marked();
                _exit(0);
        }
        wait_for(&shared->is_ready);
        tracer_mark(42);
        shared->may_go = 1;
        (void) waitpid(pid, &status, 0);
        return status == 0 ? 0 : 1;
}

Test(tracer, from_the_mark_on_every_call_is_seen) {
        struct plan plan = { .flag = -1, .roles_at_mark = TRACE_BIT(TRACE_APPLICATION) };

        for (int i = 0; i < 20; i++) {
                memset(shared, 0, sizeof(*shared));
                cr_expect_eq(run_watching(&plan, 0, driver_marked, NULL), 0);
                cr_expect_eq(shared->seen[1], 0);
                cr_expect_eq(shared->seen[2], 101);
        }
}

static void body_released(void) {
        char text[2048] = "";
        int fd;

        flag(1);
        for (int i = 0; i < 3; i++)
                (void) getppid();
        fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        shared->results[0] = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
                             strstr(text, "\nTracerPid:\t0\n") != NULL;
        (void) close(fd);
}

static int driver_released(void *argument) {
        (void) argument;
        return child(body_released) == 0 && child(body_flags) == 0 ? 0 : 1;
}

Test(tracer, released_they_go_on_untraced) {
        struct plan plan = { .flag = 1, .releases = true };

        cr_expect_eq(run(&plan, driver_released), 0);
        cr_expect_eq(shared->results[0], 1);
        cr_expect_eq(shared->seen[0], 0, "and what is born later is not traced");
}
