/* SPDX-License-Identifier: Apache-2.0 */
/* Replays inputs without libFuzzer, with any compiler: every file that is named, or every one of the target's
 * corpus. Part of `make check`, which counts inputs as it counts the cases of Criterion.
 * Must not touch: the corpus. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/fuzz/lib/fuzz.h"

#define CORPUS "tests/fuzz/corpus"

int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static char in_hand[512]; /* so that a death names its input */
static unsigned replayed_count;

/* NOLINTNEXTLINE(readability-non-const-parameter): the signature is libFuzzer's */
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t bytes_max) {
        (void) data;
        (void) bytes_max;
        return bytes;
}

static void name_input(void) {
        static const char before[] = "died of the input ";

        (void) !write(STDERR_FILENO, before, sizeof(before) - 1);
        (void) !write(STDERR_FILENO, in_hand, strlen(in_hand));
        (void) !write(STDERR_FILENO, "\n", 1);
}

static void on_death(int signal_number) {
        name_input();
        (void) signal(signal_number, SIG_DFL);
        (void) raise(signal_number);
}

static void watch_deaths(void) {
        static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTERM };

        if (__sanitizer_set_death_callback)
                __sanitizer_set_death_callback(name_input); /* its own report stands before it */
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                if (!__sanitizer_set_death_callback || signals[i] == SIGABRT || signals[i] == SIGTERM)
                        (void) signal(signals[i], on_death);
}

/* In memory of exactly its size, so that a sanitizer sees who reads behind its end. */
static void replay_file(const char *path) {
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ uint8_t *data = NULL;
        struct stat status;
        size_t bytes;

        if (fd < 0 || fstat(fd, &status) < 0) {
                (void) fprintf(stderr, "%s: %s\n", path, strerror(errno));
                exit(1);
        }
        data = malloc((size_t) status.st_size);
        if ((!data && status.st_size > 0) || fd_pread_all(fd, data, (size_t) status.st_size, 0, &bytes) < 0) {
                (void) fprintf(stderr, "%s cannot be read\n", path);
                exit(1);
        }
        (void) snprintf(in_hand, sizeof(in_hand), "%s", path);
        (void) LLVMFuzzerTestOneInput(data, bytes);
        replayed_count++;
}

static int is_visible(const struct dirent *entry) {
        return entry->d_name[0] != '.';
}

static void replay(const char *path) {
        struct dirent **entries;
        char file[512];
        int count;

        count = scandir(path, &entries, is_visible, alphasort);
        if (count < 0 && errno == ENOTDIR) {
                replay_file(path);
                return;
        }
        if (count < 0) {
                (void) fprintf(stderr, "%s: %s\n", path, strerror(errno));
                exit(1);
        }
        for (int i = 0; i < count; i++) {
                (void) snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
                replay_file(file);
                free(entries[i]);
        }
        free(entries);
}

int main(int argc, char **argv) {
        const char *name = strrchr(argv[0], '/'), *target = strstr(name ? name : argv[0], "fuzz_");
        char corpus[256];

        watch_deaths();
        if (LLVMFuzzerInitialize)
                (void) LLVMFuzzerInitialize(&argc, &argv);
        for (int i = 1; i < argc; i++)
                replay(argv[i]);
        if (argc == 1 && target) {
                (void) snprintf(corpus, sizeof(corpus), CORPUS "/%s", target + strlen("fuzz_"));
                replay(corpus);
        }
        /* In the words of Criterion, for tests/run.sh. */
        (void) printf("Synthesis: Tested: %u | Passing: %u | Failing: 0 | Crashing: 0\n", replayed_count,
                      replayed_count);
        return replayed_count > 0 ? 0 : 1;
}
