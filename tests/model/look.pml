/* SPDX-License-Identifier: Apache-2.0 */
/* The look (shm/takeover.c, S7) under the pool mutex (shm/pool.c). Everything is recomputed from the words, every
 * time; the looker may die before each step. */

bool member_news[PROCESSES]; /* member_version is not what this watcher saw last */

#define pool_announce_to(q) member_news[q] = !dead[WATCHER(q)]
inline pool_announce() {
        EACH_PROCESS(pool_announce_to)
}

/* ok: taken. A holder that died is no harm: what it left half done the look does again (H2). */
inline pool_lock() {
        STEP
                (condemned || CAN_TAKE(pool_mutex)) ->
                ok = false;
                if
                :: condemned -> skip
                :: !condemned && pool_mutex == MUTEX_FREE -> pool_mutex = HELD(t); ok = true
                :: !condemned && pool_mutex == MUTEX_OWNER_DIED ->
#ifdef FAULT_NOT_CONSISTENT
                        segment_condemn() /* let go of without lock_mended(): ENOTRECOVERABLE, for everyone */
#else
                        pool_mutex = HELD(t); ok = true
#endif
                :: else -> segment_condemn()
                fi
        DONE
}

inline pool_unlock() {
        STEP pool_mutex = MUTEX_FREE; ok = false DONE
}

/* ---- what one look knows: masks of entries, refs of processes that were gone before it ---- */
#define LOOK_LOCALS \
        byte live, may_get, dead_list, told, to_ref; \
        byte gone[ENTRIES]; \
        bool pending, changed, were_owed, has_note, ok

#define IS_USED(e) (worker[e].life != LIFE_FREE)

#ifdef FAULT_NEWS_OF_ONE
#define HEARD_OF(e) (heard[p] == (e) + 1)
#define CONCERNS_HEARD(s) (slot[s].owner_ref == NOBODY || HEARD_OF(INDEX(slot[s].owner_ref)))
#else
#define HEARD_OF(e) true
#define CONCERNS_HEARD(s) true
#endif
#ifdef FAULT_GENERATION_IGNORED
#define WAS_GONE(e) (gone[e] != NOBODY)
#else
#define WAS_GONE(e) (gone[e] == REF(e))
#endif
#ifdef FAULT_TIME_OUT
#define TIMED_OUT(e) (worker[e].process != p && worker[e].life == LIFE_LIVE) /* it did not answer, for whatever reason */
#else
#define TIMED_OUT(e) false
#endif

#define LOOK_PROVES_DEAD(e) \
        (HEARD_OF(e) && (LIFE_MUTEX_SAYS_DEAD(e) || worker[e].life == LIFE_DEAD || WAS_GONE(e) || TIMED_OUT(e) || \
                         (worker[e].life == LIFE_LEFT && worker[e].life_mutex == MUTEX_FREE)))
#define IS_TO_MARK(e) (IS_USED(e) && LOOK_PROVES_DEAD(e))

#define LOOK_IS_LIVE(ref) ((ref) != NOBODY && (live & BIT(INDEX(ref))) && REF(INDEX(ref)) == (ref))
#define LOOK_MAY_GIVE_TO(ref) (LOOK_IS_LIVE(ref) && (may_get & BIT(INDEX(ref))))
#define IS_PENDING(s, is_live) \
        (slot[s].state != SLOT_FREE && !is_live(slot[s].owner_ref) && !slot[s].quarantined && CONCERNS_HEARD(s) && \
         (slot[s].owner_ref != NOBODY || slot[s].state != SLOT_ORPHAN || slot[s].wanted))
#define LOOK_IS_PENDING(s) IS_PENDING(s, LOOK_IS_LIVE)

inline lock_declare_dead(e) {
        assert(IS_GONE(HOLDERS_PROCESS(worker[e].life_mutex))); /* S3: whoever lives is never declared dead */
        worker[e].life_mutex = MUTEX_OWNER_DIED
}

inline look_at_worker(e) {
        STEP
                if
                :: IS_TO_MARK(e) ->
                        if
                        :: WAS_GONE(e) && IS_HELD(worker[e].life_mutex) -> lock_declare_dead(e)
                        :: else -> skip
                        fi;
                        changed = changed || worker[e].life != LIFE_DEAD;
                        worker[e].life = LIFE_DEAD;
                        dead_list = dead_list | BIT(e)
                :: !IS_TO_MARK(e) && LIFE_IS_LIVE(REF(e)) ->
                        live = live | BIT(e);
                        may_get = may_get | (LIFE_MAY_BE_GIVEN(REF(e)) -> BIT(e) : 0)
                :: else -> skip
                fi
        DONE /* K10 */
}

/* Anyone who may get it. */
inline balance_one() {
        if
        :: may_get & BIT(0) -> to_ref = REF(0)
        :: may_get & BIT(1) -> to_ref = REF(1)
#if ENTRIES > 2
        :: may_get & BIT(2) -> to_ref = REF(2)
#endif
        :: may_get == 0 -> to_ref = NOBODY
        fi
}

/* The supervisor's words, each read once and validated (S5); where neither lives, the balance. */
inline look_choose(s) {
        if
        :: !slot[s].wanted -> to_ref = NOBODY
        :: slot[s].wanted && LOOK_MAY_GIVE_TO(slot[s].assigned_ref) -> to_ref = slot[s].assigned_ref
        :: slot[s].wanted && !LOOK_MAY_GIVE_TO(slot[s].assigned_ref) && LOOK_MAY_GIVE_TO(slot[s].heir_ref) ->
                to_ref = slot[s].heir_ref
        :: else -> balance_one()
        fi
}

