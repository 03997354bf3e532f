/* SPDX-License-Identifier: Apache-2.0 */
/* What the service's processes have of what the unit asks for: watchdog, priorities, confinement, cores. Of processes
 * the kernel is asked (/proc), of workers' priorities their own words in the segment. Must not touch: anything. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macro.h"
#include "supervisor/cli/doctor.h"

#define START "start the service: `systemctl start baton`"
#define WORKER_NICE (-10)

/* ---- the supervisor ---------------------------------------------------------------------------------------- */
int doctor_environment_of(int pid, const char *name, char **ret_value) {
        char path[64], text[65536], *at = text;
        size_t length = strlen(name), bytes;
        _cleanup_fd_ int fd = -1;
        int r;

        (void) snprintf(path, sizeof(path), "/proc/%d/environ", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        r = fd_pread_all(fd, text, sizeof(text) - 1, 0, &bytes);
        if (r < 0)
                return r;
        text[bytes] = '\0';
        for (; at < text + bytes; at += strlen(at) + 1)
                if (strncmp(at, name, length) == 0 && at[length] == '=') {
                        *ret_value = strdup(at + length + 1);
                        return *ret_value ? 0 : -ENOMEM;
                }
        return -ENOENT;
}

int doctor_supervisor_pid(const struct doctor *doctor) {
        return doctor->view.supervisor != SUPERVISOR_NONE && doctor->view.supervisor != SUPERVISOR_GONE
                       ? doctor->view.supervisor_pid
                       : 0;
}

/* "Seccomp:\t2" of /proc/PID/status; the first of several. -1: it cannot be read. */
static int status_number(int pid, const char *name) {
        char path[64], line[256];
        int number = -1;
        FILE *file;

        (void) snprintf(path, sizeof(path), "/proc/%d/status", pid);
        file = fopen(path, "re");
        while (file && number < 0 && fgets(line, sizeof(line), file))
                if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
                        number = (int) strtol(line + strlen(name) + 1, NULL, 10);
        if (file)
                (void) fclose(file);
        return number;
}

const char *doctor_service_user(const struct doctor *doctor, char ret_name[DOCTOR_USER_BYTES]) {
        int pid = doctor_supervisor_pid(doctor), uid = pid > 0 ? status_number(pid, "Uid") : -1;
        const struct passwd *user = uid >= 0 ? getpwuid((uid_t) uid) : NULL;

        (void) snprintf(ret_name, DOCTOR_USER_BYTES, "%s", user ? user->pw_name : UNIT_USER);
        return ret_name;
}

void doctor_look_supervisor(struct doctor *doctor) {
        char none[sizeof(doctor->directories.runtime) + 32];
        int pid = doctor_supervisor_pid(doctor), r;
        _cleanup_free_ char *watchdog = NULL;

        if (pid == 0) {
                (void) snprintf(none, sizeof(none), "none runs with %s", doctor->directories.runtime);
                doctor_nothing_runs(doctor, "supervisor", none);
                return;
        }
        if (doctor->view.supervisor == SUPERVISOR_WAITING)
                doctor_bad(doctor, "supervisor", "it goes on by itself then", "pid %d waits: %s", pid,
                           doctor->view.waits);
        else if (doctor->view.supervisor == SUPERVISOR_SILENT)
                doctor_bad(doctor, "supervisor",
                           "systemd's watchdog replaces it; else `systemctl kill -s KILL baton`: "
                           "workers go on",
                           "pid %d does not answer", pid);
        else
                doctor_ok(doctor, "supervisor", "pid %d", pid);
        r = doctor_environment_of(pid, "WATCHDOG_USEC", &watchdog);
        if (r == -ENOENT)
                doctor_bad(doctor, "watchdog", "WatchdogSec= in the unit, as shipped",
                           "systemd does not watch the "
                           "supervisor");
        else if (r < 0 || !watchdog)
                doctor_unknown(doctor, "watchdog", "run doctor as root", "%s", strerror(-r));
        else
                doctor_ok(doctor, "watchdog", "systemd replaces a supervisor that is silent for %llu s",
                          strtoull(watchdog, NULL, 10) / 1000000);
}

/* ---- workers ------------------------------------------------------------------------------------------------ */
/* The first live worker's, as they are all started alike. NULL: there is none; that was said. */
static const struct view_worker *any_worker(struct doctor *doctor, const char *what) {
        for (uint32_t i = 0; i < doctor->view.worker_count; i++)
                if (doctor->view.workers[i].is_live)
                        return &doctor->view.workers[i];
        doctor_nothing_runs(doctor, what, "no worker runs");
        return NULL;
}

void doctor_look_priorities(struct doctor *doctor) {
        const struct view_worker *worker = any_worker(doctor, "priorities");

        if (!worker)
                return;
        if (!worker->takeover_is_fifo)
                doctor_bad(
                        doctor, "priorities",
                        "LimitRTPRIO=10 in the unit, as shipped; inside a container its manager must be allowed it",
                        "takeover threads have ordinary priority: on a busy machine a takeover may take "
                        "milliseconds");
        else if (worker->nice > WORKER_NICE)
                doctor_bad(doctor, "priorities", "LimitNICE=-10 in the unit, as shipped",
                           "workers have nice %d: on a busy machine a takeover may take milliseconds",
                           worker->nice);
        else
                doctor_ok(doctor, "priorities", "takeover threads SCHED_FIFO, workers nice %d", worker->nice);
}

void doctor_look_sandbox(struct doctor *doctor) {
        const struct view_worker *worker = any_worker(doctor, "sandbox");
        int pid = doctor_supervisor_pid(doctor), filter, supervisor_filter;

        if (!worker)
                return;
        filter = status_number(worker->pid, "Seccomp");
        supervisor_filter = pid > 0 ? status_number(pid, "Seccomp") : -1;
        if (filter < 0)
                doctor_unknown(doctor, "sandbox", "run doctor as root", "/proc/%d/status cannot be read",
                               worker->pid);
        else if (filter != 2)
                doctor_bad(doctor, "sandbox", "a kernel with CONFIG_SECCOMP_FILTER",
                           "workers have no system-call filter");
        else if (supervisor_filter < 0)
                doctor_unknown(doctor, "sandbox", pid > 0 ? "run doctor as root" : START,
                               "workers filter their own system calls; %s",
                               pid > 0 ? "of the supervisor it cannot be read" : "no supervisor runs");
        else if (supervisor_filter != 2)
                doctor_bad(doctor, "sandbox",
                           "run Baton by its unit, as shipped (systemd-analyze security baton)",
                           "workers filter their own system calls, and nothing else confines the service");
        else
                doctor_ok(doctor, "sandbox", "workers and supervisor have a system-call filter");
}

static bool any_wants_cores(const struct doctor *doctor) {
        for (uint32_t i = 0; doctor->config && i < doctor->config->destination_count; i++)
                if (doctor->config->destinations[i].cores)
                        return true;
        return false;
}

void doctor_look_cores(struct doctor *doctor) {
        if (any_wants_cores(doctor))
                doctor_bad(
                        doctor, "cores", "`cores = no` once the bug is found",
                        "a destination has `cores = yes`: a core dump delays the proof of death (70 ms for 64 MiB)");
        else
                doctor_ok(doctor, "cores", "workers write none");
}
