/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine gives: kernel, clock, directories, locks, rights. Must not touch: anything; it reads. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macro.h"
#include "base/process.h"
#include "supervisor/cli/doctor.h"

/* ---- kernel --------------------------------------------------------------------------------------------- */
/* Each is asked in a way that does nothing; ENOSYS alone says that it is not there. */
static bool has_call(long number, long first, long second, long third) {
        return syscall(number, first, second, third, 0, 0) >= 0 || errno != ENOSYS;
}

/* Since 6.15, and V11 does without: not knowing is said, and harms nobody. */
static bool tells_how_others_end(void) {
        _cleanup_fd_ int pid_fd = (int) syscall(SYS_pidfd_open, getpid(), 0);
        struct process_end end;

        return pid_fd >= 0 && process_how_ended(pid_fd, &end) == -EAGAIN;
}

void doctor_look_kernel(struct doctor *doctor) {
        struct utsname name;

        (void) uname(&name);
        if (!has_call(SYS_pidfd_open, -1, 0, 0))
                doctor_bad(doctor, "kernel", "Linux 5.3 or later is needed", "%s has no pidfd_open()",
                           name.release);
        else if (!has_call(SYS_futex_waitv, 0, 0, 0))
                doctor_bad(doctor, "kernel",
                           "Linux 5.16 or later lets workers wait for each other without looking",
                           "%s has no futex_waitv(): a takeover may take 50 ms", name.release);
        else
                doctor_ok(doctor, "kernel", "%s: pidfd, futex_waitv; how an adopted worker ended is %s",
                          name.release, tells_how_others_end() ? "told" : "unknown (told since Linux 6.15)");
}

/* Nothing is decided by the wall clock, but people read it in records. */
void doctor_look_clock(struct doctor *doctor) {
        struct timex state = { 0 };

        if (adjtimex(&state) < 0)
                doctor_unknown(doctor, "clock", "run doctor outside of the sandbox", "adjtimex(): %m");
        else if (state.status & STA_UNSYNC)
                doctor_bad(
                        doctor, "clock", "`timedatectl set-ntp true`, or another time service",
                        "the wall clock is not synchronized: times in records may be wrong (no decision of "
                        "Baton's depends on it)");
        else
                doctor_ok(doctor, "clock", "synchronized");
}

/* ---- directories ------------------------------------------------------------------------------------------ */
/* Who is neither root nor that user has owner and mode alone to judge by, not that user's groups; whoever runs Baton by
 * hand owns the directory. As unit_user_may(). */
static int owner_may(const char *user_name, const struct stat *status) {
        const struct passwd *user = getpwnam(user_name);

        if (status->st_uid == geteuid() || (user && user->pw_uid == status->st_uid))
                return (status->st_mode & S_IRWXU) == S_IRWXU;
        if (!user)
                return -ENOENT;
        return (status->st_mode & 022) == 0 ? 0 : -EPERM;
}

/* What the service's user may do, since nobody else will write there. */
static void look_rights(struct doctor *doctor, const char *what, const char *path,
                        const struct stat *status) {
        const struct passwd *owner = getpwuid(status->st_uid);
        char owner_name[DOCTOR_USER_BYTES], user[DOCTOR_USER_BYTES], advice[PATH_MAX + 256];
        int may;

        if (owner)
                (void) snprintf(owner_name, sizeof(owner_name), "%s", owner->pw_name);
        else
                (void) snprintf(owner_name, sizeof(owner_name), "user %u", status->st_uid);
        may = unit_user_may(doctor_service_user(doctor, user), path, R_OK | W_OK | X_OK);
        if (may < 0 && geteuid() != 0)
                may = owner_may(user, status);
        (void) snprintf(
                advice, sizeof(advice),
                "with Baton stopped, `chown -R %s: %s && chmod u=rwx %s` (the unit, as shipped, does so at its start)",
                user, path, path);
        if (may == -ENOENT)
                doctor_unknown(doctor, what, "the package makes user " UNIT_USER,
                               "%s, of %s: there is no user %s", path, owner_name, user);
        else if (may < 0)
                doctor_unknown(doctor, what, "run doctor as root", "%s: what user %s may cannot be found out",
                               path, user);
        else if (may == 0)
                doctor_bad(doctor, what, advice,
                           "%s is of %s, mode %03o: user %s, as whom the service runs, may not write there",
                           path, owner_name, status->st_mode & 07777, user);
        else
                doctor_ok(doctor, what, "%s, of %s, mode %03o", path, owner_name, status->st_mode & 0777);
}

