/* SPDX-License-Identifier: Apache-2.0 */
/* A stub worker: its main thread is a mover (S1) that writes to SQLite without end while it owns a slot,
 * its second thread a takeover thread (S7), at SCHED_FIFO as in the product. */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/priority.h"
#include "base/text.h"
#include "shm/life.h"
#include "shm/slot.h"
#include "shm/takeover.h"
#include "shm/words.h"
#include "tests/bench/lib/stub.h"

#define WAIT_USEC (10 * USEC_PER_SEC)

_noreturn_ static void bench_fail(const char *what) {
        fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
        exit(1);
}

bool thread_fifo(void) {
        struct sched_param parameter = { .sched_priority = 10 };

        return pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameter) == 0;
}

static void hold_ballast(unsigned mebibytes) {
        size_t bytes = (size_t) mebibytes << 20;
        char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (memory == MAP_FAILED)
                _exit(3);
        memset(memory, 1, bytes);
}

/* No core: a dump delays the proof of death (P6). */
static void become_victim(unsigned ballast_mib) {
        struct rlimit none = { 0, 0 };

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) setrlimit(RLIMIT_CORE, &none);
        hold_ballast(ballast_mib);
}

/* ---- the stub's process ------------------------------------------------------------------------- */
struct stub_self {
        struct segment *segment;
        uint64_t ref;
};

static void *takeover_main(void *argument) {
        struct stub_self *self = argument;
        struct layout_worker *record = segment_worker(self->segment, worker_ref_index(self->ref));
        struct life_watch watch = {};
        struct takeover_result result;

        (void) thread_fifo();
        record->takeover_is_fifo = 1; /* here: the thread stands at its wait */
        for (;;) {
                int news = life_wait(self->segment, self->ref, &watch, clock_usec() + USEC_PER_SEC);

                if (news > 0)
                        (void) takeover_run(self->segment, 0, self->ref, &result);
        }
        return NULL;
}

static bool owns_something(const struct stub_self *self, uint32_t session_count) {
        uint64_t epoch;
        struct slot_view view;

        for (uint32_t i = 0; i < session_count; i++)
                if (slot_read(self->segment, i, &view) == 0 && view.state == SLOT_ORPHAN &&
                    view.assigned_ref == self->ref)
                        (void) slot_take(self->segment, i, self->ref, &epoch);
        return slot_read(self->segment, session_count - 1, &view) == 0 && view.owner_ref == self->ref;
}

_noreturn_ static void write_without_end(const char *file) {
        sqlite3 *database;

        if (sqlite3_open(file, &database) != SQLITE_OK)
                _exit(4);
        (void) sqlite3_exec(database,
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                            "CREATE TABLE events(position INTEGER PRIMARY KEY, payload)",
                            NULL, NULL, NULL);
        for (;;)
                (void) sqlite3_exec(
                        database,
                        "BEGIN IMMEDIATE; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                        " WHERE i < 50) INSERT INTO events(payload) SELECT zeroblob(256) FROM n; COMMIT",
                        NULL, NULL, NULL);
}

_noreturn_ static void stub_main(const struct stub_pool *pool) {
        struct stub_self self = {};
        struct failure failure = {};
        pthread_t thread;
        char file[320];

        become_victim(pool->ballast_mib);
        if (segment_open(pool->directory, true, &self.segment, &failure) < 0 ||
            life_enter(self.segment, 0, &self.ref, &failure) < 0) {
                fprintf(stderr, "stub: %s\n", failure.text);
                _exit(2);
        }
        (void) priority_set(-10, 200);
        if (pthread_create(&thread, NULL, takeover_main, &self) != 0)
                _exit(2);
        while (!owns_something(&self, pool->session_count))
                (void) usleep(200);
        (void) snprintf(file, sizeof(file), "%s/stub-%u.db", pool->directory, pool->number);
        write_without_end(file);
}

/* ---- the bench's process ------------------------------------------------------------------------ */
void stub_pool_begin(struct stub_pool *pool, uint32_t session_count, unsigned ballast_mib) {
        static const uint8_t instance[LAYOUT_INSTANCE_BYTES] = { 1 };
        struct segment_geometry geometry = { .worker_count = 64, .slot_count = MAX_OF(session_count, 16u) };
        struct pool_settings settings = {
                .state = POOL_ACTIVE, .workers_wanted = 2, .name = "d", .url = "sqlite:/d"
        };
        struct failure failure = {};

        *pool = (struct stub_pool){ .session_count = session_count, .ballast_mib = ballast_mib };
        strcpy(pool->directory, "/dev/shm/baton-bench-XXXXXX");
        if (!mkdtemp(pool->directory))
                bench_fail(pool->directory);
        if (segment_create(pool->directory, &geometry, instance, 1ULL << 32, &pool->segment, &failure) < 0)
                bench_fail(failure.text);
        pool_settings_write(pool->segment, 0, &settings);
        for (uint32_t i = 0; i < session_count; i++) {
                struct layout_config config = { .sibling_slot = i, .url = "sqlite:/s" };

                (void) snprintf(config.session, sizeof(config.session), "s%u", i);
                (void) snprintf(config.source, sizeof(config.source), "s%u", i);
                if (slot_configure(pool->segment, i, 0, &config) < 0)
                        bench_fail("slot_configure");
        }
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        (void) status, (void) kind, (void) walk;
        return remove(path);
}

