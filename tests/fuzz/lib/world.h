/* SPDX-License-Identifier: Apache-2.0 */
/* A supervisor, a segment and a handful of workers in one thread: this thread is the supervisor and worker 0 by
 * turns; the other workers are fakes that own sessions and do what an input says. Needs FUZZ_WRAPS.
 *
 *   destination a: sessions s0 … s4, two/a; workers 0, 1, 2      destination b: s5, two/b; worker 3 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/segment.h"
#include "supervisor/manager.h"
#include "tests/fuzz/lib/fake_process.h"
#include "tests/fuzz/lib/fuzz.h"

#define WORLD_WORKERS 6  /* entries of the segment */
#define WORLD_SLOTS 12   /* of the segment */
#define WORLD_SESSIONS 8 /* of the configuration */
#define WORLD_MEMBERS 4  /* workers at the beginning, 0 … 3, in entries of the same number */

struct world {
        struct directories directories;
        struct segment *segment;   /* as worker 0 has it */
        uint64_t self_ref;         /* worker 0; 0: it has left */
        struct manager *manager;   /* NULL: no supervisor runs */
        uint8_t *image;            /* the segment when all is well */
        pthread_mutex_t free_life; /* of entry 0, held by nobody */
        bool is_trusted;           /* no word was overwritten that only the supervisor writes */
        sigjmp_buf self_killed;    /* where to go on when worker 0 is killed in a wait */
        bool self_waits;           /* that place is set */
};
extern struct world world;

/* Everything as it is when all is well; a new supervisor has adopted it. */
void world_begin(void);
void world_end(void);
/* The supervisor dies; the next one adopts what it finds. */
void world_end_supervisor(void);
void world_begin_supervisor(void);
/* A supervisor gave the segment up, and has put another in its place (S11). */
bool world_is_given_up(void);
/* Who acts from here on: pid and thread are those of worker 0, or of the supervisor. */
void world_act_as_worker(void);
void world_act_as_supervisor(void);
/* Worker 0 acts, if it is there, until it is done or is killed. */
void world_self(void (*act)(void *context), void *context);

/* The process ends. If the kernel says so, every lock word with its number tells of it. */
void world_kill(struct fake *fake, bool kernel_says);
/* The supervisor takes up what came in: the end of a process, a message. */
void world_turn(void);
/* One beat of it, `usec` later: that, a ping, a look. */
void world_beat(uint64_t usec);
/* Lets time pass until nothing changes any more, with worker 0 doing its work; then every session must be owned by a
 * worker that lives, or what keeps it must have been told. */
void world_settle(void);
