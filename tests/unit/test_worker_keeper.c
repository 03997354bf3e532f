/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper of a dead worker's memory (worker/keeper.c): it shares the memory and nothing else, and it ends
 * with the worker, however that ends. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macro.h"
#include "worker/keeper.h"

#define WAIT_USEC (20 * USEC_PER_SEC)

struct shared {
        _Atomic pid_t keeper;
        _Atomic int result, is_ready;
};

static struct shared *shared;

static void begin(void) {
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert(shared != MAP_FAILED);
        cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* so that a keeper that ended is seen to */
}

TestSuite(keeper, .init = begin, .timeout = 60);

/* A worker that does nothing, with whatever is open here. */
static pid_t worker_start(void) {
        pid_t pid = fork(), keeper = 0;

        if (pid == 0) {
                shared->result = keeper_start(&keeper);
                shared->keeper = keeper;
                shared->is_ready = 1;
                for (;;)
                        (void) pause();
        }
        for (uint64_t until = clock_usec() + WAIT_USEC; !shared->is_ready && clock_usec() < until;)
                (void) usleep(200);
        cr_assert_eq(shared->result, 0);
        cr_assert_gt(shared->keeper, 0);
        return pid;
}

static unsigned descriptors_of(pid_t pid) {
        char path[64];
        unsigned count = 0;
        DIR *directory;

        (void) snprintf(path, sizeof(path), "/proc/%d/fd", pid);
        directory = opendir(path);
        cr_assert(directory, "%s", path);
        for (struct dirent *entry; (entry = readdir(directory));)
                count += entry->d_name[0] != '.';
        (void) closedir(directory);
        return count;
}

/* The number after `word` in /proc/PID/status, or -1. */
static int status_of(pid_t pid, const char *word) {
        char path[64], line[256];
        int value = -1;
        FILE *file;

        (void) snprintf(path, sizeof(path), "/proc/%d/status", pid);
        file = fopen(path, "re");
        if (!file)
                return -1;
        while (fgets(line, sizeof(line), file))
                if (strncmp(line, word, strlen(word)) == 0)
                        (void) sscanf(line + strlen(word), ":%d", &value);
        (void) fclose(file);
        return value;
}

static bool wait_settled(pid_t keeper) {
        for (uint64_t until = clock_usec() + WAIT_USEC; clock_usec() < until; (void) usleep(500))
                if (status_of(keeper, "Seccomp") == 2)
                        return true;
        return false;
}

/* True once the process is gone; reaps it, as the subreaper that inherits it. */
static bool wait_gone(pid_t pid) {
        for (uint64_t until = clock_usec() + WAIT_USEC; clock_usec() < until; (void) usleep(500)) {
                (void) waitpid(pid, NULL, WNOHANG | __WALL);
                if (kill(pid, 0) < 0 && errno == ESRCH)
                        return true;
        }
        return false;
}

static void end_worker(pid_t pid) {
        (void) kill(pid, SIGKILL);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(keeper, holds_one_descriptor_at_lowest_priority_and_may_do_nothing) {
        pid_t worker = worker_start();

        cr_assert(wait_settled(shared->keeper), "it confines itself to read and exit");
        cr_expect_eq(descriptors_of(shared->keeper), 1,
                     "a lock that it inherited would outlive the worker (S11)");
        cr_expect_eq(getpriority(PRIO_PROCESS, (id_t) shared->keeper), 19);
        end_worker(worker);
        cr_expect(wait_gone(shared->keeper));
}

Test(keeper, ends_with_a_worker_that_was_killed) {
        pid_t worker = worker_start();

        end_worker(worker); /* perhaps before it has come to its wait: then it sees that the parent changed */
        cr_expect(wait_gone(shared->keeper));
}

Test(keeper, ends_although_it_was_stopped) {
        pid_t worker = worker_start();

        cr_assert(wait_settled(shared->keeper));
        cr_assert_eq(kill(shared->keeper, SIGSTOP), 0);
        end_worker(worker);
        cr_expect(wait_gone(shared->keeper), "SIGKILL reaches it with the death of its parent");
}

Test(keeper, does_not_keep_a_lock_of_the_worker) {
        char path[] = "/tmp/baton-keeper-XXXXXX";
        int fd = mkstemp(path), again;
        pid_t worker;

        cr_assert_geq(fd, 0);
        cr_assert_eq(flock(fd, LOCK_EX), 0);
        worker = worker_start(); /* it and, at first, the keeper inherit the locked file */
        cr_assert(wait_settled(shared->keeper));
        (void) close(fd);
        again = open(path, O_RDWR | O_CLOEXEC);
        cr_assert_lt(flock(again, LOCK_EX | LOCK_NB), 0, "the worker has it");
        end_worker(worker);
        cr_expect_eq(flock(again, LOCK_EX | LOCK_NB), 0, "free with the worker's death");
        (void) wait_gone(shared->keeper);
        (void) unlink(path);
}

Test(keeper, is_missed_by_nobody) {
        pid_t worker = worker_start();
        int status;

        cr_assert(wait_settled(shared->keeper));
        cr_assert_eq(kill(shared->keeper, SIGKILL), 0);
        (void) usleep(20000);
        cr_expect_eq(waitpid(worker, &status, WNOHANG), 0, "the worker lives on");
        end_worker(worker);
}

/* A container's filter may know neither call nor reason. */
static void deny_close_range(void) {
        scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);

        if (!context || seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(close_range), 0) < 0 ||
            seccomp_load(context) < 0)
                _exit(1);
        seccomp_release(context);
}

Test(keeper, ends_at_once_where_it_cannot_give_up_what_it_inherited) {
        pid_t pid = fork(), keeper = 0;
        siginfo_t info = { 0 };

        if (pid == 0) {
                deny_close_range();
                if (keeper_start(&keeper) < 0)
                        _exit(2);
                _exit(waitid(P_PID, (id_t) keeper, &info, WEXITED | __WALL) < 0 ? 3 : 0);
        }
        for (uint64_t until = clock_usec() + WAIT_USEC; clock_usec() < until; (void) usleep(500))
                if (waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG) == 0 && info.si_pid == pid)
                        break;
        if (info.si_pid != pid)
                (void) kill(pid, SIGKILL);
        cr_expect_eq(info.si_pid, pid, "it would hold the worker's lock (S11) at the lowest priority");
        cr_expect_eq(info.si_status, 0);
}
