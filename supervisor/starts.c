/* SPDX-License-Identifier: Apache-2.0 */
/* U3: who dies as soon as he was started waits before he tries again. The unit starts batond at once and for ever
 * (no start limit, no growing delay in systemd 252), so the supervisor counts for itself: how often in a row it
 * ended, in whatever way, within QUICK_USEC. RUNTIME/starts holds the count and when the last one began; it stays
 * over a restart, and an orderly end removes it.
 *
 * Must not touch: anything else. We die here: the count is the one before, or none, and the delay shorter by one. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "supervisor/manager.h"

#define STARTS_NAME "starts"
#define QUICK_USEC (1 * USEC_PER_SEC)
#define QUICK_FREE 2u /* so many in a row are bad luck */
#define DELAY_FIRST_USEC (100 * USEC_PER_MSEC)
#define DELAY_MOST_USEC (10 * USEC_PER_SEC) /* well below adopt-timeout: workers wait for us (P1) */

uint64_t starts_delay_usec(uint32_t quick_count) {
        if (quick_count <= QUICK_FREE)
                return 0;
        return MIN_OF(DELAY_FIRST_USEC << MIN_OF(quick_count - QUICK_FREE - 1, 16U), DELAY_MOST_USEC);
}

uint32_t starts_count(const char *text, uint64_t now_usec) {
        uint64_t begun_usec;
        uint32_t count;

        /* Ours, but it may be half a file; whatever it is, it says no more than a number that is bounded. */
        if (sscanf(text, "%" SCNu32 " %" SCNu64, &count, &begun_usec) != 2 || begun_usec > now_usec ||
            now_usec - begun_usec >= QUICK_USEC)
                return 0;
        return MIN_OF(count, UINT32_MAX - 1) + 1;
}

static void wait_for(uint64_t delay_usec, uint32_t count) {
        const struct timespec pause = { .tv_sec = (time_t) (delay_usec / USEC_PER_SEC),
                                        .tv_nsec = (long) (delay_usec % USEC_PER_SEC * NSEC_PER_USEC) };
        char span[32];

        clock_format_span(delay_usec, span, sizeof span);
        log_line(MESSAGE_SUPERVISOR_DIES_OFTEN, LOG_WARNING, NULL,
                 "ended %u times in a row as soon as it was started: waits %s", count, span);
        (void) sd_notifyf(0, "STATUS=ended %u times in a row as soon as it was started: waits %s", count,
                          span);
        (void) nanosleep(&pause, NULL); /* SIGTERM ends us here, and nothing is to be put away */
}

void starts_begin(const struct directories *directories) {
        _cleanup_fd_ int directory_fd = -1, fd = -1;
        _cleanup_free_ char *text = NULL;
        uint32_t count = 0;
        char now[48];

        if (!getenv("NOTIFY_SOCKET"))
                return; /* a person starts us, and wants to see why we end */
        directory_fd = open(directories->runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory_fd >= 0 && file_read_text(directory_fd, STARTS_NAME, sizeof now, &text) >= 0)
                count = starts_count(text, clock_usec());
        if (starts_delay_usec(count) > 0)
                wait_for(starts_delay_usec(count), count);
        if (directory_fd < 0)
                return;
        (void) snprintf(now, sizeof now, "%" PRIu32 " %" PRIu64 "\n", count, clock_usec());
        /* Not durable, not atomic: tmpfs, and the worst is a delay too short. */
        fd = openat(directory_fd, STARTS_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd >= 0)
                (void) fd_pwrite_all(fd, now, strlen(now), 0);
}

void starts_end(const struct directories *directories) {
        _cleanup_fd_ int directory_fd = open(directories->runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (directory_fd >= 0)
                (void) unlinkat(directory_fd, STARTS_NAME, 0);
}
