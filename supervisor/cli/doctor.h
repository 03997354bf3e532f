/* SPDX-License-Identifier: Apache-2.0 */
/* What `baton doctor` knows when it looks, and how its looks report. */
#pragma once

#include <limits.h>
#include <sys/stat.h>

#include "base/directories.h"
#include "supervisor/cli/unit.h"
#include "supervisor/cli/view.h"

struct doctor {
        struct directories directories;
        const char *config_path;
        const struct config *config; /* NULL: it cannot be read; that was said */
        struct view view;            /* empty where there is no segment, or a hidden one */
        bool is_hidden;              /* there is a segment, and it cannot be read: that was said */
        unsigned bad_count, unknown_count;
};

/* One line each: "ok", "bad" or "?", what was looked at, what was found; and for the last two, what to do. A
 * question mark is for what cannot be found out as this user, or while nothing runs. */
void doctor_ok(struct doctor *doctor, const char *what, const char *format, ...) _printf_(3, 4);
void doctor_bad(struct doctor *doctor, const char *what, const char *advice, const char *format, ...)
        _printf_(4, 5);
void doctor_unknown(struct doctor *doctor, const char *what, const char *advice, const char *format, ...)
        _printf_(4, 5);

/* A question mark: nothing is seen to run. `found` says so, unless that is not known either. */
void doctor_nothing_runs(struct doctor *doctor, const char *what, const char *found);

/* A variable of a process' environment, as it was started with. 0 and a new text; -ENOENT: it has none; other -errno:
 * not ours to read. */
int doctor_environment_of(int pid, const char *name, char **ret_value);

/* doctor_way.c. Not root's, and not of who asks. */
bool doctor_is_foreign(uid_t uid);
struct doctor_way {
        struct stat status;  /* of what stands at the end: never a link */
        unsigned link_count; /* symbolic links on the way */
        char open_step[PATH_MAX + NAME_MAX +
                       2]; /* a step that others could put another thing in place of; "" */
};
/* 0 or -errno, of the step that is not there or not ours to see. */
int doctor_way_follow(const char *path, struct doctor_way *ret_way);

/* Of the supervisor, where one runs; else 0. */
int doctor_supervisor_pid(const struct doctor *doctor);
/* As whom the service runs: the user of the supervisor that runs, else of the unit as shipped. It is the buffer. */
#define DOCTOR_USER_BYTES 64
const char *doctor_service_user(const struct doctor *doctor, char ret_name[DOCTOR_USER_BYTES]);

/* doctor_host.c: what the machine gives; doctor_service.c: what the service's processes have of it. */
void doctor_look_kernel(struct doctor *doctor);
void doctor_look_clock(struct doctor *doctor);
void doctor_look_directories(struct doctor *doctor);
void doctor_look_locks(struct doctor *doctor);
void doctor_look_places(struct doctor *doctor);
void doctor_look_supervisor(struct doctor *doctor);
void doctor_look_priorities(struct doctor *doctor);
void doctor_look_sandbox(struct doctor *doctor);
void doctor_look_landlock(struct doctor *doctor); /* doctor_landlock.c: P7 */
void doctor_look_cores(struct doctor *doctor);
/* doctor_bus.c, doctor_credentials.c */
void doctor_look_bus(struct doctor *doctor);
void doctor_look_credentials(struct doctor *doctor);
