/* SPDX-License-Identifier: Apache-2.0 */
/* One installation of Baton in a temporary directory: its files, its processes, what its segment says.
 *
 * Every wait is for a predicate and is bounded (WAIT_SECONDS); what does not come in time fails the test
 * with the state of everything: `baton status`, the tails of all logs. world_end() leaves no process and
 * no file behind, also after a failure. Must not touch: a segment that it could write (it maps read-only). */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"
#include "shm/segment.h"
#include "shm/words.h"

#define WAIT_SECONDS 30
#define WORLD_OUTBOX_MAX 16
#define WORLD_WORKER_MAX 64
#define WORLD_PATH_BYTES 512

struct world_outbox {
        char name[64], file[WORLD_PATH_BYTES];
        bool has_ledger; /* table `ledger` beside the outbox: for sources that are cleaned */
};

struct world {
        char directory[WORLD_PATH_BYTES], state[WORLD_PATH_BYTES], runtime[WORLD_PATH_BYTES],
                config[WORLD_PATH_BYTES], bin[WORLD_PATH_BYTES];
        struct world_outbox outboxes[WORLD_OUTBOX_MAX];
        size_t outbox_count;
        pid_t batond; /* 0: none that we know of */
        unsigned batond_starts;
        struct segment *segment;
        uint64_t segment_inode;
        char output[65536];  /* of the last command */
        bool keeps_files;    /* $BATON_TEST_KEEP */
        bool is_faulty;      /* batond and its workers start with a disk that can be told to fail */
        bool jumps;          /* … with a wall clock that can be told to jump */
        bool has_identities; /* … and are told that some files are others */
};

/* What a failure does; tests set it to Criterion's, benches leave it (message, clean up, exit 1). */
extern void (*world_failed)(const char *message);
_noreturn_ void world_fail(struct world *world, const char *format, ...) _printf_(2, 3);

/* world.c: the whole of it. */
void world_begin(struct world *world);
/* In two directories that stand already; whoever made them removes them, or world_end() does. */
void world_begin_at(struct world *world, const char *directory, const char *runtime);
void world_end(struct world *world);
/* Replaces the configuration file. "%D" in the text is the world's directory. */
void world_config(struct world *world, const char *text);
/* Makes DIRECTORY/NAME.db by `baton outbox create`, and knows it from then on. */
void world_outbox(struct world *world, const char *name);
void world_outbox_cleaned(struct world *world, const char *name); /* with a ledger */
/* [baton] and [destination d] (sqlite:%D/d.db) with `workers`, and one source for each outbox. */
void world_config_standard(struct world *world, unsigned workers, const char *destination_lines);
const char *world_path(const struct world *world, const char *name); /* DIRECTORY/name; four at a time */
/* Runs a shell command in DIRECTORY; it must succeed. */
void world_shell(struct world *world, const char *command);

/* process.c: commands and daemons. */
/* Runs BIN/program, waits; stdout and stderr are in world->output. Exit status, or 128 + signal. */
int world_run(struct world *world, const char *program, ...) __attribute__((sentinel));
int world_run_list(struct world *world, char **argv); /* ends with NULL */
/* The same, not waited for: its output goes to the descriptor, its end is the caller's to wait for. */
pid_t world_spawn(const struct world *world, int output_fd, char **argv);
#define baton(world, ...) world_run(world, "baton", __VA_ARGS__, NULL)
void world_start(struct world *world); /* batond; returns when its segment stands */
pid_t world_start_unwaited(struct world *world, const char *config);
/* SIGTERM; returns its exit status (128 + signal), all workers are gone. */
int world_stop(struct world *world);
void world_kill_batond(struct world *world); /* SIGKILL, reaped */
void world_kill_workers(struct world *world, const char *destination);
/* Everything is killed, the runtime directory emptied, batond started again. */
void world_reboot(struct world *world);
void world_empty_runtime(struct world *world); /* nobody runs */
/* Through a pidfd. A kill is not a death yet: kill_process() returns at once, kill_and_wait() when the
 * process is gone. A pid that is none is the test's own mistake: it would prove nothing. */
void kill_process(pid_t pid, int signal_number);
void kill_and_wait(pid_t pid, int signal_number);
bool process_is_alive(pid_t pid);
/* Every process with our --state directory in its command line. */
size_t world_processes(const struct world *world, pid_t *ret_pids, size_t count);
void world_reap(void);    /* children that ended (subreaper) */
int wait_exit(pid_t pid); /* exit status or 128 + signal; bounded */

