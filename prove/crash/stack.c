/* SPDX-License-Identifier: Apache-2.0 */
/* Where a thread stands when it is killed, for a person.
 *
 * Release builds keep no frame pointers, so the stack is searched for addresses that follow a call. Some of
 * them may be left over from calls that have returned; the order is right. x86-64; elsewhere the innermost
 * place alone. Must not touch: the process, but by reading it. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/macro.h"
#include "prove/crash/crash.h"

#define STACK_BYTES 16384u
#define FRAMES_MAX 24u
#define TEXTS_MAX 32u
#define RUN_PREFIX "baton-prove-" /* of a fleet's directory */

struct text {
        uint64_t from, to, offset;
        char file[256];
};

struct texts {
        size_t count;
        struct text texts[TEXTS_MAX];
};

static void texts_read(pid_t pid, struct texts *ret_texts) {
        char path[64], line[PATH_MAX + 128], mode[5], file[256];
        unsigned long from, to, offset;
        FILE *maps;

        ret_texts->count = 0;
        (void) snprintf(path, sizeof(path), "/proc/%d/maps", (int) pid);
        maps = fopen(path, "re");
        while (maps && fgets(line, sizeof(line), maps) && ret_texts->count < TEXTS_MAX) {
                struct text *text = &ret_texts->texts[ret_texts->count];

                /* NOLINTNEXTLINE(cert-err34-c): the kernel wrote it */
                if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %255s", &from, &to, mode, &offset, file) != 5 ||
                    mode[2] != 'x')
                        continue;
                *text = (struct text){ .from = from, .to = to, .offset = offset };
                (void) snprintf(text->file, sizeof(text->file), "%s", file);
                ret_texts->count++;
        }
        if (maps)
                (void) fclose(maps);
}

static const struct text *text_at(const struct texts *texts, uint64_t address) {
        for (size_t i = 0; i < texts->count; i++)
                if (address >= texts->texts[i].from && address < texts->texts[i].to)
                        return &texts->texts[i];
        return NULL;
}

/* e8 rel32, or ff /2 of two to seven bytes. */
static bool follows_a_call(pid_t pid, uint64_t address) {
#if defined(__x86_64__)
        uint8_t before[7];

        if (tracer_read(pid, address - sizeof(before), before, sizeof(before)) != (ssize_t) sizeof(before))
                return false;
        if (before[2] == 0xe8)
                return true;
        for (size_t i = 0; i <= 5; i++)
                if (before[i] == 0xff && (before[i + 1] & 0x38) == 0x10)
                        return true;
#else
        (void) pid, (void) address;
#endif
        return false;
}

static size_t frame_write(const struct texts *texts, uint64_t address, char *ret_text, size_t bytes) {
        const struct text *text = text_at(texts, address);
        uint64_t in_file;
        int n;

        if (!text)
                return 0;
        in_file = address - text->from + text->offset;
        n = snprintf(ret_text, bytes, "%s+0x%llx\n", text->file, (unsigned long long) in_file);
        return n > 0 && (size_t) n < bytes ? (size_t) n : 0;
}

static size_t frames_write(const struct trace_call *call, size_t frames_max, char *ret_text, size_t bytes) {
        uint64_t words[STACK_BYTES / sizeof(uint64_t)];
        struct texts texts;
        size_t used, frames = 1;
        ssize_t n;

        texts_read(call->pid, &texts);
        used = frame_write(&texts, call->instruction_pointer, ret_text, bytes);
        n = tracer_read(call->pid, call->stack_pointer, words, sizeof(words));
        for (size_t i = 0; n > 0 && i < (size_t) n / sizeof(words[0]) && frames < frames_max; i++) {
                if (!text_at(&texts, words[i]) || !follows_a_call(call->pid, words[i]))
                        continue;
                /* The call itself, not the line after it. */
                used += frame_write(&texts, words[i] - 1, ret_text + used, bytes - used);
                frames++;
        }
        ret_text[used] = '\0';
        return used;
}

void crash_stack_write(const struct trace_call *call, char *ret_text, size_t bytes) {
        (void) frames_write(call, FRAMES_MAX, ret_text, bytes);
}

