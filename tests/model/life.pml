/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a death, entering, leaving (shm/life_wait.c, shm/life.c; S1, S6, S7). */

byte neighbour[PROCESSES]; /* whose pidfd it polls, + 1 */

/* ---- waiting ---- */

#ifdef FAULT_NEWS_OF_ONE
#define IS_NEWS(e) (heard[p] == (e) + 1)
#else
#define IS_NEWS(e) true
#endif
#define IS_DEATH(e) (IS_USED(e) && (e) != entry_of[p] && LIFE_MUTEX_SAYS_DEAD(e) && IS_NEWS(e))
#define WAITED_FOR(e) (IS_USED(e) && (e) != entry_of[p] && IS_HELD(worker[e].life_mutex) -> BIT(e) : 0)

/* life_survey() and wait_set_block() are one step: the kernel compares every word again before it lets the thread
 * sleep. A counter that has changed, or a word that says dead, is news; else it stands in the queues. */
inline life_wait() {
        woken[p] = false;
        news_death = !condemned && ANY_ENTRY(IS_DEATH);
        news_other = member_news[p] || rung[p];
        member_news[p] = false;
        rung[p] = false;
        queued[p] = (news_death || news_other || condemned -> 0 : ENTRY_MASK(WAITED_FOR))
}

/* life_neighbours(), of which the first is watched here, as in a larger pool the first two. */
#define NEXT(n) ((entry_of[p] + (n)) % ENTRIES)
#define IS_NEIGHBOUR(n) (LIFE_IS_LIVE(REF(NEXT(n))))
inline neighbours_renew() {
#ifdef FAULT_NO_PIDFD
        skip
#else
        if
        :: IS_NEIGHBOUR(1) -> neighbour[p] = worker[NEXT(1)].process + 1
#if ENTRIES > 2
        :: !IS_NEIGHBOUR(1) && IS_NEIGHBOUR(2) -> neighbour[p] = worker[NEXT(2)].process + 1
#endif
        :: else -> neighbour[p] = 0
        fi
#endif
}
#define NEIGHBOUR_IS_GONE (neighbour[p] != 0 && IS_GONE(neighbour[p] - 1))

/* ---- entering ---- */

#define CAN_CLAIM(e) (worker[e].life == LIFE_FREE && !IS_HELD(worker[e].life_mutex))

/* Under the life mutex, before the entry says anything (H3). */
inline life_claim() {
        CHOICE
                if
                :: CAN_CLAIM(0) -> entry_of[p] = 0
                :: !CAN_CLAIM(0) && CAN_CLAIM(1) -> entry_of[p] = 1
#if ENTRIES > 2
                :: !CAN_CLAIM(0) && !CAN_CLAIM(1) && CAN_CLAIM(2) -> entry_of[p] = 2
#endif
                :: else -> goto exits /* -ENOSPC */
                fi;
#ifndef FAULT_LIFE_LATE
                worker[entry_of[p]].life_mutex = HELD(t)
#endif
        DONE /* K1 */
}

inline life_introduce() {
        STEP
                worker[entry_of[p]].process = p;
                worker[entry_of[p]].note = 0;
                worker[entry_of[p]].draining = false
        DONE /* K2 */
}

inline life_publish() {
        pool_lock();
        if
        :: !ok -> goto exits
        :: else -> skip
        fi;
        STEP
                assert(worker[entry_of[p]].life == LIFE_FREE); /* H3: an entry is claimed by one */
                worker[entry_of[p]].life = LIFE_ENTERING;
#ifndef FAULT_GENERATION_KEPT
                worker[entry_of[p]].generation++;
#endif
                ref_of[p] = REF(entry_of[p])
        DONE; /* K3 */
        STEP worker[entry_of[p]].life = LIFE_LIVE DONE; /* K4 */
        takeover_run_locked(); /* K5 */
        STEP pool_announce() DONE;
        pool_unlock();
#ifdef FAULT_LIFE_LATE
        STEP worker[entry_of[p]].life_mutex = HELD(t) DONE
#else
        skip
#endif
}

/* A joiner that finds a death runs the takeover before it enters; with a table full of the dead it must. */
inline life_enter() {
        STEP pool_find_gone() DONE;
        takeover_run();
        life_claim();
        life_introduce();
        life_publish()
}

/* ---- leaving ---- */

#define life_owns_no_slot(s) assert(slot[s].owner_ref != ref_of[p] || slot[s].quarantined) /* life_owns_a_slot() */

/* Slots that a look gave it meanwhile are given on by one last look. Where the segment is condemned it just goes. */
inline life_leave() {
        pool_lock();
        if
        :: !ok -> goto exits
        :: else -> skip
        fi;
        STEP worker[entry_of[p]].life = LIFE_LEFT DONE; /* K6 */
#ifndef FAULT_LEFT_WITHOUT_LOOK
        takeover_run_locked();
        STEP EACH_SLOT(life_owns_no_slot) DONE;
#endif
        CHOICE worker[entry_of[p]].life_mutex = MUTEX_FREE; kernel_wake_one(entry_of[p]) DONE; /* K7 */
        STEP worker[entry_of[p]].life = LIFE_FREE DONE; /* K8 */
        STEP pool_announce() DONE;
        pool_unlock()
}