/* watch.c: what the segment says. All are 0, false or "" where there is none. */
struct segment *world_segment(struct world *world);
uint32_t session_slot(struct world *world, const char *session); /* LAYOUT_NONE */
bool session_status(struct world *world, const char *session, struct session_status *ret_status);
uint64_t session_position(struct world *world, const char *session);
uint64_t session_epoch(struct world *world, const char *session);
bool session_is(struct world *world, const char *session, enum session_phase phase);
const char *session_reason(struct world *world, const char *session);
/* What a waiting session says may be another thing at each attempt: wait for the words. */
bool session_says(struct world *world, const char *session, const char *words);
pid_t session_owner(struct world *world, const char *session);
uint32_t live_workers(struct world *world, const char *destination, pid_t *ret_pids, uint32_t count);
pid_t worker_of(struct world *world, const char *destination, uint32_t number); /* the n-th live one */
bool worker_in_transaction(struct world *world, pid_t pid);
pid_t any_in_transaction(struct world *world);                 /* 0: nobody is */
pid_t worker_at_event(struct world *world, uint64_t position); /* has it alone in hand (M6); 0: nobody */
const struct layout_worker *entry_in_transaction(struct world *world);
bool all_owned_by_live(struct world *world);
uint64_t takeover_count(struct world *world, const char *destination);
/* M6: deaths that count against the event before which the session stands. A third one on it alone parks
 * the event or stops the session, as it must; who kills at random stays below. */
unsigned session_deaths(struct world *world, const char *session);
bool nobody_is_accused(struct world *world); /* of all outboxes: none */

/* Who is where, as one look that was the same twice. Two questions, one after the other, may be answered
 * by two different states; whoever needs more than one answer asks here. Sessions by number of outbox. */
struct pool_look {
        uint32_t worker_count;
        pid_t workers[WORLD_WORKER_MAX];
        pid_t owners[WORLD_OUTBOX_MAX], heirs[WORLD_OUTBOX_MAX]; /* heir 0: none */
        uint64_t epochs[WORLD_OUTBOX_MAX];
};
/* So many live (0: any number), every session is owned by the one that it is assigned to, and evenly: no
 * session is under way, and it stays so until a worker dies, joins or is told to leave. */
bool pool_is_settled(struct world *world, const char *destination, uint32_t workers,
                     struct pool_look *ret_look);
void wait_settled(struct world *world, const char *destination, uint32_t workers, struct pool_look *ret_look);

uint64_t wait_begin(void);
void wait_step(struct world *world, uint64_t since, const char *what, const char *file, int line);
#define WAIT_UNTIL(world, condition)                                              \
        do {                                                                      \
                uint64_t _since = wait_begin();                                   \
                while (!(condition))                                              \
                        wait_step(world, _since, #condition, __FILE__, __LINE__); \
        } while (0)
void world_dump(struct world *world); /* status, logs: to stderr */

/* faults.c: a disk that fails on demand (preload/faults.c), for what is started after world_faulty(). */
void world_faulty(struct world *world);
void world_faults(struct world *world, const char *rules); /* from now on; the count begins at 0 */
void world_faults_end(struct world *world);
uint64_t world_fault_count(const struct world *world);
/* From its next start on, batond takes the file for the one of that identity: "INODE SECONDS NANOSECONDS", the
 * last two its birth (preload/identity.c). */
void world_identity(struct world *world, const char *file, const char *words);
/* A wall clock that jumps (preload/clock.c), for what is started after world_jumps(). */
void world_jumps(struct world *world);
void world_clock_set(struct world *world, int64_t ahead_sec); /* of the true one; negative: behind it */
void world_preload(const struct world *world);                /* in the child, before exec */

/* harm.c: harm, and the proof that it was done. */
void kill_together(const pid_t *pids, size_t count, int signal_number); /* returns when all are gone */
void stop_process(struct world *world, pid_t pid); /* SIGSTOP; returns when no thread of it runs */
/* Stops a worker in the midst of its transaction; more is written, so that there always is one. */
pid_t stop_in_transaction(struct world *world);
/* The same, and ends it by the signal; no event is hit again before it was moved (session_deaths()). */
void kill_in_transaction(struct world *world, int signal_number);

/* reports.c: world_begin() and world_end() call these; a test need not. */
void reports_begin(const struct world *world);
/* The test is about to cause this fault in a process of the world; another signal is none. */
void reports_expect_fault(int signal_number);
/* The output of a process that ended, about to be removed: kept, if there is a report in it. */
void reports_keep(const struct world *world, const char *path);
/* True: some process has one; it is on stderr. Of faults, only those that were not expected. */
bool reports_of_sanitizers(const struct world *world);
bool reports_of_faults(const struct world *world);

/* check.c: the judge. */
void check_final(struct world *world); /* sqlite:%D/d.db against all outboxes */
void check_live(struct world *world);
void check_destination(struct world *world, const char *destination, const char *mode);
int check_code(struct world *world, const char *destination, const char *mode);  /* the checker's: 0, 1, 2 */
bool check_says(struct world *world, const char *destination, const char *mode); /* true: good */