/* Which argument names a file: a path, or a descriptor (glibc's fstat() is newfstatat(fd, "")). */
static bool path_argument(uint64_t number, unsigned *ret_index) {
        switch (number) {
        case SYS_openat:
        case SYS_newfstatat:
        case SYS_statx:
        case SYS_unlinkat:
        case SYS_mkdirat:
        case SYS_renameat:
        case SYS_renameat2:
        case SYS_inotify_add_watch:
                *ret_index = 1;
                return true;
        case SYS_execve:
#if defined(__x86_64__)
        case SYS_unlink:
        case SYS_rename:
        case SYS_mkdir:
#endif
                *ret_index = 0;
                return true;
        default:
                return false;
        }
}

void crash_object_write(const struct trace_call *call, char *ret_text, size_t bytes) {
        char path[PATH_MAX] = "";
        const char *name;
        unsigned index;

        if (path_argument(call->number, &index)) {
                ssize_t n = tracer_read(call->pid, call->arguments[index], path, sizeof(path) - 1);

                path[MAX_OF(n, (ssize_t) 0)] = '\0';
        }
        if (path[0] == '\0' && call->number != SYS_mmap)
                (void) tracer_path(call->pid, (int) call->arguments[0], path, sizeof(path));
        name = strrchr(path, '/');
        (void) snprintf(ret_text, bytes, "%s", name && name[1] ? name + 1 : path);
}

/* What is another name in each run, or for each source, becomes one: numbers, the run's directory, `a`, `b`, `c`. */
static void object_generalize(char *name) {
        size_t to = 0;

        if (strncmp(name, RUN_PREFIX, strlen(RUN_PREFIX)) == 0)
                name[strlen(RUN_PREFIX)] = '\0';
        if (name[0] >= 'a' && name[0] <= 'c' && (name[1] == '.' || name[1] == '-'))
                name[0] = 'a';
        for (size_t i = 0; name[i]; i++) {
                const bool is_digit = name[i] >= '0' && name[i] <= '9';

                if (is_digit && to > 0 && name[to - 1] == '0')
                        continue;
                name[to++] = is_digit ? '0' : name[i];
        }
        name[to] = '\0';
}

#define PLACE_FRAMES 2u

bool crash_stack_is_loader(const char *text) {
        const char *found = strstr(text, "/ld-linux");

        return found && found < text + strcspn(text, "\n");
}

/* Two frames: the C library's, and whose call it is. What lies deeper is found by search, and not the same in each
 * run. */
uint32_t crash_stack_place(const struct trace_call *call) {
        char text[4096], object[OBJECT_TEXT_BYTES];
        size_t used;
        uint32_t place;
        int n;

        n = snprintf(text, sizeof(text), "%d ", (int) call->number);
        used = (size_t) n + frames_write(call, PLACE_FRAMES, text + n, 2048);
        if (crash_stack_is_loader(text)) /* whichever library it was: the program has not begun */
                used = (size_t) snprintf(text, sizeof(text), "%d loader", (int) call->number);
        else {
                crash_object_write(call, object, sizeof(object));
                object_generalize(object);
                used += (size_t) snprintf(text + used, sizeof(text) - used, "%s", object);
        }
        place = (uint32_t) XXH3_64bits(text, used);
        return place ? place : 1;
}

/* One frame: "function at file:line", by addr2line where it is. */
static void frame_print(const char *frame, size_t length) {
        char file[512], command[1024], line[512] = "";
        const char *plus = memrchr(frame, '+', length);
        FILE *out;

        printf("    %.*s\n", (int) length, frame);
        if (!plus || memchr(frame, '\'', length))
                return;
        (void) snprintf(file, sizeof(file), "%.*s", (int) (plus - frame), frame);
        (void) snprintf(command, sizeof(command), "addr2line -fpie '%s' %.*s 2>/dev/null", file,
                        (int) (frame + length - plus - 1), plus + 1);
        out = popen(command, "re"); // NOLINT(cert-env33-c)
        while (out && fgets(line, sizeof(line), out))
                if (line[0] != '?')
                        printf("        %s", line);
        if (out)
                (void) pclose(out);
}

void crash_stack_print(const char *text) {
        for (const char *line = text; *line; line += strspn(line, "\n")) {
                size_t length = strcspn(line, "\n");

                frame_print(line, length);
                line += length;
        }
}
