/* SPDX-License-Identifier: Apache-2.0 */
/* Directories and names of journals. Must not touch: a file's content. */
#include "worker/journal/place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/macro.h"
#include "base/text.h"
#include "worker/journal/disk.h"

#define JOURNAL_SUFFIX ".journal"
#define JOURNAL_FOLDER "journal"

int journal_place_path(const char *state_directory, const char *destination, char **ret_path,
                       struct failure *ret_failure) {
        char *path;

        assert(state_directory);
        assert(destination);

        if (!text_is_name(destination))
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP,
                                   "journal: \"%.64s\" is no destination's name", destination);
        if (asprintf(&path, "%s/" JOURNAL_FOLDER "/%s", state_directory, destination) < 0)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "journal: out of memory");
        *ret_path = path;
        return 0;
}

/* Opens the folder `name` in `parent_fd`, made if it is missing. */
static int folder_make(int parent_fd, const char *name, bool synced, int *ret_fd) {
        int r;

        r = journal_disk_mkdir(parent_fd, name);
        if (r < 0 && r != -EEXIST)
                return r;
        if (synced) {
                r = journal_disk_dirsync(parent_fd);
                if (r < 0)
                        return r;
        }
        return journal_disk_open(parent_fd, name, O_RDONLY | O_DIRECTORY, ret_fd);
}

int journal_place_make(const char *state_directory, const char *destination, bool synced, int *ret_dir_fd,
                       struct failure *ret_failure) {
        _cleanup_fd_ int state_fd = -1, journal_fd = -1;
        _cleanup_free_ char *path = NULL;
        int dir_fd = -1, r;

        r = journal_place_path(state_directory, destination, &path, ret_failure);
        if (r < 0)
                return r;
        state_fd = open(state_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (state_fd < 0) {
                r = -errno;
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "state directory %s cannot be opened: %s", state_directory, strerror(-r));
        }
        r = folder_make(state_fd, JOURNAL_FOLDER, synced, &journal_fd);
        if (r >= 0)
                r = folder_make(journal_fd, destination, synced, &dir_fd);
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "journal directory %s cannot be made%s: %s; %s", path,
                                   r == -EIO ? " durable" : "", strerror(-r),
                                   r == -EIO ? "look at the disk (kernel log), then run `baton adopt`"
                                             : "check that the state directory is writable for Baton");
        *ret_dir_fd = dir_fd;
        return 0;
}

void journal_name_make(uint32_t worker_index, uint64_t worker_generation, unsigned number,
                       char ret_name[JOURNAL_NAME_BYTES]) {
        int n;

        if (number == 0)
                n = snprintf(ret_name, JOURNAL_NAME_BYTES, "%04" PRIu32 "-%" PRIu64 JOURNAL_SUFFIX,
                             worker_index, worker_generation);
        else
                n = snprintf(ret_name, JOURNAL_NAME_BYTES, "%04" PRIu32 "-%" PRIu64 ".%u" JOURNAL_SUFFIX,
                             worker_index, worker_generation, number);
        assert(n > 0 && n < JOURNAL_NAME_BYTES - (int) strlen(JOURNAL_NEW_SUFFIX));
}

/* Digits, at least `at_least` of them; returns what stands behind, or NULL. */
static const char *skip_digits(const char *text, size_t at_least) {
        size_t n = strspn(text, "0123456789");

        return n < at_least ? NULL : text + n;
}

/* What stands behind "WWWW-G[.N].journal", or NULL if the name does not begin so. */
static const char *skip_journal_name(const char *name) {
        const char *rest = skip_digits(name, 4);

        if (!rest || *rest != '-')
                return NULL;
        rest = skip_digits(rest + 1, 1);
        if (rest && *rest == '.' && rest[1] >= '0' && rest[1] <= '9')
                rest = skip_digits(rest + 1, 1);
        if (!rest || strncmp(rest, JOURNAL_SUFFIX, strlen(JOURNAL_SUFFIX)) != 0)
                return NULL;
        return rest + strlen(JOURNAL_SUFFIX);
}

bool journal_name_is_journal(const char *name) {
        const char *rest = skip_journal_name(name);

        return rest && *rest == '\0' && strlen(name) < JOURNAL_NAME_BYTES;
}

bool journal_name_is_new(const char *name) {
        const char *rest = skip_journal_name(name);

        return rest && strcmp(rest, JOURNAL_NEW_SUFFIX) == 0;
}
