/* SPDX-License-Identifier: Apache-2.0 */
/* P7: are workers confined to their own files? They say so themselves; and whether this machine could do it is tried, in
 * a child that takes every file from itself and then wants one. Must not touch: anything. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/ruleset.h"
#include "supervisor/cli/doctor.h"

#define WHAT "landlock"
#define REACH "workers can reach what user " UNIT_USER " can reach; they move all the same"
#define NOT_REFUSED 255 /* it is in force, and a file can be read */

/* In a child of its own. 0: it works; an errno; NOT_REFUSED. */
static int try_it(void) {
        struct ruleset ruleset;
        int r;

        r = ruleset_new(&ruleset);
        if (r >= 0)
                r = ruleset_enforce(&ruleset);
        if (r < 0)
                return -r;
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : NOT_REFUSED;
}

/* 0; -errno, of fork() or of the kernel's answer; NOT_REFUSED. */
static int try_in_child(void) {
        int status;
        pid_t pid;

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                _exit(try_it());
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (!WIFEXITED(status))
                return -EPROTO;
        return WEXITSTATUS(status) == NOT_REFUSED ? NOT_REFUSED : -WEXITSTATUS(status);
}

static const struct view_worker *first_of(const struct doctor *doctor, enum worker_confinement confinement) {
        for (uint32_t i = 0; i < doctor->view.worker_count; i++)
                if (doctor->view.workers[i].is_live && doctor->view.workers[i].confinement == confinement)
                        return &doctor->view.workers[i];
        return NULL;
}

void doctor_look_landlock(struct doctor *doctor) {
        const struct view_worker *refused = first_of(doctor, CONFINEMENT_REFUSED);
        int r = try_in_child();

        if (r == -ENOSYS || r == -EOPNOTSUPP)
                doctor_bad(doctor, WHAT,
                           "Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK, and `landlock` in lsm=",
                           "not there (%s): " REACH, strerror(-r));
        else if (r < 0)
                doctor_bad(doctor, WHAT,
                           "let landlock_create_ruleset() and its sisters through the container's filter",
                           "refused here (%s): " REACH, strerror(-r));
        else if (r == NOT_REFUSED)
                doctor_bad(doctor, WHAT, "report it: a kernel's defect",
                           "in force, and it refuses nothing: " REACH);
        else if (refused || first_of(doctor, CONFINEMENT_ABSENT))
                doctor_bad(doctor, WHAT, "run Baton by its unit, as shipped, and start it anew",
                           "it works here, and worker %u may not use it: " REACH,
                           (refused ? refused : first_of(doctor, CONFINEMENT_ABSENT))->index);
        else if (first_of(doctor, CONFINEMENT_FILES))
                doctor_ok(doctor, WHAT, "workers reach their own sources and destination alone");
        else
                doctor_ok(doctor, WHAT, "it works here; no worker has said what it has of it");
}
