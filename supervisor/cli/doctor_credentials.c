/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials: whether those that are configuration are for the service alone, and whether this command was given what
 * the service reads. Must not touch: anything; of a credential it looks at the name, the
 * owner and the mode. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "supervisor/cli/doctor.h"

#define WHAT "credentials"

static bool is_drop_in(const char *name) {
        size_t length = strlen(name);

        return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".conf") == 0;
}

/* Drop-ins of the directory. The number, or -errno. */
static int drop_ins_count(const char *path) {
        struct dirent *entry;
        int count = 0;
        DIR *directory;

        directory = opendir(path);
        if (!directory)
                return -errno;
        while ((entry = readdir(directory)))
                count += is_drop_in(entry->d_name);
        (void) closedir(directory);
        return count;
}

/* False: it was said what is bad about it. A link is judged by what stands at its end, and by who may replace it. */
static bool look_file(struct doctor *doctor, const char *path) {
        struct doctor_way way;
        struct stat status;
        int r;

        r = doctor_way_follow(path, &way);
        if (r >= 0 && doctor_is_foreign(way.status.st_uid))
                doctor_bad(doctor, WHAT,
                           "`chown root:` and `chmod 600` it: systemd reads it for the service, as root",
                           "%s may be read and changed by user %u, whose file it is", path,
                           way.status.st_uid);
        else if (r >= 0 && (way.status.st_mode & 077) != 0)
                doctor_bad(doctor, WHAT, "`chmod 600` it: systemd reads it for the service, as root",
                           "%s may be read by others than its owner", path);
        else if (r >= 0 && way.open_step[0])
                doctor_bad(doctor, WHAT, "`chown root:` and `chmod go-w` the directory that this stands in",
                           "of %s others may replace %s, which is on the way", path, way.open_step);
        else if (lstat(path, &status) >= 0 && S_ISLNK(status.st_mode))
                doctor_bad(doctor, WHAT, "put the file itself there, by `install -m 600`",
                           "%s is a symbolic link%s, and systemd passes over it: the service does not get it",
                           path, r < 0 ? " to nothing that can be seen" : "");
        else
                return true;
        return false;
}

/* Where the unit has them from: NAME.credentials beside NAME.conf. False: something is bad about one, and was said. */
static bool look_files(struct doctor *doctor) {
        char directory_path[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
        size_t length = strlen(doctor->config_path);
        struct dirent *entry;
        bool are_well = true;
        DIR *directory;

        if (length > 5 && strcmp(doctor->config_path + length - 5, ".conf") == 0)
                length -= 5;
        (void) snprintf(directory_path, sizeof(directory_path), "%.*s.credentials", (int) length,
                        doctor->config_path);
        directory = opendir(directory_path);
        while (directory && are_well && (entry = readdir(directory)))
                if (is_drop_in(entry->d_name)) {
                        (void) snprintf(path, sizeof(path), "%s/%s", directory_path, entry->d_name);
                        are_well = look_file(doctor, path);
                }
        if (directory)
                (void) closedir(directory);
        return are_well;
}

void doctor_look_credentials(struct doctor *doctor) {
        const char *given = getenv("CREDENTIALS_DIRECTORY");
        _cleanup_free_ char *used = NULL;
        char advice[PATH_MAX + 64];
        int count = 0, r;

        if (!look_files(doctor))
                return;
        if (doctor_supervisor_pid(doctor) == 0) {
                doctor_nothing_runs(doctor, WHAT, "no supervisor runs that could have been given some");
                return;
        }
        r = doctor_environment_of(doctor_supervisor_pid(doctor), "CREDENTIALS_DIRECTORY", &used);
        if (r >= 0 && used)
                r = count = drop_ins_count(used);
        else if (r == -ENOENT)
                r = 0; /* it was given none */
        if (r < 0) {
                doctor_unknown(doctor, WHAT, "run doctor as root", "of the supervisor: %s", strerror(-r));
                return;
        }
        if (count == 0 || !used)
                doctor_ok(doctor, WHAT, "the service has none that are configuration");
        else if (given && strcmp(given, used) == 0)
                doctor_ok(doctor, WHAT, "%d drop-ins of %s are read", count, used);
        else {
                (void) snprintf(advice, sizeof(advice),
                                "as root: `env CREDENTIALS_DIRECTORY=%s baton doctor`", used);
                doctor_unknown(doctor, WHAT, advice,
                               "the service reads %d drop-ins of %s, and this command does not", count, used);
        }
}