void stub_pool_end(struct stub_pool *pool) {
        segment_closep(&pool->segment);
        (void) nftw(pool->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* The entry of that process, once its takeover thread waits. */
static uint64_t ref_of(struct stub_pool *pool, pid_t pid) {
        uint64_t until = clock_usec() + WAIT_USEC;

        while (clock_usec() < until) {
                for (uint32_t i = 0; i < pool->segment->worker_count; i++) {
                        struct layout_worker *record = segment_worker(pool->segment, i);
                        uint64_t life = record->life;

                        if ((life & 0xff) == LIFE_LIVE && (pid_t) record->pid == pid &&
                            record->takeover_is_fifo)
                                return worker_ref(i, life >> 8);
                }
                (void) usleep(200);
        }
        bench_fail("a stub does not come up");
}

struct stub stub_start(struct stub_pool *pool) {
        struct stub stub;

        pool->number++;
        stub.pid = fork();
        if (stub.pid == 0)
                stub_main(pool);
        stub.ref = ref_of(pool, stub.pid);
        (void) usleep(1000); /* into its futex */
        return stub;
}

static bool all_owned_by(struct stub_pool *pool, uint64_t ref, uint64_t *ret_last_usec) {
        struct slot_view view;
        uint64_t last = 0;

        for (uint32_t i = 0; i < pool->session_count; i++) {
                if (slot_read(pool->segment, i, &view) < 0 || view.owner_ref != ref)
                        return false;
                last = MAX_OF(last, view.owned_since_usec);
        }
        *ret_last_usec = last;
        return true;
}

static uint64_t wait_owned(struct stub_pool *pool, uint64_t ref) {
        uint64_t until = clock_usec() + WAIT_USEC, last = 0;

        while (!all_owned_by(pool, ref, &last)) {
                if (clock_usec() > until)
                        bench_fail("the heir does not get its slots");
                (void) usleep(300);
        }
        return last;
}

void stub_assign(struct stub_pool *pool, struct stub owner, struct stub heir) {
        for (uint32_t i = 0; i < pool->session_count; i++)
                slot_assign(pool->segment, i, owner.ref, heir.ref);
        (void) wait_owned(pool, owner.ref);
        (void) usleep(3000); /* its mover is at work */
}

double stub_kill(struct stub_pool *pool, struct stub victim, struct stub heir, int signal_number) {
        uint64_t killed_usec = clock_usec(), owned_usec;
        int status;

        (void) kill(victim.pid, signal_number);
        owned_usec = wait_owned(pool, heir.ref);
        (void) waitpid(victim.pid, &status, 0);
        return (double) owned_usec - (double) killed_usec;
}

/* ---- the floor ---------------------------------------------------------------------------------- */
struct bare {
        pthread_mutex_t mutex;
        _Atomic uint32_t held;
        _Atomic uint64_t woken_usec;
};

static void *bare_waiter(void *argument) {
        struct bare *bare = argument;

        (void) thread_fifo();
        if (pthread_mutex_lock(&bare->mutex) == EOWNERDEAD)
                bare->woken_usec = clock_usec();
        return NULL;
}

double bare_wake(unsigned ballast_mib, int signal_number) {
        struct bare *bare = mmap(NULL, sizeof(*bare), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                                 0);
        pthread_mutexattr_t attributes;
        uint64_t killed_usec;
        pthread_t waiter;
        double span;
        pid_t pid;

        if (bare == MAP_FAILED)
                bench_fail("mmap");
        (void) pthread_mutexattr_init(&attributes);
        (void) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        (void) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        (void) pthread_mutex_init(&bare->mutex, &attributes);
        pid = fork();
        if (pid == 0) {
                become_victim(ballast_mib);
                (void) setpriority(PRIO_PROCESS, 0, -10);
                (void) pthread_mutex_lock(&bare->mutex);
                bare->held = 1;
                for (;;)
                        (void) pause();
        }
        while (!bare->held)
                (void) usleep(200);
        if (pthread_create(&waiter, NULL, bare_waiter, bare) != 0)
                bench_fail("pthread_create");
        (void) usleep(2000);
        killed_usec = clock_usec();
        (void) kill(pid, signal_number);
        (void) pthread_join(waiter, NULL);
        span = (double) bare->woken_usec - (double) killed_usec;
        (void) waitpid(pid, NULL, 0);
        (void) munmap(bare, sizeof(*bare));
        return span;
}

/* ---- load --------------------------------------------------------------------------------------- */
static pid_t burners[64];

void burn_begin(void) {
        long count = MIN_OF(sysconf(_SC_NPROCESSORS_ONLN), 64L);

        for (long i = 0; i < count; i++) {
                burners[i] = fork();
                if (burners[i] == 0) {
                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        for (volatile uint64_t n = 0;; n++)
                                ;
                }
        }
}

void burn_end(void) {
        for (size_t i = 0; i < ELEMENTSOF(burners); i++)
                if (burners[i] > 0) {
                        (void) kill(burners[i], SIGKILL);
                        (void) waitpid(burners[i], NULL, 0);
                        burners[i] = 0;
                }
}
