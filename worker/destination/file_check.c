/* SPDX-License-Identifier: Apache-2.0 */
/* `baton check` for the file destination: could it be written to? Reads, makes nothing, locks nothing.
 * Must not touch: anything. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/destination/file.h"

static bool is_data_name(const char *name) {
        size_t length = strlen(name), suffix = strlen(".jsonl");

        return name[0] != '.' && length > suffix && strcmp(name + length - suffix, ".jsonl") == 0;
}

static int count_data_files(const char *path, uint64_t *ret_count) {
        DIR *directory = opendir(path);
        struct dirent *entry;
        uint64_t count = 0;
        int r;

        if (!directory)
                return -errno;
        while (errno = 0, (entry = readdir(directory)))
                count += is_data_name(entry->d_name);
        r = -errno;
        (void) closedir(directory);
        if (r >= 0)
                *ret_count = count;
        return r;
}

static int note_make(const char *path, char **ret_note) {
        uint64_t count = 0;
        char *note = NULL;
        int r;

        r = count_data_files(path, &count);
        if (r < 0)
                return r;
        if (count > 0 &&
            asprintf(&note,
                     "%s holds %llu .jsonl files already; a session whose files have content that Baton's "
                     "journal does not know will stop",
                     path, (unsigned long long) count) < 0)
                return -ENOMEM;
        *ret_note = note;
        return 0;
}

int file_check(const struct destination_config *config, char **ret_note, struct failure *ret_failure) {
        const char *path = config->url->path;
        struct stat status;
        int r;

        assert(ret_note);

        r = stat(path, &status) < 0 ? -errno : 0;
        if (r == -ENOENT)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE,
                                   "the directory %s does not exist; make it and give it to Baton's user",
                                   path);
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r), "cannot look at %s: %s", path,
                                   strerrordesc_np(-r));
        if (!S_ISDIR(status.st_mode))
                return failure_set(
                        ret_failure, -ENOTDIR, FAILURE_STOP,
                        "%s is not a directory; url = file:DIRECTORY names the directory for the files",
                        path);
        if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) < 0) {
                r = -errno;
                return failure_set(
                        ret_failure, r, failure_kind_of_errno(r),
                        "the directory %s cannot be written to by this user (%s); Baton needs to read, write "
                        "and search it",
                        path, strerrordesc_np(-r));
        }
        r = note_make(path, ret_note);
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot see what the directory %s holds: %s", path, strerrordesc_np(-r));
        return 0;
}
