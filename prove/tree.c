/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc for the processes of a session; see tree.h. */
#include "prove/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"

#define TREE_MAX 1024
#define KILL_ROUNDS 5000
#define KILL_PAUSE_USEC 1000

/* The text is ended; 0 bytes where there is none. */
static size_t read_small(const char *path, char *ret_text, size_t bytes) {
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, ret_text, bytes - 1) : -1;

        ret_text[n > 0 ? n : 0] = '\0';
        return n > 0 ? (size_t) n : 0;
}

/* Field 6 of /proc/PID/stat; a zombie is gone for us. */
static bool is_of_session(const char *pid, pid_t session) {
        char path[64], text[1024], state;
        const char *fields;
        int found;

        (void) snprintf(path, sizeof(path), "/proc/%.16s/stat", pid);
        if (read_small(path, text, sizeof(text)) == 0)
                return false;
        fields = strrchr(text, ')');
        /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
        return fields && sscanf(fields, ") %c %*d %*d %d", &state, &found) == 2 && found == (int) session &&
               state != 'Z' && state != 'X';
}

size_t tree_list(pid_t session, pid_t *ret_pids, size_t count) {
        DIR *directory = opendir("/proc");
        size_t found = 0;

        for (struct dirent *entry; directory && found < count && (entry = readdir(directory));)
                if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
                    is_of_session(entry->d_name, session))
                        ret_pids[found++] = (pid_t) strtol(entry->d_name, NULL, 10);
        if (directory)
                (void) closedir(directory);
        return found;
}

bool tree_kill(pid_t session) {
        pid_t pids[TREE_MAX];

        for (unsigned round = 0; round < KILL_ROUNDS; round++) {
                size_t count = tree_list(session, pids, TREE_MAX);

                if (count == 0)
                        return true;
                for (size_t i = 0; i < count; i++)
                        (void) kill(pids[i], SIGKILL);
                (void) usleep(KILL_PAUSE_USEC);
        }
        return false;
}

/* ---- for a person ------------------------------------------------------------------------------ */
static void dump_file(FILE *out, const char *thread, const char *name, const char *indent) {
        char path[128], text[4096];
        size_t bytes;

        (void) snprintf(path, sizeof(path), "%.90s/%s", thread, name);
        bytes = read_small(path, text, sizeof(text));
        if (bytes == 0)
                return;
        for (const char *line = text; *line; line += strspn(line, "\n")) {
                size_t length = strcspn(line, "\n");

                fprintf(out, "%s%.*s\n", indent, (int) length, line);
                line += length;
        }
}

static void dump_process(FILE *out, pid_t pid) {
        char path[64], thread[96], line[512];
        DIR *directory;
        size_t bytes;

        (void) snprintf(path, sizeof(path), "/proc/%d/cmdline", (int) pid);
        bytes = read_small(path, line, sizeof(line));
        for (size_t i = 0; i + 1 < bytes; i++)
                if (line[i] == '\0')
                        line[i] = ' ';
        fprintf(out, "process %d: %s\n", (int) pid, line);
        (void) snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);
        directory = opendir(path);
        for (struct dirent *entry; directory && (entry = readdir(directory));) {
                if (entry->d_name[0] == '.')
                        continue;
                fprintf(out, "  thread %s:\n", entry->d_name);
                (void) snprintf(thread, sizeof(thread), "%.32s/%.16s", path, entry->d_name);
                dump_file(out, thread, "comm", "    name ");
                dump_file(out, thread, "wchan", "    waits in ");
                dump_file(out, thread, "syscall", "    call ");
                dump_file(out, thread, "stack", "      ");
        }
        if (directory)
                (void) closedir(directory);
}

void tree_dump(pid_t session, FILE *out) {
        pid_t pids[TREE_MAX];
        size_t count = tree_list(session, pids, TREE_MAX);

        for (size_t i = 0; i < count; i++)
                dump_process(out, pids[i]);
}
