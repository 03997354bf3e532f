/* SPDX-License-Identifier: Apache-2.0 */
/* The tracer's roles (prove/tracer/role.c): this program, executed again under Baton's names, has the shape of
 * a supervisor and a worker, and each of its threads makes one call that nothing else makes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/sanitize.h"
#include "prove/tracer/tracer.h"

/* Leaks are looked for by ptrace, and one process is traced by one. */
#if SANITIZE_ADDRESS
const char *__asan_default_options(void); /* NOLINT(bugprone-reserved-identifier) */
const char *__asan_default_options(void) {
        return "detect_leaks=0";
}
#endif

#define FLAG(n) (7000000 + (n))
#define FLAGS_MAX 32

static struct {
        unsigned entries, exits, process;
        enum trace_role role;
} seen[FLAGS_MAX];

static void flag(int n) {
        (void) syscall(SYS_getpgid, FLAG(n));
}

static enum trace_verdict on_call(struct tracer *tracer, struct trace_call *call, void *context) {
        int n = (int) call->arguments[0] - FLAG(0);

        (void) tracer, (void) context;
        if (call->number != SYS_getpgid || n < 0 || n >= FLAGS_MAX)
                return TRACE_GO;
        seen[n].entries += call->is_entry;
        seen[n].exits += !call->is_entry;
        seen[n].role = call->role;
        seen[n].process = call->process;
        return TRACE_GO;
}

static void *flagging(void *argument) {
        flag((int) (intptr_t) argument);
        return NULL;
}

static int memory_main(void *argument) {
        (void) argument;
        (void) syscall(SYS_getpgid, FLAG(14));
        (void) syscall(SYS_exit, 0);
        return 0;
}

/* The shape of a worker: a keeper, two threads, a filter that kills. */
static void worker_main(void) {
        static _Alignas(16) char stack[16384];
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        pthread_t threads[2];
        int status;

        flag(11);
        (void) waitpid(clone(memory_main, stack + sizeof(stack), CLONE_VM, NULL), &status, __WALL);
        for (intptr_t i = 0; i < 2; i++)
                if (pthread_create(&threads[i], NULL, flagging, (void *) (12 + i)) == 0) // NOLINT
                        (void) pthread_join(threads[i], NULL);
        (void) seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(getpgid), 0);
        (void) seccomp_load(filter);
        flag(15);
}

static void supervisor_main(void) {
        char worker[256];
        int status;
        pid_t pid;

        flag(20);
        (void) snprintf(worker, sizeof(worker), "%s", getenv("TRACEE_WORKER"));
        pid = fork();
        if (pid == 0) {
                flag(10);
                (void) execl(worker, worker, NULL);
        }
        (void) waitpid(pid, &status, 0);
        _exit(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? 0 : 1);
}

/* Executed again under Baton's names, this program is what they say. */
__attribute__((constructor)) static void become_tracee(void) {
        const char *name = strrchr(program_invocation_name, '/');

        if (!getenv("TRACEE_WORKER") || !name)
                return;
        if (strcmp(name, "/batond") == 0)
                supervisor_main();
        if (strcmp(name, "/baton-worker") == 0)
                worker_main();
}

static void copy_self(const char *path) {
        int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

        cr_assert(in >= 0 && out >= 0);
        while (sendfile(out, in, NULL, 1 << 20) > 0)
                ;
        (void) close(in);
        (void) close(out);
}

static int driver_roles(void *argument) {
        char path[256];
        pid_t pid;
        int status;

        (void) snprintf(path, sizeof(path), "%s/batond", (const char *) argument);
        pid = fork();
        if (pid == 0) {
                (void) execl(path, path, NULL);
                _exit(1);
        }
        (void) waitpid(pid, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int run(const char *directory) {
        const struct tracer_options options = { .on_call = on_call, .roles = ~0u };
        int status = -1;

        cr_assert_eq(tracer_run(&options, driver_roles, (void *) directory, &status), 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

Test(tracer_role, every_role_is_known_from_its_first_call, .timeout = 60) {
        static const struct {
                int flag;
                enum trace_role role;
        } expected[] = { { 20, TRACE_SUPERVISOR }, { 10, TRACE_MOVER },   { 11, TRACE_MOVER },
                         { 12, TRACE_TAKEOVER },   { 13, TRACE_CONTROL }, { 14, TRACE_MEMORY } };
        char directory[] = "/tmp/baton-tracer-XXXXXX", path[256];

        if (SANITIZE_THREAD)
                cr_skip_test(
                        "roles follow from the order of threads, and ThreadSanitizer has one of its own");
        cr_assert(mkdtemp(directory));
        (void) snprintf(path, sizeof(path), "%s/batond", directory);
        copy_self(path);
        (void) snprintf(path, sizeof(path), "%s/baton-worker", directory);
        copy_self(path);
        (void) setenv("TRACEE_WORKER", path, 1);
        cr_expect_eq(run(directory), 0);
        (void) unlink(path);
        (void) snprintf(path, sizeof(path), "%s/batond", directory);
        (void) unlink(path);
        (void) rmdir(directory);
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                int n = expected[i].flag;

                cr_expect_eq(seen[n].entries, 1, "flag %d", n);
                cr_expect_eq(seen[n].exits, 1, "flag %d", n);
                cr_expect_eq(seen[n].role, expected[i].role, "flag %d is of %s", n,
                             trace_role_name(seen[n].role));
                cr_expect_eq(seen[n].process, 1, "flag %d", n);
        }
        cr_expect_eq(seen[15].entries, 1, "the entry is seen before the filter kills");
}

Test(tracer_role, names) {
        for (unsigned i = 0; i < TRACE_ROLE_COUNT; i++)
                cr_expect_eq(trace_role_find(trace_role_name((enum trace_role) i)), i);
        cr_expect_eq(trace_role_find("nobody"), TRACE_ROLE_COUNT);
}