/* look_death_note(): the dead one's record, while its entry is still its own (M6). */
#define LOOK_DEATH_NOTE(s) \
        (slot[s].owner_ref != NOBODY && REF(INDEX(slot[s].owner_ref)) == slot[s].owner_ref && \
         worker[INDEX(slot[s].owner_ref)].life == LIFE_DEAD && worker[INDEX(slot[s].owner_ref)].note == (s) + 1)

inline look_tell(ref, s) {
        inbox_put(ref, s);
        told = told | BIT(INDEX(ref))
}

inline look_give_slot(s) {
        if
        :: DIE
        :: atomic { !(pending && LOOK_IS_PENDING(s)) -> skip }
        :: atomic { pending && LOOK_IS_PENDING(s) -> look_choose(s); has_note = LOOK_DEATH_NOTE(s) };
                slot_apply_to_orphan(s); /* slot_give(); K11 */
                if
                :: ok && to_ref != NOBODY -> STEP look_tell(to_ref, s) DONE
                :: else -> skip
                fi;
                to_ref = NOBODY
        fi
}

inline look_tell_all(s) {
        if
        :: LOOK_IS_LIVE(slot[s].owner_ref) -> look_tell(slot[s].owner_ref, s)
        :: else -> skip
        fi
}

inline look_ring(e) {
        if
        :: told & BIT(e) -> doorbell_ring(REF(e))
        :: else -> skip
        fi
}

/* Nothing is theirs any more: their entries may be used again. lock_revive() finds the mutex free, or mends it. */
#define IS_COMPLETE(e) ((dead_list & BIT(e)) && worker[e].life == LIFE_DEAD && !IS_HELD(worker[e].life_mutex))
inline look_complete(e) {
        if
        :: DIE
        :: atomic { !IS_COMPLETE(e) -> skip }
        :: atomic { IS_COMPLETE(e) -> worker[e].life_mutex = MUTEX_FREE; changed = true }; /* K14 */
                STEP worker[e].life = LIFE_FREE DONE
        fi
}

#define look_counts(s) pending = pending || LOOK_IS_PENDING(s)
#define look_forgets(e) gone[e] = NOBODY
inline look_forgets_all() {
        live = 0; may_get = 0; dead_list = 0; told = 0; to_ref = 0; EACH_ENTRY(look_forgets);
        pending = false; changed = false; were_owed = false; has_note = false
}

/* A look that would change nothing is one step: it takes the mutex and gives it back. */
#define SHOWS_WORK(s) IS_PENDING(s, LIFE_IS_LIVE)
#define LOOK_FINDS_NOTHING (!ANY_ENTRY(IS_TO_MARK) && !ANY_SLOT(SHOWS_WORK) && !hints_owed)

inline look_run() {
        /* K9 */
        EACH_ENTRY(look_at_worker);
        STEP
                EACH_SLOT(look_counts); /* look_count_slots() */
                were_owed = hints_owed;
                hints_owed = were_owed || pending
        DONE;
#ifdef FAULT_REUSED_EARLY
        EACH_ENTRY(look_complete);
#endif
        EACH_SLOT(look_give_slot); /* look_give_slots(); K12 */
        STEP
                if
                :: were_owed -> EACH_SLOT(look_tell_all)
                :: else -> skip
                fi;
                EACH_ENTRY(look_ring)
        DONE;
        STEP hints_owed = false DONE; /* K13 */
#if !defined(FAULT_REUSED_EARLY) && !defined(FAULT_NEVER_COMPLETED)
        EACH_ENTRY(look_complete); /* K15 */
#endif
        STEP
                if
                :: changed -> pool_announce()
                :: else -> skip
                fi;
                look_forgets_all()
        DONE
}

/* The backstop: processes that are gone, and whose robust list was lost with their memory. Only where no word
 * shows a death. What is found may have been completed, and used again, before the mutex is ours (S6). */
#define SHOWS_A_DEATH(e) \
        (IS_USED(e) && (LIFE_MUTEX_SAYS_DEAD(e) || (worker[e].life == LIFE_DEAD && worker[e].life_mutex == MUTEX_FREE)))
#define POOL_SHOWS_A_DEATH ANY_ENTRY(SHOWS_A_DEATH) /* pool_shows_a_death() */

/* life_process_is_gone() */
#ifdef FAULT_NO_PIDFD
#define LIFE_PROCESS_IS_GONE(e) false
#else
#define LIFE_PROCESS_IS_GONE(e) (IS_GONE(worker[e].process))
#endif
#define find_gone(e) gone[e] = (IS_USED(e) && REF(e) != ref_of[p] && LIFE_PROCESS_IS_GONE(e) -> REF(e) : NOBODY)

inline pool_find_gone() {
        if
        :: POOL_SHOWS_A_DEATH -> skip
        :: else -> EACH_ENTRY(find_gone)
        fi
}

/* After pool_find_gone(). */
inline takeover_run() {
        if
        :: DIE
        :: atomic { !condemned && !IS_HELD(pool_mutex) && LOOK_FINDS_NOTHING -> look_forgets_all() }
        :: atomic { condemned || (CAN_TAKE(pool_mutex) && (IS_HELD(pool_mutex) || !LOOK_FINDS_NOTHING)) -> skip };
                pool_lock();
                if
                :: ok -> look_run(); pool_unlock()
                :: else -> STEP look_forgets_all() DONE
                fi
        fi
}

inline takeover_run_locked() {
        if
        :: DIE
        :: atomic { LOOK_FINDS_NOTHING -> skip }
        :: atomic { !LOOK_FINDS_NOTHING -> skip }; look_run()
        fi
}
