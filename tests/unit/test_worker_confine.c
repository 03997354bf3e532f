/* SPDX-License-Identifier: Apache-2.0 */
/* P6: after confine() a worker can make no process, execute nothing, start no io_uring and no aio; a
 * thread it still could. Each attempt runs in a child that must die of SIGSYS: by the filter
 * where there is no handler, and by the handler's own hand where there is the worker's. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sanitize.h"
#include "worker/worker.h"

static void try_fork(void) {
        (void) syscall(SYS_fork);
}
static void try_vfork(void) {
        (void) syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}
static void try_exec(void) {
        char *const nothing[] = { NULL };

        (void) execve("/bin/true", nothing, nothing);
}
static void try_io_uring(void) {
        (void) syscall(SYS_io_uring_setup, 1, NULL);
}
static void try_aio(void) {
        (void) syscall(SYS_io_setup, 1, NULL);
}
static void try_ptrace(void) {
        (void) syscall(SYS_ptrace, 0, 0, 0, 0);
}

static struct layout_worker record;
static struct segment segment = { .workers = { (char *) &record, sizeof(record) } };
static struct worker worker = { .segment = &segment, .wake_fd = -1 };

static int run_confined(bool with_handlers, void (*attempt)(void)) {
        int status = 0;
        pid_t child = fork();

        if (child == 0) {
                struct failure failure;

                worker.ref = worker_ref(0, 1);
                if (with_handlers && signals_install(&worker) < 0)
                        _exit(97);
                if (confine(&failure) < 0)
                        _exit(99);
                attempt();
                _exit(0);
        }
        cr_assert_gt(child, 0);
        cr_assert_eq(waitpid(child, &status, 0), child);
        return status;
}

Test(confine, P6_forbidden_calls_kill) {
        void (*const attempts[])(void) = {
                try_fork,     try_vfork, try_exec,
                try_io_uring, try_aio,   SANITIZE_ADDRESS ? try_exec : try_ptrace, /* the leak detector's */
        };

        for (size_t i = 0; i < 2 * ELEMENTSOF(attempts); i++) {
                int status = run_confined(i % 2 == 0, attempts[i / 2]);

                cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "attempt %zu: status %#x", i / 2,
                          status);
        }
}

static void *thread_main(void *argument) {
        return argument;
}
static void try_thread(void) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, thread_main, NULL) != 0 || pthread_join(thread, NULL) != 0)
                _exit(98);
}

Test(confine, a_thread_is_no_process) {
        int status;

        if (SANITIZE_THREAD)
                cr_skip_test(
                        "ThreadSanitizer knows no threads in a forked child; real workers have theirs in the "
                        "integration tests");
        status = run_confined(true, try_thread);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}
