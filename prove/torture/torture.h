/* SPDX-License-Identifier: Apache-2.0 */
/* One run of the torture: an installation under random harm, judged all the while.
 *
 * One process and one loop do everything but what could wait: writers, judges, commands and spinners are
 * children. Each part has a turn, which never blocks for long, so that harms overlap as the schedule says.
 * Must not touch: the segment (it is read), a process or a directory that is not the run's own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/clock.h"
#include "prove/torture/dice.h"
#include "prove/torture/scene.h"

#define STALL_MSEC 4000u
#define ADOPT_MSEC 3000u
#define BATCH_ROWS 400u
#define BATCH_MSEC 50u
/* After all harm has ended everything must be moved within this: a pool whose workers all died often waits
 * up to 30 s for the next one, and the machine may be busy with other things. */
#define CALM_MOST_USEC (120 * USEC_PER_SEC)

struct torture;

/* ---- the schedule (schedule.c) --------------------------------------------------------------------- */
enum harm {
        HARM_KILL,
        HARM_SEGV,
        HARM_PAIR,
        HARM_POOL,
        HARM_STOP,
        HARM_SUPERVISOR_KILL,
        HARM_SUPERVISOR_STOP,
        HARM_TOGETHER,
        HARM_EVERYTHING,
        HARM_RESTART,
        HARM_SCALE,
        HARM_RELOAD,
        HARM_DISK_FULL,
        HARM_DISK_FAILS,
        HARM_VANISH,
        HARM_CLOCK,
        HARM_SATURATION,
        HARM_MEMORY,
        HARM_CALM,
        HARM_COUNT
};

struct action {
        uint64_t due_usec, span_usec; /* on the storm's clock, which stands still in a calm */
        enum harm harm;
        uint64_t picks[4]; /* what it is done to, and how: each harm reads them as it likes */
};

struct schedule {
        struct action *actions;
        size_t count;
};
/* Of the seed and nothing else: a longer run begins like a shorter one. */
void schedule_make(uint64_t seed, unsigned seconds, struct schedule *ret_schedule);
void schedule_print(const struct schedule *schedule, FILE *file);
void schedule_done(struct schedule *schedule);

/* ---- harms (harm*.c) --------------------------------------------------------------------------- */
enum harm_result {
        HARM_DONE,
        HARM_NOT_YET, /* tried again for a moment: nobody is there to be hit, or M6 forbids it now */
        HARM_NOT      /* not this time; torture->said is why */
};

struct harm_kind {
        const char *name;
        unsigned per_minute;
        unsigned span_msec_min, span_msec_max; /* 0: it is over at once */
        bool is_death;                         /* a death and nothing that lasts: see the gaps */
        /* NULL: always. False and the reason: this machine cannot do it. */
        bool (*available)(struct torture *torture, char *ret_reason, size_t bytes);
        enum harm_result (*begin)(struct torture *torture, const struct action *action);
        void (*end)(struct torture *torture, const struct action *action); /* NULL where it is over at once */
};
extern const struct harm_kind harm_kinds[HARM_COUNT];

struct harm_run {
        bool is_missing;
        char reason[160]; /* why it is missing */
        bool is_pending;  /* due, and not possible yet */
        bool is_active;
        struct action action;
        uint64_t until_usec;  /* storm's clock: it ends then, or is given up */
        uint64_t last_usec;   /* when it was done, or lasted, last */
        unsigned target_bits; /* whom the last one concerns */
        uint64_t count;
};

void harm_survey(struct torture *torture); /* what this machine can do */
void harm_turn(struct torture *torture);   /* begins what is due, ends what is over */
void harm_end_all(struct torture *torture);

/* harm_kill.c. M6: may so many more deaths strike what the pool has in hand? (TARGET_COUNT: any pool) */
bool harm_allows(struct torture *torture, size_t target, unsigned deaths);
enum harm_result harm_kill(struct torture *torture, const struct action *action);
enum harm_result harm_pair(struct torture *torture, const struct action *action);
enum harm_result harm_pool(struct torture *torture, const struct action *action);
enum harm_result harm_stop(struct torture *torture, const struct action *action);
void harm_stop_end(struct torture *torture, const struct action *action);
enum harm_result harm_everything(struct torture *torture, const struct action *action);
pid_t harm_choose_worker(struct torture *torture, uint64_t pick, size_t *ret_target);
void harm_strike(struct torture *torture, pid_t pid, int signal_number); /* a worker; noted as ours */

