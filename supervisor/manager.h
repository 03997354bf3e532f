/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor knows, and what its files call of each other. Private to supervisor/.
 *
 * Everything here is this process's own memory and single-threaded; what workers wrote is read from the
 * segment, bounded and validated where it is read (P1). A supervisor that dies loses nothing of it: the
 * next one recomputes it all from the configuration and the segment (adopt.c, plan.c). */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/directories.h"
#include "base/failure.h"
#include "base/macro.h"
#include "base/message.h"
#include "base/process.h"
#include "shm/segment.h"
#include "supervisor/config.h"

/* Entries of the segment, and as many processes that have not entered it yet. */
#define PROCESS_COUNT_MAX (2 * LAYOUT_WORKER_COUNT_MAX)

#define LOOK_IDLE_USEC (5 * USEC_PER_SEC)
#define LOOK_ACTIVE_USEC (1 * USEC_PER_SEC)
#define LOOK_PENDING_USEC (100 * USEC_PER_MSEC)
#define LOOK_LEAST_USEC (20 * USEC_PER_MSEC) /* between two looks, however many hints come */

/* One worker process: a child, or one that a supervisor before us started (adopted). */
struct process {
        struct manager *manager;
        pid_t pid;            /* 0: this record is free */
        uint64_t start_ticks; /* S6 */
        int pid_fd;
        sd_event_source *source, *kill_source;
        bool is_child;
        uint32_t pool_index;
        uint64_t ref;           /* its entry in the segment; 0: has not entered yet */
        uint64_t started_usec;  /* when we started it, or an adopted one entered (by its own word) */
        bool leaving;           /* not to have sessions any more */
        bool drain_told;        /* drain_ref is written */
        uint32_t session_count; /* owned at the last look */
        uint64_t pong_seen, answered_usec;
        uint64_t disk_usec, disk_told_usec; /* ping.c: seen waiting for a disk last, told so; 0: never */
        uint64_t kill_usec;                 /* SIGKILL was sent; 0: no */
        bool stale;                         /* replace.c: another is to take its place */
};

/* A worker whose end is proven and acted upon, and that is told when the kernel knows how it ended (ended.c). */
struct ending {
        struct manager *manager; /* NULL: this record is free */
        int pid_fd;
        sd_event_source *source, *timer;
        pid_t pid;
        uint64_t ref, wait_usec; /* until the next one starts; 0: at once */
        uint32_t own_fault;      /* M6: what its own handler said; 0: nothing */
        bool is_expected;
        char destination[LAYOUT_NAME_BYTES];
};
#define ENDING_COUNT_MAX 64 /* of more, how is unknown */

struct pool {
        bool used;
        uint32_t destination; /* index in the configuration; LAYOUT_NONE: leaving */
        uint32_t wanted;      /* workers: of the configuration, or of Scale() */
        bool adopted;         /* read from the segment, not yet matched with the configuration */
        bool renewing;        /* its address changed: all leave before the new one is written */
        bool assign_needed;
        char name[LAYOUT_NAME_BYTES];
        uint64_t restart_delay_usec, restart_usec;           /* growing delay, and not before when */
        bool restart_waits;                                  /* a restart is put off to restart_usec */
        uint64_t takeover_seen, takeover_ref, takeover_usec; /* the last one told: count, dead worker, span */
        bool latched_seen;
        uint64_t renewal_usec,
                renewal_delay_usec;               /* replace.c: who was there then is replaced; 0: none yet */
        uint64_t hint_usec;                       /* orphans were rung for last */
        uint64_t turn_lost_usec, mutex_lost_usec; /* first seen held by nobody alive; 0: not so */
        /* Recounted at each look. */
        uint32_t slot_count, orphan_count, dead_owned_count;
};

struct slot_record {
        uint32_t session;      /* index in the configuration; LAYOUT_NONE: unwanted or free */
        uint32_t pool_index;   /* ours, not what stands in the segment now (P1) */
        uint32_t sibling_slot; /* as written (M14) */
        uint32_t status_sequence;
        uint32_t phase; /* enum session_phase as last told */
        uint32_t failure_kind;
        bool used, bad_told, quarantine_told, reason_given;
        uint64_t owner_ref; /* as last seen */
        uint64_t told_ref;  /* the last owner: stays while there is none; 0: none yet */
};

enum manager_state { MANAGER_WAITING /* for a segment (S11) */, MANAGER_SERVING, MANAGER_STOPPING };

