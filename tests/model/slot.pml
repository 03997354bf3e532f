/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership of a session (shm/slot.c): each store of a change is a step that the changer may die before. The
 * points of shm/README.md stand at the steps: K20 is a death after the step in front of it. */

#ifndef ORPHAN_ATTEMPT_COUNT_MAX
#define ORPHAN_ATTEMPT_COUNT_MAX 3
#endif

/* life_is_live() */
#define LIFE_MUTEX_SAYS_DEAD(e) (worker[e].life_mutex == MUTEX_OWNER_DIED)
#define LIFE_IS_LIVE(ref) \
        ((ref) != NOBODY && REF(INDEX(ref)) == (ref) && !LIFE_MUTEX_SAYS_DEAD(INDEX(ref)) && \
         (worker[INDEX(ref)].life == LIFE_LIVE || worker[INDEX(ref)].life == LIFE_ENTERING))

/* life_may_be_given() */
#define LIFE_MAY_BE_GIVEN(ref) \
        (LIFE_IS_LIVE(ref) && worker[INDEX(ref)].life == LIFE_LIVE && !worker[INDEX(ref)].draining)

/* More than the deaths, leaves, assignments and withdrawals of any search call for: who hands to and fro passes it. */
#ifndef EPOCH_MAX
#define EPOCH_MAX 12
#endif

/* What a mover runs: the epoch that its session was begun at, 0 = none. */
typedef sessions {
        byte epoch[SLOTS]
};
sessions session[PROCESSES];

/* For the properties alone; nobody decides by these. */
byte begun_epoch[SLOTS];      /* the highest epoch that a session was begun at */
byte owner_process[SLOTS];    /* whose ref stands in owner_ref */
bool note_due[SLOTS];         /* an owner died in a batch, and its successor has not been told */
byte deaths_at[SLOTS];        /* deaths while the slot was being changed (S4) … */
byte changing[2 * PROCESSES]; /* … by a thread: the slot, + 1 */

/* Two movers that hold the same session could both commit. A dead one cannot (S1). */
#define HOLDS(q, s) (session[q].epoch[s] != 0 && !dead[MOVER(q)])

inline inbox_put(ref, s) {
        worker[INDEX(ref)].inbox = worker[INDEX(ref)].inbox | BIT(s)
}

bool rung[PROCESSES]; /* the doorbell of its entry is not what this watcher saw last */
inline doorbell_ring(ref) {
        if
        :: LIFE_IS_LIVE(ref) -> rung[worker[INDEX(ref)].process] = !dead[WATCHER(worker[INDEX(ref)].process)]
        :: else -> skip
        fi
}

/* Only the loss of a robust list may lead here: nobody can look in this pool again (S11). */
inline segment_condemn() {
        assert(losses < LOSSES);
        condemned = true
}

inline slot_settle(s) {
        if
        :: slot[s].state == SLOT_FREE -> slot[s].owner_ref = NOBODY
        :: slot[s].state != SLOT_FREE && slot[s].owner_ref == NOBODY -> slot[s].state = SLOT_ORPHAN
        :: else -> slot[s].state = SLOT_OWNED
        fi
}

/* Whoever held the mutex, the slot is consistent now. A holder that is gone and never said so condemns the segment. */
inline slot_lock(s) {
        ok = true;
        if
        :: slot[s].mutex == MUTEX_FREE -> slot[s].mutex = HELD(t)
        :: slot[s].mutex == MUTEX_OWNER_DIED -> slot[s].mutex = HELD(t); slot_settle(s)
        :: else -> segment_condemn(); ok = false
        fi
}

inline slot_apply_epoch(s) {
        if
        :: to_ref == NOBODY -> skip
#ifndef FAULT_EPOCH_KEPT
        :: to_ref != NOBODY ->
                STEP
                        assert(slot[s].epoch < EPOCH_MAX); /* nobody hands it to and fro */
                        slot[s].epoch++
                DONE /* K20 */
#else
        :: to_ref != NOBODY -> skip
#endif
        fi
}

inline slot_apply_owner(s) {
        STEP
                /* S3: whoever had it has released it, or can commit no more. */
                assert(slot[s].owner_ref == NOBODY || !HOLDS(owner_process[s], s));
                slot[s].owner_ref = to_ref;
                owner_process[s] = (to_ref == NOBODY -> 0 : worker[INDEX(to_ref)].process)
        DONE; /* K21 */
        if
        :: to_ref == NOBODY -> STEP slot[s].state = SLOT_ORPHAN DONE
        :: else -> skip
        fi
}

/* The stores of one change, locked; owner_ref last (H1). The supervisor may retire an orphan in this very
 * moment: one of the two wins at the compare-and-exchange. */
inline slot_apply(s) {
        STEP
                if
#ifdef FAULT_STORED_WITHOUT_EXCHANGE
                :: slot[s].state == SLOT_ORPHAN && to_ref != NOBODY -> skip
#else
                :: slot[s].state == SLOT_ORPHAN && to_ref != NOBODY -> slot[s].state = SLOT_OWNED
#endif
                :: slot[s].state == SLOT_OWNED -> skip
                :: else -> ok = false /* refused by the table */
                fi
        DONE; /* K18 */
#ifdef FAULT_STORED_WITHOUT_EXCHANGE
        STEP slot[s].state = (ok -> SLOT_OWNED : slot[s].state) DONE;
#endif
        if
        :: !ok -> skip
        :: else ->
                if
                :: has_note -> STEP slot[s].death_note = true DONE /* K19 */
                :: else -> skip
                fi;
#ifdef FAULT_OWNER_BEFORE_EPOCH
                slot_apply_owner(s); slot_apply_epoch(s)
#else
                slot_apply_epoch(s); slot_apply_owner(s)
#endif
        fi
}

/* An orphan, or a dead owner's slot: the attempt is counted before anything of it is touched (S4). */
inline slot_apply_to_orphan(s) {
        STEP
                ok = false;
                if
                :: slot[s].quarantined -> skip
                :: !slot[s].quarantined && slot[s].orphan_attempts == ORPHAN_ATTEMPT_COUNT_MAX ->
                        assert(deaths_at[s] >= ORPHAN_ATTEMPT_COUNT_MAX);
                        slot[s].quarantined = true
                :: else -> slot[s].orphan_attempts++; changing[t] = s + 1; ok = true
                fi
        DONE; /* K16 */
        if
        :: !ok -> skip
        :: else ->
                STEP CAN_TAKE(slot[s].mutex) -> slot_lock(s) DONE; /* K17 */
                if
                :: !ok -> skip
                :: else ->
                        STEP slot_settle(s) DONE;
                        slot_apply(s);
                        STEP
                                slot[s].orphan_attempts = 0; deaths_at[s] = 0; changing[t] = 0;
                                slot[s].mutex = MUTEX_FREE /* slot_unlock() */
                        DONE
                fi
        fi
}
