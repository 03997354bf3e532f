/* SPDX-License-Identifier: Apache-2.0 */
/* A wall clock that jumps on demand, under any program: preloaded (LD_PRELOAD), it stands between the program
 * with all its libraries and the C library's calls that ask for the time of day. SQLite's "now" goes
 * through it.
 *
 * $BATON_CLOCK names a file of 8 bytes: how many seconds the program's wall clock is ahead of the true one
 * (negative: behind), in the machine's own byte order. It is mapped, so a change is seen at once and costs
 * no system call.
 *
 * It is not the kernel's clock that jumps: stamps of files, and waits of the kernel until a time of day, stay
 * true. (A time namespace would not help: it has no wall clock of its own.)
 * Must not touch: any other clock; anything without BATON_CLOCK. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t true_time = 0;
static const volatile int64_t *ahead_sec = &true_time;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
        const char *told = getenv("BATON_CLOCK");
        int fd = told ? open(told, O_RDONLY | O_CLOEXEC) : -1;
        void *map = fd >= 0 ? mmap(NULL, sizeof(*ahead_sec), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

        real_clock_gettime = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
        if (map != MAP_FAILED)
                ahead_sec = map;
        if (fd >= 0)
                (void) close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *ret_time) {
        int r;

        /* Somebody's constructor may ask before ours has run. */
        r = real_clock_gettime ? real_clock_gettime(clock, ret_time)
                               : (int) syscall(SYS_clock_gettime, clock, ret_time);
        if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
                ret_time->tv_sec += *ahead_sec;
        return r;
}

time_t time(time_t *ret_time) {
        struct timespec now;

        (void) clock_gettime(CLOCK_REALTIME_COARSE, &now);
        if (ret_time)
                *ret_time = now.tv_sec;
        return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone) {
        struct timespec now;

        (void) zone;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        *ret_time = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
        return 0;
}
