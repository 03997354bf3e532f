/* SPDX-License-Identifier: Apache-2.0 */
/* One segment at a time (S11): a segment that cannot be used gives way to a new one, while workers of the old one may
 * still live, start or end, and the supervisor dies wherever it likes. Takeover inside a segment is one step here:
 * takeover.pml is about it. README.md says what is left out. */
#ifndef WORKERS
#define WORKERS 3
#endif
#define SEGMENTS 6 /* number 0: there is none */
#ifndef RENEWALS
#define RENEWALS 1 /* so often a segment is condemned, or found not to fit */
#endif
#ifndef SUPERVISORS
#define SUPERVISORS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define NOBODY WORKERS
#define FIRST_EPOCH(number) ((number) * 16) /* epoch_base = number << 32 */

byte file;           /* RUNTIME/segment: its number */
byte number = 0;     /* STATE/segment.number, durable */
bool condemned[SEGMENTS], unfit[SEGMENTS];
byte owner[SEGMENTS] = NOBODY, epoch[SEGMENTS];

/* workers.lock: flock, gone with the process that opened it. */
bool is_shared[WORKERS], is_exclusive;
#define IS_SHARED (is_shared[0] || is_shared[1] || is_shared[2])

bool is_dead[WORKERS]; /* no effect comes from it any more; its files may still be open */
bool is_told;          /* SIGTERM: workers of an unusable segment leave */
byte mapped[WORKERS], running[WORKERS]; /* the epoch that its session was begun at, 0 = none */
byte begun_epoch, kills = KILLS, renewals = RENEWALS, supervisors = SUPERVISORS;
bool is_served;

#define HELD_BY_OTHER(q) ((q) != w && running[q] != 0 && !is_dead[q])
#define DIE :: atomic { kills > 0 -> kills--; goto ends }
#define STEP if DIE :: atomic {
#define DONE } fi

proctype worker(byte w) {
        if
        :: is_served -> skip /* spawn_worker() */
        :: goto absent
        fi;
        /* worker_open(): the lock, and then the segment by its path, so that what is mapped cannot be replaced. */
#ifdef FAULT_SEGMENT_BEFORE_LOCK
        STEP mapped[w] = file DONE;
        STEP !is_exclusive -> is_shared[w] = true DONE; /* workers_lock_shared() */
#else
        STEP !is_exclusive -> is_shared[w] = true DONE; /* workers_lock_shared() */
        STEP mapped[w] = file DONE; /* segment_open() */
#endif
        if /* life_admission() */
        :: mapped[w] == 0 || condemned[mapped[w]] -> goto ends
        :: else -> skip
        fi;
        do
        DIE
        :: atomic { condemned[mapped[w]] || (is_told && unfit[mapped[w]]) -> goto ends } /* mover_run(): -ESTALE, or drained */
        :: atomic { running[w] == 0 && !condemned[mapped[w]] && (owner[mapped[w]] == NOBODY || is_dead[owner[mapped[w]]]) ->
                        /* slot_take(), or a look; session_begin() */
                        owner[mapped[w]] = w;
                        epoch[mapped[w]]++;
                        assert(!HELD_BY_OTHER(0) && !HELD_BY_OTHER(1) && !HELD_BY_OTHER(2));
                        assert(epoch[mapped[w]] > begun_epoch);
                        begun_epoch = epoch[mapped[w]];
                        running[w] = begun_epoch }
        od;
ends:
        atomic { is_dead[w] = true; running[w] = 0 };
        is_shared[w] = false; /* files are closed last */
absent:
        skip
}

#define SUPERVISOR_DIES :: goto dies
proctype supervisor() {
        byte next;

start: /* adopt_segment() */
        if
        :: atomic { file != 0 && !condemned[file] && !unfit[file] -> goto serves } /* segment_find() */
        :: file == 0 || condemned[file] || unfit[file] -> skip
        fi;
waits: /* renew_wait(), adopt_make() */
        do
#ifdef FAULT_NO_EXCLUSIVE_LOCK
        :: break
#else
        :: atomic { !IS_SHARED -> is_exclusive = true; break } /* workers_lock_exclusive() */
#endif
        :: atomic { IS_SHARED && !is_told -> is_told = true } /* holder_signal(), wait_for_own() */
        SUPERVISOR_DIES
        od;
        is_told = false;
        if
        :: atomic { next = number + 1 } /* number_next() */
        SUPERVISOR_DIES
        fi;
#ifndef FAULT_NUMBER_NOT_KEPT
        if
        :: number = next
        SUPERVISOR_DIES
        fi; /* supervisor.K2 */
#endif
#ifdef FAULT_LOCK_DROPPED_EARLY
        is_exclusive = false;
#endif
        if
        :: atomic { /* segment_create() */
                condemned[next] = false; unfit[next] = false; owner[next] = NOBODY; epoch[next] = FIRST_EPOCH(next);
                file = next }
        SUPERVISOR_DIES
        fi; /* supervisor.K6 */
        is_exclusive = false;
serves:
        atomic { next = 0; is_served = true };
        do
        :: atomic { condemned[file] -> is_served = false; goto waits } /* renew_segment() */
        :: atomic { renewals > 0 -> renewals--; condemned[file] = true } /* a lock was lost; a worker may find it first */
        :: atomic { renewals > 0 -> renewals--; unfit[file] = true; is_served = false; goto dies } /* started anew, with more */
        SUPERVISOR_DIES
        od;
dies:
        atomic {
                is_served = false; is_exclusive = false; next = 0;
                if
                :: supervisors > 0 -> supervisors--; goto start
                :: else -> skip
                fi
        }
}

#define LIVES(q) (mapped[q] != 0 && mapped[q] == file && !is_dead[q])
#define IS_HELD_BY(q) (LIVES(q) && running[q] != 0)
proctype rest() {
        timeout ->
        assert(!is_served || !(LIVES(0) || LIVES(1) || LIVES(2)) || IS_HELD_BY(0) || IS_HELD_BY(1) || IS_HELD_BY(2));
        /* Nobody stays behind in an old segment while a new one stands. */
        assert((mapped[0] == file || is_dead[0] || mapped[0] == 0) && (mapped[1] == file || is_dead[1] || mapped[1] == 0) &&
               (mapped[2] == file || is_dead[2] || mapped[2] == 0))
}

init {
        atomic { run supervisor(); run worker(0); run worker(1); run worker(2); run rest() }
}
