/* SPDX-License-Identifier: Apache-2.0 */
/* A supervisor in the test process, turned by hand, and workers that are real processes: this very program,
 * started again by the supervisor as BATON_WORKER, enters the segment and owns slots, but moves nothing.
 * What a worker does wrong is a file in the state directory (worker_does()).
 * Must not touch: worker/, so that the supervisor is tested against the contract in shm/ alone. */
#pragma once

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "shm/lock.h"
#include "shm/slot.h"
#include "shm/takeover.h"
#include "shm/words.h"
#include "shm/workers_lock.h"
#include "supervisor/control.h"
#include "supervisor/manager.h"

/* Only so that a failing test ends; nothing is measured. */
#define PATIENCE_USEC (30 * USEC_PER_SEC)

/* ---- the worker ---------------------------------------------------------------------------------------- */
struct fake {
        struct segment *segment;
        const char *state;
        uint64_t ref;
        uint32_t pool_index;
};

static inline bool fake_does(const struct fake *fake, const char *what) {
        char path[600];

        (void) snprintf(path, sizeof path, "%s/%s", fake->state, what);
        return access(path, F_OK) == 0;
}

static inline void fake_slot(const struct fake *fake, uint32_t index, bool leaves) {
        struct session_status status = { .phase = SESSION_IDLE };
        struct slot_view view;

        if (slot_read(fake->segment, index, &view) < 0 || view.pool_index != fake->pool_index)
                return;
        if (view.owner_ref != fake->ref) {
                if (!leaves && view.state == SLOT_ORPHAN)
                        (void) slot_take(fake->segment, index, fake->ref, &view.epoch);
                return;
        }
        if (leaves || !view.wanted ||
            (view.assigned_ref != fake->ref && life_is_live(fake->segment, view.assigned_ref))) {
                (void) slot_release(fake->segment, index, fake->ref, view.epoch,
                                    view.assigned_ref == fake->ref || !view.wanted ? 0 : view.assigned_ref);
                return;
        }
        if (fake_does(fake, "stops")) {
                status.phase = SESSION_STOPPED;
                (void) snprintf(status.reason, sizeof status.reason, "the test says so");
        }
        status.epoch = view.epoch;
        status.adopt_done = view.adopt_request;
        session_status_write(fake->segment, index, &status);
}

static inline void fake_hint(const char *runtime) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        (void) snprintf(address.sun_path, sizeof address.sun_path, "%.90s/" NOTIFY_SOCKET_NAME, runtime);
        (void) sendto(fd, "", 1, MSG_DONTWAIT, (struct sockaddr *) &address, sizeof address);
        (void) close(fd);
}

/* In state D, as a thread is that waits for a disk, until the file is gone: the parent of a vfork() is. */
static inline void fake_disk(const struct fake *fake) {
        pid_t pid;

        if (!fake_does(fake, "waits-for-disk"))
                return;
        pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): the state is what it is for */
        if (pid == 0) {
                while (fake_does(fake, "waits-for-disk"))
                        (void) usleep(10000);
                _exit(0);
        }
        (void) waitpid(pid, NULL, 0);
}

static inline bool fake_turn(const struct fake *fake, struct layout_worker *self) {
        bool told = atomic_load(&self->drain_ref) == fake->ref ||
                    atomic_load(&fake->segment->header->stopping) != 0 ||
                    atomic_load(&fake->segment->header->condemned) != 0;
        bool leaves = (told && !fake_does(fake, "stays")) || access(fake->state, F_OK) < 0; /* test over */

        if (!fake_does(fake, "silent"))
                atomic_store(&self->pong, atomic_load(&self->ping));
        (void) takeover_run(fake->segment, fake->pool_index, fake->ref, NULL);
        fake_disk(fake);
        for (uint32_t i = 0; i < atomic_load(&fake->segment->header->slot_used); i++)
                fake_slot(fake, i, leaves);
        return leaves;
}

