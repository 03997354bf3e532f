/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover does with slots: takes, begins, hands over, drains (worker/look.c, mover.c, session.c; shm/slot.c). */

byte handoff[PROCESSES]; /* slots that it is to look at: handoff_put(), handoff_take() */

#define MOVER_LOCALS \
        LOOK_LOCALS; \
        byte view_epoch; \
        bool receiver_is_gone

#define IS_MINE(s) (slot[s].owner_ref == ref_of[p])
#define IS_RUN(s) (session[p].epoch[s] != 0)
#ifdef FAULT_RELEASED_TO_THE_GONE /* and left to whom the slot's words name */
#define RECEIVES(ref) LIFE_IS_LIVE(ref)
#else
#define RECEIVES(ref) LIFE_MAY_BE_GIVEN(ref)
#endif
#ifdef FAULT_TO_AND_FRO /* offered to whom the look passes over */
#define IS_OFFERED(ref) LIFE_IS_LIVE(ref)
#else
#define IS_OFFERED(ref) RECEIVES(ref)
#endif
/* other_owner() */
#define OTHER_OWNER(s) \
        (slot[s].assigned_ref != ref_of[p] && IS_OFFERED(slot[s].assigned_ref) -> slot[s].assigned_ref : NOBODY)
/* successor_of() */
#define SUCCESSOR_OF(s) \
        (OTHER_OWNER(s) != NOBODY -> OTHER_OWNER(s) : \
         (slot[s].heir_ref != ref_of[p] && IS_OFFERED(slot[s].heir_ref) -> slot[s].heir_ref : NOBODY))

#define HELD_BY_OTHER(q) ((q) != p && HOLDS(q, s))
/* session_new(), fault_learn(), slot_take_death_note(): from here on it may commit. */
inline session_begin(s) {
        CHOICE

                assert(!ANY_PROCESS(HELD_BY_OTHER));
                assert(view_epoch > begun_epoch[s]);
                begun_epoch[s] = view_epoch;
                session[p].epoch[s] = view_epoch;
                view_epoch = 0; ok = false;
                assert(!note_due[s] || slot[s].death_note);
                note_due[s] = false;
                slot[s].death_note = false;
                if
                :: worker[entry_of[p]].note = s + 1 /* fault_note(): whenever it dies, it is in a batch */
                :: skip
                fi
        DONE
}

inline session_free(s) {
        session[p].epoch[s] = 0;
        worker[entry_of[p]].note = (worker[entry_of[p]].note == s + 1 -> 0 : worker[entry_of[p]].note)
}

/* To to_ref, if that may be given slots, under the pool mutex; else to nobody, and a look gives it on. hints_owed
 * stands while the new owner is not told. */
inline slot_release(s) {
        pool_lock();
        if
        :: !ok -> skip
        :: else ->
                STEP
                        receiver_is_gone = to_ref != NOBODY && !RECEIVES(to_ref);
                        to_ref = (receiver_is_gone -> NOBODY : to_ref);
                        were_owed = hints_owed;
                        hints_owed = true
                DONE;
                STEP CAN_TAKE(slot[s].mutex) -> slot_lock(s);
                        ok = ok && IS_MINE(s) && slot[s].epoch == view_epoch /* slot_is_held_by() */
                DONE; /* K24 */
                if
                :: ok -> slot_apply(s)
                :: else -> skip
                fi;
                STEP
                        if
                        :: slot[s].mutex == HELD(t) -> slot[s].mutex = MUTEX_FREE
                        :: else -> skip
                        fi
                DONE; /* K25 */
                if
                :: ok && to_ref != NOBODY ->
                        STEP inbox_put(to_ref, s) DONE; /* K26 */
                        STEP doorbell_ring(to_ref) DONE
                :: else -> skip
                fi;
                STEP
                        hints_owed = were_owed;
                        were_owed = false; to_ref = NOBODY;
                        receiver_is_gone = receiver_is_gone && ok
                DONE;
                if
#ifndef FAULT_RELEASED_TO_THE_GONE
                :: receiver_is_gone -> takeover_run_locked()
#endif
                :: else -> skip
                fi;
                pool_unlock()
        fi;
        to_ref = NOBODY; view_epoch = 0; receiver_is_gone = false
}

