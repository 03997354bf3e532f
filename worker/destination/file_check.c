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

static uint64_t count_data_files(const char *path) {
        DIR *directory = opendir(path);
        struct dirent *entry;
        uint64_t count = 0;

        if (!directory)
                return 0;
        while ((entry = readdir(directory)))
                count += is_data_name(entry->d_name);
        (void) closedir(directory);
        return count;
}

static int note_make(const char *path, char **ret_note) {
        uint64_t count = count_data_files(path);
        char *note = NULL;

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

        if (stat(path, &status) < 0 && errno == ENOENT)
                return failure_set(ret_failure, -ENOENT, FAILURE_UNAVAILABLE,
                                   "the directory %s does not exist; make it and give it to Baton's user",
                                   path);
        if (stat(path, &status) < 0)
                return failure_set(ret_failure, -errno, failure_kind_of_errno(-errno),
                                   "cannot look at %s: %s", path, strerrordesc_np(errno));
        if (!S_ISDIR(status.st_mode))
                return failure_set(
                        ret_failure, -ENOTDIR, FAILURE_STOP,
                        "%s is not a directory; url = file:DIRECTORY names the directory for the files",
                        path);
        if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) < 0) {
                int r = -errno;

                return failure_set(
                        ret_failure, r, failure_kind_of_errno(r),
                        "the directory %s cannot be written to by this user (%s); Baton needs to read, write "
                        "and search it",
                        path, strerrordesc_np(-r));
        }
        if (ret_note && note_make(path, ret_note) < 0)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "no memory to check %s", path);
        return 0;
}