static inline void fake_run(const char *state, const char *runtime, uint32_t pool_index) {
        struct fake fake = { .state = state, .pool_index = pool_index };
        uint64_t end_usec = clock_usec() + 2 * PATIENCE_USEC;
        struct layout_worker *self;
        char exits[64];
        int lock_fd = -1;

        if (fake_does(&fake, "dies"))
                _exit(1);
        while (fake_does(&fake, "does-not-join"))
                (void) usleep(10000);
        if (workers_lock_shared(state, PATIENCE_USEC, &lock_fd, NULL) < 0 ||
            segment_open(runtime, true, &fake.segment, NULL) < 0 ||
            life_enter(fake.segment, pool_index, &fake.ref, NULL) < 0)
                _exit(1);
        self = segment_worker(fake.segment, worker_ref_index(fake.ref));
        (void) snprintf(exits, sizeof exits, "exits-with-3.%llu", (unsigned long long) fake.ref);
        fake_hint(runtime);
        if (fake_does(&fake, "holds-the-turn") &&
            lock_take(&segment_pool(fake.segment, pool_index)->turn, LOCK_TURN) >= 0) {
                atomic_store(&segment_pool(fake.segment, pool_index)->turn_since_usec, clock_usec());
                atomic_store(&segment_pool(fake.segment, pool_index)->turn_holder_ref, fake.ref);
        }
        while (clock_usec() < end_usec) {
                uint32_t seen = atomic_load(&self->doorbell);

                if (fake_does(&fake, exits))
                        _exit(3);
                if (fake_turn(&fake, self)) {
                        life_leave(fake.segment, fake.ref);
                        fake_hint(runtime);
                        _exit(0);
                }
                (void) futex_wait_shared(&self->doorbell, seen, clock_usec() + 20 * USEC_PER_MSEC);
        }
        _exit(1);
}

/* Before main(): started by the supervisor as baton-worker, this program is one. */
static void __attribute__((constructor)) fake_main(int argc, char **argv) {
        sigset_t none;

        if (argc != 7 || strcmp(argv[1], "--state") != 0)
                return;
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        fake_run(argv[2], argv[4], (uint32_t) atoi(argv[6]));
}

/* ---- the place and the supervisor -------------------------------------------------------------------------- */
static struct directories place;
static char config_path[600];

static inline void place_make(void) {
        const char *base = getenv("TMPDIR");
        char directory[256], self[512];
        ssize_t bytes;

        (void) snprintf(directory, sizeof directory, "%s/baton-sv.XXXXXX",
                        base && strlen(base) < 60 ? base : "/tmp");
        cr_assert_not_null(mkdtemp(directory));
        (void) snprintf(place.state, sizeof place.state, "%s/state", directory);
        (void) snprintf(place.runtime, sizeof place.runtime, "%s/run", directory);
        (void) snprintf(config_path, sizeof config_path, "%s/baton.conf", directory);
        bytes = readlink("/proc/self/exe", self, sizeof self - 1);
        cr_assert_gt(bytes, 0);
        self[bytes] = '\0';
        (void) setenv("BATON_WORKER", self, 1);
        log_init("batond");
        if (!getenv("BATON_TEST_LOUD"))
                log_level(LOG_EMERG);
}

/* Workers leave when the state directory is gone. */
static inline void place_remove(void) {
        char command[700];

        (void) snprintf(command, sizeof command, "rm -rf '%.*s'",
                        (int) (strrchr(place.state, '/') - place.state), place.state);
        cr_assert_eq(system(command), 0);
}

static inline void worker_does(const char *what, bool yes) {
        char path[600];
        int fd;

        (void) snprintf(path, sizeof path, "%s/%s", place.state, what);
        if (!yes) {
                (void) unlink(path);
                return;
        }
        (void) mkdir(place.state, 0750);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
        cr_assert(fd >= 0);
        (void) close(fd);
}

static inline void config_put(const char *text) {
        FILE *file = fopen(config_path, "we");

        cr_assert_not_null(file);
        (void) fputs(text, file);
        cr_assert_eq(fclose(file), 0);
}

/* One destination "events", `sources` sources s0, s1 …, and whatever `baton` says in [baton]. */
static inline void config_simple(const char *baton, unsigned workers, unsigned sources) {
        size_t bytes = 0;
        char *text = NULL;
        FILE *file = open_memstream(&text, &bytes);

        (void) fprintf(file, "[baton]\nsessions = 64\nmax-workers = 8\n%s", baton);
        (void) fprintf(file, "[destination events]\nurl = sqlite:/d/events.db\nworkers = %u\n", workers);
        for (unsigned i = 0; i < sources; i++)
                (void) fprintf(file, "[source s%u]\nurl = sqlite:/s/%u.db\nto = events\n", i, i);
        (void) fclose(file);
        config_put(text);
        free(text);
}

