/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials: whether those that are configuration are for the service alone, and whether this command was given what
 * the service reads. Must not touch: anything; of a credential it looks at the name and the mode. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "supervisor/cli/doctor.h"

#define WHAT "credentials"

struct findings {
        unsigned count;      /* drop-ins */
        char open[NAME_MAX]; /* one of them that others may read; "": none */
};

/* 0 or -errno. */
static int directory_look(const char *path, struct findings *ret_findings) {
        struct findings findings = {};
        struct dirent *entry;
        struct stat status;
        size_t length;
        DIR *directory;

        directory = opendir(path);
        if (!directory)
                return -errno;
        while ((entry = readdir(directory))) {
                length = strlen(entry->d_name);
                if (entry->d_name[0] == '.' || length <= 5 ||
                    strcmp(entry->d_name + length - 5, ".conf") != 0)
                        continue;
                findings.count++;
                if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) >= 0 &&
                    (status.st_mode & 077) != 0)
                        (void) snprintf(findings.open, sizeof(findings.open), "%s", entry->d_name);
        }
        (void) closedir(directory);
        *ret_findings = findings;
        return 0;
}

/* Where the unit has them from: NAME.credentials beside NAME.conf. False: one of them is open, and that was said. */
static bool look_files(struct doctor *doctor) {
        size_t length = strlen(doctor->config_path);
        struct findings findings = {};
        char path[PATH_MAX];

        if (length > 5 && strcmp(doctor->config_path + length - 5, ".conf") == 0)
                length -= 5;
        (void) snprintf(path, sizeof(path), "%.*s.credentials", (int) length, doctor->config_path);
        if (directory_look(path, &findings) < 0 || !findings.open[0])
                return true;
        doctor_bad(doctor, WHAT, "`chmod 600` it: systemd reads it for the service, as root",
                   "%s/%s may be read by others than its owner", path, findings.open);
        return false;
}

void doctor_look_credentials(struct doctor *doctor) {
        const char *given = getenv("CREDENTIALS_DIRECTORY");
        _cleanup_free_ char *used = NULL;
        struct findings findings = {};
        char advice[PATH_MAX + 64];
        int r;

        if (!look_files(doctor) || doctor_supervisor_pid(doctor) == 0)
                return;
        r = doctor_environment_of(doctor_supervisor_pid(doctor), "CREDENTIALS_DIRECTORY", &used);
        if (r >= 0 && used)
                r = directory_look(used, &findings);
        else if (r == -ENOENT)
                r = 0; /* it was given none */
        if (r < 0) {
                doctor_unknown(doctor, WHAT, "run doctor as root", "of the supervisor: %s", strerror(-r));
                return;
        }
        if (findings.count == 0 || !used)
                doctor_ok(doctor, WHAT, "the service has none that are configuration");
        else if (given && strcmp(given, used) == 0)
                doctor_ok(doctor, WHAT, "%u drop-ins of %s are read", findings.count, used);
        else {
                (void) snprintf(advice, sizeof(advice),
                                "as root: `env CREDENTIALS_DIRECTORY=%s baton doctor`", used);
                doctor_unknown(doctor, WHAT, advice,
                               "the service reads %u drop-ins of %s, and this command does not",
                               findings.count, used);
        }
}