/* The session is closed, its locks are given up, and only then the slot is. */
inline session_hand_over(s) {
#ifdef FAULT_RELEASED_BEFORE_CLOSED
        slot_release(s);
        STEP session_free(s) DONE
#else
        STEP session_free(s) DONE; /* worker.K1 */
        slot_release(s)
#endif
}

/* slot_take_check() */
#define MAY_TAKE(s) \
        (!slot[s].quarantined && slot[s].state != SLOT_FREE && slot[s].wanted && slot[s].owner_ref == NOBODY && \
         (slot[s].assigned_ref == ref_of[p] || \
          (slot[s].heir_ref == ref_of[p] && !LIFE_IS_LIVE(slot[s].assigned_ref))) && LIFE_IS_LIVE(ref_of[p]))

inline slot_take(s) {
        pool_lock(); /* K22 */
        if
        :: !ok -> skip
        :: else ->
                STEP
                        ok = MAY_TAKE(s);
                        to_ref = ref_of[p]
                DONE;
                if
                :: ok -> slot_apply_to_orphan(s)
                :: else -> skip
                fi;
                STEP
                        view_epoch = (ok -> slot[s].epoch : 0);
                        to_ref = NOBODY
                DONE; /* K23 */
                pool_unlock()
        fi
}

/* One reading of the slot, slot_read(), and what follows from it. */
inline look_at_slot(s) {
        if
        :: DIE
        :: atomic { IS_RUN(s) && (slot[s].quarantined || !IS_MINE(s) || slot[s].epoch != session[p].epoch[s]) ->
                        session_free(s) }
        :: atomic { IS_RUN(s) && !slot[s].quarantined && IS_MINE(s) && slot[s].epoch == session[p].epoch[s] ->
                        view_epoch = slot[s].epoch;
                        to_ref = (slot[s].wanted -> OTHER_OWNER(s) : NOBODY);
                        ok = slot[s].wanted && to_ref == NOBODY };
                if /* session_look() */
                :: ok -> ok = false; view_epoch = 0
                :: else -> session_hand_over(s)
                fi
        :: atomic { !IS_RUN(s) && !slot[s].quarantined && IS_MINE(s) ->
                        view_epoch = slot[s].epoch;
                        to_ref = (slot[s].wanted -> OTHER_OWNER(s) : NOBODY);
                        ok = slot[s].wanted && to_ref == NOBODY };
                if /* look_at_gift() */
                :: ok -> session_begin(s)
                :: else -> slot_release(s)
                fi
        :: atomic { !IS_RUN(s) && !slot[s].quarantined && !IS_MINE(s) && slot[s].wanted &&
                    slot[s].state != SLOT_FREE && slot[s].owner_ref == NOBODY -> skip };
                slot_take(s);
                if
                :: view_epoch != 0 -> session_begin(s)
                :: else -> skip
                fi
        :: atomic { !IS_RUN(s) && (slot[s].quarantined || (!IS_MINE(s) &&
                    (!slot[s].wanted || slot[s].state == SLOT_FREE || slot[s].owner_ref != NOBODY))) -> skip }
        fi
}

/* M10: all sessions, then what was given and not begun yet. */
inline drain_all(s) {
        if
        :: DIE
        :: atomic { IS_RUN(s) -> view_epoch = session[p].epoch[s]; to_ref = SUCCESSOR_OF(s) };
                session_hand_over(s)
        :: atomic { !IS_RUN(s) && IS_MINE(s) -> view_epoch = slot[s].epoch; to_ref = SUCCESSOR_OF(s) };
                slot_release(s)
        :: atomic { !IS_RUN(s) && !IS_MINE(s) -> skip }
        fi
}
