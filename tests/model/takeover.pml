/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership and takeover (S1–S7): workers of one pool, joiners on used entries, a supervisor that dies. README.md
 * says what is left out, and why that is sound. Parameters, by -D: */
#ifndef PROCESSES
#define PROCESSES 3
#endif
#ifndef INITIAL /* so many of them live at the start, each in the entry of its number; the others may join */
#define INITIAL 2
#endif
#ifndef ENTRIES
#define ENTRIES 2
#endif
#ifndef SLOTS
#define SLOTS 1
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#ifndef ASSIGNMENTS /* so often a balance assigns the slot anew */
#define ASSIGNMENTS 0
#endif
#ifndef WITHDRAWALS /* so often a reload withdraws the session; later it is wanted again, or another is put there */
#define WITHDRAWALS 0
#endif
#ifndef RESTARTS /* so often the supervisor dies and is started again; once more it may die for good */
#define RESTARTS 1
#endif
#define HAS_SUPERVISOR (ASSIGNMENTS + WITHDRAWALS > 0)

#include "layout.pml"
byte entry_of[PROCESSES]; /* whose life mutex its mover took */
byte ref_of[PROCESSES];
#include "robust.pml"
#include "slot.pml"
#include "look.pml"
#include "life.pml"
#include "mover.pml"

bool leaving[PROCESSES]; /* its watcher is to end */
byte leaves = LEAVES;    /* so many workers may be asked to leave */

/* ---- a process that ends: nothing of it is left but what stands in shared memory ---- */

inline thread_ends() {
        if
        :: changing[t] != 0 -> deaths_at[changing[t] - 1]++; changing[t] = 0
        :: else -> skip
        fi;
        look_forgets_all(); ok = false;
        kernel_end_thread()
}
inline process_ends() {
        if
        :: IS_GONE(p) -> entry_of[p] = 0; ref_of[p] = NOBODY; leaving[p] = false
        :: else -> skip
        fi
}
#define mover_leaves_note(s) \
        note_due[s] = note_due[s] || (IS_RUN(s) && IS_MINE(s) && worker[entry_of[p]].note == (s) + 1); \
        session[p].epoch[s] = 0

#define IS_KILLED(q) killed[q]
proctype mover(byte p) {
        byte t = MOVER(p);
        MOVER_LOCALS;

        if
        :: p >= INITIAL ->
                if /* a supervisor replaces the dead, or none does */
                :: ANY_PROCESS(IS_KILLED) -> skip
                :: goto absent
                fi;
                life_enter();
                STEP dead[WATCHER(p)] = false; member_news[p] = true DONE /* enter() */
        :: else -> skip
        fi;

        do /* mover_run() */
        :: DIE
        :: atomic { condemned || !LIFE_IS_LIVE(ref_of[p]) -> goto exits }
        :: atomic { handoff[p] & BIT(0) -> handoff[p] = handoff[p] & ~BIT(0) }; look_at_slot(0)
#if SLOTS > 1
        :: atomic { handoff[p] & BIT(1) -> handoff[p] = handoff[p] & ~BIT(1) }; look_at_slot(1)
#endif
#if LEAVES > 0
        :: atomic { leaves > 0 && !worker[entry_of[p]].draining -> leaves--; worker[entry_of[p]].draining = true } /* drain_ref */
        :: atomic { worker[entry_of[p]].draining -> handoff[p] = 0 }; break
#endif
        od;
#if LEAVES > 0
        EACH_SLOT(drain_all);
        STEP leaving[p] = true DONE; /* threads_stop() */
        STEP dead[WATCHER(p)] -> skip DONE;
        life_leave();
#endif

exits: /* with what it holds */
        atomic { killed[p] = true; goto dying };
dying:
        atomic {
                kernel_reap();
                EACH_SLOT(mover_leaves_note);
                handoff[p] = 0; view_epoch = 0; receiver_is_gone = false;
                thread_ends()
        };
        atomic { kernel_end_life(); process_ends() };
absent:
        skip
}

/* inbox_drain() and hand_to_mover(), neighbours_renew(); then it waits anew. */
inline watcher_hands_on() {
        STEP
                handoff[p] = (dead[MOVER(p)] -> 0 : handoff[p] | worker[entry_of[p]].inbox);
                worker[entry_of[p]].inbox = 0;
                neighbours_renew();
                news_death = false; news_other = false;
                woken[p] = true
        DONE
}

