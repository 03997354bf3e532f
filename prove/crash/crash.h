/* SPDX-License-Identifier: Apache-2.0 */
/* The enumeration: a scenario whose system calls are counted, and played again once for each of them.
 *
 * A lane is the row of calls that one thread makes in one phase: `mover` of the first worker, `mover2` of the
 * second, and so on, by birth. A point is a place in a lane: the entry or the exit of its n-th call, or of its
 * n-th call of one kind, or of one kind from one place in the code. One of the latter is what is tried: how often
 * a thread polls differs from run to run, how often it writes hardly does. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prove/tracer/tracer.h"
#include "prove/world/world.h"

enum crash_phase {
        CRASH_LIFE,     /* start, join, hand-over, reload, rotation, shutdown */
        CRASH_TAKEOVER, /* an owner is killed in its transaction: what the others do, until all is settled */
        CRASH_RECOVERY, /* all are killed in the midst of work and started again, until all is settled */
        CRASH_PHASES,
};

struct variant {
        const char *name, *scheme, *destination; /* "fused", "sqlite", "d.db" */
        const char *destination_url, *destination_lines;
        bool is_rebooted; /* recovery begins with an empty runtime directory: a new segment (S11) */
};
extern const struct variant crash_variants[];
extern const size_t crash_variant_count;
const struct variant *crash_variant_find(const char *name); /* NULL */

#define ORDINAL_MAX 4u /* workers of one phase that are counted, one after the other */
#define LANE_COUNT (5u * ORDINAL_MAX)
#define LANE_NONE LANE_COUNT
#define CALLS_MAX 8192u
#define NUMBERS_MAX 512u /* no kernel has more calls */

/* What is done there. */
enum fault {
        FAULT_KILL,
        FAULT_SHORT, /* half of what is asked for */
        FAULT_EIO,
        FAULT_ENOSPC,
        FAULT_EINTR,
        FAULT_ENOMEM,
        FAULT_EMFILE,
        FAULT_EAGAIN,
        FAULT_ENOLCK,
        FAULT_COUNT,
};
/* faults.c */
const char *fault_name(enum fault fault);
int fault_error(enum fault fault);
enum fault fault_find(const char *name); /* FAULT_KILL: none of this name */
bool fault_fits(enum fault fault, uint64_t number);
bool fault_passes(enum fault fault); /* by itself: a host at its limits, an interruption, a lock */
bool call_is_spared(const struct trace_call *call); /* which never fails */

struct point {
        unsigned lane;
        enum crash_phase phase;
        uint32_t call;   /* 1 … */
        uint32_t place;  /* the n-th of these from there, see stack.c; 0: from anywhere */
        uint16_t number; /* SYS_…: the n-th of these; POINT_ANY: of all */
        bool at_exit;
        enum fault fault;
};
#define POINT_ANY UINT16_MAX
#define POINT_TEXT_BYTES 96
#define OBJECT_TEXT_BYTES 256

/* lane.c */
unsigned lane_find(enum trace_role role, unsigned ordinal); /* LANE_NONE: not one that is counted */
enum trace_role lane_role(unsigned lane);
void lane_name(unsigned lane, char *ret_text, size_t bytes);
const char *phase_name(enum crash_phase phase);
void point_format(const struct point *point, char *ret_text, size_t bytes);
/* "mover2:life:137:exit", "mover2:life:pwrite64.12:exit", "mover:life:fdatasync@1d0c6f3b.3:EIO". False: not
 * understood. */
bool point_parse(const char *text, struct point *ret_point);
const char *call_name(uint64_t number); /* one at a time */

/* One call as a counting run saw it. */
struct counted_call {
        uint16_t number;
        uint8_t is_quiet;     /* it changed nothing that outlives the process: its entry and exit are one */
        uint8_t is_same;      /* shared memory stood as at the exit before: that and its entry are one */
        uint8_t has_returned; /* its exit was seen */
        uint8_t is_spared;
        uint32_t place; /* stack.c; for errors alone */
};

/* Shared by the processes of one run. */
struct run_data {
        /* The scenario, for the tracer. */
        _Atomic pid_t victim; /* whose transaction opens CRASH_TAKEOVER */
        /* The tracer, for the scenario. */
        atomic_bool has_begun; /* the phase: the victim, or all, are killed */
        atomic_bool is_hit;
        _Atomic pid_t hit_pid;
        bool is_hit_supervisor, is_fault; /* a fault was made, nobody was killed */
        atomic_bool may_leave;            /* by the scenario: workers are told to */
        /* What came of a fault, until the end of the phase. */
        atomic_uint ended;    /* processes of Baton that ended with a code of failure */
        atomic_bool has_left; /* one left as if it had been told to */
        atomic_int died_of;   /* the signal */
        bool was_stopped, has_waited, was_latched;
        bool was_hit_leaving; /* workers were told to leave already */
        bool was_hit_owner;   /* of the session whose source's file it was; else it was but warm (S8) */
        char reason[LAYOUT_REASON_BYTES];
        /* For the report. */
        uint64_t hit_number;
        uint32_t hit_call; /* of all calls of the lane */
        bool is_attended;  /* the scenario saw the hit, and the checker held then */
        char hit_stack[4096], hit_object[OBJECT_TEXT_BYTES];
        uint32_t call_counts[LANE_COUNT];
        struct counted_call calls[LANE_COUNT][CALLS_MAX];
};

/* What a run plays. */
struct play {
        enum crash_phase phase;
        const struct variant *variant;
        const char *prepared; /* directory of the outboxes that each run begins with: prepare.c */
        struct world *world;
        struct run_data *data;
        enum fault fault; /* that will be made; FAULT_KILL: none */
        bool counts_places;
};

/* Marks that a scenario gives. */
enum { MARK_BEGIN = 1, MARK_ARM, MARK_END };

/* prepare.c: made once, copied into each run. */
void crash_outboxes_prepare(const char *directory);
void crash_outboxes_remove(const char *directory); /* all that is in it */
void crash_outboxes_copy(const char *prepared, struct world *world);

/* scenario.c: in the driver; fails by world_fail(). */
void crash_play(struct play *play);

/* observer.c: in the tracer. Plays, and counts the calls of `roles` (point NULL) or kills at the point. */
void crash_observe(struct play *play, const struct point *point, unsigned roles);

/* quiet.c */
bool call_is_quiet(const struct trace_call *call);

/* memory.c: a number for all memory that a process could write and others share. */
struct memory;
void crash_memory_forget(struct memory *memory, pid_t pid);
uint64_t crash_memory_digest(struct memory *memory, const struct trace_call *call);
struct memory *crash_memory_new(void);

/* stack.c: where the thread stands, as "binary+0xoffset" lines, innermost first. */
void crash_stack_write(const struct trace_call *call, char *ret_text, size_t bytes);
/* The place in the code, as one number: the call, what kind of file it is about, the innermost frames. Never 0. What
 * comes before a program's own first instruction is all one place for each kind of call. */
uint32_t crash_stack_place(const struct trace_call *call);
/* The file that a call is about, by its path or its descriptor, without its directory; "": none. */
void crash_object_write(const struct trace_call *call, char *ret_text, size_t bytes);
/* It stands in the dynamic loader: mostly, the program has not begun. */
bool crash_stack_is_loader(const char *text);
/* The same with names of functions, where addr2line is there. */
void crash_stack_print(const char *text);
