/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's words (shm/slot_supervisor.c; S5): it touches no mutex, may die before each store, and the next one
 * goes on from what the segment says. */

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

/* A supervisor that lives assigns an orphan whose assigned worker does not come; rung until it does. */
inline check_stranded() {
        if
        :: slot[0].state == SLOT_ORPHAN && slot[0].wanted && ANY_PROCESS(COULD_OWN) ->
                choose_live(slot[0].assigned_ref, NOBODY);
                slot[0].heir_ref = NOBODY;
                inbox_put(slot[0].assigned_ref, 0); doorbell_ring(slot[0].assigned_ref)
        :: else -> skip
        fi
}

#if HAS_SUPERVISOR
#define OR_DIES :: goto dies fi

inline slot_hint(ref) {
        if
        :: ref != NOBODY -> inbox_put(ref, 0); doorbell_ring(ref)
        :: else -> skip
        fi
}

inline slot_assign() {
        if :: atomic { choose_live(assigned_ref, NOBODY); choose_live(heir_ref, assigned_ref); slot[0].heir_ref = heir_ref } OR_DIES;
        if :: atomic {
                is_news = slot[0].assigned_ref != assigned_ref || slot[0].owner_ref == NOBODY;
                slot[0].assigned_ref = assigned_ref; owner_ref = slot[0].owner_ref
        } OR_DIES;
        if :: atomic { is_news -> slot_hint(assigned_ref) } :: !is_news OR_DIES;
        if :: atomic { is_news && owner_ref != assigned_ref -> slot_hint(owner_ref) } :: else OR_DIES;
        atomic { assigned_ref = 0; heir_ref = 0; owner_ref = 0; is_news = false }
}

#if WITHDRAWALS > 0
inline slot_unwant() {
        if :: slot[0].wanted = false OR_DIES;
        if :: atomic { slot_hint(slot[0].owner_ref) } OR_DIES
}

/* Once it is nobody's: the slot may have another session. */
#ifdef FAULT_RETIRED_WHILE_OWNED
#define MAY_RETIRE (!slot[0].wanted && slot[0].state != SLOT_FREE && !slot[0].quarantined)
#else
#define MAY_RETIRE (!slot[0].wanted && slot[0].state == SLOT_ORPHAN && !slot[0].quarantined)
#endif
#define HOLDS_IT(q) HOLDS(q, 0)
inline slot_retire() {
        assert(!ANY_PROCESS(HOLDS_IT));
        slot[0].state = SLOT_FREE
}

/* Nothing of the session before may speak for the new one: session_forget(). */
inline slot_configure() {
        if :: atomic { slot[0].death_note = false; note_due[0] = false; slot[0].orphan_attempts = 0; deaths_at[0] = 0 } OR_DIES;
        if :: slot[0].assigned_ref = NOBODY OR_DIES;
        if :: slot[0].heir_ref = NOBODY OR_DIES;
        if :: slot[0].wanted = true OR_DIES;
        if :: atomic {
                assert(slot[0].state == SLOT_FREE && slot[0].owner_ref == NOBODY); /* H7: FREE is the supervisor's */
                slot[0].state = SLOT_ORPHAN
        } OR_DIES
}
#endif

proctype supervisor() {
        byte assigned_ref, heir_ref, owner_ref, assignments = ASSIGNMENTS, withdrawals = WITHDRAWALS, restarts = RESTARTS;
        bool is_news, assign_needed;

again:
        do
        :: atomic { assign_needed -> assign_needed = false }; slot_assign()
        :: atomic { assignments > 0 && slot[0].wanted -> assignments-- }; slot_assign()
#if WITHDRAWALS > 0
        :: atomic { withdrawals > 0 && slot[0].wanted && slot[0].state != SLOT_FREE -> withdrawals-- }; slot_unwant()
        :: atomic { !slot[0].wanted && slot[0].state != SLOT_FREE -> slot[0].wanted = true; assign_needed = true } /* slot_keep() */
        :: atomic { MAY_RETIRE -> slot_retire() }
        :: slot[0].state == SLOT_FREE -> slot_configure(); assign_needed = true
#endif
        od;
dies:   atomic {
                assigned_ref = 0; heir_ref = 0; owner_ref = 0; is_news = false;
                assign_needed = true; /* the next one balances */
                if
                :: restarts > 0 -> restarts--; goto again
                :: skip
                fi
        }
}
#endif