struct manager {
        struct directories directories;
        const char *config_path;
        struct config *config;
        struct config *
                config_before; /* of the supervisor before us, as applied, while its pools are adopted; or NULL */
        char config_refused
                [FAILURE_TEXT_BYTES]; /* last_good.c: why the one at config_path is not it; "": it is */
        char worker_path[512], own_path[512]; /* where they stood when we were started */
        uint8_t instance[LAYOUT_INSTANCE_BYTES];
        int lock_fd;          /* STATE/supervisor.lock */
        uint64_t start_ticks; /* ours, as it stands in the segment */
        sd_event *event;
        enum manager_state state;
        struct segment *segment; /* NULL while waiting for one at the start */

        struct process processes[PROCESS_COUNT_MAX];
        struct ending endings[ENDING_COUNT_MAX];
        struct process *process_of_entry[LAYOUT_WORKER_COUNT_MAX]; /* by entry of the segment; NULL */
        struct pool pools[LAYOUT_POOL_COUNT_MAX];
        struct slot_record *slots;                              /* segment->slot_count */
        uint32_t slot_high;                                     /* records at and above were never used */
        uint32_t *balance_slots, *balance_owner, *balance_heir; /* likewise; scratch of assign.c */
        uint64_t bad_worker_told[LAYOUT_WORKER_COUNT_MAX];      /* life word that was reported */

        /* look.c */
        sd_event_source *look_source;
        uint64_t look_usec;   /* the last look */
        bool pending, active; /* found by the last look: come again soon */
        uint32_t phase_count[SESSION_PHASE_COUNT];
        uint32_t owned_count, unready_count;
        uint64_t
                told_until_usec; /* the last beat of the supervisor before us, which told what came before; or 0 */
        /* ping.c */
        sd_event_source *ping_source;
        uint64_t ping_usec;
        /* renew.c */
        sd_event_source *wait_source;
        uint64_t wait_since_usec, wait_told_usec;
        char wait_reason[FAILURE_TEXT_BYTES];
        /* shutdown.c */
        sd_event_source *shutdown_source;
        uint64_t shutdown_usec;
        /* notify.c, control.c, bus_name.c */
        int notify_fd;
        sd_event_source *notify_source;
        bool ready_told;
        char status_told[256 + FAILURE_TEXT_BYTES];
        uint64_t status_told_usec;
        struct control *control;
        struct bus_name *bus_name;
        /* upgrade.c */
        bool upgrading;       /* workers that run another binary are replaced */
        uint32_t stale_count; /* so many of them are left */
        /* confinement.c, intact.c */
        bool unconfined_told;
        uint32_t intact_next; /* the slot that is compared next */
        /* watchdog.c */
        sd_event_source *watchdog_source;
        uint64_t watchdog_usec; /* between two looks at what is due; 0: systemd asks for none */
        bool watchdog_told;
};

/* ---- manager.c: start to end ----------------------------------------------------------------------- */
int manager_new(const struct directories *directories, const char *config_path, struct manager **ret_manager,
                struct failure *ret_failure);
void manager_free(struct manager *manager);
void manager_freep(struct manager **manager);
/* Lock, configuration, sockets, segment; then the event loop until shutdown. 0: orderly end. */
int manager_start(struct manager *manager, struct failure *ret_failure);
int manager_run(struct manager *manager, struct failure *ret_failure);

/* ---- exclusive.c, clear.c: without a manager --------------------------------------------------------- */
/* The lock of the one supervisor; the caller keeps *ret_fd open. -EBUSY: another has it, named by its pid. */
int supervisor_lock_take(const char *state_directory, int *ret_fd, struct failure *ret_failure);
/* Signals a process that holds workers.lock, as workers_lock_exclusive() named it, and no other. 0; -ESRCH: it does not. */
int workers_holder_signal(const char *state_directory, pid_t pid, int signal_number);
/* Whether workers are to be ended, by what systemd says of how batond ended (NULL: nothing; a person asks). */
bool clear_is_wanted(const char *service_result);
/* Ends the workers that are left. 0: nobody is; -EBUSY: a supervisor lives, whose they are. */
int clear_run(const struct directories *directories, struct failure *ret_failure);

/* ---- starts.c -------------------------------------------------------------------------------------- */
/* Before anything else of a start, and after an orderly end. Where systemd starts us, starts_begin() waits if the
 * starts before ended quickly. */
void starts_begin(const struct directories *directories);
void starts_end(const struct directories *directories);
/* The count that follows from what stands in RUNTIME/starts; the delay for it. */
uint32_t starts_count(const char *text, uint64_t now_usec);
uint64_t starts_delay_usec(uint32_t quick_count);

/* ---- upgrade.c ------------------------------------------------------------------------------------- */
#define UPGRADE_ENVIRONMENT \
        "BATON_UPGRADE" /* set over the exec: replace stale workers, this is no quick end */
