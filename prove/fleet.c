/* SPDX-License-Identifier: Apache-2.0 */
/* Runs as child processes: begun, waited for, judged, cleared away. Each is a kernel session of its own, by
 * which all that it started is found again.
 *
 * We die here: the runs die with us (PR_SET_PDEATHSIG); their directories stay. */
#include "prove/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "prove/fleet_place.h"
#include "prove/tree.h"

#define PARALLEL_MAX 64
#define LIMIT_SECONDS 60
#define KEPT_MAX 3
#define STATUS_BYTES 8192

/* One run at a time; its page is shared with its processes, and is zeroed before the next. */
struct berth {
        pid_t pid; /* 0: free */
        int pid_fd;
        size_t index;
        uint64_t began_usec;
        struct fleet_place place;
        struct fleet_result *result;
        void *data;
};

struct fleet {
        const struct fleet_options *options;
        struct fleet_root root;
        struct berth berths[PARALLEL_MAX];
        unsigned parallel, running, kept;
        int failed;
        bool is_ending;
};

static volatile sig_atomic_t is_interrupted;
static struct fleet_result *own_result; /* in a run's processes */

/* ---- in the run -------------------------------------------------------------------------------- */
_noreturn_ static void run_failed(const char *message) {
        if (own_result->message[0] == '\0')
                (void) snprintf(own_result->message, sizeof(own_result->message), "%s", message);
        fprintf(stderr, "FAILED: %s\n", message);
        (void) fflush(NULL);
        _exit(1);
}

static void run_failed_hook(const char *message) {
        run_failed(message);
}

void fleet_fail(const char *format, ...) {
        char message[sizeof(own_result->message)];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);
        if (!own_result) {
                fprintf(stderr, "%s\n", message);
                exit(1);
        }
        run_failed(message);
}

_noreturn_ static void run_main(const struct fleet *fleet, const struct berth *berth) {
        const struct fleet_options *options = fleet->options;
        struct world world;
        int output;

        (void) setsid();
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) signal(SIGINT, SIG_DFL);
        (void) signal(SIGTERM, SIG_DFL);
        own_result = berth->result;
        world_failed = run_failed_hook;
        output = open(berth->place.output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (output >= 0) {
                (void) dup2(output, STDOUT_FILENO);
                (void) dup2(output, STDERR_FILENO);
        }
        world_begin_at(&world, berth->place.directory, berth->place.runtime);
        (void) snprintf(own_result->state, sizeof(own_result->state), "%s", world.state);
        (void) snprintf(own_result->runtime, sizeof(own_result->runtime), "%s", world.runtime);
        (void) snprintf(own_result->bin, sizeof(own_result->bin), "%s", world.bin);
        options->run(berth->index, &world, berth->data, options->context);
        (void) fflush(NULL);
        _exit(0);
}

/* ---- in the fleet ------------------------------------------------------------------------------ */
static void interrupted(int signal_number) {
        (void) signal_number;
        is_interrupted = 1;
}

static int berth_begin(struct fleet *fleet, struct berth *berth, size_t index) {
        int r;

        memset(berth->result, 0, sizeof(*berth->result));
        if (fleet->options->data_bytes > 0)
                memset(berth->data, 0, fleet->options->data_bytes);
        r = fleet_place_make(&fleet->root, index, &berth->place);
        if (r < 0)
                return r;
        berth->index = index;
        berth->began_usec = clock_usec();
        (void) fflush(NULL);
        berth->pid = fork();
        if (berth->pid == 0)
                run_main(fleet, berth);
        if (berth->pid < 0) {
                berth->pid = 0;
                return -errno;
        }
        berth->pid_fd = pidfd_open(berth->pid, 0);
        if (berth->pid_fd < 0)
                return -errno;
        fleet->running++;
        return 0;
}

/* What a hang looks like, while it still hangs. */
static void hang_report(const struct berth *berth) {
        static struct world world;
        FILE *out = fopen(berth->place.output, "ae");

        if (!out)
                return;
        fprintf(out, "---- it did not end; each thread of it:\n");
        tree_dump(berth->pid, out);
        world = (struct world){ 0 };
        (void) snprintf(world.directory, sizeof(world.directory), "%s", berth->place.directory);
        (void) snprintf(world.bin, sizeof(world.bin), "%s", berth->result->bin);
        if (world.bin[0] && world_run(&world, "baton", "status", "--state", berth->result->state, "--runtime",
                                      berth->result->runtime, NULL) >= 0)
                fprintf(out, "---- baton status\n%s\n", world.output);
        (void) fclose(out);
}

