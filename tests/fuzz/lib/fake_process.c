/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_process.h. Functions named __wrap_X stand in for X in the product (ld's --wrap). */
#include "tests/fuzz/lib/fake_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/process.h"
#include "shm/workers_lock.h"
#include "tests/fuzz/lib/fuzz.h"

#define DESCRIPTORS_MAX 1024

struct fake fakes[FAKE_COUNT_MAX];
void (*fake_on_kill)(struct fake *fake);
void (*fake_on_wait)(pid_t thread_id);
pid_t fake_own_pid;
uint64_t fake_clock_usec;

static struct fake *fake_of_descriptor[DESCRIPTORS_MAX];

pid_t __real_getpid(void);
int __wrap_process_open(pid_t pid, uint64_t start_ticks, int *ret_fd);
int __wrap_process_start_ticks(pid_t pid, uint64_t *ret_start_ticks);
int __wrap_process_state(pid_t pid, char *ret_state);
bool __wrap_process_has_thread(pid_t pid, pid_t thread_id);
int __wrap_process_signal(int pid_fd, int signal_number);
int __wrap_kill(pid_t pid, int signal_number);
pid_t __wrap_getpid(void);
ssize_t __wrap_readlink(const char *path, char *buffer, size_t bytes);
int __real_workers_lock_exclusive(const char *state_directory, int *ret_fd, int *ret_holder_pid,
                                  struct failure *ret_failure);
int __wrap_workers_lock_exclusive(const char *state_directory, int *ret_fd, int *ret_holder_pid,
                                  struct failure *ret_failure);
uint64_t __wrap_clock_usec(void);
uint64_t __wrap_clock_realtime_usec(void);

/* ---- the processes ------------------------------------------------------------------------------------- */
struct fake *fake_begin(unsigned index) {
        struct fake *fake = &fakes[index];

        fuzz_must(index < FAKE_COUNT_MAX && !fake->is_used, "number %u", index);
        *fake = (struct fake){ .pid = FAKE_PID_FIRST + (pid_t) index,
                               .start_ticks = 100 + index,
                               .end_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                               .is_used = true };
        fake->thread_id = fake->pid;
        fuzz_must(fake->end_fd >= 0, "eventfd: %m");
        return fake;
}

struct fake *fake_begin_any(void) {
        for (unsigned i = 0; i < FAKE_COUNT_MAX; i++)
                if (!fakes[i].is_used)
                        return fake_begin(i);
        return NULL;
}

struct fake *fake_find(pid_t pid) {
        for (unsigned i = 0; i < FAKE_COUNT_MAX; i++)
                if (fakes[i].is_used && fakes[i].pid == pid)
                        return &fakes[i];
        return NULL;
}

struct fake *fake_find_thread(pid_t thread_id) {
        for (unsigned i = 0; i < FAKE_COUNT_MAX; i++)
                if (fakes[i].is_used && fakes[i].thread_id == thread_id)
                        return &fakes[i];
        return NULL;
}

void fake_end(struct fake *fake) {
        const uint64_t one = 1;

        fake->is_gone = true;
        fuzz_must(write(fake->end_fd, &one, sizeof(one)) == sizeof(one), "eventfd: %m");
}

void fakes_forget(void) {
        for (unsigned i = 0; i < FAKE_COUNT_MAX; i++) {
                if (fakes[i].is_used)
                        (void) close(fakes[i].end_fd);
                fakes[i] = (struct fake){ .is_used = false };
        }
        memset(fake_of_descriptor, 0, sizeof(fake_of_descriptor));
}

/* ---- what the product asks ------------------------------------------------------------------------------- */
int __wrap_process_open(pid_t pid, uint64_t start_ticks, int *ret_fd) {
        struct fake *fake = fake_find(pid);
        int fd;

        if (!fake || fake->start_ticks != start_ticks)
                return -ESRCH;
        fd = dup(fake->end_fd);
        if (fd < 0)
                return -errno;
        fuzz_must(fd < DESCRIPTORS_MAX, "descriptor %d: a leak", fd);
        fake_of_descriptor[fd] = fake;
        *ret_fd = fd;
        return 0;
}

int __wrap_process_start_ticks(pid_t pid, uint64_t *ret_start_ticks) {
        const struct fake *fake = fake_find(pid);

        if (pid == __real_getpid())
                *ret_start_ticks = 1;
        else if (fake)
                *ret_start_ticks = fake->start_ticks;
        else
                return -ESRCH;
        return 0;
}

int __wrap_process_state(pid_t pid, char *ret_state) {
        const struct fake *fake = fake_find(pid);

        if (!fake || fake->is_gone)
                return -ESRCH;
        *ret_state = fake->is_at_disk ? 'D' : 'S';
        return 0;
}

bool __wrap_process_has_thread(pid_t pid, pid_t thread_id) {
        const struct fake *fake = fake_find(pid);

        return fake && fake->thread_id == thread_id;
}

int __wrap_process_signal(int pid_fd, int signal_number) {
        struct fake *fake;

        fuzz_must(pid_fd >= 0 && pid_fd < DESCRIPTORS_MAX && fake_of_descriptor[pid_fd],
                  "signal %d to a process that nobody opened", signal_number);
        fake = fake_of_descriptor[pid_fd];
        if (fake->is_gone)
                return -ESRCH;
        if (signal_number == SIGKILL)
                fake_on_kill(fake);
        else
                fake->term_count++;
        return 0;
}

/* Of locks alone: does the thread exist that holds it? */
int __wrap_kill(pid_t pid, int signal_number) {
        const struct fake *fake;

        fuzz_must(signal_number == 0, "signal %d to %d", signal_number, pid);
        if (fake_on_wait)
                fake_on_wait(pid);
        fake = fake_find_thread(pid);
        if (pid == FAKE_STRANGER_PID || (fake && !fake->is_gone))
                return 0;
        errno = ESRCH;
        return -1;
}

pid_t __wrap_getpid(void) {
        return fake_own_pid ? fake_own_pid : __real_getpid();
}

/* Every fake runs the worker program. */
ssize_t __wrap_readlink(const char *path, char *buffer, size_t bytes) {
        static const char program[] = "/nowhere/baton-worker";
        int pid;

        if (sscanf(path, "/proc/%d/exe", &pid) != 1 || !fake_find(pid) || bytes < sizeof(program)) {
                errno = ENOENT;
                return -1;
        }
        memcpy(buffer, program, sizeof(program) - 1);
        return sizeof(program) - 1;
}

/* No new segment while one of them lives in the one before (S11). */
int __wrap_workers_lock_exclusive(const char *state_directory, int *ret_fd, int *ret_holder_pid,
                                  struct failure *ret_failure) {
        for (unsigned i = 0; i < FAKE_COUNT_MAX; i++)
                if (fakes[i].is_used && !fakes[i].is_gone && fakes[i].has_workers_lock) {
                        if (ret_holder_pid)
                                *ret_holder_pid = fakes[i].pid;
                        return failure_set(ret_failure, -EBUSY, FAILURE_UNAVAILABLE, "worker %d lives",
                                           fakes[i].pid);
                }
        return __real_workers_lock_exclusive(state_directory, ret_fd, ret_holder_pid, ret_failure);
}

uint64_t __wrap_clock_usec(void) {
        return fake_clock_usec++;
}

uint64_t __wrap_clock_realtime_usec(void) {
        return 1700000000ULL * USEC_PER_SEC + fake_clock_usec++;
}