static inline struct manager *supervisor_start(void) {
        struct manager *manager = NULL;
        struct failure failure = { 0 };

        cr_assert_eq(manager_new(&place, config_path, &manager, &failure), 0, "%s", failure.text);
        cr_assert_eq(manager_start(manager, &failure), 0, "%s", failure.text);
        return manager;
}

/* Turns the loop until the condition holds. */
#define until(manager, condition)                                                            \
        do {                                                                                 \
                uint64_t _deadline_usec = clock_usec() + PATIENCE_USEC;                      \
                while (!(condition)) {                                                       \
                        cr_assert(clock_usec() < _deadline_usec, "never came: " #condition); \
                        cr_assert(sd_event_run((manager)->event, 20 * USEC_PER_MSEC) >= 0);  \
                }                                                                            \
        } while (0)

/* Turns it for a while in which something must not happen. */
static inline void turn_for(struct manager *manager, uint64_t usec) {
        uint64_t end_usec = clock_usec() + usec;

        while (clock_usec() < end_usec)
                cr_assert(sd_event_run(manager->event, 20 * USEC_PER_MSEC) >= 0);
}

/* SIGTERM in words; the loop ends with code 0. */
static inline void supervisor_stop(struct manager *manager) {
        struct failure failure = { 0 };

        shutdown_begin(manager);
        cr_assert_eq(manager_run(manager, &failure), 0, "%s", failure.text);
        manager_free(manager);
}

/* A supervisor in a process of its own, to be killed. */
static inline pid_t supervisor_fork(const char *crash_point_name) {
        pid_t pid = fork();

        cr_assert_geq(pid, 0);
        if (pid == 0) {
                struct manager *manager = NULL;
                struct failure failure;

                if (crash_point_name)
                        (void) setenv("BATON_CRASH", crash_point_name, 1);
                if (manager_new(&place, config_path, &manager, &failure) < 0 ||
                    manager_start(manager, &failure) < 0)
                        _exit(3);
                _exit(manager_run(manager, &failure) < 0);
        }
        return pid;
}

/* A process of the test's own beside a supervisor that is turned here. That one reaps children that it does not know
 * (watch_reap_orphans()), so wait() may come too late: what it has to say, and that it has ended, comes through a pipe. */
struct errand {
        pid_t pid;
        int fd;
};

/* True in the child, which ends by errand_end(), or by writing to the pipe and _exit(). */
static inline bool errand_begin(struct errand *ret_errand) {
        int fds[2];

        cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
        ret_errand->pid = fork();
        cr_assert_geq(ret_errand->pid, 0);
        if (ret_errand->pid == 0) {
                (void) close(fds[0]);
                ret_errand->fd = fds[1];
                return true;
        }
        (void) close(fds[1]);
        cr_assert_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
        ret_errand->fd = fds[0];
        return false;
}

static inline _noreturn_ void errand_end(const struct errand *errand, int code) {
        const uint8_t byte = (uint8_t) code;

        _exit(write(errand->fd, &byte, 1) != 1);
}

/* Adds what it has said since; true: it has ended. */
static inline bool errand_has_ended(const struct errand *errand, uint8_t *ret, size_t bytes, size_t *length) {
        ssize_t n = read(errand->fd, ret + *length, bytes - *length);

        *length += n > 0 ? (size_t) n : 0;
        return n == 0;
}

/* All that it wrote. */
static inline size_t errand_words(struct manager *manager, const struct errand *errand, void *ret,
                                  size_t bytes) {
        size_t length = 0;

        until(manager, errand_has_ended(errand, ret, bytes, &length));
        (void) close(errand->fd);
        return length;
}

/* The code of errand_end(); -1: it was killed, or ended without one. */
static inline int errand_code(struct manager *manager, const struct errand *errand) {
        uint8_t bytes[2];

        return errand_words(manager, errand, bytes, sizeof bytes) == 1 ? bytes[0] : -1;
}

static inline void supervisor_kill(pid_t pid) {
        int status;

        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
}

/* The same below a process that is to workers what systemd is: their parent once the supervisor is dead, which reaps
 * them, unless the file "reaps-nobody" is there. *ret_parent ends when the state directory is gone, or by a kill. */
static inline pid_t supervisor_fork_elsewhere(pid_t *ret_parent) {
        int told[2];
        pid_t pid;

        cr_assert_eq(pipe(told), 0);
        *ret_parent = fork();
        cr_assert_geq(*ret_parent, 0);
        if (*ret_parent == 0) {
                const struct fake self = { .state = place.state };

                (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
                (void) mkdir(place.state, 0750);
                pid = supervisor_fork(NULL);
                (void) !write(told[1], &pid, sizeof pid);
                while (access(place.state, F_OK) == 0) {
                        if (!fake_does(&self, "reaps-nobody"))
                                while (waitpid(-1, NULL, WNOHANG) > 0)
                                        ;
                        (void) usleep(2000);
                }
                _exit(0);
        }
        cr_assert_eq(read(told[0], &pid, sizeof pid), (ssize_t) sizeof pid);
        (void) close(told[0]);
        (void) close(told[1]);
        return pid;
}

/* ---- a segment that another process works in ----------------------------------------------------------------- */
/* Opened to look. */
static inline struct segment *segment_seen(void) {
        uint64_t deadline_usec = clock_usec() + PATIENCE_USEC;
        struct segment *segment = NULL;

        while (segment_open(place.runtime, true, &segment, NULL) < 0) {
                cr_assert_lt(clock_usec(), deadline_usec, "no segment came");
                (void) usleep(5000);
        }
        return segment;
}

static inline uint32_t owned_slots(const struct segment *segment) {
        uint32_t count = 0;

        for (uint32_t i = 0; i < segment->slot_count; i++)
                count += atomic_load(&segment_slot(segment, i)->state) == SLOT_OWNED;
        return count;
}

static inline void wait_owned(const struct segment *segment, uint32_t count, uint32_t workers) {
        uint64_t deadline_usec = clock_usec() + PATIENCE_USEC;
        uint32_t live;

        do {
                cr_assert_lt(clock_usec(), deadline_usec, "never owned");
                (void) usleep(5000);
                live = 0;
                for (uint32_t i = 0; i < segment->worker_count; i++)
                        live += (atomic_load(&segment_worker(segment, i)->life) & 0xff) == LIFE_LIVE;
        } while (owned_slots(segment) != count || live != workers);
}

/* A supervisor in a process of its own, whose `workers` workers own all of its `sources` sessions; their segment. */
static inline pid_t supervisor_fork_owned(const char *baton, unsigned workers, unsigned sources,
                                          struct segment **ret_segment) {
        pid_t pid;

        config_simple(baton, workers, sources);
        pid = supervisor_fork(NULL);
        *ret_segment = segment_seen();
        wait_owned(*ret_segment, sources, workers);
        return pid;
}

/* Each slot is with the worker that it is assigned to, and not all with the first: the last hand-over of the
 * balance is over, nothing moves any more. */
static inline void wait_spread(const struct segment *segment, uint32_t count) {
        uint64_t deadline_usec = clock_usec() + PATIENCE_USEC, assigned;
        uint32_t at_home, with_first;

        do {
                cr_assert_lt(clock_usec(), deadline_usec, "never spread");
                (void) usleep(5000);
                at_home = with_first = 0;
                for (uint32_t i = 0; i < count; i++) {
                        assigned = atomic_load(&segment_slot(segment, i)->assigned_ref);
                        at_home += assigned != 0 &&
                                   assigned == atomic_load(&segment_slot(segment, i)->owner_ref);
                        with_first += assigned == atomic_load(&segment_slot(segment, 0)->assigned_ref);
                }
        } while (at_home != count || with_first != count / 2);
}

/* ---- what is said ------------------------------------------------------------------------------------------- */
static FILE *said_file;

/* From here on log lines go into a file of the test's own. */
static inline void log_listen(void) {
        (void) unsetenv("JOURNAL_STREAM");
        said_file = tmpfile();
        cr_assert_not_null(said_file);
        cr_assert_geq(dup2(fileno(said_file), STDERR_FILENO), 0);
        log_init("batond");
        log_level(LOG_INFO);
}

/* How many lines hold the words. */
static inline unsigned log_said(const char *words) {
        char line[2048];
        unsigned count = 0;

        rewind(said_file);
        while (fgets(line, sizeof line, said_file))
                count += strstr(line, words) != NULL;
        return count;
}

/* How long a timer was set for, counted from the turn of the loop in which it was. */
static inline uint64_t set_for_usec(const struct manager *manager, sd_event_source *timer) {
        uint64_t at_usec, now_usec;

        cr_assert_not_null(timer);
        cr_assert_geq(sd_event_source_get_time(timer, &at_usec), 0);
        cr_assert_geq(sd_event_now(manager->event, CLOCK_MONOTONIC, &now_usec), 0);
        return at_usec - now_usec;
}

/* Its time has come. */
static inline void elapse(sd_event_source *timer) {
        cr_assert_geq(sd_event_source_set_time(timer, 0), 0);
}

/* ---- what is so ---------------------------------------------------------------------------------------------- */
static inline uint32_t members(const struct manager *manager) {
        uint32_t count = 0;

        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                count += manager->processes[i].pid > 0 && watch_is_eligible(manager, &manager->processes[i]);
        return count;
}

static inline uint32_t owned_by(const struct manager *manager, uint64_t ref) {
        uint32_t count = 0;

        for (uint32_t i = 0; i < manager->segment->slot_count; i++)
                count += atomic_load(&segment_slot(manager->segment, i)->state) == SLOT_OWNED &&
                         atomic_load(&segment_slot(manager->segment, i)->owner_ref) == ref;
        return count;
}

/* Workers of this place that run, whether the supervisor knows them or not. */
static inline uint32_t workers_running(void) {
        char path[64], text[1024], wanted[600];
        DIR *directory = opendir("/proc");
        uint32_t count = 0;

        cr_assert_not_null(directory);
        (void) snprintf(wanted, sizeof wanted, "--state%c%s", '\0', place.state);
        for (struct dirent *entry; (entry = readdir(directory));) {
                ssize_t bytes;
                int fd;

                (void) snprintf(path, sizeof path, "/proc/%.16s/cmdline", entry->d_name);
                fd = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? open(path, O_RDONLY | O_CLOEXEC)
                                                                        : -1;
                if (fd < 0)
                        continue;
                bytes = read(fd, text, sizeof text);
                count += bytes > 0 && memmem(text, (size_t) bytes, wanted,
                                             strlen("--state") + 1 + strlen(place.state) + 1) != NULL;
                (void) close(fd);
        }
        (void) closedir(directory);
        return count;
}

/* `sessions` sessions, all owned by eligible members, evenly, each by whom it is assigned to. */
static inline bool is_balanced(const struct manager *manager, uint32_t sessions, uint32_t workers) {
        uint32_t owned = 0, least = UINT32_MAX, most = 0;

        if (!manager->segment || members(manager) != workers ||
            watch_count(manager, LAYOUT_NONE, true) != workers)
                return false;
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++) {
                const struct process *process = &manager->processes[i];
                uint32_t count;

                if (process->pid == 0)
                        continue;
                count = owned_by(manager, process->ref);
                owned += count;
                least = MIN_OF(least, count);
                most = MAX_OF(most, count);
        }
        for (uint32_t i = 0; i < manager->segment->slot_count; i++) {
                const struct layout_slot *slot = segment_slot(manager->segment, i);

                if (atomic_load(&slot->state) != SLOT_FREE &&
                    (atomic_load(&slot->assigned_ref) != atomic_load(&slot->owner_ref) ||
                     atomic_load(&slot->assigned_ref) == atomic_load(&slot->heir_ref)))
                        return false;
        }
        return owned == sessions && (workers == 0 || most - least <= 1);
}

/* The slot of a session by the name it is shown by, among wanted ones. */
static inline uint32_t slot_called(const struct manager *manager, const char *session) {
        struct session_config config;

        for (uint32_t i = 0; i < manager->segment->slot_count; i++)
                if (atomic_load(&segment_slot(manager->segment, i)->state) != SLOT_FREE &&
                    atomic_load(&segment_slot(manager->segment, i)->wanted) != 0 &&
                    session_config_read(manager->segment, i, &config) >= 0 &&
                    strcmp(config.session, session) == 0)
                        return i;
        return LAYOUT_NONE;
}

static inline struct process *some_member(struct manager *manager) {
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0 && watch_is_eligible(manager, &manager->processes[i]))
                        return &manager->processes[i];
        cr_assert_fail("no worker is a member");
        return NULL;
}