/* harm_supervisor.c */
enum harm_result harm_supervisor_kill(struct torture *torture, const struct action *action);
enum harm_result harm_supervisor_stop(struct torture *torture, const struct action *action);
void harm_supervisor_stop_end(struct torture *torture, const struct action *action);
enum harm_result harm_together(struct torture *torture, const struct action *action);
enum harm_result harm_restart(struct torture *torture, const struct action *action);

/* harm_operator.c: what an operator asks for, in between. */
enum harm_result harm_scale(struct torture *torture, const struct action *action);
enum harm_result harm_reload(struct torture *torture, const struct action *action);

/* harm_disk.c */
bool harm_disk_full_available(struct torture *torture, char *ret_reason, size_t bytes);
enum harm_result harm_disk_full(struct torture *torture, const struct action *action);
void harm_disk_full_turn(struct torture *torture);
void harm_disk_full_end(struct torture *torture, const struct action *action);
enum harm_result harm_disk_fails(struct torture *torture, const struct action *action);
void harm_disk_fails_end(struct torture *torture, const struct action *action);
void harm_disk_done(struct torture *torture, bool keeps_files); /* unmounts */
enum harm_result harm_vanish(struct torture *torture, const struct action *action);
void harm_vanish_end(struct torture *torture, const struct action *action);

/* harm_machine.c, harm_memory.c */
enum harm_result harm_clock(struct torture *torture, const struct action *action);
enum harm_result harm_saturation(struct torture *torture, const struct action *action);
void harm_saturation_end(struct torture *torture, const struct action *action);
bool harm_memory_available(struct torture *torture, char *ret_reason, size_t bytes);
enum harm_result harm_memory(struct torture *torture, const struct action *action);
void harm_memory_end(struct torture *torture, const struct action *action);
void harm_memory_done(struct torture *torture);

/* ---- what becomes of the tables in a run ---------------------------------------------------------- */
struct gap {
        uint64_t usec;
        uint32_t harms; /* 1 << HARM_…: what concerned it meanwhile, or shortly before */
};

struct judge_run {
        pid_t pid;
        int output_fd;
        uint64_t begun_usec, next_usec, moves; /* moves: of sources, when it began */
        bool is_final;
        uint64_t looks, refusals, refused_in_a_row;
        char output[32768];
};

struct target_run {
        unsigned batch_rows, batch_msec;
        bool is_scaled;       /* not the configured number of workers */
        bool write_failed;    /* we let a write fail with EIO: its sessions may stop (M6) */
        uint64_t commit_usec; /* the last one seen */
        uint64_t takeovers, takeovers_seen;
        struct gap longest, longest_of_deaths;
        struct judge_run judge;
};

struct origin_run {
        bool is_wanted, is_away;
        bool sync_failed; /* we let a sync of it fail: its sessions stop until adopted (M7) */
        pid_t writer;
        uint64_t last; /* in a calm: what must be moved before it is over */
};

struct session_run {
        char name[128];
        size_t origin, target;
        uint64_t judged; /* position up to which the judge has seen it; never falls in a database */
};

/* The supervisor, and whoever starts it again (supervise.c). */
struct supervisor_run {
        bool is_stopped;  /* SIGSTOP */
        bool is_leaving;  /* SIGTERM: exit 0 is expected */
        bool is_doomed;   /* we have killed it */
        bool disk_failed; /* a fault has stood in its state directory while it ran */
        uint64_t restart_usec, leave_until_usec, disturbed_usec;
        uint64_t delay_usec; /* how long after its next end */
};
void supervise_turn(struct torture *torture);
void supervise_ended(struct torture *torture, int status);
void supervise_strike(struct torture *torture, int signal_number, uint64_t pick);
bool supervise_is_up(const struct torture *torture); /* it runs, and has taken the segment */

/* ---- commands of an operator (operator.c) -------------------------------------------------------- */
enum operator_job { JOB_SCALE, JOB_RELOAD, JOB_ADOPT, JOB_STATUS, JOB_COUNT };

struct job_run {
        pid_t pid;
        int output_fd;
        uint64_t begun_usec, next_usec, disturbed_usec;
        size_t number; /* target or session */
        bool has_ended;
        int exit_code;
        uint64_t count;
};
/* False: the last one of this sort still runs. */
bool operator_ask(struct torture *torture, enum operator_job which, size_t number, char **argv);
bool operator_ask_scale(struct torture *torture, size_t target, unsigned workers);
bool operator_ask_reload(struct torture *torture);
void operator_turn(struct torture *torture);
void operator_ended(struct torture *torture, enum operator_job which, int status);

