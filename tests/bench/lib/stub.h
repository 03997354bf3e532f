/* SPDX-License-Identifier: Apache-2.0 */
/* Stub workers: processes that own slots, write to a real SQLite database and take over, with the
 * product's own shm/ and nothing else of it; and the bare robust mutex as their floor. Victims of any size. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "shm/segment.h"

struct stub_pool {
        char directory[256];
        struct segment *segment;
        uint32_t session_count;
        unsigned ballast_mib;
        unsigned number; /* of the next stub's database */
};

struct stub {
        pid_t pid;
        uint64_t ref;
};

/* A segment with one pool and `session_count` sessions, which the bench, as supervisor, assigns. */
void stub_pool_begin(struct stub_pool *pool, uint32_t session_count, unsigned ballast_mib);
void stub_pool_end(struct stub_pool *pool);
/* A live stub whose takeover thread waits; once it owns a slot its mover writes without end. */
struct stub stub_start(struct stub_pool *pool);
/* Makes `owner` own every session (it must be the first) with `heir` as heir. */
void stub_assign(struct stub_pool *pool, struct stub owner, struct stub heir);
/* Kills; returns the time from the kill to the last slot owned by the heir, in microseconds. */
double stub_kill(struct stub_pool *pool, struct stub victim, struct stub heir, int signal_number);

/* The floor: a victim of that size holds a robust mutex; a SCHED_FIFO thread waits for it. */
double bare_wake(unsigned ballast_mib, int signal_number);

/* Spinning processes, one for each processor, until burn_end(). */
void burn_begin(void);
void burn_end(void);
/* SCHED_FIFO for this thread where granted. */
bool thread_fifo(void);