/* Asks the binary that stands where ours did, then becomes it at the next turn of the loop. -ECANCELED: it refuses. */
int upgrade_begin(struct manager *manager, struct failure *ret_failure);
/* Whether this binary could go on: `batond --probe`. */
int upgrade_probe(const struct directories *directories, const char *config_path,
                  struct failure *ret_failure);

/* ---- replace.c, confinement.c, intact.c -------------------------------------------------------------- */
void replace_look(struct manager *manager); /* who is stale */
/* How many workers a pool is to have now, of which `target` are wanted and `have` are there and stay. */
uint32_t replace_target(const struct manager *manager, uint32_t pool_index, uint32_t target, uint32_t have);
void confinement_look(struct manager *manager);
void intact_look(struct manager *manager); /* after sessions_scan(), while serving */
/* Before a plan is made of what stands there: a source that is called otherwise would be a session that nobody knows. */
void intact_look_at_all(struct manager *manager);

/* ---- watchdog.c ------------------------------------------------------------------------------------ */
int watchdog_start(struct manager *manager, struct failure *ret_failure);
bool watchdog_may_be_fed(const struct manager *manager, uint64_t now_usec);

/* ---- adopt.c --------------------------------------------------------------------------------------- */
int adopt_lock(struct manager *manager, struct failure *ret_failure);
int adopt_instance(struct manager *manager, struct failure *ret_failure);
/* -EBUSY where living processes of another state directory use the runtime directory. */
int adopt_check_runtime(const struct manager *manager, struct failure *ret_failure);
/* Adopts the segment, or makes a new one, or begins to wait until that is possible (renew.c). */
int adopt_segment(struct manager *manager, struct failure *ret_failure);
int adopt_make(struct manager *manager, int *ret_holder_pid, struct failure *ret_failure);
void adopt_beat(struct manager *manager); /* header: at most once a second */
/* A beat at once: what came before is told, and the next supervisor need not. */
void adopt_told(struct manager *manager, uint64_t until_usec);

bool adopt_process_lives(pid_t pid, uint64_t start_ticks); /* a zombie does not; any pid is answered */

/* ---- last_good.c ----------------------------------------------------------------------------------- */
/* Where config_load() gave r and *failure: 0 and manager->config, if something runs that goes on with the last good
 * configuration; else r. */
int last_good_load(struct manager *manager, int r, const struct failure *failure);
/* Nothing was there to adopt: the refusal as it came. */
int last_good_give_up(struct manager *manager, struct failure *ret_failure);
void last_good_keep(struct manager *manager, const struct config *config); /* before it is applied */
/* Once it is: until then the one before says which numbers of workers the pools have (V9). */
void last_good_applied(struct manager *manager);
/* That one, of the supervisor before us; NULL: it is not there, or not understood. The caller's. */
struct config *last_good_read_applied(const struct directories *directories);
void last_good_forget(const struct directories *directories);
/* Once the segment stands, and after each reload. */
void last_good_tell(struct manager *manager);
void last_good_refused_again(struct manager *manager, const struct failure *failure);
void last_good_mended(struct manager *manager);

/* ---- renew.c --------------------------------------------------------------------------------------- */
int renew_wait(struct manager *manager, struct failure *ret_failure);
/* The segment is condemned (S11): lets its workers go, then makes a new one. */
void renew_segment(struct manager *manager, const char *reason);

/* ---- spawn.c --------------------------------------------------------------------------------------- */
int spawn_find_programs(struct manager *manager, struct failure *ret_failure);
int spawn_worker(struct manager *manager, uint32_t pool_index);

/* ---- watch.c --------------------------------------------------------------------------------------- */
struct process *watch_add(struct manager *manager, pid_t pid, uint64_t start_ticks, int pid_fd, bool is_child,
                          uint32_t pool_index);
void watch_forget(struct process *process);
/* Zombies that no event source waits for; for a batond that is init of its namespace. */
void watch_reap_orphans(struct manager *manager);
void watch_ask_again(struct manager *manager);
struct process *watch_find_ref(struct manager *manager, uint64_t ref);
/* Entries of the segment ↔ processes: who joined, whom a dead supervisor had started. */
void watch_members(struct manager *manager);
uint32_t watch_count(const struct manager *manager, uint32_t pool_index, bool with_leaving);
bool watch_is_eligible(const struct manager *manager, const struct process *process);
void watch_drain(struct process *process); /* tells it to leave */
/* Kills it through its pidfd, once. kind and reason (a predicate: "has not answered for 10 s") are told. */
void watch_kill(struct process *process, enum message_kind kind, const char *reason);

/* "worker 3 (pid 812)", or "worker process 812" before it entered. */
const char *watch_name(uint64_t ref, pid_t pid, char *buffer, size_t bytes);

