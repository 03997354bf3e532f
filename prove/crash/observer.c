/* SPDX-License-Identifier: Apache-2.0 */
/* The tracer's side of a run: opens the phase, gives each thread its lane, counts its calls or kills at the
 * point; then everybody is let go of.
 *
 * A takeover begins in the victim's transaction, at its second sync (the source's log is synced before it);
 * a recovery begins at a sync in the midst of the backlog. Both are calls, so both are the same in each run. */
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "prove/crash/crash.h"
#include "prove/fleet.h"

#define PROCESSES_MAX 64
#define TAKEOVER_SYNC 2
#define RECOVERY_SYNC 6

struct process {
        pid_t pid;
        enum trace_role program;  /* TRACE_SUPERVISOR or TRACE_MOVER */
        unsigned number, ordinal; /* 0: not in this phase */
        bool lives;
};

struct lane {
        uint32_t calls, by_number[NUMBERS_MAX], at_place; /* the last: of the point's kind, from its place */
        bool is_in_call, is_placed;                       /* the call at hand is such a one */
        uint64_t digest;                                  /* of shared memory, at the last exit */
};

struct observer {
        struct play *play;
        const struct point *point; /* NULL: count */
        bool counts;               /* the phase has begun */
        unsigned syncs, roles;
        unsigned ordinals[TRACE_ROLE_COUNT]; /* given so far, by program */
        struct process processes[PROCESSES_MAX];
        size_t process_count;
        struct lane lanes[LANE_COUNT];
        struct memory *memory;
};

static enum trace_role program_of(enum trace_role role) {
        return role == TRACE_SUPERVISOR ? TRACE_SUPERVISOR : TRACE_MOVER;
}

/* ---- phases ------------------------------------------------------------------------------------ */
static void phase_begin(struct observer *observer) {
        observer->counts = true;
        for (size_t i = 0; i < observer->process_count; i++) {
                struct process *process = &observer->processes[i];

                process->ordinal = process->lives ? ++observer->ordinals[process->program] : 0;
        }
        observer->play->data->has_begun = true;
}

static void on_mark(struct tracer *tracer, uint64_t mark, void *context) {
        struct observer *observer = context;

        switch (mark) {
        case MARK_ARM:
                tracer_watch(tracer, TRACE_BIT(TRACE_MOVER) |
                                             (observer->play->phase == CRASH_TAKEOVER ? observer->roles : 0));
                break;
        case MARK_BEGIN: /* whoever was there is dead, whether we were told or not */
                for (size_t i = 0; i < observer->process_count; i++)
                        observer->processes[i].lives = false;
                phase_begin(observer);
                tracer_watch(tracer, observer->roles);
                break;
        case MARK_END:
                observer->counts = false;
                tracer_release(tracer);
                break;
        default:
                break;
        }
}

/* The loader's deaths are not of our making, and a supervisor kills whom it cannot watch. */
static bool may_be_killed(const struct run_data *data, int signal_number) {
        return crash_stack_is_loader(data->hit_stack) ||
               (data->is_hit_supervisor && signal_number == SIGKILL);
}

/* After a fault: who ends says so, by a code of failure, unless he was told to leave. */
static void process_ended(const struct observer *observer, struct process *process, int status) {
        struct run_data *data = observer->play->data;

        process->lives = false;
        if (!data->is_fault || !observer->counts)
                return;
        if (WIFSIGNALED(status) && !may_be_killed(data, WTERMSIG(status)))
                data->died_of = WTERMSIG(status);
        else if (status != 0)
                data->ended++;
        else if (!data->may_leave)
                data->has_left = true;
}

static void on_process(struct tracer *tracer, const struct trace_process *told, void *context) {
        struct observer *observer = context;
        struct process *process = NULL;

        (void) tracer;
        if (told->role != TRACE_SUPERVISOR && told->role != TRACE_MOVER)
                return;
        for (size_t i = 0; i < observer->process_count; i++)
                if (observer->processes[i].pid == told->pid)
                        process = &observer->processes[i];
        if (observer->memory && told->what != TRACE_ENDED)
                crash_memory_forget(observer->memory, told->pid);
        if (told->what == TRACE_ENDED && process && process->lives)
                process_ended(observer, process, told->status);
        if (told->what == TRACE_ENDED || process)
                return;
        assert(observer->process_count < PROCESSES_MAX);
        process = &observer->processes[observer->process_count++];
        *process = (struct process){
                .pid = told->pid, .program = told->role, .number = told->process, .lives = true
        };
        if (observer->counts)
                process->ordinal = ++observer->ordinals[process->program];
}

static unsigned lane_of(const struct observer *observer, const struct trace_call *call) {
        for (size_t i = 0; i < observer->process_count; i++)
                if (observer->processes[i].program == program_of(call->role) &&
                    observer->processes[i].number == call->process)
                        return lane_find(call->role, observer->processes[i].ordinal);
        return LANE_NONE;
}

/* ---- what opens a phase ------------------------------------------------------------------------ */
static bool is_sync(uint64_t number) {
        return number == SYS_fsync || number == SYS_fdatasync;
}

static enum trace_verdict open_takeover(struct observer *observer, const struct trace_call *call) {
        if (call->pid != observer->play->data->victim || ++observer->syncs < TAKEOVER_SYNC)
                return TRACE_GO;
        for (size_t i = 0; i < observer->process_count; i++)
                if (observer->processes[i].pid == call->pid)
                        observer->processes[i].lives = false;
        phase_begin(observer);
        return TRACE_KILL;
}

