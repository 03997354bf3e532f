/* SPDX-License-Identifier: Apache-2.0 */
/* baton-worker: one destination, one process (P3). Started by the supervisor with fork + exec (P2);
 * enters itself in the worker table, moves, and leaves when it is told to. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <urcu/urcu-memb.h>

#include "base/log.h"
#include "base/text.h"
#include "shm/doorbell.h"
#include "shm/life.h"
#include "worker/confine_files.h"
#include "worker/keeper.h"
#include "worker/session.h"

#define EXIT_TRY_AGAIN 75 /* the segment is condemned or gone: a new worker finds the new one */

struct arguments {
        struct directories directories;
        uint32_t pool_index;
};

static int usage(const char *why) {
        (void) fprintf(stderr,
                       "baton-worker: %s\n"
                       "usage: baton-worker --state DIR --runtime DIR --pool INDEX\n"
                       "It is started by the supervisor (baton run), not by hand.\n",
                       why);
        return -EINVAL;
}

static int arguments_parse(int argc, char *argv[], struct arguments *ret_arguments) {
        static const struct option options[] = { { "state", required_argument, NULL, 's' },
                                                 { "runtime", required_argument, NULL, 'r' },
                                                 { "pool", required_argument, NULL, 'p' },
                                                 { NULL, 0, NULL, 0 } };
        const char *state = NULL, *runtime = NULL;
        uint64_t pool = UINT64_MAX;
        struct failure failure;
        int c;

        opterr = 0; /* usage() says it */
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 's':
                        state = optarg;
                        break;
                case 'r':
                        runtime = optarg;
                        break;
                case 'p':
                        if (text_parse_u64(optarg, &pool) < 0 || pool >= LAYOUT_POOL_COUNT_MAX)
                                return usage("--pool is no index of a pool");
                        break;
                default:
                        return usage("unknown option");
                }
        if (pool == UINT64_MAX || optind != argc)
                return usage("--pool is missing, or there is an argument too many");
        if (directories_resolve(state, runtime, &ret_arguments->directories, &failure) < 0)
                return usage(failure.text);
        ret_arguments->pool_index = (uint32_t) pool;
        return 0;
}

static int thread_start(struct worker *worker, pthread_t *ret_thread, void *(*routine)(void *),
                        struct failure *ret_failure) {
        int r = -pthread_create(ret_thread, NULL, routine, worker);

        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "cannot start a thread: %s",
                                   strerror(-r));
        return 0;
}

/* Who stands in the table is counted on as an heir from that moment on, so the thread that hears of deaths is there
 * before, at its priority (S7): on a busy machine it may take long until a new thread runs. */
static int enter(struct worker *worker, struct failure *ret_failure) {
        int r;

        if (sem_init(&worker->entered, 0, 0) < 0)
                return failure_set(ret_failure, -errno, FAILURE_STOP, "no semaphore: %s", strerror(errno));
        r = thread_start(worker, &worker->takeover_thread, takeover_thread_main, ret_failure);
        if (r < 0)
                return r;
        r = life_enter(worker->segment, worker->pool_index, &worker->ref, ret_failure);
        if (r < 0)
                atomic_store(&worker->leaving, 1);
        (void) sem_post(&worker->entered);
        if (r < 0)
                (void) pthread_join(worker->takeover_thread, NULL);
        return r;
}

static void threads_stop(struct worker *worker) {
        atomic_store(&worker->leaving, 1);
        doorbell_ring(worker->segment, worker->ref);
        worker_wake_control(worker);
        (void) pthread_join(worker->takeover_thread, NULL);
        (void) pthread_join(worker->control_thread, NULL);
        roster_free(&worker->roster);
}

/* The mover is this thread: it locks the life mutex in life_enter() and holds it to the end (S1). */
static int work(struct worker *worker, struct failure *ret_failure) {
        int r;

        r = enter(worker, ret_failure);
        if (r < 0)
                return r;
        fault_note_clear(worker);
        confine_files_tell(worker);
        r = signals_install(worker);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot install signal handlers: %s",
                                   strerror(-r));
        urcu_memb_register_thread();
        /* Before the destination is opened, which waits for its disk. */
        r = thread_start(worker, &worker->control_thread, control_thread_main, ret_failure);
        if (r < 0)
                return r; /* the process ends: its death is the news, nothing is owned yet */
        (void) target_open(worker,
                           &worker->destination_failure); /* warm (S8); pass.c tries again and tells */
        r = confine(ret_failure);                         /* the other threads, too */
        if (r < 0)
                return r;
        worker_notify_supervisor(worker);
        r = mover_run(worker);
        if (r < 0)
                return failure_set(
                        ret_failure, r, FAILURE_STOP,
                        "the segment is condemned (a shared lock was lost) or holds this worker for dead: it "
                        "leaves everything as it is; the supervisor puts another in its place");
        urcu_memb_unregister_thread();
        warm_done(worker);
        target_close(worker);
        journal_close(TAKE(worker->journal));
        threads_stop(worker);
        life_leave(worker->segment, worker->ref);
        worker_notify_supervisor(worker);
        return 0;
}

int main(int argc, char *argv[]) {
        static struct worker worker; /* static: the fault handler reads it */
        struct arguments arguments = { 0 };
        struct failure failure = { 0 };
        int r;

        log_init("baton-worker");
        if (arguments_parse(argc, argv, &arguments) < 0)
                return 2;
        r = worker_open(&worker, &arguments.directories, arguments.pool_index, &failure);
        if (r >= 0) {
                confine_resources(worker.settings.cores);
                r = confine_files(&worker, &failure);
        }
        if (r >= 0) {
                (void) keeper_start(NULL); /* without it a successor waits longer, and that is all */
                r = work(&worker, &failure);
        }
        if (r < 0) {
                log_line(MESSAGE_WORKER_FAILED, LOG_ERR, NULL, "%s", failure.text);
                log_finish();
                return r == -ESTALE || r == -ENOENT ? EXIT_TRY_AGAIN : EXIT_FAILURE;
        }
        worker_done(&worker);
        log_finish();
        return EXIT_SUCCESS;
}