/* takeover_thread_main() and control_thread_main(). */
proctype watcher(byte p) {
        byte t = WATCHER(p);
        LOOK_LOCALS;
        bool news_death, news_other;

        if
        :: p < INITIAL -> skip
        :: else -> !dead[t] /* pthread_create() */
        fi;
        do
        :: DIE
        :: atomic { leaving[p] -> goto stops }
        :: atomic { woken[p] || member_news[p] || rung[p] -> life_wait() };
                if
                :: news_death -> takeover_run()
                :: else -> skip
                fi;
                if
                :: news_death || news_other -> watcher_hands_on()
                :: else -> skip
                fi
        :: atomic { NEIGHBOUR_IS_GONE -> HEARS_OF_NEIGHBOUR; neighbour[p] = 0; pool_find_gone() };
                takeover_run(); /* look() */
                watcher_hands_on()
        od;
dying:
        atomic { kernel_reap(); goto stops };
stops:
        atomic {
                queued[p] = 0; woken[p] = false; member_news[p] = false; rung[p] = false; neighbour[p] = 0;
                news_death = false; news_other = false;
                thread_ends(); process_ends()
        }
}

/* Somebody could own it and does not want to leave. */
#define COULD_OWN(q) (!dead[MOVER(q)] && LIFE_IS_LIVE(ref_of[q]) && !worker[entry_of[q]].draining)
#include "supervisor.pml"

/* ---- what must hold in the end ---- */

#define MAY_REST(s) (condemned || slot[s].quarantined || !slot[s].wanted || slot[s].state == SLOT_FREE)
#define IS_RUNNING(s) \
        (slot[s].owner_ref != NOBODY && LIFE_IS_LIVE(slot[s].owner_ref) && HOLDS(owner_process[s], s) && \
         session[owner_process[s]].epoch[s] == slot[s].epoch)
#define IS_WELL(s) (!ANY_PROCESS(COULD_OWN) || MAY_REST(s) || IS_RUNNING(s))
#define check_slot(s) assert(IS_WELL(s) && (condemned || CAN_TAKE(slot[s].mutex)))
#define slots_sweep(q) handoff[q] = (dead[MOVER(q)] || ref_of[q] == NOBODY -> 0 : BIT(SLOTS) - 1)

/* Nothing can happen any more: deaths, joins, leaves and assignments are numbered, and each was done or not. */
proctype rest() {
        timeout ->
#ifdef WITH_SUPERVISOR
        atomic { check_stranded() };
        timeout ->
#endif
#ifdef WITH_SWEEP
        d_step { EACH_PROCESS(slots_sweep) };
        timeout ->
#endif
        d_step { EACH_SLOT(check_slot); assert(condemned || CAN_TAKE(pool_mutex)) }
}

#ifdef WITH_FORMULA /* also of runs that never come to rest */
ltl owned_in_the_end { <>[](IS_WELL(0)) }
#endif

#define set_out(q) \
        if \
        :: q < INITIAL -> \
                worker[q].life = LIFE_LIVE; worker[q].generation = 1; worker[q].process = q; \
                worker[q].life_mutex = HELD(MOVER(q)); \
                ref_of[q] = REF(q); entry_of[q] = q; \
                queued[q] = (BIT(INITIAL) - 1) & ~BIT(q); \
                set_neighbour(q) \
        :: else -> dead[WATCHER(q)] = true \
        fi; \
        run mover(q); run watcher(q)
#ifdef FAULT_NO_PIDFD
#define set_neighbour(q) skip
#else
#define set_neighbour(q) neighbour[q] = (q + 1) % INITIAL + 1
#endif
#define set_slot(s) \
        slot[s].wanted = true; slot[s].assigned_ref = REF(s); slot[s].heir_ref = REF(1 - s); \
        owner_process[s] = s; \
        set_session(s)
#ifdef NEW_SESSION /* configured and assigned; nobody has taken it yet */
#define set_session(s) slot[s].state = SLOT_ORPHAN; inbox_put(slot[s].assigned_ref, s); rung[s] = true
#else
#define set_session(s) \
        slot[s].state = SLOT_OWNED; slot[s].epoch = 1; slot[s].owner_ref = REF(s); \
        begun_epoch[s] = 1; session[s].epoch[s] = 1; worker[s].note = s + 1
#endif

init {
        atomic {
                EACH_PROCESS(set_out);
                EACH_SLOT(set_slot);
                run rest();
#if HAS_SUPERVISOR
                run supervisor()
#endif
        }
}
