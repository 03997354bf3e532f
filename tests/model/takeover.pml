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
#ifndef ASSIGNMENTS
#define ASSIGNMENTS 0
#endif

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
                STEP dead[WATCHER(p)] = false; member_news[p] = true DONE /* threads_start() */
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
        :: atomic { leaves > 0 -> leaves--; worker[entry_of[p]].draining = true; handoff[p] = 0 }; break
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
        :: atomic { NEIGHBOUR_IS_GONE -> neighbour[p] = 0; pool_find_gone() };
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

/* ---- the supervisor ---- */
/* balance() over whoever lives: any of them, here; the heir is another. */
inline choose_live(ref, not_ref) {
        if
        :: LIFE_IS_LIVE(REF(0)) && REF(0) != not_ref -> ref = REF(0)
        :: LIFE_IS_LIVE(REF(1)) && REF(1) != not_ref -> ref = REF(1)
#if ENTRIES > 2
        :: LIFE_IS_LIVE(REF(2)) && REF(2) != not_ref -> ref = REF(2)
#endif
        :: else -> ref = NOBODY
        fi
}
#if ASSIGNMENTS > 0
inline slot_hint(ref) {
        if
        :: ref != NOBODY -> inbox_put(ref, 0); doorbell_ring(ref)
        :: else -> skip
        fi
}
/* It may die before each store; the next one begins anew, from the segment. It touches no mutex (S5). */
#define OR_DIES :: goto dies fi
proctype supervisor() {
        byte assigned_ref, heir_ref, owner_ref, assignments = ASSIGNMENTS;
        bool is_news;

        do
        :: assignments == 0 -> break
        :: atomic { assignments > 0 -> assignments--; choose_live(assigned_ref, NOBODY); choose_live(heir_ref, assigned_ref) };
                /* slot_assign() */
                if :: slot[0].heir_ref = heir_ref OR_DIES;
                if :: atomic {
                        is_news = slot[0].assigned_ref != assigned_ref || slot[0].owner_ref == NOBODY;
                        slot[0].assigned_ref = assigned_ref; owner_ref = slot[0].owner_ref
                } OR_DIES;
                if :: atomic { is_news -> slot_hint(assigned_ref) } :: !is_news OR_DIES;
                if :: atomic { is_news && owner_ref != assigned_ref -> slot_hint(owner_ref) } :: else OR_DIES;
dies:           assigned_ref = 0; heir_ref = 0; owner_ref = 0; is_news = false
        :: break
        od
}
#endif

/* ---- what must hold in the end ---- */

/* Somebody could own it and does not want to leave. */
#define COULD_OWN(q) (!dead[MOVER(q)] && LIFE_IS_LIVE(ref_of[q]) && !worker[entry_of[q]].draining)
#define MAY_REST(s) (condemned || slot[s].quarantined || !slot[s].wanted)
#define check_owned(s) \
        assert(!ANY_PROCESS(COULD_OWN) || MAY_REST(s) || \
               (slot[s].owner_ref != NOBODY && LIFE_IS_LIVE(slot[s].owner_ref) && HOLDS(owner_process[s], s) && \
                session[owner_process[s]].epoch[s] == slot[s].epoch))
#define slots_sweep(q) handoff[q] = (dead[MOVER(q)] || ref_of[q] == NOBODY -> 0 : BIT(SLOTS) - 1)

/* A supervisor that lives assigns an orphan whose assigned worker does not come; rung until it does. */
inline check_stranded() {
        if
        :: slot[0].owner_ref == NOBODY && slot[0].wanted && ANY_PROCESS(COULD_OWN) ->
                choose_live(slot[0].assigned_ref, NOBODY);
                slot[0].heir_ref = NOBODY;
                inbox_put(slot[0].assigned_ref, 0); doorbell_ring(slot[0].assigned_ref)
        :: else -> skip
        fi
}

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
        d_step { EACH_SLOT(check_owned) }
}

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
        slot[s].state = SLOT_OWNED; slot[s].epoch = 1; slot[s].wanted = true; \
        slot[s].owner_ref = REF(s); slot[s].assigned_ref = REF(s); slot[s].heir_ref = REF(1 - s); \
        owner_process[s] = s; begun_epoch[s] = 1; session[s].epoch[s] = 1; worker[s].note = s + 1

init {
        atomic {
                EACH_PROCESS(set_out);
                EACH_SLOT(set_slot);
                run rest();
#if ASSIGNMENTS > 0
                run supervisor()
#endif
        }
}
