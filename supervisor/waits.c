/* SPDX-License-Identifier: Apache-2.0 */
/* RUNTIME/waiting holds pid and start of the supervisor that waits, and one line that says for what.
 * Must not touch: anything else. We die here: nobody believes the file of a process that is gone, and the next
 * supervisor removes it. */
#include "supervisor/waits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macro.h"
#include "base/process.h"

#define WAITS_NAME "waiting"
#define WAITS_BYTES 2048

static int runtime_open(const char *runtime_directory, int *ret_fd) {
        *ret_fd = open(runtime_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret_fd < 0 ? -errno : 0;
}

void waits_tell(const char *runtime_directory, const char *text) {
        _cleanup_fd_ int directory_fd = -1;
        char content[WAITS_BYTES];
        uint64_t start_ticks = 0;

        if (runtime_open(runtime_directory, &directory_fd) < 0 ||
            process_start_ticks(getpid(), &start_ticks) < 0)
                return;
        (void) snprintf(content, sizeof content, "%d %" PRIu64 " %s\n", getpid(), start_ticks, text);
        (void) file_replace_text(directory_fd, WAITS_NAME, content, 0640);
}

void waits_end(const char *runtime_directory) {
        _cleanup_fd_ int directory_fd = -1;

        if (runtime_open(runtime_directory, &directory_fd) >= 0)
                (void) unlinkat(directory_fd, WAITS_NAME, 0);
}

int waits_read(const char *runtime_directory, pid_t *ret_pid, char *ret_text, size_t text_bytes) {
        _cleanup_fd_ int directory_fd = -1, process_fd = -1;
        _cleanup_free_ char *text = NULL;
        uint64_t start_ticks;
        int pid, begin = 0, r;

        r = runtime_open(runtime_directory, &directory_fd);
        if (r >= 0)
                r = file_read_text(directory_fd, WAITS_NAME, WAITS_BYTES, &text);
        if (r < 0)
                return r;
        if (sscanf(text, "%d %" SCNu64 " %n", &pid, &start_ticks, &begin) != 2 || begin == 0 || pid <= 0)
                return -EBADMSG;
        if (process_open(pid, start_ticks, &process_fd) < 0 || process_has_ended(process_fd))
                return -ENOENT;
        text[strcspn(text, "\n")] = '\0';
        (void) snprintf(ret_text, text_bytes, "%s", text + begin);
        *ret_pid = pid;
        return 0;
}