static enum trace_verdict open_recovery(struct observer *observer, const struct trace_call *call) {
        if (observer->play->data->has_begun || ++observer->syncs < RECOVERY_SYNC)
                return TRACE_GO;
        /* The supervisor first: it would replace a worker that it sees die. */
        for (size_t i = 0; i < observer->process_count; i++)
                if (observer->processes[i].lives && observer->processes[i].pid != call->pid)
                        tracer_kill(observer->processes[i].pid);
        observer->play->data->has_begun = true;
        return TRACE_KILL;
}

static enum trace_verdict before_the_phase(struct observer *observer, const struct trace_call *call) {
        if (call->role != TRACE_MOVER || !call->is_entry || !is_sync(call->number))
                return TRACE_GO;
        if (observer->play->phase == CRASH_TAKEOVER)
                return open_takeover(observer, call);
        return observer->play->phase == CRASH_RECOVERY ? open_recovery(observer, call) : TRACE_GO;
}

/* ---- in the phase ------------------------------------------------------------------------------ */
static void count(struct observer *observer, unsigned index, const struct trace_call *call) {
        struct lane *lane = &observer->lanes[index];
        struct counted_call *counted;
        uint64_t digest;

        if (lane->calls > CALLS_MAX)
                return;
        counted = &observer->play->data->calls[index][lane->calls - 1];
        observer->play->data->call_counts[index] = lane->calls;
        digest = crash_memory_digest(observer->memory, call);
        if (call->is_entry) {
                counted->number = (uint16_t) call->number;
                counted->is_spared = call_is_spared(call);
                if (observer->play->counts_places)
                        counted->place = crash_stack_place(call);
                counted->is_same = lane->calls > 1 && digest != 0 && digest == lane->digest;
                return;
        }
        counted->has_returned = 1;
        counted->is_quiet = call_is_quiet(call);
        lane->digest = digest;
}

static void place_count(const struct point *point, struct lane *lane, const struct trace_call *call) {
        if (point->place == 0 || !call->is_entry)
                return;
        lane->is_placed = call->number == point->number && crash_stack_place(call) == point->place;
        lane->at_place += lane->is_placed;
}

static bool is_at(const struct point *point, const struct lane *lane, const struct trace_call *call) {
        if (call->is_entry == point->at_exit || (point->fault != FAULT_KILL && call_is_spared(call)))
                return false;
        if (point->number == POINT_ANY)
                return lane->calls == point->call;
        if (point->place != 0)
                return lane->is_placed && lane->at_place == point->call;
        return call->number == point->number && lane->by_number[point->number] == point->call;
}

static enum trace_verdict make_fault(enum fault fault, struct trace_call *call) {
        if (fault == FAULT_SHORT) {
                call->arguments[2] = call->arguments[2] > 1 ? call->arguments[2] / 2 : call->arguments[2];
                return TRACE_CHANGE;
        }
        call->result = -fault_error(fault);
        return TRACE_REFUSE;
}

static enum trace_verdict hit(struct observer *observer, struct tracer *tracer, const struct lane *lane,
                              struct trace_call *call) {
        struct run_data *data = observer->play->data;

        data->hit_pid = call->pid;
        data->hit_number = call->number;
        data->hit_call = lane->calls;
        data->is_hit_supervisor = call->role == TRACE_SUPERVISOR;
        crash_stack_write(call, data->hit_stack, sizeof(data->hit_stack));
        crash_object_write(call, data->hit_object, sizeof(data->hit_object));
        data->is_fault = observer->point->fault != FAULT_KILL;
        data->was_hit_leaving = data->may_leave;
        data->is_hit = true;
        if (data->is_fault) {
                tracer_watch(tracer, 0); /* who ends of it is still to be told */
                return make_fault(observer->point->fault, call);
        }
        tracer_release(tracer);
        return TRACE_KILL;
}

static enum trace_verdict on_call(struct tracer *tracer, struct trace_call *call, void *context) {
        struct observer *observer = context;
        unsigned index;
        struct lane *lane;

        if (!observer->counts)
                return before_the_phase(observer, call);
        index = lane_of(observer, call);
        if (index == LANE_NONE)
                return TRACE_GO;
        lane = &observer->lanes[index];
        if (call->is_entry) {
                lane->calls++;
                lane->by_number[call->number % NUMBERS_MAX]++;
        } else if (!lane->is_in_call)
                return TRACE_GO; /* the phase began meanwhile */
        lane->is_in_call = call->is_entry;
        if (!observer->point) {
                count(observer, index, call);
                return TRACE_GO;
        }
        if (index != observer->point->lane)
                return TRACE_GO;
        place_count(observer->point, lane, call);
        return is_at(observer->point, lane, call) ? hit(observer, tracer, lane, call) : TRACE_GO;
}

static int driver(void *argument) {
        crash_play(argument);
        return 0;
}

void crash_observe(struct play *play, const struct point *point, unsigned roles) {
        struct observer observer = { .play = play, .point = point };
        struct tracer_options options = {
                .on_call = on_call, .on_process = on_process, .on_mark = on_mark, .context = &observer
        };
        int status = 0, r;

        assert(!point || point->phase == play->phase);
        observer.roles = point ? TRACE_BIT(lane_role(point->lane)) : roles;
        observer.memory = point ? NULL : crash_memory_new();
        r = tracer_run(&options, driver, play, &status);
        free(observer.memory);
        if (r < 0)
                fleet_fail("the tracer failed: %s", strerror(-r));
        if (WIFSIGNALED(status))
                fleet_fail("the scenario ended by signal %d", WTERMSIG(status));
        if (WEXITSTATUS(status) != 0)
                fleet_fail("the scenario ended with code %d", WEXITSTATUS(status));
}