/* ---- ended.c, unseen.c ----------------------------------------------------------------------------- */
/* What watch_add() has called at the end of a worker; the context is its process. */
int ended_on_child(sd_event_source *source, const siginfo_t *info, void *context);
int ended_on_adopted(sd_event_source *source, int fd, uint32_t events, void *context);
/* Lines that still wait are told, before we go: after 20 ms at most. */
void ended_finish(struct manager *manager);
/* BATON_REASON=: "exit code 75", "SIGSEGV, its own fault, and wrote a core", "unknown". own_fault is what its handler
 * has left in the table (M6), 0 if nothing. */
void ended_reason(const struct process_end *end, uint32_t own_fault, char *reason, size_t bytes);
/* Its end will be told by us or, if we die, by the next; and: it was. */
void unseen_watched(struct manager *manager, uint64_t ref);
void unseen_told(struct manager *manager, uint64_t ref);
/* Tells who ended while nobody watched; before watch_members() of a segment that is adopted. */
void unseen_tell(struct manager *manager);

/* ---- ping.c, shutdown.c, notify.c ------------------------------------------------------------------ */
int ping_start(struct manager *manager);
uint64_t ping_patience_usec(const struct manager *manager); /* with one that waits for a disk */
void ping_interval_changed(struct manager *manager);
void ping_tick(struct manager *manager, uint64_t now_usec);
void shutdown_begin(struct manager *manager);
void shutdown_check(struct manager *manager);
int notify_start(struct manager *manager, struct failure *ret_failure);
void notify_stop(struct manager *manager);
void notify_state(struct manager *manager);
void notify_waits(struct manager *manager, const char *text);

/* ---- plan.c: which session goes into which slot, before anything is written ------------------------- */
struct plan {
        const struct config *config;
        uint32_t *slot_of_session; /* every one has a slot */
        uint32_t *session_of_slot; /* LAYOUT_NONE: none */
        uint32_t pool_of_destination[LAYOUT_POOL_COUNT_MAX];
};
int plan_make(const struct segment *segment, const struct config *config, struct plan *ret_plan,
              struct failure *ret_failure);
void plan_done(struct plan *plan);

/* ---- pools.c --------------------------------------------------------------------------------------- */
/* What a segment already holds, as records: pools and slots, all still without a place in the configuration. */
void pools_load(struct manager *manager);
/* Writes the plan into the segment, differences only, and takes `config` over as the current one. */
void pools_apply(struct manager *manager, const struct plan *plan, struct config *config);
/* V9: in a new segment, what the pools of the one before had. No reload comes between the two. */
void pools_scale_again(struct manager *manager, const struct pool before[LAYOUT_POOL_COUNT_MAX]);
/* V9: of a segment that cannot be adopted, whose supervisor died: what its pools had, into manager->pools. */
void pools_scale_of(struct manager *manager, const struct segment *segment);
/* Writes one session's slot: configured, or reconfigured where it differs. */
void pools_write_slot(struct manager *manager, const struct plan *plan, uint32_t session);
void pools_write_settings(struct manager *manager, uint32_t pool_index);
/* Whether the segment holds what was written last: of a pool; of a slot, and true where it did not and now does. */
bool pools_settings_stand(const struct manager *manager, uint32_t pool_index);
bool pools_slot_restore(struct manager *manager, uint32_t slot_index);
/* Workers wanted and there: starts some, chooses some to leave; puts away what is empty. */
void pools_reconcile(struct manager *manager);

/* ---- operator.c: what a person asks for at run time -------------------------------------------------- */
/* Both: -errno, the name of a D-Bus error (control.h) and a sentence. */
int operator_scale(struct manager *manager, const char *destination, uint32_t workers, const char **ret_error,
                   struct failure *ret_failure);
int operator_adopt(struct manager *manager, const char *session, uint64_t *ret_request,
                   const char **ret_error, struct failure *ret_failure);

/* ---- assign.c, sessions.c, look.c, reload.c -------------------------------------------------------- */
void assign_run(struct manager *manager, uint32_t pool_index);
/* Reads what owners and movers say, tells transitions once, puts withdrawn sessions away. */
void sessions_scan(struct manager *manager);
const char *sessions_name(const struct manager *manager, uint32_t slot_index, char *buffer, size_t bytes);
int look_start(struct manager *manager);
void look(struct manager *manager);      /* now */
void look_soon(struct manager *manager); /* now, or as soon as LOOK_LEAST_USEC allows */
int reload(struct manager *manager, struct failure *ret_failure);
/* -ENOSPC: the configuration asks for more room than the segment has. */
int reload_check_geometry(const struct segment *segment, const struct config *config,
                          struct failure *ret_failure);