void doctor_look_directories(struct doctor *doctor) {
        const char *runtime = doctor->directories.runtime, *state = doctor->directories.state;
        struct statfs place;
        struct stat status;

        if (stat(state, &status) < 0 && errno == EACCES)
                doctor_unknown(doctor, "state directory", "run doctor as root", "%s: %s", state,
                               strerror(errno));
        else if (stat(state, &status) < 0)
                doctor_bad(doctor, "state directory",
                           "the unit makes it (StateDirectory=); else `install -d -o " UNIT_USER "` it",
                           "%s: %s", state, strerror(errno));
        else
                look_rights(doctor, "state directory", state, &status);
        if (stat(runtime, &status) < 0 || statfs(runtime, &place) < 0) {
                doctor_unknown(doctor, "runtime directory",
                               "start the service: it makes it (RuntimeDirectory=)", "%s: %s", runtime,
                               strerror(errno));
                return;
        }
        if (place.f_type != TMPFS_MAGIC && place.f_type != RAMFS_MAGIC)
                doctor_bad(doctor, "runtime directory", "put it below /run",
                           "%s is not in memory (tmpfs): the segment "
                           "costs disk writes",
                           runtime);
        else
                look_rights(doctor, "runtime directory", runtime, &status);
}

/* ---- lock files -------------------------------------------------------------------------------------------- */
static void look_lock(struct doctor *doctor, const char *name) {
        char path[600], user[DOCTOR_USER_BYTES], advice[700];
        _cleanup_fd_ int fd = -1;

        (void) snprintf(path, sizeof(path), "%s/%s", doctor->directories.state, name);
        (void) snprintf(advice, sizeof(advice), "`chown %s: %s`", doctor_service_user(doctor, user), path);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && unit_user_may(user, path, R_OK | W_OK) == 0)
                doctor_bad(doctor, name, advice, "user %s, as whom the service runs, may not write it", user);
        else if (fd >= 0)
                doctor_ok(doctor, name, "there");
        else if (errno == ENOENT)
                doctor_unknown(doctor, name, "start the service: it makes it", "not there yet");
        else
                doctor_unknown(doctor, name, "run doctor as root", "%s", strerror(errno));
}

void doctor_look_locks(struct doctor *doctor) {
        struct statfs place;

        if (statfs(doctor->directories.state, &place) >= 0 && place.f_type == NFS_SUPER_MAGIC) {
                doctor_bad(doctor, "lock files", "put the state directory on a local disk",
                           "%s is on NFS, where a lock may outlive its holder", doctor->directories.state);
                return;
        }
        look_lock(doctor, "supervisor.lock");
        look_lock(doctor, "workers.lock");
}

/* ---- rights on sources and destinations ----------------------------------------------------------------------- */
static void look_place(struct doctor *doctor, const struct unit_place *place) {
        static const char advice[] = "`baton check --unit` prints what grants it, as commands";
        char path[PATH_MAX + NAME_MAX + 2], what[64];
        int directory_may, file_may = 1;

        (void) snprintf(what, sizeof(what), "%s %.40s", place->side, place->name);
        (void) snprintf(path, sizeof(path), "%s%s%s", place->directory, place->file[0] ? "/" : "",
                        place->file);
        directory_may = unit_user_may(UNIT_USER, place->directory, R_OK | W_OK | X_OK);
        if (place->file[0] && access(path, F_OK) >= 0)
                file_may = unit_user_may(UNIT_USER, path, R_OK | W_OK);
        if (directory_may == -ENOENT)
                doctor_unknown(doctor, what, "the package makes user " UNIT_USER,
                               "there is no user " UNIT_USER);
        else if (directory_may < 0 || file_may < 0)
                doctor_unknown(doctor, what, "run doctor as root",
                               "%s: what user " UNIT_USER " may cannot be found out", path);
        else if (directory_may == 0)
                doctor_bad(doctor, what, advice, "user " UNIT_USER " may not read and write %s",
                           place->directory);
        else if (file_may == 0)
                doctor_bad(doctor, what, advice, "user " UNIT_USER " may not read and write %s", path);
        else
                doctor_ok(doctor, what, "%s: user " UNIT_USER " may read and write it", path);
}

void doctor_look_places(struct doctor *doctor) {
        _cleanup_free_ struct unit_place *places = NULL;
        struct failure failure = {};
        size_t count;

        if (!doctor->config)
                return;
        if (unit_places(doctor->config, UNIT_STATE, &places, &count, &failure) < 0) {
                doctor_bad(doctor, "rights", NULL, "%s", failure.text);
                return;
        }
        for (size_t i = 0; i < count; i++)
                look_place(doctor, &places[i]);
}