static void berth_judge(const struct fleet *fleet, struct berth *berth, int status) {
        struct fleet_result *result = berth->result;
        const unsigned limit = fleet->options->limit_seconds ? fleet->options->limit_seconds : LIMIT_SECONDS;

        result->span_usec = clock_usec() - berth->began_usec;
        if (result->outcome == FLEET_HUNG)
                (void) snprintf(result->message, sizeof(result->message), "did not end within %u s", limit);
        else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && result->message[0] == '\0')
                return;
        else
                result->outcome = FLEET_FAILED;
        if (result->message[0] == '\0')
                (void) snprintf(result->message, sizeof(result->message), "the run ended with %s %d",
                                WIFSIGNALED(status) ? "signal" : "code",
                                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Orphans of a run whose reaper is gone; runs themselves are left to berth_end(). */
static void reap_orphans(const struct fleet *fleet) {
        for (;;) {
                siginfo_t info = { .si_pid = 0 };

                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
                        return;
                for (unsigned i = 0; i < fleet->parallel; i++)
                        if (fleet->berths[i].pid == info.si_pid)
                                return;
                (void) waitpid(info.si_pid, NULL, 0);
        }
}

/* The process has ended, or is to: whatever else there is of the run ends too. */
static void berth_end(struct fleet *fleet, struct berth *berth, bool counts) {
        const unsigned kept_max = fleet->options->kept_max ? fleet->options->kept_max : KEPT_MAX;
        int status = 0;
        bool is_kept;

        if (!tree_kill(berth->pid) && berth->result->message[0] == '\0')
                (void) snprintf(berth->result->message, sizeof(berth->result->message),
                                "a process of it outlives SIGKILL by 5 s");
        while (waitpid(berth->pid, &status, 0) < 0 && errno == EINTR)
                ;
        fd_close(&berth->pid_fd);
        berth->pid = 0;
        fleet->running--;
        reap_orphans(fleet);
        if (counts)
                berth_judge(fleet, berth, status);
        is_kept = counts && berth->result->outcome != FLEET_HELD && fleet->kept < kept_max;
        if (is_kept) {
                fleet->kept++;
                (void) snprintf(berth->result->directory, sizeof(berth->result->directory), "%s",
                                berth->place.directory);
        }
        fleet_place_clear(&berth->place, is_kept);
        if (!counts)
                return;
        fleet->failed += berth->result->outcome != FLEET_HELD;
        if (fleet->options->done &&
            !fleet->options->done(berth->index, berth->result, berth->data, fleet->options->context))
                fleet->is_ending = true;
}

/* Waits for the next end, or the next limit. */
static void fleet_wait(struct fleet *fleet) {
        const uint64_t limit_usec = (fleet->options->limit_seconds ? fleet->options->limit_seconds
                                                                   : LIMIT_SECONDS) *
                                    USEC_PER_SEC;
        struct pollfd polls[PARALLEL_MAX];
        uint64_t now_usec = clock_usec(), wait_usec = limit_usec;

        for (unsigned i = 0; i < fleet->parallel; i++) {
                const struct berth *berth = &fleet->berths[i];
                uint64_t span_usec = now_usec - berth->began_usec;

                polls[i] = (struct pollfd){ .fd = berth->pid ? berth->pid_fd : -1, .events = POLLIN };
                if (berth->pid)
                        wait_usec = MIN_OF(wait_usec, span_usec < limit_usec ? limit_usec - span_usec : 0);
        }
        if (poll(polls, fleet->parallel, (int) (wait_usec / USEC_PER_MSEC) + 1) < 0)
                return; /* interrupted */
        now_usec = clock_usec();
        for (unsigned i = 0; i < fleet->parallel; i++) {
                struct berth *berth = &fleet->berths[i];

                if (!berth->pid)
                        continue;
                if (polls[i].revents == 0 && now_usec - berth->began_usec >= limit_usec) {
                        berth->result->outcome = FLEET_HUNG;
                        hang_report(berth);
                        berth_end(fleet, berth, true);
                } else if (polls[i].revents != 0)
                        berth_end(fleet, berth, true);
        }
}

static int fleet_begin(struct fleet *fleet) {
        const size_t bytes = sizeof(struct fleet_result) + fleet->options->data_bytes;
        long processors = sysconf(_SC_NPROCESSORS_ONLN);

        fleet->parallel = fleet->options->parallel;
        if (fleet->parallel == 0)
                fleet->parallel = processors > 0 ? (unsigned) processors * 2 : 2;
        fleet->parallel = MIN_OF(fleet->parallel, (unsigned) PARALLEL_MAX);
        for (unsigned i = 0; i < fleet->parallel; i++) {
                void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

                if (shared == MAP_FAILED)
                        return -errno;
                fleet->berths[i].pid_fd = -1;
                fleet->berths[i].result = shared;
                fleet->berths[i].data = fleet->berths[i].result + 1;
        }
        return fleet_root_make(&fleet->root, fleet->options->directory);
}

static void fleet_end(struct fleet *fleet) {
        for (unsigned i = 0; i < fleet->parallel; i++) {
                struct berth *berth = &fleet->berths[i];

                if (berth->pid)
                        berth_end(fleet, berth, false);
                if (berth->result)
                        (void) munmap(berth->result,
                                      sizeof(struct fleet_result) + fleet->options->data_bytes);
        }
        fleet_root_clear(&fleet->root);
}

/* A free berth, or NULL. */
static struct berth *berth_find(struct fleet *fleet) {
        for (unsigned i = 0; i < fleet->parallel; i++)
                if (!fleet->berths[i].pid)
                        return &fleet->berths[i];
        return NULL;
}

int fleet_run(const struct fleet_options *options, size_t count) {
        const struct sigaction catch = { .sa_handler = interrupted };
        struct sigaction before_int, before_term;
        struct fleet fleet = { .options = options };
        struct berth *berth;
        size_t next = 0;
        int r;

        assert(options && options->run);
        (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
        is_interrupted = 0;
        (void) sigaction(SIGINT, &catch, &before_int);
        (void) sigaction(SIGTERM, &catch, &before_term);
        r = fleet_begin(&fleet);
        while (r >= 0 && !is_interrupted && (fleet.running > 0 || (next < count && !fleet.is_ending))) {
                berth = next < count && !fleet.is_ending ? berth_find(&fleet) : NULL;
                if (berth)
                        r = berth_begin(&fleet, berth, next++);
                else
                        fleet_wait(&fleet);
        }
        fleet_end(&fleet);
        (void) sigaction(SIGINT, &before_int, NULL);
        (void) sigaction(SIGTERM, &before_term, NULL);
        if (is_interrupted)
                return -EINTR;
        return r < 0 ? r : fleet.failed;
}
