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

/* ---- what workers say ---------------------------------------------------------------------------------------- */
struct said {
        unsigned live, confined;
        const struct view_worker *unconfined, *silent; /* one of them; NULL: none */
};

static struct said said_by(const struct view *view) {
        struct said said = {};

        for (uint32_t i = 0; i < view->worker_count; i++) {
                const struct view_worker *worker = &view->workers[i];

                if (!worker->is_live)
                        continue;
                said.live++;
                if (worker->confinement == CONFINEMENT_FILES)
                        said.confined++;
                else if (worker->confinement == CONFINEMENT_UNSAID)
                        said.silent = worker;
                else
                        said.unconfined = worker;
        }
        return said;
}

/* ---- the row -------------------------------------------------------------------------------------------------- */
static void not_here(struct doctor *doctor, int r) {
        if (r == -ENOSYS || r == -EOPNOTSUPP)
                doctor_bad(doctor, WHAT,
                           "Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK, and `landlock` in lsm=",
                           "not there (%s): " REACH, strerror(-r));
        else
                doctor_bad(doctor, WHAT,
                           "let landlock_create_ruleset() and its sisters through the container's filter",
                           "refused here (%s): " REACH, strerror(-r));
}

/* Here it works, so no worker that is confined is contradicted. */
static void not_known(struct doctor *doctor, const struct said *said) {
        if (said->live == 0)
                doctor_nothing_runs(doctor, WHAT, "it works here; no worker runs that could be confined");
        else if (doctor->view.layout_number < LAYOUT_OF_CONFINEMENT)
                doctor_unknown(
                        doctor, WHAT, "the next start after a stop makes a new segment, where workers say it",
                        "it works here; whether workers are confined is not known: they have no word for it "
                        "in a segment of layout %u",
                        doctor->view.layout_number);
        else
                doctor_unknown(doctor, WHAT, "look again: a worker says it before it touches an event",
                               "it works here; %u of %u workers are confined, worker %u has not said it yet",
                               said->confined, said->live, said->silent->index);
}

void doctor_look_landlock(struct doctor *doctor) {
        struct said said = said_by(&doctor->view);
        int r = try_in_child();

        if (r == NOT_REFUSED)
                doctor_bad(doctor, WHAT, "report it: a kernel's defect",
                           "in force, and it refuses nothing: " REACH);
        else if (r >= 0 && said.unconfined)
                doctor_bad(doctor, WHAT, "run Baton by its unit, as shipped, and start it anew",
                           "it works here, and worker %u says that %s: " REACH, said.unconfined->index,
                           said.unconfined->confinement == CONFINEMENT_ABSENT
                                   ? "the kernel has none"
                                   : "the kernel refuses it to it");
        else if (r < 0 && (said.unconfined || said.confined < said.live || said.live == 0))
                not_here(doctor, r);
        else if (said.live == 0 || said.confined < said.live)
                not_known(doctor, &said);
        else
                doctor_ok(doctor, WHAT, "all %u workers reach their own sources and destination alone",
                          said.live);
}