/* ---- children, and whom we have killed (children.c) ----------------------------------------------- */
#define VICTIM_MAX 4096
#define DOOMED_MAX 256
#define SPINNER_MAX 64

struct victims {
        pid_t pids[VICTIM_MAX]; /* a ring */
        uint64_t count;
        /* Signalled or standing still, and not yet gone: their sessions count as dead already. */
        pid_t doomed[DOOMED_MAX];
        size_t doomed_count;
};
void children_turn(struct torture *torture);
void victim_note(struct torture *torture, pid_t pid);
bool victim_is(const struct torture *torture, pid_t pid);
void victim_doom(struct torture *torture, pid_t pid);
void victim_spare(struct torture *torture, pid_t pid);
bool victim_is_doomed(const struct torture *torture, pid_t pid);

/* ---- watching and judging -------------------------------------------------------------------------- */
void watch_turn(struct torture *torture);
void watch_logs(struct torture *torture); /* what batond has said of deaths */
void judge_turn(struct torture *torture);
void judge_ended(struct torture *torture, size_t target, int status);
/* Of all that is there; with everything at rest. */
void judge_finally(struct torture *torture);

/* ---- the calm (calm.c) ------------------------------------------------------------------------------ */
enum calm_step { CALM_NONE, CALM_SUPERVISOR, CALM_RELOAD, CALM_SCALE, CALM_COUNT, CALM_MOVED };
struct calm_run {
        enum calm_step step;
        uint64_t begun_usec;
        size_t target; /* whose scale is asked for */
        bool is_asked;
        uint64_t count;
};
void calm_begin(struct torture *torture);
void calm_turn(struct torture *torture); /* step is CALM_NONE again when it is over */

/* ---- all of it ---------------------------------------------------------------------------------------- */
struct counts {
        uint64_t workers_killed, workers_segv, workers_killed_joining, workers_out_of_memory, workers_resumed,
                workers_killed_stalled;
        uint64_t supervisors_killed, supervisors_segv, supervisors_resumed, supervisors_restarted;
        uint64_t reboots, adoptions, events;
};

/* What children read. */
struct shared {
        volatile bool writers_stop;
};

struct memory_cage;

struct torture {
        struct world world;
        uint64_t seed;
        unsigned seconds;
        const char *directory;
        bool keeps_files;
        FILE *log;
        struct shared *shared;
        struct schedule schedule;
        size_t schedule_next;
        uint64_t begun_usec, storm_usec, turned_usec;
        bool is_storm;
        char said[256];     /* by the harm that was begun last: what it did, or why not */
        unsigned concerned; /* 1 << TARGET_…, by the same; all of them unless it says so */
        struct target_run targets[TARGET_COUNT];
        struct origin_run origins[ORIGIN_COUNT];
        struct session_run sessions[SESSION_MAX];
        size_t session_count;
        struct harm_run harms[HARM_COUNT];
        struct supervisor_run supervisor;
        struct job_run jobs[JOB_COUNT];
        struct victims victims;
        struct calm_run calm;
        struct counts counts;
        pid_t stopped_worker;
        int stopped_fd;
        pid_t spinners[SPINNER_MAX];
        size_t spinner_count;
        size_t away_origin;
        uint64_t moves; /* of sources, away or back */
        struct memory_cage *cage;
        pid_t caged;
        uint64_t *log_offsets; /* of batond's logs, by number: how far they were read */
        unsigned log_count;
        uint64_t segment_seen; /* inode */
};

/* A line of the kept log, with the storm's clock. */
void torture_log(struct torture *torture, const char *format, ...) _printf_(2, 3);
/* A finding. Prints it and how to replay, keeps the directory, ends the program with 1. */
_noreturn_ void torture_fail(struct torture *torture, const char *format, ...) _printf_(2, 3);
/* One turn of everything but harm; sleeps a little. */
void torture_turn(struct torture *torture);
void torture_report(struct torture *torture);

/* scene.c */
void scene_make(struct torture *torture);
void scene_configure(struct torture *torture);
void scene_poison(struct torture *torture);
void scene_write(struct torture *torture);
const char *scene_file(const struct torture *torture, size_t origin);
